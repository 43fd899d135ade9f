"""The lines ``Time,Parameter,Value`` of many small files, one file per stay."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fedbench.datasets._reading import members
from fedbench.errors import DataError

__all__ = ["Lines", "lines"]

Floats = NDArray[np.float64]
Keys = NDArray[np.intp]

HEADER = ("Time", "Parameter", "Value")
CLOCK = re.compile(r"(\d{1,3}):(\d\d)")
MINUTES = 100_000
"""More than any stay has here."""


@dataclass(frozen=True)
class Lines:
    """Every line of a set in the order of the files; names are numbered."""

    records: NDArray[np.object_]
    names: Sequence[str]
    record: NDArray[np.intp]
    minute: NDArray[np.float64]
    name: NDArray[np.intp]
    value: NDArray[np.float64]

    def of(self, names: Sequence[str], *, until: float = np.inf) -> tuple[Keys, Keys, Floats]:
        """Return the visits (record and minute, sorted) and a value of each name at each.

        Of several values the last counts; NaN where there is none.
        """
        place = np.array([names.index(n) if n in names else -1 for n in self.names])
        column = place[self.name]
        mine = (column >= 0) & np.isfinite(self.value) & (self.minute <= until)
        key = self.record[mine] * MINUTES + self.minute[mine].astype(np.intp)
        visits, row = np.unique(key, return_inverse=True)
        found = np.full((len(visits), len(names)), np.nan)
        found[row, column[mine]] = self.value[mine]
        return *np.divmod(visits, MINUTES), found


def lines(folder: Path, name: str) -> Lines:
    from pyarrow import compute, csv  # noqa: PLC0415

    records, text = [], io.BytesIO()
    for record, content in members(folder, name, ".txt"):
        records.append(record)
        text.write(content.strip())
        text.write(b"\n")
    text.seek(0)
    where, kinds = folder / name, dict.fromkeys(HEADER, pa.string())
    kinds |= {HEADER[0]: pa.dictionary(pa.int32(), pa.string())}
    kinds |= {HEADER[1]: pa.dictionary(pa.int32(), pa.string())}
    try:
        table = (
            csv.read_csv(
                text,
                csv.ReadOptions(column_names=list(HEADER)),
                csv.ParseOptions(quote_char=False),
                csv.ConvertOptions(column_types=kinds, null_values=[""], strings_can_be_null=True),
            )
            .unify_dictionaries()
            .combine_chunks()
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{where}: {error}; expected {','.join(HEADER)}.") from None
    time, variable = (_numbered(table[column]) for column in HEADER[:2])
    head = time.names[time.code] == HEADER[0]
    if head.sum() != len(records):
        raise DataError(
            f"{where}: {len(records)} files and {head.sum()} headers; expected every file to "
            f"begin with {','.join(HEADER)}."
        )
    # Every header starts the next file.
    owner, there = head.cumsum() - 1, ~head
    try:
        value = compute.cast(table[HEADER[2]].filter(pa.array(there)), pa.float64())
    except pa.ArrowInvalid as error:
        raise DataError(f"{where}: {error}; expected a number as the Value.") from None
    return Lines(
        np.array(records, dtype=object),
        list(variable.names),
        owner[there],
        _minutes(time.names, where)[time.code[there]],
        variable.code[there],
        value.to_numpy(zero_copy_only=False).astype(np.float64),
    )


@dataclass(frozen=True)
class _Numbered:
    names: NDArray[np.object_]
    code: NDArray[np.intp]


def _numbered(column: pa.ChunkedArray) -> _Numbered:
    found = column.combine_chunks()
    names = np.array(["" if n is None else n for n in found.dictionary.to_pylist()], dtype=object)
    code = found.indices.fill_null(len(names)).to_numpy(zero_copy_only=False).astype(np.intp)
    return _Numbered(np.append(names, ""), code)


def _minutes(times: NDArray[np.object_], where: Path) -> Floats:
    """Return minutes of ``hh:mm``; NaN for the header and what stands for no text."""
    found = np.full(len(times), np.nan)
    for place, text in enumerate(times):  # a few thousand different ones, not a row each
        clock = CLOCK.fullmatch(text)
        if clock:
            found[place] = 60 * int(clock[1]) + int(clock[2])
        elif text not in ("", HEADER[0]):
            raise DataError(f"{where}: a time is {text!r}; expected hh:mm.")
    return found
