"""Does what hospitals send tell at which of them a patient was?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedbench.attack import Knowledge
from fedbench.attacks._homing import Homing
from fedbench.attacks._likelihood import Likelihood

__all__ = ["Origin"]


@dataclass(frozen=True, kw_only=True)
class Origin(Homing, Likelihood):
    """The hospital whose updates the patient makes likeliest, see the attack ``gradient``."""

    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.UPDATES, Knowledge.REFERENCE})
    version: ClassVar[int] = 4
