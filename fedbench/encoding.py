"""The encoder that sites agree on from counts alone, and the records it encodes.

Bounds, bins and vocabularies are public (the schema). Sites send counts per bin and level;
their sum is the encoder. No record, quantile or list of values leaves a site.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from fedbench.data import Cohort, Feature, Part, Schema, cohort_from_table

__all__ = ["BINS", "Encoder", "Records", "edges", "indicators", "settled", "summarize"]

BINS = 64
"""Bins of a numeric column on its public range, without those of the bounds themselves."""

_EDGE = 1e-6
"""How close to the edge of a bin a value may lie, as a share of the bin."""

_WIDTH = 1e-9
"""Half the width of the bin around a public bound, as a share of the range."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Records:
    """Encoded patients.

    ``numbers`` are normal scores, shape ``(n, p)``, 0 where there is no value; ``missing`` says
    where a value could be but is not; ``applies`` is false where there was no visit that could
    have measured it. ``levels`` are category indices, shape ``(n, q)``; the last index of a
    column stands for missing. ``levels_apply`` is to ``levels`` what ``applies`` is to numbers.
    """

    keys: NDArray[np.uint64]
    numbers: Floats
    missing: Bools
    applies: Bools
    levels: Ints
    levels_apply: Bools

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: slice | Ints) -> Records:
        """Return these rows."""
        return Records(
            self.keys[rows],
            self.numbers[rows],
            self.missing[rows],
            self.applies[rows],
            self.levels[rows],
            self.levels_apply[rows],
        )

    def blocks(self, size: int = 4096) -> Iterator[Records]:
        """Yield the records in blocks, so that per-patient features stay small.

        Without any patient that is one block, so that sums over nobody have the usual shape.
        """
        for start in range(0, max(len(self), 1), size):
            yield self.take(slice(start, start + size))


def edges(feature: Feature) -> Floats:
    """Return the public bin edges of a numeric feature.

    Integers on a short range get one bin each, so that they come back exactly; longer ranges are
    cut between integers. The public bounds always have bins of their own, because this is where
    values pile up: nothing found, the top of a scale, the end of follow-up.
    """
    column = feature.column
    space = np.geomspace if column.log else np.linspace
    if column.kind == "integer":
        low, high = np.floor(column.low), np.ceil(column.high)
        if high - low < BINS:
            return np.arange(low - 0.5, high + 1.0)
        inner = np.floor(space(low, high, BINS + 1)) + 0.5
        return np.unique([low - 0.5, *inner[:-1], high - 0.5, high + 0.5])
    inner = space(column.low, column.high, BINS + 1)[1:-1]
    low, high = _bounds(feature)
    return np.asarray([2 * column.low - low, low, *inner, high, 2 * column.high - high])


def summarize(cohort: Cohort) -> Mapping[str, Floats]:
    """Return the counts a site sends so that an encoder can be agreed.

    One array per feature. Numbers: one row per level of the feature they are described within
    (usually a single row), counts per bin, last column missing. Categories: counts per level,
    last entry missing. Patients to whom a feature does not apply are not counted.
    """
    return {
        feature.name: _counted(cohort, feature).astype(np.float64)
        for feature in cohort.schema.features
    }


def indicators(cohort: Cohort) -> Mapping[str, NDArray[np.float32]]:
    """Return what each patient adds to the counts of ``summarize``; the first axis is patients."""
    found = {}
    for feature in cohort.schema.features:
        applies, place, shape = _placed(cohort, feature)
        flat = np.zeros((len(cohort), math.prod(shape)), dtype=np.float32)
        flat[np.flatnonzero(applies), place] = 1.0
        found[feature.name] = flat.reshape(len(cohort), *shape)
    return found


def _counted(cohort: Cohort, feature: Feature) -> Ints:
    _, place, shape = _placed(cohort, feature)
    return np.bincount(place, minlength=math.prod(shape)).reshape(shape)


def _placed(cohort: Cohort, feature: Feature) -> tuple[Bools, Ints, tuple[int, ...]]:
    """Return to whom a feature applies, where in its counts they are, and their shape."""
    table = cohort.table
    applies = _applies(table, feature)
    if feature.column.kind == "category":
        codes = table[feature.name].cat.codes.to_numpy()[applies].astype(np.int64)
        size = len(feature.column.levels)
        return applies, np.where(codes < 0, size, codes), (size + 1,)
    rows = _rows(table, feature)[applies]
    values = table[feature.name].to_numpy(dtype=float)[applies]
    cuts = edges(feature)
    bins = len(cuts) - 1
    place = np.where(np.isnan(values), bins, _bin(values, cuts))
    shape = (_height(cohort.schema, feature), bins + 1)
    return applies, rows * (bins + 1) + place, shape


def settled(schema: Schema, counts: Mapping[str, Floats], patients: float) -> dict[str, Floats]:
    """Return noised counts as counts that could have been.

    The nearest counts (Euclidean) without negative ones that add up to how many patients the
    feature applies to, which other features tell. Looks at nothing but what was released.
    """
    found: dict[str, Floats] = {}

    def settle(feature: Feature) -> Floats:
        name = feature.name
        if name not in found:
            total = patients
            if feature.needs:
                needed = settle(schema.feature(feature.needs))
                total = float(needed.sum() - needed[..., -1].sum())
            # Whatever else is not known of a patient, how her follow-up ended is.
            seen = counts[name][..., :-1] if feature.part is Part.OUTCOME else counts[name]
            if feature.given and not feature.needs:
                levels = settle(schema.feature(feature.given))
                sizes = levels[:-1] + np.eye(len(levels) - 1)[0] * levels[-1]
                rows = zip(seen, sizes.tolist(), strict=True)
                mine = np.stack([_nearest(row, size) for row, size in rows])
            else:
                mine = _nearest(seen.ravel(), total).reshape(seen.shape)
            found[name] = np.zeros_like(counts[name])
            found[name][..., : mine.shape[-1]] = mine
        return found[name]

    return {feature.name: settle(feature) for feature in schema.features}


def _nearest(values: Floats, total: float) -> Floats:
    """Return the nearest numbers that are not negative and add up to ``total``.

    >>> _nearest(np.array([3.0, 1.0, -1.0]), 2.0).tolist()
    [2.0, 0.0, 0.0]
    """
    falling = np.sort(values)[::-1]
    cuts = (np.cumsum(falling) - total) / np.arange(1, len(values) + 1)
    last = int(np.flatnonzero(falling > cuts)[-1]) if total > 0 else 0
    return np.maximum(values - cuts[last], 0.0) if total > 0 else np.zeros_like(values)


@dataclass(frozen=True)
class Encoder:
    """What the sites agreed on: counts per bin and level, summed over all of them."""

    schema: Schema
    counts: Mapping[str, Floats]

    @cached_property
    def digest(self) -> str:
        """Stands for this encoder; later messages carry it."""
        digest = hashlib.sha256()
        for name in sorted(self.counts):
            digest.update(name.encode() + np.ascontiguousarray(self.counts[name]).tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def numbers(self) -> tuple[Feature, ...]:
        """The numeric features, in the order of ``Records.numbers``."""
        return tuple(f for f in self.schema.features if f.column.kind != "category")

    @cached_property
    def categories(self) -> tuple[Feature, ...]:
        """The categories, in the order of ``Records.levels``."""
        return tuple(f for f in self.schema.features if f.column.kind == "category")

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """How many levels each category has, missing included."""
        return tuple(len(feature.column.levels) + 1 for feature in self.categories)

    @cached_property
    def possible(self) -> tuple[Bools, ...]:
        """Per category, the levels that at least one patient has."""
        return tuple(_some(self.counts[feature.name]) for feature in self.categories)

    @cached_property
    def shares(self) -> tuple[Floats, ...]:
        """Per category, the share of each level, missing included; they add up to 1."""
        counts = [self.counts[feature.name] for feature in self.categories]
        return tuple(
            count / count.sum() if count.any() else possible.astype(np.float64)
            for count, possible in zip(counts, self.possible, strict=True)
        )

    @cached_property
    def missing_rates(self) -> Floats:
        """Per numeric feature, the share without a value among those to whom it applies."""
        totals = [self.counts[feature.name].sum(axis=0) for feature in self.numbers]
        return np.array([total[-1] / total.sum() if total.sum() else 1.0 for total in totals])

    def encode(self, cohort: Cohort) -> Records:
        """Return the patients of a cohort as scores, bits and levels."""
        table, n = cohort.table, len(cohort)
        numbers, missing, applies = _empty(n, len(self.numbers))
        for j, feature in enumerate(self.numbers):
            values = table[feature.name].to_numpy(dtype=float)
            applies[:, j] = _applies(table, feature)
            missing[:, j] = np.isnan(values) & applies[:, j]
            scores = self.scores(feature, values, _rows(table, feature))
            numbers[:, j] = np.where(np.isnan(values), 0.0, scores)
        levels = np.empty((n, len(self.categories)), dtype=np.int64)
        levels_apply = np.empty(levels.shape, dtype=bool)
        for j, feature in enumerate(self.categories):
            codes = table[feature.name].cat.codes.to_numpy().astype(np.int64)
            levels[:, j] = np.where(codes < 0, self.widths[j] - 1, codes)
            levels_apply[:, j] = _applies(table, feature)
        return Records(cohort.keys, numbers, missing, applies, levels, levels_apply)

    def decode(self, numbers: Floats, missing: Bools, levels: Ints) -> Cohort:
        """Write encoded patients as a cohort.

        Never leaves the public range, and never writes a level or a gap that nobody has.
        """
        codes = {
            feature.name: self._codes(j, levels[:, j]) for j, feature in enumerate(self.categories)
        }
        columns: dict[str, object] = {
            feature.name: pd.Categorical.from_codes(
                codes[feature.name], dtype=pd.CategoricalDtype(list(feature.column.levels))
            )
            for feature in self.categories
        }
        for j, feature in enumerate(self.numbers):
            rows = np.zeros(len(numbers), dtype=np.int64)
            if feature.given:
                rows = np.maximum(codes[feature.given], 0)
            values = self.values(feature, numbers[:, j], rows)
            gone = missing[:, j] & (self.missing_rates[j] > 0) | (self.missing_rates[j] >= 1)
            columns[feature.name] = np.where(gone, np.nan, values)
        width = len(str(max(len(numbers) - 1, 0)))
        patients = [f"s{i:0{width}d}" for i in range(len(numbers))]
        frame = pd.DataFrame({f.name: columns[f.name] for f in self.schema.features})
        return cohort_from_table(self.schema, frame.set_index(pd.Index(patients, name="patient")))

    def _codes(self, column: int, levels: Ints) -> Ints:
        """Return pandas codes; a level that nobody has becomes the most frequent one."""
        usual = int(np.argmax(self.shares[column]))
        levels = np.where(self.possible[column][levels], levels, usual)
        return np.where(levels == self.widths[column] - 1, -1, levels)

    def scores(self, feature: Feature, values: Floats, rows: Ints) -> Floats:
        """Mid-rank normal scores under the summed distribution."""
        cuts, counts = edges(feature), self._filled(feature)
        place = _bin(values, cuts)
        below = np.concatenate([np.zeros((len(counts), 1)), counts.cumsum(axis=1)], axis=1)
        start, end = (_scale(feature, cuts)[place + side] for side in (0, 1))
        # Never on an edge: rounding would land beyond it, and beyond may be a long empty stretch.
        inside = np.clip((_scale(feature, values) - start) / (end - start), _EDGE, 1 - _EDGE)
        total = below[rows, -1]
        share = (below[rows, place] + inside * counts[rows, place]) / total
        return np.asarray(ndtri(np.clip(share, 0.5 / (total + 1), 1 - 0.5 / (total + 1))))

    def values(self, feature: Feature, scores: Floats, rows: Ints) -> Floats:
        """Values at these normal scores: the inverse of ``scores``, up to one bin."""
        cuts, counts = edges(feature), self._filled(feature)
        below = counts.cumsum(axis=1)
        values = np.empty(len(scores))
        for row in range(len(counts)):
            mine = rows == row
            target = ndtr(scores[mine]) * below[row, -1]
            place = np.searchsorted(below[row], target, side="right")
            place = np.minimum(place, np.flatnonzero(counts[row])[-1])
            inside = (target - below[row, place] + counts[row, place]) / counts[row, place]
            start, end = (_scale(feature, cuts)[place + side] for side in (0, 1))
            inside = np.clip(inside, _EDGE, 1 - _EDGE)
            values[mine] = _unscale(feature, start + inside * (end - start))
        return _tidied(feature, values)

    def _filled(self, feature: Feature) -> Floats:
        """Counts per bin; a row that nobody is in borrows the sum, or else is uniform."""
        counts = self.counts[feature.name][:, :-1]
        pooled = counts.sum(axis=0) if counts.sum() else np.ones(counts.shape[1])
        return np.where(counts.sum(axis=1, keepdims=True) > 0, counts, pooled)


def _applies(table: pd.DataFrame, feature: Feature) -> Bools:
    if feature.needs is None:
        return np.ones(len(table), dtype=bool)
    return table[feature.needs].notna().to_numpy()


def _rows(table: pd.DataFrame, feature: Feature) -> Ints:
    if feature.given is None:
        return np.zeros(len(table), dtype=np.int64)
    return np.maximum(table[feature.given].cat.codes.to_numpy().astype(np.int64), 0)


def _height(schema: Schema, feature: Feature) -> int:
    return len(schema.feature(feature.given).column.levels) if feature.given else 1


def _bounds(feature: Feature) -> tuple[float, float]:
    """Values up to the first are the lower bound, values from the second on the upper bound."""
    low, high = feature.column.low, feature.column.high
    if feature.column.log:
        return low * (1 + _WIDTH), high * (1 - _WIDTH)
    return low + _WIDTH * (high - low), high - _WIDTH * (high - low)


def _tidied(feature: Feature, values: Floats) -> Floats:
    low, high = feature.column.low, feature.column.high
    if feature.column.kind == "integer":
        return np.clip(np.round(values), low, high)
    bottom, top = _bounds(feature)
    return np.where(values <= bottom, low, np.where(values >= top, high, values))


def _bin(values: Floats, cuts: Floats) -> Ints:
    return np.clip(np.searchsorted(cuts, values, side="right") - 1, 0, len(cuts) - 2)


def _scale(feature: Feature, values: Floats) -> Floats:
    return np.log(values) if feature.column.log else values


def _unscale(feature: Feature, values: Floats) -> Floats:
    return np.exp(values) if feature.column.log else values


def _some(counts: Floats) -> Bools:
    there = counts > 0
    # A column nobody fills in is missing everywhere.
    return there if there.any() else np.arange(len(counts)) == len(counts) - 1


def _empty(n: int, width: int) -> tuple[Floats, Bools, Bools]:
    return np.zeros((n, width)), np.zeros((n, width), dtype=bool), np.zeros((n, width), dtype=bool)
