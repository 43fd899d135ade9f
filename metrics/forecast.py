"""Do synthetic visits teach what the next real visit will show?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from fedbench.metric import Anchors, Evidence, Family, Key, Measure, Metric, Refusal, View
from fedbench.metrics._draws import Floats, measured, mended, over
from fedbench.metrics._events import Events, counted, thinned
from fedbench.metrics._models import Preparation
from fedbench.nouns import plural
from fedbench.seeds import Rng

__all__ = ["Forecast"]

Ints = NDArray[np.int64]

FEW = 20
"""Patients with a next value below whom a laboratory is not asked, or nothing learnt of it."""


@dataclass(frozen=True, kw_only=True)
class Forecast(Metric):
    """Share of the variance of the next value that models of synthetic visits foresee.

    For every laboratory a ridge regression of its value at a visit on the last known values of
    all of them before, and on the days in between; learnt from synthetic patients, scored on real
    ones, every patient counting once on either side. 1 is perfect, 0 no better than the mean of
    the real values, below 0 worse. Which laboratories are asked depends on real patients alone: a
    constant foresees those that too few synthetic patients have a next value of, or that never
    vary there, and 0 counts for those that none has. The linear kin of the predictive score of
    Yoon, Jarrett and van der Schaar 2019,
    https://papers.nips.cc/paper/8789-time-series-generative-adversarial-networks.

    Replicates weigh real patients and refit nothing. Sides of more than ``patients`` are thinned
    to that many, drawn by ``rng``.
    """

    family: ClassVar[Family] = "utility"
    better: ClassVar = "higher"
    version: ClassVar[int] = 2
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")

    penalty: Annotated[float, Gt(0)] = 0.01
    patients: Annotated[int, Ge(10)] = 2000

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise ValueError(f"penalty is {self.penalty}; expected a number above 0")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        names = [n for n, c in evidence.schema.visits.items() if c.kind != "category"]
        if not names:
            return [Refusal(reason="no number is measured at visits", status="not applicable")]
        streams = rng.spawn(2)
        real, fake = (
            thinned(view, self.patients, "forecast", stream)
            for view, stream in zip((evidence.test, evidence.synthetic), streams, strict=True)
        )
        asked, known = (_Pairs.of(view, names) for view in (real, fake))
        found: dict[str, Floats] = {}
        refused: list[Refusal] = []
        for j, name in enumerate(names):
            rows = self._foreseen(known, asked, j)
            if isinstance(rows, str):
                refused.append(Refusal(reason=rows, key=Key(column=name)))
            else:
                found[name] = rows
        if not found:
            return refused
        overall = mended(np.stack(list(found.values()))).mean(axis=0)
        return [
            over(measured(overall, len(real), least=-np.inf), len(found), len(names)),
            *(
                measured(rows, len(real), key=Key(column=name), least=-np.inf)
                for name, rows in found.items()
            ),
            *refused,
        ]

    def _foreseen(self, known: _Pairs, asked: _Pairs, j: int) -> Floats | str:
        """Return the share of the variance of one laboratory, (1 + B,), or why there is none."""
        mine, theirs = (side.rows(j) for side in (asked, known))
        if (n := len(np.unique(asked.owner[mine]))) < FEW:
            those = plural(n, "real test patient has", "real test patients have")
            return f"{those} a next value; this needs {FEW}"
        if not np.ptp(asked.then[mine, j]) > 0:
            return "the next value never varies in real test patients"
        if not len(theirs):
            return np.zeros(1 + len(asked.view.weights))
        model = known.view.shared(
            f"forecast: {j} {self.penalty!r}", lambda: self._learnt(known, theirs, j)
        )
        return _explained(model(asked.before.iloc[mine]), asked, mine, j)

    def _learnt(self, known: _Pairs, rows: Ints, j: int) -> _Model:
        from sklearn.linear_model import Ridge  # noqa: PLC0415

        before, then = known.before.iloc[rows], known.then[rows, j]
        preparation = Preparation.of(before)
        share = Events(known.view, known.owner[rows], then).share
        middle, spread = np.average(then, weights=share), then.std()
        if len(np.unique(known.owner[rows])) < FEW or not np.ptp(then) > 0:
            return _Model(preparation, np.zeros(preparation(before).shape[1]), middle)
        model = Ridge(alpha=self.penalty * share.sum())
        model.fit(preparation(before), (then - middle) / spread, sample_weight=share)
        return _Model(preparation, model.coef_ * spread, middle + model.intercept_ * spread)


@dataclass(frozen=True)
class _Model:
    preparation: Preparation
    weights: Floats
    intercept: float

    def __call__(self, before: pd.DataFrame) -> Floats:
        return np.asarray(self.intercept + self.preparation(before) @ self.weights)


@dataclass(frozen=True)
class _Pairs:
    """Visits and the patient's next one: ``owner`` (N,), ``before`` what is known at the first.

    ``then`` (N, p) are the values at the next visit, NaN where there is none.
    """

    view: View
    owner: Ints
    before: pd.DataFrame
    then: Floats

    @classmethod
    def of(cls, view: View, names: Sequence[str]) -> _Pairs:
        return view.shared("forecast: pairs", lambda: cls._of(view, names))

    @classmethod
    def _of(cls, view: View, names: Sequence[str]) -> _Pairs:
        found = view.cohort.sequences
        seen = found.visited
        owner, day = found.owner[seen], found.day[seen]
        values = np.where(found.measured, found.numbers, np.nan)[seen]
        again = np.flatnonzero(owner[1:] == owner[:-1])
        before = pd.DataFrame(_carried(values, owner)[again], columns=list(names))
        before["days in between"] = np.diff(day)[again]
        return cls(view, owner[again], before, values[again + 1])

    def rows(self, j: int) -> Ints:
        """Return the pairs that have a next value of this laboratory."""
        return np.flatnonzero(np.isfinite(self.then[:, j]))


def _carried(values: Floats, owner: Ints) -> Floats:
    """Return the last known value of the same patient, this visit included."""
    place = np.where(np.isfinite(values), np.arange(len(values))[:, None], -1)
    last = np.maximum.accumulate(place, axis=0) if len(values) else place
    found = np.take_along_axis(values, np.maximum(last, 0), axis=0) if len(values) else values
    known = (last >= 0) & (owner[np.maximum(last, 0)] == owner[:, None])
    return np.where(known, found, np.nan)


def _explained(foreseen: Floats, asked: _Pairs, rows: Ints, j: int) -> Floats:
    """Return 1 minus the squared error over the variance, under each row of weights."""
    owner, then = asked.owner[rows], asked.then[rows, j]
    then, foreseen = then - then.mean(), foreseen - then.mean()
    share = Events(asked.view, owner, then).share
    sums = np.stack([np.ones_like(then), then, then**2, (foreseen - then) ** 2]) * share
    place = np.repeat(np.arange(4), len(then))
    found = counted(asked.view, np.tile(owner, 4), place, 4, sums.ravel())
    with np.errstate(divide="ignore", invalid="ignore"):
        _, mean, square, error = found.T / found[:, 0]
        spread = square - mean**2
        return np.where(spread > 1e-12, 1 - error / spread, np.nan)
