"""Does the sum of what all hospitals send tell whom they train on?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedbench.attack import Knowledge
from fedbench.attacks._likelihood import Likelihood

__all__ = ["Aggregate"]


@dataclass(frozen=True, kw_only=True)
class Aggregate(Likelihood):
    """The same for the sum over hospitals, which is all that secure aggregation shows."""

    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.AGGREGATE, Knowledge.REFERENCE})
    version: ClassVar[int] = 7
