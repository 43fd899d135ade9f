"""A generator that serves large hospitals better is found, and one that serves all alike is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from fedbench.data import Cohort
from fedbench.metric import Evidence, Hospital, Measure, Refusal, View
from fedbench.metrics.size_bias import SizeBias
from fedbench.stats import poisson_weights

Draw = Callable[[int, int], Cohort]
Judge = Callable[..., Evidence]

SIZES = {"a": 60, "b": 90, "c": 140, "d": 220, "e": 340, "f": 500}


def strange(cohort: Cohort, share: float) -> Cohort:
    """The cohort with a share of patients who have other values."""
    static = cohort.static.copy()
    some = np.arange(len(static)) < share * len(static)
    static["age"] = static["age"].mask(some, 30)
    static["sex"] = static["sex"].mask(some, "male")
    static["bilirubin"] = static["bilirubin"].mask(some, 20.0)
    return replace(cohort, static=static)


def asked(
    draw: Draw, judge: Judge, shares: Mapping[str, float], seed: int = 0, b: int = 100
) -> Evidence:
    """Hospitals of which some differ from all that is written."""
    known = {
        site: strange(draw(size, 1000 * seed + size), shares.get(site, 0.0))
        for site, size in SIZES.items()
    }
    base = judge(Cohort.union(list(known.values())), draw(800, 900_000 + seed), draw(800, 9), b=b)
    rng = np.random.default_rng(seed)
    hospitals = {
        site: Hospital(View(cohort, poisson_weights(rng, len(cohort), b)), 2 * len(cohort))
        for site, cohort in known.items()
    }
    return replace(base, beside=hospitals)


def slope(evidence: Evidence) -> Measure:
    (found,) = (
        each
        for each in SizeBias().measure(evidence, np.random.default_rng(0))
        if isinstance(each, Measure) and not each.key.column
    )
    return found


def test_small_hospitals_that_are_drawn_badly_are_found(draw: Draw, judge: Judge) -> None:
    planted = slope(asked(draw, judge, {"a": 0.8, "b": 0.6, "c": 0.4, "d": 0.2, "e": 0.1}))
    assert planted.low > 0
    turned = slope(asked(draw, judge, {"f": 0.8, "e": 0.6, "d": 0.4, "c": 0.2, "b": 0.1}))
    assert turned.high < 0, "where large ones are served worse it is below 0"


def test_sampling_alone_is_no_bias(draw: Draw, judge: Judge) -> None:
    found = [slope(asked(draw, judge, {}, seed)) for seed in range(24)]
    values = np.array([each.value for each in found])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values)), "small samples do not tilt"
    held = np.mean([each.low <= 0 <= each.high for each in found])
    assert held >= 0.8, (
        "intervals hold 0 in 95 of 100 draws; fewer than 20 of 24 would be by chance once in 150"
    )


def test_the_slope_is_that_of_least_squares(draw: Draw, judge: Judge) -> None:
    evidence = asked(draw, judge, {"a": 0.5, "d": 0.2})
    found = SizeBias().measure(evidence, np.random.default_rng(0))
    apart = {each.key.column: each.value for each in found if isinstance(each, Measure)}
    sizes = [np.log2(2 * size) for size in SIZES.values()]
    expected = -np.polyfit(sizes, [apart[site] for site in SIZES], 1)[0]
    assert apart[""] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kept", "factor", "reason"),
    [
        (("a", "b", "c", "d"), 1, "4 hospitals have 20 test patients; a slope on size needs 5"),
        (tuple(SIZES), 0, "needs one that is 2 times as large as another"),
    ],
)
def test_too_few_hospitals_or_sizes_are_refused(
    draw: Draw, judge: Judge, kept: tuple[str, ...], factor: int, reason: str
) -> None:
    evidence = asked(draw, judge, {})
    some = {
        site: replace(evidence.beside[site], trained=100 + factor * SIZES[site]) for site in kept
    }
    (refusal,) = SizeBias().measure(replace(evidence, beside=some), np.random.default_rng(0))
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason


def test_a_single_hospital_has_no_size_bias(draw: Draw, judge: Judge) -> None:
    (refusal,) = SizeBias().measure(judge(draw(50, 0), draw(50, 1)), np.random.default_rng(0))
    assert isinstance(refusal, Refusal)
    assert refusal.status == "not applicable"
