"""What do the first hospitals lose when the last one joins?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Gt

from fedbench.metric import Evidence, Family, Key, Measure, Metric, Refusal, View
from fedbench.metrics._answers import Question
from fedbench.metrics._draws import Floats, measured
from fedbench.metrics._ruler import Ruler, level_shares
from fedbench.seeds import Rng
from fedbench.task import problem

__all__ = ["Forgetting"]

FEW = 20
"""Test patients below whom a hospital has no number."""

_TOGETHER = Refusal(
    reason="there are no records from before the last hospital joined: that takes hospitals that "
    "arrive one after another and do not come back (strategy turns), all of them in every round, "
    "and a generator that learns in one phase and not by sums",
    status="not applicable",
)


@dataclass(frozen=True, kw_only=True)
class Forgetting(Metric):
    """How much worse the first hospitals are drawn, and served, since the last one joined.

    Where hospitals arrive one after another: the mean total-variation distance between the columns
    (``Ruler``) of a hospital's test patients and of synthetic ones, now minus before the last
    hospital joined, averaged over all others and for each of them (``column``). Parts ``auroc``,
    ``c_index`` and ``r2``: by how much a model that learns from synthetic records foresees what
    happens to all their patients worse. Above 0 they lost (backward transfer with the other sign,
    Lopez-Paz and Ranzato 2017, https://arxiv.org/abs/1706.08840).

    Both sides are weighed by the same draws of test patients, so that what they share cancels.
    """

    family: ClassVar[Family] = "fairness"
    better: ClassVar = "lower"
    version: ClassVar[int] = 3
    per_site: ClassVar[bool] = False

    bins: Annotated[int, Ge(2)] = 20
    penalty: Annotated[float, Gt(0)] = 0.01

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise ValueError(f"penalty is {self.penalty}; expected a number above 0")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        if evidence.before is None or len(evidence.beside) < 2:
            return [_TOGETHER]
        names = sorted(evidence.beside)[:-1]
        tests = {site: evidence.beside[site].test for site in names}
        known = {site: test for site, test in tests.items() if len(test) >= FEW}
        if not known:
            return [Refusal(reason=f"none of the first hospitals has {FEW} test patients")]
        sides = (evidence.synthetic, evidence.before)
        first = evidence.test.cohort.patients
        mine = np.isin(
            first.astype(str),
            np.concatenate([test.cohort.patients.astype(str) for test in tests.values()]),
        )
        everyone = evidence.test.at(mine)
        return [*self._drawn(known, sides, evidence), *self._foreseen(everyone, sides, evidence)]

    def _drawn(
        self, known: dict[str, View], sides: tuple[View, View], evidence: Evidence
    ) -> Iterator[Measure]:
        """Yield the change in single columns, on average and for each hospital."""
        ruler = Ruler(evidence.encoder, self.bins, evidence.train)
        found = {
            site: np.subtract(*(_distance(test, side, ruler) for side in sides))
            for site, test in known.items()
        }
        n = sum(len(test) for test in known.values())
        yield measured(np.mean(list(found.values()), axis=0), n, least=-1.0)
        for site, rows in found.items():
            yield measured(rows, len(known[site]), key=Key(column=site), least=-1.0)

    def _foreseen(
        self, everyone: View, sides: tuple[View, View], evidence: Evidence
    ) -> Iterator[Measure | Refusal]:
        """Yield the change in what counts most of each task."""
        for name, task in evidence.schema.tasks.items():
            question = Question(name=name, task=task, pose=problem, penalty=self.penalty)
            now, before = (_served(question, everyone, side) for side in sides)
            yield _lost(now, before)


def _served(question: Question, everyone: View, side: View) -> Measure | Refusal:
    """Return what counts most of a task."""
    return question.asked(everyone, lambda: question.learnt(side))[0]


def _distance(test: View, synthetic: View, ruler: Ruler) -> Floats:
    gaps = np.abs(level_shares(test, ruler) - level_shares(synthetic, ruler))
    found = np.add.reduceat(gaps, ruler.starts, axis=1).mean(axis=1) / 2
    return np.asarray(np.where(np.isfinite(found), found, found[0]), dtype=np.float64)


def _lost(now: Measure | Refusal, before: Measure | Refusal) -> Measure | Refusal:
    """Return before minus now; a refusal if one of them is."""
    if isinstance(now, Refusal):
        return now
    if isinstance(before, Refusal):
        return before
    if now.weak or now.replicates is None or before.replicates is None:
        return Refusal(reason=now.weak or "it has no replicates", part=now.part, key=now.key)
    values = np.array([before.value - now.value])
    rows = np.concatenate([values, before.replicates - now.replicates])
    most = 1.0 if math.isfinite(now.least) else math.inf
    return measured(rows, now.n, part=now.part, key=now.key, least=-most, most=most)
