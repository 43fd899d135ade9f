"""Unit stays of eICU, from a made-up folder and from the demo."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Cohort, DataStore
from fedbench.datasets._eicu import NUMBERS, TEXT
from fedbench.datasets._eicu_columns import SCORED
from fedbench.datasets.eicu import Eicu
from fedbench.datasets.eicu_demo import EicuDemo
from fedbench.errors import DataError
from fedbench.partitioners.natural import Natural
from fedbench.rules import kept
from fedbench.task import problem

ROOT = os.environ.get("FEDBENCH_DATA")
needs_files = pytest.mark.skipif(
    not ROOT or not (Path(ROOT) / "eicu_demo").is_dir(),
    reason="needs the folder eicu_demo in FEDBENCH_DATA",
)

STAY: dict[str, Any] = {
    **dict.fromkeys(TEXT), **dict.fromkeys(NUMBERS),
    "patienthealthsystemstayid": "1", "hospitalid": "59", "hospitaldischargeyear": 2014,
    "unitvisitnumber": 1, "unitdischargeoffset": 4320, "hospitaldischargeoffset": 8640,
    "hospitaldischargestatus": "Alive",
}  # fmt: skip


def put(folder: Path, **more: list[dict[str, Any]]) -> DataStore:
    """Write four stays of three people; headers are upper case, some files are packed."""
    stays: list[dict[str, Any]] = [
        {"patientunitstayid": "a", "uniquepid": "p", "age": "> 89", "gender": "Female",
         "unitvisitnumber": 2, "hospitalid": "60", "unittype": "MICU",
         "hospitaladmitsource": "Chest Pain Center", "admissionheight": 0.3},
        {"patientunitstayid": "b", "uniquepid": "p", "age": "> 89", "admissionweight": 80.5},
        {"patientunitstayid": "c", "uniquepid": "q", "age": "40", "gender": "Unknown",
         "hospitaldischargestatus": "Expired", "hospitaldischargeoffset": 2880},
        {"patientunitstayid": "d", "uniquepid": "r", "age": None, "hospitalid": "99",
         "hospitaldischargestatus": None, "unitdischargeoffset": 600,
         "hospitaldischargeoffset": 700},
    ]  # fmt: skip
    tables: dict[str, pd.DataFrame] = {
        "patient": pd.DataFrame([{**STAY, **stay} for stay in stays]),
        "hospital": pd.DataFrame({"hospitalid": ["59", "60"], "region": ["South", "West"]}),
        "apacheApsVar": pd.DataFrame(
            [{"patientunitstayid": "a", **dict.fromkeys(SCORED, -1), "vent": 1, "eyes": 4}]
        ),
        "diagnosis": pd.DataFrame(
            [
                ("a", 720, "401.9, I10"),
                ("a", 2880, "584.9, N17.9"),
                ("b", -60, "V58.67, Z79.4"),
                ("b", 0, "E950.3"),
                ("b", 0, "E86.0"),
                ("c", 10, ""),
                ("c", 11, "518.81, 518.82"),
                ("c", 12, "31.1"),  # a procedure; 311 is depression
            ],
            columns=["patientunitstayid", "diagnosisoffset", "icd9code"],
        ),
        "vitalAperiodic": pd.DataFrame(
            [
                ("a", 5, 120, 70, None),
                ("a", 59, 121, None, 90),  # the last of the hour that was measured
                ("a", 1440, 100, 60, 5_000),
                ("a", 1441, 90, 50, 60),
                ("a", 99_999, 90, 50, 60),  # weeks later
            ],
            columns=[
                "patientunitstayid", "observationoffset", "noninvasivesystolic",
                "noninvasivediastolic", "noninvasivemean",
            ],
        ),
        **{name: pd.DataFrame(rows) for name, rows in more.items()},
    }  # fmt: skip
    home = folder / "eicu"
    home.mkdir()
    for name, table in tables.items():
        text = table.rename(columns=str.upper).to_csv(index=False)
        if name == "diagnosis":
            (home / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (home / f"{name}.csv").write_text(text)
    return DataStore(folder)


def test_what_the_publisher_packed_is_read_as_it_is(tmp_path: Path) -> None:
    store = put(tmp_path)
    (tmp_path / "eicu_demo").mkdir()
    with zipfile.ZipFile(tmp_path / EicuDemo().downloads[0].path, "w") as packed:
        for path in (tmp_path / "eicu").iterdir():
            text = path.read_bytes()
            text = text if path.suffix == ".gz" else gzip.compress(text)
            packed.writestr(f"demo-2.0.1/{path.name.removesuffix('.gz')}.gz", text)
        packed.writestr("demo-2.0.1/index.html", "")
    packed_so, unpacked = EicuDemo().load(store), EicuDemo(folder="eicu").load(store)
    pd.testing.assert_frame_equal(packed_so.static, unpacked.static)
    pd.testing.assert_frame_equal(packed_so.codes, unpacked.codes)


def test_every_cell_is_where_it_belongs(tmp_path: Path) -> None:
    lab = [
        {
            "patientunitstayid": "b",
            "labresultoffset": -100,
            "labmeasurenamesystem": "mg/dL",
            "labmeasurenameinterface": "MG/DL",
            "labname": "BUN",
            "labresult": 31.0,
        },
        {
            "patientunitstayid": "b",
            "labresultoffset": -50,
            "labmeasurenamesystem": None,
            "labmeasurenameinterface": None,
            "labname": "unknown",
            "labresult": 1.0,
        },
        {
            "patientunitstayid": "b",
            "labresultoffset": -9999,
            "labmeasurenamesystem": "mg/dL",
            "labmeasurenameinterface": "MG/DL",
            "labname": "BUN",
            "labresult": 30.0,
        },
    ]
    found = Eicu().load(put(tmp_path, lab=lab))
    static = found.static.set_index("patient")
    # The first stay of a person says where she lives: b comes before a.
    assert static["site"].to_dict() == {"a": "South", "b": "South", "c": "South", "d": "unknown"}
    assert static["age"].fillna(-1).to_dict() == {"a": 90, "b": 90, "c": 40, "d": -1}
    assert static["sex"].fillna("?").to_dict() == {"a": "Female", "b": "?", "c": "?", "d": "?"}
    assert list(static.loc["a", ["unit", "source", "aps_vent", "aps_eyes"]]) == [
        "MICU", "(other)", "yes", 4,
    ]  # fmt: skip
    assert static["height"].isna().to_dict()["a"]
    assert static.loc["b", "weight"] == 80.5
    assert static["aps_wbc"].isna().all()
    assert static["days_left"].fillna(0).to_dict() == {"a": 2, "b": 2, "c": 2, "d": 0}
    ended = found.outcome.set_index("patient")
    assert ended["time"].to_dict() == {"a": 365, "b": 365, "c": 2, "d": 0}
    assert ended["event"].to_dict() == {"a": 0, "b": 0, "c": 1, "d": 0}
    visits = found.visits[found.visits["patient"] == "a"].set_index("day")
    assert list(visits.index) == [59 / 1440, 1, 1441 / 1440]
    first = visits[["noninvasivesystolic", "noninvasivediastolic", "noninvasivemean"]].iloc[0]
    assert first.tolist() == [121, 70, 90]
    assert np.isnan(visits["noninvasivemean"].iloc[1])
    (bun,) = found.visits.loc[found.visits["patient"] == "b", ["day", "BUN"]].to_numpy().tolist()
    assert bun == [-100 / 1440, 31]
    codes = set(found.codes[["patient", "system", "code"]].itertuples(index=False, name=None))
    assert codes == {
        ("a", "icd9cm", "401"), ("a", "icd10cm", "I10"), ("a", "icd9cm", "584"),
        ("a", "icd10cm", "N17"), ("b", "icd9cm", "V58"), ("b", "icd10cm", "Z79"),
        ("b", "icd9cm", "E950"), ("b", "icd10cm", "E86"), ("c", "icd9cm", "518"),
    }  # fmt: skip
    assert found.codes.loc[found.codes["code"] == "401", "day"].tolist() == [0.5]
    asked = problem(found, found.schema.tasks["kidneys"])
    assert dict(zip(asked.patients, asked.event, strict=True)) == {
        "a": True, "b": False, "c": False,
    }  # fmt: skip


def test_ages_and_hospitals_that_are_not_read_are_counted(tmp_path: Path) -> None:
    stays = [
        {**STAY, "patientunitstayid": stay, "uniquepid": stay, "age": age, "hospitalid": home}
        for stay, age, home in (("a", "abc", "59"), ("b", "> 89", "7"), ("c", "-3", "8"))
    ]
    found = Eicu().load(put(tmp_path, patient=stays))
    homes, ages = found.notes
    assert "patient.csv: 2 rows with a hospitalid that is not in hospital, the first '7'" in homes
    assert "patient.csv: 'age' is 'abc' in 2 such rows; expected whole years up to 89" in ages
    assert found.static["age"].isna().tolist() == [True, False, True]


def test_hospitals_can_be_sites_and_small_ones_are_merged_by_region(tmp_path: Path) -> None:
    found = Eicu(hospitals=("59", "60")).load(put(tmp_path))
    assert found.static.set_index("patient")["site"].to_dict() == {
        "a": "59", "b": "59", "c": "59", "d": "(other)",
    }  # fmt: skip
    dealt = Natural(minimum=2, merge=True, by="region").deal(found, np.random.default_rng(0))
    assert list(dealt.patients) == ["(other) + 59"]


def test_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    store = put(tmp_path, hospital=[{"hospitalid": "59"}])
    (tmp_path / "eicu" / "patient.csv").unlink()
    with pytest.raises(DataError, match=r"no table 'patient' .*there is no column 'region'"):
        Eicu().load(store)


@pytest.fixture(scope="module")
def demo() -> Cohort:
    return EicuDemo().load(DataStore(Path(str(ROOT))))


@needs_files
def test_the_counts_are_those_of_the_demo(demo: Cohort) -> None:
    assert len(demo) == 2_520
    assert len(set(demo.clusters)) == 1_841
    assert demo.event.sum() == 212
    # By their own stay 807, 738, 606, 159 and 210 without a region: one person has been in two.
    assert dict(pd.Series(demo.sites).value_counts()) == {
        "Midwest": 804, "South": 738, "West": 605, "unknown": 214, "Northeast": 159,
    }  # fmt: skip
    raw = pd.read_csv(Path(str(ROOT)) / "eicu_demo" / "diagnosis.csv.gz").dropna(subset="icd9code")
    raw = raw[~raw["icd9code"].str.match(r"\d\d\.")]  # tracheostomies
    when = raw[["patientunitstayid", "diagnosisoffset"]].drop_duplicates()
    assert len(demo.codes[["patient", "day"]].drop_duplicates()) == len(when)
    assert (demo.codes["code"] == "(other)").mean() < 0.01
    for rule, most in zip(demo.schema.rules, (0.01, 0.01, 0.12), strict=True):
        found = kept(demo, rule)
        assert found.broken.sum() < most * found.asked.sum()
    # Pressures that were charted after the death stay: the rule tells of them.
    late = demo.visits.merge(demo.outcome[demo.outcome["event"] == 1], on="patient")
    late = late[late["day"] > late["time"]]
    assert (len(late), late["patient"].nunique(), found.broken.sum()) == (10, 4, 4)
    assert (late["day"] - late["time"]).max() < 0.25


@needs_files
def test_the_score_that_comes_with_it_foresees_death() -> None:
    from sklearn.metrics import roc_auc_score

    table = pd.read_csv(Path(str(ROOT)) / "eicu_demo" / "apachePatientResult.csv.gz")
    mine = table[(table["apacheversion"] == "IVa") & (table["predictedhospitalmortality"] >= 0)]
    mine = mine.dropna(subset=["actualhospitalmortality"])
    assert len(mine) == 1_683
    died = mine["actualhospitalmortality"] == "EXPIRED"
    area = roc_auc_score(died, mine["predictedhospitalmortality"].astype(float))
    assert area == pytest.approx(0.862, abs=5e-4)


@needs_files
def test_death_is_foreseen_in_other_hospitals(demo: Cohort) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    asked = problem(demo, demo.schema.tasks["mortality"])
    assert (len(asked), asked.event.sum()) == (2_186, 158)
    known = asked.predictors.loc[:, asked.predictors.notna().any()]
    stays = pd.read_csv(
        Path(str(ROOT)) / "eicu_demo" / "patient.csv.gz", dtype={"patientunitstayid": str}
    )
    hospital = stays.set_index("patientunitstayid")["hospitalid"].loc[pd.Index(asked.patients)]
    scores = cross_val_predict(
        HistGradientBoostingClassifier(learning_rate=0.05, max_iter=80, random_state=0),
        known,
        asked.event,
        groups=hospital,
        cv=StratifiedGroupKFold(5, shuffle=True, random_state=0),
        method="predict_proba",
    )[:, 1]
    # .747 and .798 elsewhere, of death in the unit among stays of 30 hours, with monitors and
    # laboratory.
    assert roc_auc_score(asked.event, scores) == pytest.approx(0.775, abs=0.035)


@needs_files
def test_what_is_dated_later_moves_no_predictor(demo: Cohort) -> None:
    some = demo.take(demo.patients[:150])
    later = some.visits[some.visits["day"] > 1].assign(noninvasivemean=77.0, day=5.5)
    other = Cohort.of_tables(
        some.schema,
        some.static.assign(days_left=3.0),
        pd.concat([some.visits[some.visits["day"] <= 1], later]),
        some.codes[some.codes["day"] <= 1],
        some.outcome,
    )
    for name in ("mortality", "kidneys"):
        task = some.schema.tasks[name]
        before, after = problem(some, task).predictors, problem(other, task).predictors
        both = before.index.intersection(after.index)
        assert len(both) > 100
        pd.testing.assert_frame_equal(before.loc[both], after.loc[both], check_exact=True)
