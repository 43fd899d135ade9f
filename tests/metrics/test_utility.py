from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lifelines.utils import concordance_index
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from fedbench.data import Cohort, Column
from fedbench.metric import Evidence, Measure, Refusal
from fedbench.metrics._answers import weighted_brier_skill, weighted_precision
from fedbench.metrics._models import Model, Preparation, learn
from fedbench.metrics.utility import Utility
from fedbench.metrics.utilization import Utilization
from fedbench.stats import auc_limits
from fedbench.task import problem

RNG = np.random.default_rng(0)
PARTS = ["auroc", "auprc", "brier_skill", "c_index"]


def answers(evidence: Evidence) -> dict[str, Measure]:
    found = Utility().measure(evidence, RNG)
    assert [m.part for m in found] == PARTS
    return {m.part: m for m in found if isinstance(m, Measure)}


def refusals(evidence: Evidence) -> dict[str, str]:
    found = Utility().measure(evidence, RNG)
    return {m.part: m.reason for m in found if isinstance(m, Refusal)}


def ended(cohort: Cohort, **columns: Any) -> Cohort:
    return replace(cohort, outcome=cohort.outcome.assign(**columns))


def test_records_of_the_same_law_are_of_use_and_swapped_labels_are_not(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence]
) -> None:
    test, fake = draw(400, 0), draw(800, 1)
    good = answers(judge(test, fake))
    assert good["auroc"].low > 0.65
    assert good["c_index"].low > 0.6
    assert 0 < good["brier_skill"].value < 1
    order = np.argsort(fake.outcome["time"].to_numpy())
    time, event = (fake.outcome[name].to_numpy().copy() for name in ("time", "event"))
    time[order], event[order] = time[order[::-1]], event[order[::-1]]
    bad = answers(judge(test, ended(fake, time=time, event=event)))
    assert bad["auroc"].high < 0.45
    assert bad["c_index"].high < 0.45
    assert bad["brier_skill"].value < 0


def test_values_are_those_of_the_libraries(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence]
) -> None:
    test, fake = draw(300, 0), draw(300, 1)
    found = answers(judge(test, fake))
    for name, task in test.schema.tasks.items():
        asked, model = problem(test, task), learn(problem(fake, task), task, 0.01)
        assert isinstance(model, Model)
        scores = model.scores(asked.predictors)
        if task.kind == "survival":
            expected = {"c_index": concordance_index(asked.time, -scores, asked.event)}
        else:
            chances, rate = 1 / (1 + np.exp(-scores)), asked.event.mean()
            brier = brier_score_loss(asked.event, chances)
            expected = {
                "auroc": roc_auc_score(asked.event, scores),
                "auprc": average_precision_score(asked.event, scores),
                "brier_skill": 1 - brier / (rate * (1 - rate)),
            }
        for part, value in expected.items():
            assert found[part].value == pytest.approx(value, abs=1e-12)
            assert found[part].key.task == name
            assert found[part].n == len(asked.event)


def test_precision_and_skill_under_weights_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(9, size=200) / 9, rng.random(200) < 0.4
    weights = rng.poisson(1, size=(3, 200)).astype(np.uint8)
    precision = weighted_precision(scores, positive, weights)
    skill = weighted_brier_skill(scores, positive, weights)
    for b, row in enumerate(weights):
        rate = np.average(positive, weights=row)
        brier = brier_score_loss(positive, scores, sample_weight=row)
        expected = average_precision_score(positive, scores, sample_weight=row)
        assert precision[b] == pytest.approx(expected)
        assert skill[b] == pytest.approx(1 - brier / (rate * (1 - rate)))


def test_a_model_is_fitted_once_for_all_targets(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence]
) -> None:
    evidence = judge(draw(300, 0), draw(300, 1))
    answers(evidence)
    seen = {id(v) for k, v in evidence.synthetic._cache.items() if k.startswith("model")}  # noqa: SLF001
    answers(replace(evidence, test=evidence.test.at(np.arange(300) < 150)))
    again = {id(v) for k, v in evidence.synthetic._cache.items() if k.startswith("model")}  # noqa: SLF001
    assert len(seen) == 2
    assert seen == again


def test_records_without_events_teach_nothing(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence]
) -> None:
    test = draw(200, 0)
    reasons = refusals(judge(test, ended(draw(100, 1), event=0, time=4000.0)))
    assert set(reasons) == set(PARTS)
    assert all("no event among the 100 patients to learn from" in r for r in reasons.values())
    everybody = refusals(judge(test, ended(draw(100, 1), event=1, time=200.0)))
    assert set(everybody) == set(PARTS)  # all at one time: nothing to tell who is first


def test_a_target_with_one_class_is_refused_and_one_with_few_is_weak(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence]
) -> None:
    fake = draw(300, 1)
    assert set(refusals(judge(ended(draw(50, 0), event=0, time=4000.0), fake))) == set(PARTS)
    few = draw(50, 0)
    rows = np.arange(50)
    few = ended(few, event=(rows < 4).astype(int), time=np.where(rows < 4, 200.0 + rows, 4000.0))
    found = answers(judge(few, fake))
    assert (
        found["auroc"].weak == "4 with and 46 without the event; a row of its own needs 10 of each"
    )
    assert found["c_index"].weak == "4 events; a row of its own needs 20"
    assert answers(judge(draw(200, 0), fake))["auroc"].weak == ""


def test_an_area_of_1_among_few_is_not_certain(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence], changed: Callable[..., Cohort]
) -> None:
    rows = np.arange(20)
    sick = ended(draw(20, 0), event=(rows < 10).astype(int), time=np.where(rows < 10, 200.0, 4000))
    test, fake = changed(sick, bilirubin=np.where(rows < 10, 50.0, 1.0)), draw(300, 1)
    found = answers(judge(test, fake))["auroc"]
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(auc_limits(1.0, 10, 10).low)
    assert found.low < 0.85


def test_one_slip_of_a_decimal_point_is_not_all_that_a_column_says(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence], changed: Callable[..., Cohort]
) -> None:
    test, fake = draw(400, 0), draw(600, 1)
    wide = replace(
        test.schema,
        static={**test.schema.static, "bilirubin": Column(kind="number", low=0, high=1e6)},
    )
    slipped = fake.static["bilirubin"].where(np.arange(600) > 0, 1e6)
    test, fake, other = (
        replace(c, schema=wide) for c in (test, fake, changed(fake, bilirubin=slipped))
    )
    before, after = (answers(judge(test, each))["auroc"].value for each in (fake, other))
    assert after == pytest.approx(before, abs=0.01)


def test_what_does_not_vary_in_training_has_no_say(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence], changed: Callable[..., Cohort]
) -> None:
    test = draw(200, 0)
    fake = changed(draw(300, 1), copper=np.nan, age=50.1, albumin=3.5)
    assert set(answers(judge(test, fake))) == set(PARTS)
    flat = changed(fake, sex="male", stage="I", bilirubin=2.0)
    none = replace(flat, visits=flat.visits.iloc[:0], codes=flat.codes.iloc[:0])
    assert "no predictor varies" in refusals(judge(test, none))["auroc"]


def test_preparation_knows_the_learner_alone(draw: Callable[..., Cohort]) -> None:
    test, fake = draw(100, 0), draw(200, 1)
    task = test.schema.tasks["survival"]
    learnt = problem(fake, task).predictors
    prepared = Preparation.of(learnt)(learnt)
    assert prepared.mean(axis=0) == pytest.approx(np.zeros(prepared.shape[1]), abs=1e-9)
    assert prepared.std(axis=0) == pytest.approx(np.ones(prepared.shape[1]))
    asked = problem(test, task).predictors
    one = Preparation.of(learnt)(asked.iloc[:1])
    assert one == pytest.approx(Preparation.of(learnt)(asked)[:1])


def test_utilization_is_learnt_from_real_counts_and_dates(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence]
) -> None:
    train, test, fake = draw(300, 2), draw(300, 0), draw(50, 1)
    evidence = judge(test, fake, train)
    found = Utilization().measure(evidence, RNG)
    assert [m.part for m in found] == PARTS
    assert isinstance(found[0], Measure)
    assert 0.5 < found[0].value < answers(judge(test, train))["auroc"].value
    assert Utilization().measure(replace(evidence, synthetic=evidence.test), RNG) is found


def test_a_cohort_without_visits_has_no_utilization(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence]
) -> None:
    whole = draw(100, 0)
    schema = replace(whole.schema, visits={}, vocabularies={}, windows=())
    bare = Cohort.of_tables(schema, whole.static, outcome=whole.outcome)
    found = Utilization().measure(judge(bare, bare), RNG)
    assert all(isinstance(m, Refusal) for m in found)
