"""Opening a zip file that a stranger sent: names, sizes and kinds first, then what is in it."""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fedbench.errors import RunError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["CELL", "MANIFEST", "check_table", "members", "table_in"]

MANIFEST = "manifest.json"
HEAD = ("suite.toml", "environment.json", "results.parquet", "timings.parquet")
CELL = re.compile(
    r"cells/(?P<cell>[0-9a-f]{12})/"
    r"(?P<file>(synthetic/(static|visits|codes|outcome)|ledger|guesses-[\w.+-]{1,150})\.parquet)",
    re.ASCII,
)

UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError)

MOST_FILES = 100_000
MOST_BYTES = 1 << 30
"""Of all files together, unpacked."""
MOST_RATIO = 100
MOST_FIELDS = 50_000_000
"""Rows times columns of a table: parquet writes a billion equal values in a few bytes."""


def members(path: Path) -> dict[str, bytes]:
    """Return the files of a zip file; nothing is read before all of their names and sizes fit."""
    if not path.is_file():
        found = "it is a folder; give the .zip file" if path.is_dir() else "there is no such file"
        raise RunError(f"{found}.")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(members)
            return {member.filename: archive.read(member) for member in members}
    except UNREADABLE as error:
        raise RunError(f"it is not a zip file that can be read ({error}).") from None


def _check_members(members: Sequence[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    if len(names) > MOST_FILES or len(set(names)) < len(names):
        raise RunError(
            f"it holds {len(names)} files, {len(names) - len(set(names))} of them twice."
        )
    for member in members:
        if member.filename not in (MANIFEST, *HEAD) and not CELL.fullmatch(member.filename):
            raise RunError(f"no bundle has a file called {member.filename!r}.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise RunError(f"{member.filename} is a link.")
        if member.flag_bits & 1:
            raise RunError(f"{member.filename} is encrypted.")
        if member.file_size > MOST_RATIO * max(member.compress_size, 1):
            raise RunError(
                f"{member.filename} would unpack to {member.file_size:,} bytes, more than "
                f"{MOST_RATIO} times what it takes."
            )
    if (total := sum(member.file_size for member in members)) > MOST_BYTES:
        raise RunError(f"it would unpack to {total:,} bytes; at most {MOST_BYTES:,} are read.")
    if missing := [name for name in (MANIFEST, *HEAD) if name not in names]:
        raise RunError(f"there is no {missing[0]} in it: it is not a bundle.")


def check_table(name: str, content: bytes) -> None:
    """Look at a table's own account of itself before any of it is unpacked."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        about = pq.ParquetFile(io.BytesIO(content)).metadata
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RunError(f"{name} is not a table: {error}.") from None
    size = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
    if about.num_rows * about.num_columns > MOST_FIELDS or size > MOST_BYTES:
        raise RunError(
            f"{name} would unpack to {about.num_rows:,} rows of {about.num_columns:,} columns."
        )


def table_in(name: str, content: bytes) -> pa.Table:
    """Return a table that was looked at, without what it says to pandas.

    Raises:
        RunError: it cannot be read.
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        return pq.read_table(io.BytesIO(content)).replace_schema_metadata(None)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RunError(f"{name} cannot be read: {error}.") from None
