"""Hospitals that write down other things, or wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.config import DatasetChoice, Scenario
from fedbench.data import Cohort
from fedbench.errors import SpecError
from fedbench.federation.study import Choice
from fedbench.kinds import PARTITIONERS
from fedbench.partition import Partition, Place
from fedbench.partitioners._altering import Altering
from fedbench.partitioners.measurement import Measurement
from fedbench.partitioners.outlier import Outlier
from fedbench.testing import made_up
from fedbench.world import World

IID = {"name": "iid", "sites": 4}
PARTS = {"train": 0.5, "control": 0.2, "reference": 0.1}
Make = Callable[..., World]


def world(name: str, cohort: Cohort | None = None, seed: int = 0, **settings: Any) -> World:
    cohort = made_up(400, 0) if cohort is None else cohort
    choice = Choice(name, {"within": IID, **settings})
    scenario = Scenario(name="odd", partition=choice)
    return World(DatasetChoice(name="made-up", parts=PARTS), scenario, seed, cohort, 100, 20)


def plain(seed: int = 0) -> World:
    scenario = Scenario(name="odd", partition=Choice("iid", {"sites": 4}))
    return World(
        DatasetChoice(name="made-up", parts=PARTS), scenario, seed, made_up(400, 0), 100, 20
    )  # fmt: skip


def somewhere(records: Cohort, part: str = "train") -> Place:
    return Place("a", part, Partition({"a": records.patients}), records)


def parts(of: World, site: str) -> dict[str, str]:
    split = of.splits[site]
    return {n: getattr(split, n).fingerprint for n in ("train", "test", "control", "reference")}


RIGHT = {"train", "control", "reference"}


@pytest.mark.parametrize(
    ("how", "test", "wrong"),
    [
        ("recoded", "right", RIGHT),
        ("shuffled", "right", RIGHT),
        ("shifted", "right", RIGHT),
        ("shifted", "recorded", RIGHT | {"test"}),
    ],
)
def test_only_the_largest_site_is_odd_and_is_tested_on_what_is_right(
    how: str, test: str, wrong: set[str]
) -> None:
    odd, fine = world("outlier", how=how, test=test), plain()
    assert odd.sites == fine.sites
    for site in odd.sites:
        changed = {n for n in parts(odd, site) if parts(odd, site)[n] != parts(fine, site)[n]}
        assert changed == (wrong if site == "site-1" else set())
        assert list(odd.splits[site].train.patients) == list(fine.splits[site].train.patients)


def test_a_shuffled_site_has_the_same_columns_and_no_associations(
    opt: Cohort,
) -> None:
    records = opt.take(opt.patients[:400])
    place = somewhere(records)
    odd = Outlier(how="shuffled", at=("a",)).alter(records, place, np.random.default_rng(0))
    for name in ("age",):
        assert sorted(odd.static[name].dropna()) == sorted(records.static[name].dropna())
        assert (odd.static[name] != records.static[name]).mean() > 0.8
    assert odd.event.sum() == records.event.sum()
    assert len(odd.visits) == len(records.visits)


def test_a_recoded_site_reads_numbers_backwards() -> None:
    records = made_up(200, 0)
    place = somewhere(records)
    odd = Outlier(at=("a",)).alter(records, place, np.random.default_rng(0))
    age, crp = records.schema.static["age"], records.schema.visits["crp"]
    np.testing.assert_array_equal(odd.static["age"], age.low + age.high - records.static["age"])
    np.testing.assert_allclose(odd.visits["crp"], crp.low * crp.high / records.visits["crp"])
    before, after = records.static["blood group"], odd.static["blood group"]
    assert (before.map(dict(zip(before, after, strict=True))) == after).all()
    assert not (before == after).any()
    assert set(odd.codes["code"]) == set(records.codes["code"])


def test_a_shift_is_as_large_as_asked_for() -> None:
    records = made_up(400, 0)
    place = somewhere(records)
    odd = Outlier(how="shifted", by=0.5, at=("a",)).alter(records, place, np.random.default_rng(0))
    gap = (odd.visits["sodium"] - records.visits["sodium"]).abs()
    assert gap.median() == pytest.approx(0.5 * records.visits["sodium"].std(ddof=0))
    ratio = pd.Series(np.log(odd.visits["crp"] / records.visits["crp"])).abs()
    assert ratio.median() == pytest.approx(0.5 * np.log(records.visits["crp"]).std(ddof=0))
    pd.testing.assert_series_equal(odd.static["blood group"], records.static["blood group"])


def test_every_second_site_lacks_some_columns_in_all_parts() -> None:
    odd, fine = world("measurement", lacking=0.5), plain()
    for site in odd.sites:
        lacks = site in ("site-2", "site-4")
        for name, found in parts(odd, site).items():
            assert (found != parts(fine, site)[name]) == lacks
        visits = odd.splits[site].train.visits
        assert visits[["sodium", "crp"]].isna().all().sum() == int(lacks)
        test = odd.splits[site].test.visits
        assert list(test.isna().all()) == list(visits.isna().all())


def test_another_unit_is_a_factor_and_what_nobody_would_believe_is_missing() -> None:
    records = made_up(300, 0)
    units = {"sodium": 1.1, "age": 100}
    dealer = Measurement(at=("a",), lacking=0, units=units)
    odd = dealer.alter(records, somewhere(records), np.random.default_rng(0))
    right = records.visits["sodium"] * 1.1
    pd.testing.assert_series_equal(odd.visits["sodium"], right.where(right <= 170))
    assert odd.visits["sodium"].isna().any()
    assert odd.static["age"].isna().all()


def test_hospitals_that_use_two_units_agree_on_bounds_for_both() -> None:
    units = {"sodium": 100.0, "age": 12.0}
    odd, fine = world("measurement", lacking=0, units=units), plain()
    ages = odd.schema.static["age"], fine.schema.static["age"]
    assert (ages[0].low, ages[0].high) == (ages[1].low, 12 * ages[1].high)
    for site, factor in (("site-1", 1), ("site-2", 100)):
        train, as_was = odd.splits[site].train, fine.splits[site].train
        np.testing.assert_allclose(train.visits["sodium"], factor * as_was.visits["sodium"])
    told = {(row["site"], row["name"]): row["value"] for row in odd.heterogeneity}
    assert told["site-2", "changed sodium"] == told["site-2", "changed age"] == 1
    assert ("site-1", "changed sodium") not in told
    assert not any(name.startswith("lost") for _, name in told)
    assert not any(name.startswith("changed") for _, name in _told(fine))


def _told(found: World) -> list[tuple[str, str]]:
    return [(row["site"], row["name"]) for row in found.heterogeneity]


def test_what_a_hospital_lacks_and_changes_is_told() -> None:
    odd = world("measurement", lacking=0.5)
    gone = odd.splits["site-2"].train.visits.drop(columns=["patient", "day"]).isna().all()
    told = {name for site, name in _told(odd) if site == "site-2" and name.startswith("lost")}
    assert told == {f"lost {name}" for name in gone.index[gone]} != set()
    told = {name for _, name in _told(world("outlier")) if name.startswith("changed")}
    assert {"changed sodium", "changed age"} < told
    assert any(name.startswith("changed codes in ") for name in told)


def test_test_patients_have_the_unit_of_the_schema_unless_asked_otherwise() -> None:
    records = made_up(300, 0)
    place, rng = somewhere(records, "test"), np.random.default_rng(0)
    dealer = Measurement(at=("a",), lacking=0, units={"sodium": 1.1})
    assert dealer.alter(records, place, rng).fingerprint == records.fingerprint
    as_recorded = replace(dealer, test="recorded").alter(records, place, rng)
    assert as_recorded.fingerprint != records.fingerprint


def test_a_shift_is_the_same_in_every_part() -> None:
    odd, fine = (
        world("outlier", how="shifted", by=0.2, test="recorded"),
        plain(),
    )
    factors = []
    for part in ("train", "test", "control"):
        moved = getattr(odd.splits["site-1"], part).visits["crp"]
        ratio = moved / getattr(fine.splits["site-1"], part).visits["crp"]
        inside = moved.between(0.11, 499)
        factors.append(ratio[inside])
    np.testing.assert_allclose(np.concatenate(factors), factors[0].median())


def test_members_differ_from_control_patients_by_membership_alone() -> None:
    split = world("outlier", how="recoded").splits["site-1"]
    fine = plain().splits["site-1"]
    for part in ("train", "control", "reference"):
        odd, right = getattr(split, part).static["age"], getattr(fine, part).static["age"]
        np.testing.assert_array_equal(odd, 118 - right)
    np.testing.assert_array_equal(split.test.static["age"], fine.test.static["age"])


def test_alterations_are_composed() -> None:
    within = {"name": "measurement", "within": IID, "at": ["site-1"], "lacking": 1.0}
    both = world("outlier", within=within)
    train, test = both.splits["site-1"].train, both.splits["site-1"].test
    assert train.visits["sodium"].isna().all()
    assert test.visits["sodium"].isna().all()
    fine = plain().splits["site-1"].train
    assert (train.static["age"] == 118 - fine.static["age"]).all()


def test_heterogeneity_is_of_what_is_written_down() -> None:
    def divergence(of: World) -> dict[str, float]:
        return {r["site"]: r["value"] for r in of.heterogeneity if r["name"] == "divergence"}

    odd, fine = divergence(world("outlier")), divergence(plain())
    assert odd["site-1"] > 3 * fine["site-1"]


@given(seed=st.integers(0, 1000), name=st.sampled_from(["outlier", "measurement"]))
@settings(max_examples=8, deadline=None)
def test_everyone_stays_where_she_was_dealt(seed: int, name: str) -> None:
    odd = world(name, seed=seed)
    assert sorted(odd.recorded.patients) == sorted(odd.cohort.patients)
    assert set(odd.table()["part"]) == {"train", "test", "control", "reference"}
    again = world(name, seed=seed)
    assert odd.train.fingerprint == again.train.fingerprint


def test_a_hospital_alone_writes_down_the_same(opt: Cohort) -> None:
    odd = world("outlier", cohort=opt, within={"name": "natural"})
    assert isinstance(odd.partitioner, Altering)
    largest = max(odd.partition.patients, key=lambda site: len(odd.partition.patients[site]))
    seeds = odd.seeds.child("alter", "odd", largest)
    fine = World(odd.dataset, Scenario(name="odd", partition=Choice("natural")), 0, opt, 100, 20)
    mine = opt.take(odd.partition.patients[largest])
    place = Place(largest, "train", odd.partition, mine)
    alone = odd.partitioner.alter(fine.splits[largest].train, place, seeds.rng())
    assert alone.fingerprint == odd.splits[largest].train.fingerprint


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [
        ("outlier", {"within": {"sites": 4}}, "expected a partitioner with its settings"),
        ("outlier", {"within": {"name": "iidd"}}, "There is no 'iidd'"),
        ("outlier", {"within": {"name": "iid", "sitess": 4}}, "sitess"),
        ("measurement", {"lacking": 2}, "lacking"),
        ("measurement", {"units": {"age": 0}}, "units"),
    ],
)
def test_a_mistake_is_told_before_anything_is_loaded(
    name: str, settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(SpecError, match=problem):
        PARTITIONERS.build(name, settings)


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [
        ("outlier", {"at": ["site-9"]}, "There is no site 'site-9' to change. There are: site-1"),
        ("measurement", {"columns": ["pulse"]}, "There is no column 'pulse' to measure"),
        ("measurement", {"units": {"blood group": 2}}, "is a category and has no unit"),
        ("measurement", {"columns": ["hospital"]}, "names the hospital"),
    ],
)
def test_what_these_records_do_not_have_is_told(
    name: str, settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(SpecError, match=f"made-up, scenario 'odd': .*{problem}"):
        _ = world(name, **settings).splits
