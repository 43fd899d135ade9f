from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Cohort, Column, Schema
from fedbench.metric import Evidence, Measure
from fedbench.metrics.missingness import Missingness
from fedbench.stats import newcombe

THREE = Schema(
    name="three",
    clock="",
    static={name: Column(kind="number", low=-6, high=6) for name in ("x", "y", "z")},
)
RNG = np.random.default_rng(0)


def gaps(evidence: Evidence) -> list[float]:
    found = Missingness().measure(evidence, RNG)
    assert [m.part for m in found] == ["rates", "pairs"]
    return [m.value for m in found if isinstance(m, Measure)]


def test_dropping_gaps_raises_missingness(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence], changed: Callable[..., Cohort]
) -> None:
    test, fake = draw(500, 0), draw(500, 1)
    assert gaps(judge(test, test)) == [0, 0]
    full = gaps(judge(test, changed(fake, copper=100.0, albumin=3.0)))
    same = gaps(judge(test, fake))
    assert full[0] > 2 * same[0]
    assert full[1] > 2 * same[1]


def test_gaps_that_no_longer_come_together_raise_pairs_alone(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence], changed: Callable[..., Cohort]
) -> None:
    test, fake = draw(500, 0), draw(500, 1)
    mixed = fake.static["copper"].sample(frac=1, random_state=0).to_numpy()
    before, after = gaps(judge(test, fake)), gaps(judge(test, changed(fake, copper=mixed)))
    assert after[0] == pytest.approx(before[0])
    assert after[1] > 1.2 * before[1]


def test_it_does_not_apply_where_nothing_is_missing(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence]
) -> None:
    cohort = draw(50, 0)
    static = cohort.static.assign(stage="I", copper=1.0, albumin=3.0)
    day = np.tile([1.0, 100.0], 50)
    visits = pd.DataFrame(
        {"patient": np.repeat(cohort.patients, 2), "day": day, "sodium": 140.0, "weight": 80.0}
    )
    whole = Cohort.of_tables(cohort.schema, static, visits, cohort.codes, cohort.outcome)
    found = Missingness().measure(judge(whole, cohort), RNG)
    assert [getattr(m, "status", "") for m in found] == ["not applicable"] * 2


def test_intervals_stay_open_where_nobody_has_a_gap(judge: Callable[..., Evidence]) -> None:
    """Of 50 without a gap, fewer than 7 in 100 need not have one."""
    rng = np.random.default_rng(0)

    def people(n: int, share: float) -> Cohort:
        values = pd.DataFrame(rng.normal(size=(n, 3)).clip(-6, 6), columns=["x", "y", "z"])
        values[["x", "y"]] = values[["x", "y"]].mask(rng.random((n, 2)) < share)
        return Cohort.of_tables(THREE, values.assign(patient=np.arange(n).astype(str)))

    train = people(1000, 0.2)
    rates, pairs = Missingness().measure(judge(people(50, 0), people(50, 0), train), RNG)
    for found in (rates, pairs):
        assert isinstance(found, Measure)
        assert (found.value, found.low) == (0, 0)
        assert found.high == pytest.approx(newcombe(0, 50, 0, 50).high)
    covered = []
    for seed in range(60):
        few = judge(people(50, 0.02), people(50, 0), train, seed=seed)
        found = Missingness().measure(few, RNG)[0]
        assert isinstance(found, Measure)
        covered.append(found.low <= 0.02 <= found.high)
    # 60 draws, three standard errors below .95.
    assert np.mean(covered) > 0.86
