"""Hospitals with another coding system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbench.data import DataStore
from fedbench.datasets.simulated import Simulated
from fedbench.errors import DataError, SpecError
from fedbench.partition import Place
from fedbench.partitioners.coding import Coding

RECORDS = Simulated(patients=300, systems=("icd10", "icd9"), hospitals=2, codes=6)
WORDS: dict[str, Any] = {"source": "simulated-icd10", "target": "simulated-icd9", "level": "code"}


def _own(folder: Path, known: int) -> str:
    path = folder / "map.csv"
    pairs = zip(RECORDS.names("icd10")[:known], RECORDS.names("icd9"), strict=False)
    path.write_text("source,target\n" + "".join(f"{a},{b}\n" for a, b in pairs))
    return str(path)


def test_diagnoses_are_the_same_in_other_words(tmp_path: Path) -> None:
    cohort = RECORDS.load(DataStore())
    dealer = Coding(at=("site-2",), within={"name": "iid", "sites": 2},
                    map=_own(tmp_path, 4), **WORDS)  # fmt: skip
    dealt = dealer.deal(cohort, np.random.default_rng(0))
    mine = cohort.take(dealt.patients["site-2"])
    found = dealer.alter(mine, Place("site-2", "test", dealt), np.random.default_rng(0))
    same = dealer.alter(mine, Place("site-1", "test", dealt), np.random.default_rng(0))
    assert same.fingerprint == mine.fingerprint
    number = {n: i for s in ("icd10", "icd9") for i, n in enumerate(RECORDS.names(s))}
    before, after = (
        set(zip(c.codes["patient"], c.codes["day"], c.codes["code"].map(number), strict=True))
        for c in (mine, found)
    )
    assert before == after
    left = set(found.codes.loc[found.codes["system"] == "simulated-icd10", "code"])
    assert left == set(RECORDS.names("icd10")[4:])


def test_a_schema_with_one_system_is_refused(opt: Any, tmp_path: Path) -> None:
    dealer = Coding(map=_own(tmp_path, 4), **WORDS)
    dealt = dealer.deal(opt, np.random.default_rng(0))
    with pytest.raises(SpecError, match="'opt' has no codes of 'simulated-icd10'; it has none"):
        dealer.alter(opt, Place("site-2", "train", dealt), np.random.default_rng(0))
    with pytest.raises(DataError, match="There is no file"):
        _ = Coding(map="nowhere.csv").crosswalk


def test_a_map_that_knows_no_code_is_refused(tmp_path: Path) -> None:
    cohort = RECORDS.load(DataStore())
    path = tmp_path / "map.csv"
    path.write_text("source,target\nE11,250\n")
    dealer = Coding(map=str(path), **WORDS)
    dealt = dealer.deal(cohort, np.random.default_rng(0))
    with pytest.raises(SpecError, match="knows none of the 6 codes of 'simulated-icd10'"):
        dealer.alter(cohort, Place("site-2", "train", dealt), np.random.default_rng(0))
