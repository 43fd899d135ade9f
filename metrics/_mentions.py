"""Codes of patients, alone and two together, as shares of patients under bootstrap weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedbench.metric import View
from fedbench.metrics._draws import Floats, totals
from fedbench.metrics._events import counted
from fedbench.sequences import Sequences

__all__ = ["Mentions", "agreement", "prevalence"]

Ints = NDArray[np.int64]

_NUMBERS = 1 << 22  # that a block may hold


@dataclass(frozen=True)
class Mentions:
    """Who has which item: ``owner`` (N,) the patient by number, ``item`` (N,), each pair once."""

    view: View
    owner: Ints
    item: Ints

    @classmethod
    def _of(cls, view: View, owner: Ints, item: Ints, width: int) -> Mentions:
        found = np.unique(owner * np.int64(width) + item)
        return cls(view, found // width, found % width)

    @classmethod
    def single(cls, view: View) -> Mentions:
        """Return the codes that each patient ever has."""
        return view.shared("codes: single", lambda: cls._single(view))

    @classmethod
    def _single(cls, view: View) -> Mentions:
        found = view.cohort.sequences
        return cls._of(view, found.owner[_step(found)], found.codes, len(found.vocabulary))

    def meaning(self, row: Ints, concept: Ints, concepts: int) -> Mentions:
        """Return the concepts that each patient has.

        Args:
            row: items, ascending, one as often as it has concepts; every item at least once.
            concept: what each of these stands for, by number.
            concepts: how many there are.
        """
        start = np.searchsorted(row, self.item)
        count = np.searchsorted(row, self.item, side="right") - start
        which, at = _pairs(start, count)
        return self._of(self.view, self.owner[which], concept[at], concepts)

    @classmethod
    def together(cls, view: View) -> Mentions:
        """Return the pairs of codes that a patient has on one day, the lower one first."""
        return view.shared("codes: together", lambda: cls._together(view))

    @classmethod
    def _together(cls, view: View) -> Mentions:
        found, width = view.cohort.sequences, len(view.cohort.sequences.vocabulary)
        step = _step(found)
        after = np.arange(1, len(step) + 1)
        first, second = _pairs(after, found.code_starts[step + 1] - after)
        a, b = found.codes[first], found.codes[second]
        other = a != b
        owner = found.owner[step[first]][other]
        return cls._of(view, owner, (a * width + b)[other], width * width)

    @classmethod
    def following(cls, view: View) -> Mentions:
        """Return the pairs of a code and one of the patient's next day with codes."""
        return view.shared("codes: following", lambda: cls._following(view))

    @classmethod
    def _following(cls, view: View) -> Mentions:
        found, width = view.cohort.sequences, len(view.cohort.sequences.vocabulary)
        step, size = _step(found), np.diff(found.code_starts)
        coded = np.flatnonzero(size)
        follower = np.full(len(size), -1)
        follower[coded[:-1]] = np.where(
            found.owner[coded[1:]] == found.owner[coded[:-1]], coded[1:], -1
        )
        then = follower[step]
        count = np.where(then >= 0, size[then], 0) if len(step) else np.zeros(0, np.int64)
        first, second = _pairs(found.code_starts[then], count)
        item = found.codes[first] * width + found.codes[second]
        return cls._of(view, found.owner[step[first]], item, width * width)


def prevalence(side: Mentions, items: Ints) -> Floats:
    """Return the share of patients with each of these items, ascending; ``(1 + B, items)``."""
    mine = np.isin(side.item, items)
    place = np.searchsorted(items, side.item[mine])
    found = counted(side.view, side.owner[mine], place, len(items))
    return np.asarray(found / totals(side.view))


def agreement(real: Mentions, fake: Mentions) -> Floats:
    """Return the coefficient of determination of the shares of patients with each item.

    Items are those that anybody has on either side. ``sklearn.metrics.r2_score`` with the real
    shares as truth, as in HALO (Theodorou et al. 2023, https://doi.org/10.1038/s41467-023-41093-0).
    NaN where the real shares do not vary.
    """
    items = np.unique(np.concatenate([real.item, fake.item]))
    error, total, square = np.zeros((3, 1 + len(real.view.weights)))
    step = max(1, _NUMBERS // len(error))
    for start in range(0, len(items), step):
        mine, theirs = (prevalence(side, items[start : start + step]) for side in (real, fake))
        error += ((mine - theirs) ** 2).sum(axis=1)
        total += mine.sum(axis=1)
        square += (mine**2).sum(axis=1)
    spread = square - total**2 / max(1, len(items))
    varies = spread > 1e-12 * np.maximum(square, 1e-300)
    share = np.divide(error, spread, out=np.full(len(error), np.nan), where=varies)
    return np.asarray(1 - share)


def _step(found: Sequences) -> Ints:
    """Return the step of every code."""
    return np.repeat(np.arange(len(found.day)), np.diff(found.code_starts))


def _pairs(start: Ints, count: Ints) -> tuple[Ints, Ints]:
    """Return each place as often as it has partners, and the partners from ``start`` on."""
    first = np.repeat(np.arange(len(count)), count)
    begun = np.cumsum(count) - count
    return first, np.arange(len(first)) - begun[first] + start[first]
