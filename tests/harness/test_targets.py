"""Tasks about columns and codes: who takes part, what is foreseen, and what may be known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Cohort, Column, Outcome, Schema, Task, Vocabulary
from fedbench.errors import DataError
from fedbench.task import problem

LATER: dict[str, Any] = {"known": 3.0}


def schema(**tasks: Task) -> Schema:
    return Schema(
        name="wards",
        clock="days since admission",
        static={
            "age": Column(kind="integer", low=18, high=100),
            "back": Column(kind="category", levels=("no", "yes"), **LATER),
            "stay": Column(kind="number", low=0.1, high=400, log=True, **LATER),
            "place": Column(kind="category", levels=("home", "hospice", "ward"), **LATER),
        },
        vocabularies={"icd": Vocabulary(codes={"E11": "diabetes", "I10": "hypertension"})},
        outcome=Outcome(label="death", low=0, high=100),
        tasks=tasks,
    )


BACK = Task(kind="classification", label="readmission", index=1, column="back")
STAY = Task(kind="regression", label="length of stay", index=1, column="stay")
NEXT = Task(
    kind="classification", label="diabetes", index=1, horizon=50, codes=("icd:E11",)
)  # fmt: skip


def wards(**changes: pd.DataFrame) -> Cohort:
    patients = ["a", "b", "c", "d", "e"]
    tables = {
        "static": pd.DataFrame(
            {
                "patient": patients,
                "age": [30, 40, 50, 60, 70],
                "back": ["no", "yes", None, "yes", "no"],
                "stay": [1.0, np.e, 10.0, np.nan, 5.0],
                "place": ["home", "home", "hospice", "home", "home"],
            }
        ),
        "codes": pd.DataFrame(
            [
                ("a", 1.0, "icd", "E11"),  # before the index: no news
                ("b", 20.0, "icd", "E11"),
                ("c", 20.0, "icd", "I10"),
                ("d", 51.0, "icd", "E11"),  # after the horizon
            ],
            columns=["patient", "day", "system", "code"],
        ),
        "outcome": pd.DataFrame(
            {"patient": patients, "time": [90, 90, 40, 90, 1], "event": [0, 0, 0, 0, 1]}
        ),
        **changes,
    }
    return Cohort.of_tables(schema(back=BACK, stay=STAY, next=NEXT), **tables)


def test_a_column_that_is_known_later_is_foreseen() -> None:
    asked = problem(wards(), BACK)
    # c has no answer; e is dead by the index time.
    assert dict(zip(asked.patients, asked.event, strict=True)) == {"a": 0, "b": 1, "d": 1}


def test_a_number_is_foreseen_on_the_scale_of_its_column() -> None:
    asked = problem(wards(), STAY)
    assert list(asked.patients) == ["a", "b", "c"]
    np.testing.assert_allclose(asked.value, [0, 1, np.log(10)])


def test_a_diagnosis_is_foreseen_among_those_without_it() -> None:
    asked = problem(wards(), NEXT)
    # a has it already, c was followed until day 40 only, e is dead by the index time.
    assert dict(zip(asked.patients, asked.event, strict=True)) == {"b": 1, "d": 0}
    forever = problem(wards(), replace(NEXT, horizon=float("inf")))
    assert dict(zip(forever.patients, forever.event, strict=True)) == {"b": 1, "c": 0, "d": 1}
    outcome = pd.DataFrame({"patient": list("abcde"), "time": 40.0, "event": [0, 0, 1, 0, 1]})
    died = problem(wards(outcome=outcome), NEXT)
    assert dict(zip(died.patients, died.event, strict=True)) == {"b": 1, "c": 0, "e": 0}


@pytest.mark.parametrize("task", [BACK, STAY, NEXT])
def test_what_is_known_later_is_no_predictor(task: Task) -> None:
    before = problem(wards(), task)
    assert not [n for n in map(str, before.predictors) if n.startswith(("back", "stay", "place"))]
    places = pd.Series(["hospice", "home", "home", "hospice", None], dtype=object)
    static = wards().static.assign(place=places)
    after = problem(wards(static=static), task)
    pd.testing.assert_frame_equal(before.predictors, after.predictors, check_exact=True)
    known = problem(wards(), replace(task, index=3))
    assert [n for n in map(str, known.predictors) if n.startswith("place")]


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        ({"column": "age"}, "expected a static column whose 'known' is later than its index, 1."),
        ({"column": "nowhere"}, "expected a static column whose 'known'"),
        ({"column": "stay"}, "a classification cannot be about a number column"),
        ({"column": "place"}, "'place' needs two levels, the event last; found 3"),
        ({"codes": ("icd:X",)}, "expected system:code, both listed"),
        ({"column": "back", "codes": ("icd:E11",)}, "expected one of them"),
        ({"kind": "regression"}, "a regression needs a static column"),
        ({"kind": "regression", "column": "back"}, "a regression cannot be about a category"),
        ({"kind": "survival", "column": "stay"}, "survival is about the outcome only"),
    ],
)
def test_a_task_that_cannot_be_is_refused(task: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        schema(odd=Task(**{"kind": "classification", "label": "odd", "index": 1, **task}))


def test_a_task_about_an_outcome_needs_one() -> None:
    with pytest.raises(DataError, match="is about the outcome, and there is none"):
        replace(schema(odd=replace(BACK, column="")), outcome=None)


def test_everyone_is_followed_where_there_is_no_outcome() -> None:
    cohort = wards()
    without = Cohort.of_tables(
        replace(cohort.schema, outcome=None), cohort.static, codes=cohort.codes
    )
    assert list(problem(without, NEXT).patients) == ["b", "c", "d", "e"]


def test_a_vocabulary_shows_what_it_has() -> None:
    with pytest.raises(DataError, match="shows 'Z', which is none of its codes"):
        Vocabulary(codes={"E11": "diabetes"}, shown=("Z",))
    assert Vocabulary(codes={"E11": "", "I10": ""}, shown=("I10",)).features == ("I10",)


def test_codes_that_are_not_shown_are_no_columns_and_no_predictors() -> None:
    cohort = wards()
    few = {"icd": Vocabulary(codes=cohort.schema.vocabularies["icd"].codes, shown=("I10",))}
    other = Cohort.of_tables(
        replace(cohort.schema, vocabularies=few), cohort.static, None, cohort.codes, cohort.outcome
    )
    assert "icd:E11" in problem(cohort, BACK).predictors
    assert "icd:E11" not in problem(other, BACK).predictors
    assert len(other.codes) == len(cohort.codes)
