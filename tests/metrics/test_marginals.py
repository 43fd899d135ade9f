from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sdmetrics.single_column import TVComplement

from fedbench.data import Cohort, Column, Schema
from fedbench.metric import Evidence, Measure
from fedbench.metrics.marginals import Marginals

RNG = np.random.default_rng(0)


def by_column(evidence: Evidence) -> dict[str, Measure]:
    found = Marginals().measure(evidence, RNG)
    return {m.key.column: m for m in found if isinstance(m, Measure)}


def test_the_same_records_are_at_distance_0(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence]
) -> None:
    cohort = draw(200, 0)
    found = by_column(judge(cohort, cohort))
    assert set(found) == {"", *(f.name for f in cohort.schema.features)}
    assert all(m.value == 0 == m.low for m in found.values())


def test_a_level_that_nobody_had_may_yet_be_rare(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence], changed: Callable[..., Cohort]
) -> None:
    test, fake = (changed(draw(n, n), sex="male") for n in (200, 100))
    found = by_column(judge(test, fake))["sex"]
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 100))


def test_new_records_of_one_law_are_nearer_than_others(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence], changed: Callable[..., Cohort]
) -> None:
    test, fake = draw(500, 0), draw(500, 1)
    older = changed(fake, age=np.minimum(fake.static["age"] + 15, 100))
    before, after = by_column(judge(test, fake)), by_column(judge(test, older))
    assert after["age"].low > before["age"].high
    assert after["sex"].value == before["sex"].value
    assert after[""].value > before[""].value


def test_bounds_that_lie_far_apart_hide_nothing(judge: Callable[..., Evidence]) -> None:
    schema = Schema(
        name="wide", clock="", static={"crp": Column(kind="number", low=0, high=110_000)}
    )

    def drawn(seed: int, middle: float) -> Cohort:
        crp = np.random.default_rng(seed).normal(middle, 1, 1000).clip(0)
        crp[0] = 99_999
        patients = [f"p{i:04d}" for i in range(1000)]
        return Cohort.of_tables(schema, pd.DataFrame({"patient": patients, "crp": crp}))

    train, test = drawn(2, 5), drawn(0, 5)
    same = by_column(judge(test, drawn(1, 5), train))["crp"].value
    moved = by_column(judge(test, drawn(1, 8), train))["crp"].value
    # Normal laws three standard deviations apart are .866 apart; chance alone is .09 of 20 levels.
    assert same < 0.13
    assert moved == pytest.approx(2 * norm.cdf(1.5) - 1, abs=0.05)


@pytest.mark.parametrize("gaps", [False, True])
def test_a_category_has_the_distance_of_sdmetrics(
    *, draw: Callable[..., Cohort], judge: Callable[..., Evidence], gaps: bool
) -> None:
    test, fake = draw(300, 0), draw(200, 1)
    name = "stage" if gaps else "sex"
    # SDMetrics leaves gaps out; written as a level they count as they do here.
    real, other = (c.static[name].astype(object).fillna("gap") for c in (test, fake))
    theirs = 1 - TVComplement.compute(real, other)
    assert by_column(judge(test, fake))[name].value == pytest.approx(theirs, abs=1e-9)


def test_a_visit_that_did_not_take_place_counts(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence]
) -> None:
    test = draw(400, 0)
    visits = test.visits[test.visits["day"] < 90]
    gone = Cohort(test.schema, test.static, visits, test.codes, test.outcome)
    found = by_column(judge(test, gone))
    came = test.table["day@late"].notna().mean()
    assert found["weight@late"].value == pytest.approx(came)
    assert found["weight@early"].value == 0


def test_columns_all_missing_or_constant_have_a_distance(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence], changed: Callable[..., Cohort]
) -> None:
    test = changed(draw(100, 0), copper=np.nan, age=50.0)
    found = by_column(judge(test, test))
    assert found["copper"].value == found["age"].value == 0
    found = by_column(judge(test, draw(100, 1)))
    assert found["copper"].value > 0.5
    assert np.isfinite([m.value for m in found.values()]).all()


def test_no_weight_is_lost(draw: Callable[..., Cohort], judge: Callable[..., Evidence]) -> None:
    evidence = judge(draw(60, 0), draw(80, 1), b=7)
    measure = by_column(evidence)["sex"]
    sides = evidence.test, evidence.synthetic
    rates = [
        view.weights @ (view.table["sex"] == "male").to_numpy() / view.weights.sum(axis=1)
        for view in sides
    ]
    gaps = rates[0] - rates[1]
    expected = gaps * np.sign(
        sum(s * (v.table["sex"] == "male").mean() for s, v in zip((1, -1), sides, strict=True))
    )
    assert measure.replicates == pytest.approx(expected - expected.mean() + measure.value)
