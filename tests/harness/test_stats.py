"""The statistics must be right where they are checked by others, and honest where they are not."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from sklearn.metrics import roc_auc_score

from fedbench import stats
from fedbench.testing.coverage import leaky_scores, normal_scores, placed

FEW = settings(max_examples=40, deadline=None)
LABELLED = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        arrays.arrays(float, n, elements=st.integers(-4, 4).map(float)),
        arrays.arrays(bool, n),
    ).filter(lambda both: 0 < both[1].sum() < n)
)


def coverage(truth: float, intervals: Sequence[stats.Interval]) -> float:
    return float(np.mean([each.low <= truth <= each.high for each in intervals]))


def test_poisson_weights_have_mean_and_variance_one() -> None:
    weights = stats.poisson_weights(np.random.default_rng(0), 1000, 300)
    assert weights.shape == (300, 1000)
    assert weights.dtype == np.uint8
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.02)


def test_recentred_replicates_have_the_value_as_mean_and_skip_nan() -> None:
    shifted = stats.recentre(3.0, [1.0, 2.0, np.nan, 6.0])
    assert np.nanmean(shifted) == pytest.approx(3)
    assert np.isnan(shifted).tolist() == [False, False, True, False]


def test_a_percentile_interval_needs_half_of_the_replicates() -> None:
    assert stats.percentile(0.5, [0.4, 0.6, np.nan]).low < 0.5
    assert math.isnan(stats.percentile(0.5, [0.4, np.nan, np.nan]).high)
    assert math.isnan(stats.percentile(0.5, []).low)
    assert math.isnan(stats.percentile(math.nan, [0.4, 0.6]).low)


@FEW
@given(LABELLED)
def test_auc_equals_scikit_learn(labelled: stats.Labelled) -> None:
    scores, member = labelled
    assert stats.auc(scores, member) == pytest.approx(roc_auc_score(member, scores), abs=1e-12)
    assert stats.delong(scores, member).value == pytest.approx(stats.auc(scores, member), abs=1e-12)


@FEW
@given(LABELLED, st.integers(0, 99))
def test_weighted_auc_equals_auc_of_repeated_records(labelled: stats.Labelled, seed: int) -> None:
    scores, member = labelled
    weights = stats.poisson_weights(np.random.default_rng(seed), scores.size, 5)
    for found, row in zip(stats.weighted_auc(scores, member, weights), weights, strict=True):
        again = np.repeat(scores, row), np.repeat(member, row)
        assert found == pytest.approx(stats.auc(*again), abs=1e-12, nan_ok=True)


def test_auc_of_one_class_or_nobody_is_nan() -> None:
    assert math.isnan(stats.auc([1.0, 2.0], [True, True]))
    assert math.isnan(stats.auc([], []))


def test_scores_that_are_nan_are_an_error() -> None:
    with pytest.raises(ValueError, match="1 NaN"):
        stats.auc([1.0, np.nan], [True, False])


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    site, weights = normal_scores(rng, 1, 60, 70), stats.poisson_weights(rng, 130, 50)
    whole = (
        stats.weighted_auc(*site, weights),
        stats.tpr_at_fpr([placed(site), placed(site)], 0.1, np.random.default_rng(1), 50),
    )
    monkeypatch.setattr(stats, "_CELLS", 500)
    np.testing.assert_array_equal(stats.weighted_auc(*site, weights), whole[0])
    again = stats.tpr_at_fpr([placed(site), placed(site)], 0.1, np.random.default_rng(1), 50)
    assert again == whole[1]


def test_delong_variance_equals_its_definition() -> None:
    scores, member = normal_scores(np.random.default_rng(2), 1, 40, 30)
    scores = np.round(scores, 1)
    wins = np.subtract.outer(scores[member], scores[~member])
    psi = (wins > 0) + 0.5 * (wins == 0)
    expected = psi.mean(axis=1).var(ddof=1) / 40 + psi.mean(axis=0).var(ddof=1) / 30
    assert stats.delong(scores, member).variance == pytest.approx(expected)


@FEW
@given(LABELLED)
def test_a_monotone_transform_changes_no_interval(labelled: stats.Labelled) -> None:
    scores, member = labelled
    assert stats.auc_interval(scores, member) == stats.auc_interval(np.exp(scores), member)
    np.testing.assert_array_equal(
        stats.placements(scores, member), stats.placements(scores**3, member)
    )


@FEW
@given(LABELLED)
def test_no_auc_interval_has_width_zero(labelled: stats.Labelled) -> None:
    found = stats.auc_interval(*labelled)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0.05


@pytest.mark.parametrize("d", [0, 1, 3])
def test_the_auc_interval_covers_with_200_a_class(d: float) -> None:
    rng, truth = np.random.default_rng(10), scipy_stats.norm.cdf(d / math.sqrt(2))
    found = [stats.auc_interval(*normal_scores(rng, d, 200, 200)) for _ in range(1500)]
    assert 0.93 <= coverage(truth, found) <= 0.97


@pytest.mark.parametrize(
    ("d", "n1", "n0"), [(0, 10, 49), (1, 20, 500), (4, 30, 30), (3.5, 50, 1000), (4, 100, 100)]
)
def test_small_or_nearly_separated_classes_are_covered_conservatively(
    d: float, n1: int, n0: int
) -> None:
    rng, truth = np.random.default_rng(20), scipy_stats.norm.cdf(d / math.sqrt(2))
    found = [stats.auc_interval(*normal_scores(rng, d, n1, n0)) for _ in range(400)]
    assert coverage(truth, found) >= 0.94


@pytest.mark.parametrize(("n1", "n0"), [(10, 10), (10, 1000), (30, 300)])
@pytest.mark.parametrize("area", [0.6, 0.97])
def test_limits_of_an_auc_cover_from_ten_records_of_a_class_on(
    area: float, n1: int, n0: int
) -> None:
    rng, d = np.random.default_rng(30), math.sqrt(2) * scipy_stats.norm.ppf(area)
    found = [stats.auc(*normal_scores(rng, d, n1, n0)) for _ in range(600)]
    limits = [stats.auc_limits(value, n1, n0) for value in found]
    assert 0.93 <= coverage(area, limits) <= 0.99
    assert all(0 <= each.low < each.high <= 1 for each in limits)


def test_nobody_is_not_said_to_be_found_where_nobody_can_be_accused() -> None:
    rng, ties = np.random.default_rng(0), np.arange(1000) < 260
    members = np.arange(1000) < 480  # who look like a released record, as do 26 % of the others
    scores = np.concatenate([members, ties]).astype(float)
    truth = np.arange(2000) < 1000
    place = stats.placements(scores, truth)
    for alpha in (0.01, 0.1):
        with pytest.raises(stats.TooFew, match="look exactly like suspicious members"):
            stats.tpr_at_fpr([(place[truth], place[~truth])], alpha, rng)
        with pytest.raises(stats.TooFew, match="look exactly like suspicious members"):
            stats.accused([(place[truth], place[~truth])], alpha)
    few = stats.placements(np.concatenate([members, np.arange(1000) < 5]).astype(float), truth)
    found = stats.tpr_at_fpr([(few[truth], few[~truth])], 0.01, rng)
    assert (found.tpr.value, found.fpr) == (0.48, 0.005)
    none = stats.placements(np.zeros(2000), truth)
    assert stats.tpr_at_fpr([(none[truth], none[~truth])], 0.01, rng).tpr.value == 0


@pytest.mark.parametrize("wrong", [9, 10])
def test_members_are_found_with_the_last_others_who_may_be_accused(wrong: int) -> None:
    """Of 1,000 others ten may be accused; so many look as suspicious as half of the members."""
    truth = np.arange(2000) < 1000
    alike = np.concatenate([np.arange(1000) < 500, np.arange(1000) < wrong]).astype(float)
    place = stats.placements(alike, truth)
    found = stats.tpr_at_fpr([(place[truth], place[~truth])], 0.01, np.random.default_rng(0))
    assert (found.tpr.value, found.fpr) == (0.5, wrong / 1000)
    assert found.leak.low > 0.1
    assert found.p_value < 1e-9
    (who,) = stats.accused([(place[truth], place[~truth])], 0.01)
    assert who is not None
    assert (who.members.mean(), who.nonmembers.mean()) == (0.5, wrong / 1000)


@pytest.mark.parametrize("levels", [10, 40, 100])
def test_tied_scores_that_tell_nothing_are_seldom_a_leak(levels: int) -> None:
    rng, p, low = np.random.default_rng(12), [], []
    for _ in range(1000):
        scores, truth = rng.integers(0, levels, 600) / levels, np.arange(600) < 300
        with contextlib.suppress(stats.TooFew):
            found = stats.tpr_at_fpr([placed((scores, truth))], 0.1, rng, 50)
            p.append(found.p_value)
            low.append(found.leak.low)
    assert len(p) > 100
    assert np.mean(np.array(p) < 0.05) <= 0.06
    assert np.mean(np.array(low) > 0) <= 0.045


@pytest.mark.parametrize("leak", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("wrong", [0.02, 0.05])
def test_the_leak_share_covers_where_scores_are_tied(leak: float, wrong: float) -> None:
    """Who looks like a released record scores 1: members who leaked, and a few of anybody."""
    rng, truth, found = np.random.default_rng(13), np.arange(600) < 300, []
    for _ in range(1000):
        rate = np.where(truth, leak + (1 - leak) * wrong, wrong)
        scores = (rng.random(600) < rate).astype(float)
        found.append(stats.tpr_at_fpr([placed((scores, truth))], 0.1, rng, 20).leak)
    assert coverage(leak, found) >= 0.94


def test_a_perfect_auc_has_the_limit_of_clopper_pearson() -> None:
    found = stats.auc_interval(np.arange(200.0), np.arange(200) >= 80)
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(stats.clopper_pearson(80, 80).low, abs=1e-9)


def test_scores_that_are_all_equal_say_little() -> None:
    found = stats.auc_interval(np.zeros(400), np.arange(400) < 200)
    assert found.value == 0.5
    assert found.low < 0.45
    assert found.high > 0.55


@pytest.mark.parametrize(
    ("sizes", "d"), [([60] * 8, 1), ([200, 20, 20, 30], 1), ([20, 30, 40], 0), ([1000, 20], 0)]
)
def test_the_combined_auc_covers(sizes: list[int], d: float) -> None:
    rng, truth = np.random.default_rng(30), scipy_stats.norm.cdf(d / math.sqrt(2))
    found = [stats.combine_auc([normal_scores(rng, d, n, n) for n in sizes]) for _ in range(500)]
    assert coverage(truth, found) >= 0.93


def test_sites_are_compared_within_and_their_order_is_of_no_effect() -> None:
    rng = np.random.default_rng(4)
    sites = [
        normal_scores(rng, 1, 80, 90),
        normal_scores(rng, 1, 30, 60),
        normal_scores(rng, 1, 99, 70),
    ]
    apart = [(scores + 50 * i, member) for i, (scores, member) in enumerate(sites)]
    found, other = stats.combine_auc(sites), stats.combine_auc(apart[::-1])
    assert (found.value, found.low) == pytest.approx((other.value, other.low))
    assert stats.auc_p_value(sites) == pytest.approx(stats.auc_p_value(apart[::-1]))


def test_sites_with_one_class_are_ignored_until_none_is_left() -> None:
    site, empty = normal_scores(np.random.default_rng(0), 1, 60, 60), (np.ones(3), np.ones(3, bool))
    assert stats.combine_auc([site, empty]) == stats.combine_auc([site])
    assert stats.auc_p_value([site, empty]) == stats.auc_p_value([site])
    with pytest.raises(ValueError, match="none"):
        stats.combine_auc([empty])
    with pytest.raises(ValueError, match="none"):
        stats.auc_p_value([empty])


def test_p_values_are_uniform_under_the_null_with_ties_and_shifted_sites() -> None:
    rng = np.random.default_rng(6)
    p = []
    for _ in range(600):
        sites = [normal_scores(rng, 0, n1, n0) for n1, n0 in [(60, 40), (100, 300), (30, 30)]]
        p.append(
            stats.auc_p_value([(np.round(3 * s) + 9 * i, m) for i, (s, m) in enumerate(sites)])
        )
    assert scipy_stats.kstest(p, "uniform").pvalue > 0.01


def test_the_p_value_of_one_site_is_the_mann_whitney_test() -> None:
    scores, member = normal_scores(np.random.default_rng(7), 0.3, 60, 80)
    scores = np.round(scores, 1)
    expected = scipy_stats.mannwhitneyu(
        scores[member], scores[~member], alternative="greater", use_continuity=False
    )
    assert stats.auc_p_value([(scores, member)]) == pytest.approx(expected.pvalue)
    assert stats.auc_p_value([(np.zeros(140), member)]) == 1


@FEW
@given(LABELLED)
def test_placements_are_mid_ranks_among_non_members(labelled: stats.Labelled) -> None:
    scores, member = labelled
    others = scores[~member]
    expected = [np.mean(others > s) + 0.5 * np.mean(others == s) for s in scores]
    np.testing.assert_allclose(stats.placements(scores, member), expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.1, 0.07, 0.29]), st.sampled_from([1, 30, 1000]))
def test_no_more_non_members_are_accused_than_allowed(
    seed: int, alpha: float, distinct: int
) -> None:
    rng = np.random.default_rng(seed)
    sites = [
        (np.floor(s * distinct), m) for s, m in (leaky_scores(rng, 0.2, 90, n) for n in (150, 233))
    ]
    found = stats.tpr_at_fpr([placed(site) for site in sites[:1]], alpha, rng, 20)
    assert found.fpr * found.n_nonmembers <= alpha * found.n_nonmembers + 1e-6
    assert 0 <= found.tpr.low <= found.tpr.value <= found.tpr.high <= 1
    assert found.tpr.high > found.tpr.low
    backwards = [
        stats.tpr_at_fpr([placed(site) for site in order], alpha, rng, 20)
        for order in (sites, sites[::-1])
    ]
    assert backwards[0].tpr.value == backwards[1].tpr.value
    assert backwards[0].fpr == backwards[1].fpr


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.1, 0.07, 0.29]), st.sampled_from([1, 30, 1000]))
def test_the_accused_are_those_who_are_counted(seed: int, alpha: float, distinct: int) -> None:
    rng = np.random.default_rng(seed)
    sites = [
        placed((np.floor(s * distinct), m))
        for s, m in (leaky_scores(rng, 0.2, 90, n) for n in (233, 3, 150))
    ]
    found, who = stats.tpr_at_fpr(sites, alpha, rng, 20), stats.accused(sites, alpha)
    assert who[1] is None
    sides = [side for side in who if side is not None]
    assert np.concatenate([side.members for side in sides]).mean() == pytest.approx(found.tpr.value)
    assert np.mean([side.nonmembers.mean() for side in sides]) == pytest.approx(found.fpr)
    for site, side in zip(sites, who, strict=True):
        if side is not None:  # a replicate in which everybody is drawn once is as what was found
            once = side.again(site, np.ones((1, len(site[1])), np.uint8))
            assert (once[0][0] == side.members).all()
            assert (once[1][0] == side.nonmembers).all()


def test_a_member_is_accused_who_reaches_the_last_non_member_that_may_be() -> None:
    nonmembers = np.arange(200.0)
    members = np.array([190.0, 190.5, 179.5, 180.0, 199.5])  # 20 of 200 may be accused
    scores, member = np.r_[members, nonmembers], np.arange(205) < 5
    found = stats.tpr_at_fpr([placed((scores, member))], 0.1, np.random.default_rng(0))
    assert found.fpr == 0.1
    assert found.tpr.value == pytest.approx(4 / 5)  # 180 is as suspicious as the last of the 20


@pytest.mark.parametrize("sizes", [[(1000, 1000)], [(100, 100)] * 10, [(100, 150)] * 10])
def test_without_a_leak_tpr_equals_fpr_at_every_site_size(sizes: list[tuple[int, int]]) -> None:
    rng = np.random.default_rng(9)
    found = [
        stats.tpr_at_fpr([placed(normal_scores(rng, 0, *n)) for n in sizes], 0.01, rng, 2)
        for _ in range(200)
    ]
    gap = [each.tpr.value - each.fpr for each in found]
    assert abs(np.mean(gap)) < 4 * np.std(gap) / math.sqrt(200) + 2e-4


def test_a_copy_is_found_whole_and_its_interval_has_a_width() -> None:
    scores, member = np.r_[np.ones(300), np.zeros(1000)], np.arange(1300) < 300
    found = stats.tpr_at_fpr([placed((scores, member))], 0.01, np.random.default_rng(0))
    assert (found.tpr.value, found.fpr, found.leak.value) == (1, 0, 1)
    assert found.tpr.low == pytest.approx(stats.clopper_pearson(300, 300).low)
    nothing = stats.tpr_at_fpr([placed((-scores, member))], 0.01, np.random.default_rng(0))
    assert nothing.tpr.value == 0
    assert nothing.tpr.high == pytest.approx(stats.clopper_pearson(0, 300).high)


@pytest.mark.parametrize(
    ("d", "alpha", "sizes"),
    [
        (1, 0.1, [(1000, 2000)]),
        (1, 0.01, [(1000, 2000)]),
        (0, 0.01, [(1000, 1000)]),
        (3, 0.01, [(300, 1000)]),
    ],
)
def test_the_bootstrap_covers_the_tpr(d: float, alpha: float, sizes: list[tuple[int, int]]) -> None:
    rng = np.random.default_rng(40)
    truth = scipy_stats.norm.sf(scipy_stats.norm.isf(alpha) - d)
    found = [
        stats.tpr_at_fpr([placed(normal_scores(rng, d, *n)) for n in sizes], alpha, rng, 200).tpr
        for _ in range(400)
    ]
    assert 0.925 <= coverage(truth, found) <= 0.985


def test_a_narrow_attack_on_one_of_three_sites_is_covered() -> None:
    rng = np.random.default_rng(41)
    truth = (scipy_stats.norm.sf(scipy_stats.norm.isf(0.01) - 2.5) + 0.02) / 3
    found = [
        stats.tpr_at_fpr(
            [placed(normal_scores(rng, d, 500, 500)) for d in (2.5, 0, 0)], 0.01, rng, 200
        )
        for _ in range(400)
    ]
    assert coverage(truth, [each.tpr for each in found]) >= 0.93


@pytest.mark.parametrize(
    ("alpha", "sizes"), [(0.1, [(1000, 2000)]), (0.01, [(500, 2000)]), (0.01, [(100, 150)] * 8)]
)
def test_the_leak_share_covers_the_planted_leak(alpha: float, sizes: list[tuple[int, int]]) -> None:
    rng = np.random.default_rng(42)
    found = [
        stats.tpr_at_fpr([placed(leaky_scores(rng, 0.1, *n)) for n in sizes], alpha, rng, 200).leak
        for _ in range(400)
    ]
    assert coverage(0.1, found) >= 0.925


def test_the_p_value_of_a_leak_is_that_of_members_dealt_among_others() -> None:
    sizes = [(50, 30), (50, 300), (5, 10)]  # 3, 30 and 1 false positives
    sites = [placed(leaky_scores(np.random.default_rng(3), 0.1, *n)) for n in sizes]
    found = stats.tpr_at_fpr(sites, 0.1, np.random.default_rng(0), 2)
    chances = np.ones(1)
    for (n1, n0), k in zip(sizes, (3, 30, 1), strict=True):
        early = scipy_stats.nhypergeom(n1 + n0, n1, k).pmf(np.arange(n1 + 1))
        chances = np.convolve(chances, early)
    hits = round(found.tpr.value * 105)
    assert hits > 15
    assert found.p_value == pytest.approx(chances[hits:].sum(), rel=1e-6)


def test_without_a_leak_p_values_are_small_as_seldom_as_they_say() -> None:
    rng = np.random.default_rng(43)
    p = np.array([
        stats.tpr_at_fpr(
            [placed(normal_scores(rng, 0, *n)) for n in [(60, 40), (60, 300)]], 0.1, rng, 2
        ).p_value
        for _ in range(2000)
    ])  # fmt: skip
    for level in (0.05, 0.01):
        assert np.mean(p <= level) <= level + 2 * math.sqrt(level / len(p))
    assert np.mean(p <= 0.05) > 0.02


@pytest.mark.parametrize("n", [2, 3])
def test_few_records_show_no_more_than_one_arrangement_can(n: int) -> None:
    perfect = np.arange(2.0 * n), np.arange(2 * n) >= n
    assert stats.auc_p_value([perfect]) == pytest.approx(1 / math.comb(2 * n, n))
    assert stats.auc_p_value([perfect] * 9) < 1e-3


def test_too_few_non_members_are_refused_and_not_interpolated() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(
        stats.TooFew, match=r"^TPR at 0.1 % FPR needs 10,000 non-members; 1,930 are there.$"
    ):
        stats.tpr_at_fpr([placed(normal_scores(rng, 0, 50, 1930))], 0.001, rng)
    with pytest.raises(stats.TooFew, match=r"sites with members and at least 100 of them; 0 are"):
        stats.tpr_at_fpr([placed(normal_scores(rng, 0, 9, 90)) for _ in range(20)], 0.01, rng)
    lopsided = [placed(normal_scores(rng, 0, *n)) for n in [(500, 120), (100, 1500)]]
    with pytest.raises(stats.TooFew, match=r"1,620 are there, but worth 172 spread"):
        stats.tpr_at_fpr(lopsided, 0.01, rng)
    with pytest.raises(stats.TooFew, match="0 are there"):
        stats.tpr_at_fpr([], 0.1, rng)
    with pytest.raises(ValueError, match="non-members of the same site"):
        stats.placements([1.0], [True])


def test_holm_by_hand() -> None:
    adjusted = stats.holm([0.01, np.nan, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(adjusted, [0.03, np.nan, 0.06, 0.06, 0.02])
    assert stats.holm([0.9, 0.8]).tolist() == [1, 1]
    assert stats.holm([]).size == 0


def test_the_p_value_over_strata_is_that_of_fisher_and_of_all_ways_to_deal() -> None:
    table = np.array([[7, 3], [4, 16]])  # hit or not, members and others
    fisher = scipy_stats.fisher_exact(table, "greater").pvalue
    assert stats.stratified_p([7], [11], [10], [30]) == pytest.approx(fisher)
    many = stats.stratified_p([2, 1, 0], [3, 1, 0], [3, 2, 4], [6, 5, 9])
    first, second = [scipy_stats.hypergeom(n, h, m) for n, h, m in ((6, 3, 3), (5, 1, 2))]
    assert many == pytest.approx(first.pmf(3) + first.pmf(2) * second.pmf(1))


def test_a_permutation_p_value_is_never_zero() -> None:
    assert stats.permutation_p(5.0, np.arange(5)) == pytest.approx(1 / 6)
    assert stats.permutation_p(4.0, np.arange(5)) == pytest.approx(2 / 6)


@pytest.mark.parametrize("truth", [np.zeros(5), np.array([0, 5, 5, 5, 5]), np.arange(5) / 2])
def test_the_worst_site_is_covered_also_where_sites_are_alike(truth: stats.Floats) -> None:
    rng = np.random.default_rng(12)
    found = []
    for _ in range(500):
        values = truth + rng.normal(size=5)
        found.append(stats.worst(values[:, None] + rng.normal(size=(5, 400)), values, "higher"))
    assert coverage(0, found) >= 0.93


def test_the_worst_site_where_lower_is_better_is_the_mirror_image() -> None:
    rng = np.random.default_rng(13)
    draws, values = rng.normal(size=(4, 300)), np.array([0.1, 0.3, np.nan, -0.2])
    least, most = stats.worst(draws, values, "higher"), stats.worst(-draws, -values, "lower")
    assert least.value == -0.2
    assert (most.value, most.low, most.high) == pytest.approx((0.2, -least.high, -least.low))
    assert math.isnan(stats.worst(draws, np.full(4, np.nan), "higher").value)
    assert math.isnan(stats.worst(np.full((4, 9), np.nan), values, "higher").low)


def test_inverse_variance_by_hand() -> None:
    found = stats.inverse_variance([1.0, 4.0], [1.0, 2.0])
    assert (found.value, found.variance) == pytest.approx((2.0, 2 / 3))
    with pytest.raises(ValueError, match="positive"):
        stats.inverse_variance([1.0], [0.0])


@FEW
@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_equals_scipy(counts: tuple[int, int]) -> None:
    found, expected = stats.clopper_pearson(*counts), scipy_stats.binomtest(*counts).proportion_ci()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_newcombe_gives_the_published_example() -> None:
    # Newcombe 1998, table II, method 10: 56/70 - 48/80 and 9/10 - 3/10.
    found = stats.newcombe(56, 70, 48, 80)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
    found = stats.newcombe(9, 10, 3, 10)
    assert (found.low, found.high) == pytest.approx((0.1705, 0.8090), abs=1e-4)
    assert math.isnan(stats.newcombe(0, 0, 1, 2).value)
    assert math.isnan(stats.clopper_pearson(0, 0).value)


def test_paired_differences_hold_what_they_are_about() -> None:
    found: list[stats.Paired] = []
    rng = np.random.default_rng(0)
    for _ in range(1_000):
        hard = rng.random(200)  # what is hard for one method is hard for the other
        first, second = (hard + rng.normal(0, 0.2, 200) < limit for limit in (0.8, 0.7))
        found.append(stats.paired(first, second))
    rng = np.random.default_rng(1)
    hard = rng.random(1_000_000)
    first, second = (hard + rng.normal(0, 0.2, hard.size) < limit for limit in (0.8, 0.7))
    truth = float(first.mean() - second.mean())
    assert 0.93 <= coverage(truth, [each.interval for each in found]) <= 0.98


def test_a_paired_difference_by_hand() -> None:
    # Newcombe 1998, table II: 36 both, 12 the first alone, 2 the second alone, none of 0.
    first = np.repeat([True, True, False, False], [36, 12, 2, 0])
    second = np.repeat([True, False, True, False], [36, 12, 2, 0])
    found = stats.paired(first, second)
    assert found.interval.value == pytest.approx(0.2)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.0569, 0.3404), abs=1e-3)
    assert found.p_value == pytest.approx(
        scipy_stats.binomtest(12, 14, alternative="greater").pvalue
    )
    assert stats.paired(second, second).p_value == 1
