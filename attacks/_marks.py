"""What a patient's record holds by which she could be known again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from fedbench.seeds import Rng
from fedbench.sequences import Sequences

__all__ = ["Grid", "Marks", "Records", "Rows", "marks_of", "visits_of"]

_RANGES = 20  # of equally many values: numbers in one of them are alike under small noise
_REACH = 3  # days after one that are looked at together with it
_MOMENT = 1e-4  # of a day, in which times are the same

# What is marked, so that code 17 is not day 17.
_FACT, _NEAR_FACT, _VALUE, _NEAR_VALUE, _CODE, _DAY, _APART, _BESIDE, _ROW, _NEXT = range(10)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Rows:
    """Rows of a table, each of a patient by number; categories are numbers, too, NaN is missing."""

    owner: Ints
    values: Floats

    def dealt(self, rng: Rng) -> Rows:
        """Return the same values, each of them in any row that has a value in its column."""
        values = self.values.copy()
        for column in values.T:
            known = np.flatnonzero(~np.isnan(column))
            column[known] = rng.permutation(column[known])
        return Rows(self.owner, values)


def visits_of(sequences: Sequences) -> Rows:
    """Return what was measured, numbers first, one row per step."""
    numbers = np.where(sequences.measured, sequences.numbers, np.nan)
    kinds = [len(c.levels) for c in sequences.schema.visits.values() if c.kind == "category"]
    levels = np.where(sequences.levels != kinds, sequences.levels, np.nan)
    return Rows(sequences.owner, np.hstack([numbers, levels]))


@dataclass(frozen=True)
class Grid:
    """The edges between which numbers count as nearly the same, for every column."""

    edges: Sequence[Floats]

    @classmethod
    def of(cls, rows: Rows) -> Grid:
        """Return ranges with equally many of these values, as far as they are not equal."""
        shares = np.arange(1, _RANGES) / _RANGES
        known = (column[~np.isnan(column)] for column in rows.values.T)
        return cls([np.unique(np.quantile(c, shares)) if c.size else c for c in known])

    def placed(self, rows: Rows) -> Rows:
        """Return the same rows with the number of its range for every value."""
        columns = zip(self.edges, rows.values.T, strict=True)
        found = [
            np.where(np.isnan(column), np.nan, np.searchsorted(edges, column, "right"))
            for edges, column in columns
        ]
        return Rows(
            rows.owner, np.array(found, dtype=np.float64).reshape(len(found), len(rows.owner)).T
        )


@dataclass(frozen=True)
class Records:
    """What is known of patients: facts known once, a row each, and visits, codes and days."""

    facts: Rows
    visits: Rows
    sequences: Sequences

    def __len__(self) -> int:
        return len(self.sequences)

    def dealt(self, rng: Rng) -> Records:
        """Return as many records, as long, whose single values, codes and days are dealt anew.

        What stands together in one of them does so by luck.
        """
        old = self.sequences
        step = np.repeat(np.arange(len(old.day)), np.diff(old.code_starts))
        day, codes = rng.permutation(old.day), rng.permutation(old.codes)
        day, codes = day[np.lexsort((day, old.owner))], codes[np.lexsort((codes, step))]
        return Records(
            self.facts.dealt(rng), self.visits.dealt(rng), replace(old, day=day, codes=codes)
        )


@dataclass(frozen=True)
class Marks:
    """Who bears which mark: the patient ``owner[i]`` bears ``mark[i]``, perhaps several times."""

    owner: Ints
    mark: Hashes


def marks_of(records: Records, grids: tuple[Grid, Grid]) -> Marks:
    """Return all marks of these patients.

    Of every row: each value; each two that stand beside each other in the schema; all of them;
    and all of them with those of the patient's next row. All but the first also with numbers that
    are only nearly the same. Likewise of the codes of a day. And of days: each of them; and how
    far three lie apart that follow each other closely, as all may have been shifted.

    Args:
        records: whose marks.
        grids: between which edges numbers are nearly the same, of facts and of visits.
    """
    pieces: list[Marks] = [*_of_codes(records.sequences), *_of_days(records.sequences)]
    tables = (records.facts, _FACT, _NEAR_FACT), (records.visits, _VALUE, _NEAR_VALUE)
    for (rows, same, alike), grid in zip(tables, grids, strict=True):
        exact, near = _cells(rows, same), _cells(grid.placed(rows), alike)
        pieces += [Marks(rows.owner[exact[0]], exact[1])]
        pieces += [*_together(rows.owner, *exact), *_together(rows.owner, *near)]
    owner, mark = zip(*((piece.owner, piece.mark) for piece in pieces), strict=True)
    return Marks(np.concatenate(owner), np.concatenate(mark))


def _cells(rows: Rows, kind: int) -> tuple[Ints, Hashes]:
    """Return the row of every value and a number for what it is, in the order of the schema."""
    there = ~np.isnan(rows.values)
    row, column = np.nonzero(there)
    value = (rows.values[there] + 0.0).view(np.uint64)  # no -0.0
    return row, _mixed(kind, value, column.astype(np.uint64))


def _of_codes(sequences: Sequences) -> Iterator[Marks]:
    step = np.repeat(np.arange(len(sequences.day)), np.diff(sequences.code_starts))
    new = _changes(step, sequences.codes)
    code = _mixed(_CODE, sequences.codes[new].astype(np.uint64))
    yield Marks(sequences.owner[step[new]], code)
    yield from _together(sequences.owner, step[new], code)


def _together(owner: Ints, row: Ints, cell: Hashes) -> Iterator[Marks]:
    """Mark cells beside each other, all of a row, and all of a row with all of the next."""
    beside = row[1:] == row[:-1]
    yield Marks(owner[row[1:][beside]], _mixed(_BESIDE, cell[:-1][beside], cell[1:][beside]))
    first = np.flatnonzero(_changes(row))
    if not len(first):
        return
    size, whole = np.diff(first, append=len(row)), np.add.reduceat(_mixed(_ROW, cell), first)
    whose = owner[row[first]]
    yield Marks(whose[size > 2], whole[size > 2])
    follows = whose[1:] == whose[:-1]
    yield Marks(whose[1:][follows], _mixed(_NEXT, whole[:-1][follows], whole[1:][follows]))


def _of_days(sequences: Sequences) -> Iterator[Marks]:
    when = np.round(sequences.day / _MOMENT).astype(np.int64)
    new = _changes(sequences.owner, when)
    owner, when = sequences.owner[new], when[new]
    yield Marks(owner, _mixed(_DAY, when.view(np.uint64)))
    for near, far in combinations(range(1, _REACH + 1), 2):
        n = max(len(when) - far, 0)
        same = owner[:n] == owner[far:]
        apart = [(when[k : n + k] - when[:n])[same].view(np.uint64) for k in (near, far)]
        yield Marks(owner[:n][same], _mixed(_APART, *apart))


def _changes(*columns: NDArray[np.int64] | Hashes) -> NDArray[np.bool_]:
    """Return which rows differ from the one before; the first does."""
    found = np.ones(len(columns[0]), dtype=bool)
    found[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return found


def _mixed(kind: int, *parts: Hashes) -> Hashes:
    """Return one number for numbers in a row (as splitmix64 does, Steele et al. 2014).

    The same numbers give another one for another kind of mark.
    """
    found = np.full_like(parts[0], 0x9E3779B97F4A7C15)
    for part in (np.array(kind, dtype=np.uint64), *parts):
        found = (found ^ part) * np.uint64(0xBF58476D1CE4E5B9)
        found = (found ^ (found >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)
        found ^= found >> np.uint64(32)
    return found
