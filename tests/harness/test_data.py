"""Cohorts: parts of them, unions of them, files of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.data import (
    TABLES,
    Cohort,
    Column,
    DataStore,
    Outcome,
    Part,
    Schema,
    Task,
    Window,
    looks_of,
    read_cohort,
    write_cohort,
)
from fedbench.errors import DataError
from fedbench.kinds import cohort_of


@given(n=st.integers(2, 25), seed=st.integers(0, 2**32 - 1), data=st.data())
@settings(max_examples=12, deadline=None)
def test_parts_put_together_are_the_whole(
    made_up: Any, n: int, seed: int, data: st.DataObject
) -> None:
    cohort = made_up(n, seed)
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    parts = [cohort.take(cohort.patients[side]) for side in (chosen, ~chosen) if side.any()]
    again = Cohort.union(parts[::-1])
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(cohort, name))
    assert again.fingerprint == cohort.fingerprint


def test_taking_patients_takes_all_their_rows(made_up: Any) -> None:
    cohort = made_up(30, 0)
    some = cohort.take(cohort.patients[3:9])
    assert list(some.patients) == list(cohort.patients[3:9])
    for name in TABLES:
        table = getattr(cohort, name)
        mine = table[table["patient"].isin(some.patients)].reset_index(drop=True)
        pd.testing.assert_frame_equal(getattr(some, name), mine)
    pd.testing.assert_frame_equal(some.table, cohort.table.loc[list(some.patients)])


def test_a_patient_keeps_a_key_at_every_site(made_up: Any) -> None:
    cohort = made_up(30, 0)
    some = cohort.take(cohort.patients[10:])
    assert (some.keys == cohort.keys[10:]).all()
    assert len(np.unique(cohort.keys)) == 30


def test_a_changed_cell_changes_the_fingerprint(hospital_tables: Any) -> None:
    tables = hospital_tables(20, 0)
    before = tables.cohort().fingerprint
    tables.visits.loc[0, "sodium"] = 123.0
    assert tables.cohort().fingerprint != before


def test_a_folder_holds_a_cohort(made_up: Any, tmp_path: Path) -> None:
    cohort = made_up(25, 0)
    extra = np.array(["train"] * 25, dtype=object)
    write_cohort(cohort, tmp_path / "records", part=extra)
    again = read_cohort(cohort.schema, tmp_path / "records")
    assert again.fingerprint == cohort.fingerprint
    assert "part" in pd.read_parquet(tmp_path / "records" / "static.parquet")


def test_a_folder_without_patients_is_no_cohort(made_up: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no static.parquet in"):
        read_cohort(made_up(2, 0).schema, tmp_path)


def test_a_schema_says_what_there_is(made_up: Any) -> None:
    schema = made_up(2, 0).schema
    assert schema.site == "hospital"
    assert schema.parts == frozenset(Part)
    names = [feature.name for feature in schema.features]
    assert len(set(names)) == len(names)
    assert "hospital" not in names
    assert schema.feature("time").given == "event"
    assert (schema.feature("day@late").column.low, schema.feature("day@late").column.high) == (
        1,
        200,
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "category"}, "distinct levels"),
        ({"kind": "category", "levels": ("a", "a")}, "distinct levels"),
        ({"kind": "number"}, "finite public bounds"),
        ({"kind": "number", "low": 2, "high": 1}, "finite public bounds"),
        ({"kind": "number", "low": 0, "high": 1, "log": True}, "low > 0"),
    ],
)
def test_a_column_must_be_describable(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Column(**wrong)


def test_a_store_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDBENCH_DATA", raising=False)
    with pytest.raises(DataError, match="no data folder is set"):
        DataStore.default().folder("eicu_demo")
    monkeypatch.setenv("FEDBENCH_DATA", str(tmp_path))
    with pytest.raises(DataError, match="There is no folder 'eicu_demo'"):
        DataStore.default().folder("eicu_demo")
    (tmp_path / "eicu_demo").mkdir()
    assert DataStore.default().folder("eicu_demo") == tmp_path / "eicu_demo"


def test_parts_and_unions_inherit_the_patient_table() -> None:
    cohort = cohort_of("opt", {}, DataStore())
    first, second = cohort.patients[1::3], cohort.patients[::2]
    fresh = [cohort.take(first), Cohort.union([cohort.take(first), cohort.take(second[:0])])]
    assert "table" not in fresh[0].__dict__
    _ = cohort.table
    inherited = [cohort.take(first), Cohort.union([cohort.take(first), cohort.take(second[:0])])]
    for mine, theirs in zip(inherited, fresh, strict=True):
        assert "table" in mine.__dict__
        pd.testing.assert_frame_equal(mine.table, theirs.table)


def test_looks_are_those_of_the_patient_table_and_hashed_once() -> None:
    cohort = cohort_of("opt", {}, DataStore())
    once = cohort.looks
    np.testing.assert_array_equal(once, looks_of(cohort.table))
    assert cohort.looks is once


FOLLOWED = Schema(
    name="made-up", clock="", static={}, outcome=Outcome(label="death", low=0, high=900)
)


@pytest.mark.parametrize(
    ("index", "horizon", "message"),
    [
        (90, 90, r"Task 'death': the horizon is 90; expected a day after the index, 90"),
        (90, 30, r"the horizon is 30; expected a day after"),
        (900, math.inf, r"task 'late' has the index 900; nobody is followed beyond day 900"),
        (0, 9000, r"task 'late' has the horizon 9000; nobody is followed beyond day 900"),
    ],
)
def test_a_task_is_about_days_on_which_patients_are_followed(
    index: float, horizon: float, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        replace(
            FOLLOWED,
            tasks={
                "late": Task(kind="classification", label="death", index=index, horizon=horizon)
            },
        )


def test_a_window_has_a_start_before_its_end() -> None:
    with pytest.raises(DataError, match=r"window 'year' is from 365 to 0; expected a finite"):
        Window(name="year", start=365, end=0)


def test_one_column_at_most_names_the_hospital() -> None:
    ward = Column(kind="category", levels=("a", "b"), roles=frozenset(["site"]))
    age = Column(kind="number", low=0, high=9, roles=frozenset(["site"]))
    with pytest.raises(DataError, match="ward and other have the role 'site'; expected one"):
        Schema(name="s", clock="days", static={"ward": ward, "other": ward})
    with pytest.raises(DataError, match="age has the role 'site' and is a number"):
        Schema(name="s", clock="days", static={"age": age})
    with pytest.raises(DataError, match="ward is a visit column"):
        Schema(name="s", clock="days", static={}, visits={"ward": ward})
