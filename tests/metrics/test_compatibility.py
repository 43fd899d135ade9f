"""A hospital whose patients follow another law is found by models that never saw it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedbench.data import Cohort
from fedbench.metric import Evidence, Hospital, Measure, Refusal, View
from fedbench.metrics._answers import Question
from fedbench.metrics._models import Unfit, learn
from fedbench.metrics.compatibility import Compatibility
from fedbench.stats import auc, poisson_weights
from fedbench.task import problem

TASK = "three-year death"

Draw = Callable[[int, int], Cohort]
Judge = Callable[..., Evidence]


def only(cohort: Cohort) -> Cohort:
    return replace(cohort, schema=replace(cohort.schema, tasks={TASK: cohort.schema.tasks[TASK]}))


def turned(cohort: Cohort) -> Cohort:
    """A hospital where those who look ill live long, and the others do not."""
    order = cohort.static["bilirubin"].rank(method="first").to_numpy(int) - 1
    ends = cohort.outcome[["time", "event"]].sort_values("time").to_numpy()
    time, event = ends[order].T
    return replace(cohort, outcome=cohort.outcome.assign(time=time, event=event.astype(np.int64)))


def view(cohort: Cohort) -> View:
    return View(cohort, poisson_weights(np.random.default_rng(0), len(cohort), 50))


@pytest.fixture
def sites(draw: Draw) -> dict[str, Hospital]:
    """Three hospitals that agree and one that does not, each with records like its own."""
    found = {}
    for i, site in enumerate("abcd"):
        test, made = only(draw(300, i)), only(draw(200, 10 + i))
        if site == "d":
            test, made = turned(test), turned(made)
        found[site] = Hospital(view(test), 200, view(made))
    return found


def asked(
    sites: dict[str, Hospital], judge: Judge, site: str = "", model: str = ""
) -> dict[str, Measure]:
    """What is said, by part and column."""
    test = sites[site].test.cohort if site else sites["a"].test.cohort
    made = sites[model or "a"].written
    assert made is not None
    evidence = replace(judge(test, made.cohort, b=50), beside=sites, site=site, model=model)
    answers = Compatibility().measure(evidence, np.random.default_rng(0))
    return {f"{a.part} {a.key.column}".strip(): a for a in answers if isinstance(a, Measure)}


def test_the_hospital_that_is_different_is_found(sites: dict[str, Hospital], judge: Judge) -> None:
    without = {s: asked(sites, judge, site=s, model=s)["without.auroc"] for s in sites}
    assert without["d"].high < 0.5, "what others teach is wrong there"
    for site in "abc":
        assert without[site].low > without["d"].high


def test_without_is_a_model_of_all_others(sites: dict[str, Hospital], judge: Judge) -> None:
    found = asked(sites, judge, site="a", model="a")["without.auroc"]
    task = sites["a"].test.cohort.schema.tasks[TASK]
    others = [only(each.written.cohort) for s, each in sites.items() if s != "a" and each.written]
    names = [
        replace(
            cohort,
            **{
                table: frame.assign(patient=f"{i}-" + frame["patient"].astype(str))
                for table in ("static", "visits", "codes", "outcome")
                if len(frame := getattr(cohort, table))
            },
        )
        for i, cohort in enumerate(others)
    ]
    model = learn(problem(Cohort.union(names), task), task, 0.01)
    assert not isinstance(model, Unfit)
    target = problem(sites["a"].test.cohort, task)
    expected = auc(model.scores(target.predictors), target.event)
    assert found.value == pytest.approx(expected, abs=1e-6)


def test_the_matrix_has_every_model_at_every_hospital(
    sites: dict[str, Hospital], judge: Judge
) -> None:
    found = asked(sites, judge, model="d")
    assert sorted(found) == [f"pair.auroc {site}" for site in "abcd"]
    assert found["pair.auroc d"].low > 0.5 > found["pair.auroc a"].high


def test_the_diagonal_is_what_utility_says(sites: dict[str, Hospital], judge: Judge) -> None:
    found = asked(sites, judge, model="b")["pair.auroc b"]
    question = Question(
        name=TASK, task=sites["b"].test.cohort.schema.tasks[TASK], pose=problem, penalty=0.01
    )
    test, made = sites["b"].test, sites["b"].written
    assert made is not None
    (ours, *_) = question.asked(test, lambda: question.learnt(made))
    assert isinstance(ours, Measure)
    assert found.value == ours.value


def test_one_model_for_everybody_is_not_asked(draw: Draw, judge: Judge) -> None:
    test = only(draw(100, 0))
    hospitals = {site: Hospital(view(test), 100) for site in "ab"}
    evidence = replace(judge(test, only(draw(50, 1))), beside=hospitals)
    (refusal,) = Compatibility().measure(evidence, np.random.default_rng(0))
    assert isinstance(refusal, Refusal)
    assert refusal.status == "not applicable"
    assert Compatibility().measure(replace(evidence, site="a"), np.random.default_rng(0)) == []
