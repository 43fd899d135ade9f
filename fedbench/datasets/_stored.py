"""Tables in a DuckDB file, read so that nothing in the file can run anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fedbench.datasets._reading import KINDS, MEMORY, Kind, Table
from fedbench.errors import DataError

if TYPE_CHECKING:
    import duckdb

__all__ = ["SUFFIXES", "stored", "stored_in"]

SUFFIXES = (".duckdb", ".ddb")
SQL: Mapping[Kind, str] = {"text": "VARCHAR", "number": "DOUBLE", "whole": "BIGINT"}

# Views, which may name files, are never asked; and no file but this one can be opened by anybody.
LOCKED: Mapping[str, Any] = {
    "access_mode": "READ_ONLY", "enable_external_access": False, "threads": 1,
    "autoload_known_extensions": False, "autoinstall_known_extensions": False,
    "allow_unsigned_extensions": False, "python_enable_replacements": False,
    "memory_limit": MEMORY, "lock_configuration": True,
}  # fmt: skip


def stored_in(folder: Path) -> Path | None:
    """Return the one DuckDB file in a folder, if there is one, or the file itself.

    Raises:
        DataError: there are several.
    """
    there = [folder] if folder.is_file() else folder.iterdir()
    found = sorted(p for p in there if p.suffix.lower() in SUFFIXES and p.is_file())
    if len(found) > 1:
        listed = ", ".join(path.name for path in found)
        raise DataError(f"{folder}: there are {listed}; expected only one of them.")
    return found[0] if found else None


def stored(path: Path, name: str, columns: Mapping[str, Kind], *, optional: bool = False) -> Table:
    """Return a table of a DuckDB file; its name and those of columns may be in either case.

    Views are not read: export them as parquet.

    Raises:
        DataError: it is not there, or there in two schemas, or lacks columns.
    """
    with _opened(path) as database:
        place, header = _place(database, path, name)
    if not place and optional:
        return Table.absent(name, columns)
    if not place:
        raise DataError(f"There is no table {name!r} in {path} (views are not read; export them).")
    origin = f"{path}, {name}"
    known = {column.lower(): column for column in header}
    if lacking := [column for column in columns if column.lower() not in known]:
        raise DataError(
            f"{origin}: there is no column {', '.join(map(repr, lacking))}; "
            f"found {', '.join(map(repr, header[:8]))} ({len(header)} in all)."
        )
    picked = ", ".join(
        f"CAST({_quoted(known[column.lower()])} AS {SQL[kind]}) AS {_quoted(column)}"
        for column, kind in columns.items()
    )

    def batches() -> Iterator[pa.RecordBatch]:
        wanted = pa.schema([(column, KINDS[kind]) for column, kind in columns.items()])
        with _opened(path) as database:
            for batch in _asked(database, f"FROM {place} SELECT {picked}"):
                yield from pa.Table.from_batches([batch]).cast(wanted).to_batches()

    return Table(origin, columns, batches)


def _place(database: duckdb.DuckDBPyConnection, path: Path, name: str) -> tuple[str, list[str]]:
    """Return where a table is, as SQL writes it, and its columns; nothing if it is not there."""
    there = database.execute(
        "SELECT database_name, schema_name, table_name FROM duckdb_tables() "
        "WHERE lower(table_name) = lower(?) AND NOT internal ORDER BY ALL",
        [name],
    ).fetchall()
    if not there:
        return "", []
    if len(there) > 1:
        listed = ", ".join(".".join(each) for each in there)
        raise DataError(f"{path}: there are {listed}; expected only one of them.")
    place = ".".join(map(_quoted, there[0]))
    return place, [str(row[0]) for row in database.execute(f"DESCRIBE {place}").fetchall()]


@contextmanager
def _opened(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb  # noqa: PLC0415  (slow to import)

    try:
        database = duckdb.connect(str(path), config=dict(LOCKED))
    except duckdb.Error as error:
        raise DataError(f"{path} cannot be opened: {' '.join(str(error).split())[:300]}.") from None
    with database:
        yield database


def _asked(database: duckdb.DuckDBPyConnection, question: str) -> Iterator[pa.RecordBatch]:
    import duckdb  # noqa: PLC0415

    try:
        yield from pa.RecordBatchReader.from_stream(database.sql(question))
    except duckdb.Error as error:
        raise ValueError(str(error)) from None  # which a table tells with its origin


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
