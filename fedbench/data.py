"""Health records, and what is publicly known about them."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from fedbench.errors import DataError
from fedbench.plugin import Plugin

if TYPE_CHECKING:
    import pandas as pd

    from fedbench.sequences import Sequences

__all__ = [
    "MISSING",
    "OTHER",
    "Cohort",
    "Column",
    "DataStore",
    "Dataset",
    "Download",
    "Feature",
    "Outcome",
    "Part",
    "Role",
    "Rule",
    "Schema",
    "Task",
    "Vocabulary",
    "Window",
    "by_content",
    "cohort_from_table",
    "looks_of",
    "read_cohort",
    "write_cohort",
]

OTHER = "(other)"
"""Stands for every category or code that the public schema does not list."""

MISSING = "(missing)"
"""How a missing category is shown; in tables it is an empty field."""

TABLES = ("static", "visits", "codes", "outcome")

SHORT = 7
"""Days; in shorter windows visits are dated by parts of a day."""


class Part(StrEnum):
    """The parts a cohort may have."""

    STATIC = "static"
    VISITS = "visits"
    CODES = "codes"
    OUTCOME = "outcome"


Role = Literal["quasi-identifier", "sensitive", "site", "region"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """What everyone may know about a column before seeing any record.

    ``low`` and ``high`` are plausible clinical bounds, both inclusive and both public.
    ``log`` says that the quantity is spread over orders of magnitude.
    ``implies`` names the static column whose value this one gives away (cigarettes a day tells
    who smokes): it is hidden from whoever must guess that one.
    A column with the role ``site`` says where a patient lives and is not generated; one with the
    role ``region``, where her hospital lies.
    ``known`` is the day from which a static fact is known: what is known later than the index
    time of a task (length of stay, readmission) predicts nothing there.
    """

    kind: Literal["number", "integer", "category"]
    label: str = ""
    unit: str = ""
    levels: tuple[str, ...] = ()
    low: float = float("nan")
    high: float = float("nan")
    log: bool = False
    implies: str = ""
    known: float = float("-inf")
    roles: frozenset[Role] = frozenset()

    def __post_init__(self) -> None:
        if self.kind == "category":
            if not self.levels or len(set(self.levels)) != len(self.levels):
                raise DataError(f"A category needs distinct levels, found {self.levels!r}.")
        elif not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise DataError(
                f"{'An integer' if self.kind == 'integer' else 'A number'} column needs finite "
                f"public bounds low < high, found {self.low} and {self.high}."
            )
        elif self.log and self.low <= 0:
            raise DataError(f"A log column needs low > 0, found {self.low}.")


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """One coding system: its public list of codes with their meaning.

    ``shown`` are the codes that the patient table tells apart; without any, all of them.
    """

    codes: Mapping[str, str]
    sensitive: frozenset[str] = frozenset()
    shown: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if unknown := [code for code in self.shown if code not in self.codes]:
            raise DataError(f"The vocabulary shows {unknown[0]!r}, which is none of its codes.")

    @property
    def features(self) -> tuple[str, ...]:
        """The codes that are columns of the patient table."""
        return self.shown or tuple(self.codes)


@dataclass(frozen=True, kw_only=True)
class Window:
    """A stretch of time, ``start`` < day <= ``end``, that a patient summary describes."""

    name: str
    start: float
    end: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.start) and np.isfinite(self.end) and self.start < self.end):
            raise DataError(
                f"The window {self.name!r} is from {self.start:g} to {self.end:g}; expected a "
                "finite start before a finite end."
            )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What happened to a patient in the end: an event or the end of follow-up, and when."""

    label: str
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Task:
    """A prediction that could have been made at the index time.

    Only what is dated at or before ``index`` may be used, and patients whose event or censoring
    lies at or before it are left out. ``classification`` asks for an event in
    ``(index, horizon]`` and also leaves out those censored before the horizon.

    What is foreseen is the outcome, unless the task names something else:

    * ``column``, a static column known later than ``index``: a number (``regression``: length of
      stay) or a category with two levels, the event last, such as no and yes (``classification``:
      readmission). Who has no value is left out.
    * ``codes``, each as ``system:code``: whether one of them is recorded in ``(index, horizon]``
      (``classification``: next diagnosis, phenotype). Who had one before is left out; so is who
      was censored before a finite horizon without one.
    """

    kind: Literal["classification", "survival", "regression"]
    label: str
    index: float
    horizon: float = float("inf")
    column: str = ""
    codes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.index < self.horizon:
            raise DataError(
                f"Task {self.label!r}: the horizon is {self.horizon:g}; expected a day after the "
                f"index, {self.index:g}."
            )
        if self.column and self.codes:
            raise DataError(f"Task {self.label!r} names a column and codes; expected one of them.")
        if (self.kind == "regression") > bool(self.column):
            raise DataError(f"Task {self.label!r}: a regression needs a static column.")
        if self.kind == "survival" and (self.column or self.codes):
            raise DataError(f"Task {self.label!r}: survival is about the outcome only.")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Something that is true of every real patient, if the records are right.

    ``holds`` and ``when`` are comparisons ``NAME = < > <= >= != WHAT`` in which WHAT is a number,
    a level or another name, or ``NAME begins WHAT``; several are joined by `` and ``. Names are
    columns of the tables, ``day``, ``code``, ``time`` and ``event`` included. A rule is about
    codes if it names ``code``, else about visits if it names ``day`` or a column of them, else
    about patients; what a comparison needs and is missing breaks no rule.
    See ``fedbench.rules``.
    """

    label: str
    holds: str
    source: str
    when: str = ""


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The public description of a cohort; the only thing that is shared for free.

    All times are days on one clock per patient, explained by ``clock``.
    ``cluster`` names a column of the static table whose values must never be torn apart
    (matched sets, households).
    """

    name: str
    clock: str
    static: Mapping[str, Column]
    visits: Mapping[str, Column] = field(default_factory=dict)
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    outcome: Outcome | None = None
    tasks: Mapping[str, Task] = field(default_factory=dict)
    cluster: str | None = None
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        self._check_site()
        for name, task in self.tasks.items():
            self._check_task(name, task)
        for name, column in (*self.static.items(), *self.visits.items()):
            if column.implies and column.implies not in self.static:
                raise DataError(
                    f"Schema {self.name!r}: {name} implies {column.implies!r}, which is no static "
                    f"column. There are {', '.join(self.static)}."
                )

    def _check_site(self) -> None:
        """See to it that one column at most names the hospital, and one its region."""
        for role in ("site", "region"):
            named = [name for name, column in self.static.items() if role in column.roles]
            if len(named) > 1:
                raise DataError(
                    f"Schema {self.name!r}: {' and '.join(named)} have the role {role!r}; "
                    "expected one column at most."
                )
            if named and self.static[named[0]].kind == "number":
                raise DataError(
                    f"Schema {self.name!r}: {named[0]} has the role {role!r} and is a number; "
                    "expected a category, or an integer."
                )
        if strange := [n for n, c in self.visits.items() if {"site", "region"} & c.roles]:
            raise DataError(
                f"Schema {self.name!r}: {strange[0]} is a visit column and has the role of a "
                "hospital; expected a static one."
            )

    def _check_task(self, name: str, task: Task) -> None:
        where = f"Schema {self.name!r}: the task {name!r}"
        if not task.column and not task.codes and self.outcome is None:
            raise DataError(f"{where} is about the outcome, and there is none.")
        if self.outcome is not None:
            self._check_days(where, task, self.outcome)
        for code in task.codes:
            system, _, found = code.partition(":")
            if system not in self.vocabularies or found not in self.vocabularies[system].codes:
                raise DataError(f"{where} is about {code!r}; expected system:code, both listed.")
        if not task.column:
            return
        column = self.static.get(task.column)
        if column is None or not column.known > task.index:
            raise DataError(
                f"{where} is about {task.column!r}; expected a static column whose 'known' is "
                f"later than its index, {task.index:g}."
            )
        if (column.kind == "category") == (task.kind == "regression"):
            raise DataError(f"{where}: a {task.kind} cannot be about a {column.kind} column.")
        if column.kind == "category" and len(column.levels) != 2:
            raise DataError(
                f"{where}: {task.column!r} needs two levels, the event last; found "
                f"{len(column.levels)}."
            )

    @staticmethod
    def _check_days(where: str, task: Task, outcome: Outcome) -> None:
        """See to it that somebody can be followed from the index to a finite horizon."""
        followed = f"nobody is followed beyond day {outcome.high:g}, the outcome's high"
        if not task.index < outcome.high:
            raise DataError(f"{where} has the index {task.index:g}; {followed}.")
        if task.kind == "classification" and outcome.high < task.horizon < float("inf"):
            raise DataError(
                f"{where} has the horizon {task.horizon:g}; {followed}. Who has no event by then "
                "would be left out, and all others had it: choose an earlier horizon."
            )

    @property
    def site(self) -> str | None:
        """The static column that names a patient's hospital."""
        return next((n for n, c in self.static.items() if "site" in c.roles), None)

    @property
    def region(self) -> str | None:
        """The static column that names the region of a patient's hospital."""
        return next((n for n, c in self.static.items() if "region" in c.roles), None)

    @property
    def parts(self) -> frozenset[Part]:
        """The parts this cohort has."""
        has = {
            Part.STATIC: bool(self.static),
            Part.VISITS: bool(self.visits),
            Part.CODES: bool(self.vocabularies),
            Part.OUTCOME: self.outcome is not None,
        }
        return frozenset(part for part, there in has.items() if there)

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """The columns of the patient table, see ``Cohort.table``."""
        return (
            *(
                Feature(name, column, Part.STATIC, source=name)
                for name, column in self.static.items()
                if "site" not in column.roles
            ),
            *(feature for window in self.windows for feature in self._in_window(window)),
            *(self._ends() if self.outcome else ()),
        )

    def feature(self, name: str) -> Feature:
        """Return the column of the patient table called ``name``."""
        return next(feature for feature in self.features if feature.name == name)

    def recorded(self, system: str, code: str, window: Window) -> str:
        """Return the name of the feature that says whether a code was recorded in a window.

        V10 is a history of cancer in ICD-9-CM and a cycling accident in ICD-10-CM: what several
        systems list has the system before it.
        """
        several = sum(code in vocabulary.codes for vocabulary in self.vocabularies.values()) > 1
        return f"{system}:{code}@{window.name}" if several else f"{code}@{window.name}"

    def _in_window(self, window: Window) -> Sequence[Feature]:
        found: list[Feature] = []
        if self.visits:
            short = window.end - window.start < SHORT
            day = Column(
                kind="number" if short else "integer",
                label=f"day of the last visit {window.name}",
                unit="days",
                low=window.start if short else np.floor(window.start) + 1,
                high=window.end if short else np.floor(window.end),
            )
            found.append(Feature(f"day@{window.name}", day, Part.VISITS, "day", window))
            found += [
                Feature(f"{name}@{window.name}", column, Part.VISITS, name, window)
                for name, column in self.visits.items()
            ]
        for system, vocabulary in self.vocabularies.items():
            for code in vocabulary.features:
                roles: frozenset[Role] = frozenset(
                    ["sensitive"] if code in vocabulary.sensitive else []
                )
                label = vocabulary.codes[code]
                ever = Column(kind="category", levels=("no", "yes"), label=label, roles=roles)
                name = self.recorded(system, code, window)
                found.append(Feature(name, ever, Part.CODES, code, window, system=system))
        return found

    def _ends(self) -> Sequence[Feature]:
        assert self.outcome is not None  # noqa: S101  (for the type checker)
        event = Column(kind="category", levels=("no", "yes"), label=self.outcome.label)
        time = Column(
            kind="number",
            unit="days",
            label=f"days to {self.outcome.label} or end of follow-up",
            low=self.outcome.low,
            high=self.outcome.high,
        )
        return (
            Feature("event", event, Part.OUTCOME, "event"),
            Feature("time", time, Part.OUTCOME, "time", given="event"),
        )


@dataclass(frozen=True)
class Feature:
    """One column of the patient table and where it comes from.

    ``given`` names a category within whose levels the distribution is described: time to
    event means one thing for those who had the event and another for those who did not.
    """

    name: str
    column: Column
    part: Part
    source: str
    window: Window | None = None
    given: str | None = None
    system: str = ""

    @property
    def needs(self) -> str | None:
        """The feature without which this one does not apply: no visit, no measurement."""
        if self.part is Part.VISITS and self.window and self.source != "day":
            return f"day@{self.window.name}"
        return None


@dataclass(frozen=True)
class Cohort:
    """Patients with their schema.

    Tables (every one has a ``patient`` column of text):

    * ``static``: one row per patient.
    * ``visits``: one row per visit, with its ``day``; empty fields are not measured.
    * ``codes``: one row per diagnosis: ``day``, ``system``, ``code``.
    * ``outcome``: one row per patient: ``time`` in days, ``event`` 0 or 1.

    ``notes`` says, a sentence each, whom and what the reader of the records left out.

    Build with ``Cohort.of_tables``, which validates.
    """

    schema: Schema
    static: pd.DataFrame
    visits: pd.DataFrame
    codes: pd.DataFrame
    outcome: pd.DataFrame
    notes: tuple[str, ...] = field(default=(), kw_only=True)

    @classmethod
    def of_tables(
        cls,
        schema: Schema,
        static: pd.DataFrame,
        visits: pd.DataFrame | None = None,
        codes: pd.DataFrame | None = None,
        outcome: pd.DataFrame | None = None,
    ) -> Cohort:
        """Check every table against the schema and put it in a stable order.

        Raises:
            DataError: names the table, row, column and value that do not fit.
        """
        from fedbench import validation  # noqa: PLC0415  (validation needs the types above)

        return validation.checked(schema, static, visits, codes, outcome)

    def __len__(self) -> int:
        return len(self.static)

    @property
    def patients(self) -> NDArray[np.object_]:
        """Every patient once, sorted."""
        return self.static["patient"].to_numpy(dtype=object)

    @property
    def sites(self) -> NDArray[np.object_] | None:
        """The hospital of every patient, where the data say so."""
        site = self.schema.site
        if site is None:
            return None
        names = self.static[site]
        if self.schema.static[site].kind != "category":
            names = names.map("{:.15g}".format, na_action="ignore")  # 7, not 7.0
        return names.astype(object).to_numpy()

    @property
    def clusters(self) -> NDArray[np.object_]:
        """What must not be torn apart, for every patient; by default the patient alone."""
        cluster = self.schema.cluster
        return self.patients if cluster is None else self.static[cluster].to_numpy(dtype=object)

    @property
    def event(self) -> NDArray[np.bool_]:
        """Whether the event was seen, for every patient; empty without an outcome."""
        return np.asarray(self.outcome["event"].to_numpy() == 1)

    @cached_property
    def keys(self) -> NDArray[np.uint64]:
        """A number for every patient that is the same wherever the patient is."""
        import pandas as pd  # noqa: PLC0415

        return pd.util.hash_array(self.patients, categorize=False)

    def take(self, patients: NDArray[np.object_]) -> Cohort:
        """Return these patients only, with their rows of the patient table if it was made."""
        import pandas as pd  # noqa: PLC0415

        wanted = pd.Index(patients)

        def mine(table: pd.DataFrame) -> pd.DataFrame:
            return table[table["patient"].isin(wanted)].reset_index(drop=True)

        found = Cohort(self.schema, *(mine(getattr(self, name)) for name in TABLES))
        if "table" in self.__dict__:
            found.__dict__["table"] = self.table[self.table.index.isin(wanted)]
        return found

    @staticmethod
    def union(cohorts: Sequence[Cohort]) -> Cohort:
        """Return everyone in these cohorts, which share a schema and no patient."""
        import pandas as pd  # noqa: PLC0415

        def together(name: str) -> pd.DataFrame:
            tables = [getattr(cohort, name) for cohort in cohorts]
            full = [table for table in tables if len(table)] or tables[:1]
            by = ["patient", "day"] if "day" in full[0] else ["patient"]
            stacked: pd.DataFrame = pd.concat(full, ignore_index=True)
            return stacked.sort_values(by, kind="stable", ignore_index=True)

        found = Cohort(cohorts[0].schema, *(together(name) for name in TABLES))
        if all("table" in cohort.__dict__ for cohort in cohorts):
            table = pd.concat([cohort.table for cohort in cohorts])
            found.__dict__["table"] = table.loc[pd.Index(found.patients, name="patient")]
        return found

    @cached_property
    def table(self) -> pd.DataFrame:
        """The patient table: one row per patient, one column per ``schema.features``.

        Visits become, per window, the day of the last visit and the last value measured;
        codes become whether they were ever recorded in the window. Numbers are ``float64``
        with NaN for missing, categories are pandas categoricals with the schema's levels.
        """
        from fedbench import summary  # noqa: PLC0415

        return summary.patient_table(self)

    @cached_property
    def looks(self) -> NDArray[np.uint64]:
        """A number for every patient that is the same for those who look alike in ``table``."""
        return looks_of(self.table)

    @cached_property
    def sequences(self) -> Sequences:
        """Visits and codes as arrays, see ``fedbench.sequences``."""
        from fedbench import sequences  # noqa: PLC0415

        return sequences.Sequences.of(self)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all records, so that two runs can prove they saw the same data."""
        digest = hashlib.sha256()
        for name in TABLES:
            table = getattr(self, name)
            digest.update(f"{name}:{','.join(table.columns)}:{len(table)};".encode())
            digest.update(looks_of(table).tobytes())
        return digest.hexdigest()[:16]


def cohort_from_table(schema: Schema, table: pd.DataFrame) -> Cohort:
    """Write a patient table back as a cohort: one visit per window that has a day."""
    from fedbench import summary  # noqa: PLC0415

    return summary.cohort_from_table(schema, table)


def looks_of(table: pd.DataFrame) -> NDArray[np.uint64]:
    """Return a number for each row ``(n,)`` that is the same for rows that are alike."""
    import pandas as pd  # noqa: PLC0415

    return np.asarray(pd.util.hash_pandas_object(table, index=False), dtype=np.uint64)


def by_content(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows by patient and day, those of one day in an order that their content makes."""
    keys = [table["patient"].to_numpy(dtype=str)]
    if "day" in table:
        keys = [looks_of(table.drop(columns="patient")), table["day"].to_numpy(), *keys]
    order = np.lexsort(keys)
    return table.iloc[order].reset_index(drop=True)


def write_cohort(cohort: Cohort, folder: Path, **extra: NDArray[np.object_]) -> None:
    """Write the tables of a cohort as parquet; ``extra`` columns go to the static table."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        table = getattr(cohort, name)
        if name == "static" or len(table):
            table = table.assign(**extra) if name == "static" else table
            table.to_parquet(folder / f"{name}.parquet", index=False)


def read_cohort(schema: Schema, folder: Path) -> Cohort:
    """Read and check a cohort written by ``write_cohort``.

    Raises:
        DataError: a table is missing or does not fit the schema.
    """
    import pandas as pd  # noqa: PLC0415

    if not (folder / "static.parquet").is_file():
        raise DataError(f"There is no static.parquet in {folder}; a cohort folder needs one.")
    tables = {
        name: pd.read_parquet(folder / f"{name}.parquet")
        for name in TABLES
        if (folder / f"{name}.parquet").is_file()
    }
    return Cohort.of_tables(schema, **tables)


@dataclass(frozen=True)
class DataStore:
    """Where data folders are: given by hand, else by the variable FEDBENCH_DATA."""

    root: Path | None = None

    @classmethod
    def default(cls) -> DataStore:
        """Return the store that the environment names."""
        root = os.environ.get("FEDBENCH_DATA")
        return cls(Path(root) if root else None)

    def folder(self, name: str) -> Path:
        """Return the folder of a dataset, inside the root unless it is an absolute path.

        A packed folder or database is one file.

        Raises:
            DataError: it is not there.
        """
        if Path(name).is_absolute() and Path(name).exists():
            return Path(name)
        if self.root is None:
            raise DataError(
                f"The dataset needs the folder {name!r}, and no data folder is set. "
                "Set FEDBENCH_DATA or give --data-dir."
            )
        if not (folder := self.root / name).exists():
            raise DataError(
                f"There is no folder {name!r} in {self.root}. `fedbench data describe NAME` "
                "says where a dataset is from, `fedbench data get NAME` how to get it."
            )
        return folder


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file that the publisher offers to everyone: where it is, where it goes, what it must be."""

    url: str
    path: str
    sha256: str


class Dataset(Plugin):
    """A source of records, with what a user must know before using them.

    ``home`` is the page where the records and their terms are, ``downloads`` the files there that
    nobody has to ask for. ``made`` says how to make the tables of what the publisher offers, where
    they are not the publisher's own.
    """

    title: ClassVar[str]
    licence: ClassVar[str]
    citation: ClassVar[str]
    home: ClassVar[str] = ""
    made: ClassVar[str] = ""
    downloads: ClassVar[tuple[Download, ...]] = ()
    embedded: ClassVar[bool] = False
    redistributable: ClassVar[bool] = True
    """Whether records derived from the data may be published."""

    @property
    @abstractmethod
    def schema(self) -> Schema:
        """The public description, known before any record is read."""

    @abstractmethod
    def load(self, store: DataStore) -> Cohort:
        """Return the whole cohort.

        Raises:
            DataError: the files are not there or do not fit.
        """
