"""What does a small hospital gain from synthetic records beside its own?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from fedbench.metric import Anchors, Evidence, Family, Measure, Metric, Refusal, View
from fedbench.metrics._answers import (
    Question,
    asked_weights,
    first_score,
    some,
    together,
    unscorable,
    weakness,
)
from fedbench.metrics._draws import measured, mended
from fedbench.metrics._models import Unfit, learn
from fedbench.nouns import plural
from fedbench.seeds import Rng
from fedbench.task import Problem, problem

__all__ = ["Augmentation"]

PARTS = {"classification": "auroc", "survival": "c_index", "regression": "r2"}


@dataclass(frozen=True, kw_only=True)
class Augmentation(Metric):
    """How much better a small hospital foresees with synthetic records beside its own.

    A hospital of ``patients`` training patients is drawn ``times`` times. One model of the kind
    that ``utility`` learns has them alone to learn from, one has all synthetic patients besides;
    what is measured is by how much the second foresees the real test patients better, averaged
    over the hospitals drawn (parts ``auroc``, ``c_index`` and ``r2``). Below 0 synthetic records
    do harm. A synthetic record that equals one of hers word for word is not added, once for each:
    so the ceiling, the training records, is real patients of other hospitals alone, fewer by hers.

    Replicates weigh test patients and refit nothing: intervals are about these hospitals.
    """

    family: ClassVar[Family] = "utility"
    better: ClassVar = "higher"
    version: ClassVar[int] = 2
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")
    per_site: ClassVar[bool] = False

    patients: Annotated[int, Ge(10)] = 100
    times: Annotated[int, Ge(1)] = 5
    penalty: Annotated[float, Gt(0)] = 0.01

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise ValueError(f"penalty is {self.penalty}; expected a number above 0")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        found = [
            self._answer(
                Question(name=name, task=task, pose=problem, penalty=self.penalty), evidence, stream
            )
            for (name, task), stream in zip(
                evidence.schema.tasks.items(), rng.spawn(len(evidence.schema.tasks)), strict=True
            )
        ]
        return found or [Refusal(reason="the schema names no task", status="not applicable")]

    def _answer(self, question: Question, evidence: Evidence, rng: Rng) -> Measure | Refusal:
        task, part = question.task, PARTS[question.task.kind]
        asked = question.posed(evidence.test)
        if reason := unscorable(asked, task) or weakness(asked, task):
            return Refusal(reason=reason, part=part, key=question.key)
        everyone, made = question.posed(evidence.train), question.posed(evidence.synthetic)
        if len(everyone) < 2 * self.patients:
            reason = (
                f"{plural(len(everyone), 'training patient')}; a small hospital of "
                f"{self.patients} is drawn from at least {2 * self.patients}"
            )
            return Refusal(reason=reason, part=part, key=question.key)
        weights = asked_weights(evidence.test, asked)
        looks = [_looks(evidence.train, everyone), _looks(evidence.synthetic, made)]
        gains, reason = [], ""
        for _ in range(self.times):
            mine = rng.permutation(len(everyone))[: self.patients]
            own = some(everyone, mine)
            more = some(made, _others(looks[1], looks[0][mine]))
            scores = []
            for known in (own, together([own, more])):
                model = learn(known, task, self.penalty)
                if isinstance(model, Unfit):
                    reason = model.reason
                    break
                scores.append(first_score(task, asked, model.scores(asked.predictors), weights))
            if len(scores) == 2:
                gains.append(scores[1] - scores[0])
        if not gains:
            return Refusal(reason=reason, part=part, key=question.key)
        least = -np.inf if task.kind == "regression" else -1.0
        rows = mended(np.stack(gains)).mean(axis=0)
        most = np.inf if task.kind == "regression" else 1.0
        return measured(rows, len(asked), part=part, key=question.key, least=least, most=most)


def _looks(view: View, known: Problem) -> NDArray[np.uint64]:
    """Return what the records of these patients look like, by number."""
    rows = pd.Index(view.cohort.patients).get_indexer(pd.Index(known.patients))
    return view.cohort.looks[rows]


def _others(made: NDArray[np.uint64], own: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the places of all records but one for each of one's own that looks just like it."""
    found = pd.Series(made)
    before = found.groupby(found).cumcount()
    there = found.map(pd.Series(own).value_counts()).fillna(0)
    return np.flatnonzero(before >= there)
