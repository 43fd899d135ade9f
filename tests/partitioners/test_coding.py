"""Hospitals with another coding system."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.config import DatasetChoice, Scenario
from fedbench.data import Cohort, DataStore
from fedbench.datasets.simulated import Simulated
from fedbench.errors import DataError, SpecError, Unsupported
from fedbench.federation.study import Choice
from fedbench.partitioners.coding import Coding
from fedbench.world import World

RECORDS = Simulated(patients=300, systems=("icd10", "icd9"), hospitals=2, codes=6)
WORDS: dict[str, Any] = {"source": "simulated-icd10", "target": "simulated-icd9", "level": "code"}


def _own(folder: Path, known: int) -> str:
    path = folder / "map.csv"
    pairs = zip(RECORDS.names("icd10")[:known], RECORDS.names("icd9"), strict=False)
    path.write_text("source,target\n" + "".join(f"{a},{b}\n" for a, b in pairs))
    return str(path)


def _dealt(dealer: Coding, cohort: Cohort) -> World:
    settings = {**dealer.settings, "within": dict(dealer.within)}
    scenario = Scenario(name="words", partition=Choice("coding", settings))
    return World(DatasetChoice(name="simulated"), scenario, 0, cohort, 100, 20)


def _diagnoses(cohort: Cohort, number: dict[str, int]) -> set[tuple[str, float, int]]:
    codes = cohort.codes
    return set(zip(codes["patient"], codes["day"], codes["code"].map(number), strict=True))


@given(seed=st.integers(0, 1000), known=st.integers(1, 6))
@settings(max_examples=6, deadline=None)
def test_diagnoses_are_the_same_in_other_words(
    tmp_path_factory: pytest.TempPathFactory, seed: int, known: int
) -> None:
    cohort = replace(RECORDS, seed=seed).load(DataStore())
    path = _own(tmp_path_factory.mktemp("map"), known)
    dealer = Coding(at=("site-2",), within={"name": "iid", "sites": 2}, map=path, **WORDS)
    world = _dealt(dealer, cohort)
    assert sorted(world.recorded.patients) == sorted(cohort.patients)
    number = {n: i for s in ("icd10", "icd9") for i, n in enumerate(RECORDS.names(s))}
    assert _diagnoses(world.recorded, number) == _diagnoses(cohort, number)
    there = cohort.take(world.partition.patients["site-1"]).codes
    here = world.recorded.take(world.partition.patients["site-1"]).codes
    pd.testing.assert_frame_equal(here, there)
    other = world.recorded.take(world.partition.patients["site-2"]).codes
    left = set(other.loc[other["system"] == "simulated-icd10", "code"])
    assert left <= set(RECORDS.names("icd10")[known:])


def test_hospitals_share_a_schema_with_the_system_that_only_some_use(tmp_path: Path) -> None:
    one = replace(RECORDS, systems=("icd10",)).load(DataStore())
    world = _dealt(Coding(map=_own(tmp_path, 6), within={"name": "iid"}, **WORDS), one)
    assert set(world.schema.vocabularies) == {"simulated-icd10", "simulated-icd9"}
    book = world.schema.vocabularies["simulated-icd9"]
    assert set(book.codes) == set(RECORDS.names("icd9"))
    assert book.sensitive == {RECORDS.names("icd9")[0]}
    found = {(row["site"], row["name"]): row["value"] for row in world.heterogeneity}
    for site, share in {"site-1": 0, "site-2": 1, "site-3": 0, "site-4": 1}.items():
        assert found[site, "codes in simulated-icd9"] == share
    assert world.encoder.schema == world.schema


def test_other_contents_of_a_map_are_another_dealing(tmp_path: Path) -> None:
    path = _own(tmp_path, 6)
    before = Coding(map=path, **WORDS).contents
    assert Coding(map=path, **WORDS).contents == before
    _own(tmp_path, 5)
    assert Coding(map=path, **WORDS).contents != before


def test_records_without_such_codes_are_skipped_with_a_reason(opt: Cohort, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="records of 'opt' have no codes of 'simulated-icd10'"):
        _dealt(Coding(map=_own(tmp_path, 4), **WORDS), opt)
    with pytest.raises(DataError, match="There is no file"):
        _ = Coding(map="nowhere.csv").crosswalk


def test_a_map_that_knows_no_code_is_refused(tmp_path: Path) -> None:
    cohort = RECORDS.load(DataStore())
    path = tmp_path / "map.csv"
    path.write_text("source,target\nE11,250\n")
    with pytest.raises(SpecError, match="knows none of the 6 codes of 'simulated-icd10'"):
        _dealt(Coding(map=str(path), **WORDS), cohort)
