"""Do models of synthetic patients lead to the same conclusions as models of real ones?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from fedbench.data import Schema, Task
from fedbench.metric import Anchors, Evidence, Family, Key, Measure, Metric, Refusal, View
from fedbench.metrics._answers import (
    Question,
    Weights,
    asked_weights,
    first_score,
    some,
    unscorable,
    weakness,
)
from fedbench.metrics._draws import Floats, measured, mended, rank_correlation
from fedbench.metrics._events import thinned
from fedbench.metrics._kinds import Score, taught
from fedbench.metrics._models import Unfit
from fedbench.seeds import Rng
from fedbench.task import Problem, problem

__all__ = ["Agreement", "columns_of", "common", "loss"]

Ints = NDArray[np.int64]
Models = Mapping[str, Score]

PARTS = ("models", "choice", "importance")
WIDER = 2.0
"""By how much replicates are spread.

The test patients whom real models learn from are drawn by chance too, which replicates that refit
nothing leave out: over 40 draws of 300 simulated test patients with the same synthetic ones,
values of ``importance`` were spread 1.8 times as far as replicates said, of ``choice`` 1.4 times.
"""
REFIT = 1.5
"""By how much scores are spread before kinds of models are ranked by them.

Over 40 draws of 400 made-up test patients and 250 synthetic ones intervals of ``models`` held the
mean 39 times, and 37 times where a third of the synthetic labels was swapped; without this 38 and
36 times, the narrowest of them being .2 and .3 wide where values differed by .2 and .4 (one
standard deviation).
"""
ASKED = "boosting"
"""The kind of model whose predictors are weighed."""


@dataclass(frozen=True, kw_only=True)
class Agreement(Metric):
    """Whether models learnt from synthetic and from real patients agree on what is best.

    For every task several kinds of models (ridge regression, naive Bayes for classification,
    nearest neighbours, a tree, a forest, gradient boosting) learn from synthetic patients, and
    from real test patients who are not those they are asked about (``folds``, whole clusters).
    Both are scored on the same real test patients, fold by fold, by AUROC, C-index or R².

    Part ``models``: Spearman's correlation of the scores of the kinds. Part ``choice``: the real
    score of the kind that synthetic patients would make one choose, minus that of the best kind;
    0 is best, and the loss matters where a correlation of so few kinds is coarse. Part
    ``importance``: what gradient boosting loses when the values of a column are exchanged between
    real test patients, all levels of a category together (Breiman 2001,
    https://doi.org/10.1023/A:1010933404324), as a share of what it loses by all columns, nothing
    being the least; the sum over columns of the smaller of the two shares. 1 is the same columns
    in the same proportions, 0 others. Ranks of columns, most of which matter next to nothing to
    either model, would be chance: 1,300 patients of one law agreed in them by .2 to .5.

    The real models learn from patients who were held back, so that copies of the training records
    do not agree by being the same records. Equally many synthetic patients are learnt from; sides
    of more than ``patients`` are thinned to that many, drawn by ``rng``. Replicates weigh test
    patients and refit nothing; what that leaves out is told by ``WIDER``.
    """

    family: ClassVar[Family] = "utility"
    better: ClassVar = "higher"
    version: ClassVar[int] = 3
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")
    per_site: ClassVar[bool] = False

    patients: Annotated[int, Ge(100)] = 2000
    folds: Annotated[int, Ge(2)] = 3
    exchanges: Annotated[int, Ge(1)] = 3
    penalty: Annotated[float, Gt(0)] = 0.01

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ValueError(f"folds is {self.folds}; expected at least 2")
        if not self.penalty > 0:
            raise ValueError(f"penalty is {self.penalty}; expected a number above 0")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        from threadpoolctl import threadpool_limits  # noqa: PLC0415

        tasks = evidence.schema.tasks
        if not tasks:
            return [Refusal(reason="the schema names no task", status="not applicable")]
        first, second, *streams = rng.spawn(2 + len(tasks))
        real = thinned(evidence.test, self.patients, "agreement", first)
        learnt = len(real) - len(real) // self.folds
        fake = thinned(evidence.synthetic, learnt, "agreement", second)
        found: list[Measure | Refusal] = []
        with threadpool_limits(1):
            for (name, task), stream in zip(tasks.items(), streams, strict=True):
                question = Question(name=name, task=task, pose=problem, penalty=self.penalty)
                found += self._answers(question, real, fake, stream)
        return found

    def _answers(
        self, question: Question, real: View, fake: View, rng: Rng
    ) -> Iterator[Measure | Refusal]:
        if not question.posed(real).predictors.shape[1]:
            reason = "these records have no predictors"
            for part in PARTS:
                yield Refusal(reason=reason, status="not applicable", part=part, key=question.key)
            return
        seeds = [int(seed) for seed in rng.integers(2**31, size=2)]
        theirs = real.shared(
            f"agreement: {question.name} {self!r}",
            lambda: _Reference.of(self, question, real, seeds),
        )
        if isinstance(theirs, str):
            yield from _refused(theirs, PARTS, question.key)
            return
        models = taught(question.posed(fake), question.task, self.penalty, seeds[1])
        if isinstance(models, Unfit):
            yield from _refused(models.reason, PARTS, question.key)
            return
        exam, mine = theirs.exam, theirs.exam.taken(lambda _: models)
        yield from _compared(theirs.result, mine, exam, question)


@dataclass(frozen=True)
class _Paper:
    """Patients of one fold, their weights ``(1 + B, n)`` and orders to exchange values in."""

    asked: Problem
    weights: Weights
    orders: Ints


@dataclass(frozen=True)
class _Result:
    """Scores of every kind, ``(1 + B, kinds)``, and what every column is worth, ``(1 + B, k)``."""

    scores: Floats
    importance: Floats


@dataclass(frozen=True)
class _Exam:
    """What models are asked: the patients of every fold, and which predictors go together."""

    task: Task
    columns: Mapping[str, Ints]
    papers: Sequence[_Paper]

    @property
    def n(self) -> int:
        return sum(len(paper.asked) for paper in self.papers)

    def taken(self, models: Callable[[int], Models]) -> _Result:
        """Return the results of the models of each fold, averaged over folds."""
        scores = [self._scores(paper, models(k)) for k, paper in enumerate(self.papers)]
        losses = [self._losses(paper, models(k)[ASKED]) for k, paper in enumerate(self.papers)]
        return _Result(_averaged(scores), _averaged(losses))

    def _scores(self, paper: _Paper, models: Models) -> Floats:
        asked = paper.asked
        each = [score(asked.predictors) for score in models.values()]
        return np.stack([self._score(paper, found) for found in each], axis=1)

    def _score(self, paper: _Paper, found: Floats) -> Floats:
        return first_score(self.task, paper.asked, found, paper.weights)

    def _losses(self, paper: _Paper, score: Score) -> Floats:
        """Return what is lost when the values of each column are exchanged, ``(1 + B, k)``."""
        whole = self._score(paper, score(paper.asked.predictors))
        values = paper.asked.predictors.to_numpy(dtype=float)
        lost = []
        for places in self.columns.values():
            mixed = np.tile(values, (len(paper.orders), 1))
            mixed[:, places] = values[paper.orders.ravel()][:, places]
            found = score(pd.DataFrame(mixed, columns=paper.asked.predictors.columns))
            left = [self._score(paper, each) for each in np.split(found, len(paper.orders))]
            lost.append(whole - np.mean(left, axis=0))
        return np.stack(lost, axis=1)


@dataclass(frozen=True)
class _Reference:
    """What real patients teach, and what everybody's models are asked."""

    exam: _Exam
    result: _Result

    @classmethod
    def of(
        cls, metric: Agreement, question: Question, real: View, seeds: Sequence[int]
    ) -> _Reference | str:
        """Return what real patients teach, each asked by models that have not seen her."""
        task, asked = question.task, question.posed(real)
        if reason := unscorable(asked, task):
            return f"{reason} of this target"
        rng = np.random.default_rng(seeds[0])
        fold = _dealt(asked, real, metric.folds, rng)
        weights = asked_weights(real, asked)
        papers, models = [], []
        for k in range(metric.folds):
            mine = np.flatnonzero(fold == k)
            paper = some(asked, mine)
            if reason := unscorable(paper, task) or weakness(paper, task):
                return f"one of {metric.folds} equal parts of the test patients has {reason}"
            orders = np.argsort(rng.random((metric.exchanges, len(mine))), axis=1)
            papers.append(_Paper(paper, weights[:, mine], orders))
            known = taught(some(asked, np.flatnonzero(fold != k)), task, metric.penalty, seeds[1])
            if isinstance(known, Unfit):
                return f"{known.reason} (real test patients)"
            models.append(known)
        exam = _Exam(task, columns_of(real.cohort.schema, asked.predictors.columns), papers)
        return cls(exam, exam.taken(lambda k: models[k]))


def _compared(
    theirs: _Result, mine: _Result, exam: _Exam, question: Question
) -> Iterator[Measure | Refusal]:
    n, key = exam.n, question.key
    spread = [_widened(side, REFIT) for side in (theirs.scores, mine.scores)]
    rows = mended(rank_correlation(*spread)[None])[0]
    if np.isfinite(rows[0]):
        yield measured(rows, n, part="models", key=key, least=-1.0)
    else:
        reason = "all kinds of models score the same on one of the sides"
        yield Refusal(reason=reason, part="models", key=key)
    least = -np.inf if question.task.kind == "regression" else -1.0
    rows = _widened(loss(theirs.scores, mine.scores))
    yield measured(rows, n, part="choice", key=key, least=least, most=0.0)
    if (theirs.importance[0] > 0).any():
        rows = _widened(common(theirs.importance, mine.importance))
        yield measured(rows, n, part="importance", key=key)
    else:
        reason = "no column is of use to a model of real patients"
        yield Refusal(reason=reason, part="importance", key=key)


def _widened(rows: Floats, by: float = WIDER) -> Floats:
    return np.asarray(rows[0] + by * (rows - rows[0]))


def _refused(reason: str, parts: Sequence[str], key: Key) -> Iterator[Refusal]:
    return (Refusal(reason=reason, part=part, key=key) for part in parts)


def loss(real: Floats, fake: Floats) -> Floats:
    """Return the real score of what is best on the synthetic side minus the best, ``(1 + B,)``."""
    chosen = np.take_along_axis(real, fake.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.asarray(chosen - real.max(axis=1))


def common(real: Floats, fake: Floats) -> Floats:
    """Return how much two ways to share out one whole have in common, ``(1 + B,)``.

    What is negative counts as nothing; where nothing is left, nothing is in common.
    """
    parts = [np.maximum(side, 0.0) for side in (real, fake)]
    shares = [side / np.maximum(side.sum(axis=1, keepdims=True), 1e-12) for side in parts]
    return np.asarray(np.minimum(*shares).sum(axis=1))


def columns_of(schema: Schema, predictors: pd.Index) -> Mapping[str, Ints]:
    """Return the places of the predictors that stem from one column, by its name."""
    known = {**schema.static, **schema.visits}
    source = {f"{name}={level}": name for name, c in known.items() for level in c.levels}
    place, names = pd.factorize(predictors.map(lambda each: source.get(each, each)))
    return {str(name): np.flatnonzero(place == j) for j, name in enumerate(names)}


def _dealt(asked: Problem, view: View, folds: int, rng: Rng) -> Ints:
    """Return a fold for every patient: whole clusters, and events spread evenly."""
    rows = pd.Index(view.cohort.patients).get_indexer(pd.Index(asked.patients))
    names, owner = np.unique(view.cohort.clusters[rows].astype(str), return_inverse=True)
    events = np.bincount(owner, weights=asked.event, minlength=len(names))
    fold = np.empty(len(names), dtype=np.int64)
    fold[np.lexsort((rng.random(len(names)), events))] = np.arange(len(names)) % folds
    return np.asarray(fold[owner])


def _averaged(folds: Sequence[Floats]) -> Floats:
    """Return the mean over folds; a draw that leaves one undefined repeats what is there."""
    whole = [np.where(np.isfinite(each), each, each[:1]) for each in folds]
    return np.asarray(np.mean(whole, axis=0), dtype=np.float64)
