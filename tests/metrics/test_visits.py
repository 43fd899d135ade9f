"""Visits differ by when they are, what is measured then, and how that changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp, pearsonr

from fedbench.data import Cohort, Column, DataStore, Schema
from fedbench.datasets.simulated import Simulated
from fedbench.metric import Evidence, Measure, Refusal, View
from fedbench.metrics._events import Events, gap
from fedbench.metrics.visits import Visits
from fedbench.stats import poisson_weights

RNG = np.random.default_rng(0)
PARTS = {"count", "first", "gaps", "length", "values", "persistence", "together"}
STATES = ("home", "ward", "care")
SCHEMA = Schema(
    name="stays",
    clock="",
    static={"age": Column(kind="integer", low=18, high=100)},
    visits={
        "place": Column(kind="category", levels=STATES),
        "sodium": Column(kind="number", low=0, high=300),
    },
)

Judge = Callable[..., Evidence]


def stays(n: int, seed: int, every: float = 30.0, stay: float = 0.7) -> Cohort:
    """Patients whose next place is mostly the last one, and whose sodium persists."""
    rng = np.random.default_rng(seed)
    count = rng.integers(1, 8, n)
    owner = np.repeat(np.arange(n), count)
    place, own = rng.integers(0, 3, len(owner)), rng.normal(size=n)
    for i in range(1, len(owner)):
        if owner[i] == owner[i - 1] and rng.random() < stay:
            place[i] = place[i - 1]
    patient = np.array([f"p{i:05d}" for i in range(n)], dtype=object)
    apart = pd.Series(rng.uniform(1, every, len(owner)))
    sodium = 140 + 3 * own[owner] + rng.normal(size=len(owner))
    visits = pd.DataFrame(
        {
            "patient": patient[owner],
            "day": apart.groupby(owner).cumsum().round(1),
            "place": np.array(STATES, dtype=object)[place],
            "sodium": np.where(rng.random(len(owner)) < 0.3, np.nan, sodium),
        }
    )
    static = pd.DataFrame({"patient": patient, "age": rng.integers(18, 100, n).astype(float)})
    return Cohort.of_tables(SCHEMA, static, visits)


def found(evidence: Evidence) -> dict[tuple[str, str], Measure]:
    answers = Visits().measure(evidence, np.random.default_rng(0))
    return {(m.part, m.key.column): m for m in answers if isinstance(m, Measure)}


def test_the_same_records_are_at_distance_0(judge: Judge) -> None:
    cohort = stays(150, 0)
    same = found(judge(cohort, cohort))
    assert {part for part, _ in same} == {*PARTS, "transitions"}
    assert all(m.value == pytest.approx(0, abs=1e-12) for m in same.values())


def test_times_are_as_far_apart_as_scipy_says(judge: Judge) -> None:
    test, fake = stays(200, 0), stays(150, 1, every=45)
    ours = found(judge(test, fake))
    sides = [cohort.visits.groupby("patient")["day"] for cohort in (test, fake)]
    expected = {
        "count": [days.size() for days in sides],
        "first": [days.min() for days in sides],
        "length": [days.max() - days.min() for days in sides],
    }
    for part, pair in expected.items():
        assert ours[part, ""].value == pytest.approx(ks_2samp(*pair).statistic, abs=1e-9)


def test_a_patient_counts_once_however_often_she_came() -> None:
    """With as many copies of every value as make patients equal, SciPy's distance is ours."""
    cohorts = stays(40, 0), stays(30, 1)
    weights = [poisson_weights(RNG, len(cohort), 4) for cohort in cohorts]
    views = [View(cohort, drawn) for cohort, drawn in zip(cohorts, weights, strict=True)]
    rng = np.random.default_rng(3)
    sides = []
    for view in views:
        owner = np.repeat(np.arange(len(view)), rng.choice([1, 2, 4], len(view)))
        sides.append(Events(view, owner, rng.normal(size=len(owner)).round(1)))
    ours = gap(*sides)
    for row in range(5):
        drawn = []
        for side in sides:
            copies = np.rint(4 * side.share).astype(int)
            if row:
                copies = copies * side.view.weights[row - 1, side.owner]
            drawn.append(np.repeat(side.values, copies))
        assert ours[row] == pytest.approx(ks_2samp(*drawn).statistic, abs=1e-9)


def test_persistence_is_pearsons_correlation_where_everyone_has_one_pair(judge: Judge) -> None:
    cohorts = []
    for seed in (0, 1):
        cohort = stays(300, seed)
        measured = cohort.visits.dropna(subset="sodium")
        place = measured.groupby("patient").cumcount()
        twice = measured.groupby("patient")["sodium"].transform("size") >= 2
        visits = measured[twice & (place < 2)].reset_index(drop=True)
        cohorts.append(Cohort.of_tables(SCHEMA, cohort.static, visits))
    expected = []
    for cohort in cohorts:
        pairs = cohort.visits["sodium"].to_numpy().reshape(-1, 2)
        expected.append(pearsonr(pairs[:, 0], pairs[:, 1]).statistic)
    value = found(judge(*cohorts))["persistence", "sodium"].value
    assert value == pytest.approx(abs(expected[0] - expected[1]), abs=1e-9)


@pytest.mark.parametrize(
    ("part", "column", "fake"),
    [
        ("gaps", "", stays(300, 1, every=90)),
        ("length", "", stays(300, 1, every=90)),
        ("transitions", "place", stays(300, 1, stay=0.0)),
    ],
)
def test_what_was_changed_is_found(*, part: str, column: str, fake: Cohort, judge: Judge) -> None:
    test = stays(300, 0)
    before, after = found(judge(test, stays(300, 2))), found(judge(test, fake))
    assert after[part, column].low > before[part, column].high


def test_order_within_a_patient_is_seen_by_what_looks_at_order(judge: Judge) -> None:
    test, fake = stays(300, 0), stays(300, 1)
    rng = np.random.default_rng(0)
    others = fake.visits.assign(sodium=rng.permutation(fake.visits["sodium"].to_numpy()))
    ours = found(judge(test, Cohort.of_tables(SCHEMA, fake.static, others)))
    before = found(judge(test, fake))
    assert ours["persistence", "sodium"].low > before["persistence", "sodium"].high
    assert ours["gaps", ""].value == before["gaps", ""].value


def test_tests_that_are_no_longer_ordered_together_are_found(judge: Judge) -> None:
    dataset = Simulated(patients=600, effect=1.5)
    test = dataset.load(DataStore())
    fake = Simulated(patients=600, effect=1.5, seed=1).load(DataStore())
    blank = fake.visits.copy()
    blank.loc[np.arange(len(blank)) % 2 == 0, list(dataset.schema.visits)] = np.nan
    before = found(judge(test, fake))["together", ""]
    after = found(
        judge(test, Cohort.of_tables(fake.schema, fake.static, blank, fake.codes, fake.outcome))
    )["together", ""]
    assert after.low > before.high


def test_an_absent_period_counts_in_full(judge: Judge) -> None:
    test, fake = stays(200, 0), stays(200, 0)
    middle = np.quantile(test.visits["day"], 0.5)
    early = fake.visits.copy()
    early.loc[early["day"] > middle, "sodium"] = np.nan
    ours = found(judge(test, Cohort.of_tables(SCHEMA, fake.static, early)))
    assert ours["values", "sodium"].value == pytest.approx(0.5, abs=0.01)


def lagged(cohort: Cohort) -> float:
    """The correlation of sodium with the next one, every patient counting once, in a plain way."""
    known = cohort.visits.dropna(subset="sodium")
    pairs = known.assign(then=known.groupby("patient")["sodium"].shift(-1)).dropna(subset="then")
    share = 1 / pairs.groupby("patient")["then"].transform("size")
    both = np.cov(pairs["sodium"], pairs["then"], aweights=share)
    return float(both[0, 1] / np.sqrt(both[0, 0] * both[1, 1]))


@pytest.mark.parametrize("sodium", [140.1, np.nan])
def test_what_is_left_out_counts_as_lost(judge: Judge, sodium: float) -> None:
    test, fake = stays(300, 0), stays(300, 1)
    whole = found(judge(test, fake))
    visits = fake.visits.assign(sodium=sodium, place=None)
    ours = found(judge(test, Cohort.of_tables(SCHEMA, fake.static, visits)))
    assert set(ours) == set(whole)
    for column in ("", "sodium"):
        assert ours["persistence", column].value == pytest.approx(lagged(test), abs=1e-9)
    for column in ("", "place"):
        assert ours["transitions", column].value == 1


def test_who_never_comes_is_as_far_away_as_can_be(judge: Judge) -> None:
    test, fake = stays(100, 0), stays(100, 1)
    never = Cohort.of_tables(SCHEMA, fake.static, fake.visits.iloc[:0])
    ours = found(judge(test, never))
    assert {part for part, _ in ours} == {*PARTS, "transitions"}
    for part in ("first", "gaps", "length", "values", "transitions"):
        assert ours[part, ""].value == 1
    answers = Visits().measure(judge(never, test, test), RNG)
    assert {a.part for a in answers if isinstance(a, Measure)} == {"count"}


def test_more_patients_than_asked_for_are_thinned(judge: Judge) -> None:
    evidence = judge(stays(300, 0), stays(200, 1))
    answers = Visits(patients=100).measure(evidence, np.random.default_rng(0))
    again = Visits(patients=100).measure(evidence, np.random.default_rng(0))
    values = [a.value for a in answers if isinstance(a, Measure)]
    assert {a.n for a in answers if isinstance(a, Measure)} == {100}
    assert values == [a.value for a in again if isinstance(a, Measure)]


def test_what_cannot_be_asked_has_a_reason(judge: Judge) -> None:
    plain = Schema(name="plain", clock="", static=SCHEMA.static)
    cohort = Cohort.of_tables(plain, stays(50, 0).static)
    answers = Visits().measure(judge(cohort, cohort), RNG)
    assert [a.status for a in answers if isinstance(a, Refusal)] == ["not applicable"]
    once = stays(50, 0)
    first = once.visits.drop_duplicates("patient").reset_index(drop=True)
    once = Cohort.of_tables(SCHEMA, once.static, first)
    refused = {a.part for a in Visits().measure(judge(once, once), RNG) if isinstance(a, Refusal)}
    assert refused == {"gaps", "persistence", "transitions"}


def test_means_over_some_columns_say_so(judge: Judge) -> None:
    weight = Column(kind="number", low=0, high=300)
    schema = replace(SCHEMA, visits={**SCHEMA.visits, "weight": weight})
    fake, test = (stays(150, seed) for seed in (0, 1))
    sides = [
        Cohort.of_tables(schema, side.static, side.visits.assign(weight=values))
        for side, values in ((test, np.nan), (fake, 70.0))
    ]
    ours = found(judge(*sides))
    for part in ("values", "persistence"):
        assert ours[part, ""].facts == {"covered": 1, "of": 2, "over": "over 1 of 2 columns"}
    assert not ours["transitions", ""].facts
    assert not ours["values", "sodium"].facts


def test_training_patients_who_never_came_are_told(judge: Judge) -> None:
    test, fake = stays(60, 0), stays(60, 1)
    train = Cohort.of_tables(SCHEMA, stays(60, 2).static)
    (answer,) = Visits().measure(judge(test, fake, train), RNG)
    assert isinstance(answer, Refusal)
    assert (answer.status, answer.reason) == ("refused", "no training patient has a visit")


def test_intervals_cover(judge: Judge) -> None:
    numbers: dict[tuple[str, str], list[Measure]] = {}
    train = stays(600, 99)
    for seed in range(60):
        test, fake = stays(150, 1000 + seed), stays(200, 2000 + seed, every=45, stay=0.3)
        for key, measure in found(judge(test, fake, train, seed=seed)).items():
            numbers.setdefault(key, []).append(measure)
    for key, measures in numbers.items():
        truth = np.mean([m.value for m in measures])
        share = np.mean([m.low <= truth <= m.high for m in measures])
        # 60 draws, three standard errors below .95.
        assert share > 0.86, (key, share)
