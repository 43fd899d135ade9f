"""Next values are foreseen as well as scikit-learn says, and only where time was kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from fedbench.data import Cohort, Column, Schema
from fedbench.metric import Evidence, Measure, Refusal
from fedbench.metrics.forecast import Forecast, _carried

SCHEMA = Schema(
    name="followed",
    clock="",
    static={"age": Column(kind="integer", low=18, high=100)},
    visits={
        "sodium": Column(kind="number", low=-50, high=50),
        "weight": Column(kind="number", low=-50, high=50),
    },
)

Judge = Callable[..., Evidence]


def followed(n: int, seed: int, visits: int = 4, gaps: float = 0.2) -> Cohort:
    """Patients whose sodium follows weight of the visit before, which wanders."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(n, visits)).cumsum(axis=1)
    sodium = rng.normal(size=(n, visits))
    sodium[:, 1:] += 2 * weight[:, :-1]
    table = {"sodium": sodium.ravel(), "weight": weight.ravel()}
    patient = np.array([f"p{i:05d}" for i in range(n)], dtype=object)
    days = rng.uniform(1, 60, (n, visits)).cumsum(axis=1)
    frame = pd.DataFrame({"patient": np.repeat(patient, visits), "day": days.ravel(), **table})
    for name in table:
        frame[name] = frame[name].mask(rng.random(len(frame)) < gaps)
    static = pd.DataFrame({"patient": patient, "age": 50.0})
    return Cohort.of_tables(SCHEMA, static, frame)


def found(evidence: Evidence, **settings: int) -> dict[str, Measure]:
    answers = Forecast(**settings).measure(evidence, np.random.default_rng(0))
    return {m.key.column: m for m in answers if isinstance(m, Measure)}


def pairs(cohort: Cohort) -> tuple[np.ndarray, np.ndarray]:
    """What is known at every visit but the last, and sodium at the next, in a plain way."""
    known = cohort.visits.copy()
    known["wait"] = -known.groupby("patient")["day"].diff(-1)
    known["next"] = known.groupby("patient")["sodium"].shift(-1)
    known = known.dropna(subset=["next", "wait"])
    return known[["sodium", "weight", "wait"]].to_numpy(), known["next"].to_numpy()


def test_the_share_is_that_of_scikit_learn(judge: Judge) -> None:
    test, fake = followed(150, 0, gaps=0), followed(120, 1, gaps=0)
    before, then = pairs(fake)
    middle, spread = before.mean(axis=0), before.std(axis=0)
    model = Ridge(alpha=0.01 * len(fake))
    # Every patient counts once: three pairs of a third each.
    share = np.full(len(then), 1 / 3)
    model.fit((before - middle) / spread, (then - then.mean()) / then.std(), sample_weight=share)
    asked, truth = pairs(test)
    foreseen = then.mean() + then.std() * model.predict((asked - middle) / spread)
    expected = r2_score(truth, foreseen)
    assert found(judge(test, fake))["sodium"].value == pytest.approx(expected, abs=1e-6)


def test_order_is_what_it_learns_from(judge: Judge) -> None:
    test, fake = followed(300, 0), followed(300, 1)
    rng = np.random.default_rng(0)
    visits = fake.visits.copy()
    visits[["sodium", "weight"]] = visits[["sodium", "weight"]].to_numpy()[
        rng.permutation(len(visits))
    ]
    other = Cohort.of_tables(SCHEMA, fake.static, visits)
    before, after = found(judge(test, fake)), found(judge(test, other))
    assert before["sodium"].low > 0.5 > after["sodium"].high
    assert before[""].low > after[""].high


def test_what_was_measured_earlier_is_carried_on_within_a_patient() -> None:
    gap = np.nan
    values = np.array([[1, gap], [gap, 2], [gap, gap], [gap, 5], [3, gap]])
    expected = np.array([[1, gap], [1, 2], [1, 2], [gap, 5], [3, 5]])
    np.testing.assert_array_equal(_carried(values, np.array([0, 0, 0, 1, 1])), expected)


def test_what_is_left_out_is_foreseen_by_a_constant(judge: Judge) -> None:
    test, fake = followed(300, 0), followed(300, 1)
    whole = found(judge(test, fake))
    never = Cohort.of_tables(SCHEMA, fake.static, fake.visits.assign(weight=np.nan))
    ours = found(judge(test, never))
    assert ours["weight"].value == 0
    assert ours[""].value == pytest.approx(ours["sodium"].value / 2)
    assert set(ours) == set(whole)
    constant = Cohort.of_tables(SCHEMA, fake.static, fake.visits.assign(weight=3.7))
    visits = test.visits.assign(first=~test.visits["patient"].duplicated())
    then = visits[~visits["first"]].dropna(subset="weight")
    share = 1 / then.groupby("patient")["weight"].transform("size")
    left = np.average((then["weight"] - 3.7) ** 2, weights=share)
    spread = np.cov(then["weight"], aweights=share, ddof=0)
    value = found(judge(test, constant))["weight"].value
    assert value == pytest.approx(1 - left / spread, abs=1e-9)


def test_a_mean_over_some_laboratories_says_so(judge: Judge) -> None:
    test, fake = followed(300, 0), followed(300, 1)
    assert not found(judge(test, fake))[""].facts
    never = Cohort.of_tables(SCHEMA, test.static, test.visits.assign(weight=np.nan))
    assert found(judge(never, fake))[""].facts == {
        "covered": 1,
        "of": 2,
        "over": "over 1 of 2 columns",
    }


def test_what_cannot_be_asked_has_a_reason(judge: Judge) -> None:
    plain = Schema(name="plain", clock="", static=SCHEMA.static)
    cohort = Cohort.of_tables(plain, followed(50, 0).static)
    (answer,) = Forecast().measure(judge(cohort, cohort), np.random.default_rng(0))
    assert isinstance(answer, Refusal)
    assert answer.status == "not applicable"
    once = followed(50, 0, visits=1)
    answers = Forecast().measure(judge(once, once), np.random.default_rng(0))
    assert [a.key.column for a in answers if isinstance(a, Refusal)] == ["sodium", "weight"]


def test_intervals_cover(judge: Judge) -> None:
    numbers: dict[str, list[Measure]] = {}
    train, fake = followed(300, 99), followed(300, 98)
    for seed in range(60):
        for column, measure in found(judge(followed(120, seed), fake, train, seed=seed)).items():
            numbers.setdefault(column, []).append(measure)
    for column, measures in numbers.items():
        truth = np.mean([m.value for m in measures])
        share = np.mean([m.low <= truth <= m.high for m in measures])
        # 60 draws, three standard errors below .95.
        assert share > 0.86, (column, share)
