"""Numbers of two sides under bootstrap weights: how far their distributions lie apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedbench.metric import FEWEST, Evidence, Key, Refusal, View
from fedbench.metrics._draws import Floats, draws
from fedbench.nouns import plural

__all__ = ["FAR", "Values", "distances", "fences", "having", "outside", "too_few"]

FAR = 3.0
_NUMBERS = 1 << 21  # that a block may hold


@dataclass(frozen=True)
class Values:
    """Those who have a value, ascending: ``values`` (n,), ``weights`` (1 + B, n)."""

    values: Floats
    weights: NDArray[np.uint8]

    @classmethod
    def of(cls, view: View, name: str) -> Values:
        """Return the values of a column of the patient table, sorted once for all targets."""
        return view.shared(f"values: {name}", lambda: cls.among(view, _column(view, name)))

    @classmethod
    def among(cls, view: View, found: Floats) -> Values:
        """Return the values of patients, NaN where there is none."""
        order = np.argsort(found, kind="stable")[: int(np.isfinite(found).sum())]
        return cls(found[order], draws(view)[:, order])

    def __len__(self) -> int:
        return len(self.values)


def _column(view: View, name: str) -> Floats:
    return view.table[name].to_numpy(dtype=np.float64)


def fences(values: Floats) -> tuple[Floats, Floats]:
    """Return how far out values of each column count; without limit where its middle is one value.

    Tukey's fences (1977, Exploratory Data Analysis), wide: of normal values none in 10**28 is out.
    """
    low, high = np.full((2, values.shape[1]), [[-np.inf], [np.inf]])
    there = ~np.isnan(values).all(axis=0)
    fifth, last = np.nanquantile(values[:, there], (0.05, 0.95), axis=0)
    far = FAR * (last - fifth)
    low[there] = np.where(far > 0, fifth - far, -np.inf)
    high[there] = np.where(far > 0, last + far, np.inf)
    return low, high


def having(view: View, name: str) -> int:
    """Return how many patients have a value of a column."""
    return int(view.table[name].notna().sum())


def too_few(evidence: Evidence, name: str, part: str) -> Refusal | None:
    """Refuse a column of which fewer than ``FEWEST`` patients of a side have a value."""
    for view, side in ((evidence.test, "real test"), (evidence.synthetic, "synthetic")):
        if (known := having(view, name)) < FEWEST:
            found = plural(known, f"{side} patient has a value", f"{side} patients have a value")
            reason = f"{found}; this needs at least {FEWEST}"
            return Refusal(reason=reason, part=part, key=Key(column=name))
    return None


def distances(real: Values, fake: Values) -> tuple[Floats, Floats]:
    """Return the Kolmogorov-Smirnov and Wasserstein-1 distances under each row of weights.

    ``scipy.stats.ks_2samp`` and ``scipy.stats.wasserstein_distance`` with the same weights.

    Returns:
        Two arrays (1 + B,), NaN where a side has no weight.
    """
    pooled = np.concatenate([real.values, fake.values])
    order = np.argsort(pooled, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(pooled[order]) > 0, True))
    steps = np.diff(pooled[order][ends])
    found = np.full((2, len(real.weights)), np.nan)
    for rows in _blocks(len(real.weights), len(pooled)):
        sides = [side.weights[rows].astype(np.float64) for side in (real, fake)]
        totals = [side.sum(axis=1, keepdims=True) for side in sides]
        with np.errstate(divide="ignore", invalid="ignore"):
            signed = np.concatenate([sides[0] / totals[0], -sides[1] / totals[1]], axis=1)
        apart = np.abs(np.cumsum(signed[:, order], axis=1)[:, ends])
        found[0, rows], found[1, rows] = apart.max(axis=1), apart[:, :-1] @ steps
    return found[0], found[1]


def outside(low: float, high: float, side: Values) -> Floats:
    """Return the share of values below or above these ends, (1 + B,)."""
    beyond = (side.values < low) | (side.values > high)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((side.weights @ beyond.astype(float)) / side.weights.sum(axis=1))


def _blocks(rows: int, width: int) -> Iterator[slice]:
    step = max(1, _NUMBERS // max(1, width))
    return (slice(start, start + step) for start in range(0, rows, step))
