"""Limits of scores that are skewed: near an end of their scale, or where few patients decide."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit, ndtri, stdtrit

from fedbench.metric import Measure
from fedbench.metrics._draws import Floats
from fedbench.stats import percentile

__all__ = ["Skewed", "explained", "shared_by", "unit"]

_CLOSER = 20
"""So many times as close to an end as the value is a draw may be; at the ends odds are endless."""

_FREEDOM = 4.0
"""Degrees of freedom at least. With fewer, draws are spread so far that they say nothing."""


@dataclass(frozen=True)
class Skewed:
    """A score's replicates ``(1 + B,)``, spread where they are even, and its limits."""

    rows: Floats
    low: float
    high: float

    def bounds(self, found: Measure) -> Measure:
        """Return the measure with these limits; without, where it has none."""
        if math.isnan(found.low) or math.isnan(self.low):
            return found
        low, high = min(self.low, found.value), max(self.high, found.value)
        return replace(found, low=max(low, found.least), high=min(high, found.most))


def unit(rows: Floats, cases: int) -> Skewed:
    """Return a score from 0 to 1, spread by its log odds and as far apart as so few cases imply.

    As its own percentiles they are too close together with few cases, and lie to the wrong side
    near an end, so that limits are even there, with the longer of the two arms. They are never
    narrower than percentiles. A score of 0 or 1 stays as it is.
    """
    if not 0 < rows[0] < 1:
        return Skewed(rows, math.nan, math.nan)
    ends = rows[0] / _CLOSER, 1 - (1 - rows[0]) / _CLOSER
    moved = _spread(logit(rows.clip(*ends)), cases)
    plain = percentile(float(rows[0]), rows[1:])
    reach = _arm(moved)
    low, high = (float(expit(moved[0] + arm)) for arm in (-reach, reach))
    found = np.append(rows[:1], expit(moved[1:]))
    return Skewed(found, min(low, plain.low), max(high, plain.high))


def explained(rows: Floats, cases: float) -> Skewed:
    """Return a share of variance, spread by the log of what is left, with even limits there.

    Of heavy tails a sample has too few extremes rather than too many, so that the shorter of the
    two arms is not to be trusted.

    Args:
        rows: the share in every draw, the value first; 1 at most.
        cases: how many patients it rests on, see ``shared_by``.
    """
    left = 1 - rows
    if not left[0] > 0:
        return Skewed(rows, math.nan, math.nan)
    moved = _spread(np.log(np.maximum(left, 1e-9)), cases)
    reach = _arm(moved)
    low, high = 1 - math.exp(moved[0] + reach), 1 - math.exp(moved[0] - reach)
    return Skewed(np.append(rows[:1], 1 - np.exp(moved[1:])), low, high)


def shared_by(parts: Floats) -> float:
    """Return how many equal parts would be as uneven a sum as these (Kish 1965): 2 at least."""
    total = float(parts @ parts)
    return max(2.0, float(parts.sum()) ** 2 / total) if total > 0 else 2.0


def _spread(rows: Floats, cases: float) -> Floats:
    """Return replicates around the value, by Student's t and n - 1, as ``expanded``."""
    free = max(cases - 1, _FREEDOM)
    wider = math.sqrt((free + 1) / free) * float(stdtrit(free, 0.975) / ndtri(0.975))
    known = rows[1:][np.isfinite(rows[1:])]
    middle = known.mean() if len(known) else math.nan
    return np.append(rows[:1], rows[0] + (rows[1:] - middle) * wider)


def _arm(moved: Floats) -> float:
    """Return how far the further end of 95 % of the draws lies from the value, the first."""
    known = moved[1:][np.isfinite(moved[1:])]
    if not len(known):
        return math.nan
    return float(np.abs(np.quantile(known, [0.025, 0.975]) - moved[0]).max())
