"""Canaries: records that nobody has, within what anybody may have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fedbench.attack import Planting
from fedbench.data import Cohort, Feature, Schema, cohort_from_table
from fedbench.encoding import Encoder, edges
from fedbench.errors import Unsupported
from fedbench.seeds import Rng

__all__ = ["Auditing"]

_EXCHANGED = 0.3
"""The share of an outlier's columns that are not a patient's."""

_TURNS = 8
"""How often more records are drawn for those that were drawn twice."""


@dataclass(frozen=True, kw_only=True)
class Auditing(Planting):
    """Plants rare combinations of values and outliers that look real, half of each.

    A combination has each column drawn evenly over its public range, whatever the others are. An
    outlier is one of the attacker's own patients with three in ten columns so exchanged; without
    such patients all are combinations. Nothing is outside of the schema: what a generator does
    with unknown values is another question.
    """

    def plant(self, like: Cohort, rng: Rng) -> Cohort:
        outliers = self.canaries // 2 if len(like) else 0
        tables = [_combinations(like.schema, self.canaries - outliers, rng)]
        if outliers:
            tables.append(_outliers(like, outliers, rng))
        return _cohort(like.schema, _distinct(pd.concat(tables), like.schema, rng))


def _combinations(schema: Schema, n: int, rng: Rng) -> pd.DataFrame:
    """Return patients whose every column is drawn evenly over its public range."""
    ruler = Encoder(schema, {feature.name: _even(schema, feature) for feature in schema.features})
    levels = np.column_stack(
        [np.empty((n, 0), np.int64), *(rng.integers(0, width, n) for width in ruler.widths)]
    )
    numbers = rng.standard_normal((n, len(ruler.numbers)))
    return ruler.decode(numbers, np.zeros(numbers.shape, dtype=bool), levels).table


def _even(schema: Schema, feature: Feature) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return counts by which all values are equally frequent, and no number is missing."""
    if feature.column.kind == "category":
        return np.ones(len(feature.column.levels) + 1)
    height = len(schema.feature(feature.given).column.levels) if feature.given else 1
    bins = len(edges(feature)) - 1
    return np.hstack([np.ones((height, bins)), np.zeros((height, 1))])


def _outliers(like: Cohort, n: int, rng: Rng) -> pd.DataFrame:
    """Return patients of whom some columns are exchanged; they may be taken several times."""
    rows = rng.permutation(np.arange(n) % len(like))
    real = like.table.iloc[rows].reset_index(drop=True)
    other = _combinations(like.schema, n, rng)
    exchanged = rng.random(real.shape) < _EXCHANGED
    return pd.DataFrame(
        {
            name: real[name].where(~exchanged[:, at], other[name].to_numpy())
            for at, name in enumerate(real)
        }
    ).astype(real.dtypes)


def _distinct(table: pd.DataFrame, schema: Schema, rng: Rng) -> pd.DataFrame:
    """Replace records that are there twice by other combinations.

    Raises:
        Unsupported: the public ranges do not hold so many.
    """
    for _ in range(_TURNS):
        # As it is written: what does not apply to a patient is left out of her record.
        written = _cohort(schema, table).table
        twice = written.duplicated().to_numpy()
        if not twice.any():
            return table
        more = _combinations(schema, int(twice.sum()), rng)
        table = pd.concat([table.iloc[~twice], more])
    raise Unsupported(
        f"The columns of {schema.name!r} have hardly {len(table)} combinations of values, so that "
        "no such number of canaries can be told apart. Ask for fewer (`canaries`)."
    )


def _cohort(schema: Schema, table: pd.DataFrame) -> Cohort:
    width = len(str(len(table)))
    names = pd.Index([f"c{i:0{width}d}" for i in range(len(table))], name="patient")
    return cohort_from_table(schema, table.set_axis(names))
