"""Is a patient's nearest neighbour of her own kind, real or synthetic?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from fedbench.metric import Anchors, Evidence, Family, Measure, Metric, Refusal
from fedbench.metrics._draws import Floats, draws, measured
from fedbench.metrics._events import thinned
from fedbench.metrics._space import between, blocks, points
from fedbench.seeds import Rng

__all__ = ["Adversarial", "own_kind"]

# Neighbours choose each other, so patients are no independent draws, which weighing them takes
# them for: the true spread is 0.9 to 1.4 times as large between 1 and 10 normal columns. Where
# it is less, intervals are too wide rather than too narrow.
_MUTUAL = math.sqrt(2)
_SAME = 1e-6  # two distances that differ by rounding only; a level counts 1


@dataclass(frozen=True, kw_only=True)
class Adversarial(Metric):
    """Nearest-neighbour adversarial accuracy against real test patients; .5 is best.

    The share of patients whose nearest neighbour is of their own kind, real or synthetic, mean
    of both kinds: near 1 where the kinds lie apart, .5 where they are of one law, near 0 where
    synthetic patients are copies of those they are compared with. Two neighbours equally near
    count half, so that .5 is also right for records with few columns.

    Both sides are thinned to the smaller one, ``patients`` at most, drawn by ``rng``; distances
    are those of ``joint``, in blocks. Replicates keep the neighbours; what they leave out is told
    by ``_MUTUAL``.

    Yale et al. 2020, https://doi.org/10.1016/j.neucom.2019.12.136. Their privacy loss, the
    accuracy against test minus that against training patients, is a membership attack without
    controls, and blind to who trained a local model: ``ratio`` asks this patient by patient.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "near 0.5"
    version: ClassVar[int] = 2
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")
    per_site: ClassVar[bool] = False

    patients: Annotated[int, Ge(10)] = 2000

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        sides = (evidence.test, evidence.synthetic)
        size = min(self.patients, *(len(side) for side in sides))
        some = [
            thinned(side, size, "adversarial", stream)
            for side, stream in zip(sides, rng.spawn(2), strict=True)
        ]
        real, fake = (points(evidence, view) for view in some)
        if not real.shape[1]:
            return [Refusal(reason="nothing varies among the training records")]
        found = (own_kind(real, fake), own_kind(fake, real))
        kinds = [_mean(own, draws(view)) for own, view in zip(found, some, strict=True)]
        rows = np.mean(kinds, axis=0)
        return [measured(rows[0] + _MUTUAL * (rows - rows[0]), size)]


def own_kind(mine: Floats, theirs: Floats) -> Floats:
    """Return for each of mine whether the nearest other one is mine, ``(n,)``; half for a tie."""
    found = np.empty(len(mine))
    for rows in blocks(len(mine), len(mine) + len(theirs)):
        own = between(mine[rows], mine)
        own[np.arange(len(own)), np.arange(len(mine))[rows]] = np.inf
        further = between(mine[rows], theirs).min(axis=1) - own.min(axis=1)
        found[rows] = np.where(np.abs(further) <= _SAME, 0.5, further > 0)
    return found


def _mean(own: Floats, weights: NDArray[np.uint8]) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.asarray(weights @ own / weights.sum(axis=1, dtype=np.float64))
