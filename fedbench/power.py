"""How large a leak must be to be noticed, before anybody looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy import special

from fedbench.seeds import Rng
from fedbench.stats import Floats, harmless, needed, newcombe_down

__all__ = ["detectable_auc", "detectable_leak", "detectable_yes", "power_of_leaks"]

LEVEL = 0.025
"""Of a one-sided test that finds what a 95 % interval tells from chance, as reports ask."""

_DRAWS = 2000
_FINE = 0.01  # of a share that is found by halving
_SLACK = 1e-9  # .29 * 100 is 28.999999999999996


def detectable_auc(
    n1: npt.ArrayLike, n0: npt.ArrayLike, power: float = 0.8, level: float = 0.05
) -> float:
    """Smallest AUC above .5 that `auc_p_value` finds with this power, the same at all sites.

    Null variance without ties; under the alternative Hanley and McNeil's
    (https://doi.org/10.1148/radiology.143.1.7063747). NaN where no AUC below 1 would be found.

    Args:
        n1: members, of one site or of each.
        n0: non-members, likewise.
        power: chance to find it.
        level: of the test.
    """
    sites = np.atleast_2d(np.transpose([n1, n0])).astype(float)
    sites = sites[sites.min(axis=1) > 0]
    weights = sites.prod(axis=1) / (sites.sum(axis=1) + 1)  # van Elteren's
    if not weights.size:
        return math.nan
    null = math.sqrt(1 / (12 * weights.sum())) * _normal_quantile(1 - level)
    area = np.linspace(0.5, 1, 1 << 16)
    first, second = area / (2 - area) - area**2, 2 * area**2 / (1 + area) - area**2
    variance = np.zeros_like(area)
    for (ones, zeros), weight in zip(sites, weights / weights.sum(), strict=True):
        own = area * (1 - area) + (ones - 1) * first + (zeros - 1) * second
        variance += weight**2 * np.maximum(own, 0) / (ones * zeros)
    deviation = np.sqrt(variance)
    found = np.flatnonzero(area[:-1] - 0.5 >= (null + _normal_quantile(power) * deviation)[:-1])
    return float(area[found[0]]) if found.size else math.nan


def detectable_leak(  # noqa: PLR0913  (two numbers of patients, and what to reach)
    n1: int,
    n0: int,
    alpha: float,
    power: float = 0.8,
    level: float = LEVEL,
    *,
    worth: int | None = None,
    fpr: float | None = None,
) -> float:
    """Smallest leak share that a one-sided test of TPR > alpha finds with this power.

    With several sites give what their non-members are ``worth`` (`LowFpr`): where they are not
    spread like the members, n0 of them would promise a power of 80 % and keep 60 to 70 %. Where
    scores are tied give the ``fpr`` that is had (`LowFpr.steady`), which is less than may be: fewer
    harmless members then help a leak past what the test asks (of 12 different scores it would
    promise 80 % and keep 53 %).

    Exact for continuous scores and one site: the true FPR of the threshold in `tpr_at_fpr` is
    Beta(k, n0 - k + 1) with k = floor(alpha * n0), and harmless members found are beta-binomial;
    with a leak f each is found with probability f + (1 - f) FPR. NaN below 10/alpha
    non-members, or where the members are too few for any leak.
    """
    if n1 < 1 or n0 < needed(alpha):
        return math.nan
    n0 = n0 if worth is None else worth
    found = _Test.of(n1, n0, alpha, level, fpr)
    if found.critical > n1:
        return math.nan
    low, high = 0.0, 1.0
    for _ in range(40):
        leak = (low + high) / 2
        low, high = (low, leak) if found.power(leak) >= power else (leak, high)
    return high


def detectable_yes(
    n1: Sequence[int], n0: Sequence[int], wrong: Sequence[int], rng: Rng, power: float = 0.8
) -> float:
    """Smallest difference of shares that an attack's yes shows with this power.

    Shown means that the interval of the difference lies above 0: Newcombe's of each site, combined
    by MOVER with the members as weights. Copies are drawn, as are those who get a yes anyhow, of
    whom the others' share is known; so sums of few are not taken for normal ones. NaN where not
    even copies of all members would be noticed.

    Args:
        n1: members of each site.
        n0: others, likewise.
        wrong: how many others get a yes.
        rng: draws patients.
        power: chance to find it.
    """
    ones, zeros = np.array(n1), np.array(n0)
    rate, weight = np.array(wrong) / zeros, ones / ones.sum()

    def kept(leak: float) -> bool:
        hits = rng.binomial(ones, rate + leak * (1 - rate), (_DRAWS, len(ones)))
        others = rng.binomial(zeros, rate, hits.shape)
        gap = (hits / ones - others / zeros) @ weight
        down = np.linalg.norm(weight * newcombe_down(hits, ones, others, zeros), axis=1)
        return float((gap > down).mean()) >= power

    low, high = 0.0, 1.0
    if not kept(high):
        return math.nan
    while high - low > _FINE * high:
        leak = (low + high) / 2
        low, high = (low, leak) if kept(leak) else (leak, high)
    return float(high * (1 - weight @ rate))


def power_of_leaks(
    n1: int, n0: int, alpha: float, leaks: npt.ArrayLike, level: float = LEVEL
) -> Floats:
    """Return how likely each leak share is noticed; see `detectable_leak`. NaN where none is."""
    shares = np.asarray(leaks, float)
    if n1 < 1 or n0 < needed(alpha):
        return np.full(shares.shape, math.nan)
    found = _Test.of(n1, n0, alpha, level)
    return np.array([found.power(float(leak)) for leak in shares])


@dataclass(frozen=True)
class _Test:
    """The one-sided test of TPR > alpha: so many members found are too many."""

    n1: int
    critical: int
    rates: Floats  # quantiles of the true FPR

    @classmethod
    def of(cls, n1: int, n0: int, alpha: float, level: float, fpr: float | None = None) -> _Test:
        k = math.floor(alpha * n0 + _SLACK)
        had = k if fpr is None else min(fpr * n0, k)
        quantiles = (np.arange(512) + 0.5) / 512
        rates = special.betaincinv(had, n0 - had + 1, quantiles) if had else np.zeros(512)
        return cls(n1, _critical_count(n1, n0, k, level), rates)

    def power(self, leak: float) -> float:
        if self.critical > self.n1:
            return 0.0
        found = leak + (1 - leak) * self.rates
        return float(special.betainc(self.critical, self.n1 - self.critical + 1, found).mean())


def _critical_count(n1: int, n0: int, k: int, level: float) -> int:
    """Smallest number of members found that has a null probability of at most `level`."""
    tail = np.cumsum(harmless(n1, n0, k)[::-1])[::-1]
    return int(np.count_nonzero(tail > level))


def _normal_quantile(p: float) -> float:
    return NormalDist().inv_cdf(p)
