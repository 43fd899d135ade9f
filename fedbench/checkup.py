"""What records, though they fit their schema, will make hard or impossible to say."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.config import DatasetChoice
from fedbench.data import OTHER, Cohort, Column, DataStore, Feature, Part, Schema, Task
from fedbench.datasets._reading import FromFolder
from fedbench.download import strangers as strangers_in
from fedbench.encoding import BINS, edges
from fedbench.games.scoring import FEW
from fedbench.kinds import DATASETS, cohort_of
from fedbench.nouns import plural
from fedbench.partition import Parts, units
from fedbench.partitioners.natural import Natural
from fedbench.subject import Subject
from fedbench.task import Problem, problem
from fedbench.terminal import WIDE, counts, table

__all__ = ["Finding", "Place", "check", "columns", "places", "shown"]

PILED = 0.2
"""The share of patients with one value, or CROWDED in one bin, that is worth a word."""
CROWDED = 0.5

STRANGE = 0.5
"""The share of diagnoses that are none of the codes listed that is worth a word."""

CASES = 10  # with and without the event among a hospital's test patients
EVENTS = 20  # among them, where the task is survival
AT_A_HOSPITAL, IN_ALL = 100, 1_000  # patients not trained on, for membership at 1 % FPR

ALL = "(all)"
NO_EVENT = "Nothing can be foreseen, and no task be scored: is 1 what happened, and 0 what did not?"


@dataclass(frozen=True)
class Finding:
    """A column that will be trouble, and what to do about it."""

    column: str
    found: str
    advice: str


@dataclass(frozen=True)
class Place:
    """Patients and events at one hospital, or at all of them, and what they are too few for.

    ``tasks`` has ``patients`` and ``events`` of each; of a number that is to be foreseen its
    ``mean`` and ``spread`` (standard deviation) in place of events, if anybody has one.
    """

    hospital: str
    patients: int
    events: int | None
    tasks: Mapping[str, Mapping[str, float]]
    too_small_for: tuple[str, ...]


@dataclass(frozen=True)
class Needs:
    """How many patients of a site it takes, when they are split in these parts."""

    parts: Parts

    def of(self, part: str, least: int) -> int:
        """Return how many patients a site needs to have ``least`` in a part."""
        return math.ceil(least / self.parts.shares[part] - 1e-9)

    def events(self, task: Task) -> int:
        """Return how many must have the event, and for a classification not have it."""
        return self.of("test", CASES if task.kind == "classification" else EVENTS)

    @property
    def membership(self) -> int:
        """Patients of a hospital with which an attack has a row of its own there."""
        return max(self.of("train", FEW), self.of("control", FEW))

    def words(self, schema: Schema) -> str:
        """Say what is needed for what."""
        split = ", ".join(f"{name} {share:.3g}" for name, share in self.parts.shares.items())
        return (
            f"Reckoned with the usual parts ({split}); a suite may set others. Needed at a "
            f"hospital: {self.parts.enough} {units(schema)} for training, {self.membership} for "
            f"membership of its own patients, {self.of('control', AT_A_HOSPITAL):,} to count for "
            f"membership at 1 % FPR, which takes {self.of('control', IN_ALL):,} in all; for "
            f"utility {self.of('test', CASES)} with and as many without the event, in survival "
            f"{self.of('test', EVENTS)} with it."
        )


def check(subject: Subject, store: DataStore) -> Mapping[str, Any]:
    """Compare a dataset with its schema, and return what to look at again.

    Raises:
        FedbenchError: it is not there, or does not fit its schema.
    """
    name = subject.name
    cohort = cohort_of(name, subject.settings, store)
    needs = Needs(Parts(**DatasetChoice(name=name).parts))
    found = tuple(places(cohort, needs))
    dataset = DATASETS.build(name, subject.settings)
    absent, strangers, empty = "", "", frozenset[str]()
    if isinstance(dataset, FromFolder):
        folder = store.folder(dataset.folder)
        absent, empty = _absent(dataset, folder)
        strangers = strangers_in(dataset, folder)
    notes = [*cohort.notes, *filter(None, (absent, strangers))]
    if any(place.too_small_for for place in found):
        notes.append(needs.words(cohort.schema))
    if any("training" in place.too_small_for for place in found[1:]):
        notes.append(Natural().advice(needs.parts.enough))
    return {
        "dataset": name,
        "path": subject.path,
        "counts": counts(cohort),
        "hospitals": [asdict(place) for place in found],
        "columns": [asdict(finding) for finding in columns(cohort, empty)],
        "notes": notes,
    }


def _absent(dataset: FromFolder, folder: Path) -> tuple[str, frozenset[str]]:
    """Say which tables are not there, with the columns that are empty for this reason."""
    if not (absent := dataset.absent(folder)):
        return "", frozenset()
    empty = frozenset(name for table in absent for name in dataset.fills[table])
    count = plural(len(empty), "column is", "columns are")
    return f"The folder has no {' and no '.join(absent)}: {count} empty.", empty


def shown(found: Mapping[str, Any]) -> str:
    """Show what ``check`` found."""
    known = ", ".join(f"{count:,} {what}" for what, count in found["counts"].items() if count)
    where = f"{found['path']}, read as {found['dataset']}" if found["path"] else found["dataset"]
    blocks = [
        f"{where}: {known}; all fit the schema.",
        table([_row(place) for place in found["hospitals"]]),
        *(textwrap.fill(note, WIDE) for note in found["notes"]),
    ]
    if found["columns"]:
        heads = {"column": "column", "found": "what was found", "advice": "what to do"}
        rows = [{head: row[key] for key, head in heads.items()} for row in found["columns"]]
        blocks += ["Columns to look at again", table(rows)]
    return "\n\n".join(blocks)


def _row(place: Mapping[str, Any]) -> Mapping[str, object]:
    events = {} if place["events"] is None else {"events": place["events"]}
    tasks = dict(_told(name, task) for name, task in place["tasks"].items())
    return {
        "hospital": place["hospital"],
        "patients": place["patients"],
        **events,
        **tasks,
        "too small for": ", ".join(place["too_small_for"]),
    }


def _told(name: str, task: Mapping[str, float]) -> tuple[str, str]:
    """Return the head of a task's column, and what is in it."""
    if "events" in task:
        return f"{name}: events", f"{task['events']:,} of {task['patients']:,}"
    if not task["patients"]:
        return f"{name}: mean ± SD", "nobody"
    return (
        f"{name}: mean ± SD",
        f"{task['mean']:.3g} ± {task['spread']:.3g} of {task['patients']:,}",
    )


def _asked(cohort: Cohort, task: Task, here: Problem, mine: NDArray[np.bool_]) -> dict[str, float]:
    """Return how many take part in a task, and what happened to them."""
    if task.kind != "regression":
        return {"patients": int(mine.sum()), "events": int(here.event[mine].sum())}
    values = here.value[mine]
    values = np.exp(values) if cohort.schema.static[task.column].log else values
    if not len(values):
        return {"patients": 0}
    return {"patients": len(values), "mean": float(values.mean()), "spread": float(values.std())}


def places(cohort: Cohort, needs: Needs) -> Iterator[Place]:
    """Yield everybody, and then every hospital that the records name."""
    names = None if cohort.sites is None else cohort.sites.astype(str)
    sites = [] if names is None else sorted(set(names))
    asked = {name: problem(cohort, task) for name, task in cohort.schema.tasks.items()}
    for site in [ALL, *sites]:
        here = np.ones(len(cohort), dtype=bool) if site == ALL else names == site
        mine = {name: pd.Index(p.patients).isin(cohort.patients[here]) for name, p in asked.items()}
        tasks = {
            name: _asked(cohort, cohort.schema.tasks[name], p, mine[name])
            for name, p in asked.items()
        }
        events = int(cohort.event[here].sum()) if len(cohort.outcome) else None
        small = _too_small_for(cohort, here, tasks, needs)
        yield Place(site, int(here.sum()), events, tasks, tuple(small))


def _too_small_for(
    cohort: Cohort, here: NDArray[np.bool_], tasks: Mapping[str, Mapping[str, float]], needs: Needs
) -> Iterator[str]:
    if len(set(cohort.clusters[here])) < needs.parts.enough:
        yield "training"
    if (n := int(here.sum())) < needs.membership:
        yield "membership"
    if n < needs.of("control", IN_ALL if here.all() else AT_A_HOSPITAL):
        yield "membership at 1 % FPR"
    for name, found in tasks.items():
        task = cohort.schema.tasks[name]
        events = found.get("events", found["patients"])
        rarest = (
            min(events, found["patients"] - events) if task.kind == "classification" else events
        )
        if rarest < needs.events(task):
            yield f"utility of {name}"


def columns(cohort: Cohort, known: Collection[str] = ()) -> Iterator[Finding]:
    """Yield columns that are empty or constant, and those whose values share a bin.

    Those ``known`` are known to be empty, and left out.
    """
    schema = cohort.schema
    if (schema.visits or schema.vocabularies) and not schema.windows:
        found = "the schema has no windows, so that generators see none of them"
        yield Finding("visits and codes", found, "Add windows to the schema.")
    raw = {name: finding for name, finding in _raw(cohort) if name not in known}
    told = {*raw, *known}
    yield from raw.values()
    for window in schema.windows:
        day = f"day@{window.name}"
        if day in cohort.table and cohort.table[day].isna().all():
            found = f"no visit lies after day {window.start:g} and up to day {window.end:g}"
            yield Finding(f"window {window.name!r}", found, "Change the window, or leave it out.")
            told |= {f.name for f in schema.features if f.window == window}
    for feature in schema.features:
        if feature.part is Part.CODES or {feature.name, feature.source} & told:
            continue
        if finding := _finding(feature.name, cohort.table[feature.name], feature):
            yield finding
    yield from _codes(cohort)


def _raw(cohort: Cohort) -> Iterator[tuple[str, Finding]]:
    """Yield visit columns without a value, or with one only, once and not in every window."""
    for name, column in cohort.schema.visits.items():
        values = cohort.visits[name]
        if values.nunique() < 2 and (finding := _finding(name, values, _alone(name, column))):
            yield name, finding


def _alone(name: str, column: Column) -> Feature:
    return Feature(name, column, Part.VISITS, source=name)


def _codes(cohort: Cohort) -> Iterator[Finding]:
    """Yield systems whose diagnoses are mostly none of the codes that are listed.

    A list that is public has codes that nobody here has, and that is as it should be; each is a
    column only if it is ``shown``.
    """
    for system, vocabulary in cohort.schema.vocabularies.items():
        name, codes = (
            f"codes {system!r}",
            cohort.codes.loc[cohort.codes["system"] == system, "code"],
        )
        if codes.empty:
            yield Finding(name, "nobody has any", "Leave the system out, or look how it is called.")
            continue
        if (strange := float((codes == OTHER).mean())) >= STRANGE:
            found = f"{100 * strange:.0f} % of {len(codes):,} are none of those listed"
            yield Finding(name, found, "Look whether they are spelled alike, or list more of them.")
        lacking = [] if vocabulary.shown else sorted({*vocabulary.codes} - {OTHER, *codes})
        if lacking:
            some = ", ".join(lacking[:5]) + (" …" if len(lacking) > 5 else "")
            found = f"nobody has {len(lacking)} of {len(vocabulary.codes)}: {some}"
            yield Finding(name, found, _unused(cohort.schema, len(lacking)))


def _unused(schema: Schema, count: int) -> str:
    columns = f"{count * len(schema.windows):,} columns of “no”" if schema.windows else "no column"
    return (
        f"Nothing, if the list is public (they are {columns}; `shown` would name those that are to "
        "be columns). Else look whether they are spelled alike."
    )


def _finding(name: str, values: pd.Series, feature: Feature) -> Finding | None:
    """Return what is wrong with a column, or None."""
    known = values.dropna()
    who = "visit" if feature.part is Part.VISITS and feature.window is None else "patient"
    if known.empty:
        advice = "Leave it out, or look how it is read: is it spelled as in the file?"
        return Finding(name, f"is empty for every {who}", advice)
    shares = known.value_counts(normalize=True)
    first, share = shares.index[0], float(shares.iloc[0])
    number = feature.column.kind != "category"
    blurred = _bin_of(feature, float(first)) if number else None
    if share == 1:
        if feature.source == "day" or (blurred is None and feature.source == "time"):
            return None  # they belong to every window and outcome, and do no harm
        more = "" if len(known) == len(values) else f" for whom it is known ({len(known):,})"
        found = f"is {float(first) if number else first!r} for every {who}{more}"
        event = feature.part is Part.OUTCOME and not number
        return Finding(name, found, NO_EVENT if event else _constant(blurred, first))
    return _piled(name, known, feature, who) if number else None


def _piled(name: str, known: pd.Series, feature: Feature, who: str) -> Finding | None:
    """Say that many values share a bin, out of which generators write any number."""
    shares = known.value_counts(normalize=True)
    first, share = float(shares.index[0]), float(shares.iloc[0])
    if (blurred := _bin_of(feature, first)) is None:
        return None
    if share >= PILED:
        return Finding(
            name, f"is {first:g} in {100 * share:.0f} % of {who}s", _atom(known, first, blurred)
        )
    low, high = blurred
    crowd = float(((known >= low) & (known < high)).mean())
    if crowd < CROWDED:
        return None
    column = feature.column
    found = (
        f"{100 * crowd:.0f} % of its values lie from {low:.3g} to {high:.3g}, one of the {BINS} "
        f"bins that generators see of {column.low:g} to {column.high:g}"
    )
    log = " or set log = true" if column.low > 0 and not column.log else ""
    return Finding(name, found, f"Narrow its bounds{log}.")


def _constant(blurred: tuple[float, float] | None, value: Any) -> str:
    if blurred is None:
        return "It tells nothing: leave it out."
    level = f'levels = ["{value:g}"]'
    return f"{_seen(blurred, always=True)} Leave it out, or declare it a category: {level}."


def _atom(known: pd.Series, value: float, blurred: tuple[float, float]) -> str:
    for bound, extreme in (("low", known.min()), ("high", known.max())):
        if value == extreme:
            return f"{_seen(blurred)} Set {bound} = {value:g}: bounds are seen as they are."
    return (
        f"{_seen(blurred)} Make it a category; or two columns, a category that says whether it is "
        f"{value:g}, and the number where it is not."
    )


def _seen(blurred: Sequence[float], *, always: bool = False) -> str:
    low, high = blurred
    at_once = " at once (detection near 1)" if always else ""
    return (
        f"Generators see only its bin ({low:.4g} to {high:.4g}) and write any number from there, "
        f"by which synthetic records are told from real ones{at_once}."
    )


def _bin_of(feature: Feature, value: float) -> tuple[float, float] | None:
    """Return the bin in which a value is spread, or None where it comes back as it is."""
    cuts = edges(feature)
    place = int(np.clip(np.searchsorted(cuts, value, side="right"), 1, len(cuts) - 1))
    low, high = float(cuts[place - 1]), float(cuts[place])
    at_a_bound = low < feature.column.low or high > feature.column.high
    whole = feature.column.kind == "integer" and high - low <= 1
    return None if at_a_bound or whole else (low, high)
