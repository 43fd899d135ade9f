"""Was this patient's record copied, or nearly so?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedbench.attack import Attack, Game, Guess, Knowledge, PublicChallenge, Sight
from fedbench.attacks._neighbours import to_release
from fedbench.seeds import Rng

__all__ = ["Dcr"]


@dataclass(frozen=True, kw_only=True)
class Dcr(Attack):
    """Minus the distance from each target to the closest released record.

    Distance to closest record: Chen et al. 2020, GAN-Leaks, without calibration
    (https://doi.org/10.1145/3372297.3417238).
    """

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC})
    version: ClassVar[int] = 7
    misses: ClassVar[str] = (
        "records that were changed in many columns, and patients who look like many others"
    )

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        distances = to_release(sight, challenge)
        return Guess(-distances[:, 0] if distances.size else np.full(len(distances), -1.0))
