"""Models of records of one law agree; where an effect is gone or turned around they do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from lifelines import NelsonAalenFitter
from scipy.spatial.distance import cityblock
from scipy.stats import spearmanr
from sklearn.metrics import r2_score, roc_auc_score

from fedbench.data import Cohort, Column, Schema, Task
from fedbench.metric import Evidence, Measure, Refusal
from fedbench.metrics._answers import Question
from fedbench.metrics._draws import rank_correlation
from fedbench.metrics._kinds import martingale_residuals, taught
from fedbench.metrics._models import Unfit
from fedbench.metrics.agreement import Agreement, _dealt, _Reference, columns_of, common, loss
from fedbench.task import problem

DEATH = "three-year death"
LENGTH = Task(kind="regression", label="age", index=0, column="age")
PARTS = ["models", "choice", "importance"]

Draw = Callable[[int, int], Cohort]
Judge = Callable[..., Evidence]
Changed = Callable[..., Cohort]


def asking(cohort: Cohort, **tasks: Task) -> Cohort:
    """The cohort with one task, death unless others are given."""
    known = tasks or {DEATH: cohort.schema.tasks[DEATH]}
    return replace(cohort, schema=replace(cohort.schema, tasks=known))


def answers(evidence: Evidence, metric: Agreement | None = None) -> dict[str, Measure]:
    found = (metric or Agreement(exchanges=2)).measure(evidence, np.random.default_rng(0))
    assert [m.part for m in found] == PARTS
    return {m.part: m for m in found if isinstance(m, Measure)}


def refusals(evidence: Evidence) -> dict[str, Refusal]:
    found = Agreement(exchanges=1).measure(evidence, np.random.default_rng(0))
    return {m.part: m for m in found if isinstance(m, Refusal)}


def test_records_of_one_law_agree_and_those_whose_effects_are_not_there_do_not(
    draw: Draw, judge: Judge, changed: Changed
) -> None:
    test, fake = asking(draw(600, 0)), asking(draw(600, 1))
    good = answers(judge(test, fake))
    assert good["importance"].value > 0.7
    assert good["choice"].value > -0.03
    rng = np.random.default_rng(0)
    strong = ("bilirubin", "stage")
    mixed = {name: fake.static[name].to_numpy()[rng.permutation(600)] for name in strong}
    gone = answers(judge(test, changed(fake, **mixed)))
    assert gone["importance"].value < good["importance"].low
    turned = 61 - fake.static["bilirubin"]
    reverse = answers(judge(test, changed(fake, bilirubin=turned.clip(0.1, 60))))
    assert reverse["importance"].value < good["importance"].low


def test_the_best_kind_of_model_is_another_where_what_it_is_best_at_is_gone(
    draw: Draw, judge: Judge, changed: Changed
) -> None:
    """Whoever is far from the middle dies: trees see it, straight lines do not."""

    def bent(cohort: Cohort, *, really: bool) -> Cohort:
        far = (cohort.static["copper"].fillna(100) - 100).abs() > 40
        early = far if really else cohort.static["copper"].fillna(100) > 100
        noise = np.random.default_rng(len(cohort)).random(len(cohort)) < 0.15
        event = early.to_numpy() ^ noise
        time = np.where(event, 500.0, 2000.0)
        return changed(cohort, "outcome", time=time, event=event.astype(np.int64))

    test = bent(asking(draw(500, 0)), really=True)
    good = answers(judge(test, bent(asking(draw(501, 1)), really=True)))
    bad = answers(judge(test, bent(asking(draw(501, 1)), really=False)))
    assert good["models"].value > 0.8 > bad["models"].high
    assert good["choice"].value > -0.02 > bad["choice"].value


def test_values_are_those_of_scipy_and_scikit_learn(draw: Draw, judge: Judge) -> None:
    test, fake = asking(draw(240, 0)), asking(draw(160, 1))
    metric, evidence = Agreement(exchanges=2), judge(test, fake)
    found = answers(evidence, metric)
    task = test.schema.tasks[DEATH]
    question = Question(name=DEATH, task=task, pose=problem, penalty=0.01)
    seeds = [int(s) for s in np.random.default_rng(0).spawn(3)[2].integers(2**31, size=2)]
    reference = _Reference.of(metric, question, evidence.test, seeds)
    assert isinstance(reference, _Reference)
    models = taught(problem(fake, task), task, 0.01, seeds[1])
    assert not isinstance(models, Unfit)
    exam = reference.exam
    assert sorted(np.concatenate([p.asked.patients for p in exam.papers])) == sorted(
        problem(test, task).patients
    )
    theirs = [
        np.mean([roc_auc_score(p.asked.event, score(p.asked.predictors)) for p in exam.papers])
        for score in models.values()
    ]
    real = reference.result.scores[0]
    assert found["models"].value == pytest.approx(spearmanr(real, theirs).statistic, abs=1e-12)
    assert found["choice"].value == pytest.approx(real[np.argmax(theirs)] - real.max(), abs=1e-12)
    lost = []
    for places in exam.columns.values():
        each = []
        for paper in exam.papers:
            asked = paper.asked
            whole = roc_auc_score(asked.event, models["boosting"](asked.predictors))
            for order in paper.orders:
                mixed = asked.predictors.copy()
                mixed.iloc[:, places] = asked.predictors.iloc[order, places].to_numpy()
                left = roc_auc_score(asked.event, models["boosting"](mixed))
                each.append(whole - left)
        lost.append(np.mean(each))
    sides = [np.maximum(side, 0) for side in (reference.result.importance[0], lost)]
    shares = [side / side.sum() for side in sides]
    assert found["importance"].value == pytest.approx(1 - cityblock(*shares) / 2, abs=1e-12)
    assert found["importance"].n == len(problem(test, task))


def test_ranks_are_those_of_scipy_and_what_is_tied_has_none() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(4, size=(2, 20, 6)).astype(float)
    first[0] = 1.0
    found = rank_correlation(first, second)
    assert np.isnan(found[0])
    for row in range(1, 20):
        assert found[row] == pytest.approx(spearmanr(first[row], second[row]).statistic, abs=1e-12)


def test_what_a_choice_costs_and_what_is_in_common() -> None:
    real, fake = np.array([[0.7, 0.8, 0.75], [0.7, 0.8, 0.75]]), np.array([[1, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(loss(real, fake), [-0.1, 0.0])
    sides = np.array([[3.0, 1.0, -5.0], [1.0, 0.0, 0.0]]), np.array([[1.0, 1.0, 2.0], [-1, 0, 0]])
    np.testing.assert_allclose(common(*sides), [0.5, 0.0])


def test_martingale_residuals_are_those_of_lifelines() -> None:
    rng = np.random.default_rng(0)
    time, event = np.ceil(rng.exponential(20, 80)), rng.random(80) < 0.6
    hazard = NelsonAalenFitter(nelson_aalen_smoothing=False).fit(time, event)
    found = martingale_residuals(time, event)
    expected = event - hazard.cumulative_hazard_at_times(time).to_numpy()
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found.sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", ["three-year death", "survival", "age"])
def test_every_kind_of_model_foresees_every_kind_of_task(kind: str, draw: Draw) -> None:
    known = draw(400, 1)
    task = LENGTH if kind == "age" else known.schema.tasks[kind]
    if kind == "age":
        known = late(known)
    models = taught(problem(known, task), task, 0.01, 0)
    assert not isinstance(models, Unfit)
    assert ("bayes" in models) == (task.kind == "classification")
    assert len(models) == 5 + (task.kind == "classification")
    asked = problem(known, task)
    for name, score in models.items():
        found = score(asked.predictors)
        if task.kind == "regression":
            assert r2_score(asked.value, found) > 0.05, name
        else:
            assert roc_auc_score(asked.event, found) > 0.65, name


def late(cohort: Cohort) -> Cohort:
    """Age is only known later, so that it can be foreseen."""
    static = {**cohort.schema.static, "age": Column(kind="integer", low=18, high=100, known=1)}
    return replace(cohort, schema=replace(cohort.schema, static=static, tasks={"age": LENGTH}))


def test_a_number_can_be_what_is_foreseen(draw: Draw, judge: Judge) -> None:
    found = answers(judge(late(draw(300, 0)), late(draw(300, 1))))
    assert found["models"].key.task == "age"
    assert found["choice"].least == -np.inf


def test_levels_are_exchanged_together(draw: Draw) -> None:
    cohort = draw(60, 0)
    predictors = problem(cohort, cohort.schema.tasks[DEATH]).predictors.columns
    found = columns_of(cohort.schema, predictors)
    names = [f"stage={level}" for level in ("I", "II", "III", "IV")]
    assert list(predictors[found["stage"]]) == names
    assert len(found["icd:K74"]) == len(found["age"]) == 1
    places = np.sort(np.concatenate(list(found.values())))
    np.testing.assert_array_equal(places, np.arange(len(predictors)))


def test_families_are_asked_together_and_events_spread(
    draw: Draw, judge: Judge, changed: Changed
) -> None:
    cohort = draw(200, 0)
    family = Column(kind="category", levels=tuple(f"f{i:02d}" for i in range(50)))
    schema: Schema = replace(
        cohort.schema, static={**cohort.schema.static, "family": family}, cluster="family"
    )
    names = np.array(family.levels, dtype=object)[np.arange(200) % 50]
    cohort = changed(replace(cohort, schema=schema), family=names)
    asked = problem(cohort, schema.tasks[DEATH])
    fold = _dealt(asked, judge(cohort, cohort).test, 3, np.random.default_rng(0))
    clusters = dict(zip(cohort.patients, names, strict=True))
    where: dict[str, set[int]] = {}
    for patient, k in zip(asked.patients, fold, strict=True):
        where.setdefault(clusters[patient], set()).add(int(k))
    assert all(len(each) == 1 for each in where.values())
    shares = [asked.event[fold == k].mean() for k in range(3)]
    assert max(shares) - min(shares) < 0.1


def test_what_was_asked_before_changes_nothing(draw: Draw, judge: Judge) -> None:
    test, fake = asking(draw(200, 0)), asking(draw(200, 1))
    metric = Agreement(patients=150, exchanges=1)
    alone, first = judge(test, fake), judge(test, asking(draw(200, 2)))
    answers(first, metric)
    after = answers(replace(first, synthetic=alone.synthetic), metric)
    for part, found in answers(alone, metric).items():
        assert after[part].value == found.value
        assert found.n <= 150


def test_what_cannot_be_asked_is_said(draw: Draw, judge: Judge, changed: Changed) -> None:
    test, fake = asking(draw(200, 0)), asking(draw(100, 1))
    nobody = refusals(judge(test, changed(fake, "outcome", event=0)))
    assert list(nobody) == PARTS
    assert nobody["models"].reason == "no event among the 55 patients to learn from"
    few = refusals(judge(asking(draw(30, 0)), fake))
    assert few["importance"].reason.startswith("one of 3 equal parts of the test patients has ")
    assert few["importance"].status == "refused"
    later = {n: replace(c, known=9e9) for n, c in test.schema.static.items()}
    blind = replace(test.schema, static=later, visits={}, vocabularies={}, windows=())
    nothing = refusals(judge(*(replace(c, schema=blind) for c in (test, fake))))
    assert {r.status for r in nothing.values()} == {"not applicable"}
    assert nothing["choice"].reason == "these records have no predictors"
    none = replace(test, schema=replace(test.schema, tasks={}))
    (found,) = Agreement().measure(judge(none, none), np.random.default_rng(0))
    assert isinstance(found, Refusal)
    assert found.status == "not applicable"
    with pytest.raises(ValueError, match="folds is 1; expected at least 2"):
        Agreement(folds=1)
