"""Do whole patients come from one law, all columns together?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from fedbench.metric import Anchors, Evidence, Family, Measure, Metric, Refusal
from fedbench.metrics._draws import Floats, draws, measured
from fedbench.metrics._events import thinned
from fedbench.metrics._space import between, blocks, points
from fedbench.seeds import Rng
from fedbench.stats import permutation_p

__all__ = ["Joint"]

FOR_SCALE = 1000
"""Training patients that the median of distances is taken from."""

_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Joint(Metric):
    """Distances between the joint laws of real and synthetic patients; 0 where they are one.

    Part ``mmd``: the squared maximum mean discrepancy under a Gaussian kernel as wide as the
    median distance of training patients, or of those who differ (Gretton et al. 2012,
    https://jmlr.org/papers/v13/gretton12a.html). Part ``energy``: the energy distance (Szekely and
    Rizzo 2013, https://doi.org/10.1016/j.jspi.2013.03.018). Both without the pairs of a patient
    and herself, so that they are unbiased and can fall below 0; distances are Euclidean between
    the columns that ``associations`` compares. p-values permute who is real, ``permutations``
    times; there is none where patients belong to clusters, which no permutation keeps.

    Sides of more than ``patients`` are thinned to that many, drawn by ``rng``; kernels are summed
    in blocks and never kept.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "near 0"
    version: ClassVar[int] = 3
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")
    per_site: ClassVar[bool] = False

    patients: Annotated[int, Ge(10)] = 1000
    permutations: Annotated[int, Ge(19)] = 499

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        streams = rng.spawn(4)
        real, fake = (
            thinned(view, self.patients, "joint", stream)
            for view, stream in zip((evidence.test, evidence.synthetic), streams[:2], strict=True)
        )
        width = _width(evidence, streams[2])
        if not width > 0:
            return [Refusal(reason="nothing varies among the training records")]
        pooled = np.concatenate([points(evidence, view) for view in (real, fake)])
        labels = _permuted(len(real), len(pooled), self.permutations, streams[3])
        sums = _Sums.of(pooled, width, [draws(real), draws(fake)], labels)
        n, least = len(real), -np.inf
        clustered = evidence.schema.cluster is not None
        answers: list[Measure | Refusal] = []
        for j, part in enumerate(("mmd", "energy")):
            rows, null = sums.apart(j), sums.null(j)
            found = measured(rows, n, part=part, least=least, most=np.inf)
            facts = {} if clustered else {"p_value": permutation_p(float(rows[0]), null)}
            answers.append(replace(found, facts=facts))
        return answers


def _width(evidence: Evidence, rng: Rng) -> float:
    """Return the median distance of training patients."""
    known = thinned(evidence.train, FOR_SCALE, "scale", rng)

    def median() -> float:
        found = points(evidence, known)
        apart = between(found, found)[np.triu_indices(len(found), 1)]
        # Where most are alike, how far the others are.
        for some in (apart, apart[apart > _ROUNDING]):
            if len(some) and (middle := float(np.median(some))) > _ROUNDING:
                return middle
        return 0.0

    return known.shared("joint: width", median)


def _permuted(n: int, everyone: int, times: int, rng: Rng) -> NDArray[np.float64]:
    """Return who is called real in each permutation, (times, everyone)."""
    labels = np.zeros((times, everyone))
    labels[:, :n] = 1.0
    return np.asarray(rng.permuted(labels, axis=1))


@dataclass(frozen=True)
class _Sums:
    """Sums of both kernels over pairs of different patients.

    Leading axis: Gaussian kernel, negative distance. ``drawn`` (2, 3, 1 + B): real with real,
    synthetic with synthetic, real with synthetic, and ``pairs`` (3, 1 + B) how many those are.
    ``permuted`` the same without weights, (2, 3, permutations), with ``sizes`` (2,).
    """

    drawn: Floats
    pairs: Floats
    permuted: Floats
    sizes: tuple[int, int]

    @classmethod
    def of(
        cls, pooled: Floats, width: float, weights: Sequence[NDArray[np.uint8]], labels: Floats
    ) -> _Sums:
        """Sum over blocks of rows of the pooled patients, the real ones first."""
        n, everyone = weights[0].shape[1], len(pooled)
        asked = np.zeros((2, len(weights[0]), everyone))
        asked[0, :, :n], asked[1, :, n:] = weights
        drawn, permuted = np.zeros((2, 3, len(weights[0]))), np.zeros((2, 3, len(labels)))
        for rows in blocks(everyone, everyone):
            apart = between(pooled[rows], pooled)
            for j, kernel in enumerate((np.exp(-((apart / width) ** 2) / 2), -apart)):
                kernel[np.arange(len(kernel)), np.arange(everyone)[rows]] = 0.0
                mine, theirs = (kernel @ side.T for side in asked)
                drawn[j, 0] += (asked[0].T[rows] * mine).sum(axis=0)
                drawn[j, 1] += (asked[1].T[rows] * theirs).sum(axis=0)
                drawn[j, 2] += (asked[0].T[rows] * theirs).sum(axis=0)
                called, total = kernel @ labels.T, kernel.sum(axis=1, keepdims=True)
                is_real = labels.T[rows]
                permuted[j, 0] += (is_real * called).sum(axis=0)
                permuted[j, 1] += ((1 - is_real) * (total - called)).sum(axis=0)
                permuted[j, 2] += (is_real * (total - called)).sum(axis=0)
        sums, squares = asked.sum(axis=2), (asked**2).sum(axis=2)
        pairs = np.stack([sums[0] ** 2 - squares[0], sums[1] ** 2 - squares[1], sums[0] * sums[1]])
        return cls(drawn, pairs, permuted, (n, everyone - n))

    def apart(self, kernel: int) -> Floats:
        """Return the distance under each row of weights, ``(1 + B,)``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            mine, theirs, across = self.drawn[kernel] / self.pairs
        return np.asarray(mine + theirs - 2 * across)

    def null(self, kernel: int) -> Floats:
        """Return the distance in each permutation."""
        n, m = self.sizes
        mine, theirs, across = self.permuted[kernel]
        return np.asarray(mine / (n * (n - 1)) + theirs / (m * (m - 1)) - 2 * across / (n * m))
