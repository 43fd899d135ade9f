"""What is publicly known about records before any of them is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Literal

import numpy as np

from fedbench.errors import DataError

__all__ = [
    "MISSING",
    "OTHER",
    "SHORT",
    "Column",
    "Feature",
    "Outcome",
    "Part",
    "Role",
    "Rule",
    "Schema",
    "Task",
    "Vocabulary",
    "Window",
]

OTHER = "(other)"
"""Stands for every category or code that the public schema does not list."""

MISSING = "(missing)"
"""How a missing category is shown; in tables it is an empty field."""

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
