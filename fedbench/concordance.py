"""Harrell's C-index under many weights of patients at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedbench.stats import Bools, Floats, Ints, Weights

__all__ = ["weighted_concordance"]


def weighted_concordance(
    time: npt.ArrayLike, event: npt.ArrayLike, risk: npt.ArrayLike, weights: Weights
) -> Floats:
    """Harrell's C-index under each row of patient weights.

    A pair counts if the earlier time is an event, or times are equal and one is an event
    (the other outlived it), as in `lifelines.utils.concordance_index`; ties in risk count half
    (Harrell 1996, https://doi.org/10.1002/(SICI)1097-0258(19960229)15:4%3C361::AID-SIM168%3E3.0.CO;2-4).

    Args:
        time: (n,) follow-up.
        event: (n,) of bool; False is censored.
        risk: (n,); higher means an earlier event.
        weights: (B, n), for example `poisson_weights`.

    Returns:
        (B,), NaN where no pair counts.
    """
    died = np.asarray(event, bool)
    # Whoever has the larger number outlived the other: at one time the censored did.
    ends = _rank(2 * _rank(time) + ~died)
    halves = list(_halves(ends, died, _rank(risk)))
    order = np.argsort(ends, kind="stable")
    events = order[died[order]]
    later = np.searchsorted(ends[order], ends[events], "right")
    ratios = []
    for start in range(0, len(weights), 8):  # few enough to stay near the processor
        drawn = weights[start : start + 8].T.astype(float)
        outlived = _sums(drawn, order)
        counted = _dot(drawn[events], outlived[-1] - outlived[later])
        won = sum((h.concordant(drawn) for h in halves), 0 * counted)
        none = np.full(counted.shape, math.nan)
        ratios.append(np.divide(won, counted, out=none, where=counted > 0))
    return np.concatenate(ratios)


@dataclass(frozen=True)
class _Halves:
    """Pairs of an event and who outlived it, whose ends first differ in one binary digit.

    Every pair is in one of these, so that counting takes n log n steps and not n².
    """

    events: Ints
    later: Ints
    """In blocks that agree in all digits before, by risk."""
    first: Ints
    """How many of `later` come before an event's block; then, who are less or equally at risk."""
    less: Ints
    equal: Ints

    def concordant(self, drawn: Floats) -> Floats:
        """Return the pairs in which the event had the higher risk, of each column of weights."""
        sums = _sums(drawn, self.later)
        wins = (sums[self.less] + sums[self.equal]) / 2 - sums[self.first]
        return _dot(drawn[self.events], wins)


def _halves(ends: Ints, died: Bools, risks: Ints) -> Iterator[_Halves]:
    for digit in range(int(ends.max(initial=0)).bit_length()):
        block, half = ends >> (digit + 1), (ends >> digit) & 1
        key = block * (int(risks.max()) + 1) + risks
        events = np.flatnonzero(died & (half == 0))
        asked = np.bincount(block[events], minlength=int(block.max()) + 1) > 0
        later = np.flatnonzero(asked[block] & (half == 1))
        later = later[np.argsort(key[later], kind="stable")]
        mine, theirs = key[events], key[later]
        yield _Halves(
            events,
            later,
            np.searchsorted(theirs, mine - risks[events], "left"),
            np.searchsorted(theirs, mine, "left"),
            np.searchsorted(theirs, mine, "right"),
        )


def _sums(drawn: Floats, rows: Ints) -> Floats:
    """Running sums over these rows, and 0 before them."""
    sums = np.zeros((len(rows) + 1, drawn.shape[1]))
    np.cumsum(drawn[rows], axis=0, out=sums[1:])
    return sums


def _dot(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->j", a, b))


def _rank(values: npt.ArrayLike) -> Ints:
    return np.unique(np.asarray(values), return_inverse=True)[1].astype(np.int64)
