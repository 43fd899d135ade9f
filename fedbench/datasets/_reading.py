"""Tables that users put in place: found, checked, streamed, and summed up where they lie.

Nothing is unpacked to disk, nothing in a file is ever run, and only a few megabytes of a file
are in memory at a time. Every column is read as the type that is asked for; where a file does
not fit, the error names it, says what was found and what to do.
"""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal, cast

import pyarrow as pa

from fedbench.data import Dataset, DataStore
from fedbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FromFolder", "Table", "ask", "members", "stream", "table"]

Kind = Literal["text", "number", "whole"]

KINDS: Mapping[Kind, pa.DataType] = {
    "text": pa.string(),
    "number": pa.float64(),
    "whole": pa.int64(),
}

SUFFIXES = (".csv", ".csv.gz", ".parquet")
PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz")

BLOCK = 16 << 20
"""Bytes read at a time; one row must fit, with what is around it."""
HEAD = 1 << 20
"""Bytes in which the header must end."""
SMALL = 16 << 20
"""Bytes that one of many small files may have."""
MEMORY = "2GB"
ABSENT = " (not there)"

BROKEN = (
    OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError,
    tarfile.TarError, zipfile.BadZipFile, csv.Error, pa.ArrowException,
)  # fmt: skip
"""What reading a damaged file raises."""

Open = Callable[[], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True)
class Table:
    """A file of which some columns are wanted; reading starts when it is asked about.

    ``wrong`` holds what was wrong with the file, once reading has met it.
    """

    origin: str
    columns: Mapping[str, Kind]
    batches: Callable[[], Iterator[pa.RecordBatch]]
    wrong: list[DataError] = field(default_factory=list)

    @classmethod
    def absent(cls, name: str, columns: Mapping[str, Kind]) -> Table:
        """Return a table that is not there, and has no rows."""
        return cls(f"{name}{ABSENT}", columns, lambda: iter(()))

    @property
    def there(self) -> bool:
        """Whether there is such a table."""
        return not self.origin.endswith(ABSENT)

    @property
    def schema(self) -> pa.Schema:
        """The columns with their types, as they are asked about."""
        return pa.schema([(name, KINDS[kind]) for name, kind in self.columns.items()])

    def reader(self) -> pa.RecordBatchReader:
        """Return the rows, a few at a time."""
        return pa.RecordBatchReader.from_batches(self.schema, self._rows())

    def blocks(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, a few megabytes at a time.

        Raises:
            DataError: the file does not fit; the message names it.
        """
        try:
            yield from self.batches()
        except BROKEN as error:
            raise _broken(self.origin, error) from error

    def _rows(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self.batches()
        except BROKEN as error:
            self.wrong.append(_broken(self.origin, error))
            raise


@dataclass(frozen=True, kw_only=True)
class FromFolder(Dataset):
    """Records in a folder of tables that users put in place.

    ``tables`` says which columns of which tables are read, and as what; those in ``optional`` may
    be absent and then have no rows.

    Attributes:
        folder: its name in the data folder, or an absolute path; of the folder, or of one packed
            file that holds it.
    """

    tables: ClassVar[Mapping[str, Mapping[str, Kind]]]
    optional: ClassVar[frozenset[str]] = frozenset()
    fills: ClassVar[Mapping[str, Sequence[str]]] = {}
    """The columns of the schema that are empty without an optional table."""
    packed: ClassVar[tuple[str, ...]] = PACKED
    """How the name of a single file may end that stands for the folder."""

    folder: str

    def read(self, store: DataStore) -> Mapping[str, Table]:
        """Return every table by name.

        Raises:
            DataError: says all that is missing.
        """
        folder = store.folder(self.folder)
        if lacking := self.lacking(folder):
            raise DataError(" ".join(lacking))
        return {name: self._table(folder, name) for name in self.tables}

    def lacking(self, folder: Path) -> Sequence[str]:
        """Say all that keeps the tables in a folder from being read, a sentence each."""
        if folder.is_file() and not folder.name.lower().endswith(self.packed):
            forms = f", or one file of it ({', '.join(self.packed)})" if self.packed else ""
            return [f"{folder} is a file; expected a folder{forms}."]
        found: list[str] = []
        for name in self.tables:
            try:
                self._table(folder, name)
            except DataError as error:
                if str(error) not in found:  # of one damaged file, not of every table in it
                    found.append(str(error))
        return found

    def absent(self, folder: Path) -> Sequence[str]:
        """Return the tables that may be absent, are, and leave columns empty."""
        return [name for name in self.fills if not self._table(folder, name).there]

    def _table(self, folder: Path, name: str) -> Table:
        return table(folder, name, self.tables[name], optional=name in self.optional)


def table(
    folder: Path,
    name: str,
    columns: Mapping[str, Kind],
    *,
    missing: Sequence[str] = ("",),
    optional: bool = False,
) -> Table:
    """Return a table called ``name`` in this folder, its subfolders or a packed file in it.

    It is ``NAME.csv``, ``.csv.gz`` or ``.parquet``, or one of the first two packed in a zip or tar
    file; names of files and columns may be in either case. A field that reads as one of ``missing``
    is empty. An ``optional`` table that is not there has no rows.

    Raises:
        DataError: it is not there, or there twice, or lacks columns.
    """
    found = [*_files(folder, name)] or [*_packed(folder, name)]
    if not found and optional:
        return Table.absent(name, columns)
    if len(found) != 1:
        wanted = ", ".join(name + suffix for suffix in SUFFIXES)
        there = ", ".join(origin for origin, _ in found)
        raise DataError(
            f"{folder}: there are {there}; expected only one of them. Move the others away."
            if found
            else f"There is no table {name!r} in {folder}. Put one of {wanted} there."
        )
    origin, open_ = found[0]
    if origin.lower().endswith(".parquet"):
        return _parquet(origin, open_, columns)
    return stream(origin, open_, columns, missing=missing)


def stream(
    origin: str, open_: Open, columns: Mapping[str, Kind], *, missing: Sequence[str] = ("",)
) -> Table:
    """Return the table in a stream of text; ``origin`` names it in errors.

    It is separated by commas, or, if its header is, by tabs. Between tabs quotation marks are
    letters (as in the vocabularies of OHDSI's Athena), unless the header stands in some itself.

    Raises:
        DataError: it cannot be read, or its header lacks columns or names one twice.
    """
    try:
        with open_() as file:
            form = _Form.of(_first_line(origin, file.read(HEAD)))
    except BROKEN as error:
        raise _broken(origin, error) from error
    names = _spelled(origin, form.header, columns)

    def batches() -> Iterator[pa.RecordBatch]:
        from pyarrow import csv as arrow  # noqa: PLC0415

        kinds = {names[column]: KINDS[kind] for column, kind in columns.items()}
        convert = arrow.ConvertOptions(
            column_types=kinds,
            include_columns=list(kinds),
            null_values=list(missing),
            strings_can_be_null=True,
        )
        with open_() as file:
            quotes = _Quotes(file)
            reader = arrow.open_csv(
                quotes,
                read_options=arrow.ReadOptions(block_size=BLOCK, use_threads=False),
                parse_options=arrow.ParseOptions(
                    delimiter=form.mark,
                    quote_char='"' if form.quoted else False,
                    newlines_in_values=form.quoted,
                ),
                convert_options=convert,
            )
            for batch in reader:
                yield batch.rename_columns(list(columns))
        if form.quoted and quotes.count % 2:
            _check_quotes(open_, form.mark)

    return Table(origin, columns, batches)


class _Quotes(io.RawIOBase):
    """A file that counts its quotation marks: pyarrow closes one at the end without a word."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        found = self.file.read(size)
        self.count += found.count(b'"')
        return found


def _check_quotes(open_: Open, mark: str) -> None:
    """Tell a quotation mark that is never closed from one inside a field (a 5" needle)."""
    limit = csv.field_size_limit(BLOCK)
    try:
        with open_() as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
            for _ in csv.reader(text, delimiter=mark, strict=True):
                pass
    finally:
        csv.field_size_limit(limit)


def members(folder: Path, name: str, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Yield many small files: those of the folder ``name``, or of the packed file ``name.*``.

    Each comes with its name, without folders and suffix.

    Raises:
        DataError: there is neither, or both; the packed file is damaged; a file is too large.
    """
    inner = folder / name
    packed = [path for path in (folder / f"{name}{ending}" for ending in PACKED) if path.is_file()]
    there = [*([inner] if inner.is_dir() else []), *packed]
    if len(there) != 1:
        wanted = ", ".join(name + ending for ending in ("", *PACKED))
        listed = ", ".join(path.name for path in there)
        raise DataError(
            f"{folder}: there are {listed}; expected only one of them. Move the others away."
            if there
            else f"There is no {name!r} in {folder}. Put the folder or packed file there: {wanted}."
        )
    origin = str(there[0])
    try:
        for path, size, read in _contents(there[0]):
            if not path.lower().endswith(suffix):
                continue
            if size > SMALL:
                raise DataError(f"{origin}: {path} has {size:,} bytes; expected a small file.")
            yield PurePosixPath(path).name[: -len(suffix)], read()
    except BROKEN as error:
        raise _broken(origin, error) from error


def ask(question: str, **tables: Table | pd.DataFrame) -> pd.DataFrame:
    """Return the answer to a question in SQL about tables, each under its name.

    The database sees these tables and nothing else: no file, no network, no Python variable.

    Raises:
        DataError: a file does not fit; the message names it.
    """
    import duckdb  # noqa: PLC0415  (slow to import)

    # One thread: the order of rows decides ties, and the last digits of a mean.
    config: dict[str, Any] = {
        "threads": 1, "memory_limit": MEMORY, "enable_external_access": False,
        "python_enable_replacements": False,
    }  # fmt: skip
    with duckdb.connect(":memory:", config=config) as database:
        for name, content in tables.items():
            database.register(name, content.reader() if isinstance(content, Table) else content)
        try:
            return database.execute(question).df()
        except duckdb.Error:
            wrong = [e for each in tables.values() if isinstance(each, Table) for e in each.wrong]
            if wrong:
                raise wrong[0] from None
            raise


def _files(folder: Path, name: str) -> Iterator[tuple[str, Open]]:
    wanted = {name.lower() + suffix for suffix in SUFFIXES}
    for path in sorted(folder.rglob("*")):
        if path.name.lower() in wanted and path.is_file():
            yield str(path), _opener(path)


def _plain(file: IO[bytes], name: str) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(file)) if name.lower().endswith(".gz") else file


def _opener(path: Path) -> Open:
    def open_() -> AbstractContextManager[IO[bytes]]:
        return cast("IO[bytes]", (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb"))

    return open_


def _packed(folder: Path, name: str) -> Iterator[tuple[str, Open]]:
    """Yield the CSV files of that name in the packed files of a folder, or in one of them."""
    wanted = {name.lower() + suffix for suffix in SUFFIXES if suffix != ".parquet"}
    for path in [folder] if folder.is_file() else sorted(folder.iterdir()):
        if not path.name.lower().endswith(PACKED):
            continue
        try:
            inside = [member for member, _, _ in _contents(path)]
        except BROKEN as error:
            raise _broken(str(path), error) from error
        for member in inside:
            if PurePosixPath(member).name.lower() in wanted:
                yield f"{path}, {member}", _inside(path, member)


def _inside(path: Path, member: str) -> Open:
    @contextmanager
    def open_() -> Iterator[IO[bytes]]:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as packed, packed.open(member) as file:
                yield _plain(file, member)
            return
        with tarfile.open(path) as tar:
            found = tar.extractfile(member)
            if found is not None:
                yield _plain(found, member)

    return open_


def _contents(path: Path) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Yield the plain files of a folder or packed file: name, size, and how to read it."""
    if path.is_dir():
        for inner in sorted(path.iterdir()):
            if inner.is_file():
                yield inner.name, inner.stat().st_size, inner.read_bytes
    elif path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as packed:
            for entry in packed.infolist():
                if not entry.is_dir():
                    yield entry.filename, entry.file_size, partial(packed.read, entry)
    else:
        with tarfile.open(path, "r|*") as packed_tar:
            for member in packed_tar:
                if member.isfile():
                    yield member.name, member.size, partial(_bytes, packed_tar, member)


def _bytes(packed: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = packed.extractfile(member)
    return b"" if file is None else file.read()


def _parquet(origin: str, open_: Open, columns: Mapping[str, Kind]) -> Table:
    from pyarrow import parquet  # noqa: PLC0415

    try:
        with open_() as file:
            header = parquet.read_schema(file).names
    except BROKEN as error:
        raise _broken(origin, error) from error
    names = _spelled(origin, header, columns)
    wanted = pa.schema([(name, KINDS[kind]) for name, kind in columns.items()])

    def batches() -> Iterator[pa.RecordBatch]:
        with open_() as file:
            for batch in parquet.ParquetFile(file).iter_batches(columns=list(names.values())):
                rows = pa.Table.from_batches([batch]).select(list(names.values()))
                yield from rows.rename_columns(list(columns)).cast(wanted).to_batches()

    return Table(origin, columns, batches)


@dataclass(frozen=True)
class _Form:
    """What a header says about how its file is written."""

    header: Sequence[str]
    mark: str = ","
    quoted: bool = True

    @classmethod
    def of(cls, line: str) -> _Form:
        if "\t" in line and "," not in line:
            quoted = line.startswith('"')
            header = next(csv.reader([line], delimiter="\t")) if quoted else line.split("\t")
            return cls(header, "\t", quoted)
        return cls(next(csv.reader([line])))


def _first_line(origin: str, start: bytes) -> str:
    """Return the first line that is not empty."""
    text = io.StringIO(start.decode("utf-8-sig", errors="surrogateescape"), newline=None)
    line = next((line for line in text if line.strip()), "")
    if "\0" in line or any("\ud800" <= letter <= "\udfff" for letter in line):
        raise DataError(f"{origin} does not begin with text in UTF-8. Save it as UTF-8.")
    if not line:
        raise DataError(f"{origin} is empty; expected a header and rows.")
    return line.rstrip("\n")


def _spelled(origin: str, header: Sequence[str], columns: Mapping[str, Kind]) -> dict[str, str]:
    """Return how the file spells each column, which may be in either case."""
    known: dict[str, list[str]] = {}
    for name in header:
        known.setdefault(name.strip().lower(), []).append(name)
    if lacking := [column for column in columns if column.lower() not in known]:
        if split := next((mark for mark in (";", "|") if mark in header[0]), None):
            raise DataError(
                f"{origin}: its header is separated by {split!r}: {header[0][:40]!r}; expected "
                "commas or tabs. Write it with commas."
            )
        shown = ", ".join(repr(name[:40]) for name in header[:8])
        more = f" … ({len(header)} in all)" if len(header) > 8 else ""
        raise DataError(
            f"{origin}: there is no column {', '.join(map(repr, lacking))}; found {shown}{more}."
        )
    if twice := [column for column in columns if len(known[column.lower()]) > 1]:
        raise DataError(
            f"{origin}: the header has {twice[0]!r} more than once; "
            "expected once. Rename or remove the others."
        )
    return {column: known[column.lower()][0] for column in columns}


def _broken(origin: str, error: Exception) -> DataError:
    if isinstance(error, DataError):
        return error
    said = " ".join(str(error).split()) or type(error).__name__
    packed = tarfile.TarError | zipfile.BadZipFile | gzip.BadGzipFile
    if isinstance(error, EOFError | zlib.error | lzma.LZMAError | packed):
        return DataError(f"{origin} is damaged or cut off ({said}). Get the file again.")
    if "straddling" in said or "unexpected end of data" in said:
        return DataError(
            f"{origin}: a row is longer than {BLOCK >> 20} MB, or a quotation mark is never closed."
        )
    return DataError(f"{origin}: {said[:300]}. Compare the file with its source.")
