"""Whether a column that somebody wrote holds numbers or text, and numbers that can be used."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fedbench.errors import DataError
from fedbench.tabular import MOST_DIGITS, as_numbers, names_hospital, zero_padded

__all__ = ["Side", "kind_of", "unfit", "with_comma", "with_unit"]

Side = Sequence[tuple[str, pd.Series]]
"""One column as several files have it: the file's name and the values."""

COMMA = re.compile(r"[+-]?\d+(\.\d{3})*,\d+")
"""3,5 or 1.234,5"""
UNIT = re.compile(r"[<>]?\s*[+-]?\d+(\.\d+)?\s*[a-zA-Z%µ°][\w%µ°/^.*-]*")
"""129 mmol/l"""


def kind_of(name: str, sides: Side) -> str:
    """Return ``number`` or ``text``, which a hospital is where any is no number.

    Raises:
        DataError: files disagree, or a few texts stand among numbers.
    """
    found = {said: _looks(values) for said, values in sides}
    numbers = [said for said, kind in found.items() if kind in ("number", "spoilt")]
    texts = [said for said, kind in found.items() if kind == "text"]
    if numbers and texts:
        _check_zeros(name, sides)
    if names_hospital(name) and {"text", "spoilt"} & {*found.values()}:
        return "text"
    if numbers and texts:
        raise DataError(
            f"{name!r} holds numbers in {numbers[0]} and text in {texts[0]}. Give all tables the "
            f"same types. {_as_category(name)}"
        )
    for said, values in sides:
        if found[said] == "spoilt":
            odd = values[values.notna() & as_numbers(values).isna()]
            comma = COMMA.fullmatch(str(odd.iloc[0]))
            advice = ", with a decimal point." if comma else f". {_as_category(name)}"
            raise DataError(
                f"{said} row {odd.index[0] + 1}: {name!r} is {odd.iloc[0]!r}; expected a number or "
                f"an empty field, as in most rows{advice}"
            )
    return "number" if numbers else "text"


def _as_category(name: str) -> str:
    """Say how a column is taken for a category that looks like numbers."""
    return (
        "If it holds codes or categories, a schema must say so: `fedbench data infer TABLE "
        f"--category {shlex.quote(name)} -o schema.toml` drafts one."
    )


def _check_zeros(name: str, sides: Side) -> None:
    """Say so if one file keeps the zeros of 007 and another one does not."""
    padded = {said: values[zero_padded(values)] for said, values in sides}
    with_zeros = [said for said, values in padded.items() if len(values)]
    without = [said for said, values in padded.items() if not len(values)]
    if with_zeros and without:
        example = padded[with_zeros[0]].iloc[0]
        raise DataError(
            f"{name!r} has texts such as {example!r} in {with_zeros[0]} and none that begins with "
            f"a zero in {without[0]}. Write them alike in all tables."
        )


def _looks(values: pd.Series) -> str:
    there = values.dropna()
    if zero_padded(there).any():
        return "text"  # an identifier or a code, in which 007 is not 7
    numbers = as_numbers(there).notna()
    if there.empty or numbers.all():
        return "number" if len(there) else "empty"
    share = numbers[~there.duplicated()].mean()
    return "spoilt" if share > 0.5 else "text"


def unfit(numbers: pd.Series) -> str:
    """Say why these numbers cannot be described; empty where they can."""
    finite = numbers[np.isfinite(numbers)]
    if finite.empty:
        return "it has no finite number"
    if finite.abs().max() >= 10.0**MOST_DIGITS:
        return (
            f"it has numbers of more than {MOST_DIGITS} digits, which are not told apart as "
            "numbers; nobody needs an identifier, and an amount can have a larger unit"
        )
    return ""


def with_comma(there: pd.Series) -> str:
    """Return a number that is written with a decimal comma, if all texts are numbers otherwise."""
    different = pd.Series(there.unique())
    comma = different.map(lambda text: bool(COMMA.fullmatch(str(text)))).astype(bool)
    others = as_numbers(different[~comma])
    return str(different[comma].iloc[0]) if comma.any() and others.notna().all() else ""


def with_unit(there: pd.Series) -> str:
    """Return a text that looks like a number with a unit, if most different ones do."""
    found = [text for text in map(str, there.unique()) if UNIT.fullmatch(text)]
    return found[0] if len(found) > there.nunique() / 2 else ""
