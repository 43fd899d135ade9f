"""Survival curves are those of lifelines, and as far apart as they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from lifelines import KaplanMeierFitter

from fedbench.data import Cohort
from fedbench.metric import Evidence, Measure, Refusal
from fedbench.metrics.survival import Survival, _Side

Draw = Callable[[int, int], Cohort]
Judge = Callable[..., Evidence]


def found(evidence: Evidence, **settings: float) -> dict[str, Measure]:
    answers = Survival(**settings).measure(evidence, np.random.default_rng(0))
    return {m.part: m for m in answers if isinstance(m, Measure)}


def sooner(cohort: Cohort, times: float) -> Cohort:
    time = np.maximum(np.round(cohort.outcome["time"] / times), 1)
    return replace(cohort, outcome=cohort.outcome.assign(time=time))


def followed(cohort: Cohort, until: float) -> Cohort:
    """The same patients, of whom no more is known after a time."""
    ends = cohort.outcome
    event = np.where(ends["time"] > until, 0, ends["event"])
    return replace(cohort, outcome=ends.assign(time=ends["time"].clip(upper=until), event=event))


def untied(cohort: Cohort) -> Cohort:
    """Events half a day sooner, so that none falls on a day on which others are censored."""
    time = cohort.outcome["time"] - 0.5 * cohort.outcome["event"]
    return replace(cohort, outcome=cohort.outcome.assign(time=time))


def between(test: Cohort, fake: Cohort, what: int, end: float) -> float:
    """The distance by lifelines."""
    grid = np.arange(0, end, 0.25)  # all times are half days
    curves = []
    for cohort in (test, fake):
        ends = cohort.outcome
        fitted = KaplanMeierFitter().fit(ends["time"], ends["event"] == what)
        curves.append(fitted.survival_function_at_times(grid).to_numpy())
    return float(np.abs(curves[0] - curves[1]) @ np.diff(grid, append=end) / end)


def test_the_area_is_that_between_curves_of_lifelines(draw: Draw, judge: Judge) -> None:
    train, test, fake = draw(300, 2), draw(150, 0), sooner(draw(120, 1), 1.1)
    end = float(np.quantile(train.outcome["time"], 0.9))
    ours = found(judge(test, fake, train))
    assert ours["events"].value == pytest.approx(between(test, fake, 1, end), abs=1e-9)
    test, fake = untied(test), untied(fake)
    ours = found(judge(test, fake, train))
    assert ours["censoring"].value == pytest.approx(between(test, fake, 0, end), abs=1e-9)


def test_more_events_in_a_year_do_not_make_follow_up_longer(draw: Draw, judge: Judge) -> None:
    rng = np.random.default_rng(0)
    sides = []
    for cohort, usual in ((draw(3000, 0), 2000), (draw(3000, 1), 500)):
        event, end = (rng.exponential(scale, len(cohort)) for scale in (usual, 2000))
        years = np.ceil(np.minimum(event, end) / 365) * 365
        outcome = cohort.outcome.assign(time=years, event=(event <= end).astype(int))
        sides.append(replace(cohort, outcome=outcome))
    ours = found(judge(*sides, b=10))
    assert ours["censoring"].value < 0.03
    assert ours["events"].value > 0.2


def test_what_comes_after_follow_up_is_not_known(draw: Draw, judge: Judge) -> None:
    cohort = untied(draw(200, 0))
    for test, fake in ((followed(cohort, 1000), cohort), (cohort, followed(cohort, 1000))):
        ours = found(judge(test, fake, cohort))
        assert ours["events"].value == 0
        # Nobody is followed then, which is known.
        end = float(np.quantile(cohort.outcome["time"], 0.9))
        expected = between(test, fake, 0, end)
        assert ours["censoring"].value == pytest.approx(expected, abs=1e-9)
        assert expected > 0.4
    old = followed(cohort, 400)
    (answer, _) = Survival().measure(judge(old, cohort, cohort), np.random.default_rng(0))
    assert isinstance(answer, Refusal)
    assert "fewer than 5 real test patients are followed beyond 400, 16 % of" in answer.reason


def test_who_had_an_event_is_known_to_have_had_it(draw: Draw, judge: Judge) -> None:
    test, fake = draw(200, 0), sooner(draw(150, 1), 4)
    fake = replace(fake, outcome=fake.outcome.assign(event=1))
    end = float(np.quantile(test.outcome["time"], 0.9))
    expected = between(test, fake, 1, end)
    # Of the last four it is not told when they have it.
    value = found(judge(test, fake))["events"].value
    assert expected - 4 / 150 < value < expected


def test_weights_count_patients(draw: Draw, judge: Judge) -> None:
    evidence = judge(draw(80, 0), draw(60, 1), b=3)
    times = np.arange(0.0, 4000.0, 50.0)
    side = _Side.of(evidence.test, event=True)
    curves = side.curves(slice(0, 4), times)
    for row in range(1, 4):
        ends = evidence.test.cohort.outcome
        drawn = ends.iloc[np.repeat(np.arange(80), evidence.test.weights[row - 1])]
        fitted = KaplanMeierFitter().fit(drawn["time"], drawn["event"])
        known = times < drawn["time"].max()
        expected = fitted.survival_function_at_times(times).to_numpy()
        assert curves[row, known] == pytest.approx(expected[known], abs=1e-9)


def test_patients_who_die_sooner_are_found(draw: Draw, judge: Judge) -> None:
    test, fake = draw(400, 0), draw(400, 1)
    before, after = found(judge(test, fake)), found(judge(test, sooner(fake, 3)))
    for part in ("events", "censoring"):
        assert after[part].low > before[part].high
    assert found(judge(test, test))["events"].value == 0


def test_what_cannot_be_asked_has_a_reason(draw: Draw, judge: Judge) -> None:
    cohort = draw(50, 0)
    schema = replace(cohort.schema, outcome=None, tasks={})
    static = Cohort.of_tables(schema, cohort.static, cohort.visits, cohort.codes)
    (answer,) = Survival().measure(judge(static, static), np.random.default_rng(0))
    assert isinstance(answer, Refusal)
    assert answer.status == "not applicable"


def test_intervals_cover(draw: Draw, judge: Judge) -> None:
    numbers: dict[str, list[Measure]] = {"events": [], "censoring": []}
    train = draw(400, 999)
    for seed in range(60):
        evidence = judge(draw(100, seed), sooner(draw(120, 1000 + seed), 1.5), train, seed=seed)
        for part, measure in found(evidence).items():
            numbers[part].append(measure)
    for part, measures in numbers.items():
        truth = np.mean([m.value for m in measures])
        share = np.mean([m.low <= truth <= m.high for m in measures])
        # 60 draws, three standard errors below .95.
        assert share > 0.86, (part, share)


def test_intervals_cover_where_patients_entered_lately(draw: Draw, judge: Judge) -> None:
    numbers: dict[str, list[Measure]] = {"events": [], "censoring": []}
    train, fake = draw(400, 999), draw(600, 998)
    rng = np.random.default_rng(0)
    for seed in range(60):
        ends = (cohort := draw(50, seed)).outcome
        entered = np.ceil(rng.uniform(0, 1500, 50))
        event = np.where(ends["time"] > entered, 0, ends["event"])
        outcome = ends.assign(time=np.minimum(ends["time"], entered), event=event)
        young = replace(cohort, outcome=outcome)
        for part, measure in found(judge(young, fake, train, seed=seed)).items():
            numbers[part].append(measure)
    for part, measures in numbers.items():
        assert len(measures) > 55
        truth = np.mean([m.value for m in measures])
        share = np.mean([m.low <= truth <= m.high for m in measures])
        # 60 draws, three standard errors below .95.
        assert share > 0.86, (part, share)
