"""Do released records tell which planted records were trained on?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedbench.attack import Guess, Knowledge, PublicChallenge, Sight
from fedbench.attacks._canaries import Auditing
from fedbench.attacks._neighbours import to_release
from fedbench.seeds import Rng

__all__ = ["Canary"]


@dataclass(frozen=True, kw_only=True)
class Canary(Auditing):
    """A one-run audit of the release: how close is it to each canary (the score of ``dcr``)?

    Steinke, Nasr and Jagielski 2023 (https://arxiv.org/abs/2305.08846).
    """

    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC})
    version: ClassVar[int] = 2

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        distances = to_release(sight, challenge)
        return Guess(-distances[:, 0] if distances.size else np.full(len(distances), -1.0))
