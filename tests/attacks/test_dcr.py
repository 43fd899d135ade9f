from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.attack import Knowledge, PublicChallenge
from fedbench.attacks._neighbours import closest, units
from fedbench.attacks.dcr import Dcr
from fedbench.data import Cohort, Column, Schema
from fedbench.games import show

People = Callable[..., Cohort]


def naive(
    schema: Schema, targets: pd.DataFrame, released: pd.DataFrame, unit: Mapping[str, float]
) -> np.ndarray:
    def apart(name: str, one: Any, other: Any) -> float:
        if pd.isna(one) or pd.isna(other):
            return float(pd.isna(one) != pd.isna(other))
        column = schema.static[name]
        if column.kind == "category":
            return float(one != other)
        if column.log:
            one, other = np.log(one), np.log(other)
        return float(min(1.0, abs(one - other) / unit[name]))

    return np.array(
        [
            min(
                np.mean([apart(name, one[name], other[name]) for name in map(str, targets)])
                for _, other in released.iterrows()
            )
            for _, one in targets.iterrows()
        ]
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), n=st.integers(1, 12), m=st.integers(1, 9))
def test_distances_are_those_of_the_definition(people: People, seed: int, n: int, m: int) -> None:
    targets, released = people(n, seed), people(m, seed + 1)
    unit = units(targets.schema, released.table)
    found = closest(targets.schema, targets.table, released.table, unit)
    expected = naive(targets.schema, targets.table, released.table, unit)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_copy_is_exactly_zero_apart_and_nobody_else_is(people: People) -> None:
    cohort, others = people(300, 0), people(200, 1)
    unit = units(cohort.schema, cohort.table)
    shuffled = cohort.table.sample(frac=1, random_state=0)
    assert (closest(cohort.schema, cohort.table, shuffled, unit) == 0).all()
    assert (closest(cohort.schema, others.table, shuffled, unit) > 0).all()


def test_blocks_change_nothing(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    targets, released = people(130, 0), people(90, 1)
    unit = units(targets.schema, released.table)
    once = closest(targets.schema, targets.table, released.table, unit)
    monkeypatch.setattr("fedbench.attacks._neighbours._ROWS", 7)
    monkeypatch.setattr("fedbench.attacks._neighbours._COLUMNS", 11)
    assert (closest(targets.schema, targets.table, released.table, unit) == once).all()


def test_missing_is_a_value_of_its_own() -> None:
    schema = Schema(name="one", clock="", static={"lab": Column(kind="number", low=0, high=10)})
    table = pd.DataFrame({"lab": [np.nan, 3.0]})
    empty, full = table.iloc[:1], table.iloc[1:]
    unit = {"lab": 10.0}
    assert closest(schema, table, empty, unit).tolist() == [0, 1]
    assert closest(schema, table, full, unit).tolist() == [1, 0]


def test_a_constant_release_is_measured_on_the_public_range() -> None:
    schema = Schema(name="one", clock="", static={"lab": Column(kind="number", low=0, high=10)})
    assert units(schema, pd.DataFrame({"lab": [4.0, 4.0, np.nan]})) == {"lab": 10}


def test_every_column_of_a_release_without_values_still_counts() -> None:
    schema = Schema(name="one", clock="", static={"lab": Column(kind="number", low=0, high=10)})
    assert units(schema, pd.DataFrame({"lab": [np.nan]})) == {"lab": 10}


@pytest.mark.filterwarnings("ignore")
def test_with_ranges_as_units_it_is_the_dcr_of_sdmetrics(people: People) -> None:
    from sdmetrics.single_table.privacy.dcr_utils import calculate_dcr

    targets, released = (people(n, n).table.drop(columns="dose") for n in (60, 40))
    schema = people(1, 0).schema
    numbers = [name for name in map(str, targets) if schema.static[name].kind == "number"]
    unit = {name: released[name].max() - released[name].min() for name in numbers}
    sdtypes = {name: "numerical" if name in numbers else "categorical" for name in targets}
    theirs: np.ndarray = calculate_dcr(
        targets.astype({n: object for n in targets if n not in numbers}),
        released.astype({n: object for n in released if n not in numbers}),
        {"columns": {name: {"sdtype": kind} for name, kind in sdtypes.items()}},
    ).to_numpy(float)
    np.testing.assert_allclose(closest(schema, targets, released, unit), theirs, atol=1e-5)


def test_members_of_a_copied_set_score_highest(people: People) -> None:
    members, others = people(50, 0), people(50, 1, "o")
    attack = Dcr()
    sight = show(attack, members.schema, {Knowledge.SYNTHETIC: members})
    targets = pd.concat([members.table, others.table]).reset_index(drop=True)
    challenge = PublicChallenge("membership", targets, np.full(100, "a", dtype=object))
    scores = attack.guess(sight, challenge, np.random.default_rng(0)).scores
    assert scores[:50].min() > scores[50:].max()
