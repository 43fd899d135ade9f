"""Tables from outside, checked against each other and set up as a world."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from fedbench.attacking import Arena
from fedbench.carried import carried
from fedbench.config import DatasetChoice, Scenario
from fedbench.data import TABLES, Cohort, Schema, looks_of
from fedbench.doubts import doubts
from fedbench.draft import Draft, drafted, unlike, widened
from fedbench.encoding import Encoder, summarize
from fedbench.errors import DataError, SpecError
from fedbench.federation.study import Choice
from fedbench.naming import namings
from fedbench.nouns import few, plural
from fedbench.partition import Split
from fedbench.rare import rare
from fedbench.repeats import copies, overlap, repeats, repetitive
from fedbench.results import portable
from fedbench.schemas import read_schema
from fedbench.seeds import Rng
from fedbench.tables import hint
from fedbench.tabular import PATIENT, Given, as_levels, as_numbers, names_patient, numbered, read
from fedbench.wanted import check_levels, with_sensitive, with_survival, with_tasks
from fedbench.world import World, renamed, uniform

__all__ = ["REPLICATES", "SEED", "SYNTHETIC", "Asked", "Case", "prepare"]

SYNTHETIC, GIVEN = "synthetic", "given"
SEED = 0
REPLICATES = 400
EVERYWHERE = "everywhere"
SWAPPED = 1e-6
"""Below this chance a release of control patients is no luck: tables were mixed up."""
FEWEST, MOST = 10, 10_000
"""Synthetic records that metrics look at: at least, and unless more are asked for."""
MOST_DOUBTS = 5
"""Notes on what in real tables may not mean what it says."""

NOT_PUBLIC = (
    "The schema was drafted from these very records. That is fine for looking at them; its bounds "
    "are not public, so train no generator with it."
)

ROW_NUMBER = ("", "unnamed: 0", "index", "rownames", "row")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Where the tables are, and what is known about them.

    ``parts`` are those of real patients: ``train``, and ``test``, ``control`` or ``reference``.
    Where there is no control, the test patients are the non-members. ``predict`` are the columns
    to be foreseen beside an outcome; ``None``: nothing is foreseen at all. ``fail_over`` is the
    largest share that may be given away, where that is asked.
    """

    parts: Mapping[str, Path]
    synthetic: Path
    schema: Path | None = None
    sensitive: tuple[str, ...] = ()
    patient: str = ""
    predict: tuple[str, ...] | None = None
    records: int = MOST
    fail_over: float | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """Tables that fit each other and one schema; ``notes`` is what a reader must know.

    ``named`` are those of them that say where the release names training patients, ``overlap``
    says that other patients seem to be among them, and ``copied`` how many are released.
    """

    files: Mapping[str, str]
    parts: Mapping[str, Cohort]
    release: Cohort
    public: Schema
    """What was known before the release, which may go beyond it."""
    is_drafted: bool
    notes: tuple[str, ...]
    records: int
    patient: str = ""
    """The column of single tables that says who a patient is, if one does."""
    fail_over: float | None = None
    named: tuple[str, ...] = ()
    overlap: str = ""
    copied: str = ""

    @property
    def schema(self) -> Schema:
        """The description that all tables fit."""
        return self.release.schema

    @property
    def tables(self) -> Mapping[str, Cohort]:
        """All tables: the parts, and what was released."""
        return {**self.parts, SYNTHETIC: self.release}

    @cached_property
    def foreign(self) -> str:
        """A column in which no released record can equal a real one; empty where there is none.

        Its category is written in other words, or it has one value alone that nobody has.
        """
        real = [cohort.table for cohort in self.parts.values()]
        for feature in self.schema.features:
            released = self.release.table[feature.name]
            one_way = feature.column.kind == "category" or len(released.drop_duplicates()) == 1
            if one_way and not any(released.isin(table[feature.name]).any() for table in real):
                return feature.name
        return ""

    @cached_property
    def world(self) -> World:
        """The hospitals, with their parts as they were given."""
        part = dict(self.parts)
        everyone = Cohort.union(list(part.values()))
        nobody = everyone.take(np.array([], dtype=object))
        _ = [cohort.table for cohort in (nobody, *part.values())]  # once for all
        homes = sorted(set(everyone.sites)) if everyone.sites is not None else [EVERYWHERE]
        splits = {
            str(home): _split({name: _living(c, home) for name, c in part.items()}, nobody)
            for home in homes
        }
        return _GivenWorld(
            dataset=DatasetChoice(name=GIVEN),  # what files are called draws no lots
            scenario=Scenario(name=GIVEN, partition=Choice("natural")),
            seed=SEED,
            cohort=everyone,
            records=min(len(self.release), self.records),
            replicates=REPLICATES,
            given=splits,
        )

    def uniform(self, rng: Rng) -> Cohort:
        """Return as many records as are scored, even over what was known before the release."""
        train = replace(self.world.train, schema=self.public)
        found = uniform(Encoder(self.public, summarize(train)), self.world.m, rng)
        return replace(found, schema=self.schema)

    @cached_property
    def arena(self) -> Arena:
        """The challenges, dealt from what was given."""
        return Arena(self.world, secrets=len(self.schema.features))


@dataclass(frozen=True, kw_only=True)
class _GivenWorld(World):
    """A world that nobody dealt."""

    given: Mapping[str, Split]

    @property
    def splits(self) -> Mapping[str, Split]:
        return self.given

    @property
    def dealt(self) -> Mapping[str, Split]:
        return self.given


def _split(part: Mapping[str, Cohort], nobody: Cohort) -> Split:
    test = part.get("test", nobody)
    control, reference = part.get("control", test), part.get("reference", nobody)
    return Split(train=part["train"], test=test, control=control, reference=reference)


def _living(cohort: Cohort, home: str) -> Cohort:
    return cohort if cohort.sites is None else cohort.take(cohort.patients[cohort.sites == home])


def prepare(asked: Asked) -> Case:
    """Read all tables, describe them, and check them against each other. Writes nothing.

    Raises:
        FedbenchError: something does not fit; names the file, row, column and value.
    """
    own = read_schema(asked.schema) if asked.schema else None
    real, released, ends = _with_outcome(asked, own, *_read(asked))
    described, patient = _described(asked, own, real, released)
    schema = with_sensitive(described, asked.sensitive)
    if asked.predict is not None:
        # A schema of whole records has the tasks that its user wants.
        schema = with_survival(schema) if released.single or own is None else schema
        schema = with_tasks(schema, asked.predict, [*real.values()])
    named = {name: table.by_patient(patient, f"{name} ") for name, table in real.items()}
    for table in named.values():  # only what is synthetic may go beyond the schema
        table.cohort(schema)
    check_levels(schema, [*real.values(), released])
    wide = widened(schema, released)
    parts = {name: table.cohort(wide.schema) for name, table in named.items()}
    if not patient:
        parts = {name: _numbered(cohort, f"{name} ") for name, cohort in parts.items()}
    files = {name: table.path.name for name, table in real.items()}
    _apart(parts, files, named, patient)
    names = list(namings(released, real, patient, wide.schema))
    more = list(carried(released, real, patient, wide.schema, names))
    again = {found.column for found in more}
    names = [found for found in names if found.shown or found.column not in again] + more
    records = released.by_patient("", f"{SYNTHETIC} ").cohort(wide.schema)
    _not_of_others(parts, files, records)
    case = Case(
        files={**files, SYNTHETIC: released.path.name},
        parts=parts,
        release=_numbered(records, "s"),
        public=schema,
        is_drafted=asked.schema is None,
        records=asked.records,
        patient=patient if released.single else "",
        fail_over=asked.fail_over,
        notes=(
            *(str(found) for found in sorted(names, key=lambda found: not found.shown)),
            *rare(released, real, wide.schema),
            *repetitive(parts["train"], records),
            *described.notes,
            *ends,
            *wide.notes,
            *unlike(schema, list(real.values()), released),
            *([] if own is None else _not_described(own, {**real, SYNTHETIC: released}, patient)),
        ),
        named=tuple(str(found) for found in names if found.shown),
        overlap=overlap(parts, files),
        copied=copies(parts, records),
    )
    return replace(case, notes=(*case.notes, *_limits(case, asked)))


def _numbered(cohort: Cohort, prefix: str) -> Cohort:
    """Return the same patients, named and sorted by what they look like.

    What is drawn by lot, such as who is in which fold, is then the same however rows are sorted.
    """
    names = np.empty(len(cohort), dtype=object)
    looks = looks_of(cohort.table.sort_index(axis=1))
    names[np.argsort(looks, kind="stable")] = numbered(prefix, len(cohort))
    return renamed(cohort, names)


def _read(asked: Asked) -> tuple[dict[str, Given], Given]:
    """Return the tables of real patients by part, and the synthetic ones."""
    _distinct(asked.parts)
    real = {name: read(path, f"--{name}") for name, path in asked.parts.items()}
    released = read(asked.synthetic, f"--{SYNTHETIC}")
    _alike([*real.values(), released])
    return real, released


def _with_outcome(
    asked: Asked, schema: Schema | None, real: Mapping[str, Given], released: Given
) -> tuple[Mapping[str, Given], Given, Sequence[str]]:
    """Take ``time`` and ``event`` of single tables for the outcome, and say whether that is done.

    A schema says whether they are; without one all real tables must look so.
    """
    every = [*real.values(), released]
    if schema is not None:
        *tables, last = [given.as_in(schema) for given in every]
        return dict(zip(real, tables, strict=True)), last, []
    if not all(given.has_ends for given in every):
        return real, released, []
    if odd := next(filter(None, (given.no_outcome for given in real.values())), ""):
        if "event" in (asked.predict or ()):
            raise SpecError(
                "--predict 'event': beside 'time' it looks like an outcome, which models foresee "
                f"without being told to, but never from 'time'; yet {odd}. Correct that; or call "
                "'time' otherwise, or describe both columns in a --schema, if it is something else."
            )
        return real, released, [f"'time' and 'event' are ordinary columns here, as {odd}."]
    *tables, last = [given.with_outcome() for given in every]
    note = (
        "'time' and 'event' are taken for the outcome: the day on which it happened (event 1) or "
        "until which nobody saw it happen (event 0). If they are something else, call them "
        "otherwise, or describe them in a --schema."
    )
    return dict(zip(real, tables, strict=True)), last, [note]


def _described(
    asked: Asked, schema: Schema | None, real: Mapping[str, Given], released: Given
) -> tuple[Draft, str]:
    """Return the schema that was given or is drafted, and the column that names a patient."""
    tables, notes = list(real.values()), list[str]()
    patient = _patient(asked, schema, tables, notes)
    if schema is not None:
        return Draft(schema, tuple(notes)), patient
    numbers = _row_numbers(tables, patient)
    notes += [f"{name!r} is left out: it numbers rows or patients." for name in numbers]
    name = portable(asked.parts["train"].stem) or "given"
    draft = drafted(tables, released, name, {patient, *numbers} - {""}, asked.sensitive)
    found = list(doubts(tables, draft.schema))
    if (more := len(found) - MOST_DOUBTS) > 0:
        told = plural(more, "more such thing is", "more such things are")
        found[MOST_DOUBTS:] = [f"{told} told by `fedbench data infer`."]
    return Draft(draft.schema, (*notes, *draft.notes, *found, NOT_PUBLIC)), patient


def _distinct(paths: Mapping[str, Path]) -> None:
    seen: dict[Path, str] = {}
    for name, path in paths.items():
        if (other := seen.setdefault(path.resolve(), name)) != name:
            raise DataError(
                f"--{other} and --{name} are both {str(path)!r}. Patients who were trained on "
                "are compared with others who were not."
            )


def _alike(given: Sequence[Given]) -> None:
    for other in given[1:]:
        if other.single != given[0].single:
            folder, file = (other, given[0]) if given[0].single else (given[0], other)
            raise DataError(
                f"{str(folder.path)!r} is a cohort folder and {str(file.path)!r} a single table. "
                "Give all of one kind."
            )
    for name in () if given[0].single else TABLES:
        sides = {name in one.tables: one for one in reversed(given)}
        if len(sides) > 1:
            raise DataError(
                f"{sides[False].path.name} has no {name}.csv or {name}.parquet, "
                f"{sides[True].path.name} has one. Give all folders the same tables."
            )


def _patient(asked: Asked, schema: Schema | None, real: Sequence[Given], notes: list[str]) -> str:
    """Return the column that says who a patient is, empty where there is none."""
    if not real[0].single:
        return "patient"
    shared = [n for n, _ in real[0].columns() if all(n in given.static for given in real)]
    if asked.patient:
        for given in real:
            if asked.patient not in given.static:
                near = hint(asked.patient, given.static)
                raise DataError(f"{given.path.name} has no column {asked.patient!r}.{near}")
        return asked.patient
    known = {*schema.static, schema.cluster} if schema else set()
    free = [name for name in shared if name not in known]
    found = [name for name in free if names_patient(name)]
    found += [name for name in free if all(_names_everyone(given.static[name]) for given in real)]
    if not found:
        notes.append(
            "No column says who a patient is (--id): that nobody is in two of these tables is "
            "taken on trust."
        )
        return ""
    notes.append(f"{found[0]!r} is taken for the patient's identifier, and not compared.")
    return found[0]


def _names_everyone(values: pd.Series) -> bool:
    text = as_numbers(values).isna().all()
    return bool(text and values.notna().all() and values.is_unique and len(values) > 2)


def _row_numbers(real: Sequence[Given], patient: str) -> list[str]:
    known = {*ROW_NUMBER, *PATIENT}
    return [n for n, _ in real[0].columns() if n.strip().casefold() in known and n != patient]


def _not_described(schema: Schema, tables: Mapping[str, Given], patient: str) -> Iterator[str]:
    """Say which columns a schema leaves out, and which tables have them."""
    known = {*schema.static, *schema.visits, schema.cluster, patient, "patient", "day"}
    where: dict[str, list[str]] = {}
    for part, given in tables.items():
        for table in ("static", "visits"):
            for name in map(str, given.tables.get(table, ())):
                if name not in known:
                    where.setdefault(name, []).append(part)
    told = [
        f"{name!r} ({'all' if {*parts} == {*tables} else ', '.join(dict.fromkeys(parts))})"
        for name, parts in where.items()
    ]
    if told:
        yield (
            "Attacks and metrics do not look at these columns, as the schema does not describe "
            f"them: {few(told, most=20)}. Only whether they name training patients is asked: "
            "whether identifiers stand in any, and of those that all tables have, what else is "
            "one patient's alone. Describe them, or leave them out of what is released."
        )


def _apart(
    parts: Mapping[str, Cohort], files: Mapping[str, str], real: Mapping[str, Given], column: str
) -> None:
    """Nobody may be in two tables, neither by name nor, all of them, word for word."""
    names = list(parts)
    for one, other in ((a, b) for i, a in enumerate(names) for b in names[i + 1 :]):
        both = {*parts[one].patients} & {*parts[other].patients}
        if both:
            # Their rows, and not who they are: messages end up in logs.
            theirs = real[other].static["patient"]
            there = np.flatnonzero(theirs.isin(both) | as_levels(theirs).isin(both))
            rows = few([f"{row + 1:,}" for row in there])
            asked = f", or name another column (--id) if {column!r} does not say who a patient is"
            raise DataError(
                f"{plural(len(both), 'patient is', 'patients are')} in {files[one]} and in "
                f"{files[other]} by {column!r}, there in row {rows}. Each may be in one only; "
                f"leave them out of {files[other]}{asked if real[other].single else ''}."
            )
        looks = [parts[name].looks for name in (one, other)]
        if np.isin(looks[0], looks[1]).all() or np.isin(looks[1], looks[0]).all():
            raise DataError(
                f"All records of {files[one]} or of {files[other]} are in the other, word for "
                "word, so that nobody could be told apart. Give other patients, or more columns."
            )


def _not_of_others(parts: Mapping[str, Cohort], files: Mapping[str, str], release: Cohort) -> None:
    """A release of those who are said not to have been trained on can give nobody away.

    Counted are looks that one patient has, of both tables together: without copies, those that are
    released are dealt to both like the others.
    """
    rest = "control" if "control" in parts else "test"
    train, control = (parts[name].looks for name in ("train", rest))
    looks, times = np.unique(np.concatenate([train, control]), return_counts=True)
    of_others = np.isin(looks[times == 1], control)
    copied = np.isin(looks[times == 1], release.looks)
    theirs, mine = int((copied & of_others).sum()), int((copied & ~of_others).sum())
    if not theirs:
        return
    share = float(of_others.mean())
    if binomtest(theirs, theirs + mine, share, alternative="greater").pvalue < SWAPPED:
        raise DataError(
            f"Records of {plural(theirs, 'patient')} of {files[rest]} are released word for word, "
            f"and of {mine:,} of {files['train']}. Either the two tables are swapped, or patients "
            f"of {files[rest]} were trained on; give others as --{rest}."
        )


def _hospitals(case: Case) -> Iterator[str]:
    """Say what no number of a single hospital looks at, and which hospitals a release lacks."""
    train, released = case.parts["train"].sites, case.release.sites
    if train is None or len(case.world.sites) < 2:
        return
    yield (
        "Numbers of a single hospital hold all synthetic records against the patients of that "
        f"hospital. Which hospital ({case.schema.site!r}) a synthetic record names is not looked "
        "at."
    )
    if released is None or pd.isna(released).all():
        return
    real, theirs = (pd.Series(homes).value_counts(normalize=True) for homes in (train, released))
    if absent := [home for home in real.index if home not in theirs]:
        named = few([f"{home!r} ({real[home]:.0%} of the training patients)" for home in absent])
        moved = real.sub(theirs, fill_value=0).clip(lower=0).sum()
        yield (
            f"No synthetic patient is of {named}: {moved:.0%} of the synthetic patients would "
            "have to be of another hospital for the shares of the training patients. Numbers of "
            "single hospitals do not show it."
        )


def _limits(case: Case, asked: Asked) -> Iterator[str]:
    yield from repeats(case.parts, case.files)
    yield from _hospitals(case)
    if case.schema.visits or case.schema.vocabularies:
        yield (
            "Only the attack trajectory sees every visit and code; the others see each patient as "
            "one row: of every measurement the last value in each window, and which codes there "
            "are. That single visits were copied which hold little more than other patients' "
            "visits do, none of them may see."
        )
    if asked.predict and (case.schema.visits or case.schema.vocabularies):
        yield (
            "What --predict names is foreseen from the other static columns, and from visits and "
            "codes up to day 0. For later days, name a task with its index in [tasks] of a "
            "--schema."
        )
    for task in case.schema.tasks.values():
        if task.kind == "survival":
            yield f"Models foresee {task.label!r}, and when it happens, from day {task.index:g} on."
        levels = case.schema.static[task.column].levels if task.column else ()
        if levels:
            yield f"Of {task.column!r}, {levels[-1]!r} is the event that models foresee."
    if asked.predict is not None and len(case.release) > case.world.m:
        yield (
            f"Metrics look at {case.world.m:,} of the {len(case.release):,} synthetic records, "
            "drawn at random (not more than were trained on, nor than --records); attacks look at "
            "all of them."
        )
    if not any("sensitive" in feature.column.roles for feature in case.schema.features):
        yield (
            "Attribute inference was not played, as no column is declared sensitive "
            "(--sensitive, or in the schema)."
        )
    if case.arena.null.note:
        yield case.arena.null.note
