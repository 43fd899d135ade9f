"""The score that users of SDMetrics know, with an interval and without subsampling."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from annotated_types import Ge, Le
from numpy.typing import NDArray

from fedbench.metric import Anchors, Evidence, Family, Measure, Metric, Refusal, View
from fedbench.metrics._draws import Floats, draws, measured, mended
from fedbench.metrics._values import Values, distances
from fedbench.seeds import Rng

__all__ = ["Quality", "Related", "Side", "shapes", "trends"]

Ints = NDArray[np.int64]
Weights = NDArray[np.uint8]

BINS = 10

# A choice at a threshold is no smooth function of patients, and drawing them again moves it less
# than other patients do. The factor was fitted: in simulated worlds of 150 patients and 6 to 45
# chosen pairs intervals with it held the expected value 95 to 99 times in 100. They are still too
# narrow (80) for 600 patients with many pairs near the threshold, perhaps as bins reach from the
# smallest to the largest number, which replicates keep.
_CHOSEN = math.sqrt(2)


@dataclass(frozen=True, kw_only=True)
class Quality(Metric):
    """Column shapes and column pair trends of SDMetrics' ``QualityReport``; 1 is best.

    Part ``shapes``: mean over columns of 1 minus the Kolmogorov-Smirnov distance (numbers) or the
    total variation (categories), among those who have a value. Part ``trends``: mean over pairs
    of columns of 1 minus half the difference of Pearson's correlations (two numbers) or 1 minus
    the total variation of their contingency tables (all others). The score is the mean of both.

    The values are those of SDMetrics 0.32 on the whole patient table, its choices included: a
    number is cut into ten bins of each side's own range, a missing number falls into the bin of
    the largest value, and only pairs count that go together in the real records: Pearson's
    correlation above ``correlation``, Cramér's V above ``association``. That makes it a weak
    judge, blind to what should not go together and does: ``associations`` and ``detection`` see
    more. Replicates choose their own pairs, as other patients would. Where a side has more than
    ``records`` patients, replicates come from so many of them, drawn by ``rng``, and are scaled
    to all.

    SDMetrics: https://docs.sdv.dev/sdmetrics.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "higher"
    version: ClassVar[int] = 2
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")

    records: Annotated[int, Ge(10)] = 2000
    correlation: Annotated[float, Ge(0), Le(1)] = 0.5
    association: Annotated[float, Ge(0), Le(1)] = 0.3

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        views, n = (evidence.test, evidence.synthetic), len(evidence.test)
        real, fake = (Side.of(view.table, np.ones((1, len(view)), np.uint8)) for view in views)
        chosen = Related.of(real, self.correlation, self.association)
        exact = [shapes(real, fake), trends(real, fake, chosen)]
        drawn = [_thinned(view, self.records, rng) for view in views]
        choice = (self.correlation, self.association)
        again = [shapes(drawn[0], drawn[1]), redrawn(drawn[0], drawn[1], *choice)]
        # Of two sides, the one that lost most says how much less all of them vary.
        share = min(len(side) / len(view) for side, view in zip(drawn, views, strict=True))
        parts, wider = ("shapes", "trends"), {"shapes": 1.0, "trends": _CHOSEN}
        found = {
            part: np.append(value, value + (rows - _middle(rows)) * math.sqrt(share) * wider[part])
            for part, (value,), rows in zip(parts, exact, (r[1:] for r in again), strict=True)
            if np.isfinite(value)
        }
        if not found:
            return [Refusal(reason="no column can be compared", status="not applicable")]
        found[""] = np.nanmean(list(found.values()), axis=0)  # a draw may choose no pair
        return [measured(rows, n, part=part) for part, rows in found.items()]


@dataclass(frozen=True)
class Side:
    """The patient table of one side under weights ``(R, n)``, the first row unweighted.

    ``numbers`` (p, n) with NaN; ``levels`` (q, n), -1 where there is none; ``bins`` (p, n): the
    numbers cut into ten bins of their own range, see ``Quality``.
    """

    numbers: Floats
    levels: Ints
    widths: tuple[int, ...]
    bins: Ints
    weights: Weights

    @classmethod
    def of(cls, table: pd.DataFrame, weights: Weights) -> Side:
        """Read a table of numbers and pandas categories."""
        kinds = [isinstance(kind, pd.CategoricalDtype) for kind in table.dtypes]
        numbers = [
            table.iloc[:, j].to_numpy(dtype=float)
            for j, is_level in enumerate(kinds)
            if not is_level
        ]
        levels = [table.iloc[:, j].cat for j, is_level in enumerate(kinds) if is_level]
        n = len(table)
        return cls(
            np.stack(numbers) if numbers else np.empty((0, n)),
            np.stack([level.codes.to_numpy() for level in levels]).astype(np.int64)
            if levels
            else np.empty((0, n), np.int64),
            tuple(len(level.categories) for level in levels),
            np.stack([_binned(values) for values in numbers])
            if numbers
            else np.empty((0, n), np.int64),
            weights,
        )

    def __len__(self) -> int:
        return int(self.weights.shape[1])

    @property
    def plain(self) -> Side:
        """The same with everyone counted once, as in its first row."""
        return replace(self, weights=self.weights[:1])


def _middle(rows: Floats) -> float:
    known = rows[np.isfinite(rows)]
    return float(known.mean()) if len(known) else math.nan


def _binned(values: Floats) -> Ints:
    there = values[~np.isnan(values)]
    edges = np.histogram_bin_edges(there, bins=BINS)
    return np.digitize(values, edges).astype(np.int64)


def _thinned(view: View, most: int, rng: Rng) -> Side:
    weights = draws(view)
    if len(view) <= most:
        return Side.of(view.table, weights)
    rows = np.sort(rng.permutation(len(view))[:most])
    return Side.of(view.table.iloc[rows], weights[:, rows])


def shapes(real: Side, fake: Side) -> Floats:
    """Return the column shapes under each row of weights, ``(R,)``."""
    found = [*_number_shapes(real, fake), *_level_shapes(real, fake)]
    return _mean(found, len(real.weights))


def _number_shapes(real: Side, fake: Side) -> Iterator[Floats]:
    for mine, theirs in zip(real.numbers, fake.numbers, strict=True):
        sides = [_sorted(values, side) for values, side in ((mine, real), (theirs, fake))]
        if all(len(side) for side in sides):
            yield 1 - distances(*sides)[0]


def _sorted(values: Floats, side: Side) -> Values:
    order = np.argsort(values, kind="stable")[: int((~np.isnan(values)).sum())]
    return Values(values[order], side.weights[:, order])


def _level_shapes(real: Side, fake: Side) -> Iterator[Floats]:
    for mine, theirs, width in zip(real.levels, fake.levels, real.widths, strict=True):
        sides = [_counts(side, codes, width) for side, codes in ((real, mine), (fake, theirs))]
        if not all(side[0].any() for side in sides):
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = [side / side.sum(axis=1, keepdims=True) for side in sides]
        yield 1 - np.abs(shares[0] - shares[1]).sum(axis=1) / 2


@dataclass(frozen=True)
class Related:
    """Pairs of columns, of two numbers and of all others, that may go together in real records."""

    numbers: Ints  # places among the pairs of numbers
    others: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, real: Side, correlation: float, association: float) -> Related:
        """Return pairs whose Pearson correlation or Cramér's V is above these."""
        plain = real.plain
        near = np.abs(_correlations(plain)[0])
        others = (pair for pair in _pairs(real) if _cramer(plain, *pair)[0] > association)
        return cls(np.flatnonzero(near > correlation), tuple(others))

    @classmethod
    def within_reach(cls, real: Side, association: float) -> Related:
        """Return the pairs that some draw might choose: all of numbers, and those not far below.

        Drawing n patients again moves Cramér's V by no more than a few times 1/√n.
        """
        plain, n = real.plain, len(real)
        others = (
            pair
            for pair in _pairs(real)
            if _cramer(plain, *pair)[0] + 4 / math.sqrt(n) > association
        )
        p = len(real.numbers)
        return cls(np.arange(p * (p - 1) // 2), tuple(others))


def trends(real: Side, fake: Side, chosen: Related) -> Floats:
    """Return the column pair trends of these pairs under each row of weights, ``(R,)``."""
    apart = [_correlations(side)[:, chosen.numbers] for side in (real, fake)]
    similar = 1 - np.abs(apart[0] - apart[1]) / 2
    found = [column for column in similar.T if np.isfinite(column[0])]
    found += [_alike(_joint(real, *pair), _joint(fake, *pair)) for pair in chosen.others]
    return _mean(found, len(real.weights))


def redrawn(real: Side, fake: Side, correlation: float, association: float) -> Floats:
    """Return the trends where every row of weights chooses its own pairs, as a fresh sample would.

    NaN in rows that choose none, (R,).
    """
    apart = [_correlations(side) for side in (real, fake)]
    similar = 1 - np.abs(apart[0] - apart[1]) / 2
    chosen = np.isfinite(similar) & (np.abs(apart[0]) > correlation)
    total, count = np.where(chosen, similar, 0.0).sum(axis=1), chosen.sum(axis=1)
    for pair in Related.within_reach(real, association).others:
        drawn, more = _cramer(real, *pair), _added(real, *pair)
        taken = np.maximum(drawn**2 - more, 0) > association**2
        if taken.any():
            alike = _alike(_joint(real, *pair), _joint(fake, *pair))
            total += np.where(taken, alike, 0.0)
            count += taken
    return np.asarray(np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0))


def _added(side: Side, first: int, second: int) -> float:
    """Return what resampling adds to the square of Cramér's V: most levels less one, by n."""
    levels = [len(np.unique(_coded(side, place)[0])) for place in (first, second)]
    return (max(levels) - 1) / len(side)


def _alike(real: Floats, fake: Floats) -> Floats:
    return np.asarray(1 - np.abs(real - fake).sum(axis=1) / 2)


def _cramer(side: Side, first: int, second: int) -> Floats:
    """Return Cramér's V of two columns, gaps being a level, (R,); 0 where one has one level."""
    width = _coded(side, second)[1]
    shares = _joint(side, first, second)
    tables = shares.reshape(len(shares), -1, width)
    rows, columns = tables.sum(axis=2), tables.sum(axis=1)
    expected = rows[:, :, None] * columns[:, None, :]
    square = np.divide(
        (tables - expected) ** 2, expected, out=np.zeros_like(tables), where=expected > 0
    )
    levels = np.minimum((rows > 0).sum(axis=1), (columns > 0).sum(axis=1))
    chi2 = square.sum(axis=(1, 2))
    return np.asarray(
        np.sqrt(np.divide(chi2, levels - 1, out=np.zeros_like(chi2), where=levels > 1))
    )


def _correlations(side: Side) -> Floats:
    """Return Pearson's correlation of every pair of numbers, of those who have both, (R, pairs)."""
    first, second = np.triu_indices(len(side.numbers), 1)
    there = ~np.isnan(side.numbers)
    values = np.where(there, side.numbers, 0.0)
    totals = there.sum(axis=1, keepdims=True)
    values = np.where(there, values - values.sum(axis=1, keepdims=True) / np.maximum(totals, 1), 0)
    spread = np.sqrt((values**2).sum(axis=1, keepdims=True) / np.maximum(totals, 1))
    values = np.divide(values, spread, out=np.zeros_like(values), where=spread > 0)
    mask, square = there.astype(float), values**2
    found = np.empty((len(side.weights), len(first)))
    for row, weights in enumerate(side.weights.astype(float)):
        n, sums = (mask * weights) @ mask.T, (values * weights) @ mask.T
        squares, products = (square * weights) @ mask.T, (values * weights) @ values.T
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = sums / n
            variance = squares / n - mean**2
            variance[variance < 1e-12] = np.nan
            found[row] = ((products / n - mean * mean.T) / np.sqrt(variance * variance.T))[
                first, second
            ]
    return found


def _pairs(side: Side) -> Iterator[tuple[int, int]]:
    """Yield pairs of columns of which one at least has levels; numbers come first."""
    p, q = len(side.numbers), len(side.levels)
    for second in range(p, p + q):
        for first in range(second):
            yield first, second


def _joint(side: Side, first: int, second: int) -> Floats:
    """Return the contingency table of two columns as shares, laid out in a row, (R, cells)."""
    (mine, width), (theirs, other) = (_coded(side, place) for place in (first, second))
    counts = _counts(side, mine * other + theirs, width * other)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def _coded(side: Side, place: int) -> tuple[Ints, int]:
    p = len(side.numbers)
    if place < p:
        return side.bins[place], BINS + 2
    width = side.widths[place - p]
    codes = side.levels[place - p]
    return np.where(codes < 0, width, codes), width + 1


def _counts(side: Side, codes: Ints, width: int) -> Floats:
    """Return the weight of every code, (R, width); -1 is nobody's."""
    there = codes >= 0
    if len(side.weights) == 1:
        mine = side.weights[0, there].astype(np.float64)
        return np.asarray(np.bincount(codes[there], mine, minlength=width)[None, :width], float)
    order = np.argsort(codes, kind="stable")
    passed = np.zeros((len(side.weights), len(codes) + 1), np.int64)
    np.cumsum(side.weights[:, order], axis=1, dtype=np.int64, out=passed[:, 1:])
    cuts = np.searchsorted(codes[order], np.arange(width + 1))
    return np.diff(passed[:, cuts], axis=1).astype(np.float64)


def _mean(found: Sequence[Floats], rows: int) -> Floats:
    """Average over columns or pairs; where it is not defined in a draw, one is as it was."""
    if not found:
        return np.full(rows, np.nan)
    return np.asarray(mended(np.stack(list(found))).mean(axis=0))
