"""Tables that do not fit are refused with a message that finds the cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.data import OTHER, TABLES, Cohort
from fedbench.errors import DataError

Seeds = st.integers(0, 2**32 - 1)


@given(n=st.integers(1, 30), seed=Seeds)
@settings(max_examples=12, deadline=None)
def test_checking_twice_changes_nothing(hospital_tables: Any, n: int, seed: int) -> None:
    once = hospital_tables(n, seed).cohort()
    twice = Cohort.of_tables(once.schema, *(getattr(once, name) for name in TABLES))
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(once, name), getattr(twice, name))
    assert once.fingerprint == twice.fingerprint


@given(n=st.integers(2, 30), seed=Seeds)
@settings(max_examples=12, deadline=None)
def test_the_order_of_patients_does_not_matter(hospital_tables: Any, n: int, seed: int) -> None:
    tables = hospital_tables(n, seed)
    turned = replace(tables, static=tables.static[::-1], outcome=tables.outcome[::-1])
    assert tables.cohort().fingerprint == turned.cohort().fingerprint


def test_the_normal_form(hospital_tables: Any) -> None:
    tables = hospital_tables(20, 0)
    tables.static["patient"] = tables.static["patient"].str[1:].astype(int)
    tables.outcome["patient"] = tables.outcome["patient"].str[1:].astype(float)
    for name in ("visits", "codes"):
        table = getattr(tables, name)
        table["patient"] = table["patient"].str[1:]
    cohort = tables.cohort()
    assert list(cohort.patients) == sorted(str(number) for number in range(20))
    assert list(cohort.patients) == list(cohort.outcome["patient"])
    assert list(cohort.static) == ["patient", "household", *cohort.schema.static]
    assert cohort.static["age"].dtype == np.float64
    assert set(cohort.static["town"].dropna()) == {"Ulm", OTHER}
    assert "Z99" not in set(cohort.codes["code"])
    assert OTHER in set(cohort.codes["code"])


def test_numbers_written_as_text_are_numbers(hospital_tables: Any) -> None:
    tables = hospital_tables(10, 1)
    text = tables.static["weight"].map(lambda kg: " " if kg is None else str(kg))
    other = replace(tables, static=tables.static.assign(weight=text))
    pd.testing.assert_frame_equal(tables.cohort().static, other.cohort().static)


def test_columns_that_the_schema_does_not_name_are_left_out(hospital_tables: Any) -> None:
    tables = hospital_tables(10, 1)
    named = replace(tables, static=tables.static.assign(surname="Doe"))
    assert "surname" not in named.cohort().static


def test_missing_tables_become_empty_ones(hospital_tables: Any) -> None:
    tables = hospital_tables(5, 0)
    cohort = Cohort.of_tables(tables.cohort().schema, tables.static, outcome=tables.outcome)
    assert list(cohort.visits) == ["patient", "day", "sodium", "smoker"]
    assert list(cohort.codes) == ["patient", "day", "system", "code"]
    assert cohort.table["sodium@late"].isna().all()
    assert (cohort.table["K74@late"] == "no").all()


def _set(table: str, row: int, column: str, value: object) -> Callable[[Any], Any]:
    def spoil(tables: Any) -> Any:
        frame = getattr(tables, table).copy()
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
        return replace(tables, **{table: frame})

    return spoil


def _without(table: str, column: str) -> Callable[[Any], Any]:
    return lambda tables: replace(tables, **{table: getattr(tables, table).drop(columns=column)})


BROKEN = {
    "text for a number": (
        _set("static", 17, "weight", "n/a"),
        "static row 18: 'weight' is 'n/a'; expected a number or an empty field.",
    ),
    "words for numbers": (
        _set("outcome", 1, "event", "True"),
        ("outcome row 2: 'event' is 'True'; expected 0 or 1; write 1 for true and 0 for false."),
    ),
    "out of bounds": (
        _set("visits", 3, "sodium", 1_400),
        "visits row 4: 'sodium' is 1400; expected 100 to 170 mmol/l.",
    ),
    "not whole": (
        _set("static", 0, "age", 40.5),
        "static row 1: 'age' is 40.5; expected a whole number.",
    ),
    "infinite": (
        _set("static", 0, "weight", float("inf")),
        "static row 1: 'weight' is inf; expected 30 to 200.",
    ),
    "unknown level": (
        _set("static", 2, "stage", "IV"),
        "static row 3: 'stage' is 'IV'; expected 'I', 'II', 'III'.",
    ),
    "no site": (
        _set("static", 5, "hospital", None),
        "static row 6: 'hospital' is empty; expected a site.",
    ),
    "no household": (
        _set("static", 5, "household", None),
        "static row 6: 'household' is empty; expected text that is not empty.",
    ),
    "no patient": (
        _set("codes", 5, "patient", ""),
        "codes row 6: 'patient' is ''; expected text that is not empty.",
    ),
    "a stranger": (
        _set("visits", 1, "patient", "nobody"),
        "visits row 2: 'patient' is somebody else; expected a patient of the static table.",
    ),
    "an undated visit": (
        _set("visits", 1, "day", None),
        "visits row 2: 'day' is empty; expected a number of days.",
    ),
    "an unknown system": (
        _set("codes", 1, "system", "snomed"),
        "codes row 2: 'system' is 'snomed'; expected 'icd', 'atc'.",
    ),
    "half an event": (
        _set("outcome", 0, "event", 0.5),
        "outcome row 1: 'event' is 0.5; expected 0 or 1.",
    ),
    "a negative time": (
        _set("outcome", 0, "time", -1),
        "outcome row 1: 'time' is -1; expected days between 0 and 1000.",
    ),
    "no time": (
        _set("outcome", 0, "time", None),
        "outcome row 1: 'time' is empty; expected days between 0 and 1000.",
    ),
    "no column": (
        _without("visits", "sodium"),
        "visits: there is no column 'sodium'; found 'patient', 'day', 'smoker'.",
    ),
    "no cluster column": (_without("static", "household"), "there is no column 'household'"),
    "nobody": (
        lambda tables: replace(tables, static=tables.static[:0]),
        "The static table has no rows",
    ),
    "no outcome": (
        lambda tables: replace(tables, outcome=tables.outcome[:-1]),
        "outcome: 1 patient of the static table has no row, there in row 4; expected one row per",
    ),
    "twice": (
        lambda tables: replace(tables, static=pd.concat([tables.static, tables.static])),
        (
            "static row 21: 'patient' is there again, as in row 1; expected every patient once. "
            "19 more rows like this."
        ),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_fit_is_named(hospital_tables: Any, name: str) -> None:
    spoil, message = BROKEN[name]
    with pytest.raises(DataError, match=message):
        spoil(hospital_tables(20, 3)).cohort()


@pytest.mark.parametrize("table", ["static", "visits", "codes", "outcome"])
def test_no_message_says_who_a_patient_is(hospital_tables: Any, table: str) -> None:
    tables, name = hospital_tables(20, 3), "Jane Doe"
    stranger = _set(table, 0, "patient", name)(tables)
    twice = replace(stranger, **{table: pd.concat([getattr(stranger, table)] * 2)})
    for each in (stranger, twice):
        with pytest.raises(DataError, match=r"row \d+") as said:
            each.cohort()
        assert name not in str(said.value)
        assert not any(f"{who!r}" in str(said.value) for who in tables.static["patient"])


def test_a_code_that_is_not_listed_is_refused_where_there_is_no_other(
    hospital_tables: Any,
) -> None:
    tables = hospital_tables(20, 3)
    row = int(np.flatnonzero(tables.codes["system"] == "atc")[0])
    with pytest.raises(DataError, match=f"codes row {row + 1}: 'code' is 'B01'; expected a code"):
        _set("codes", row, "code", "B01")(tables).cohort()


def test_synthetic_patients_live_nowhere(hospital_tables: Any) -> None:
    tables = hospital_tables(6, 0)
    nowhere = replace(tables, static=tables.static.assign(hospital=None)).cohort()
    assert nowhere.sites is not None
    assert all(site is None for site in nowhere.sites)


def test_rows_without_a_place_in_the_schema_are_refused(hospital_tables: Any) -> None:
    tables = hospital_tables(6, 0)
    bare = replace(tables.cohort().schema, vocabularies={})
    with pytest.raises(DataError, match="codes: 12 rows were given, but the schema describes none"):
        tables.cohort(bare)
