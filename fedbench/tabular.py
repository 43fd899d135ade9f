"""Reading tables that somebody else wrote: CSV, parquet, or a folder of them."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from fedbench.data import TABLES, Cohort, Schema
from fedbench.errors import DataError

__all__ = [
    "ENDS",
    "MOST_DIGITS",
    "NOTHING",
    "PATIENT",
    "Given",
    "as_levels",
    "as_numbers",
    "names_hospital",
    "names_patient",
    "numbered",
    "read",
    "zero_padded",
]

NOTHING = ("", "NA", "NaN", "nan", "NULL", "null", "<NA>")
"""How a CSV file says that a value is missing."""

PATIENT = (
    "patient", "patient_id", "patientid", "id", "subject", "subject_id", "person_id", "record_id",
    "pid", "mrn",
)  # fmt: skip
"""Columns that by their name say who a patient is."""

HOSPITAL = (
    "site", "hospital", "clinic", "center", "centre", "institution", "ward", "unit", "careunit",
)  # fmt: skip
"""Words in names of columns that say which hospital a patient is at, or where in it."""

BESIDE = {"", "id", "no", "nr", "num", "number", "code", "name", "first", "last", "study", "care"}
"""Words that such a name may have beside them."""

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "static": {"patient": "who"},
    "visits": {"patient": "who", "day": "a number of days"},
    "codes": {
        "patient": "who",
        "day": "a number of days",
        "system": "the coding system's name",
        "code": "a code of it",
    },
    "outcome": {
        "patient": "who",
        "time": "the last day of follow-up, a number",
        "event": "1 if it ended with the event, 0 if not",
    },
}
"""What a file of a cohort folder must have; ``static`` and ``visits`` have columns beside."""

ENDS = "time", "event"
"""Columns of a single table that are its outcome, if it has one."""

MOST_DIGITS = 15
"""That a number keeps; longer ones are not told apart as numbers."""


def names_patient(column: str) -> bool:
    """Whether a column by its name says who a patient is.

    >>> names_patient(" Patient ID"), names_patient("patients seen")
    (True, False)
    """
    return re.sub(r"[\s_-]+", "_", column.strip().casefold()) in PATIENT


FORMATS = (".csv", ".parquet")
PICKLES = (".pkl", ".pickle", ".joblib")
PADDED = re.compile(r"0\d+")
MOST_LETTERS = 1 << 28
"""That one field may have."""
UNREADABLE = (
    csv.Error,
    pd.errors.EmptyDataError,
    pd.errors.ParserError,
    pd.errors.ParserWarning,
)


@dataclass(frozen=True)
class Given:
    """Tables from outside, by name: ``static`` alone for a single file.

    Columns hold ``float64`` or text, ``None`` where missing. ``padded`` are the names that stood
    between blanks; ``vanished`` are the words that were read as missing, by column.
    """

    path: Path
    tables: Mapping[str, pd.DataFrame] = field(repr=False)
    padded: tuple[str, ...] = ()
    vanished: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def single(self) -> bool:
        """Whether this is one table with a row per patient."""
        return not self.path.is_dir()

    @property
    def static(self) -> pd.DataFrame:
        """One row per patient."""
        return self.tables["static"]

    def __len__(self) -> int:
        return len(self.static)

    def columns(self) -> Iterator[tuple[str, pd.Series]]:
        """Yield every column of the static table."""
        for name in self.static:
            yield str(name), self.static[name]

    def told(self, table: str) -> str:
        """Say which file a table came from."""
        return self.path.name if self.single else f"{self.path.name}/{table}"

    def named(self, patients: list[str]) -> Given:
        """Return the same records of a single table, their patients called like this."""
        tables = {name: table.assign(patient=patients) for name, table in self.tables.items()}
        return replace(self, tables=tables)

    def by_patient(self, column: str, otherwise: str) -> Given:
        """Give every row of a single table its patient; a folder has them already.

        Args:
            column: says who a patient is; empty: nothing does, and rows are numbered.
            otherwise: how such numbers begin.

        Raises:
            DataError: a patient has no name, or is there twice.
        """
        if not self.single:
            return self
        if not column:
            return self.named(numbered(otherwise, len(self)))
        values = self.static[column]
        if values.isna().any():
            raise self._not_once(column, int(np.flatnonzero(values.isna())[0]), "is empty")
        if values.duplicated().any():
            row = int(np.flatnonzero(values.duplicated())[0])
            first = int(np.flatnonzero(values == values.iloc[row])[0])
            raise self._not_once(column, row, f"is there again, as in row {first + 1}")
        return self.named(list(values))

    def _not_once(self, column: str, row: int, what: str) -> DataError:
        """Say where an identifier is wrong, but not whose it is: messages end up in logs."""
        return DataError(
            f"{self.path.name} row {row + 1}: {column!r} {what}; expected every patient once. "
            "Records over several rows go into a cohort folder, as visits. If another column says "
            "who a patient is, name that one."
        )

    @property
    def has_ends(self) -> bool:
        """Whether this is a single table with columns called ``time`` and ``event``."""
        return self.single and {*ENDS} <= {*self.static}

    @property
    def no_outcome(self) -> str:
        """Which field of ``time`` and ``event`` no outcome has; empty where they look like one."""
        time, event = (as_numbers(self.static[name]) for name in ENDS)
        fits = {"time": np.isfinite(time), "event": event.isin([0, 1])}
        for (name, good), wanted in zip(fits.items(), ("a number", "0 or 1"), strict=True):
            if not good.all():
                row = int(np.flatnonzero(~good)[0])
                value = self.static[name].iloc[row]
                found = "empty" if pd.isna(value) else repr(value)
                return f"{self.path.name} row {row + 1}: {name!r} is {found}, and not {wanted}"
        return ""

    def as_in(self, schema: Schema) -> Given:
        """Take ``time`` and ``event`` of a single table for the outcome, if a schema has one."""
        return self if schema.outcome is None or {*ENDS} & {*schema.static} else self.with_outcome()

    def with_outcome(self) -> Given:
        """Take the ``time`` and ``event`` of a single table that has both for its outcome."""
        if not self.has_ends:
            return self
        kept = [name for name in ("patient", *ENDS) if name in self.static]
        tables = {"static": self.static.drop(columns=[*ENDS]), "outcome": self.static[kept]}
        return replace(self, tables=tables)

    def cohort(self, schema: Schema) -> Cohort:
        """Check these tables against a schema.

        Raises:
            DataError: names the file, row, column and value that do not fit.
        """
        static = self.static
        # Synthetic patients may live nowhere and belong to nobody.
        lacking = {n for n in (schema.site, schema.cluster) if n and n not in static}
        filled = {n: static["patient"] if n == schema.cluster else None for n in lacking}
        tables = {**self.tables, "static": _fitted(static.assign(**filled), schema)}
        try:
            return Cohort.of_tables(schema, **tables)
        except DataError as error:
            name, _, rest = str(error).partition(" ")
            table = name.rstrip(":")
            if table not in TABLES:
                raise DataError(f"{self.path.name}: {error}") from None
            raise DataError(f"{self.told(table)}{name[len(table) :]} {rest}") from None


def read(path: Path, option: str) -> Given:
    """Read a CSV or parquet file, or a folder with ``static``, ``visits``, ``codes``, ``outcome``.

    Args:
        path: the file or folder.
        option: what asked for it, for messages.

    Raises:
        DataError: it is not there, is of another kind, or cannot be read.
    """
    asked = f"{option} {str(path)!r}"
    if not path.exists():
        raise DataError(f"{asked}: there is no such file or folder.")
    files = _of_folder(path, asked) if path.is_dir() else {"static": path}
    found = {name: _table(file, f"{option} {str(file)!r}") for name, file in files.items()}
    given = _given(path, found)
    if path.is_dir():
        for name, file in files.items():
            _complete(name, given.tables[name], f"{option} {str(file)!r}")
    return given


def _complete(name: str, table: pd.DataFrame, asked: str) -> None:
    """See to it that a file of a cohort folder has what such a file must have."""
    needed = COLUMNS[name]
    if lacking := [column for column in needed if column not in table]:
        listed = ", ".join(f"{column!r} ({what})" for column, what in needed.items())
        found = ", ".join(map(repr, table))
        raise DataError(
            f"{asked} has no column {', '.join(map(repr, lacking))}; found {found}. In a cohort "
            f"folder, {name} needs {listed}."
        )


def _of_folder(path: Path, asked: str) -> Mapping[str, Path]:
    """Return the file of each table that a cohort folder has.

    Raises:
        DataError: there is no static table, a table is there twice, or in another form.
    """
    files = sorted(path.iterdir())
    there: dict[str, Path] = {}
    for name in TABLES:
        mine = [f for f in files if f.name.casefold().split(".")[0] == name and f.is_file()]
        if len(mine) > 1:
            listed = ", ".join(file.name for file in mine)
            raise DataError(f"{asked}: there are {listed}; expected only one of them.")
        if mine and mine[0].name not in {f"{name}{ending}" for ending in FORMATS}:
            raise DataError(
                f"{asked}: there is {mine[0].name}; expected {name}.csv or {name}.parquet, "
                "unpacked and in small letters."
            )
        if mine:
            there[name] = mine[0]
    if "static" not in there:
        found = ", ".join(file.name for file in files[:8]) or "nothing"
        raise DataError(
            f"{asked}: a cohort folder needs static.csv or static.parquet; found {found}."
        )
    return there


def _given(path: Path, read: Mapping[str, _Table]) -> Given:
    """Return the tables, no blanks around the names of their columns."""
    names = [str(name) for table in read.values() for name in table.rows]
    padded = tuple(name.strip() for name in names if name != name.strip())
    for table in read.values():
        plain = [str(name).strip() for name in table.rows]
        if twice := next((name for name in padded if plain.count(name) > 1), None):
            raise DataError(f"{path.name} has several columns called {twice!r}; expected one.")
    vanished = {n.strip(): words for table in read.values() for n, words in table.vanished.items()}
    rows = {name: table.rows.rename(columns=str.strip) for name, table in read.items()}
    return Given(path, rows, padded, vanished)


def numbered(what: str, n: int) -> list[str]:
    """Return names for so many patients.

    >>> numbered("p", 2)
    ['p0', 'p1']
    """
    return [f"{what}{i:0{len(str(n))}d}" for i in range(n)]


def as_numbers(values: pd.Series) -> pd.Series:
    """Return numbers, NaN where there is none."""
    if values.dtype != object:
        return pd.to_numeric(values, errors="coerce").astype("float64")
    place, different = pd.factorize(values)  # the same text is read once
    numbers = pd.to_numeric(pd.Series(different, dtype=object), errors="coerce").astype("float64")
    found = np.append(numbers.to_numpy(), np.nan)[place]
    return pd.Series(found, index=values.index, name=values.name)


def as_levels(values: pd.Series) -> pd.Series:
    """Return text, in which 1, 1.0 and "1.0" are one level, and "007" and "7" are two."""
    numbers = as_numbers(values)
    text = numbers.map(f"{{:.{MOST_DIGITS}g}}".format, na_action="ignore").astype(object)
    kept = numbers.isna() | zero_padded(values)
    if values.dtype == object:
        kept |= numbers.abs() >= 10.0**MOST_DIGITS
    return text.where(~kept, values.astype(object)).where(values.notna(), None)


def zero_padded(values: pd.Series) -> pd.Series:
    """Say which values are texts of digits that begin with a zero, such as 007."""
    if pd.api.types.is_numeric_dtype(values):
        return pd.Series(data=False, index=values.index)
    padded = [v for v in values.unique() if isinstance(v, str) and PADDED.fullmatch(v)]
    return values.isin(padded)


def names_hospital(name: str) -> bool:
    """Say whether a column by its name is the hospital.

    >>> [names_hospital(name) for name in ("Hospital_ID", "siteid", "days_in_hospital", "clinical")]
    [True, True, False, False]
    """
    words = {*re.split(r"[^a-z]+", name.casefold())} - BESIDE
    return bool(words) and all(word.removesuffix("id") in HOSPITAL for word in words)


def _fitted(static: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Write categories as the schema writes them."""
    found = {}
    for name, column in schema.static.items():
        if column.kind == "category" and name in static:
            known = static[name].isin(column.levels)
            found[name] = static[name].where(known, as_levels(static[name]))
    return static.assign(**found)


@dataclass(frozen=True)
class _Table:
    """What a file holds, and by column the words that were read as missing."""

    rows: pd.DataFrame
    vanished: Mapping[str, Sequence[str]]


def _table(path: Path, asked: str) -> _Table:
    if path.suffix in PICKLES:
        raise DataError(
            f"{asked} is a pickle file, which can run any program when it is read; fedbench reads "
            "none. Save the table as .csv or .parquet."
        )
    if path.suffix not in FORMATS:
        raise DataError(f"{asked}: expected a .csv or .parquet file, or a cohort folder.")
    vanished: dict[str, Sequence[str]] = {}
    if path.suffix == ".csv":
        text = _csv(path, asked)
        gone = text.isin(NOTHING)
        for name in text.columns[gone.any()]:
            if words := sorted({*text.loc[gone[name], name]} - {""}):
                vanished[str(name)] = words
        table = text.mask(gone)
    else:
        table = _parquet(path, asked)
    if not len(table) or not len(table.columns):
        raise DataError(f"{asked} has no rows below its header; expected some.")
    rows = pd.DataFrame({str(name): _plain(table[name], asked) for name in table})
    return _Table(rows, vanished)


def _csv(path: Path, asked: str) -> pd.DataFrame:
    """Return all fields as they are written."""
    try:
        _check_rows(path, asked)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                path, dtype=str, na_filter=False, index_col=False, encoding="utf-8-sig",
                skipinitialspace=True,
            )  # fmt: skip
    except UnicodeDecodeError:
        raise DataError(f"{asked} is no UTF-8 text. Save it as CSV in UTF-8.") from None
    except UNREADABLE as error:
        raise DataError(f"{asked} is no CSV table that can be read: {_short(error)}.") from None


def _check_rows(path: Path, asked: str) -> None:
    """See to it that every line has the fields of the header: pandas would fill in or cut."""
    most = csv.field_size_limit(MOST_LETTERS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(_without_zeros(file, asked), strict=True, skipinitialspace=True)
            _check_head(head := next(rows, []), asked)
            for row in rows:
                if row and len(row) != len(head):
                    raise DataError(
                        f"{asked} line {rows.line_num}: there are {len(row)} fields; expected "
                        f"{len(head)}, as in the header."
                    )
    finally:
        csv.field_size_limit(most)


def _without_zeros(lines: Iterable[str], asked: str) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            raise DataError(f"{asked} line {number} holds a zero byte. Save it as CSV in UTF-8.")
        yield line


def _check_head(head: list[str], asked: str) -> None:
    if not any(name.strip() for name in head):
        raise DataError(f"{asked} is empty; expected a line of column names.")
    for sign, said in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
        if len(head) == 1 and sign in head[0]:
            more = ", and numbers with a decimal point" if sign == ";" else ""
            raise DataError(f"{asked} is separated by {said}. Save it with commas{more}.")
    head = [name.strip() for name in head]
    if twice := sorted({name for name in head if head.count(name) > 1}):
        raise DataError(f"{asked} has several columns called {twice[0]!r}; expected one.")


def _parquet(path: Path, asked: str) -> pd.DataFrame:
    import pyarrow as pa  # noqa: PLC0415

    try:
        table = pd.read_parquet(path)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise DataError(f"{asked} is no parquet file that can be read: {_short(error)}.") from None
    named = [name for name in table.index.names if name is not None]
    return table.reset_index() if named else table


def _plain(values: pd.Series, asked: str) -> pd.Series:
    """Return numbers as ``float64`` and all else as text."""
    whole = pd.api.types.is_integer_dtype(values)
    too_long = whole and not values.dropna().between(-(10**MOST_DIGITS), 10**MOST_DIGITS).all()
    if pd.api.types.is_numeric_dtype(values) and not (
        too_long or pd.api.types.is_bool_dtype(values)
    ):
        return values.astype("float64").reset_index(drop=True)
    plain = values.astype(object).reset_index(drop=True)
    is_text = pd.api.types.infer_dtype(plain, skipna=True) == "string"
    if not is_text and len(
        odd := plain[plain.map(lambda value: isinstance(value, list | dict | bytes | np.ndarray))]
    ):
        raise DataError(
            f"{asked} row {odd.index[0] + 1}: {values.name!r} holds several values in one field or "
            "raw bytes; expected one number or text. Leave the column out, or give each value a "
            "column, or a row of visits or codes in a cohort folder."
        )
    text = plain.where(plain.notna(), None)
    text = (text if is_text else text.map(str, na_action="ignore")).str.strip()
    return text.astype(object).where(text.notna() & (text != ""), None)


def _short(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:200]
