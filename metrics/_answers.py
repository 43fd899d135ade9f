"""How well a model foresees what happened to the patients of a target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from fedbench.concordance import weighted_concordance
from fedbench.data import Cohort, Task
from fedbench.metric import FEWEST, Evidence, Key, Measure, Refusal, View
from fedbench.metrics._draws import Floats, draws, measured
from fedbench.metrics._limits import Skewed, explained, shared_by, unit
from fedbench.metrics._models import Model, Unfit, learn
from fedbench.nouns import plural
from fedbench.stats import auc_limits, weighted_auc
from fedbench.task import Problem

__all__ = [
    "PARTS",
    "Question",
    "Weights",
    "asked_weights",
    "first_score",
    "some",
    "together",
    "unscorable",
    "weakness",
    "weighted_brier_skill",
    "weighted_mae_skill",
    "weighted_precision",
    "weighted_r2",
]

SKILLS = ("brier_skill", "r2", "mae_skill")
"""What can lie below 0, without limit."""

PARTS: Mapping[str, tuple[str, ...]] = {
    "classification": ("auroc", "auprc", "brier_skill"),
    "survival": ("c_index",),
    "regression": ("r2", "mae_skill"),
}
"""What is measured for each kind of task, the first being what counts most."""

RARE = ("auprc", "brier_skill")
"""What hangs on the rarer class alone, and needs more of it."""

FEW_CASES = 10
FEW_RARE = 30
FEW_EVENTS = 20
FEW_VALUES = 20

Weights = NDArray[np.uint8]
Pose = Callable[[Cohort, Task], Problem]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One task, asked with some set of predictors."""

    name: str
    task: Task
    pose: Pose
    penalty: float

    @property
    def key(self) -> Key:
        """What the answers are about."""
        return Key(task=self.name)

    def answers(self, learner: View, evidence: Evidence) -> Sequence[Measure | Refusal]:
        """Learn from ``learner``, once for all targets, and score the target's patients."""
        return self.asked(evidence.test, lambda: self.learnt(learner))

    def asked(self, test: View, learnt: Callable[[], Model | Unfit]) -> Sequence[Measure | Refusal]:
        """Score these patients by a model, which is only learnt if they can be asked about."""
        problem = self.posed(test)
        if reason := unscorable(problem, self.task):
            return self._refuse(f"{reason} of this target", "refused")
        if not problem.predictors.shape[1]:
            return self._refuse("these records have no such predictors", "not applicable")
        model = learnt()
        if isinstance(model, Unfit):
            return self._refuse(model.reason, "refused")
        return list(self._scored(model, problem, asked_weights(test, problem)))

    @property
    def _label(self) -> str:
        return f"{self.pose.__module__}.{self.pose.__qualname__} {self.name}"

    def learnt(self, learner: View) -> Model | Unfit:
        """Return the model that these patients teach, learnt once for all metrics."""
        if len(learner) < FEWEST:
            those = plural(len(learner), "patient")
            return Unfit(f"{those} to learn from; this needs at least {FEWEST}")
        return learner.shared(
            f"model: {self._label} {self.penalty!r}",
            lambda: learn(self.posed(learner), self.task, self.penalty),
        )

    def posed(self, view: View) -> Problem:
        """Return what is known of these patients, and what happened."""
        return view.shared(f"task: {self._label}", lambda: self.pose(view.cohort, self.task))

    def _scored(self, model: Model, problem: Problem, weights: Weights) -> Iterator[Measure]:
        scores = model.scores(problem.predictors)
        if self.task.kind == "survival":
            rows = {"c_index": weighted_concordance(problem.time, problem.event, scores, weights)}
        elif self.task.kind == "regression":
            rows = {
                "r2": weighted_r2(scores, problem.value, weights),
                "mae_skill": weighted_mae_skill(scores, problem.value, weights),
            }
        else:
            rows = {
                "auroc": weighted_auc(scores, problem.event, weights),
                "auprc": weighted_precision(scores, problem.event, weights),
                "brier_skill": weighted_brier_skill(expit(scores), problem.event, weights),
            }
        cases = _cases(problem, self.task)
        for part, rows_of in rows.items():
            weak = weakness(problem, self.task, part)
            # What is too weak for a row is spread by those who make means of it.
            skewed = None if weak else _skewed(part, rows_of, scores, problem, cases)
            found = measured(
                rows_of if skewed is None else skewed.rows,
                len(problem),
                part=part,
                key=self.key,
                least=-np.inf if part in SKILLS else 0.0,
                weak=weak,
                cases=cases,
            )
            found = found if skewed is None else skewed.bounds(found)
            yield _never_closer(found, problem) if part == "auroc" else found

    def _refuse(self, reason: str, status: str) -> Sequence[Refusal]:
        return [
            Refusal(
                reason=reason,
                status="refused" if status == "refused" else "not applicable",
                part=part,
                key=self.key,
            )
            for part in PARTS[self.task.kind]
        ]


def _skewed(part: str, rows: Floats, scores: Floats, problem: Problem, cases: int) -> Skewed | None:
    """Return a score whose percentiles are no limits, with better ones."""
    if part in ("c_index", "auprc"):
        return unit(rows, cases)
    if part != "r2":
        return None
    errors = (scores - problem.value) ** 2, (problem.value - problem.value.mean()) ** 2
    return explained(rows, min(map(shared_by, errors)))


def _never_closer(found: Measure, problem: Problem) -> Measure:
    """Return an AUC with limits that few cases allow; a bootstrap of them comes too near to 1."""
    events = int(problem.event.sum())
    limits = auc_limits(found.value, events, len(problem) - events)
    return replace(found, low=min(found.low, limits.low), high=max(found.high, limits.high))


def weighted_precision(scores: Floats, positive: NDArray[np.bool_], weights: Weights) -> Floats:
    """Average precision under each row of weights, patients with one score taken together.

    The same as scikit-learn's ``average_precision_score``; NaN where no positive has weight.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, member = scores[order], positive[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    found = np.empty(len(weights))
    step = max(1, (1 << 20) // max(1, len(scores)))
    for start, stop in pairwise([*range(0, len(weights), step), len(weights)]):
        drawn = weights[start:stop][:, order]
        called = drawn.cumsum(axis=1, dtype=np.float64)[:, ends]
        right = (drawn * member).cumsum(axis=1, dtype=np.float64)[:, ends]
        precision = np.divide(right, called, out=np.zeros_like(right), where=called > 0)
        gained = np.diff(right, axis=1, prepend=0.0)
        found[start:stop] = _ratio((precision * gained).sum(axis=1), right[:, -1])
    return found


def weighted_brier_skill(chances: Floats, positive: NDArray[np.bool_], weights: Weights) -> Floats:
    """Share of the Brier score of "everyone has the target's base rate" that a model takes away.

    1 is perfect, 0 no better than the base rate, below 0 worse (Kattan and Gerds 2018,
    https://doi.org/10.1186/s41512-018-0029-2). The plain score depends on the base rate, and
    lower would be better while all else in this metric is better when higher.
    """
    drawn = weights.astype(np.float64)
    total = drawn.sum(axis=1)
    rate = _ratio(drawn @ positive, total)
    errors = _ratio(drawn @ (chances - positive) ** 2, total)
    return 1 - _ratio(errors, rate * (1 - rate))


def weighted_r2(found: Floats, value: Floats, weights: Weights) -> Floats:
    """Share of the target's variance that a model explains; below 0 worse than its mean."""
    drawn = weights.astype(np.float64)
    total = drawn.sum(axis=1)
    # Around the common mean, or the difference of two large numbers would be all that is left.
    value, found = value - value.mean(), found - value.mean()
    spread = _ratio(drawn @ value**2, total) - _ratio(drawn @ value, total) ** 2
    return 1 - _ratio(_ratio(drawn @ (found - value) ** 2, total), spread)


def weighted_mae_skill(found: Floats, value: Floats, weights: Weights) -> Floats:
    """Share of the absolute error of "everyone has the target's median" that a model takes away."""
    drawn = weights.astype(np.float64)
    order = np.argsort(value, kind="stable")
    below = drawn[:, order].cumsum(axis=1)
    place = (2 * below < below[:, -1:]).sum(axis=1).clip(max=len(value) - 1)
    usual = value[order][place]
    step, error = max(1, (1 << 22) // len(value)), np.empty(len(drawn))
    for start in range(0, len(drawn), step):
        block = slice(start, start + step)
        error[block] = (drawn[block] * np.abs(value - usual[block, None])).sum(axis=1)
    return 1 - _ratio(drawn @ np.abs(found - value), error)


def first_score(task: Task, asked: Problem, scores: Floats, weights: Weights) -> Floats:
    """Return the score that counts most for this kind of task, under each row of weights."""
    if task.kind == "classification":
        return weighted_auc(scores, asked.event, weights)
    if task.kind == "survival":
        return weighted_concordance(asked.time, asked.event, scores, weights)
    return weighted_r2(scores, asked.value, weights)


def asked_weights(view: View, problem: Problem) -> Weights:
    """Return the weights of those who take part, ``(1 + B, n)``."""
    rows = pd.Index(view.cohort.patients).get_indexer(pd.Index(problem.patients))
    return np.asarray(draws(view)[:, rows])


def some(known: Problem, rows: NDArray[np.int64]) -> Problem:
    """Return these patients only."""
    return Problem(
        known.patients[rows],
        known.predictors.iloc[rows],
        known.time[rows],
        known.event[rows],
        known.value[rows],
    )


def together(known: Sequence[Problem]) -> Problem:
    """Return the patients of all."""
    return Problem(
        np.concatenate([each.patients for each in known]),
        pd.concat([each.predictors for each in known]),
        np.concatenate([each.time for each in known]),
        np.concatenate([each.event for each in known]),
        np.concatenate([each.value for each in known]),
    )


def unscorable(problem: Problem, task: Task) -> str:
    if task.kind == "regression":
        different = len(np.unique(problem.value))
        those = plural(len(problem), "test patient")
        return f"fewer than two values among {those}" * (different < 2)
    events, others = int(problem.event.sum()), int((~problem.event).sum())
    if not events:
        return f"no event among the {plural(others, 'test patient')}"
    if task.kind == "classification" and not others:
        return f"nobody without an event among the {plural(events, 'test patient')}"
    if task.kind == "survival" and (problem.time >= problem.time[problem.event].min()).sum() < 2:
        return f"no two of the {plural(events + others, 'test patient')} can be compared"
    return ""


def _cases(problem: Problem, task: Task) -> int:
    if task.kind == "regression":
        return len(problem)
    events, others = int(problem.event.sum()), int((~problem.event).sum())
    return events if task.kind == "survival" else min(events, others)


def weakness(problem: Problem, task: Task, part: str = "") -> str:
    if task.kind == "regression":
        few = len(problem) < FEW_VALUES
        return (
            f"{plural(len(problem), 'value')}; a row of its own needs {FEW_VALUES}" if few else ""
        )
    events, others = int(problem.event.sum()), int((~problem.event).sum())
    if task.kind == "survival":
        few = events < FEW_EVENTS
        return f"{plural(events, 'event')}; a row of its own needs {FEW_EVENTS}" if few else ""
    least = FEW_RARE if part in RARE else FEW_CASES
    few = min(events, others) < least
    needed = f"a row of its own needs {least} of each"
    return f"{events} with and {others} without the event; {needed}" if few else ""


def _ratio(top: Floats, bottom: Floats) -> Floats:
    found = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=found, where=bottom > 0)
    return found
