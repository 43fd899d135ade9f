"""Patients stay where they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Cohort, Column, Schema, cohort_from_table
from fedbench.errors import SpecError, Unsupported
from fedbench.heterogeneity import indices
from fedbench.partitioners.natural import Natural

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
    assert 'partition = { name = "natural", minimum = 200, merge = true }' in str(told.value)


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
