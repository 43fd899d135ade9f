"""Columns differ by what SDMetrics and SciPy say they differ by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance
from sdmetrics.single_column import (
    BoundaryAdherence,
    CategoryAdherence,
    KSComplement,
)

from fedbench.data import Cohort, Column, Schema
from fedbench.metric import Evidence, Measure, Refusal
from fedbench.metrics._ruler import Ruler
from fedbench.metrics._values import Values, distances
from fedbench.metrics.columns import Columns
from fedbench.stats import clopper_pearson

RNG = np.random.default_rng(0)
PARTS = {"ks", "wasserstein", "jensen_shannon", "uncovered", "outside"}

Draw = Callable[[int, int], Cohort]
Judge = Callable[..., Evidence]
Change = Callable[..., Cohort]


def found(evidence: Evidence) -> dict[tuple[str, str], Measure]:
    answers = Columns().measure(evidence, RNG)
    return {(m.part, m.key.column): m for m in answers if isinstance(m, Measure)}


def test_the_same_records_are_at_distance_0(draw: Draw, judge: Judge) -> None:
    cohort = draw(200, 0)
    same = found(judge(cohort, cohort))
    assert {part for part, _ in same} == PARTS
    assert all(m.value == pytest.approx(0, abs=1e-9) for m in same.values())


@pytest.mark.parametrize("name", ["bilirubin", "copper", "age"])
def test_numbers_are_as_far_apart_as_elsewhere(draw: Draw, judge: Judge, name: str) -> None:
    test, fake, train = draw(300, 0), draw(200, 1), draw(400, 2)
    ours = found(judge(test, fake, train))
    real, other = (cohort.static[name].dropna().astype(float) for cohort in (test, fake))
    scale = train.static[name].std(ddof=0)
    trained = train.static[name].dropna().astype(float)
    expected = {
        "ks": 1 - KSComplement.compute(real, other),
        "wasserstein": wasserstein_distance(real / scale, other / scale),
        "outside": 1 - BoundaryAdherence.compute(trained, other),
        "uncovered": 1 - BoundaryAdherence.compute(other, real),
    }
    for part, value in expected.items():
        assert ours[part, name].value == pytest.approx(value, abs=1e-6), part


def test_levels_are_as_far_apart_as_elsewhere(draw: Draw, judge: Judge, changed: Change) -> None:
    test, fake = draw(200, 0), draw(150, 1)
    test = changed(test, stage=test.static["stage"].where(test.static["stage"] != "IV", "I"))
    fake = changed(fake, stage=fake.static["stage"].where(fake.static["stage"] != "II", "I"))
    ours = found(judge(test, fake))
    real, other = (cohort.static["stage"] for cohort in (test, fake))
    real, other = real.dropna(), other.dropna()  # SDMetrics takes a gap for a level
    for part, pair in (("outside", (real, other)), ("uncovered", (other, real))):
        assert ours[part, "stage"].value == pytest.approx(
            1 - CategoryAdherence.compute(*pair), abs=1e-6
        )
        assert ours[part, "stage"].value > 0.05


def test_the_jensen_shannon_distance_is_scipys(draw: Draw, judge: Judge) -> None:
    evidence = judge(draw(300, 0), draw(200, 1))
    ours, ruler = found(evidence), Ruler(evidence.encoder, 20, evidence.train)
    sides = [list(ruler.levels(view.table)) for view in (evidence.test, evidence.synthetic)]
    for feature, width, *levels in zip(ruler.features, ruler.widths, *sides, strict=True):
        shares = [np.bincount(side, minlength=width) / len(side) for side in levels]
        assert ours["jensen_shannon", feature.name].value == pytest.approx(
            float(jensenshannon(*shares, base=2)), abs=1e-6
        )


def test_weights_count_patients(draw: Draw, judge: Judge) -> None:
    """A draw is as far away as the patients that it drew, each as often."""
    evidence = judge(draw(80, 0), draw(60, 1), b=5)
    real, fake = (Values.of(view, "copper") for view in (evidence.test, evidence.synthetic))
    ks, moved = distances(real, fake)
    for row in range(6):
        drawn = [np.repeat(side.values, side.weights[row]) for side in (real, fake)]
        assert ks[row] == pytest.approx(ks_2samp(*drawn).statistic)
        assert moved[row] == pytest.approx(wasserstein_distance(*drawn))


def test_a_column_without_values_has_a_reason_and_not_a_number(
    draw: Draw, judge: Judge, changed: Change
) -> None:
    test, fake = draw(100, 0), changed(draw(100, 1), copper=np.nan, stage=None)
    answers = Columns().measure(judge(test, fake), RNG)
    reasons = {a.key.column: a.reason for a in answers if isinstance(a, Refusal)}
    reason = "0 synthetic patients have a value; this needs at least 10"
    assert reasons == dict.fromkeys(("copper", "stage"), reason)
    parts = {(m.part, m.key.column) for m in answers if isinstance(m, Measure)}
    assert ("jensen_shannon", "copper") in parts
    assert ("ks", "copper") not in parts
    assert ("ks", "") in parts


@pytest.mark.parametrize("side", ["real test", "synthetic"])
def test_a_column_is_about_those_who_have_a_value(
    draw: Draw, judge: Judge, changed: Change, side: str
) -> None:
    """Nine of a thousand are too few, and ten have the limits of ten."""
    whole = changed(draw(1000, 0), copper=100.0, stage="I")

    def asked(known: int) -> tuple[dict[tuple[str, str], Measure], set[str]]:
        there = np.arange(1000) < known
        few = changed(
            whole,
            copper=whole.static["copper"].where(there),
            stage=whole.static["stage"].where(there),
        )
        sides = (few, whole) if side == "real test" else (whole, few)
        answers = Columns().measure(judge(*sides, whole), RNG)
        measures = {(m.part, m.key.column): m for m in answers if isinstance(m, Measure)}
        return measures, {a.reason for a in answers if isinstance(a, Refusal)}

    measures, reasons = asked(9)
    assert reasons == {f"9 {side} patients have a value; this needs at least 10"}
    assert {part for part, name in measures if name in ("copper", "stage")} == {"jensen_shannon"}
    assert measures["ks", ""].facts == {"covered": 10, "of": 11, "over": "over 10 of 11 columns"}
    measures, reasons = asked(10)
    assert not reasons
    assert not measures["ks", ""].facts
    part = "uncovered" if side == "real test" else "outside"
    for name in ("copper", "stage"):
        assert measures[part, name].n == 10
        assert measures[part, name].high == pytest.approx(0.3085, abs=1e-4)


def test_what_lies_beyond_real_values_is_found(draw: Draw, judge: Judge, changed: Change) -> None:
    test, fake = draw(300, 0), draw(300, 1)
    values = fake.static["albumin"].to_numpy(copy=True)
    values[:30] = 6.0  # of the training records, none has so much
    ours = found(judge(test, changed(fake, albumin=values)))
    assert ours["outside", "albumin"].value == pytest.approx(
        30 / pd.Series(values).notna().sum(), abs=0.02
    )
    assert ours["outside", "albumin"].low > 0.05


def test_records_of_one_law_are_nearer_than_shifted_ones(
    draw: Draw, judge: Judge, changed: Change
) -> None:
    test, fake = draw(500, 0), draw(500, 1)
    older = changed(fake, age=np.minimum(fake.static["age"] + 15, 100))
    before, after = found(judge(test, fake)), found(judge(test, older))
    for part in ("ks", "wasserstein", "jensen_shannon"):
        assert after[part, "age"].low > before[part, "age"].high
        assert after[part, ""].value > before[part, ""].value


@pytest.mark.parametrize("size", [1, 10])
def test_means_of_shares_stay_open_where_nobody_is_beyond(judge: Judge, size: int) -> None:
    """Households of ten that are alike tell as much as one patient each."""
    static = {name: Column(kind="number", low=0, high=1) for name in "xy"}
    schema = Schema(name="h", clock="", static=static, cluster="home" if size > 1 else None)

    def people(n: int, values: np.ndarray) -> Cohort:
        table = pd.DataFrame({"patient": np.arange(n).astype(str).astype(object)})
        table = table.assign(x=values, y=values, home=(np.arange(n) // size).astype(str))
        return Cohort.of_tables(schema, table if size > 1 else table.drop(columns="home"))

    test, fake = people(200, np.full(200, 0.5)), people(400, np.linspace(0, 1, 400))
    ours = found(judge(test, fake))
    limits = clopper_pearson(0, 200 // size)
    for name in ("x", "y", ""):
        assert (ours["uncovered", name].value, ours["uncovered", name].low) == (0, 0)
        assert ours["uncovered", name].high == pytest.approx(limits.high)
    (beyond,) = {ours["outside", name].value for name in ("x", "y")}
    assert ours["outside", ""].low <= beyond <= ours["outside", ""].high
