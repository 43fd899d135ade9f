"""What is true of every patient if the records are right, and how often it is not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.data import Cohort, Rule, Schema
from fedbench.errors import DataError

__all__ = ["Kept", "kept"]

Bools = NDArray[np.bool_]
Test = Callable[[pd.Series, object], pd.Series]

COMPARISON = re.compile(r"(?P<name>.+?) (?P<sign>=|!=|<=|>=|<|>|begins) (?P<what>.+)")
SIGNS: Mapping[str, Test] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    ">": lambda left, right: left > right,
    "<=": lambda left, right: left <= right,
    ">=": lambda left, right: left >= right,
    "begins": lambda left, right: left.astype("string").str.startswith(str(right)),
}
OF_CODES = ("code", "system")
OF_PATIENTS = ("time", "event")


@dataclass(frozen=True)
class Kept:
    """What became of a rule, one entry per patient in the order of ``cohort.patients``.

    ``asked`` says whether anything of the patient could have broken it, ``broken`` whether
    something did.
    """

    rule: Rule
    asked: Bools
    broken: Bools


def kept(cohort: Cohort, rule: Rule) -> Kept:
    """Hold every record against a rule.

    Raises:
        DataError: the rule is not written as ``Rule`` says, or about a column that is not there.

    >>> from fedbench.testing import made_up
    >>> found = kept(made_up(50, 0), Rule(label="", holds="age < 30", source=""))
    >>> bool(found.broken.any()), bool((found.broken <= found.asked).all())
    (True, True)
    """
    holds, when = _comparisons(cohort.schema, rule, rule.holds), []
    if rule.when:
        when = _comparisons(cohort.schema, rule, rule.when)
    rows = _rows(cohort, {name for each in (*holds, *when) for name in each.names})
    about, answer = np.ones(len(rows), dtype=bool), np.ones(len(rows), dtype=bool)
    for each in when:
        found, there = each(rows)
        about &= found & there
    for each in holds:
        found, there = each(rows)
        about, answer = about & there, answer & found
    patients = pd.Index(cohort.patients)
    asked = patients.isin(rows.loc[about, "patient"])
    return Kept(rule, asked, patients.isin(rows.loc[about & ~answer, "patient"]))


@dataclass(frozen=True)
class _Comparison:
    name: str
    sign: str
    what: str
    other: bool
    number: bool

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, self.what) if self.other else (self.name,)

    def __call__(self, rows: pd.DataFrame) -> tuple[Bools, Bools]:
        """Return whether it is so, and whether that can be said, for every row."""
        left = rows[self.name]
        there = left.notna()
        right: object = float(self.what) if self.number else self.what
        if self.other:
            right = rows[self.what]
            there &= rows[self.what].notna()
        so = SIGNS[self.sign](left, right).fillna(value=False)
        return so.to_numpy(dtype=bool), there.to_numpy(dtype=bool)


def _comparisons(schema: Schema, rule: Rule, text: str) -> list[_Comparison]:
    return [_comparison(schema, rule, part.strip()) for part in text.split(" and ")]


def _comparison(schema: Schema, rule: Rule, text: str) -> _Comparison:
    parts = COMPARISON.fullmatch(text)
    numbers, texts = _columns(schema)
    where = f"Schema {schema.name!r}, rule {rule.label!r}: {text!r}"
    if parts is None:
        raise DataError(f"{where}; expected such as 'systolic > diastolic' or 'sex = female'.")
    name, sign, what = parts["name"], parts["sign"], parts["what"]
    if name not in numbers | texts:
        known = ", ".join(sorted(numbers | texts))
        raise DataError(f"{where}: there is no column {name!r}. There are {known}.")
    other = what in numbers | texts
    number = name in numbers and not other
    if (sign == "begins") > (name in texts) or (sign in "<=>=" and sign != "=") > (name in numbers):
        raise DataError(f"{where}: {name!r} cannot be compared by {sign!r}.")
    if other and (what in numbers) != (name in numbers):
        raise DataError(f"{where}: one is a number, the other is not.")
    if number and not _is_number(what):
        raise DataError(f"{where}: {what!r} is neither a number nor a column.")
    if not number and not other and sign != "begins":
        levels = {**schema.static, **schema.visits}.get(name)
        if levels is not None and what not in levels.levels:
            raise DataError(f"{where}: {what!r} is none of {', '.join(levels.levels)}.")
    return _Comparison(name, sign, what, other, number)


def _columns(schema: Schema) -> tuple[set[str], set[str]]:
    """Return the names of numbers, and of text, that a rule can be about."""
    every = {**schema.static, **schema.visits}
    texts = {name for name, column in every.items() if column.kind == "category"}
    numbers = set(every) - texts
    if schema.visits or schema.vocabularies:
        numbers.add("day")
    if schema.vocabularies:
        texts |= set(OF_CODES)
    if schema.outcome:
        numbers |= set(OF_PATIENTS)
    return numbers, texts


def _rows(cohort: Cohort, names: set[str]) -> pd.DataFrame:
    """Return a row for everything that a rule with these names is about."""
    schema, people = cohort.schema, cohort.static
    if schema.outcome:
        people = people.merge(cohort.outcome, on="patient")
    if names & set(OF_CODES) or (names & {"day"} and not schema.visits):
        table = cohort.codes
    elif names & {"day", *schema.visits}:
        table = cohort.visits
    else:
        return people[["patient", *sorted(names)]]
    own = [name for name in sorted(names) if name in table]
    theirs = ["patient", *sorted(names - set(own))]
    return table[["patient", *own]].merge(people[theirs], on="patient")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
