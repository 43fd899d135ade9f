"""Rules that every real patient keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Cohort, Column, Outcome, Rule, Schema, Vocabulary
from fedbench.errors import DataError
from fedbench.rules import kept

SCHEMA = Schema(
    name="ward",
    clock="days",
    static={
        "sex": Column(kind="category", levels=("female", "male")),
        "blood group": Column(kind="category", levels=("A", "B")),
        "children": Column(kind="integer", low=0, high=20),
    },
    visits={
        "diastolic": Column(kind="number", low=10, high=200),
        "systolic": Column(kind="number", low=30, high=300),
    },
    vocabularies={"icd": Vocabulary(codes={"O80": "delivery", "C61": "cancer of the prostate"})},
    outcome=Outcome(label="death", low=0, high=100),
)

COHORT = Cohort.of_tables(
    SCHEMA,
    pd.DataFrame(
        {
            "patient": list("abcd"),
            "sex": ["female", "male", None, "male"],
            "blood group": ["A", "B", "A", "B"],
            "children": [2, 1, 0, None],
        }
    ),
    pd.DataFrame(
        {
            "patient": ["a", "a", "b", "c", "d"],
            "day": [0.0, 60.0, 1.0, 0.0, 2.0],
            "diastolic": [80.0, 130.0, 70.0, np.nan, 90.0],
            "systolic": [120.0, 120.0, 110.0, 100.0, 90.0],
        }
    ),
    pd.DataFrame(
        {
            "patient": ["a", "b", "b", "c"],
            "day": [0.0, 5.0, 6.0, 0.0],
            "system": "icd",
            "code": ["O80", "O80", "C61", "O80"],
        }
    ),
    pd.DataFrame({"patient": list("abcd"), "time": [50, 90, 90, 90], "event": [1, 0, 0, 1]}),
)


@pytest.mark.parametrize(
    ("holds", "when", "asked", "broken"),
    [
        ("diastolic < systolic", "", "abd", "ad"),  # c lacks one of the two
        ("systolic > diastolic", "sex = male", "bd", "d"),
        ("sex = female", "code begins O", "ab", "b"),  # of c nobody knows
        ("sex = male", "code = C61", "b", ""),
        ("day <= time", "systolic > 0 and event = 1", "ad", "a"),  # a visit after death
        ("children >= 1", "", "abc", "c"),
        ("children >= 1", "sex = female", "a", ""),
        ("children >= 1 and children < 2", "", "abc", "ac"),
        ("blood group != A", "", "abcd", "ac"),
        ("time >= 60", "event = 1", "ad", "a"),
        ("children = 2", "children != 1", "ac", "c"),
    ],
)
def test_who_breaks_a_rule(holds: str, when: str, asked: str, broken: str) -> None:
    found = kept(COHORT, Rule(label="", holds=holds, when=when, source=""))
    assert "".join(COHORT.patients[found.asked]) == asked
    assert "".join(COHORT.patients[found.broken]) == broken


def test_codes_are_dated_where_there_are_no_visits() -> None:
    schema = replace(SCHEMA, visits={})
    cohort = Cohort.of_tables(schema, COHORT.static, None, COHORT.codes, COHORT.outcome)
    found = kept(cohort, Rule(label="", holds="day <= 5", source=""))
    assert "".join(cohort.patients[found.broken]) == "b"


@pytest.mark.parametrize(
    ("holds", "problem"),
    [
        ("pulse > 3", "there is no column 'pulse'"),
        ("systolic", "expected such as"),
        ("systolic > high", "'high' is neither a number nor a column"),
        ("sex = femal", "'femal' is none of female, male"),
        ("sex > female", "'sex' cannot be compared by '>'"),
        ("children begins 1", "'children' cannot be compared by 'begins'"),
        ("children = sex", "one is a number, the other is not"),
    ],
)
def test_a_rule_that_cannot_be_is_named(holds: str, problem: str) -> None:
    with pytest.raises(DataError, match=f"Schema 'ward', rule 'odd': .*{problem}"):
        kept(COHORT, Rule(label="odd", holds=holds, source=""))
