"""What is said to be noticed four times out of five is noticed so often."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special
from scipy import stats as scipy_stats

from fedbench import stats
from fedbench.games.advantage import Stratum, advantage
from fedbench.power import LEVEL, detectable_auc, detectable_leak, detectable_yes, power_of_leaks
from fedbench.testing.coverage import covered, leaky_scores, normal_scores, placed


def test_the_detectable_auc_keeps_its_power_where_sites_are_unlike() -> None:
    rng, sizes = np.random.default_rng(45), np.array([(200, 150), (20, 800)])
    area = detectable_auc(*sizes.T)
    d = math.sqrt(2) * scipy_stats.norm.ppf(area)
    found = [stats.auc_p_value([normal_scores(rng, d, *n) for n in sizes]) for _ in range(1000)]
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.8, abs=0.05)
    assert detectable_auc([150, 0], [250, 9]) == detectable_auc(150, 250)


def test_the_detectable_auc_is_found_with_the_stated_power() -> None:
    rng = np.random.default_rng(8)
    d = math.sqrt(2) * scipy_stats.norm.ppf(detectable_auc(150, 250))
    found = [stats.auc_p_value([normal_scores(rng, d, 150, 250)]) < 0.05 for _ in range(1000)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)
    assert math.isnan(detectable_auc(0, 10))
    assert math.isnan(detectable_auc(1, 1))


@pytest.mark.parametrize(("n1", "n0", "alpha"), [(800, 1000, 0.01), (300, 400, 0.1)])
def test_the_detectable_leak_is_found_with_the_stated_power(n1: int, n0: int, alpha: float) -> None:
    rng, reps, k = np.random.default_rng(11), 4000, round(alpha * n0)
    leak = detectable_leak(n1, n0, alpha)

    def hits(f: float) -> stats.Ints:
        fpr = np.sort(rng.random((reps, n0)), axis=1)[:, k - 1]
        return rng.binomial(n1, f + (1 - f) * fpr)

    null = scipy_stats.betabinom(n1, k, n0 - k + 1)
    critical = null.isf(LEVEL) + 1
    assert np.mean(hits(0.0) >= critical) <= LEVEL + 0.012
    assert np.mean(hits(leak) >= critical) == pytest.approx(0.8, abs=0.025)


@pytest.mark.parametrize("sizes", [[(60, 40), (60, 300)], [(200, 150), (20, 800)]])
def test_the_detectable_leak_keeps_its_power_where_sites_are_unlike(
    sizes: list[tuple[int, int]],
) -> None:
    rng = np.random.default_rng(44)

    def found(f: float) -> stats.LowFpr:
        return stats.tpr_at_fpr([placed(leaky_scores(rng, f, *n)) for n in sizes], 0.1, rng, 2)

    one = found(0.0)
    leak = detectable_leak(one.n_members, one.n_nonmembers, 0.1, worth=one.worth)
    assert np.mean([found(leak).p_value <= LEVEL for _ in range(600)]) == pytest.approx(
        0.8, abs=0.06
    )


HOSPITALS = [(200, 600), (100, 300), (60, 180), (40, 120)]


def copied(rng: np.random.Generator, share: float, levels: int, n1: int, n0: int) -> stats.Placed:
    """Scores of so many levels, of which those of copied members stand out."""
    scores, member = leaky_scores(rng, 0.0, n1, n0)
    tied = np.floor(special.ndtr(scores) * levels)
    return placed((np.where(member & (rng.random(n1 + n0) < share), 1e9, tied), member))


@pytest.mark.parametrize(
    ("levels", "sizes"),
    [(15, [(400, 1200)]), (30, [(400, 1200)]), (100, [(400, 1200)]), (10**6, HOSPITALS)],
)
def test_what_is_noticed_is_so_where_scores_are_tied_and_hospitals_unequal(
    levels: int, sizes: list[tuple[int, int]]
) -> None:
    """By an interval above chance, as reports ask; a promise may be too modest, not too bold."""
    rng = np.random.default_rng(47)

    def found(share: float, b: int) -> stats.LowFpr:
        return stats.tpr_at_fpr([copied(rng, share, levels, *n) for n in sizes], 0.1, rng, b)

    def promised(one: stats.LowFpr) -> float:
        n1, n0 = one.n_members, one.n_nonmembers
        return detectable_leak(n1, n0, 0.1, worth=one.worth, fpr=one.steady)

    leak = float(np.median([promised(found(0.0, 2)) for _ in range(20)]))
    seen = [found(leak, 200) for _ in range(200)]
    assert np.mean([one.p_value <= LEVEL for one in seen]) >= 0.74
    assert np.mean([one.leak.low > 0 for one in seen]) >= 0.74


def test_the_detectable_leak_shrinks_with_members_and_is_refused_with_the_row() -> None:
    assert detectable_leak(4000, 2000, 0.01) < detectable_leak(400, 2000, 0.01)
    assert math.isnan(detectable_leak(1000, 999, 0.01))
    assert math.isnan(detectable_leak(1, 1000, 0.1))


def test_the_curve_of_power_goes_through_what_is_detectable() -> None:
    leak = detectable_leak(300, 1000, 0.01)
    curve = power_of_leaks(300, 1000, 0.01, [0.0, leak / 2, leak, 2 * leak])
    assert curve[0] <= LEVEL
    assert (np.diff(curve) > 0).all()
    assert curve[2] == pytest.approx(0.8, abs=0.001)
    assert np.isnan(power_of_leaks(300, 999, 0.01, [0.1])).all()


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """In 60 draws; fewer than 52 of 60 have a chance below 1 % at 95 %."""
    found = list(covered(60, sizes=[(200, 200)]))
    assert {each.name for each in found} >= {"AUC", "TPR at 10% FPR", "leak of 5% at 10% FPR"}
    assert min(each.share for each in found) >= 52 / 60, [str(each) for each in found]


@pytest.mark.parametrize(
    ("sizes", "wrong"),
    [
        ([(1000, 1000)], 0.0),
        ([(200, 1000)], 0.0),
        ([(300, 900)], 0.01),
        ([(200, 600), (100, 300)], 0.02),
        ([(60, 200)] * 5, 0.01),
    ],
)
def test_what_a_yes_shows_has_its_interval_above_chance_as_often_as_stated(
    sizes: list[tuple[int, int]], wrong: float
) -> None:
    rng = np.random.default_rng(13)
    n1, n0 = (list(side) for side in zip(*sizes, strict=True))
    seen = detectable_yes(n1, n0, [round(wrong * n) for n in n0], rng)

    def shown() -> bool:
        strata = []
        for ones, zeros in sizes:
            truth = np.arange(ones + zeros) < ones
            once = np.ones((2, len(truth)), dtype=np.uint8)
            copied = truth & (rng.random(len(truth)) < seen / (1 - wrong))
            strata.append(Stratum(copied | (rng.random(len(truth)) < wrong), truth, once, once))
        return advantage(strata, {}, np.array(n1, dtype=float)).low > 0

    assert 0.75 <= np.mean([shown() for _ in range(400)]) <= 0.88


def test_a_yes_that_others_get_as_well_shows_nothing() -> None:
    assert math.isnan(detectable_yes([5], [5], [5], np.random.default_rng(0)))
    assert math.isnan(detectable_yes([1], [1], [0], np.random.default_rng(0)))
