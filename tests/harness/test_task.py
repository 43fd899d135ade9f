"""Nothing dated after the index time may be known at the index time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.data import Cohort, Task
from fedbench.task import Problem, problem, utilization

Seed = st.integers(0, 2**32 - 1)


def _futures(cohort: Cohort, index: float, seed: int) -> dict[str, Cohort]:
    """Return the same past with other futures."""
    rng = np.random.default_rng(seed)

    def later(change: Any) -> Cohort:
        parts = {}
        for name in ("visits", "codes"):
            table = getattr(cohort, name)
            after = table["day"] > index
            parts[name] = pd.concat([table[~after], change(name, table[after])], ignore_index=True)
        return Cohort.of_tables(
            cohort.schema, cohort.static, parts["visits"], parts["codes"], cohort.outcome
        )

    def changed(name: str, table: pd.DataFrame) -> pd.DataFrame:
        if name == "codes":
            return table.assign(system="icd", code="K74")
        return table.assign(sodium=rng.uniform(100, 170, len(table)), smoker="yes")

    def moved(_: str, table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(day=index + rng.uniform(0.1, 900, len(table)))

    def added(_: str, table: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([table, table.assign(day=table["day"] + 1)], ignore_index=True)

    return {
        "deleted": later(lambda _, table: table[:0]),
        "changed": later(changed),
        "moved": later(moved),
        "added": later(added),
    }


def _same(left: Problem, right: Problem) -> None:
    pd.testing.assert_frame_equal(left.predictors, right.predictors, check_exact=True)
    assert list(left.patients) == list(right.patients)
    assert (left.time == right.time).all()
    assert (left.event == right.event).all()


@given(n=st.integers(3, 25), seed=Seed, index=st.integers(-120, 240))
@settings(max_examples=12, deadline=None)
def test_the_future_moves_no_predictor(made_up: Any, n: int, seed: int, index: int) -> None:
    cohort = made_up(n, seed)
    task = Task(kind="survival", label="death", index=index)
    for other in _futures(cohort, index, seed).values():
        _same(problem(cohort, task), problem(other, task))
        _same(utilization(cohort, task), utilization(other, task))


@given(seed=Seed)
@settings(max_examples=12, deadline=None)
def test_the_past_does(made_up: Any, seed: int) -> None:
    cohort = made_up(25, seed)
    task = cohort.schema.tasks["survival"]
    other = _futures(cohort, -60, seed)["deleted"]
    assert not problem(other, task).predictors.equals(problem(cohort, task).predictors)


def test_an_outcome_that_changes_moves_no_predictor_of_anyone_else(hospital_tables: Any) -> None:
    tables = hospital_tables(30, 0)
    task = tables.cohort().schema.tasks["year"]
    later = tables.outcome.assign(event=1, time=(tables.outcome["time"] + 1).clip(upper=1_000))
    before, after = (
        problem(tables.cohort(), task),
        problem(replace(tables, outcome=later).cohort(), task),
    )
    both = [patient for patient in before.patients if patient in set(after.patients)]
    assert both
    pd.testing.assert_frame_equal(
        before.predictors.loc[both], after.predictors.loc[both], check_exact=True
    )


@pytest.mark.parametrize(
    ("time", "event", "survival", "year"),
    [
        (40, 1, (40, True), None),  # over before the index time of the second task
        (50, 0, (50, False), None),  # at the index time is too early
        (51, 1, (51, True), (1, True)),
        (300, 0, (300, False), None),  # censored before the horizon: nobody knows
        (365, 0, (365, False), (315, False)),
        (365, 1, (365, True), (315, True)),
        (366, 1, (366, True), (315, False)),  # free of the event at the horizon
    ],
)
def test_who_takes_part(
    hospital_tables: Any,
    time: float,
    event: int,
    survival: tuple[float, bool],
    year: tuple[float, bool] | None,
) -> None:
    tables = hospital_tables(1, 0)
    outcome = pd.DataFrame({"patient": ["p0"], "time": [time], "event": [event]})
    cohort = replace(tables, outcome=outcome).cohort()
    for name, expected in (("survival", survival), ("year", year)):
        asked = problem(cohort, cohort.schema.tasks[name])
        found = list(zip(asked.time, asked.event, strict=True))
        assert found == ([expected] if expected else [])
        assert len(asked.predictors) == len(found)


def test_utilization_counts_and_dates_and_nothing_else(hospital_tables: Any) -> None:
    tables = hospital_tables(2, 0)
    visits = pd.DataFrame(
        {"patient": "p0", "day": [-9, -3, 4], "sodium": [120, 130, 140], "smoker": None}
    )
    outcome = tables.outcome.assign(time=500.0)
    cohort = replace(tables, visits=visits, codes=tables.codes[:0], outcome=outcome).cohort()
    found = utilization(cohort, cohort.schema.tasks["survival"]).predictors
    dated = found[["visits counted", "visits first", "visits last"]].to_numpy()
    assert dated[0].tolist() == [2, -9, -3]
    assert found["visits counted"].tolist() == [2, 0]
    assert found["codes counted"].tolist() == [0, 0]
    assert found["codes last"].isna().all()


def test_the_hospital_is_no_predictor(made_up: Any) -> None:
    cohort = made_up(10, 0)
    names = list(map(str, problem(cohort, cohort.schema.tasks["survival"]).predictors))
    assert not [name for name in names if name.startswith(("hospital", "household"))]
    assert {"age", "stage=II", "sodium", "icd:K74", "atc:A10"} <= set(names)
