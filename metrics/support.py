"""Do synthetic patients lie where real ones do, and everywhere where real ones do?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

__all__ = ["Support"]

Weights = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Support(Metric):
    """Whether synthetic patients are where real ones are (typical), and real ones are reached.

    Around every real patient a ball reaches to her ``neighbours``-th nearest real patient. Part
    ``density``: synthetic patients in a ball, as a share of ``neighbours``, which is about 1, the
    best, for patients of the same law and more for typical ones only; ``coverage``: the share of
    balls with a synthetic patient (Naeem et al. 2020, https://arxiv.org/abs/2002.09797). Part
    ``alpha_precision``: how evenly synthetic patients fill the shells around the real centre, each
    of which holds the same share of real ones; ``beta_recall``: how evenly real patients who are
    no further from a synthetic one than from a real one fill the shells around the synthetic
    centre (Alaa et al. 2022, https://arxiv.org/abs/2102.08921, on columns rather than an
    embedding, integrated exactly rather than in 30 steps).

    Distances are those of ``joint``; balls are taken as they are by the replicates. All depend on
    how many patients there are: both sides are thinned to the smaller one, ``patients`` at most,
    drawn by ``rng``.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "higher"
    version: ClassVar[int] = 3
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")
    per_site: ClassVar[bool] = False

    patients: Annotated[int, Ge(10)] = 1000
    neighbours: Annotated[int, Ge(1)] = 5

    @property
    def fewest(self) -> int:
        return self.neighbours + 2

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        views = (evidence.test, evidence.synthetic)
        size = min(self.patients, *(len(view) for view in views))
        real, fake = (
            thinned(view, size, "support", stream)
            for view, stream in zip(views, rng.spawn(2), strict=True)
        )
        places = [points(evidence, view) for view in (real, fake)]
        if not places[0].shape[1]:
            return [Refusal(reason="nothing varies among the training records")]
        if (places[1] == places[1][0]).all():
            return [Refusal(reason="the synthetic records are all alike")]
        sides = (draws(real), draws(fake))
        answers = []
        for part, rows in self._found(places[0], places[1], *sides):
            crowded = part == "density"
            found = measured(rows, size, part=part, most=np.inf if crowded else 1.0)
            answers.append(replace(found, facts={"better": "near 1"}) if crowded else found)
        return answers

    def _found(
        self, real: Floats, fake: Floats, mine: Weights, theirs: Weights
    ) -> Iterator[tuple[str, Floats]]:
        inside, near, first = _neighbours(real, fake, self.neighbours)
        every, others = (_shares(weights) for weights in (mine, theirs))
        yield "density", ((every @ inside) * others).sum(axis=1) * len(real) / self.neighbours
        there = (theirs > 0).astype(np.float32)
        yield "coverage", (every * (there @ inside.T > 0)).sum(axis=1)
        centre, middle = real.mean(axis=0), fake.mean(axis=0)
        yield "alpha_precision", _even(_from(real, centre), _from(fake, centre), every, others)
        yield "beta_recall", _recall(_from(fake, middle)[first], there @ near.T > 0, every)


def _neighbours(
    real: Floats, fake: Floats, neighbours: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Return what is near to every real patient.

    Returns:
        Whether each synthetic patient is in her ball (n, m), whether she is no further than the
        nearest real one (n, m), and which one is nearest, (n,).
    """
    inside, near = (np.empty((len(real), len(fake)), np.float32) for _ in range(2))
    first = np.empty(len(real), np.int64)
    for rows in blocks(len(real), len(real) + len(fake)):
        own = between(real[rows], real)
        own[np.arange(len(own)), np.arange(len(real))[rows]] = np.inf
        own.partition((0, neighbours - 1), axis=1)
        apart = between(real[rows], fake)
        inside[rows] = apart < own[:, neighbours - 1 : neighbours]
        near[rows] = apart <= own[:, :1]
        first[rows] = apart.argmin(axis=1)
    return inside, near, first


def _shares(weights: Weights) -> Floats:
    total = weights.sum(axis=1, keepdims=True, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(weights / total)


def _from(places: Floats, centre: Floats) -> Floats:
    return np.asarray(np.sqrt(((places - centre) ** 2).sum(axis=1)))


def _even(real: Floats, fake: Floats, every: Floats, others: Floats) -> Floats:
    """Return 1 minus twice the mean gap of the distribution functions over real patients."""
    order = np.argsort(real)
    share = every[:, order]
    own = share.cumsum(axis=1)
    # Half of a patient's own share lies on either side of her.
    own -= share / 2
    ranked = np.argsort(fake)
    passed = np.zeros((len(others), len(fake) + 1))
    np.cumsum(others[:, ranked], axis=1, out=passed[:, 1:])
    ends = (np.searchsorted(fake[ranked], real[order], side) for side in ("left", "right"))
    there = sum(passed[:, end] for end in ends) / 2
    return np.asarray(1 - 2 * (share * np.abs(there - own)).sum(axis=1))


def _recall(shell: Floats, reached: NDArray[np.bool_], every: Floats) -> Floats:
    """Return twice the area below the share of real patients who are reached, by shell."""
    order = np.argsort(shell, kind="stable")
    share = every[:, order]
    inner = share.cumsum(axis=1) - share / 2
    return np.asarray(2 * (share * reached[:, order] * (1 - inner)).sum(axis=1))
