"""Patients stay where they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.config import DatasetChoice, Scenario
from fedbench.data import Cohort, Column, Schema, cohort_from_table
from fedbench.errors import SpecError, Unsupported
from fedbench.federation.study import Choice
from fedbench.heterogeneity import indices
from fedbench.partition import Parts
from fedbench.partitioners.natural import Natural
from fedbench.world import World

RNG = np.random.default_rng(0)


def test_everyone_stays_at_the_hospital_of_the_records(opt: Cohort) -> None:
    partition = Natural().deal(opt, RNG)
    sizes = {site: len(patients) for site, patients in partition.patients.items()}
    assert sizes == {"KY": 211, "MN": 247, "MS": 192, "NY": 173}
    assert opt.sites is not None
    assert list(partition.site_of(opt.patients)) == list(opt.sites)


def test_records_without_hospitals_are_skipped_with_a_reason(matched: Cohort, opt: Cohort) -> None:
    with pytest.raises(Unsupported, match="records of 'nafld' do not say where patients live"):
        Natural().deal(matched, RNG)
    with pytest.raises(Unsupported, match="do not say where"):
        Natural().deal(cohort_from_table(opt.schema, opt.table), RNG)


def test_small_hospitals_are_named(opt: Cohort) -> None:
    with pytest.raises(SpecError, match=r"fewer than 200 patients: MS \(192\), NY \(173\)") as told:
        replace(Natural(), minimum=200).deal(opt, RNG)
    assert "Write merge = true beside minimum" in str(told.value)


def test_small_hospitals_can_be_one_site(opt: Cohort) -> None:
    partition = Natural(minimum=200, merge=True).deal(opt, RNG).check(opt)
    sizes = {site: len(patients) for site, patients in partition.patients.items()}
    assert sizes == {"KY": 211, "MN": 247, "MS + NY": 365}
    assert partition.merged == {"MS + NY": {"NY": 173, "MS": 192}}
    stored = {(row.site, row.name): row.value for row in indices(opt, partition)}
    assert stored["MS + NY", "patients"] == 365
    assert stored["MS + NY", "patients of NY"] == 173


def test_a_single_small_hospital_joins_the_next_larger_one(opt: Cohort) -> None:
    one_left = np.concatenate(
        [opt.patients[opt.sites != "NY"], opt.patients[opt.sites == "NY"][:3]]
    )
    partition = Natural(minimum=10, merge=True).deal(opt.take(one_left), RNG)
    assert partition.merged == {"MS + NY": {"NY": 3, "MS": 192}}


def test_many_small_hospitals_are_counted(opt: Cohort) -> None:
    partition = Natural(minimum=800, merge=True).deal(opt, RNG)
    assert list(partition.patients) == ["4 small hospitals"]


def test_nothing_is_merged_where_nobody_is_small(opt: Cohort) -> None:
    assert not Natural(minimum=173, merge=True).deal(opt, RNG).merged


def test_what_merging_cannot_mend_is_said(opt: Cohort) -> None:
    with pytest.raises(SpecError, match="All hospitals together have 823 patients; expected at"):
        Natural(minimum=900, merge=True).deal(opt, RNG)
    with pytest.raises(SpecError, match="merge has no effect; set minimum"):
        Natural(merge=True)


def test_small_hospitals_are_merged_region_by_region() -> None:
    cohort = scattered({"a": 9, "b": 8, "c": 40, "d": 7, "e": 6, "f": 50, "g": 3}, "aabbbcg")
    merge = Natural(minimum=12, merge=True, by="region").deal(cohort, RNG).check(cohort)
    # g is alone in a region of three; that region is one with the next larger, that of a and b.
    assert merge.merged == {"a + b + g": {"a": 9, "b": 8, "g": 3}, "d + e": {"d": 7, "e": 6}}
    assert {"c", "f"} < set(merge.patients)


def test_a_region_that_the_records_declare_needs_no_naming() -> None:
    cohort = scattered({"a": 9, "b": 8, "c": 40, "d": 7, "e": 6, "f": 50, "g": 3}, "aabbbcg")
    asked = Natural(minimum=12, merge=True, by="region").deal(cohort, RNG)
    assert list(Natural(minimum=12, merge=True).deal(cohort, RNG).merged) == ["5 small hospitals"]
    static = dict(cohort.schema.static)
    static["region"] = replace(static["region"], roles=frozenset(["region"]))
    declared = replace(cohort, schema=replace(cohort.schema, static=static))
    assert Natural(minimum=12, merge=True).deal(declared, RNG).merged == asked.merged


def test_stays_of_one_person_count_once() -> None:
    cohort = persons({"a": 10, "b": 30, "c": 60}, stays=2)
    with pytest.raises(SpecError, match=r"fewer than 12 clusters \(person\): a \(5\)\."):
        Natural(minimum=12).deal(cohort, RNG)
    merge = Natural(minimum=12, merge=True).deal(cohort, RNG).check(cohort)
    assert merge.merged == {"a + b": {"a": 10, "b": 30}}


@given(
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=8),
    stays=st.integers(1, 4),
    control=st.sampled_from([0.2, 0.1]),
)
@settings(max_examples=30, deadline=None)
def test_the_minimum_that_is_advised_is_enough(
    sizes: list[int], stays: int, control: float
) -> None:
    parts = {"train": 0.5, "control": control, "reference": 0.1}
    enough = Parts(**parts).enough
    cohort = persons({f"h{number}": size for number, size in enumerate(sizes)}, stays)

    def world(**asked: Any) -> World:
        scenario = Scenario(name="here", partition=Choice("natural", asked))
        return World(DatasetChoice(name="x", parts=parts), scenario, 0, cohort, 10, 5)

    everybody = len(set(cohort.clusters))
    assert f"minimum = {enough}, merge = true" in refused(world()) or not refused(world())
    if everybody < enough:
        with pytest.raises(SpecError, match=f"All hospitals together have {everybody} clusters"):
            _ = world(minimum=enough, merge=True).splits
        return
    found = world(minimum=enough, merge=True).splits
    assert all(len(split.train) and len(split.test) for split in found.values())


def test_who_must_stay_together_and_lives_apart_is_named() -> None:
    cohort = persons({"a": 2, "b": 2}, stays=2)
    static = cohort.static.assign(person=["p0", "p1", "p1", "p2"])
    cohort = Cohort.of_tables(cohort.schema, static)
    with pytest.raises(SpecError, match=r"person 'p1' has patients at a and b \(and so 1 in all\)"):
        Natural().deal(cohort, RNG)


def test_merged_sites_of_two_regions_have_two_names() -> None:
    cohort = scattered(dict.fromkeys("abcdefgh", 5), "aaaabbbb")
    merge = Natural(minimum=20, merge=True, by="region").deal(cohort, RNG)
    assert sorted(merge.patients) == ["4 small hospitals of a", "4 small hospitals of b"]


def test_a_region_is_as_large_as_its_hospitals() -> None:
    cohort = scattered({"a": 9, "b": 8, "c": 40, "d": 5}, "aabb")
    static = cohort.static.copy()
    static.loc[:3, "region"] = "b"  # of hospital a, which lies in its region all the same
    odd = Cohort.of_tables(cohort.schema, static)
    merge = Natural(minimum=17, merge=True, by="region").deal(odd, RNG)
    assert merge.merged == {"a + b": {"a": 9, "b": 8}, "c + d": {"c": 40, "d": 5}}


def test_a_region_that_is_not_there_is_named(opt: Cohort) -> None:
    with pytest.raises(SpecError, match=r"no category 'county'\. There are: clinic"):
        Natural(minimum=200, merge=True, by="county").deal(opt, RNG)
    with pytest.raises(SpecError, match="by has no effect without merge = true"):
        Natural(by="race")


def refused(world: World) -> str:
    """Return why a world cannot be split; nothing where it can."""
    try:
        _ = world.splits
    except SpecError as told:
        return str(told)
    return ""


def persons(sizes: dict[str, int], stays: int) -> Cohort:
    """Return hospitals with so many stays, of people with so many each."""
    hospital = np.repeat(list(sizes), list(sizes.values()))
    here = Column(kind="category", levels=tuple(sizes), roles=frozenset(["site"]))
    schema = Schema(name="persons", clock="", static={"hospital": here}, cluster="person")
    static = pd.DataFrame({"patient": np.arange(len(hospital)).astype(str), "hospital": hospital})
    number = static.groupby("hospital").cumcount() // stays
    return Cohort.of_tables(schema, static.assign(person=hospital + number.astype(str).radd("-")))


def scattered(sizes: dict[str, int], regions: str) -> Cohort:
    """Return hospitals of these sizes, each in the region named by its letter."""
    hospital = np.repeat(list(sizes), list(sizes.values()))
    region = dict(zip(sizes, regions, strict=True))
    schema = Schema(
        name="scattered",
        clock="",
        static={
            "hospital": Column(
                kind="category", levels=tuple(sizes), roles=frozenset(["site"])
            ),
            "region": Column(kind="category", levels=tuple(sorted(set(regions)))),
        },
    )  # fmt: skip
    static = pd.DataFrame({"patient": np.arange(len(hospital)).astype(str), "hospital": hospital})
    return Cohort.of_tables(schema, static.assign(region=static["hospital"].map(region)))
