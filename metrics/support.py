"""Do synthetic patients lie where real ones do, and everywhere where real ones do?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from fedbench.metric import Anchors, Evidence, Family, Measure, Metric, Refusal
from fedbench.metrics._draws import Floats, Singles, draws, measured
from fedbench.metrics._events import thinned
from fedbench.metrics._space import between, blocks, points
from fedbench.seeds import Rng

__all__ = ["Support"]

Weights = NDArray[np.uint8]

_ROUNDING = 1e-9
_SLACK = (-1e-9, 1e-9)
"""To either side of a distance: half of those who are just as far count as nearer."""


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

    Patients at the very edge of a ball, as there are where few values are possible, count as if
    ties were broken by lot: for their share of a ball that holds ``neighbours`` real ones, so that
    the same law has the same numbers, however coarse it is.

    Distances are those of ``joint``; balls are taken as they are by the replicates. All depend on
    how many patients there are: both sides are thinned to the smaller one, ``patients`` at most,
    drawn by ``rng``.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "higher"
    version: ClassVar[int] = 4
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
        near = _Near.of(real, fake, self.neighbours)
        every, others = (_shares(weights) for weights in (mine, theirs))
        held = ((every @ near.inside) * others).sum(axis=1)
        yield "density", held * len(real) / self.neighbours
        drawn = theirs.astype(np.float32)
        yield "coverage", (every * near.reached(drawn > 0)).sum(axis=1)
        centre, middle = real.mean(axis=0), fake.mean(axis=0)
        yield "alpha_precision", _even(_from(real, centre), _from(fake, centre), every, others)
        yield "beta_recall", _recall(_from(fake, middle)[near.first], near.nearer(drawn > 0), every)


@dataclass(frozen=True)
class _Near:
    """What is near to every real patient.

    Attributes:
        inside: with which share each synthetic patient is in her ball, ``(n, m)``.
        closer: whether each is nearer than her nearest real one, ``(n, m)``.
        tied: whether each is just as near, ``(n, m)``.
        rivals: how many real ones are that near, ``(n,)``.
        first: which synthetic one is nearest, ``(n,)``.
    """

    inside: Singles
    closer: Singles
    tied: Singles
    rivals: Floats
    first: NDArray[np.int64]

    @classmethod
    def of(cls, real: Floats, fake: Floats, neighbours: int) -> _Near:
        inside, closer, tied = (np.empty((len(real), len(fake)), np.float32) for _ in range(3))
        rivals, first = np.empty(len(real)), np.empty(len(real), np.int64)
        for rows in blocks(len(real), len(real) + len(fake)):
            own = between(real[rows], real) ** 2
            own[np.arange(len(own)), np.arange(len(real))[rows]] = np.inf
            apart = between(real[rows], fake) ** 2
            ordered = np.partition(own, (0, neighbours - 1), axis=1)
            nearest, edge = ordered[:, :1], ordered[:, neighbours - 1 : neighbours]
            within, at = _below(own, edge), _at(own, edge)
            share = (neighbours - within.sum(axis=1)) / at.sum(axis=1)
            inside[rows] = _below(apart, edge) + share[:, None] * _at(apart, edge)
            closer[rows], tied[rows] = _below(apart, nearest), _at(apart, nearest)
            rivals[rows] = _at(own, nearest).sum(axis=1)
            first[rows] = apart.argmin(axis=1)
        return cls(inside, closer, tied, rivals, first)

    def reached(self, there: NDArray[np.bool_]) -> Floats:
        """Return how likely a ball holds anybody of those there, ``(1 + B, n)``."""
        out = np.log1p(-np.minimum(self.inside, 1 - 1e-7)).T
        return np.asarray(-np.expm1(there.astype(np.float32) @ out), dtype=np.float64)

    def nearer(self, there: NDArray[np.bool_]) -> Floats:
        """Return how likely one of those there is nearer than the nearest real one, the same."""
        drawn = there.astype(np.float32)
        as_near = drawn @ self.tied.T
        return np.where(drawn @ self.closer.T > 0, 1.0, as_near / (as_near + self.rivals))


def _at(squares: Floats, edge: Floats) -> NDArray[np.bool_]:
    """Whether squared distances are those of an edge, but for how sums round."""
    return np.abs(squares - edge) <= _ROUNDING * (1 + edge)


def _below(squares: Floats, edge: Floats) -> NDArray[np.bool_]:
    return squares < edge - _ROUNDING * (1 + edge)


def _shares(weights: Weights) -> Floats:
    total = weights.sum(axis=1, keepdims=True, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(weights / total)


def _from(places: Floats, centre: Floats) -> Floats:
    return np.asarray(np.sqrt(((places - centre) ** 2).sum(axis=1)))


def _even(real: Floats, fake: Floats, every: Floats, others: Floats) -> Floats:
    """Return 1 minus twice the mean gap of the distribution functions over real patients."""
    order, ranked = np.argsort(real), np.argsort(fake)
    share = every[:, order]
    there, own = (
        sum(passed[:, np.searchsorted(ends, real[order] + slack)] for slack in _SLACK) / 2
        for passed, ends in (
            (_summed(others[:, ranked]), fake[ranked]),
            (_summed(share), real[order]),
        )
    )
    return np.asarray(1 - 2 * (share * np.abs(there - own)).sum(axis=1))


def _summed(share: Floats) -> Floats:
    """Return the share of the first so many, from none on."""
    passed = np.zeros((len(share), share.shape[1] + 1))
    np.cumsum(share, axis=1, out=passed[:, 1:])
    return passed


def _recall(shell: Floats, reached: Floats, every: Floats) -> Floats:
    """Return twice the area below the share of real patients who are reached, by shell."""
    order = np.argsort(shell)
    share = every[:, order]
    passed, ends = _summed(share), shell[order]
    inner = sum(passed[:, np.searchsorted(ends, ends + slack)] for slack in _SLACK) / 2
    return np.asarray(2 * (share * reached[:, order] * (1 - inner)).sum(axis=1))
