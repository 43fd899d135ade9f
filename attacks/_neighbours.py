"""How far is it from the targets to the closest records?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from fedbench.attack import Knowledge, PublicChallenge, Sight
from fedbench.data import Feature, Schema
from fedbench.errors import Unsupported

__all__ = ["MOST", "closest", "nearest", "tied", "to_reference", "to_release", "units"]

MOST = 50
"""How many neighbours of each target are looked up."""

_ROWS, _COLUMNS = 64, 4096  # a block of float32 distances that stays in the processor's cache
_FAR = np.float32(1e9)  # where missing numbers lie: together, and a full unit from all others
_MIDDLE = (5, 95)  # percent

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def to_release(sight: Sight, challenge: PublicChallenge) -> Floats:
    """Return each target's distances to the closest released records, looked up once for all."""
    return sight.shared(
        "neighbours in the release",
        challenge,
        {Knowledge.SYNTHETIC},
        lambda seen: _look(seen.schema, challenge, seen.synthetic.table, seen.synthetic.table),
    )


def to_reference(sight: Sight, challenge: PublicChallenge) -> Floats:
    """Return distances to the closest reference patients, in the release's units.

    Raises:
        Unsupported: the attacker has none.
    """
    if not len(sight.reference):
        raise Unsupported("The attacker has no reference patients to compare with.")
    return sight.shared(
        "neighbours in the reference",
        challenge,
        {Knowledge.SYNTHETIC, Knowledge.REFERENCE},
        lambda seen: _look(seen.schema, challenge, seen.reference.table, seen.synthetic.table),
    )


def _look(
    schema: Schema, challenge: PublicChallenge, among: pd.DataFrame, release: pd.DataFrame
) -> Floats:
    return nearest(schema, challenge.targets, among, units(schema, release), MOST)


def closest(
    schema: Schema, targets: pd.DataFrame, released: pd.DataFrame, unit: Mapping[str, float]
) -> Floats:
    """Return each target's distance to the closest released record; 1 where there is none."""
    found = nearest(schema, targets, released, unit, 1)
    return found[:, 0] if found.size else np.ones(len(targets))


def nearest(
    schema: Schema,
    targets: pd.DataFrame,
    released: pd.DataFrame,
    unit: Mapping[str, float],
    most: int,
) -> Floats:
    """Return each target's Gower distances to the closest records, exactly.

    The mean over columns of: for numbers the difference in units, at most 1; for categories
    whether they differ; missing is a value of its own, so two missing values are 0 apart and
    a missing one is 1 from any other. All targets are measured on one scale, which is what
    makes their distances comparable. Identical records are exactly 0 apart.

    Gower 1971 (https://doi.org/10.2307/2528823), where missing values are left out instead:
    then an empty record would be close to everybody. With the range of the released records
    as unit it is SDMetrics' DCR.

    Args:
        schema: names the columns and their public ranges.
        targets: a patient table.
        released: a patient table.
        unit: for each numeric column, the difference that counts as a full one.
        most: how many records are looked for.

    Returns:
        Shape ``(len(targets), min(most, len(released)))``, ascending in each row.
    """
    best = np.full((len(targets), min(most, len(released))), np.inf, np.float32)
    for left, _, total in _totals(schema, targets, released, unit):
        best[left] = _least(best[left], total)
    return np.sort(best, axis=1).astype(np.float64) / max(
        len(_shared(schema, targets, released)), 1
    )


def tied(
    schema: Schema, targets: pd.DataFrame, released: pd.DataFrame, unit: Mapping[str, float]
) -> sparse.csr_array:
    """Return which records are closest to each target, sharing 1 between those equally close.

    Distances are those of ``nearest``. The shape is ``(len(targets), len(released))``.
    """
    least = np.full(len(targets), np.inf, np.float32)
    found: list[tuple[Ints, Ints, NDArray[np.float32]]] = []
    for left, right, total in _totals(schema, targets, released, unit):
        least[left] = np.minimum(least[left], total.min(axis=1))
        rows, columns = np.nonzero(total <= least[left][:, None])
        found.append((rows + left.start, columns + right.start, total[rows, columns]))
    if not found:
        return sparse.csr_array((len(targets), len(released)))
    rows, columns, totals = (np.concatenate(each) for each in zip(*found, strict=True))
    closest_ones = totals == least[rows]
    rows, columns = rows[closest_ones], columns[closest_ones]
    share = 1 / np.bincount(rows, minlength=len(targets))[rows]
    return sparse.csr_array((share, (rows, columns)), shape=(len(targets), len(released)))


def _shared(schema: Schema, targets: pd.DataFrame, released: pd.DataFrame) -> list[Feature]:
    return [f for f in schema.features if f.name in targets and f.name in released]


def _totals(
    schema: Schema, targets: pd.DataFrame, released: pd.DataFrame, unit: Mapping[str, float]
) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
    """Yield blocks of targets, of records, and their distances, summed over the columns."""
    features = _shared(schema, targets, released)
    numbers = [f for f in features if f.column.kind != "category"]
    categories = [f for f in features if f.column.kind == "category"]
    mine, theirs = (_places(t, numbers, unit) for t in (targets, released))
    levels, their_levels = (_indicators(t, categories) for t in (targets, released))
    for right in _blocks(len(released), _COLUMNS):
        columns, flags = np.ascontiguousarray(theirs[right].T), their_levels[right].T
        for left in _blocks(len(targets), _ROWS):
            # Counts of equal categories are whole numbers, so this product is exact.
            total = np.float32(len(categories)) - levels[left] @ flags
            _add_differences(total, mine[left], columns)
            yield left, right, total


def units(schema: Schema, released: pd.DataFrame) -> Mapping[str, float]:
    """Return what counts as a full difference: the middle 90 % of what was released.

    The public range would do for a column that fills it; laboratory values do not, and their
    differences would drown among those of the categories. It is what is left where the
    release has a single value. Columns that the schema calls logarithmic are measured in logs.
    """
    return {
        feature.name: _unit(feature, _numbers(released, feature))
        for feature in schema.features
        if feature.column.kind != "category"
    }


def _unit(feature: Feature, values: NDArray[np.float64]) -> float:
    found = values[np.isfinite(values)]
    if found.size:
        low, high = np.percentile(found, _MIDDLE)
        if high > low:
            return float(high - low)
    column = feature.column
    ends = (np.log(column.low), np.log(column.high)) if column.log else (column.low, column.high)
    return float(ends[1] - ends[0])


def _numbers(table: pd.DataFrame, feature: Feature) -> NDArray[np.float64]:
    values = table[feature.name].to_numpy(dtype=np.float64)
    if not feature.column.log:
        return values
    return np.asarray(np.log(np.maximum(values, np.finfo(np.float64).tiny)))  # NaN stays NaN


def _places(
    table: pd.DataFrame, numbers: Iterable[Feature], unit: Mapping[str, float]
) -> NDArray[np.float32]:
    """Numbers in units, counted from the public lower end so that float32 suffices."""
    columns = [np.empty((len(table), 0))]
    for feature in numbers:
        column = feature.column
        start = np.log(column.low) if column.log else column.low
        columns.append(((_numbers(table, feature) - start) / unit[feature.name])[:, None])
    places = np.hstack(columns).astype(np.float32)
    return np.where(np.isnan(places), _FAR, places)


def _indicators(table: pd.DataFrame, categories: Iterable[Feature]) -> NDArray[np.float32]:
    """One column per level and one for missing."""
    columns = [np.empty((len(table), 0), np.float32)]
    for feature in categories:
        codes = pd.Categorical(table[feature.name], categories=list(feature.column.levels)).codes
        columns.append(np.eye(len(feature.column.levels) + 1, dtype=np.float32)[codes])
    return np.hstack(columns)


def _least(before: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the smallest of each row of both, in no order."""
    most = before.shape[1]
    if most == 1:
        return np.asarray(np.minimum(before, found.min(axis=1, keepdims=True)))
    if found.shape[1] > most:
        found = np.partition(found, most - 1, axis=1)[:, :most]
    return np.partition(np.hstack([before, found]), most - 1, axis=1)[:, :most]


def _add_differences(
    total: NDArray[np.float32], mine: NDArray[np.float32], theirs: NDArray[np.float32]
) -> None:
    gap = np.empty_like(total)
    for place, column in zip(mine.T, theirs, strict=True):
        np.subtract(place[:, None], column, out=gap)
        np.clip(gap, -1, 1, out=gap)  # half the time of `minimum`, which looks for NaN
        np.abs(gap, out=gap)
        total += gap


def _blocks(n: int, size: int) -> Iterable[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
