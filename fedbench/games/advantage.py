"""How much more often does an attack succeed with members than with others like them?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from fedbench import stats
from fedbench.games.scoring import softened, stretch, stretched
from fedbench.metric import Measure
from fedbench.stats import Interval

__all__ = ["ALONE", "Stratum", "advantage", "share", "stretch_of", "unheard"]

_USELESS = 0.1
"""Where less than this would have gone unnoticed, an attack that found nothing said nothing."""

ALONE = "at a level of .05, before Holm's correction"
"""How it is reckoned what an area or an advantage must be to be noticed."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Stratum:
    """Patients who are compared with each other: of one site, say.

    ``hits`` says for whom the attack succeeded, ``truth`` who is a member.
    """

    hits: Bools
    truth: Bools
    whole: NDArray[np.uint8]  # bootstrap weights, clusters drawn whole
    loose: NDArray[np.uint8]  # and as if there were none

    @property
    def weight(self) -> float:
        """Mantel and Haenszel's (https://doi.org/10.1093/jnci/22.4.719)."""
        return float(self.truth.sum() * (~self.truth).sum() / self.truth.size)

    @property
    def gap(self) -> Interval:
        """How much more often members are hit."""
        ones, zeros = self.hits[self.truth], self.hits[~self.truth]
        return stats.newcombe(int(ones.sum()), ones.size, int(zeros.sum()), zeros.size)

    @property
    def null_spread(self) -> float:
        """Standard error of the gap if both classes are alike, given all hits (Cochran)."""
        rate, n = self.hits.mean(), self.truth.size
        return math.sqrt(rate * (1 - rate) * n / (n - 1) / self.weight)

    def gaps(self, weights: NDArray[np.uint8]) -> Floats:
        """Replicates of the gap; NaN where a class was not drawn."""
        drawn, hits = weights.astype(np.float64), self.hits.astype(np.float64)
        ones, zeros = (
            np.divide(
                drawn[:, c] @ hits[c], total, out=np.full(len(drawn), np.nan), where=total > 0
            )
            for c, total in ((c, drawn[:, c].sum(axis=1)) for c in (self.truth, ~self.truth))
        )
        return np.asarray(ones - zeros)


def advantage(
    strata: Sequence[Stratum],
    counts: Mapping[str, Any],
    weight: Floats | None = None,
    by: float | None = None,
) -> Measure:
    """How much more often members are hit than others of the same stratum.

    Strata count as Mantel and Haenszel say, or by ``weight``, ``(strata,)``. Limits are
    Newcombe's, combined by MOVER (Zou and Donner 2008, https://doi.org/10.1002/sim.3095) and
    widened where clusters ask for it, so many times as ``by`` says, if `stretch_of` was asked.
    """
    if weight is None:
        weight = np.array([stratum.weight for stratum in strata])
    weight = weight / weight.sum()
    gaps = [stratum.gap for stratum in strata]
    value = float(weight @ [gap.value for gap in gaps])
    down, up = (
        float(np.linalg.norm(weight * reach))
        for reach in np.array([(g.value - g.low, g.high - g.value) for g in gaps]).T
    )
    draws = _mean(weight, [stratum.gaps(stratum.whole) for stratum in strata])
    by = stretch_of(strata, weight) if by is None else by
    found = stretched(Interval(value, value - down, value + up), by, -1, 1)
    spread = by * float(np.linalg.norm(weight * [stratum.null_spread for stratum in strata]))
    return Measure(
        value=value,
        low=found.low,
        high=found.high,
        n=sum(stratum.truth.size for stratum in strata),
        part="advantage",
        replicates=stats.recentre(value, draws),
        least=-1.0,
        most=1.0,
        facts={
            **counts,
            "p_value": softened(_exact_p(strata, [s.hits for s in strata]), by),
            "p_turned": softened(_exact_p(strata, [~s.hits for s in strata]), by),
            # Where nearly all guesses are right the spread vanishes; the interval does not.
            "detectable": float(special.ndtri(0.95) + special.ndtri(0.8))
            * max(spread, (found.high - found.low) / 2 / float(special.ndtri(0.975))),
        },
    )


def stretch_of(strata: Sequence[Stratum], weight: Floats) -> float:
    """Return how much clusters widen the interval of the advantage, strata weighted so."""
    weight = weight / weight.sum()
    whole = _mean(weight, [stratum.gaps(stratum.whole) for stratum in strata])
    return stretch(whole, _mean(weight, [stratum.gaps(stratum.loose) for stratum in strata]))


def _exact_p(strata: Sequence[Stratum], hits: Sequence[Bools]) -> float:
    members = [s.truth for s in strata]
    return stats.stratified_p(
        [int((h & m).sum()) for h, m in zip(hits, members, strict=True)],
        [int(h.sum()) for h in hits],
        [int(m.sum()) for m in members],
        [m.size for m in members],
    )


def _mean(weight: Floats, draws: Sequence[Floats]) -> Floats:
    """Weighted mean over the strata that a replicate has."""
    found = np.array(draws)
    there = np.isfinite(found)
    total = weight @ there
    sums = weight @ np.where(there, found, 0)
    return np.asarray(np.divide(sums, total, out=np.full(total.shape, np.nan), where=total > 0))


def share(hits: Bools, part: str) -> Measure:
    """Return how often an attack succeeded, with exact limits."""
    found = stats.clopper_pearson(int(hits.sum()), hits.size)
    return Measure(
        value=found.value,
        low=found.low,
        high=found.high,
        n=hits.size,
        part=part,
        least=0.0,
        most=1.0,
    )


def unheard(detectable: float) -> str:
    """Say what an advantage that is not shown means."""
    if not detectable <= _USELESS:
        return f"nothing can be said: only {100 * detectable:.0f} points would have been noticed"
    return f"not detectable; {100 * detectable:.1f} points would have been, {ALONE}"
