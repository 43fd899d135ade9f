"""Two days in intensive care."""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Cohort, DataStore
from fedbench.datasets.p12 import P12, SETS, VARIABLES
from fedbench.errors import DataError
from fedbench.rules import kept
from fedbench.task import problem

ROOT = os.environ.get("FEDBENCH_DATA")
needs_files = pytest.mark.skipif(
    not ROOT or not (Path(ROOT) / "physionet2012").is_dir(),
    reason="needs the folder physionet2012 in FEDBENCH_DATA",
)

HEAD = "Time,Parameter,Value\n00:00,RecordID,{id}\n00:00,Age,{age}\n00:00,Gender,{sex}\n"
HEAD += "00:00,Height,-1\n00:00,ICUType,{type}\n00:00,Weight,80\n"


def record(id: int, lines: str = "", age: float = 70, sex: int = 1, type: int = 3) -> str:
    return HEAD.format(id=id, age=age, sex=sex, type=type) + lines


def put(folder: Path, a: dict[int, str], ends: str = "") -> DataStore:
    """Write set a unpacked and set b packed, with one stay of its own."""
    (folder / "physionet2012" / "set-a").mkdir(parents=True)
    home = folder / "physionet2012"
    for id, text in a.items():
        (home / "set-a" / f"{id}.txt").write_text(text)
    (home / "9.txt").write_text(record(9, sex=-1))
    with tarfile.open(home / "set-b.tar.gz", "w:gz") as packed:
        packed.add(home / "9.txt", "set-b/9.txt")
    head = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n"
    (home / "Outcomes-a.txt").write_text(head + (ends or "".join(f"{i},1,1,8,-1,0\n" for i in a)))
    (home / "Outcomes-b.txt").write_text(head + "9,1,1,-1,5,1\n")
    return DataStore(folder)


@needs_files
def test_the_outcomes_are_the_files_that_are_fetched() -> None:
    pinned = {wanted.path: wanted.sha256 for wanted in P12().downloads}
    for name in P12.tables:
        content = (Path(str(ROOT)) / "physionet2012" / name).read_bytes()
        assert pinned[f"physionet2012/{name}"] == hashlib.sha256(content).hexdigest()
    sets = [f"{name}.tar.gz" for name in SETS]
    assert {*pinned} == {f"physionet2012/{name}" for name in (*P12.tables, *sets)}


def test_every_cell_is_where_it_belongs(tmp_path: Path) -> None:
    lines = (
        "00:07,HR,90\n00:07,HR,91\n"  # the last of one minute counts
        "00:07,Temp,-17.8\n01:00,pH,735\n01:00,MechVent,1\n47:30,HR,80\n48:00,GCS,15\n"
    )
    ends = "1,9,9,12,4,1\n2,9,9,30,400,0\n3,9,9,6,-1,1\n4,9,9,2,1,1\n"
    a = {1: record(1, lines), 2: record(2, age=-1, sex=0, type=1), 3: record(3, type=4)}
    a[4] = record(4, type=2)
    found = P12().load(put(tmp_path, a, ends))
    static = found.static.set_index("patient")
    assert list(static["icu_type"]) == [
        "medical", "coronary care", "surgical", "cardiac surgery recovery", "medical",
    ]  # fmt: skip
    assert list(static["sex"].fillna("?")) == ["male", "female", "male", "male", "?"]
    assert static["age"].isna().tolist() == [False, True, False, False, False]
    assert static["height"].isna().all()
    assert static["los"].fillna(0).tolist() == [12, 30, 6, 2, 0]
    mine = found.visits[found.visits["patient"] == "1"].set_index("day")
    assert list(mine.index) == [0, 7 / 1440, 1 / 24, 47.5 / 24, 2]
    assert mine["HR"].tolist()[1:4:2] == [91, 80]
    assert mine["Weight"].iloc[0] == 80
    assert mine[["Temp", "pH"]].isna().all(axis=None)
    assert mine["MechVent"].tolist()[2] == "yes"
    assert mine["GCS"].iloc[-1] == 15
    assert mine.notna().to_numpy().sum() == 5 + len(mine)  # and the patient
    ended = found.outcome.set_index("patient")
    # A death without its day is dated by the end of the stay, none within the 48 hours that
    # everybody stayed for; survivors have the horizon.
    assert ended["time"].tolist() == [4, 365, 6, 2.5, 5]
    assert ended["event"].tolist() == [1, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (record(1, "0:7,HR,90\n"), "a time is '0:7'; expected hh:mm"),
        (record(1, "00:07,HR,high\n"), "expected a number as the Value"),
        (record(1, "00:07,HR\n"), "expected Time,Parameter,Value"),
        (record(1).replace("Time,Parameter,Value\n", ""), "1 files and 0 headers"),
        (record(2), "is not named after it"),
        (record(1).replace("00:00,RecordID,1\n", ""), "has no RecordID"),
        ("", "1 files and 0 headers"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        P12().load(put(tmp_path, {1: text}))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    store = put(tmp_path, {1: record(1)}, ends="2,9,9,12,4,1\n")
    with pytest.raises(DataError, match="no row for the record '1'"):
        P12().load(store)
    (tmp_path / "physionet2012" / "Outcomes-a.txt").unlink()
    (tmp_path / "physionet2012" / "set-b.tar.gz").unlink()
    with pytest.raises(DataError, match=r"no Outcomes-a\.txt in .*physionet\.org.* no set-b in"):
        P12().load(store)


@pytest.fixture(scope="module")
def stays() -> Cohort:
    return P12().load(DataStore(Path(str(ROOT))))


@needs_files
def test_the_counts_are_those_of_the_challenge(stays: Cohort) -> None:
    assert len(stays) == 8_000
    assert stays.event.sum() == 554 + 568
    assert stays.sites is not None
    assert dict(pd.Series(stays.sites).value_counts()) == {
        "medical": 2_917, "surgical": 2_260, "cardiac surgery recovery": 1_656,
        "coronary care": 1_167,
    }  # fmt: skip
    assert len(VARIABLES) == 37
    assert stays.visits["day"].between(0, 2).all()
    for rule in stays.schema.rules[:2]:
        found = kept(stays, rule)
        assert found.broken.sum() < 0.01 * found.asked.sum()


@needs_files
def test_death_is_foreseen_as_well_as_elsewhere(stays: Cohort) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    asked = problem(stays, stays.schema.tasks["mortality"])
    assert (len(asked), asked.event.sum()) == (8_000, 1_122)
    test = np.random.default_rng(0).random(len(asked)) < 0.3
    model = HistGradientBoostingClassifier(learning_rate=0.05, max_iter=120, random_state=0)
    model.fit(asked.predictors[~test], asked.event[~test])
    scores = model.predict_proba(asked.predictors[test])[:, 1]
    # Elsewhere .853 on set a alone, by boosted trees as well.
    assert roc_auc_score(asked.event[test], scores) == pytest.approx(0.853, abs=0.025)


@needs_files
def test_what_is_dated_later_moves_no_predictor(stays: Cohort) -> None:
    some = stays.take(stays.patients[:200])
    task = some.schema.tasks["mortality"]
    early = Cohort.of_tables(
        some.schema, some.static.assign(los=3.0), some.visits, outcome=some.outcome
    )
    later = some.visits.assign(day=2 + 1e-6, HR=77.0)
    visits = pd.concat([some.visits, later], ignore_index=True)
    other = Cohort.of_tables(some.schema, some.static, visits, outcome=some.outcome)
    for changed in (early, other):
        pd.testing.assert_frame_equal(
            problem(some, task).predictors, problem(changed, task).predictors, check_exact=True
        )
