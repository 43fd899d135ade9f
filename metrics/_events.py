"""What happens to a patient any number of times, counted under bootstrap weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fedbench.metric import View
from fedbench.metrics._draws import Floats, draws
from fedbench.seeds import Rng

__all__ = ["Events", "apart", "counted", "gap", "steps", "thinned"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_NUMBERS = 1 << 22  # that a block may hold


@dataclass(frozen=True)
class Events:
    """Numbers of which a patient may have several: ``values`` (N,), of the patients ``owner``.

    Every patient who has any counts once, however many there are of her.
    """

    view: View
    owner: Ints
    values: Floats

    @classmethod
    def of(cls, view: View, owner: Ints, values: Floats) -> Events:
        """Return the events that have a value."""
        there = np.isfinite(values)
        return cls(view, owner[there], values[there])

    def where(self, rows: Bools) -> Events:
        """Return these events only."""
        return Events(self.view, self.owner[rows], self.values[rows])

    def __len__(self) -> int:
        """How many patients have any."""
        return len(np.unique(self.owner))

    @property
    def share(self) -> Floats:
        """The share that each has of its patient, ``(N,)``."""
        return 1 / np.bincount(self.owner, minlength=len(self.view))[self.owner]


def counted(
    view: View, owner: Ints, place: Ints, width: int, share: Floats | None = None
) -> Floats:
    """Return the weight of all events at each place, ``(1 + B, width)``.

    Args:
        view: the patients.
        owner: the patient of every event, by number.
        place: where it is counted, below ``width``.
        width: how many places there are.
        share: how much it counts for; 1 by default.
    """
    weights = view.shared(
        "events: weights", lambda: np.ascontiguousarray(draws(view).T.astype(np.float64))
    )
    much = np.ones(len(owner)) if share is None else share
    events = sparse.csr_array((much, (place, owner)), shape=(width, len(view)))
    return np.asarray(events @ weights).T


def apart(real: Floats, fake: Floats) -> Floats:
    """Return the total variation of each row of counts, ``(1 + B,)``.

    NaN where nothing real was counted, 1 where nothing synthetic was.
    """
    sizes = [side.sum(axis=1, keepdims=True) for side in (real, fake)]
    mine, theirs = (
        np.divide(side, size, out=np.zeros_like(side), where=size > 0)
        for side, size in zip((real, fake), sizes, strict=True)
    )
    found = np.where(sizes[1][:, 0] > 0, np.abs(mine - theirs).sum(axis=1) / 2, 1.0)
    return np.where(sizes[0][:, 0] > 0, found, np.nan)


def gap(real: Events, fake: Events) -> Floats:
    """Return the Kolmogorov-Smirnov distance under each row of weights, ``(1 + B,)``.

    It is that of ``scipy.stats.ks_2samp`` where nobody has two values. NaN where there are no real
    ones, 1 where there are no synthetic ones.
    """
    ends, place = np.unique(np.concatenate([real.values, fake.values]), return_inverse=True)
    places = np.split(place.astype(np.int64), [len(real.values)])
    found = np.full(1 + len(real.view.weights), 1.0 if len(real.values) else np.nan)
    if not min(len(real.values), len(fake.values)):
        return found
    sides = [_passed(side, at, len(ends)) for side, at in zip((real, fake), places, strict=True)]
    for rows in _blocks(len(found), len(ends)):
        found[rows] = np.abs(sides[0][rows] - sides[1][rows]).max(axis=1)
    return found


def steps(view: View) -> tuple[Ints, Floats]:
    """Return whose every visit is and on which day; days with codes where there are no visits."""
    sequences = view.cohort.sequences
    if not sequences.schema.visits:
        return sequences.owner, sequences.day
    return sequences.owner[sequences.visited], sequences.day[sequences.visited]


def thinned(view: View, most: int, name: str, rng: Rng) -> View:
    """Return at most so many patients, drawn by ``rng`` once for all who ask by this name."""
    if len(view) <= most:
        return view

    def some() -> View:
        rows = np.zeros(len(view), dtype=bool)
        rows[rng.permutation(len(view))[:most]] = True
        return view.at(rows)

    return view.shared(f"thinned: {name} {most}", some)


def _passed(side: Events, place: Ints, width: int) -> Floats:
    found = counted(side.view, side.owner, place, width, side.share)
    np.cumsum(found, axis=1, out=found)
    with np.errstate(invalid="ignore"):
        return np.asarray(found / found[:, -1:])


def _blocks(rows: int, width: int) -> Iterator[slice]:
    step = max(1, _NUMBERS // max(1, width))
    return (slice(start, start + step) for start in range(0, rows, step))
