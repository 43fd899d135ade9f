"""A mark says what it is a mark of, and dealing leaves single values and lengths as they are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fedbench.attacks._marks import Grid, Marks, Records, Rows, marks_of, visits_of
from fedbench.data import Cohort, Column, DataStore, Schema, Vocabulary, Window
from fedbench.datasets.simulated import Simulated
from fedbench.sequences import Sequences


def records(cohort: Cohort) -> Records:
    sequences = Sequences.of(cohort)
    n = len(cohort)
    return Records(
        Rows(np.arange(n), np.arange(3.0 * n).reshape(n, 3)), visits_of(sequences), sequences
    )


def marks(found: Records) -> Marks:
    return marks_of(found, (Grid.of(found.facts), Grid.of(found.visits)))


def test_a_code_and_a_day_of_the_same_number_are_not_alike() -> None:
    """Codes count from 0, and times in steps of a ten-thousandth of a day."""
    codes = [f"c{i}" for i in range(3)]
    schema = Schema(
        name="coded",
        clock="",
        static={"age": Column(kind="integer", low=0, high=99)},
        vocabularies={"icd": Vocabulary(codes=dict(zip(codes, codes, strict=True)))},
        windows=(Window(name="ever", start=-1, end=400),),
    )

    def coded(day: float, code: str) -> set[int]:
        row = {"patient": ["p"], "day": [day], "system": ["icd"], "code": [code]}
        static = pd.DataFrame({"patient": ["p"], "age": [40.0]})
        found = Sequences.of(Cohort.of_tables(schema, static, codes=pd.DataFrame(row)))
        bare = Rows(np.zeros(1, np.int64), np.full((1, 1), np.nan))
        return set(marks(Records(bare, bare, found)).mark.tolist())

    assert not coded(2e-4, "c0") & coded(9.0, "c2")
    assert coded(9.0, "c0") & coded(9.0, "c2")
    assert coded(2e-4, "c2") & coded(9.0, "c2")


def test_dealing_moves_values_and_nothing_else() -> None:
    whole = records(Simulated(patients=40, hospitals=1, seed=0).load(DataStore(None)))
    dealt = whole.dealt(np.random.default_rng(0))
    for old, new in ((whole.facts, dealt.facts), (whole.visits, dealt.visits)):
        assert np.array_equal(np.isnan(old.values), np.isnan(new.values))
        assert np.array_equal(
            np.sort(old.values, axis=0), np.sort(new.values, axis=0), equal_nan=True
        )
        assert not np.array_equal(old.values, new.values, equal_nan=True)
    for name in ("day", "codes"):
        old, new = (getattr(each.sequences, name) for each in (whole, dealt))
        assert np.array_equal(np.sort(old), np.sort(new))
        assert not np.array_equal(old, new)
    same = dealt.sequences.owner[1:] == dealt.sequences.owner[:-1]
    assert (np.diff(dealt.sequences.day)[same] >= 0).all()
