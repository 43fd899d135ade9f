"""Sequences of visits, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.data import Cohort, DataStore
from fedbench.datasets.nafld import Nafld
from fedbench.datasets.opt import Opt
from fedbench.datasets.simulated import Simulated
from fedbench.sequences import Sequences


def again(cohort: Cohort) -> Cohort:
    outcome = cohort.outcome if cohort.schema.outcome else None
    return Sequences.of(cohort).cohort(cohort.static, outcome)


@given(n=st.integers(1, 30), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_nothing_is_lost_on_the_way(made_up: Any, n: int, seed: int) -> None:
    cohort = made_up(n, seed)
    assert again(cohort).fingerprint == cohort.fingerprint


def test_real_records_come_back() -> None:
    for dataset in (Opt(), Nafld(), Simulated(patients=500, systems=("icd10", "icd9"))):
        cohort = dataset.load(DataStore())
        assert again(cohort).fingerprint == cohort.fingerprint


def test_steps_are_visits_and_days_with_codes_alone(made_up: Any) -> None:
    cohort = made_up(40, 3)
    found = Sequences.of(cohort)
    assert found.visited.sum() == len(cohort.visits)
    assert np.diff(found.code_starts).sum() == len(cohort.codes)
    days = set(cohort.codes[["patient", "day"]].itertuples(index=False, name=None))
    days -= set(cohort.visits[["patient", "day"]].itertuples(index=False, name=None))
    assert (~found.visited).sum() == len(days)
    assert found.measured.sum() == cohort.visits["sodium"].notna().sum()
    assert not found.measured[~found.visited].any()


def test_gaps_are_within_a_patient(made_up: Any) -> None:
    found = Sequences.of(made_up(40, 3))
    assert np.isnan(found.gap).sum() == (np.diff(found.starts) > 0).sum()
    there = ~np.isnan(found.gap)
    assert (found.gap[there] >= 0).all()
    same = np.diff(found.owner, prepend=-1) == 0
    np.testing.assert_array_equal(found.gap[same], np.diff(found.day)[same[1:]])


def test_codes_as_zeros_and_ones(made_up: Any) -> None:
    cohort = made_up(40, 3)
    found = Sequences.of(cohort)
    every = found.multi_hot(slice(None))
    # A code written twice on one day is one.
    assert every.sum() == len(cohort.codes.drop_duplicates())
    some = np.flatnonzero(found.owner == 5)[::-1]
    np.testing.assert_array_equal(found.multi_hot(some), every[some])
    for place, (system, code) in enumerate(found.vocabulary):
        mine = cohort.codes[(cohort.codes["system"] == system) & (cohort.codes["code"] == code)]
        who = found.patients[found.owner[every[:, place]]]
        assert set(who) == set(mine["patient"])


def test_memory_is_that_of_the_steps_and_not_of_the_longest_patient() -> None:
    cohort = Simulated(patients=300).load(DataStore())
    one = cohort.patients[0]
    many = pd.DataFrame({"patient": one, "day": np.linspace(-700, 0, 5_000)}).reindex(
        columns=cohort.visits.columns
    )
    longer = Cohort.of_tables(
        cohort.schema, cohort.static, pd.concat([cohort.visits, many]), cohort.codes, cohort.outcome
    )
    before, after = (len(Sequences.of(c).numbers) for c in (cohort, longer))
    assert after == before + 5_000
