"""Does what a hospital sends tell whom it trains on?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedbench.attack import Knowledge
from fedbench.attacks._likelihood import Likelihood

__all__ = ["Gradient"]


@dataclass(frozen=True, kw_only=True)
class Gradient(Likelihood):
    """How much likelier a hospital's updates are with the patient in them: the server's view."""

    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.UPDATES, Knowledge.REFERENCE})
    version: ClassVar[int] = 7
