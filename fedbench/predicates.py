"""Predicates that single people out, evaluated on packed bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.attack import Guess, plain_columns
from fedbench.data import Schema

__all__ = ["Conditions", "Predicates"]

_BLOCK = 1 << 24  # bytes of matches at a time

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class Conditions:
    """What can be asked of one column: whether a value lies in ``[low, high)``.

    Categories count by the number of their level. A limit that is no number asks whether the
    value is missing. All have the shape ``(conditions,)``.
    """

    columns: NDArray[np.object_]
    low: Floats
    high: Floats

    def bits(self, schema: Schema, table: pd.DataFrame) -> Bits:
        """Return who meets each, packed by eight: shape ``(conditions, ceil(patients / 8))``."""
        names = sorted(set(self.columns.tolist()))
        values = plain_columns(table, [schema.feature(name) for name in names])
        found = np.empty((len(self.columns), -(-len(table) // 8)), np.uint8)
        for at, name in enumerate(names):
            mine, value = np.flatnonzero(self.columns == name), values[:, at]
            missing = np.isnan(self.low[mine])[:, None]
            inside = (value >= self.low[mine, None]) & (value < self.high[mine, None])
            found[mine] = np.packbits(np.where(missing, np.isnan(value), inside), axis=1)
        return found


@dataclass(frozen=True, kw_only=True)
class Predicates(Guess):
    """An answer in the singling-out game: each predicate is met where all its conditions are.

    ``uses`` are the numbers of each one's conditions, shape ``(predicates, columns)``, one named
    again where there are fewer. ``weight`` is which share of all patients it is thought to match.
    """

    scores: Floats = field(default_factory=lambda: np.empty(0))
    conditions: Conditions
    uses: Ints
    weight: Floats

    def matches(self, schema: Schema, table: pd.DataFrame) -> Iterator[tuple[slice, Bits]]:
        """Yield blocks of predicates and who meets them, packed by eight."""
        bits = self.conditions.bits(schema, table)
        step = max(1, _BLOCK // max(bits.shape[1], 1))
        for start in range(0, len(self.uses), step):
            rows = slice(start, min(start + step, len(self.uses)))
            met = bits[self.uses[rows, 0]]
            for column in self.uses[rows, 1:].T:
                met &= bits[column]
            yield rows, met

    def counts(self, schema: Schema, table: pd.DataFrame) -> Ints:
        """Return how many patients meet each predicate."""
        found = np.zeros(len(self.uses), np.int64)
        for rows, met in self.matches(schema, table):
            found[rows] = np.bitwise_count(met).sum(axis=1)
        return found

    def first(self, schema: Schema, table: pd.DataFrame) -> Ints:
        """Return the first patient who meets each predicate, -1 for none."""
        found = np.full(len(self.uses), -1)
        for rows, met in self.matches(schema, table):
            flags = np.unpackbits(met, axis=1, count=len(table))
            there = flags.any(axis=1)
            found[rows] = np.where(there, flags.argmax(axis=1) if len(table) else -1, -1)
        return found
