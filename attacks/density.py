"""Is the release denser around this patient than patients are?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray
from scipy import special

from fedbench.attack import Attack, Game, Guess, Knowledge, PublicChallenge, Sight
from fedbench.attacks._neighbours import to_reference, to_release
from fedbench.seeds import Rng

__all__ = ["Density"]


@dataclass(frozen=True, kw_only=True)
class Density(Attack):
    """The log ratio of the densities of released records and of other patients.

    DOMIAS of van Breugel et al. 2023 (https://proceedings.mlr.press/v206/breugel23a.html), with a
    Laplace kernel over the distance between records of mixed columns, where theirs needs numbers.
    Summed over the 50 nearest records; those beyond have no weight at this bandwidth.

    Attributes:
        bandwidth: distance (mean over columns) over which a record's weight falls to 1/e.
    """

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC, Knowledge.REFERENCE})
    version: ClassVar[int] = 5
    misses: ClassVar[str] = "copies at few false alarms"

    bandwidth: Annotated[float, Interval(gt=0, le=1)] = 0.02

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        released, reference = to_release(sight, challenge), to_reference(sight, challenge)
        if not released.shape[1]:
            return Guess(np.zeros(len(released)))
        return Guess(
            self._density(released, len(sight.synthetic))
            - self._density(reference, len(sight.reference))
        )

    def _density(self, distances: NDArray[np.float64], n: int) -> NDArray[np.float64]:
        found = special.logsumexp(-distances / self.bandwidth, axis=1) - math.log(n)
        return np.asarray(found, dtype=np.float64)
