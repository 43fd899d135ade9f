"""The large tables of eICU: read in blocks, of which the last value of every hour is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fedbench.data import Column
from fedbench.datasets._reading import Table
from fedbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Grid", "Named", "Source", "Wide", "visits_of"]

HOUR = 60
"""Minutes, in which eICU counts time from admission to the unit."""
WAITING = 4 << 20
"""Values that are held back before they are joined with those that are kept."""
LATE = 0.5
"""The share of values after the end of a hospital stay from which time was not counted so."""

Numbers = NDArray[np.intp]
Floats = NDArray[np.float64]
Found = tuple[Numbers, NDArray[np.uint8], Floats]
"""Rows of a block, which column each has a value of, and the value."""


@dataclass(frozen=True)
class Grid:
    """Of every ``every`` hours one value counts, after day ``start`` and up to day ``end``.

    A cell ends with its last minute, as windows do: what lies after a day on which something is
    foreseen shares no cell with what lies before.
    """

    start: int
    end: int
    every: int

    @property
    def cells(self) -> int:
        """How many there are."""
        return 24 * (self.end - self.start) // self.every

    def of(self, minute: Floats) -> NDArray[np.int64]:
        """Return the number of the cell that each minute lies in; -1 for none, and for no time."""
        cell = np.ceil(minute / (HOUR * self.every)) - 1 - 24 * self.start // self.every
        inside = (cell >= 0) & (cell < self.cells)
        return np.where(inside, np.nan_to_num(cell), -1).astype(np.int64)


@dataclass(frozen=True)
class Wide:
    """A table with a column for each thing that is measured."""

    columns: Mapping[str, Column]

    def __call__(self, block: pa.RecordBatch, first: int) -> Iterator[Found]:
        for place, (name, column) in enumerate(self.columns.items(), start=first):
            yield _believed(_floats(block[name]), place, column)


@dataclass(frozen=True)
class Named:
    """A table with a row for each thing that is measured, and its name and unit beside it.

    ``other`` are units of another scale, by the usual one: such rows are left out.
    """

    columns: Mapping[str, Column]
    name: str
    value: str
    units: Sequence[str]
    other: Mapping[str, frozenset[str]]

    def __call__(self, block: pa.RecordBatch, first: int) -> Iterator[Found]:
        which = pc.index_in(block[self.name], value_set=pa.array(list(self.columns)))
        kind = np.asarray(which.fill_null(-1))
        values = _floats(block[self.value])
        units = [
            np.asarray(pc.utf8_lower(pc.utf8_trim_whitespace(block[unit].fill_null(""))))
            for unit in self.units
        ]
        for number, column in enumerate(self.columns.values()):
            mine = np.flatnonzero(kind == number)
            strange = self.other.get(column.unit, frozenset())
            for unit in units if strange else ():
                mine = mine[~np.isin(unit[mine].astype(str), list(strange))]
            rows, place, found = _believed(values[mine], first + number, column)
            yield mine[rows], place, found


@dataclass(frozen=True)
class Source:
    """A table of events: when they were, and how a block of it is read."""

    table: Table
    offset: str
    read: Wide | Named


@dataclass
class _Kept:
    """The last value of every cell; of two in the same minute the larger one."""

    cell: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    minute: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    value: Floats = field(default_factory=lambda: np.empty(0))
    waiting: list[_Kept] = field(default_factory=list)

    def add(self, found: _Kept) -> None:
        self.waiting.append(found.last())
        if sum(len(each.cell) for each in self.waiting) > max(WAITING, len(self.cell) // 2):
            self.settle()

    def settle(self) -> None:
        """Join what waits with what is kept."""
        parts = [self, *self.waiting]
        whole = _Kept(
            np.concatenate([part.cell for part in parts]),
            np.concatenate([part.minute for part in parts]),
            np.concatenate([part.value for part in parts]),
        ).last()
        self.cell, self.minute, self.value, self.waiting = (
            whole.cell, whole.minute, whole.value, [],
        )  # fmt: skip

    def last(self) -> _Kept:
        """Return one value for every cell, in the order of cells."""
        order = np.lexsort((self.value, self.minute, self.cell))
        cell = self.cell[order]
        order = order[np.append(cell[1:] != cell[:-1], True)] if len(cell) else order
        return _Kept(self.cell[order], self.minute[order], self.value[order])


def visits_of(
    stays: pd.Series, ends: pd.Series, sources: Sequence[Source], grid: Grid
) -> pd.DataFrame:
    """Return the last believable value of every cell of the grid, dated by its last minute.

    Args:
        stays: ids, each once; rows of others are not read.
        ends: when each left the hospital, in minutes.
        sources: what is read; each thing is measured in one of them.
        grid: how time is cut.

    Raises:
        DataError: a table is damaged, is about other stays, or counts time otherwise.
    """
    import pandas as pd  # noqa: PLC0415

    names = [name for source in sources for name in source.read.columns]
    known = pa.array(stays.to_numpy(dtype=object), type=pa.string())
    kept, first = _Kept(), 0
    for source in sources:
        _read(source, known, ends.to_numpy(dtype=np.float64), kept, (grid, first, len(names)))
        first += len(source.read.columns)
    kept.settle()
    hours, row = np.unique(kept.cell // len(names), return_inverse=True)
    values = np.full((len(hours), len(names)), np.nan)
    values[row, kept.cell % len(names)] = kept.value
    minute = np.full(len(hours), np.iinfo(np.int32).min)
    np.maximum.at(minute, row, kept.minute)
    patient = stays.to_numpy(dtype=object)[hours // grid.cells]
    dated = pd.DataFrame({"patient": patient, "day": minute / (24 * HOUR)})
    return dated.join(pd.DataFrame(values, columns=names))


def _read(
    source: Source, known: pa.Array, ends: Floats, kept: _Kept, places: tuple[Grid, int, int]
) -> None:
    """Keep what a table says about known stays."""
    grid, first, width = places
    seen = mine = timed = late = 0
    strange: Any = None
    for block in source.table.blocks():
        ids = block["patientunitstayid"]
        stay = np.asarray(pc.index_in(ids, value_set=known).fill_null(-1))
        seen, mine = seen + len(stay), mine + int((stay >= 0).sum())
        strange = ids[0].as_py() if len(stay) and strange is None else strange
        minute = np.floor(_floats(block[source.offset]))
        after = minute - ends[np.maximum(stay, 0)]
        with np.errstate(invalid="ignore"):
            late += int(((stay >= 0) & (after > 24 * HOUR)).sum())
        timed += int(((stay >= 0) & ~np.isnan(after)).sum())
        hour = grid.of(minute)
        hour = np.where((stay >= 0) & (hour >= 0), stay.astype(np.int64) * grid.cells + hour, -1)
        rows, place, value = map(np.concatenate, zip(*source.read(block, first), strict=True))
        there = hour[rows] >= 0
        rows = rows[there]
        cell = hour[rows] * width + place[there]
        kept.add(_Kept(cell, minute[rows].astype(np.int32), value[there]))
    if seen and not mine:
        raise DataError(
            f"{source.table.origin}: none of {seen:,} rows is about a stay of the table patient; "
            f"the first has the patientunitstayid {strange!r}. Take both from the same release."
        )
    if late > LATE * timed:
        raise DataError(
            f"{source.table.origin}: {late:,} of {timed:,} rows lie more than a day after the stay "
            f"in hospital; expected {source.offset} in minutes since admission to the unit."
        )


def _believed(values: Floats, place: int, column: Column) -> Found:
    rows = np.flatnonzero((values >= column.low) & (values <= column.high))
    return rows, np.full(len(rows), place, dtype=np.uint8), values[rows]


def _floats(column: pa.Array) -> Floats:
    """Return numbers; what is missing is NaN."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
