"""To the updates of which hospital does a patient's gradient point?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedbench.attack import Knowledge
from fedbench.attacks._homing import Homing
from fedbench.attacks.cosine import Cosine

__all__ = ["Towards"]


@dataclass(frozen=True, kw_only=True)
class Towards(Homing, Cosine):
    """The hospital whose updates have the largest cosine with her gradient (a weak attack)."""

    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.UPDATES, Knowledge.REFERENCE})
    version: ClassVar[int] = 3
