"""Metrics see the damage they were declared to see, and overlook what they should."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Cohort
from fedbench.errors import SpecError
from fedbench.kinds import METRICS
from fedbench.testing.damage import DAMAGES, damaged
from fedbench.testing.sensitivity import DECLARED, judged, measured, patients, shown

TABLES = ("static", "visits", "codes", "outcome")
SLOW = ("detection", "utility", "joint", "support", "agreement")
"""Left to the command that makes the table of the documentation."""


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return patients(300, 0)


def damage(cohort: Cohort, name: str, strength: float) -> Cohort:
    return damaged(name, cohort, strength, np.random.default_rng(0))


@pytest.mark.parametrize("name", DAMAGES)
def test_no_strength_is_no_damage_and_full_strength_is_some(name: str, cohort: Cohort) -> None:
    none, full = damage(cohort, name, 0.0), damage(cohort, name, 1.0)
    if name == "mode collapse":  # copies are called otherwise
        assert len(none.table.drop_duplicates()) == len(cohort)
        assert len(full.table.drop_duplicates()) == 10
        return
    assert none.fingerprint == cohort.fingerprint
    assert full.fingerprint != cohort.fingerprint


@pytest.mark.parametrize("name", ["shuffled column", "swapped labels", "wrong visit order"])
def test_some_damage_leaves_every_column_as_it_was(name: str, cohort: Cohort) -> None:
    full = damage(cohort, name, 0.6)
    for table in TABLES:
        before, after = getattr(cohort, table), getattr(full, table)
        for column in before:
            pd.testing.assert_series_equal(
                before[column].sort_values(ignore_index=True),
                after[column].sort_values(ignore_index=True),
            )


def test_more_strength_damages_the_same_and_more(cohort: Cohort) -> None:
    lost = [damage(cohort, "wrong missingness", s).visits["lab1"].isna() for s in (0.2, 0.6, 1.0)]
    assert (lost[0] <= lost[1]).all()
    assert (lost[1] <= lost[2]).all()
    assert lost[0].sum() < lost[1].sum() < lost[2].sum()


def test_a_site_goes_missing(cohort: Cohort) -> None:
    sites = [set(damage(cohort, "missing site", s).static["hospital"]) for s in (0.5, 1.0)]
    assert len(sites[0]) == 3
    assert len(sites[1]) == 2


def test_there_is_no_such_damage(cohort: Cohort) -> None:
    with pytest.raises(SpecError, match=r"There is no damage 'rust'. There are: shuffled column"):
        damage(cohort, "rust", 0.5)
    with pytest.raises(SpecError, match=r"The strength is 1.5; expected a number between 0 and 1"):
        damage(cohort, "mode collapse", 1.5)


@pytest.mark.parametrize("name", DECLARED)
def test_what_was_declared_is_so(name: str) -> None:
    declared = DECLARED[name]
    asked = {each.partition(".")[0] for each in (*declared.falls, *declared.stays)}
    metrics = {metric: METRICS.build(metric) for metric in sorted(asked) if metric not in SLOW}
    table = judged(measured([name], metrics, 400, replicates=20))
    broken = table.loc[~table["kept"], ["metric", "declared", "found", "rank"]]
    assert broken.empty, broken
    told = table.loc[table["declared"] != "", "metric"]
    known = {metric.split(" ")[0] for metric in told}
    expected = {
        each for each in (*declared.falls, *declared.stays) if each.partition(".")[0] not in SLOW
    }
    assert known == expected


def test_the_table_says_what_was_not_as_declared() -> None:
    rows = [
        {"damage": "shuffled column", "metric": "rules", "kept": False, "found": "moves"},
        {"damage": "shuffled column", "metric": "associations", "kept": True, "found": "falls"},
        {"damage": "shuffled column", "metric": "marginals", "kept": True, "found": "stays"},
    ]
    table = pd.DataFrame(rows).assign(declared=["stays", "falls", ""])
    lines = shown(table).splitlines()
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["**~**!", "**↓**", "·"]
