"""Intervals, tests and detectable effects for scores of members, patients and sites.

Everything is a pure function of arrays; replicates run along the first axis of `weights`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Counts: TypeAlias = npt.NDArray[np.uint8]
Weights: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.int64] | npt.NDArray[np.float64]
Labelled: TypeAlias = tuple[Floats, Bools]  # scores (n,), is a member (n,)
Placed: TypeAlias = tuple[Floats, Floats]  # placements of members, of non-members

_CELLS = 1 << 21  # numbers a block may hold
_FEW = 50  # below this many in a class, DeLong is not trusted,
_CLOSE = 1  # nor with fewer wrong (or right) pairs than this among the disjoint ones
_SLACK = 1e-9  # .29 * 100 is 28.999999999999996


class TooFew(ValueError):
    """There are too few records for the number asked for, so it is refused."""


@dataclass(frozen=True)
class Interval:
    """A number with the limits of its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A number with its sampling variance."""

    value: float
    variance: float


@dataclass(frozen=True)
class LowFpr:
    """What an attack finds while it accuses few non-members, and how likely by chance.

    ``worth`` is how many non-members would do as well if they were spread like the members.
    ``steady`` is the ``fpr`` without non-members who are tied at the threshold, where it is luck
    that they may all be accused; limits know that.
    """

    tpr: Interval
    fpr: float
    leak: Interval
    p_value: float
    n_members: int
    n_nonmembers: int
    worth: int
    steady: float


def poisson_weights(rng: np.random.Generator, n: int, b: int = 400) -> Counts:
    """Draw Poisson(1) bootstrap weights of shape (b, n).

    Patients are drawn independently, so sites and blocks need not know of each other
    (Hanley and MacGibbon 2006, https://doi.org/10.1016/j.cmpb.2006.04.006).
    """
    weights = np.zeros((b, n), np.uint8)
    # By inversion, five times as fast as rng.poisson; the twelve steps exhaust 24-bit uniforms.
    steps = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(12)]).astype(np.float32)
    for rows in _blocks(b, n):
        uniform = rng.random(weights[rows].shape, np.float32)
        for step in steps:
            weights[rows] += uniform >= step
    return weights


def recentre(value: float, replicates: npt.ArrayLike) -> Floats:
    """Shift replicates so that the mean of the finite ones is `value`."""
    found = np.asarray(replicates, float)
    finite = found[np.isfinite(found)]
    return found if finite.size == 0 else found - finite.mean() + value


def percentile(value: float, replicates: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Percentile interval of replicates that were shifted to have mean `value`, which it holds.

    A replicate repeats the bias of the estimate once more; the shift takes that out
    (Efron 1987, https://doi.org/10.1080/01621459.1987.10478410, corrects the same by rank).
    Where fewer than half of the replicates are finite the limits are NaN.
    """
    shifted = recentre(value, replicates)
    finite = shifted[np.isfinite(shifted)]
    if not np.isfinite(value) or finite.size == 0 or 2 * finite.size < shifted.size:
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, min(float(low), value), max(float(high), value))


def worst(
    replicates: Floats,
    values: npt.ArrayLike,
    better: Literal["higher", "lower"],
    level: float = 0.95,
) -> Interval:
    """Interval of the worst site: the minimum over sites where higher is better.

    Args:
        replicates: (S, B), column b the same draw at all sites.
        values: (S,); a site whose value is NaN is left out.
        better: which direction is better.
        level: coverage.

    The smallest of several noisy numbers lies below the smallest true one, most where sites
    are alike, and `value` keeps that bias (compare it with the worst site of real-vs-real).
    The limit on the far side comes from the replicates of the minimum, shifted to mean
    `value`. The limit towards the other sites must undo the bias: it is the smallest of
    simultaneous upper limits (the bootstrap of the largest deviation, Romano and Wolf 2005,
    https://doi.org/10.1111/j.1468-0262.2005.00615.x), if that lies further out. Without it the
    smallest true value of five equal sites is covered 65 % of the time, of twenty 3 %.
    """
    sign = 1.0 if better == "higher" else -1.0
    found = sign * np.asarray(values, float)
    kept = np.isfinite(found)
    if not kept.any():
        return Interval(math.nan, math.nan, math.nan)
    found, draws = found[kept], sign * np.asarray(replicates, float)[kept]
    draws = draws[:, np.isfinite(draws).all(axis=0)]
    if 2 * draws.shape[1] < np.shape(replicates)[1]:
        return Interval(sign * float(found.min()), math.nan, math.nan)
    lowest = percentile(float(found.min()), draws.min(axis=0), level)
    high = max(lowest.high, _simultaneous_upper(found, draws, (1 + level) / 2))
    ends = sorted([sign * lowest.low, sign * high])
    return Interval(sign * lowest.value, ends[0], ends[1])


def _simultaneous_upper(values: Floats, draws: Floats, level: float) -> float:
    """Smallest of upper limits that hold for all sites at once with probability `level`."""
    centred = draws - draws.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1)
    scaled = -centred / np.where(spread > 0, spread, 1.0)[:, None]
    return float((values + np.quantile(scaled.max(axis=0), level) * spread).min())


def clopper_pearson(k: float, n: float, level: float = 0.95) -> Interval:
    """Exact interval of a proportion (https://doi.org/10.1093/biomet/26.4.404)."""
    if n == 0:
        return Interval(math.nan, 0.0, 1.0)
    tail = (1 - level) / 2
    low = float(special.betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(special.betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Interval(k / n, low, high)


def newcombe(k1: float, n1: float, k2: float, n2: float, level: float = 0.95) -> Interval:
    """Interval of k1/n1 - k2/n2 from two Wilson scores (Newcombe 1998, method 10).

    https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8%3C873::AID-SIM779%3E3.0.CO;2-I
    """
    if n1 == 0 or n2 == 0:
        return Interval(math.nan, -1.0, 1.0)
    first, second = _wilson(k1, n1, level), _wilson(k2, n2, level)
    gap = first.value - second.value
    down = math.hypot(first.value - first.low, second.high - second.value)
    up = math.hypot(first.high - first.value, second.value - second.low)
    return Interval(gap, max(-1.0, gap - down), min(1.0, gap + up))


def newcombe_down(
    k1: npt.ArrayLike, n1: npt.ArrayLike, k2: npt.ArrayLike, n2: npt.ArrayLike, level: float = 0.95
) -> Floats:
    """Return how far down from k1/n1 - k2/n2 the interval of `newcombe` reaches, of arrays."""
    z = _normal_quantile((1 + level) / 2)

    def reach(k: npt.ArrayLike, size: npt.ArrayLike, sign: int) -> Floats:
        n = np.asarray(size, float)
        p = np.asarray(k, float) / n
        half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        limit = (p + z * z / (2 * n) + sign * half) / (1 + z * z / n)
        return np.asarray(np.maximum(sign * (limit - p), 0))

    return np.asarray(np.hypot(reach(k1, n1, -1), reach(k2, n2, 1)))


@dataclass(frozen=True)
class Paired:
    """A difference of two proportions of the same patients, and how likely it is by chance."""

    interval: Interval
    p_value: float


def paired(first: npt.ArrayLike, second: npt.ArrayLike, level: float = 0.95) -> Paired:
    """Return by how much one method is right more often than another on the same patients.

    Limits are Newcombe's for pairs (1998, method 10,
    https://doi.org/10.1002/(SICI)1097-0258(19981130)17:22%3C2635::AID-SIM954%3E3.0.CO;2-C); the
    p-value is McNemar's exact one, that the first is not better.

    Args:
        first: whether the first is right, one entry per patient.
        second: the same of the second.
        level: of the interval.
    """
    one, other = (np.asarray(each, dtype=bool) for each in (first, second))
    n, wins, losses = one.size, int((one & ~other).sum()), int((other & ~one).sum())
    both, neither = int((one & other).sum()), int((~one & ~other).sum())
    if n == 0:
        return Paired(Interval(math.nan, -1.0, 1.0), math.nan)
    a, b = _wilson(both + wins, n, level), _wilson(both + losses, n, level)
    margin = math.sqrt(float(both + wins) * (losses + neither) * (both + losses) * (wins + neither))
    along = both * neither - wins * losses
    phi = (max(along - n / 2, 0.0) if along > 0 else along) / margin if margin else 0.0
    down, up = (
        math.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))
        for x, y in ((a.value - a.low, b.high - b.value), (a.high - a.value, b.value - b.low))
    )
    gap, turned = (wins - losses) / n, wins + losses
    chance = float(special.bdtrc(wins - 1, turned, 0.5)) if wins else 1.0
    return Paired(Interval(gap, max(-1.0, gap - down), min(1.0, gap + up)), chance)


def _wilson(k: float, n: float, level: float) -> Interval:
    z, p = _normal_quantile((1 + level) / 2), k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(p, min(p, centre - half), max(p, centre + half))


def inverse_variance(values: npt.ArrayLike, variances: npt.ArrayLike) -> Estimate:
    """Combine independent estimates of one number, each weighted by 1/variance.

    Raises:
        ValueError: no estimate, or a variance that is not positive.
    """
    found, spread = np.asarray(values, float), np.asarray(variances, float)
    if found.size == 0 or not (spread > 0).all():
        message = f"Inverse variance needs positive variances; found {spread.tolist()}."
        raise ValueError(message)
    total = float((1 / spread).sum())
    return Estimate(float((found / spread).sum()) / total, 1 / total)


def auc(scores: npt.ArrayLike, positive: npt.ArrayLike) -> float:
    """Probability that a member scores above a non-member, ties counted half; NaN for one class."""
    return float(weighted_auc(scores, positive, np.ones((1, np.size(scores)), np.uint8))[0])


def weighted_auc(scores: npt.ArrayLike, positive: npt.ArrayLike, weights: Weights) -> Floats:
    """AUC on mid-ranks under each row of weights.

    Args:
        scores: (n,); higher speaks for the positive class.
        positive: (n,) of bool.
        weights: (B, n), for example `poisson_weights`.

    Returns:
        (B,), NaN where a class has no weight.
    """
    found, member = _labelled(scores, positive)
    order = np.argsort(found, kind="stable")
    ones, zeros = order[member[order]], order[~member[order]]
    below, upto = (np.searchsorted(found[zeros], found[ones], side) for side in ("left", "right"))
    areas = np.full(len(weights), math.nan)
    for rows in _blocks(len(weights), found.size) if found.size else ():
        mine = weights[rows][:, ones].astype(float)
        passed = np.zeros((len(mine), zeros.size + 1))
        np.cumsum(weights[rows][:, zeros], axis=1, dtype=float, out=passed[:, 1:])
        wins = (passed[:, below] + passed[:, upto]) / 2
        areas[rows] = _ratio((mine * wins).sum(axis=1), mine.sum(axis=1) * passed[:, -1])
    return areas


def delong(scores: npt.ArrayLike, positive: npt.ArrayLike) -> Estimate:
    """AUC with DeLong's variance, in O(n log n) by mid-ranks.

    Sun and Xu 2014, https://doi.org/10.1109/LSP.2014.2337313. NaN variance below 2 in a class.
    """
    found, member = _labelled(scores, positive)
    ones, zeros = np.sort(found[member]), np.sort(found[~member])
    above, below = _share_below(zeros, ones), _share_below(ones, zeros)
    if min(ones.size, zeros.size) <= 1:
        return Estimate(auc(found, member), math.nan)
    variance = above.var(ddof=1) / ones.size + below.var(ddof=1) / zeros.size
    return Estimate(float(above.mean()), float(variance))


def auc_interval(scores: npt.ArrayLike, positive: npt.ArrayLike, level: float = 0.95) -> Interval:
    """AUC with DeLong's interval on the logit scale, or a guaranteed one (see `combine_auc`).

    Raises:
        ValueError: a class is empty.
    """
    return combine_auc([_labelled(scores, positive)], level)


def combine_auc(per_site: Sequence[Labelled], level: float = 0.95) -> Interval:
    """AUC within each site, combined over the sites that have both classes.

    A site with n1 members and n0 non-members has m = min(n0, n1) disjoint pairs. Where m is at
    least 50 and m (1 - AUC) and m AUC at least 1, sites are combined by inverse DeLong variance
    on the logit scale (closer to 0 and 1 it covers 86 to 93 %).

    The others, AUC 0 and 1 among them, get limits that hold for any distribution. Hoeffding
    (1963, section 5, https://doi.org/10.1080/01621459.1963.10500830): their AUC is an average
    of means over m independent pairs, so exp(-m KL(AUC || truth)) bounds both tails whatever
    the distribution, ties included. Weighted by m the bound holds for several sites with m
    summed, and the truth is the mean AUC so weighted. At AUC 1 it is Clopper-Pearson's for m
    of m; in the worst case the variance truth (1 - truth) / m is reached (van Dantzig 1951).

    Both kinds present: their values weighted by the summed m, their half-widths added in
    squares (MOVER, Zou and Donner 2008, https://doi.org/10.1002/sim.3095).

    Raises:
        ValueError: no site has both classes.
    """
    pieces = [_labelled(*site) for site in per_site]
    pieces = [(found, member) for found, member in pieces if 0 < member.sum() < member.size]
    if not pieces:
        message = "AUC needs a site with both members and non-members; there is none."
        raise ValueError(message)
    found = [delong(*piece) for piece in pieces]
    value = np.array([each.value for each in found])
    variance = np.array([each.variance for each in found])
    pairs = np.array([min(member.sum(), (~member).sum()) for _, member in pieces])
    fine = (pairs >= _FEW) & (pairs * np.minimum(value, 1 - value) >= _CLOSE) & (variance > 0)
    parts = [
        (_logit_interval(value[fine], variance[fine], level), int(pairs[fine].sum())),
        (_bounded_interval(value[~fine], pairs[~fine], level), int(pairs[~fine].sum())),
    ]
    return _mover([part for part in parts if part[1]])


def auc_limits(value: float, n1: int, n0: int, level: float = 0.95) -> Interval:
    """Limits of an AUC between n1 and n0 records that hold for few, and never have width zero.

    Those truths whose own variance reaches the AUC that was found, as Wilson's for a proportion;
    the variance is that of exponential scores (Hanley and McNeil 1982), for (n1 + n0) / 2 of
    either class in its terms: Newcombe 2006, method 5, https://doi.org/10.1002/sim.2324. Of
    scores with very unequal spreads a bootstrap knows better, where there are enough of them.
    """
    each, z = (n1 + n0) / 2 - 1, _normal_quantile(0.5 + level / 2)

    def reached(truth: float) -> bool:
        terms = 1 + each * ((1 - truth) / (2 - truth) + truth / (1 + truth))
        return (truth - value) ** 2 <= z**2 * truth * (1 - truth) * terms / (n1 * n0)

    return Interval(value, _last(reached, value, 0.0), _last(reached, value, 1.0))


def _last(reached: Callable[[float], bool], near: float, far: float) -> float:
    """Return the last number from ``near`` towards ``far`` that is reached, by bisection."""
    if reached(far):
        return far
    for _ in range(60):
        middle = (near + far) / 2
        near, far = (middle, far) if reached(middle) else (near, middle)
    return near


def auc_p_value(per_site: Sequence[Labelled]) -> float:
    """One-sided p-value for "members score higher", from ranks within sites.

    Van Elteren's weights 1/(n + 1), the null variance with ties, the normal approximation
    (Lehmann 1975, Nonparametrics, 3.3). All scores tied gives 1. It is never below the chance of
    one arrangement of members and others, which few records cannot fall short of.

    Raises:
        ValueError: no site has both classes.
    """
    pieces = [_labelled(*site) for site in per_site]
    pieces = [(found, member) for found, member in pieces if 0 < member.sum() < member.size]
    if not pieces:
        message = "A p-value needs a site with both members and non-members; there is none."
        raise ValueError(message)
    terms = np.array([_rank_sum(*piece) for piece in pieces])
    excess, variance = terms.sum(axis=0)
    if variance <= 0:
        return 1.0
    sizes = np.array([(member.sum(), (~member).sum()) for _, member in pieces])
    ways = special.gammaln(sizes.sum(axis=1) + 1) - special.gammaln(sizes + 1).sum(axis=1)
    return max(0.5 * math.erfc(excess / math.sqrt(2 * variance)), math.exp(-ways.sum()))


def _rank_sum(scores: Floats, member: Bools) -> tuple[float, float]:
    """Excess of the members' rank sum over its null mean, and its null variance, weighted."""
    n, n1 = member.size, int(member.sum())
    n0 = n - n1
    _, times = np.unique(scores, return_counts=True)
    ties = float((times.astype(float) ** 3 - times).sum()) / (n * (n - 1))
    excess = n1 * n0 * (auc(scores, member) - 0.5)
    return excess / (n + 1), n1 * n0 / 12 * (n + 1 - ties) / (n + 1) ** 2


def _share_below(ranked: Floats, scores: Floats) -> Floats:
    """Share of `ranked` (sorted) below each score, ties counted half."""
    low, high = np.searchsorted(ranked, scores), np.searchsorted(ranked, scores, "right")
    return np.asarray((low + high) / (2 * max(ranked.size, 1)))


def _logit_interval(value: Floats, variance: Floats, level: float) -> Interval:
    if value.size == 0:
        return Interval(math.nan, math.nan, math.nan)
    logit = inverse_variance(special.logit(value), variance / (value * (1 - value)) ** 2)
    half = _normal_quantile((1 + level) / 2) * math.sqrt(logit.variance)
    ends = special.expit([logit.value, logit.value - half, logit.value + half])
    return Interval(*(float(end) for end in ends))


def _bounded_interval(value: Floats, pairs: Ints, level: float) -> Interval:
    """Chernoff-Hoeffding limits of a mean over sum(pairs) bounded terms."""
    if value.size == 0:
        return Interval(math.nan, math.nan, math.nan)
    mean = float((value * pairs).sum() / pairs.sum())
    reach = math.log(2 / (1 - level)) / float(pairs.sum())
    low = 1 - _upper_limit(1 - mean, reach)
    return Interval(mean, low, _upper_limit(mean, reach))


def _upper_limit(mean: float, reach: float) -> float:
    """Largest truth with KL(mean || truth) at most `reach`, by bisection (rounded outwards)."""
    low, high = mean, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        gap = special.rel_entr(mean, middle) + special.rel_entr(1 - mean, 1 - middle)
        low, high = (middle, high) if gap <= reach else (low, middle)
    return high


def _mover(parts: Sequence[tuple[Interval, int]]) -> Interval:
    """Mean of independent intervals, weighted."""
    if len(parts) == 1:
        return parts[0][0]
    total = sum(weight for _, weight in parts)
    value = sum(part.value * weight for part, weight in parts) / total
    down = math.hypot(*((part.value - part.low) * weight / total for part, weight in parts))
    up = math.hypot(*((part.high - part.value) * weight / total for part, weight in parts))
    return Interval(value, max(0.0, value - down), min(1.0, value + up))


def placements(scores: npt.ArrayLike, positive: npt.ArrayLike) -> Floats:
    """Share of the site's non-members that score higher than each record; small is suspicious.

    Ties count half, and a non-member is compared with all non-members, itself included, so
    that a threshold on placements has the false positives it has on scores.

    Raises:
        ValueError: there is no non-member to compare with.
    """
    found, member = _labelled(scores, positive)
    if member.all():
        message = "Placements need non-members of the same site; there is none."
        raise ValueError(message)
    return _share_below(np.sort(-found[~member]), -found)


def tpr_at_fpr(
    per_site: Sequence[Placed], alpha: float, rng: np.random.Generator, b: int = 400
) -> LowFpr:
    """Share of members found where at most `alpha` of the non-members are accused.

    The sites share floor(alpha * n0) false positives, n0 over all sites, in proportion to their
    non-members. Each accuses who is placed no further than its last non-member that may be
    accused, and all who are tied with that one or none of them, as these non-members are too many
    or not. So a member needs to reach the last non-member that may be accused, and without a leak
    TPR and FPR agree at every site size. (The usual "strictly beyond the first that may not" finds
    (k + 1) / (n0 + 1) of harmless members: 2 % instead of 1 % in sites of 100.) Nothing is
    interpolated: `fpr` is the realized one, at the members' mix of sites. The leak share
    (TPR - FPR) / (1 - FPR) is the share of members given away if the others look like non-members.

    The bootstrap draws members and non-members within sites and finds the thresholds anew.
    No interval is narrower than Clopper-Pearson's for the members at the thresholds found: at
    TPR 0 or 1, and with few found, replicates hardly move. That of the leak is not narrower than at
    fixed thresholds either, where FPR is as unsure as few non-members make it: tied scores leave
    replicates no threshold to move to. The p-value is exact: how likely so
    many members are found if they are like the others, whatever the sizes of the sites (too
    large where scores are tied).

    Args:
        per_site: placements of members and of non-members (`placements`) for each site. Sites
            without members, or with fewer than 1/alpha non-members, can accuse nobody at this
            rate and are left out of everything.
        alpha: the false positive rate.
        rng: draws the bootstrap.
        b: bootstrap replicates.

    Raises:
        TooFew: fewer than 10/alpha non-members over the sites left, or so few of them where the
            members are that they are worth fewer than 5/alpha: 1 / sum(share of members squared
            / n0), which is n0 where both are spread alike. (Below, a lower limit is wrong in 6 %
            of harmless audits and not in 2.5 %.) And where more non-members than may be accused
            tie with a site's most suspicious members: nobody can be accused, and that nobody is
            found says nothing.
    """
    order, worth = _kept(per_site, alpha)
    kept = [per_site[at] for at in order]
    n1, n0 = sum(np.size(ones) for ones, _ in kept), sum(np.size(zeros) for _, zeros in kept)
    sites = _thresholds(kept, alpha)
    hits = sum(site.hits for site in sites)
    fpr, steady = (
        sum(getattr(site, rate) * site.beyond.size for site in sites) / n1
        for rate in ("fpr", "steady")
    )
    found, drawn = np.sum([site.replicates(rng, b) for site in sites], axis=0)
    tpr = _hull(percentile(hits / n1, _ratio(found, drawn)), clopper_pearson(hits, n1))
    ends = ((rate - fpr) / (1 - fpr) for rate in (tpr.value, tpr.low, tpr.high))
    leak = _no_closer(Interval(*ends), _fixed(sites, hits))
    return LowFpr(
        tpr=tpr,
        fpr=fpr,
        leak=leak,
        p_value=_by_chance(sites, hits),
        n_members=n1,
        n_nonmembers=n0,
        worth=worth,
        steady=steady,
    )


@dataclass(frozen=True)
class Accused:
    """Which members and which non-members of a site `tpr_at_fpr` accuses.

    Attributes:
        members: whether each of them is.
        nonmembers: likewise.
        allowed: how many non-members might have been; None where no threshold was sought.
    """

    members: Bools
    nonmembers: Bools
    allowed: int | None

    def again(self, placed: Placed, weights: Counts) -> tuple[Bools, Bools]:
        """Return whom it accuses in replicates that find the threshold anew, (B, n) of each.

        Args:
            placed: of the same site.
            weights: of its non-members, (B, n).
        """
        if self.allowed is None:
            b = len(weights)
            fixed = (np.broadcast_to(s, (b, s.size)) for s in (self.members, self.nonmembers))
            return next(fixed), next(fixed)
        order = np.argsort(placed[1], kind="stable")
        ranked = placed[1][order]
        passed = np.zeros((len(weights), len(order) + 1), np.int32)
        np.cumsum(weights[:, order], axis=1, out=passed[:, 1:])
        allowed = np.rint(self.allowed / len(order) * passed[:, -1:])
        before, upto = (np.searchsorted(ranked, placed[0], side) for side in ("left", "right"))
        zeros = np.searchsorted(ranked, placed[1], "right")
        return (
            (passed[:, before] < allowed) & (passed[:, upto] <= allowed),
            passed[:, zeros] <= allowed,
        )


def accused(per_site: Sequence[Placed], alpha: float) -> list[Accused | None]:
    """Return whom `tpr_at_fpr` accuses, site by site; None stands for one that it leaves out.

    Raises:
        TooFew: as `tpr_at_fpr`.
    """
    order, _ = _kept(per_site, alpha)
    found: list[Accused | None] = [None] * len(per_site)
    for at, site in zip(order, _thresholds([per_site[i] for i in order], alpha), strict=True):
        (ones, zeros), k = per_site[at], site.allowed
        ranked = np.sort(zeros)
        before, upto = (np.searchsorted(ranked, ones, side) for side in ("left", "right"))
        found[at] = Accused(
            (before < k) & (upto <= k), np.searchsorted(ranked, zeros, "right") <= k, k
        )
    return found


def accused_of_yes(per_site: Sequence[tuple[Bools, Bools]], alpha: float) -> list[Accused]:
    """Return whom an attack accuses that answers yes or no, where that is few enough non-members.

    There is no threshold to be sought: who gets a yes is accused. (Placements of two values would
    accuse none of the members where just as many non-members get a yes as may be accused.)

    Args:
        per_site: who of the members and of the non-members of each site gets a yes; both are there.
        alpha: which share of non-members, as if spread like the members, may get one.

    Raises:
        TooFew: as few non-members as `tpr_at_fpr` refuses, or more of them get a yes.
    """
    n0 = sum(zeros.size for _, zeros in per_site)
    _refuse(n0, alpha, n0)
    _worth(per_site, alpha)
    found = [Accused(ones, zeros, None) for ones, zeros in per_site]
    if (share := share_accused(found)) > alpha + _SLACK:
        raise TooFew(
            f"TPR at {100 * alpha:g} % FPR cannot be had: {100 * share:.3g} % of the non-members "
            "get a yes, and no threshold spares any of them."
        )
    return found


def share_accused(found: Sequence[Accused]) -> float:
    """Return which share of non-members is accused, as if they were spread like the members."""
    weights = [each.members.size for each in found]
    return float(np.average([each.nonmembers.mean() for each in found], weights=weights))


@dataclass(frozen=True)
class _Thresholds:
    """One site's placements, sorted once, so that weights alone move its threshold."""

    allowed: int  # false positives
    fpr: float
    steady: float  # without non-members tied at the threshold who may be too many
    order: Ints  # non-members by placement
    members: Ints  # members by placement
    before: Ints  # how many non-members are placed below each of these members
    beyond: Ints  # and how many at or below

    @property
    def hits(self) -> int:
        """How many members are accused: all who come before those who are not."""
        return int(((self.before < self.allowed) & (self.beyond <= self.allowed)).sum())

    @property
    def passed(self) -> int:
        """The non-member whom members may not pass: none of those accused comes at or after it.

        That is the last who may be accused, and the next where a member is tied with that one.
        """
        return self.allowed + bool(self.hits and self.beyond[self.hits - 1] == self.allowed)

    @property
    def tied(self) -> bool:
        """Whether nobody can be accused, though some score higher than others."""
        first = self.beyond[:1]
        return bool(self.fpr == 0 and first.size and self.allowed < first[0] < self.order.size)

    @classmethod
    def of(cls, members: npt.ArrayLike, nonmembers: npt.ArrayLike, allowed: int) -> _Thresholds:
        """Sort the placements of a site that may accuse so many non-members."""
        ones, zeros = np.asarray(members, float), np.asarray(nonmembers, float)
        order = np.argsort(zeros, kind="stable")
        ranked = zeros[order]
        accused = int((np.searchsorted(ranked, ranked, "right") <= allowed).sum())
        before = int(np.searchsorted(ranked, ranked[accused - 1])) if accused else 0
        stays = accused - before == 1 or accused + 2 * math.sqrt(accused) <= allowed
        steady = accused if stays else before
        by_placement = np.argsort(ones, kind="stable")
        sides = (np.searchsorted(ranked, ones[by_placement], side) for side in ("left", "right"))
        rates = accused / zeros.size, steady / zeros.size
        return cls(allowed, *rates, order, by_placement, *sides)

    def replicates(self, rng: np.random.Generator, b: int) -> Floats:
        """Weight of the members found, and of all members, shape (2, b)."""
        ones = poisson_weights(rng, self.members.size, b)
        zeros = poisson_weights(rng, self.order.size, b)
        rates = np.empty((2, b))
        for rows in _blocks(b, ones.shape[1] + zeros.shape[1]):
            passed = zeros[rows][:, self.order].cumsum(axis=1, dtype=np.int32)
            allowed = np.rint(self.allowed / self.order.size * passed[:, -1])
            below, upto = (
                (passed < allowed[:, None]).sum(axis=1),
                (passed <= allowed[:, None]).sum(axis=1),
            )
            found = np.minimum(
                np.searchsorted(self.before, np.where(allowed > 0, below, -1), "right"),
                np.searchsorted(self.beyond, upto, "right"),
            )
            mass = ones[rows][:, self.members].cumsum(axis=1, dtype=np.int32)
            hits = np.take_along_axis(mass, np.maximum(found - 1, 0)[:, None], axis=1)[:, 0]
            rates[:, rows] = np.where(found > 0, hits, 0), mass[:, -1]
        return rates


def _kept(per_site: Sequence[Placed], alpha: float) -> tuple[list[int], int]:
    """Return which sites can accuse anybody, and how many non-members they are worth.

    They are ordered by content, so that the order in which they are given is of no effect.
    """
    kept = [
        (len(zeros), len(ones), float(np.mean(ones)), at)
        for at, (ones, zeros) in enumerate(per_site)
        if np.size(ones) and alpha * np.size(zeros) > 1 - _SLACK
    ]
    _refuse(sum(each[0] for each in kept), alpha, sum(np.size(zeros) for _, zeros in per_site))
    order = [each[-1] for each in sorted(kept)]
    return order, _worth([per_site[at] for at in order], alpha)


def _thresholds(sites: Sequence[Placed], alpha: float) -> list[_Thresholds]:
    """Return each site's threshold; refused where ties leave nobody to be accused."""
    found = [
        _Thresholds.of(*site, k) for site, k in zip(sites, _allowed(sites, alpha), strict=True)
    ]
    if any(site.tied for site in found):
        message = f"TPR at {100 * alpha:g} % FPR cannot be had: "
        raise TooFew(f"{message}more non-members than that look exactly like suspicious members.")
    return found


def _allowed(sites: Sequence[Placed], alpha: float) -> list[int]:
    """Share out the false positives: each site gets alpha * n0, rounded up or down in turn."""
    passed = np.cumsum([0, *(len(nonmembers) for _, nonmembers in sites)])
    return [int(k) for k in np.diff(np.floor(alpha * passed + _SLACK))]


def _refuse(n0: int, alpha: float, everywhere: int) -> None:
    least, where, found = needed(alpha), "", everywhere
    if everywhere >= least > n0:
        where, found = f" in sites with members and at least {needed(10 * alpha):,} of them", n0
    if n0 < least:
        message = f"TPR at {100 * alpha:g} % FPR needs {least:,} non-members{where}; {found:,} "
        raise TooFew(message + ("is there." if found == 1 else "are there."))


def _worth(per_site: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]], alpha: float) -> int:
    """How many non-members spread like the members would do as well; too few are refused."""
    n1, n0 = np.array([(np.size(ones), np.size(zeros)) for ones, zeros in per_site]).T
    worth = math.floor(float(n1.sum() ** 2 / (n1**2 / n0).sum()) + _SLACK)
    if worth < needed(2 * alpha):
        raise TooFew(
            f"TPR at {100 * alpha:g} % FPR needs non-members where the members are; "
            f"{n0.sum():,} are there, but worth {worth:,} spread like the members."
        )
    return worth


def needed(alpha: float) -> int:
    """Return how many non-members a false positive rate takes."""
    return math.ceil(10 / alpha - _SLACK)


def _hull(interval: Interval, floor: Interval) -> Interval:
    """Widen an interval of a share to reach the limits of another (NaN stays NaN)."""
    low = float(np.clip(np.minimum(interval.low, floor.low), 0, 1))
    high = float(np.clip(np.maximum(interval.high, floor.high), 0, 1))
    return Interval(interval.value, low, high)


def _fixed(sites: Sequence[_Thresholds], hits: int) -> Interval:
    """Leak share of who is accused by fixed thresholds, with limits by its first derivatives.

    With p and q the rates of members and others L = (p - q) / (1 - q) moves by 1 / (1 - q) with p
    and by (1 - L) / (1 - q) with q. Arms are Wilson's, as Newcombe's of a difference; those of
    sites are put together by MOVER at the members' mix.
    """
    n1 = sum(site.members.size for site in sites)
    p = _wilson(hits, n1, 0.95)
    each = [_wilson(site.fpr * site.order.size, site.order.size, 0.95) for site in sites]
    weight = np.array([site.members.size for site in sites]) / n1
    q, down, up = (
        weight @ [one.value for one in each],
        np.linalg.norm(weight * [one.value - one.low for one in each]),
        np.linalg.norm(weight * [one.high - one.value for one in each]),
    )
    leak = (p.value - q) / (1 - q)
    low = leak - math.hypot(p.value - p.low, (1 - leak) * up) / (1 - q)
    high = leak + math.hypot(p.high - p.value, (1 - leak) * down) / (1 - q)
    return Interval(float(leak), max(-1.0, float(low)), min(1.0, float(high)))


def _no_closer(found: Interval, floor: Interval) -> Interval:
    """Widen an interval to the limits of another (NaN stays NaN)."""
    low = float(np.minimum(found.low, floor.low))
    return Interval(found.value, low, float(np.maximum(found.high, floor.high)))


def _by_chance(sites: Sequence[_Thresholds], hits: int) -> float:
    """Null probability of so many members found, or more, over independent sites."""
    chances = np.ones(1)
    for site in sites:
        if site.allowed:
            found = harmless(site.members.size, site.order.size, site.passed)
            chances = np.convolve(chances, found)
    return min(1.0, float(chances[hits:].sum()))


def harmless(n1: int, n0: int, k: int) -> Floats:
    """Chances that 0 to n1 members come before the k-th non-member if all are alike.

    Beta-binomial, from Pólya's urn (Johnson, Kemp and Kotz 2005, Univariate Discrete
    Distributions, 6.2.2).
    """
    found = np.arange(n1 + 1)
    log = _log_ways(n1, found)
    log += special.betaln(found + k, n1 - found + n0 - k + 1) - special.betaln(k, n0 - k + 1)
    return np.asarray(np.exp(log))


def stratified_p(
    ones: npt.ArrayLike, hits: npt.ArrayLike, n1: npt.ArrayLike, n: npt.ArrayLike
) -> float:
    """One-sided exact p-value for "members are hit more often", given all hits of each stratum.

    Hits of members are hypergeometric in a stratum and add up over strata; Mantel and Haenszel's
    test is its normal approximation (Agresti 1992, section 4,
    https://doi.org/10.1214/ss/1177011454).

    Args:
        ones: (S,) members hit.
        hits: (S,) all who were hit.
        n1: (S,) members.
        n: (S,) all.
    """
    chances, least = np.ones(1), 0
    for h, m, total in zip(*(np.asarray(each, int) for each in (hits, n1, n)), strict=True):
        low = max(0, h + m - total)
        found = np.arange(low, min(h, m) + 1)
        log = _log_ways(m, found) + _log_ways(total - m, h - found) - _log_ways(total, h)
        chances, least = np.convolve(chances, np.exp(log)), least + low
    return min(1.0, float(chances[int(np.sum(ones)) - least :].sum()))


def _log_ways(n: int, k: npt.ArrayLike) -> Floats:
    """Logarithm of n choose k."""
    few = np.asarray(k)
    return np.asarray(-special.betaln(few + 1, n - few + 1) - math.log(n + 1))


def permutation_p(statistic: float, null: npt.ArrayLike) -> float:
    """One-sided p-value (1 + #null >= statistic) / (1 + B), never 0.

    Phipson and Smyth 2010, https://doi.org/10.2202/1544-6115.1585.
    """
    draws = np.asarray(null, float)
    return (1 + int(np.count_nonzero(draws >= statistic))) / (1 + draws.size)


def holm(p: npt.ArrayLike) -> Floats:
    """Holm's adjusted p-values (https://www.jstor.org/stable/4615733); NaN stays NaN, uncounted."""
    found = np.asarray(p, float)
    adjusted = np.full(found.shape, math.nan)
    tested = np.flatnonzero(np.isfinite(found))
    order = tested[np.argsort(found[tested], kind="stable")]
    steps = found[order] * np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def _labelled(scores: npt.ArrayLike, positive: npt.ArrayLike) -> Labelled:
    found, member = np.asarray(scores, float), np.asarray(positive, bool)
    if found.shape != member.shape or found.ndim != 1 or np.isnan(found).any():
        message = (
            f"Scores and labels must be vectors of one length without NaN; found shapes "
            f"{found.shape} and {member.shape}, {np.isnan(found).sum()} NaN."
        )
        raise ValueError(message)
    return found, member


def _blocks(rows: int, width: int) -> Iterator[slice]:
    """Cut `rows` so that a block of this width stays small."""
    step = max(1, _CELLS // max(width, 1))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _ratio(top: Floats, bottom: npt.ArrayLike) -> Floats:
    whole = np.asarray(bottom, float)
    ratio: Floats = np.divide(top, whole, out=np.full(top.shape, math.nan), where=whole > 0)
    return ratio


def _normal_quantile(p: float) -> float:
    return NormalDist().inv_cdf(p)
