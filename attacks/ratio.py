"""Is this patient closer to the release than to other patients?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Interval, Le
from numpy.typing import NDArray

from fedbench.attack import Attack, Game, Guess, Knowledge, PublicChallenge, Sight
from fedbench.attacks._neighbours import MOST, to_reference, to_release
from fedbench.seeds import Rng

__all__ = ["Ratio"]


@dataclass(frozen=True, kw_only=True)
class Ratio(Attack):
    """How much closer the release is than other patients of the same hospitals.

    The mean over the nearest ``k`` of log distance to a reference patient minus log distance to a
    released record, both in the same units. A patient in a crowd is close to both; one whom only
    the release knows is close to that alone. It is the calibration of Chen et al. 2020
    (https://doi.org/10.1145/3372297.3417238) as a ratio over several neighbours.

    Attributes:
        k: how many neighbours.
        floor: share of the columns below which distances are not told apart.
    """

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC, Knowledge.REFERENCE})
    version: ClassVar[int] = 5
    misses: ClassVar[str] = "one copy among many alike"

    k: Annotated[int, Ge(1), Le(MOST)] = 5
    floor: Annotated[float, Interval(gt=0, le=1)] = 0.001

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        released, reference = to_release(sight, challenge), to_reference(sight, challenge)
        k = min(self.k, released.shape[1], reference.shape[1])
        if not k:
            return Guess(np.zeros(len(released)))
        return Guess(self._closeness(released[:, :k]) - self._closeness(reference[:, :k]))

    def _closeness(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(-np.log(np.maximum(distances, self.floor)).mean(axis=1))
