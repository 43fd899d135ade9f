"""Are all groups of patients served alike?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from scipy.special import expit

from fedbench.concordance import weighted_concordance
from fedbench.metric import Anchors, Evidence, Family, Key, Measure, Metric, Refusal, View
from fedbench.metrics._answers import Question, asked_weights, weakness
from fedbench.metrics._draws import Floats, draws, expanded, measured, over
from fedbench.metrics._groups import Attribute, attributes
from fedbench.metrics._models import Model, Unfit
from fedbench.metrics._ruler import Ruler
from fedbench.seeds import Rng
from fedbench.stats import weighted_auc
from fedbench.task import Problem, problem

__all__ = ["Fairness"]

Bools = NDArray[np.bool_]
Weights = NDArray[np.uint8]
Answers = Iterator[Measure | Refusal]

FEW = 20
"""Patients below whom a group has no number."""
FEW_GROUPS = "fewer than two groups are large enough"


@dataclass(frozen=True, kw_only=True)
class Fairness(Metric):
    """Gaps between groups of patients: how well they are drawn, and served by a model.

    Groups are those of the columns that the schema calls quasi-identifiers (sex, age, ethnicity);
    numbers are cut into ``bands`` that hold equally many training patients. Part ``marginals``: the
    mean total-variation distance between the columns of a group's real and synthetic patients, for
    each group. ``representation``: total variation of the groups' shares of all patients, those of
    whom no group is known being one more. ``marginals_gap``, ``score_gap``: the worst group's
    number minus the best one's, for the distance and for the area under the curve or concordance of
    the model that ``utility`` learns from synthetic records. ``parity``: how much further apart,
    or closer, two groups are in the share of patients whom the model calls than they are for the
    same model learnt from the real training records; the pair counts for which that is most. It
    calls those whose chance lies above the share with the event among whom it learnt from. Groups
    that are not equally ill are not called equally often, and records that break what a group has
    to do with the outcome would make the plain gap (demographic parity) smaller; the words of the
    row tell both gaps. ``odds``: the gap in the share called of those with the event and of those
    without it, the larger counting (equalized odds: Hardt, Price and Srebro 2016,
    https://arxiv.org/abs/1610.02413).

    Gaps of small groups are large by chance: compare them with the ceiling, which has the same
    numbers of patients. Groups of fewer than 20 on a side have no number, nor are they served
    with fewer than 20 of those who count: of an area patients with the event and without it, of
    a rate all whom it is of. A gap says over how many groups it is.
    """

    family: ClassVar[Family] = "fairness"
    better: ClassVar = "lower"
    version: ClassVar[int] = 3
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")
    per_site: ClassVar[bool] = False

    bands: Annotated[int, Ge(2)] = 3
    bins: Annotated[int, Ge(2)] = 10
    penalty: Annotated[float, Gt(0)] = 0.01

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise ValueError(f"penalty is {self.penalty}; expected a number above 0")

    @property
    def fewest(self) -> int:
        return FEW

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        train = evidence.train.cohort.static
        known = list(attributes(evidence.schema, train, self.bands))
        if not known:
            reason = (
                "the schema names no quasi-identifier that makes groups "
                '(roles = ["quasi-identifier"] in a --schema)'
            )
            return [Refusal(reason=reason, status="not applicable")]
        return [
            *(answer for attribute in known for answer in self._drawn(attribute, evidence)),
            *(
                answer
                for name, task in evidence.schema.tasks.items()
                if task.kind != "regression"
                for answer in _served(
                    Question(name=name, task=task, pose=problem, penalty=self.penalty),
                    known,
                    evidence,
                )
            ),
        ]

    def _drawn(self, attribute: Attribute, evidence: Evidence) -> Answers:
        """Yield how well the groups of one column are drawn."""
        ruler = Ruler(evidence.encoder, self.bins, evidence.train)
        sides = [_Side.of(view, ruler, attribute) for view in (evidence.test, evidence.synthetic)]
        n, key = len(evidence.test), Key(column=attribute.column)
        shares = [np.stack([side.share[name] for name in side.share]) for side in sides]
        shares = [np.vstack([side, 1 - side.sum(axis=0)]) for side in shares]
        apart = np.abs(shares[0] - shares[1]).sum(axis=0) / 2
        yield measured(apart, n, part="representation", key=key)
        found = {}
        for name, size in sides[0].size.items():
            if min(size, sides[1].size[name]) < FEW:
                reason = (
                    f"{size} real test and {sides[1].size[name]} synthetic patients; needs {FEW}"
                )
                yield Refusal(reason=reason, part="marginals", key=Key(column=name))
                continue
            gaps = np.abs(sides[0].levels[name] - sides[1].levels[name])
            found[name] = np.add.reduceat(gaps, ruler.starts, axis=1).mean(axis=1) / 2
            yield measured(found[name], size, part="marginals", key=Key(column=name))
        yield _gap(found, len(sides[0].size), n, "marginals_gap", key)


@dataclass(frozen=True)
class _Side:
    """Of every group: patients, their share of all, and their shares of all levels (1 + B, ...)."""

    size: Mapping[str, int]
    share: Mapping[str, Floats]
    levels: Mapping[str, Floats]

    @classmethod
    def of(cls, view: View, ruler: Ruler, attribute: Attribute) -> _Side:
        name = f"fairness: {ruler.bins} {attribute}"
        return view.shared(name, lambda: cls._of(view, ruler, attribute))

    @classmethod
    def _of(cls, view: View, ruler: Ruler, attribute: Attribute) -> _Side:
        weights, indicators = draws(view), ruler.indicators(view.table)
        groups = attribute.groups(view.cohort)
        every = np.maximum(weights.sum(axis=1, dtype=np.float64), 1)
        share, levels = {}, {}
        for name, mine in groups.items():
            drawn = weights[:, mine].astype(np.float32)
            total = drawn.sum(axis=1, dtype=np.float64)
            share[name] = total / every
            with np.errstate(invalid="ignore"):
                levels[name] = (drawn @ indicators[mine]).astype(np.float64) / total[:, None]
        return cls({name: int(mine.sum()) for name, mine in groups.items()}, share, levels)


def _served(question: Question, known: Sequence[Attribute], evidence: Evidence) -> Answers:
    """Yield how well a model that learnt from synthetic records serves the groups."""
    parts = ["score_gap"] + ["parity", "odds"] * (question.task.kind == "classification")
    asked, model = question.posed(evidence.test), question.learnt(evidence.synthetic)
    reason = model.reason if isinstance(model, Unfit) else weakness(asked, question.task)
    if reason or isinstance(model, Unfit):
        for part in parts:
            yield Refusal(reason=reason, part=part, key=question.key)
        return
    weights = asked_weights(evidence.test, asked)
    rows = pd.Index(evidence.test.cohort.patients).get_indexer(pd.Index(asked.patients))
    usual = float(question.posed(evidence.synthetic).event.mean())
    for attribute in known:
        groups = {name: mine[rows] for name, mine in attribute.groups(evidence.test.cohort).items()}
        served = _Served(question, model, asked, weights, groups, usual)
        key = Key(task=question.name, column=attribute.column)
        for part in parts:
            if part == "parity":
                yield _parity(served, evidence, key)
            else:
                yield _gap(served.found(part), len(groups), len(asked), part, key)


def _parity(served: _Served, evidence: Evidence, key: Key) -> Measure | Refusal:
    """Return how far gaps between groups are from those of a model of real training records."""
    question = served.question
    model = question.learnt(evidence.train)
    if isinstance(model, Unfit):
        reason = f"{model.reason} (real training records)"
        return Refusal(reason=reason, part="parity", key=key)
    usual = float(question.posed(evidence.train).event.mean())
    sides = [each.called() for each in (served, replace(served, model=model, usual=usual))]
    mine, theirs = (np.stack([*side.values()]) if side else np.empty((0, 1)) for side in sides)
    if len(mine) < 2:
        return Refusal(reason=FEW_GROUPS, part="parity", key=key)
    apart = mine - theirs
    # The pair stays, so that replicates are not folded where both models call alike.
    spread = apart[apart[:, 0].argmax()] - apart[apart[:, 0].argmin()]
    found = measured(spread, len(served.asked), part="parity", key=key, most=2.0)
    ours, real = (float(np.ptp(side[:, 0])) for side in (mine, theirs))
    words = f"a gap of {ours:.3f}, of a model of real records {real:.3f}"
    found = replace(found, facts={**found.facts, "verdict": words})
    return over(found, len(mine), len(served.groups), "group")


@dataclass(frozen=True)
class _Served:
    """What a model says of the patients of a target, group by group."""

    question: Question
    model: Model
    asked: Problem
    weights: Weights
    groups: Mapping[str, Bools]
    usual: float

    def found(self, part: str) -> Mapping[str, Floats]:
        """Return a number for every group that is large enough; pairs of them for ``odds``."""
        scores = self.model.scores(self.asked.predictors)
        if part == "score_gap":
            return dict(self._scores(scores))
        called = expit(scores) > self.usual
        hit, false = (
            dict(self._rates(called, who)) for who in (self.asked.event, ~self.asked.event)
        )
        both = hit.keys() & false.keys()
        return {n: np.stack([hit[n], false[n]]) for n in self.groups if n in both}

    def called(self) -> Mapping[str, Floats]:
        """Return the share of every group that is large enough whom the model calls."""
        called = expit(self.model.scores(self.asked.predictors)) > self.usual
        return dict(self._rates(called, np.ones(len(called), dtype=bool)))

    def _scores(self, scores: Floats) -> Iterator[tuple[str, Floats]]:
        survival = self.question.task.kind == "survival"
        for name, mine in self.groups.items():
            event = self.asked.event[mine]
            cases = int(min(event.sum(), len(event) if survival else (~event).sum()))
            if cases < FEW:
                continue
            drawn = self.weights[:, mine]
            if survival:
                time = self.asked.time[mine]
                yield name, expanded(weighted_concordance(time, event, scores[mine], drawn), cases)
            else:
                yield name, expanded(weighted_auc(scores[mine], event, drawn), cases)

    def _rates(self, called: Bools, who: Bools) -> Iterator[tuple[str, Floats]]:
        for name, mine in self.groups.items():
            if (cases := int((mine & who).sum())) < FEW:
                continue
            drawn = self.weights[:, mine & who].astype(np.float64)
            with np.errstate(invalid="ignore"):
                rates = np.asarray(drawn @ called[mine & who] / drawn.sum(axis=1))
            yield name, expanded(rates, cases)


def _gap(
    found: Mapping[str, Floats], groups: int, n: int, part: str, key: Key
) -> Measure | Refusal:
    """Return the largest number minus the smallest; of pairs, the larger of the two gaps."""
    if len(found) < 2:
        return Refusal(reason=FEW_GROUPS, part=part, key=key)
    rows = np.stack(list(found.values()))
    rows = np.where(np.isfinite(rows), rows, rows[..., :1])
    spread = np.ptp(rows, axis=0)
    spread = spread.max(axis=0) if spread.ndim > 1 else spread
    return over(measured(spread, n, part=part, key=key), len(found), groups, "group")
