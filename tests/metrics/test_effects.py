"""Ratios agree where synthetic records keep what raises a risk, and intervals are right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from fedbench.data import Cohort, Column, Schema, Task
from fedbench.metric import Evidence, Measure, Refusal
from fedbench.metrics._influence import _cox, moved
from fedbench.metrics._models import FITS, Preparation, Unfit
from fedbench.metrics.effects import Effects, overlap
from fedbench.stats import poisson_weights
from fedbench.task import Problem, problem

RNG = np.random.default_rng(0)
LENGTH = Task(kind="regression", label="days", index=0, column="days")

Draw = Callable[[int, int], Cohort]
Judge = Callable[..., Evidence]


def found(evidence: Evidence) -> dict[tuple[str, str], Measure]:
    answers = Effects().measure(evidence, RNG)
    return {(m.part, m.key.task): m for m in answers if isinstance(m, Measure)}


def with_length(cohort: Cohort) -> tuple[Cohort, Task]:
    """The cohort with a number to be foreseen, that grows with age."""
    static = {**cohort.schema.static, "days": Column(kind="number", low=0, high=1e3, known=1)}
    schema: Schema = replace(cohort.schema, static=static, tasks={"length": LENGTH})
    rng = np.random.default_rng(len(cohort))
    days = 2 * cohort.static["age"] + rng.uniform(0, 50, len(cohort))
    return replace(cohort, schema=schema, static=cohort.static.assign(days=days)), LENGTH


@pytest.mark.parametrize("name", ["three-year death", "survival", "length"])
def test_a_model_moves_as_if_it_had_learnt_again(name: str, draw: Draw) -> None:
    cohort = draw(400, 0)
    if name == "length":
        cohort, task = with_length(cohort)
    else:
        task = cohort.schema.tasks[name]
    asked = problem(cohort, task)
    prepared = Preparation.of(asked.predictors)(asked.predictors)
    fit = FITS[task.kind](prepared, asked, 0.01)
    assert not isinstance(fit, Unfit)
    rng = np.random.default_rng(0)
    weights = (rng.random((3, len(asked))) > 0.02).astype(np.uint8)  # a few are left out
    weights[0] = 1
    ours = moved(
        prepared,
        asked,
        task=task,
        weights=fit[0],
        intercept=fit[1],
        penalty=0.01,
        draws=weights,
    )
    assert ours[0] == pytest.approx(fit[0], abs=1e-12)
    for row in (1, 2):
        rows = np.repeat(np.arange(len(asked)), weights[row])
        again = replace(
            asked,
            patients=asked.patients[rows],
            predictors=asked.predictors.iloc[rows],
            time=asked.time[rows],
            event=asked.event[rows],
            value=asked.value[rows],
        )
        refitted = FITS[task.kind](prepared[rows], again, 0.01)
        assert not isinstance(refitted, Unfit)
        change = refitted[0] - fit[0]
        # Leaving a few out at once is not quite what leaving out each does.
        assert np.corrcoef(ours[row] - fit[0], change)[0, 1] > 0.9
        slope = (ours[row] - fit[0]) @ change / (change @ change)
        assert slope == pytest.approx(1, abs=0.3)


def few_times(n: int, seed: int) -> Problem:
    """Patients with four predictors, of whom years alone are known."""
    rng = np.random.default_rng(seed)
    predictors = rng.normal(size=(n, 4))
    predictors = (predictors - predictors.mean(axis=0)) / predictors.std(axis=0, ddof=1)
    time = rng.exponential(np.exp(-predictors @ [0.8, 0.5, -0.4, 0]))
    end = rng.exponential(1.5, n)
    years = np.ceil(np.minimum(time, end)).clip(max=4)
    patients = np.arange(n).astype(object)
    return Problem(patients, pd.DataFrame(predictors), years, time <= end, np.full(n, np.nan))


def test_score_residuals_add_up_to_what_the_penalty_holds_where_times_are_tied() -> None:
    asked = few_times(300, 0)
    prepared = asked.predictors.to_numpy()
    fit = FITS["survival"](prepared, asked, 0.01)
    assert not isinstance(fit, Unfit)
    residual, information, _ = _cox(prepared, prepared @ fit[0], asked)
    assert residual.sum(axis=0) == pytest.approx(300 * 0.01 * fit[0], abs=1e-4)
    for j, step in enumerate(1e-4 * np.eye(4)):
        ends = [_cox(prepared, prepared @ (fit[0] + sign * step), asked)[0] for sign in (-1, 1)]
        slope = (ends[0] - ends[1]).sum(axis=0) / 2e-4
        assert slope == pytest.approx(information[j], rel=1e-5)


def test_replicates_move_as_far_as_models_learnt_again_where_times_are_tied() -> None:
    asked = few_times(300, 0)
    prepared = asked.predictors.to_numpy()
    fit = FITS["survival"](prepared, asked, 0.01)
    assert not isinstance(fit, Unfit)
    drawn = poisson_weights(np.random.default_rng(0), 300, 40)
    task = Task(kind="survival", label="death", index=0)
    ours = moved(
        prepared, asked, task=task, weights=fit[0], intercept=0.0, penalty=0.01, draws=drawn
    )
    again = []
    for row in drawn:
        rows = np.repeat(np.arange(300), row)
        drew = replace(
            asked,
            patients=asked.patients[rows],
            predictors=asked.predictors.iloc[rows],
            time=asked.time[rows],
            event=asked.event[rows],
            value=asked.value[rows],
        )
        refitted = FITS["survival"](prepared[rows], drew, 0.01)
        assert not isinstance(refitted, Unfit)
        again.append(refitted[0])
    change = np.array(again) - fit[0]
    slope = ((ours - fit[0]) * change).sum() / (change**2).sum()
    assert slope == pytest.approx(1, abs=0.1)


def test_the_overlap_is_that_of_two_intervals() -> None:
    z = norm.ppf(0.975)
    (same, apart, half) = overlap(
        np.array([0.0, 0, 0]), np.ones(3), np.array([0.0, 9, z]), np.ones(3)
    )
    assert same == pytest.approx(1)
    assert apart == 0
    assert half == pytest.approx(0.5)
    narrow = overlap(np.zeros(1), np.ones(1), np.zeros(1), np.full(1, 0.5))[0]
    assert narrow == pytest.approx((0.5 + 1) / 2)


def test_the_same_records_agree(draw: Draw, judge: Judge) -> None:
    cohort = draw(400, 0)
    ours = found(judge(cohort, cohort))
    assert set(ours) == {
        (part, task) for part in ("overlap", "signs") for task in cohort.schema.tasks
    }
    assert all(m.value == pytest.approx(1) for part, m in ours.items() if part[0] == "signs")


@pytest.mark.parametrize("task", ["three-year death", "survival"])
def test_effects_that_were_turned_around_are_found(task: str, draw: Draw, judge: Judge) -> None:
    test, fake = draw(500, 0), draw(500, 1)
    turned = fake.outcome.sort_values("time")
    rank = np.argsort(np.argsort(fake.outcome["time"].to_numpy()))
    outcome = turned.iloc[len(turned) - 1 - rank].assign(patient=fake.outcome["patient"].to_numpy())
    other = replace(fake, outcome=outcome.reset_index(drop=True))
    before, after = found(judge(test, fake)), found(judge(test, other))
    assert after["signs", task].value < 0.5 < before["signs", task].value
    assert after["overlap", task].high < before["overlap", task].value


def test_what_does_not_vary_says_nothing_of_its_ratio(
    draw: Draw, judge: Judge, changed: Callable[..., Cohort]
) -> None:
    test, fake = draw(500, 0), draw(500, 1)
    flat = changed(fake, bilirubin=2.0, albumin=3.0, copper=100.0)
    before, after = found(judge(test, fake)), found(judge(test, flat))
    for task in test.schema.tasks:
        assert after["signs", task].value < before["signs", task].value
        assert after["overlap", task].value < before["overlap", task].value


def test_a_mean_over_some_predictors_says_so(
    draw: Draw, judge: Judge, changed: Callable[..., Cohort]
) -> None:
    test, fake = draw(500, 0), draw(500, 1)
    ours = found(judge(changed(test, copper=100.0), fake, test))
    task = next(iter(test.schema.tasks))
    overlap, signs = (ours[part, task].facts for part in ("overlap", "signs"))
    assert overlap["covered"] < overlap["of"] == signs["of"]
    assert signs["over"] == f"over {signs['covered']} of {signs['of']} predictors"


def test_too_few_events_are_refused(draw: Draw, judge: Judge) -> None:
    answers = Effects().measure(judge(draw(20, 0), draw(300, 1), draw(300, 2)), RNG)
    assert {type(answer) for answer in answers} == {Refusal}
    assert all("real test patients" in a.reason for a in answers if isinstance(a, Refusal))


def test_intervals_cover(draw: Draw, judge: Judge) -> None:
    numbers: dict[tuple[str, str], list[Measure]] = {}
    train = draw(600, 99)
    for seed in range(40):
        for key, measure in found(judge(draw(250, seed), draw(250, 1000 + seed), train)).items():
            numbers.setdefault(key, []).append(measure)
    for key, measures in numbers.items():
        truth = np.mean([m.value for m in measures])
        share = np.mean([m.low <= truth <= m.high for m in measures])
        # 40 draws, three standard errors below .95.
        assert share > 0.84, (key, share)
