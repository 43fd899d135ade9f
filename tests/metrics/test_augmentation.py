"""A small hospital gains by good records, and none by bad ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedbench.data import Cohort
from fedbench.metric import Evidence, Measure, Refusal
from fedbench.metrics._answers import Question, some, together
from fedbench.metrics._models import Unfit, learn
from fedbench.metrics.augmentation import Augmentation
from fedbench.stats import auc
from fedbench.task import problem
from fedbench.world import renamed

TASK = "three-year death"

Draw = Callable[[int, int], Cohort]
Judge = Callable[..., Evidence]


def only(cohort: Cohort) -> Cohort:
    """The cohort with one task, which saves time."""
    return replace(cohort, schema=replace(cohort.schema, tasks={TASK: cohort.schema.tasks[TASK]}))


def found(evidence: Evidence, **settings: int) -> Measure:
    (answer,) = Augmentation(**settings).measure(evidence, np.random.default_rng(0))
    assert isinstance(answer, Measure)
    return answer


def new_names(n: int) -> np.ndarray:
    return np.array([f"c{i:04d}" for i in range(n)], dtype=object)


def unrelated(cohort: Cohort) -> Cohort:
    """Outcomes of other patients."""
    rng = np.random.default_rng(0)
    ends = cohort.outcome.iloc[rng.permutation(len(cohort))].reset_index(drop=True)
    return replace(cohort, outcome=ends.assign(patient=cohort.outcome["patient"]))


def test_the_gain_is_the_difference_of_two_models(draw: Draw, judge: Judge) -> None:
    train, test, fake = (only(draw(n, n)) for n in (400, 300, 200))
    evidence = judge(test, fake, train)
    ours = found(evidence, patients=40, times=2)
    question = Question(name=TASK, task=test.schema.tasks[TASK], pose=problem, penalty=0.01)
    asked, everyone = question.posed(evidence.test), question.posed(evidence.train)
    (stream,) = np.random.default_rng(0).spawn(1)
    gains = []
    for _ in range(2):
        own = some(everyone, stream.permutation(len(everyone))[:40])
        models = [
            learn(known, question.task, 0.01)
            for known in (own, together([own, question.posed(evidence.synthetic)]))
        ]
        scores = [
            auc(m.scores(asked.predictors), asked.event) for m in models if not isinstance(m, Unfit)
        ]
        gains.append(scores[1] - scores[0])
    assert ours.part == "auroc"
    assert ours.value == pytest.approx(np.mean(gains), abs=1e-9)


def test_a_hospital_gains_nothing_by_its_own_records(draw: Draw, judge: Judge) -> None:
    train, test = only(draw(300, 1)), only(draw(300, 0))
    (stream,) = np.random.default_rng(0).spawn(1)
    everyone = problem(train, train.schema.tasks[TASK]).patients
    mine = np.sort(everyone[stream.permutation(len(everyone))[:100]])  # whom it draws
    evidence = judge(test, renamed(train.take(mine), new_names(100)), train)
    (answer,) = Augmentation(times=1).measure(evidence, np.random.default_rng(0))
    assert isinstance(answer, Measure)
    assert (answer.value, answer.low, answer.high) == (0, 0, 0)
    rest = train.take(np.setdiff1d(train.patients, mine))
    whole = found(judge(test, renamed(train, new_names(300)), train), times=1)
    assert whole.value == found(judge(test, renamed(rest, new_names(200)), train), times=1).value


def test_good_records_help_and_bad_ones_do_not(draw: Draw, judge: Judge) -> None:
    train, test, fake = (only(draw(n, n)) for n in (500, 1200, 600))
    good = found(judge(test, fake, train), patients=30)
    bad = found(judge(test, unrelated(fake), train), patients=30)
    assert good.low > 0
    assert bad.high < good.low


def test_where_nobody_is_small_there_is_a_reason(draw: Draw, judge: Judge) -> None:
    cohort = only(draw(150, 0))
    (answer,) = Augmentation().measure(judge(cohort, cohort), np.random.default_rng(0))
    assert isinstance(answer, Refusal)
    assert "drawn from at least 200" in answer.reason
    plain = replace(cohort, schema=replace(cohort.schema, tasks={}))
    (answer,) = Augmentation().measure(judge(plain, plain), np.random.default_rng(0))
    assert isinstance(answer, Refusal)
    assert answer.status == "not applicable"


def test_intervals_cover(draw: Draw, judge: Judge) -> None:
    train, fake = (only(draw(n, n)) for n in (300, 301))
    measures = [
        found(judge(only(draw(250, seed)), fake, train, seed=seed), patients=40, times=2)
        for seed in range(30)
    ]
    truth = np.mean([m.value for m in measures])
    # 30 draws, three standard errors below .95.
    assert np.mean([m.low <= truth <= m.high for m in measures]) > 0.83
