"""What in a table may not mean what it says: a drafted schema takes nothing of it in silence."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from fedbench.data import Column, Schema
from fedbench.looks import with_unit
from fedbench.tabular import (
    Given,
    as_levels,
    as_numbers,
    names_hospital,
    zero_padded,
)

__all__ = ["doubts", "sentinels"]

OFTEN = 5
"""Rows with a value that is a code for missing although it lies beside others."""
MOST_SENTINELS = 4
FOR_NOTHING = frozenset(
    ["n/a", "#n/a", "none", "nil", "nan", ".", "..", "?", "-", "--", "missing", "not available"]
)
"""Levels, in small letters, by which people may say that a value is missing."""
JOINED = re.compile(r"[A-Za-z]?\d[\w.]*(\s*[;|,+]\s*[A-Za-z]?\d[\w.]*)+")
"""E11.9;I10"""


def doubts(given: Sequence[Given], schema: Schema) -> Iterator[str]:
    """Say what looks like something else in the columns that a schema was drafted for."""
    if padded := dict.fromkeys(name for each in given for name in each.padded):
        names = ", ".join(map(repr, padded))
        yield f"The header has blanks before or after {names}; they are not part of the names."
    vanished: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for each in given:
        for name, words in each.vanished.items():
            vanished[name] |= dict.fromkeys(words)
    for name, seen in vanished.items():
        yield (
            f"{_quoted([*seen])} in {name!r} is read as a missing value: if it is a level, "
            "rename it."
        )
    coded: defaultdict[float, list[str]] = defaultdict(list)
    for table, columns in (("static", schema.static), ("visits", schema.visits)):
        for name, column in columns.items():
            there = [each.tables[table] for each in given if table in each.tables]
            values = pd.concat([one[name] for one in there], ignore_index=True)
            yield from _of_column(name, values, column)
            for value, told in _coded_missing(name, values):
                coded[value].append(told)
    for value, told_of in coded.items():
        yield (
            f"{value:g} stands in {', '.join(told_of)}: is it a code for missing? Then empty these "
            "fields; as it stands, it is a value like others, and bounds and levels have room for "
            "it."
        )


def _of_column(name: str, values: pd.Series, column: Column) -> Iterator[str]:
    numbers = as_numbers(values)
    if len(endless := np.flatnonzero(np.isinf(numbers))):
        yield (
            f"{name!r} is infinite in {_rows(len(endless))} (first: row {endless[0] + 1}), which "
            "no record may be: empty these fields."
        )
    if column.kind == "category":
        yield from _of_words(name, values)
        yield from _of_forms(name, values)


def _coded_missing(name: str, values: pd.Series) -> Iterator[tuple[float, str]]:
    """Yield what may be a code for missing, and how often and beside what it stands there."""
    if zero_padded(values).any() or names_hospital(name):
        return
    numbers = as_numbers(values)
    strange = sentinels(numbers)
    rest = numbers[np.isfinite(numbers) & ~numbers.isin(strange)]
    others = f"{rest.min():g}" + (f" to {rest.max():g}" if rest.max() > rest.min() else "")
    for value in strange:
        yield value, f"{name!r} ({_rows(int((numbers == value).sum()))}, {others} elsewhere)"


def sentinels(numbers: pd.Series) -> Sequence[float]:
    """Return the values that look like codes for missing, the most striking first.

    These are -1 and numbers written with 7, 8 or 9 alone (-9, 99, 999.9) that are the smallest or
    the largest, and below zero where nothing else is; or farther from the next value than all
    others are from each other; or by far the commonest, after a gap.

    >>> list(sentinels(pd.Series([20.0, 31, 45, 999, 62, -9])))
    [999.0, -9.0]
    """
    counts = numbers[np.isfinite(numbers)].value_counts().sort_index()
    found: list[float] = []
    while len(counts) > 1 and len(found) < MOST_SENTINELS:
        ends = [end for end in (-1, 0) if _coded(counts, end)]
        if not ends:
            break
        found.append(float(counts.index[ends[0]]))
        counts = counts.drop(counts.index[ends[0]])
    return found


def _coded(counts: pd.Series, end: int) -> bool:
    """Say whether the smallest (0) or largest (-1) value looks like a code for missing."""
    values = counts.index.to_numpy(dtype=np.float64)
    value, rest = values[end], np.delete(values, end)
    digits = {*f"{abs(value):g}"} - {"."}
    if not (len(digits) == 1 and digits <= {"7", "8", "9"}) and value != -1:
        return False
    if value < 0 <= rest.min():
        return value != -1 or len(rest) > 1  # -1 and 1 alone are no and yes
    gap = float(np.abs(rest - value).min())
    if gap > np.ptp(rest):
        return True
    count, others = counts.iloc[end], counts.drop(value)
    return bool(count >= OFTEN and count >= 2 * others.max() and gap > np.median(np.diff(rest)))


def _of_words(name: str, values: pd.Series) -> Iterator[str]:
    levels = sorted(as_levels(values).dropna().unique())
    same: defaultdict[str, list[str]] = defaultdict(list)
    for level in levels:
        same[" ".join(str(level).split()).casefold()].append(level)
    for words in same.values():
        if len(words) > 1:
            yield (
                f"{name!r}: {', '.join(map(repr, words))} look like the same word; as it stands, "
                "they are levels of their own. Write them alike."
            )
    if padded := [level for level in levels if zero_padded(pd.Series([level])).all()]:
        both = [level for level in padded if level.lstrip("0") in levels]
        yield f"{name!r}: {padded[0]!r} begins with a zero, so it is text, and no number" + (
            f"; {both[0]!r} and {both[0].lstrip('0')!r} are two levels." if both else "."
        )


def _of_forms(name: str, values: pd.Series) -> Iterator[str]:
    """Say which texts may stand for nothing, for a number, or for several values at once."""
    texts = pd.Series(values.dropna().unique(), dtype=object).astype(str)
    if empty := [text for text in texts if text.casefold() in FOR_NOTHING]:
        yield (
            f"{name!r} has {_quoted(empty)}, which may stand for a missing value: then empty these "
            "fields; as it stands, it is a level."
        )
    levels = as_levels(pd.Series(texts, dtype=object))
    for level, spelled in texts.groupby(levels.to_numpy()):
        if len(spelled) > 1:
            yield f"{name!r}: {_quoted(sorted(spelled))} are taken for one level, {level!r}."
    if example := with_unit(texts):
        yield (
            f"{name!r} looks like numbers with a unit ({example!r}): write the number alone, "
            "and the unit into `unit`."
        )
    if joined := [text for text in texts if JOINED.fullmatch(text)]:
        yield (
            f"{name!r} has several codes in one field ({joined[0]!r}): as it stands, each "
            "combination is a level. Put them into codes.csv of a cohort folder, one per row."
        )


def _quoted(words: Sequence[str], most: int = 5) -> str:
    return ", ".join(map(repr, words[:most])) + (" …" if len(words) > most else "")


def _rows(count: int) -> str:
    return f"{count:,} row{'s' if count != 1 else ''}"
