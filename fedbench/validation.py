"""Do these tables fit their schema? If not, say where."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.coding import as_listed
from fedbench.data import OTHER, Cohort, Column, Schema
from fedbench.errors import DataError
from fedbench.nouns import few, plural

__all__ = ["checked"]


def checked(
    schema: Schema,
    static: pd.DataFrame,
    visits: pd.DataFrame | None,
    codes: pd.DataFrame | None,
    outcome: pd.DataFrame | None,
) -> Cohort:
    """Return the cohort in its one normal form: text, ``float64``, a stable order.

    Columns that the schema does not name are left out, so that they cannot leak.

    Raises:
        DataError: the first thing that does not fit, with table, row, column and value; who a
            patient is stands in none, as messages end up in logs.
    """
    people = _static(schema, static)
    everyone = pd.Index(_text(static["patient"]))  # in the order of their rows
    return Cohort(
        schema,
        people,
        _visits(schema, visits, everyone),
        _codes(schema, codes, everyone),
        _outcome(schema, outcome, everyone),
    )


def _static(schema: Schema, table: pd.DataFrame) -> pd.DataFrame:
    if not len(table):
        raise DataError("The static table has no rows; a cohort needs at least one patient.")
    cluster = [schema.cluster] if schema.cluster else []
    _need("static", table, ["patient", *cluster, *schema.static])
    found = {"patient": _names("static", table, "patient")}
    found |= {name: _names("static", table, name) for name in cluster}
    found |= _described("static", table, schema.static)
    # All empty is fine: synthetic patients live nowhere.
    if schema.site and found[schema.site].notna().any():
        _refuse("static", table, schema.site, found[schema.site].isna(), "expected a site")
    return _once("static", table, found)


def _visits(schema: Schema, table: pd.DataFrame | None, everyone: pd.Index) -> pd.DataFrame:
    table = _given("visits", table, ["patient", "day", *schema.visits], there=bool(schema.visits))
    found = {"patient": _known("visits", table, everyone), "day": _days("visits", table)}
    found |= _described("visits", table, schema.visits)
    return _sorted(found, ["patient", "day"])


def _codes(schema: Schema, table: pd.DataFrame | None, everyone: pd.Index) -> pd.DataFrame:
    there = bool(schema.vocabularies)
    table = _given("codes", table, ["patient", "day", "system", "code"], there=there)
    patient, day = _known("codes", table, everyone), _days("codes", table)
    system = _names("codes", table, "system")
    strange = ~system.isin(list(schema.vocabularies))
    _refuse("codes", table, "system", strange, f"expected {_listed(list(schema.vocabularies))}")
    code = _names("codes", table, "code")
    for name, vocabulary in schema.vocabularies.items():
        strange = (system == name) & ~code.isin(list(vocabulary.codes))
        code = code.mask(strange, as_listed(code[strange], name, vocabulary.codes))
        strange &= ~code.isin(list(vocabulary.codes))
        if OTHER in vocabulary.codes:
            code = code.mask(strange, OTHER)
        else:
            expected = f"expected a code of {name!r}: {_listed(list(vocabulary.codes))}"
            _refuse("codes", table, "code", strange, expected)
    found = {"patient": patient, "day": day, "system": system, "code": code}
    return _sorted(found, ["patient", "day", "system", "code"])


def _outcome(schema: Schema, table: pd.DataFrame | None, everyone: pd.Index) -> pd.DataFrame:
    if table is None and schema.outcome:
        raise DataError(
            f"outcome: no such table is given, but the schema has the outcome "
            f"{schema.outcome.label!r}; expected patient, time and event of every patient "
            "(of a single table, two columns: time and event)."
        )
    table = _given("outcome", table, ["patient", "time", "event"], there=schema.outcome is not None)
    found = {"patient": _known("outcome", table, everyone)}
    for name, expected in (("time", "a number of days"), ("event", "0 or 1")):
        found[name] = _numbers("outcome", table, name, expected)
    if schema.outcome is None:
        return pd.DataFrame(found)
    time, event = found["time"], found["event"]
    low = max(schema.outcome.low, 0.0)
    _refuse(
        "outcome", table, "time", ~time.between(low, schema.outcome.high),
        f"expected days between {low:g} and {schema.outcome.high:g}",
    )  # fmt: skip
    _refuse("outcome", table, "event", ~event.isin([0, 1]), "expected 0 or 1")
    found["event"] = event.astype(np.int64)
    ends = _once("outcome", table, found)
    if len(without := np.flatnonzero(~everyone.isin(ends["patient"]))):
        those = plural(
            len(without), "patient of the static table has", "patients of the static table have"
        )
        rows = few([f"{row + 1:,}" for row in without])
        raise DataError(
            f"outcome: {those} no row, there in row {rows}; expected one row per patient. "
            "Who had no event has event 0 and, as time, the last day on which that is known; leave "
            "out whom nobody followed."
        )
    return ends


def _described(
    name: str, table: pd.DataFrame, columns: Mapping[str, Column]
) -> dict[str, pd.Series]:
    return {
        column: _levels(name, table, column, what)
        if what.kind == "category"
        else _measured(name, table, column, what)
        for column, what in columns.items()
    }


def _measured(name: str, table: pd.DataFrame, column: str, what: Column) -> pd.Series:
    values = _numbers(name, table, column)
    outside = values.notna() & ~values.between(what.low, what.high)
    unit = f" {what.unit}" if what.unit else ""
    _refuse(name, table, column, outside, f"expected {what.low:g} to {what.high:g}{unit}")
    if what.kind == "integer":
        _refuse(name, table, column, values % 1 > 0, "expected a whole number")
    return values


def _levels(name: str, table: pd.DataFrame, column: str, what: Column) -> pd.Series:
    values = _text(table[column])
    strange = values.notna() & ~values.isin(what.levels)
    if OTHER in what.levels:
        return values.mask(strange, OTHER)
    _refuse(name, table, column, strange, f"expected {_listed(what.levels)}")
    return values


def _numbers(
    name: str, table: pd.DataFrame, column: str, expected: str = "a number or an empty field"
) -> pd.Series:
    raw = table[column]
    if isinstance(raw.dtype, pd.CategoricalDtype) or raw.dtype == object:
        raw = raw.astype(object)
        raw = raw.mask(raw.map(lambda value: isinstance(value, str) and not value.strip()), None)
    values = pd.to_numeric(raw, errors="coerce")
    wrong = values.isna() & raw.notna()
    answers = raw[wrong].astype(str).str.strip().str.lower().isin(("true", "false"))
    how = "; write 1 for true and 0 for false" if len(answers) and answers.all() else ""
    _refuse(name, table, column, wrong, f"expected {expected}{how}")
    return values.astype(np.float64)


def _days(name: str, table: pd.DataFrame) -> pd.Series:
    days = _numbers(name, table, "day")
    _refuse(name, table, "day", ~np.isfinite(days), "expected a number of days")
    return days


def _names(name: str, table: pd.DataFrame, column: str) -> pd.Series:
    values = _text(table[column])
    _refuse(name, table, column, values.isna(), "expected text that is not empty")
    return values


def _known(name: str, table: pd.DataFrame, everyone: pd.Index) -> pd.Series:
    patients = _names(name, table, "patient")
    strange = ~patients.isin(everyone)
    expected = "expected a patient of the static table"
    _refuse(name, table, "patient", strange, expected, found="somebody else")
    return patients


def _text(raw: pd.Series) -> pd.Series:
    """Return text, ``None`` where a field is empty; 3.0 becomes '3'."""
    if isinstance(raw.dtype, pd.CategoricalDtype):
        raw = raw.astype(object)
    if pd.api.types.is_float_dtype(raw) and (raw.dropna() % 1 == 0).all():
        raw = raw.astype("Int64")
    # Unique values first: turning a million equal labels into text is slow.
    codes, levels = pd.factorize(raw)
    words = np.array([*map(str, levels), None], dtype=object)
    words[words == ""] = None
    return pd.Series(words[codes], index=raw.index, dtype=object)


def _need(name: str, table: pd.DataFrame, columns: list[str]) -> None:
    if lacking := [column for column in columns if column not in table]:
        raise DataError(
            f"{name}: there is no column {_listed(lacking)}; found {_listed(list(table.columns))}."
        )


def _given(
    name: str, table: pd.DataFrame | None, columns: list[str], *, there: bool
) -> pd.DataFrame:
    """Return the table, or an empty one where the schema has no such part."""
    if table is None or (not len(table) and not len(table.columns)):
        return pd.DataFrame({column: pd.Series(dtype=object) for column in columns})
    if len(table) and not there:
        count = plural(len(table), "row was", "rows were")
        raise DataError(f"{name}: {count} given, but the schema describes none.")
    _need(name, table, columns)
    return table


def _once(name: str, table: pd.DataFrame, found: Mapping[str, pd.Series]) -> pd.DataFrame:
    who = found["patient"]
    again = who.duplicated()
    if again.any():
        first = int(np.flatnonzero(who == who[again].iloc[0])[0])
        there = f"there again, as in row {first + 1}"
        _refuse(name, table, "patient", again, "expected every patient once", found=there)
    return _sorted(found, ["patient"])


def _sorted(found: Mapping[str, pd.Series], by: list[str]) -> pd.DataFrame:
    return pd.DataFrame(dict(found)).sort_values(by, kind="stable", ignore_index=True)


def _refuse(  # noqa: PLR0913  (what a message says)
    name: str,
    table: pd.DataFrame,
    column: str,
    wrong: pd.Series,
    expected: str,
    *,
    found: str = "",
) -> None:
    """Say where a column is wrong: what stands there, or what is ``found`` in words.

    Raises:
        DataError: it is, somewhere.
    """
    rows: NDArray[np.intp] = np.flatnonzero(wrong.to_numpy(dtype=bool))
    if not len(rows):
        return
    value = table[column].iloc[rows[0]]
    more = f" {plural(len(rows) - 1, 'more row')} like this." if len(rows) > 1 else ""
    found = found or ("empty" if pd.isna(value) else f"{_plain(value)!r}")
    raise DataError(f"{name} row {rows[0] + 1}: {column!r} is {found}; {expected}.{more}")


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def _listed(words: tuple[str, ...] | list[str]) -> str:
    some = ", ".join(repr(str(word)) for word in words[:8])
    return some + (f" … ({len(words)} in all)" if len(words) > 8 else "") if words else "nothing"
