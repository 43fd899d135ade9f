"""Does what raises a risk in real patients raise it in synthetic ones?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from annotated_types import Gt
from numpy.typing import NDArray

from fedbench.data import Task
from fedbench.metric import Anchors, Evidence, Family, Key, Measure, Metric, Refusal, View
from fedbench.metrics._answers import unscorable, weakness
from fedbench.metrics._draws import Floats, draws, measured, over
from fedbench.metrics._influence import moved
from fedbench.metrics._models import FITS, Preparation, Unfit
from fedbench.seeds import Rng
from fedbench.stats import clopper_pearson
from fedbench.task import Problem, problem

__all__ = ["Effects", "overlap"]

PARTS = ("overlap", "signs")
USUAL = 1.959963984540054
"""Standard errors on either side of an estimate that make a 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class Effects(Metric):
    """Agreement of the log hazard or odds ratios found in synthetic and in real test patients.

    For every task of the schema one model with all predictors is fitted to both, of the kind that
    ``utility`` learns, predictors being standardized by the training records for both. Part
    ``overlap``: how far the 95 % intervals of a predictor's two ratios overlap, as a share of each
    interval, averaged over both and over predictors (Karr et al. 2006,
    https://doi.org/10.1198/000313006X124640; 0 where they do not meet). Part ``signs``: of the
    predictors whose real interval leaves out 1, the share that point the same way in synthetic
    records, with limits never closer than Clopper and Pearson's for so many predictors. Predictors
    that do not vary in real patients are left out; one that does not in synthetic ones says
    nothing of its ratio, which neither overlaps nor points the same way.

    Replicates move each model by the infinitesimal jackknife, and refit nothing.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "higher"
    version: ClassVar[int] = 3
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")
    needs_replicates: ClassVar[bool] = True
    judges_few: ClassVar[bool] = True

    penalty: Annotated[float, Gt(0)] = 0.01

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise ValueError(f"penalty is {self.penalty}; expected a number above 0")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        found = [
            answer
            for name, task in evidence.schema.tasks.items()
            for answer in self._answers(name, task, evidence)
        ]
        return found or [Refusal(reason="the schema names no task", status="not applicable")]

    def _answers(self, name: str, task: Task, evidence: Evidence) -> Iterator[Measure | Refusal]:
        key = Key(task=name)
        preparation = evidence.train.shared(
            f"effects: {name}",
            lambda: Preparation.of(_problem(evidence.train, name, task).predictors),
        )
        sides = []
        for view, which in ((evidence.test, "real test"), (evidence.synthetic, "synthetic")):
            side = view.shared(
                f"effects: {name} {self.penalty!r}",
                partial(self._side, view, name, task, preparation),
            )
            if isinstance(side, str):
                reason = f"{side} ({which} patients)"
                yield from (Refusal(reason=reason, part=part, key=key) for part in PARTS)
                return
            sides.append(side)
        yield from _compared(sides[0], sides[1], key)

    def _side(self, view: View, name: str, task: Task, preparation: Preparation) -> _Side | str:
        """Return the model of one side, or why there is none."""
        asked = _problem(view, name, task)
        if reason := unscorable(asked, task) or weakness(asked, task):
            return reason
        prepared = preparation(asked.predictors)
        varies = prepared.std(axis=0) > 1e-9
        if not varies.any():
            return "no predictor varies"
        fit = FITS[task.kind](prepared[:, varies], asked, self.penalty)
        if isinstance(fit, Unfit):
            return fit.reason
        rows = pd.Index(view.cohort.patients).get_indexer(pd.Index(asked.patients))
        weights, intercept = fit
        moves = moved(
            prepared[:, varies],
            asked,
            task=task,
            weights=weights,
            intercept=intercept,
            penalty=self.penalty,
            draws=draws(view)[:, rows],
        )
        return _Side(len(asked), len(varies), np.flatnonzero(varies), moves.T)


@dataclass(frozen=True)
class _Side:
    """Weights of the predictors of these numbers, (predictors, 1 + B), learnt from n patients.

    ``asked`` is how many predictors there are, those that do not vary included.
    """

    n: int
    asked: int
    predictors: NDArray[np.int64]
    weights: Floats


def _problem(view: View, name: str, task: Task) -> Problem:
    return view.shared(f"effects: problem {name}", lambda: problem(view.cohort, task))


def _compared(real: _Side, fake: _Side, key: Key) -> Iterator[Measure | Refusal]:
    mine, theirs = real.weights, np.full_like(real.weights, np.nan)
    known = np.isin(real.predictors, fake.predictors)
    theirs[known] = fake.weights[np.isin(fake.predictors, real.predictors)]
    spread, other = (side[:, 1:].std(axis=1, keepdims=True) for side in (mine, theirs))
    common = np.where(known[:, None], overlap(mine, spread, theirs, other), 0.0).mean(axis=0)
    mean = measured(common, real.n, part="overlap", key=key)
    yield over(mean, len(known), real.asked, "predictor")
    clear = np.abs(mine[:, 0]) > USUAL * spread[:, 0]
    if not clear.any():
        reason = "no ratio in real records stands out from 1"
        yield Refusal(reason=reason, part="signs", key=key)
        return
    same = ((mine > 0) == (theirs > 0))[clear] & known[clear, None]
    found = measured(same.mean(axis=0), real.n, part="signs", key=key)
    limits = clopper_pearson(int(same[:, 0].sum()), len(same))
    low, high = min(found.low, limits.low), max(found.high, limits.high)
    yield over(replace(found, low=low, high=high), len(same), real.asked, "predictor")


def overlap(first: Floats, spread: Floats, second: Floats, other: Floats) -> Floats:
    """Return how much two 95 % intervals overlap, as a share of each, averaged over the two.

    Args:
        first: an estimate.
        spread: its standard error.
        second: another estimate.
        other: its standard error.
    """
    low = np.maximum(first - USUAL * spread, second - USUAL * other)
    high = np.minimum(first + USUAL * spread, second + USUAL * other)
    common = np.maximum(high - low, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(common / (4 * USUAL * spread) + common / (4 * USUAL * other))
