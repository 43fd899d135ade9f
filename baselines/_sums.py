"""Sums over each patient's rows, and draws that follow each other; rows lie patient by patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import ndtri

from fedbench.seeds import Rng

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

LONG = 64
"""Days from which on a longer record counts no more."""


def sums(owner: Ints, values: Floats, n: int) -> Floats:
    where = (owner, np.arange(len(owner)))
    return np.asarray(sparse.csr_array((np.ones(len(owner)), where), (n, len(owner))) @ values)


def means(owner: Ints, values: Floats, n: int) -> Floats:
    """Return the mean of each patient's rows, NaN where there is none."""
    count = np.bincount(owner, minlength=n)[:, None].astype(np.float64)
    total = sums(owner, values, n)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def shares(owner: Ints, place: Ints, n: int, size: int) -> Floats:
    """Return the share of each patient's rows in every place."""
    found = np.bincount(owner * size + place, minlength=n * size).reshape(n, size)
    return np.asarray(found / np.maximum(found.sum(axis=1, keepdims=True), 1))


def others(owner: Ints, there: Bools, n: int) -> Floats:
    """How often something is there besides once, with counts; longer records count more."""
    days = np.bincount(owner, minlength=n)[:, None]
    times = sums(owner, there.astype(np.float64), n)
    weight = np.where(times > 0, np.minimum((days - 1) / LONG, 1.0), 0.0)
    share = np.maximum(times - 1, 0) / np.maximum(days - 1, 1)
    return np.stack([weight, weight * share], axis=2)


def moves(owner: Ints, state: Ints, n: int, width: int) -> Floats:
    """Return the shares of a patient's moves from one state to the next."""
    same = owner[1:] == owner[:-1]
    return shares(owner[1:][same], state[:-1][same] * width + state[1:][same], n, width * width)


def drawn(chances: Floats, rows: Ints, rng: Rng) -> Ints:
    """Draw a column for each of ``rows``."""
    ends = np.cumsum(chances, axis=1)
    ends /= ends[:, -1:]
    u = rng.random(len(rows))
    offset = ends + np.arange(len(ends))[:, None]
    found = np.searchsorted(offset.ravel(), u + rows, side="right") - rows * ends.shape[1]
    return np.asarray(np.minimum(found, ends.shape[1] - 1))


def threshold(rate: Floats, days: Floats) -> Floats:
    """Return scores above which something is there, at least once in so many days.

    Days on which nothing was above are corrected for: where it never is, it is once after all.
    """
    low, high = np.zeros_like(rate), rate.copy()
    for _ in range(40):
        middle = (low + high) / 2
        enough = middle + (1 - middle) ** days / days > rate
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.asarray(ndtri(1 - np.clip((low + high) / 2, 1e-9, 1 - 1e-9)))


def position(owner: Ints) -> Ints:
    """Return the place of each row among those of its owner; owners ascend."""
    opening = np.flatnonzero(np.diff(owner, prepend=-1) > 0)
    return np.arange(len(owner)) - np.repeat(opening, np.diff(np.append(opening, len(owner))))


def later(place: Ints) -> Sequence[Ints]:
    """Return the rows that are second, third, … of their owner."""
    order = np.argsort(place, kind="stable")
    ends = np.cumsum(np.bincount(place))
    return np.split(order, ends)[1:-1] if len(place) else []
