"""A patient as one row, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.data import Column, Schema, Vocabulary, cohort_from_table


@given(n=st.integers(1, 30), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_a_table_written_as_a_cohort_reads_the_same(made_up: Any, n: int, seed: int) -> None:
    cohort = made_up(n, seed)
    again = cohort_from_table(cohort.schema, cohort.table)
    pd.testing.assert_frame_equal(again.table, cohort.table)
    twice = cohort_from_table(cohort.schema, again.table)
    assert twice.fingerprint == again.fingerprint


def test_one_column_per_feature_and_one_row_per_patient(made_up: Any) -> None:
    cohort = made_up(40, 0)
    assert list(cohort.table) == [feature.name for feature in cohort.schema.features]
    assert list(cohort.table.index) == list(cohort.patients)
    for feature in cohort.schema.features:
        values = cohort.table[feature.name]
        if feature.column.kind == "category":
            assert tuple(values.cat.categories) == feature.column.levels
        else:
            assert values.dtype == np.float64


def test_the_last_measured_value_counts_and_windows_end_with_their_last_day(
    hospital_tables: Any,
) -> None:
    tables = hospital_tables(1, 0)
    visits = pd.DataFrame(
        {
            "patient": "p0",
            "day": [-100, -50, 0, 1, 200, 201],
            "sodium": [101, 140, None, 120, None, 150],
            "smoker": ["no", None, "yes", None, None, "no"],
        }
    )
    codes = pd.DataFrame(
        {"patient": "p0", "day": [-100, 0, 201], "system": "icd", "code": ["K74", "E11", "Z9"]}
    )
    row = replace(tables, visits=visits, codes=codes).cohort().table.loc["p0"]
    assert (row["day@early"], row["sodium@early"], row["smoker@early"]) == (0, 140, "yes")
    assert (row["day@late"], row["sodium@late"]) == (200, 120)
    assert pd.isna(row["smoker@late"])
    assert (row["K74@early"], row["E11@early"], row["(other)@late"]) == ("no", "yes", "no")


def test_a_visit_where_nothing_was_measured_is_still_a_visit(hospital_tables: Any) -> None:
    tables = hospital_tables(1, 0)
    visits = pd.DataFrame({"patient": ["p0"], "day": [10], "sodium": [None], "smoker": [None]})
    cohort = replace(tables, visits=visits).cohort()
    assert cohort.table.loc["p0", "day@late"] == 10
    assert len(cohort_from_table(cohort.schema, cohort.table).visits) == 1


def test_a_code_that_two_systems_list_is_two_columns(hospital_tables: Any) -> None:
    tables = hospital_tables(2, 0)
    schema = replace(
        tables.cohort().schema,
        vocabularies={"icd9": Vocabulary(codes={"V10": "history of cancer", "401": ""}),
                      "icd10": Vocabulary(codes={"V10": "accident"})},
    )  # fmt: skip
    codes = pd.DataFrame(
        {"patient": ["p0", "p1"], "day": 10, "system": ["icd9", "icd10"], "code": "V10"}
    )
    cohort = replace(tables, codes=codes).cohort(schema)
    assert list(cohort.table["icd9:V10@late"]) == ["yes", "no"]
    assert list(cohort.table["icd10:V10@late"]) == ["no", "yes"]
    assert list(cohort.table["401@late"]) == ["no", "no"]
    again = cohort_from_table(schema, cohort.table)
    pd.testing.assert_frame_equal(again.table, cohort.table)


def test_many_columns_are_written_back_without_a_warning() -> None:
    columns = {f"x{i}": Column(kind="number", low=0, high=1) for i in range(150)}
    schema = Schema(name="wide", clock="", static=columns)
    table = pd.DataFrame(0.5, index=pd.Index(["a", "b"], name="patient"), columns=list(columns))
    assert cohort_from_table(schema, table).table.equals(table)
