"""Persons in a common data model, each followed from one day: their settings and schema."""

from __future__ import annotations

import datetime as dt
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from fedbench.data import (
    OTHER,
    Cohort,
    Column,
    DataStore,
    Outcome,
    Rule,
    Schema,
    Task,
    Vocabulary,
    Window,
)
from fedbench.datasets._catalogue import Catalogue, catalogue
from fedbench.datasets._clinical import RULES
from fedbench.datasets._followed import (
    AGES,
    DISCHARGE,
    DRUGS,
    FOLLOW,
    HISTORY,
    MONTH,
    YEAR,
    Following,
    Records,
)
from fedbench.datasets._reading import FromFolder
from fedbench.errors import SpecError
from fedbench.tables import hint

__all__ = ["Persons"]

RACES = ("white", "black", "asian", "pacific islander", "american indian", OTHER)
System = Literal["snomed", "icd10cm"]


@dataclass(frozen=True, kw_only=True)
class Persons(FromFolder):
    """A person per record, seen from one day on, from records in a common data model.

    Attributes:
        index: day 0 of everybody. ``discharge``: the end of the first inpatient stay. A date,
            such as ``2015-01-01``: that day, for who was seen before and is under observation.
        until: the date of the extract, up to which everybody who is not known to have died was
            alive. Default: the last day on which a visit began.
        system: the coding system of diagnoses, ``snomed`` or ``icd10cm``.
        foresee: diagnoses, by their meaning in the catalogue, each of which becomes a task: who
            has none so far, does it follow within a year?
        catalogue: a TOML file that says what is read; default: a list of 27 measurements and 31
            diagnoses.
    """

    called: ClassVar[str]
    home: ClassVar[str]
    redistributable: ClassVar[bool] = False

    index: str = DISCHARGE
    until: str = ""
    system: System = "snomed"
    foresee: tuple[str, ...] = ("type 2 diabetes",)
    catalogue: str = ""

    def __post_init__(self) -> None:
        if self.index != DISCHARGE:
            _date("index", self.index)
        if self.until:
            _date("until", self.until)

    @cached_property
    def listed(self) -> Catalogue:
        """What is read."""
        return catalogue(self.catalogue)

    @cached_property
    def diagnoses(self) -> Vocabulary:
        """The diagnoses that are told apart."""
        found = self.listed.conditions.get(self.system)
        if found is None:
            raise SpecError(
                f"{self.catalogue}: no conditions are listed for the system {self.system!r}."
            )
        return found

    @property
    def schema(self) -> Schema:
        static, visits = self._static(), {n: m.column for n, m in self.listed.measurements.items()}
        return Schema(
            name=self.called,
            clock=self._clock(),
            static=static,
            visits=visits,
            vocabularies={self.system: self.diagnoses},
            windows=(
                Window(name="history", start=-HISTORY, end=0),
                Window(name="year after", start=0, end=YEAR),
            ),
            outcome=Outcome(label="death", low=0, high=FOLLOW),
            tasks=self._tasks(),
            rules=tuple(rule for rule in RULES if self._applies(rule)),
        )

    def load(self, store: DataStore) -> Cohort:
        """Return everybody who has a day 0; records of five years before and after it."""
        schema = self.schema  # before a file is read: a mistake in the settings costs no time
        return Following(
            schema, self.index, self.until, self.system, self.listed, self.records(store)
        ).cohort()

    @abstractmethod
    def records(self, store: DataStore) -> Records:
        """Return where the records are."""

    def _clock(self) -> str:
        if self.index == DISCHARGE:
            return "days since the end of the first inpatient stay"
        return f"days since {self.index}"

    def _static(self) -> Mapping[str, Column]:
        inpatient = f"inpatient stay begins within {MONTH} days"
        found = {
            "sex": Column(
                kind="category", label="sex", levels=("female", "male", OTHER),
                roles=frozenset(["quasi-identifier"]),
            ),
            "age": Column(
                kind="integer", label="age, by year of birth", unit="years", low=0, high=AGES,
                roles=frozenset(["quasi-identifier"]),
            ),
            "race": Column(
                kind="category", label="race, as the census of the United States has it",
                levels=RACES, roles=frozenset(["quasi-identifier"]),
            ),
            "drugs": Column(
                kind="integer", label="different drugs in the year before", low=0, high=DRUGS
            ),
            "admitted": Column(
                kind="category", label=inpatient, levels=("no", "yes"), known=MONTH,
                implies="seen",
            ),
            "seen": Column(
                kind="category", label=f"a visit of any kind within {MONTH} days",
                levels=("no", "yes"), known=MONTH,
            ),
        }  # fmt: skip
        if not self.listed.sites:
            return found
        home = Column(
            kind="category", label="hospital", levels=(*self.listed.sites, OTHER),
            roles=frozenset(["site"]),
        )  # fmt: skip
        return {"hospital": home, **found}

    def _tasks(self) -> Mapping[str, Task]:
        tasks = {
            "death": Task(
                kind="classification", label="death within a year", index=0, horizon=YEAR
            ),
            "survival": Task(kind="survival", label="time to death", index=0),
            "admission": Task(
                kind="classification", label=f"inpatient stay within {MONTH} days", index=0,
                column="admitted",
            ),
            "visit": Task(
                kind="classification", label=f"visit within {MONTH} days", index=0, column="seen"
            ),
        }  # fmt: skip
        for meaning in self.foresee:
            tasks[meaning] = Task(
                kind="classification", label=f"{meaning} for the first time within a year",
                index=0, horizon=YEAR, codes=self._meant(meaning),
            )  # fmt: skip
        return tasks

    def _meant(self, meaning: str) -> tuple[str, ...]:
        codes = self.diagnoses.codes
        found = [f"{self.system}:{code}" for code, what in codes.items() if what == meaning]
        if not found:
            near = hint(meaning, set(codes.values()))
            raise SpecError(
                f"foresee: no diagnosis listed for {self.system} means {meaning!r}.{near}"
            )
        return tuple(found)

    def _applies(self, rule: Rule) -> bool:
        about = f"{rule.holds} and {rule.when}".split()
        codes = [what for name, what in zip(about, about[2:], strict=False) if name == "code"]
        measured = {"dbp", "sbp", "hdl", "cholesterol"} & set(about)
        return measured <= set(self.listed.measurements) and all(
            code in self.diagnoses.codes for code in codes
        )


def _date(setting: str, text: str) -> None:
    try:
        right = dt.date.fromisoformat(text).isoformat() == text
    except ValueError:
        right = False
    if not right:
        wanted = f"{DISCHARGE!r} or a date" if setting == "index" else "a date"
        raise SpecError(f"{setting} is {text!r}; expected {wanted}, such as 2015-01-01.")
