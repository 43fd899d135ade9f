"""Where the values of other patients would end: smallest and largest numbers, drawn anew."""

from __future__ import annotations

import math

import numpy as np

from fedbench.metrics._draws import Floats
from fedbench.seeds import Rng

__all__ = ["ends"]

_SHARED = 5  # patients with one extreme value: others would reach it too, by 99 in 100


def ends(values: Floats, b: int, rng: Rng) -> Floats:
    """Return the smallest and the largest of the values of as many fresh patients, b times.

    Drawing the same patients again says little about extremes: the largest stays in 63 of 100
    draws. So the excesses of the 2√n largest over the next one are fitted by a generalized
    Pareto law, and the largest of a fresh sample is drawn from that. Its shape is by
    probability-weighted moments (Hosking and Wallis 1987,
    https://doi.org/10.1080/00401706.1987.10488243), between a uniform tail and one of infinite
    variance. Numbers that come in steps end on a step, and an end stays that five patients
    share, and no fewer than the values next to it.

    Args:
        values: of patients, NaN where there is none, (n,).
        b: how often.
        rng: draws.

    Returns:
        (b, 2); the known ends where all values are equal, NaN where there are none.
    """
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return np.full((b, 2), np.nan)
    return np.stack([-_largest(-known[::-1], b, rng), _largest(known, b, rng)], axis=1)


def _largest(ascending: Floats, b: int, rng: Rng) -> Floats:
    n = len(ascending)
    chance = rng.exponential(size=b)
    top = ascending[-min(n, int(2 * math.sqrt(n)) + 1) :]
    steps = np.diff(top)
    shared = np.unique(top, return_counts=True)[1]
    if not steps.any() or shared[-1] == max(_SHARED, shared.max()):
        return np.full(b, ascending[-1])
    step = steps[steps > 0].min()
    even = _spread_out(ascending, step)[-len(top) :]
    drawn = even[0] + _beyond(even[1:] - even[0], chance)
    known = top[np.searchsorted((top[1:] + top[:-1]) / 2, drawn)]
    return np.asarray(
        np.where(drawn > top[-1], top[-1] + step * np.rint((drawn - top[-1]) / step), known)
    )


def _spread_out(ascending: Floats, step: float) -> Floats:
    """Return values that come in steps as they were before, evenly within their step.

    Many at one value would seem to be next to nothing beyond it, and the tail a heavy one.
    """
    _, place, count = np.unique(ascending, return_inverse=True, return_counts=True)
    rank = np.arange(len(ascending)) - (np.cumsum(count) - count)[place]
    return np.asarray(ascending + step * ((rank + 0.5) / count[place] - 0.5))


def _beyond(excess: Floats, chance: Floats) -> Floats:
    """Return the largest excess of a fresh sample, for its ``chance`` times how many exceed."""
    k = len(excess)
    mean, weighted = excess.mean(), excess @ (1 - (np.arange(1, k + 1) - 0.35) / k) / k
    shape = 2 - mean / (mean - 2 * weighted) if mean > 2 * weighted else 0.5
    shape = np.clip(shape, -1, 0.5) or 1e-9
    return np.asarray(mean * (1 - shape) / shape * ((chance / k) ** -shape - 1))
