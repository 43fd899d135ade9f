"""Numbers under bootstrap weights: the first row of all arrays is everyone counted once."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.stats import rankdata

from fedbench.metric import Key, Measure, View
from fedbench.nouns import plural
from fedbench.stats import percentile, recentre

__all__ = [
    "Floats",
    "Singles",
    "averaged",
    "draws",
    "expanded",
    "measured",
    "mended",
    "over",
    "pair_shares",
    "rank_correlation",
    "shares",
    "single_draws",
    "steadied",
    "totals",
    "unfolded",
]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_NUMBERS = 1 << 22  # a block of products holds this many, 16 MiB


def draws(view: View) -> NDArray[np.uint8]:
    """Return the weights ``(1 + B, n)``: everyone once, then the bootstrap's rows."""
    return view.shared(
        "metrics: draws",
        lambda: np.concatenate([np.ones((1, len(view)), np.uint8), view.weights]),
    )


def single_draws(view: View) -> Singles:
    """Return the same in single precision, for products; counts below 2**24 stay exact."""
    return view.shared("metrics: single draws", lambda: draws(view).astype(np.float32))


def totals(view: View) -> Floats:
    """Return the weight of all patients, ``(1 + B, 1)``; NaN where nobody was drawn."""
    found = draws(view).sum(axis=1, keepdims=True, dtype=np.float64)
    return np.where(found > 0, found, math.nan)


def shares(view: View, columns: Singles) -> Floats:
    """Return the weighted mean of each column, ``(1 + B, k)``; exact for 0/1 columns."""
    return np.asarray((single_draws(view) @ columns).astype(np.float64) / totals(view))


def pair_shares(
    view: View, columns: Singles, first: NDArray[np.int64], second: NDArray[np.int64]
) -> Singles:
    """Return the weighted mean of products of columns, ``(1 + B, pairs)``, in little memory.

    Args:
        view: the patients.
        columns: one row per column, ``(k, n)``, so that a product reads memory in one go.
        first: index of the one column of each pair.
        second: index of the other.
    """
    weights, weight = single_draws(view), totals(view).astype(np.float32)
    means = np.empty((len(weights), len(first)), np.float32)
    step = max(1, _NUMBERS // max(1, len(view)))
    for start in range(0, len(first), step):
        block = slice(start, start + step)
        means[:, block] = weights @ (columns[first[block]] * columns[second[block]]).T
    means /= weight
    return means


def unfolded(gaps: Floats) -> Floats:
    """Return differences with the signs that make the first row positive.

    An average of few absolute values near 0 has replicates that are folded there, so its
    interval is too narrow just where the value came out small by chance (90 % instead of 95 %
    for one difference of two standard errors). Unfolded it covers, generously close to 0.
    """
    return gaps * np.where(gaps[0] < 0, -1.0, 1.0)


def averaged(gaps: Floats) -> Floats:
    """Return the mean of absolute differences ``(1 + B, k)``, with replicates that are unfolded.

    Where differences move together, opposite signs were chance and would hide how far they can
    move: replicates are then those of the mean difference.
    """
    rows, signed = unfolded(gaps).mean(axis=1), gaps.mean(axis=1)
    if signed.std() > rows.std():
        rows = rows[0] + signed - signed[0]
    return np.asarray(rows)


def expanded(rows: Floats, cases: int) -> Floats:
    """Return replicates ``(1 + B,)`` as far apart as so few cases imply.

    The bootstrap divides by n and not by n - 1, and its percentiles are those of a normal law
    where Student's t is due (expanded percentiles, Hesterberg 2015,
    https://doi.org/10.1080/00031305.2015.1089789).
    """
    free = cases - 1
    wider = math.sqrt(cases / free) * special.stdtrit(free, 0.975) / special.ndtri(0.975)
    drawn = rows[1:]
    middle = drawn[np.isfinite(drawn)].mean()
    return np.append(rows[:1], middle + (drawn - middle) * wider)


def rank_correlation(first: Floats, second: Floats) -> Floats:
    """Return Spearman's correlation of each row, ``(1 + B,)``; NaN where one has only ties."""
    ranks = [rankdata(side, axis=1) for side in (first, second)]
    x, y = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1)))


def mended(rows: Floats) -> Floats:
    """Return numbers ``(k, 1 + B)`` that are as they were wherever a draw defines none."""
    return np.where(np.isfinite(rows), rows, rows[:, :1])


def steadied(mean: Measure, rows: Floats, limits: Floats) -> Measure:
    """Widen a mean of numbers ``(k, 1 + B)`` by the limits of those that no draw moves.

    Nobody was seen with them, so that no bootstrap says how far they may be off together: their
    limits ``(k, 2)`` are averaged. NaN for the others, whose draws say it.
    """
    still = np.ptp(rows, axis=1) == 0
    low, high = np.where(still[:, None], limits - rows[:, :1], 0.0).mean(axis=0)
    ends = max(mean.low + low, mean.least), min(mean.high + high, mean.most)
    return replace(mean, low=min(ends[0], mean.low), high=max(ends[1], mean.high))


def over(mean: Measure, kept: int, of: int, noun: str = "column") -> Measure:
    """Let a number say over how many columns it is, where it had to leave some out."""
    if kept == of:
        return mean
    told = {"covered": kept, "of": of, "over": f"over {kept} of {plural(of, noun)}"}
    return replace(mean, facts={**mean.facts, **told})


def measured(  # noqa: PLR0913  (a number and all that goes with it)
    rows: Floats,
    n: int,
    *,
    part: str = "",
    key: Key | None = None,
    least: float = 0.0,
    most: float = 1.0,
    weak: str = "",
    cases: int = 0,
) -> Measure:
    """Return a measure from its value and replicates ``(1 + B,)``; it lies in [least, most].

    A distance between two samples grows when they are resampled once more, so replicates are
    shifted to have the value as their mean. What the interval covers is the expected value
    at these numbers of real and synthetic patients, which is what the ceiling has too.
    """
    value = float(rows[0])
    found = percentile(value, rows[1:])
    return Measure(
        value=value,
        low=max(found.low, min(least, value)),
        high=min(found.high, max(most, value)),
        n=n,
        part=part,
        key=key or Key(),
        replicates=recentre(value, rows[1:]),
        weak=weak,
        cases=cases,
        least=least,
        most=most,
    )
