"""Drafting a schema file from somebody's table, with what to correct in it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from fedbench.data import Column
from fedbench.doubts import doubts
from fedbench.draft import Draft, drafted
from fedbench.errors import SpecError
from fedbench.nouns import few, plural
from fedbench.results import portable
from fedbench.schemas import schema_file
from fedbench.tables import hint
from fedbench.tabular import PATIENT, Given, as_levels, as_numbers, names_hospital, read

__all__ = ["inferred", "written"]

RARE = 5
"""A level that fewer patients have may tell who one of them is."""
WIDE = 94

KNOWN_TO_OTHERS = (
    "age", "sex", "gender", "race", "ethnicity", "birth", "zip", "postcode", "marital", "insurance",
    "language", "religion",
)  # fmt: skip
"""Parts of names of columns that others may know of a person."""
KNOWN_LATE = re.compile(
    r"died|death|dead|mortal|surviv|expire|discharge|stay|readmi|outcome|follow|event"
    r"|(?<![a-z])los(?![a-z])"
)
"""What is in names of columns that may be known only when it is over."""
ORDINARY_NUMBER = "row", "index", "rownames", "unnamed: 0", ""

PUBLIC = (
    "A schema is public: it is what a stranger may know before any record is read. Correct it from "
    "a codebook and from what is medically possible."
)
SENSITIVE = (
    'What attackers must not learn (diagnoses, addictions, infections): roles = ["sensitive"].'
)
OUTCOME = """
# A prediction, for utility: from what is dated up to day `index`, is there the event in
# (index, horizon]? Take away the '#' and set both.
# [tasks]
# event = { kind = "classification", label = "the event within 90 days", index = 0, horizon = 90 }
"""


def inferred(path: Path, patient: str = "", categories: Sequence[str] = ()) -> Draft:
    """Describe a table, or a cohort folder, of somebody's patients.

    Args:
        path: the file or folder.
        patient: the column of a single file that says who a patient is.
        categories: columns that are one, although they look like numbers or have many levels.

    Raises:
        SpecError: there is no such column.
        DataError: it cannot be read, or nothing in it can be described.
    """
    given = read(path, "TABLE")
    if given.has_ends and not given.no_outcome:
        given = given.with_outcome()
    columns = [name for name, _ in given.columns()]
    if patient and patient not in columns:
        raise SpecError(f"--id: {path.name} has no column {patient!r}.{hint(patient, columns)}")
    every = [str(name) for table in given.tables.values() for name in table]
    if unknown := [name for name in categories if name not in every]:
        there = hint(unknown[0], every)
        raise SpecError(f"--category: {path.name} has no column {unknown[0]!r}.{there}")
    named = [name for name in columns if name.strip().casefold() in PATIENT]
    numbers = [name for name in columns if name.strip().casefold() in ORDINARY_NUMBER]
    patient = (patient or next(iter(named), "")) if given.single else "patient"
    without = {patient, *numbers} - {""}
    name = portable(path.stem).strip(".-") or "mine"
    draft = drafted([given], None, name, without, (), coded=categories, strict=False)
    notes = [
        *_of_patients(given, patient), *draft.notes, *doubts([given], draft.schema),
        *_to_correct(draft, given),
    ]  # fmt: skip
    return Draft(draft.schema, tuple(notes))


def written(draft: Draft, path: Path) -> str:
    """Return a draft as a schema file, what to correct first."""
    said = [
        f"Drafted from {path.name}. {PUBLIC}",
        *(f"* {note}" for note in draft.notes),
    ]
    head = "\n".join(
        textwrap.fill(
            " ".join(text.split()), WIDE, initial_indent="# ", subsequent_indent="#   ",
            break_long_words=False, break_on_hyphens=False,
        )
        for text in said
    )  # fmt: skip
    return f"{head}\n\n{schema_file(draft.schema)}{OUTCOME if draft.schema.outcome else ''}"


def _of_patients(given: Given, patient: str) -> Iterator[str]:
    if not given.single:
        return
    if not patient:
        yield (
            "No column says who a patient is, so rows are numbered. If one does, name it: --id, "
            "and `patient` in the suite."
        )
        if single := [name for name, values in given.columns() if _numbers_rows(values)]:
            yield f"{_listed(single)}: another whole number in every row; is it such a column?"
        return
    asked = (
        "" if patient.strip().casefold() in PATIENT else f" (in the suite: patient = {patient!r})"
    )
    yield f"{patient!r} is taken for the patient's identifier{asked}, and not described."
    values = given.static[patient]
    if values.duplicated().any():
        again = plural(int(values.duplicated().sum()), "row")
        yield (
            f"{patient!r} has {again} of somebody who is there already. A table has one row "
            "per patient: put repeated records into a cohort folder, static.csv and visits.csv."
        )


def _numbers_rows(values: pd.Series) -> bool:
    numbers = as_numbers(values)
    return bool((numbers % 1 == 0).all() and not numbers.duplicated().any())


def _to_correct(draft: Draft, given: Given) -> Iterator[str]:
    schema = draft.schema
    columns = {**schema.static, **schema.visits}
    yield "low and high are what was found, rounded outwards: write what is possible."
    yield (
        "Say in `label` what a column means, in `unit` in which unit it is, and log = true where "
        "it is spread over orders of magnitude."
    )
    if schema.visits or schema.vocabularies or schema.outcome:
        yield "clock: say what day 0 is. windows: stretches of time of which generators see values."
    hospitals = [n for n, c in schema.static.items() if names_hospital(n) and _levels(c)]
    if hospitals:
        yield f'{_listed(hospitals)}: is it the hospital? Then roles = ["site"].'
    if given.single and schema.outcome:
        yield (
            "'time' and 'event' are taken for the outcome: the day on which it happened (event 1) "
            "or until which nobody saw it happen (event 0). Say in `label` what it is."
        )
    if late := [name for name in schema.static if KNOWN_LATE.search(name.casefold())]:
        yield (
            f"{_listed(late)}: is it known only later than what is to be foreseen? Then known = "
            "DAY, from when it is; before that nothing is foreseen from it, and a task may be "
            'about it: kind = "regression", or "classification" for two levels, with column = '
            "NAME and an earlier index."
        )
    if known := [name for name in columns if _called(name, KNOWN_TO_OTHERS)]:
        yield (
            f"{_listed(known)}: others may know such things of a person: roles = "
            '["quasi-identifier"].'
        )
    yield SENSITIVE
    yield from _rare(schema.static, given)
    if schema.vocabularies:
        yield "vocabularies hold the commonest codes; take the list from the coding system instead."


def _rare(columns: Mapping[str, Column], given: Given) -> Iterator[str]:
    """Name levels that few patients have, and which a stranger would not expect."""
    for name, column in columns.items():
        if not _levels(column):
            continue
        counts = as_levels(given.static[name]).value_counts()
        if rare := [level for level in column.levels if counts.get(level, 0) < RARE]:
            yield (
                f"{name!r}: fewer than {RARE} patients have {_listed(rare)}. Leave out what a "
                'stranger would not expect, and add the level "(other)" for it.'
            )


def _levels(column: Column) -> bool:
    return column.kind == "category"


def _called(name: str, words: Sequence[str]) -> bool:
    return any(word in name.casefold() for word in words)


def _listed(names: Sequence[str]) -> str:
    return few([*map(repr, names)])
