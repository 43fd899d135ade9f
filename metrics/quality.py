"""The score that users of SDMetrics know, with an interval and without subsampling."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from annotated_types import Ge, Le
from numpy.typing import NDArray

from fedbench.metric import Anchors, Evidence, Family, Measure, Metric, Refusal, View
from fedbench.metrics._draws import Floats, draws, measured, mended
from fedbench.metrics._ends import ends
from fedbench.metrics._values import Values, distances
from fedbench.seeds import Rng
from fedbench.stats import percentile

__all__ = ["Quality", "Related", "Side", "shapes", "trends"]

Ints = NDArray[np.int64]
Weights = NDArray[np.uint8]

BINS = 10


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
    more.

    Intervals are about the score that as many other patients, real and synthetic, would have on
    average, choices included, not about what endless many would have. So replicates of trends
    choose their own pairs and bins: ranges vary from sample to sample far more than counts do,
    and more patients hardly help. Ends of ranges are drawn by ``ends``, with everyone counted
    once, and what they change is added to what weights change. Intervals are symmetric, with the
    longer of two arms, as either tail may be that of the truth, and so are replicates. Where a
    side has more than ``records`` patients, weights are of so many of them, drawn by ``rng``, and
    scaled to all.

    SDMetrics: https://docs.sdv.dev/sdmetrics.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "higher"
    version: ClassVar[int] = 4
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")

    records: Annotated[int, Ge(10)] = 2000
    correlation: Annotated[float, Ge(0), Le(1)] = 0.5
    association: Annotated[float, Ge(0), Le(1)] = 0.3

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        views, n = (evidence.test, evidence.synthetic), len(evidence.test)
        parts = ("shapes", "trends")
        real, fake = (Side.of(view.table, np.ones((1, len(view)), np.uint8)) for view in views)
        chosen = Related.of(real, self.correlation, self.association)
        exact = [shapes(real, fake), trends(real, fake, chosen)]
        drawn = [Drawn.of(view, self.records, rng) for view in views]
        again = [
            # Of two sides, the one that lost most says how much less all of them vary.
            min(one.pull for one in drawn) * shapes(drawn[0].side, drawn[1].side),
            redrawn(drawn[0], drawn[1], self.correlation, self.association),
        ]
        found = {
            part: np.append(value, value + rows - _middle(rows))
            for part, (value,), rows in zip(parts, exact, (r[1:] for r in again), strict=True)
            if np.isfinite(value)
        }
        if not found:
            return [Refusal(reason="no column can be compared", status="not applicable")]
        found[""] = np.nanmean(list(found.values()), axis=0)  # a draw may choose no pair
        return [_evened(measured(rows, n, part=part)) for part, rows in found.items()]


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


def _evened(found: Measure) -> Measure:
    """Return the measure with limits equally far from its value, within its scale.

    So are its replicates, in the order that they have, as those of gains and differences are made
    of them: each pair of the j-th from below and from above lies as far out as the one that does.
    """
    if found.replicates is None or math.isnan(found.low):
        return found
    rows = found.replicates.copy()
    order = np.argsort(rows)[: int(np.isfinite(rows).sum())]
    away = rows[order] - found.value
    arm = np.maximum(-away, away[::-1])[: (len(away) + 1) // 2]
    even = np.concatenate([-arm, arm[::-1][len(away) % 2 :]])
    even[len(away) // 2] *= 1 - len(away) % 2  # of an odd number the middle one is the value
    rows[order] = found.value + even
    limits = percentile(found.value, rows)
    low, high = max(limits.low, found.least), min(limits.high, found.most)
    return replace(found, low=low, high=high, replicates=rows)


def _middle(rows: Floats) -> float:
    known = rows[np.isfinite(rows)]
    return float(known.mean()) if len(known) else math.nan


def _edges(values: Floats) -> Floats:
    return np.histogram_bin_edges(values[~np.isnan(values)], bins=BINS)


def _binned(values: Floats) -> Ints:
    return np.digitize(values, _edges(values)).astype(np.int64)


@dataclass(frozen=True)
class Drawn:
    """A side, or some of its patients who stand for all, as other patients would be.

    ``pull`` draws counts towards those of everyone, for patients who stand for more than
    themselves vary less. ``order`` (p, n) sorts all patients by each number; ``places``
    (p, 1 + B, 12) cut that order into bins, the known ones first, then those that end where the
    numbers of other patients would.
    """

    side: Side
    pull: float
    whole: Side
    order: Ints
    places: Ints

    @classmethod
    def of(cls, view: View, most: int, rng: Rng) -> Drawn:
        """Draw ends from all patients, and ``most`` of them for weights."""
        whole, n = Side.of(view.table, draws(view)), len(view)
        order = np.argsort(whole.numbers, axis=1, kind="stable")
        places = np.zeros((len(order), len(whole.weights), BINS + 2), np.int64)
        for mine, rows, values in zip(places, order, whole.numbers, strict=True):
            mine[:, 1:-1] = np.searchsorted(
                values[rows], _drawn_edges(values, len(mine), rng)[:, 1:]
            )
        places[:, :, -1] = n
        if n <= most:
            return cls(whole, 1.0, whole, order, places)
        some = np.sort(rng.permutation(n)[:most])
        side = Side.of(view.table.iloc[some], whole.weights[:, some])
        return cls(side, math.sqrt(most / n), whole, order, places)

    def joint(self, first: int, second: int) -> Floats:
        """Return what ``_joint`` does, of bins as they are known."""
        found = _joint(self.side, first, second)
        return np.asarray(found[:1] + self.pull * (found - found[:1]))

    def ended(self, first: int, second: int) -> Floats:
        """Return the same of a number in the drawn bins and of levels, everyone counted once."""
        codes, width = _coded(self.whole, second)
        below = np.zeros((len(codes) + 1, width))
        np.cumsum(codes[self.order[first], None] == np.arange(width), axis=0, out=below[1:])
        return np.asarray(np.diff(below[self.places[first]], axis=1) / len(codes))


def _drawn_edges(values: Floats, rows: int, rng: Rng) -> Floats:
    """Return edges of bins, the known ones first, (rows, 11)."""
    edges = np.tile(_edges(values), (rows, 1))
    low, high = ends(values, rows - 1, rng).T[:, :, None]
    found = low + (high - low) * np.arange(BINS + 1) / BINS
    edges[1:] = np.where(high > low, found, edges[1:])
    return edges


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
        others = (pair for pair in _pairs(real) if _strength(plain, *pair) > association)
        return cls(np.flatnonzero(near > correlation), tuple(others))


def trends(real: Side, fake: Side, chosen: Related) -> Floats:
    """Return the column pair trends of these pairs under each row of weights, ``(R,)``."""
    apart = [_correlations(side)[:, chosen.numbers] for side in (real, fake)]
    similar = 1 - np.abs(apart[0] - apart[1]) / 2
    found = [column for column in similar.T if np.isfinite(column[0])]
    found += [_alike(_joint(real, *pair), _joint(fake, *pair)) for pair in chosen.others]
    return _mean(found, len(real.weights))


def redrawn(real: Drawn, fake: Drawn, correlation: float, association: float) -> Floats:
    """Return the trends where every row of weights chooses its own pairs and bins, (1 + B,).

    Resampling adds to associations and takes from likeness, so replicates are shifted to those
    of all patients. NaN in rows that choose no pair.
    """
    sides = [one.whole.plain for one in (real, fake)]
    known = [_correlations(side)[0] for side in sides]
    apart = [_correlations(one.side, one.pull) for one in (real, fake)]
    similar = _shifted(1 - np.abs(apart[0] - apart[1]) / 2, 1 - np.abs(known[0] - known[1]) / 2)
    chosen = _shifted(np.abs(apart[0]), np.abs(known[0])) > correlation
    chosen &= np.isfinite(similar)
    total, count = np.where(chosen, similar, 0.0).sum(axis=1), chosen.sum(axis=1)
    for pair in _pairs(real.whole):
        tables = [_joint(side, *pair) for side in sides]
        near = float(_cramer(tables[0])[0])
        # Drawing n patients again moves it by no more than a few times 1/√n.
        if near + 4 / math.sqrt(len(real.side)) <= association:
            continue
        mine, (nearer, moved) = real.joint(*pair), _by_ends(real, fake, pair)
        taken = _shifted(_cramer(mine), near) + nearer > association
        if taken.any():
            alike = _shifted(_alike(mine, fake.joint(*pair)), float(_alike(*tables)[0]))
            total += np.where(taken, alike + moved, 0.0)
            count += taken
    return np.asarray(np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0))


def _by_ends(real: Drawn, fake: Drawn, pair: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return by how much other ends of bins move Cramér's V and likeness of a pair, (1 + B,)."""
    if pair[0] >= len(real.side.numbers):
        return np.zeros(len(real.side.weights)), np.zeros(len(real.side.weights))
    mine, theirs = real.ended(*pair), fake.ended(*pair)
    return _shifted(_cramer(mine), 0.0), _shifted(_alike(mine, theirs), 0.0)


def _shifted(rows: Floats, known: Floats | float) -> Floats:
    """Return replicates with the known value as their mean, (1 + B, ...)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing but NaN
        return np.asarray(rows + (known - np.nanmean(rows[1:], axis=0)))


def _alike(real: Floats, fake: Floats) -> Floats:
    return np.asarray(1 - np.abs(real - fake).sum(axis=(1, 2)) / 2)


def _strength(side: Side, first: int, second: int) -> float:
    """Return Cramér's V of two columns, gaps being a level."""
    return float(_cramer(_joint(side, first, second))[0])


def _cramer(tables: Floats) -> Floats:
    """Return Cramér's V of tables of shares (R, q, r), (R,); 0 where one side has one level."""
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


def _correlations(side: Side, pull: float = 1.0) -> Floats:
    """Return Pearson's correlation of every pair of numbers, of those who have both, (R, pairs).

    ``pull`` draws weights towards 1.
    """
    first, second = np.triu_indices(len(side.numbers), 1)
    there = ~np.isnan(side.numbers)
    values = np.where(there, side.numbers, 0.0)
    totals = there.sum(axis=1, keepdims=True)
    values = np.where(there, values - values.sum(axis=1, keepdims=True) / np.maximum(totals, 1), 0)
    spread = np.sqrt((values**2).sum(axis=1, keepdims=True) / np.maximum(totals, 1))
    values = np.divide(values, spread, out=np.zeros_like(values), where=spread > 0)
    mask, square = there.astype(float), values**2
    found = np.empty((len(side.weights), len(first)))
    for row, weights in enumerate(1 + pull * (side.weights.astype(float) - 1)):
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
    """Return the contingency table of two columns as shares, (R, levels, levels)."""
    (mine, width), (theirs, other) = (_coded(side, place) for place in (first, second))
    counts = _counts(side, mine * other + theirs, width * other)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True)).reshape(-1, width, other)


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
    cuts = np.searchsorted(codes[order], np.arange(width + 1))
    return np.diff(_passed(side, order)[:, cuts], axis=1).astype(np.float64)


def _passed(side: Side, order: Ints) -> NDArray[np.int32]:
    """Return the weight of those who come before each place of an order, (R, n + 1)."""
    passed = np.zeros((len(side.weights), len(order) + 1), np.int32)
    np.cumsum(side.weights[:, order], axis=1, dtype=np.int32, out=passed[:, 1:])
    return passed


def _mean(found: Sequence[Floats], rows: int) -> Floats:
    """Average over columns or pairs; where it is not defined in a draw, one is as it was."""
    if not found:
        return np.full(rows, np.nan)
    return np.asarray(mended(np.stack(list(found))).mean(axis=0))
