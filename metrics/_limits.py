"""Limits of scores that are skewed: near an end of their scale, or where few patients decide."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit, ndtri, stdtrit

from fedbench.metric import Measure
from fedbench.metrics._draws import Floats

__all__ = ["Skewed", "explained", "shared_by", "unit"]

_EDGE = 1e-3
"""A score of a draw is taken as this far from 0 and from 1 at least, where odds are endless."""


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
    near 1. A score of 0 or 1 stays as it is.
    """
    if not 0 < rows[0] < 1:
        return Skewed(rows, math.nan, math.nan)
    odds = np.append(logit(rows[0]), logit(rows[1:].clip(_EDGE, 1 - _EDGE)))
    moved = _spread(odds, cases)
    low, high = _ends(moved[1:])
    found = np.append(rows[:1], expit(moved[1:]))
    return Skewed(found, float(expit(low)), float(expit(high)))


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
    reach = float(np.abs(np.subtract(_ends(moved[1:]), moved[0])).max())
    low, high = 1 - math.exp(moved[0] + reach), 1 - math.exp(moved[0] - reach)
    return Skewed(np.append(rows[:1], 1 - np.exp(moved[1:])), low, high)


def shared_by(parts: Floats) -> float:
    """Return how many equal parts would be as uneven a sum as these (Kish 1965): 2 at least."""
    total = float(parts @ parts)
    return max(2.0, float(parts.sum()) ** 2 / total) if total > 0 else 2.0


def _spread(rows: Floats, cases: float) -> Floats:
    """Return replicates around the value, by Student's t and n - 1, as ``expanded``."""
    free = max(cases - 1, 1.0)
    wider = math.sqrt((free + 1) / free) * float(stdtrit(free, 0.975) / ndtri(0.975))
    known = rows[1:][np.isfinite(rows[1:])]
    middle = known.mean() if len(known) else math.nan
    return np.append(rows[:1], rows[0] + (rows[1:] - middle) * wider)


def _ends(drawn: Floats) -> tuple[float, float]:
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
