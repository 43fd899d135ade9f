"""Admissions of MIMIC-IV, from made-up tables and from the open demo."""

from __future__ import annotations

import gzip
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedbench.data import OTHER, Cohort, DataStore
from fedbench.datasets._mimic_items import LABS
from fedbench.datasets.mimic4 import Mimic4
from fedbench.errors import DataError
from fedbench.rules import kept
from fedbench.task import problem

FOLDER = Mimic4().folder
ROOT = os.environ.get("FEDBENCH_DATA")
needs_files = pytest.mark.skipif(
    not ROOT or not (Path(ROOT) / FOLDER).is_dir(),
    reason=f"needs the folder {FOLDER} in FEDBENCH_DATA",
)

# Ann comes three times; Ben, who is old, before and after his anchor year, dies at the second
# time, of which the source has midnight as discharge; Cat leaves within a day.
TABLES = {
    "hosp/admissions": """
subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admit_provider_id,\
admission_location,discharge_location,insurance,language,marital_status,race,edregtime,\
edouttime,hospital_expire_flag
1,10,2150-01-01 00:00:00,2150-01-05 00:00:00,,EW EMER.,P1,EMERGENCY ROOM,HOME HEALTH CARE,Other,\
ENGLISH,SINGLE,WHITE - BRAZILIAN,2149-12-31 20:00:00,2150-01-01 01:00:00,0
1,11,2150-02-04 00:00:00,2150-02-06 00:00:00,,ELECTIVE,P1,INFORMATION NOT AVAILABLE,,Medicare,?,\
,PATIENT DECLINED TO ANSWER,,,0
1,12,2150-03-09 00:00:00,2150-03-11 12:00:00,,OBSERVATION ADMIT,P1,PACU,HOSPICE,Private,ENGLISH,\
MARRIED,PORTUGUESE,,,0
2,20,2160-05-01 06:00:00,2160-05-03 06:00:00,,URGENT,P1,TRANSFER FROM HOSPITAL,REHAB,Medicaid,\
ENGLISH,WIDOWED,HISPANIC/LATINO - CUBAN,,,0
2,21,2162-05-01 06:00:00,2162-05-04 00:00:00,2162-05-04 18:00:00,DIRECT EMER.,P1,\
WALK-IN/SELF REFERRAL,DIED,Medicare,ENGLISH,WIDOWED,SOUTH AMERICAN,,,1
3,30,2170-01-01 00:00:00,2170-01-01 12:00:00,,SOMETHING NEW,P1,CLINIC REFERRAL,HOME,No charge,\
ENGLISH,DIVORCED,AMERICAN INDIAN/ALASKA NATIVE,,,0
""",
    "hosp/patients": """
subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod
1,F,52,2148,2014 - 2016,
2,M,91,2161,2011 - 2013,2162-05-04
3,F,20,2170,2011 - 2013,
""",
    "hosp/diagnoses_icd": """
subject_id,hadm_id,seq_num,icd_code,icd_version
1,10,1,0389,9
1,10,2,E8859,9
1,11,1,N179,10
1,11,2,QQQ,10
1,12,1,A419,10
2,20,1,V5867,9
2,21,1,5849,9
3,30,1,O80,10
""",
    "icu/icustays": """
subject_id,hadm_id,stay_id,first_careunit,last_careunit,intime,outtime,los
1,11,101,Neuro Stepdown,Neuro Stepdown,2150-02-04 02:00:00,2150-02-05 00:00:00,0.9
1,12,102,Medical Intensive Care Unit (MICU),Neuro Stepdown,2150-03-09 02:00:00,\
2150-03-10 00:00:00,0.9
2,20,201,A Unit That Is New,Neuro Stepdown,2160-05-01 07:00:00,2160-05-02 00:00:00,0.7
""",
}  # fmt: skip
EVENTS = {
    "hosp/labevents": """
labevent_id,subject_id,hadm_id,specimen_id,itemid,order_provider_id,charttime,storetime,value,\
valuenum,valueuom,ref_range_lower,ref_range_upper,flag,priority,comments
1,1,10,1,50912,,2150-01-01 00:30:00,,1.2,1.2,mg/dL,,,,,
2,1,10,1,50912,,2150-01-02 00:00:00,,1.3,1.3,mg/dL,,,,,
3,1,10,1,50912,,2150-01-02 00:00:01,,1.4,1.4,mg/dL,,,,,
4,1,10,1,51301,,2150-01-01 00:30:00,,8,8,K/uL,,,,,"high, ""said"" twice"
5,1,10,1,50983,,2150-01-01 00:30:00,,___,,mEq/L,,,,,
""",
    "icu/chartevents": """
subject_id,hadm_id,stay_id,caregiver_id,charttime,storetime,itemid,value,valuenum,valueuom,warning
1,11,101,1,2150-02-04 03:00:00,,223761,100.4,100.4,°F,0
1,11,101,1,2150-02-04 03:00:00,,223900,No Response-ETT,1,,0
1,11,101,1,2150-02-04 03:30:00,,223900,Confused,4,,0
2,21,201,1,2162-05-04 17:30:00,,220045,40,40,bpm,0
""",
}  # fmt: skip


def put(folder: Path, tables: Mapping[str, str] = TABLES) -> DataStore:
    """Write the tables where they lie at PhysioNet, packed."""
    for name, text in tables.items():
        path = folder / FOLDER / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.strip().encode()))
    return DataStore(folder)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return Mimic4().load(put(tmp_path_factory.mktemp("mimic")))


def test_every_fact_is_where_it_belongs(made_up: Cohort) -> None:
    rows = made_up.static.set_index("patient")
    assert list(rows.index) == ["10", "11", "12", "20", "21", "30"]
    expected = {
        "person": ["1", "1", "1", "2", "2", "3"],
        # Where Ann's first stay in intensive care began, for her stay without one as well.
        "unit": [*["neurology"] * 3, OTHER, OTHER, "no intensive care"],
        # Nobody knows how old Ben was before he was older than 89.
        "age": [54, 54, 54, "", 90, 20],
        "sex": ["female", "female", "female", "male", "male", "female"],
        "race": ["white", "", OTHER, "hispanic", "hispanic", "native american"],
        "marital_status": ["single", "", "married", "widowed", "widowed", "divorced"],
        "insurance": [OTHER, "Medicare", "Private", "Medicaid", "Medicare", "No charge"],
        "admission_type": [
            "EW EMER.", "ELECTIVE", "OBSERVATION ADMIT", "URGENT", "DIRECT EMER.", OTHER,
        ],
        "admission_source": ["emergency room", "", OTHER, "transfer", "referral", "referral"],
        "emergency": ["yes", "no", "no", "no", "no", "no"],
        "earlier": [0, 1, 2, 0, 1, 0],
        "discharge": ["home with care", "", "hospice", "nursing or rehabilitation", "died", "home"],
        "los": [4, 2, 2.5, 2, 3.5, 0.5],
        # 30 days after discharge is within, 31 is not.
        "readmitted": ["yes", "no", "no", "no", "", "no"],
    }  # fmt: skip
    for name, values in expected.items():
        found = rows[name].astype(object)
        assert found.where(found.notna(), "").tolist() == values, name
    assert set(expected) | {"patient"} == set(made_up.static)
    for vocabulary in made_up.schema.vocabularies.values():
        assert vocabulary.sensitive
        assert vocabulary.sensitive < {*vocabulary.codes}
    assert not made_up.schema.visits


def test_death_ends_a_stay_and_survivors_cannot_die_in_it(made_up: Cohort) -> None:
    ends = made_up.outcome.set_index("patient")
    assert ends["event"].tolist() == [0, 0, 0, 0, 1, 0]
    assert ends["time"].tolist() == [365, 365, 365, 365, 3.5, 0.5]
    tasks = made_up.schema.tasks
    everybody = ["10", "11", "12", "20", "21"]
    assert list(problem(made_up, tasks["mortality"]).patients) == everybody
    assert list(problem(made_up, tasks["readmission"]).patients) == everybody[:-1]
    kidney, sepsis = (problem(made_up, tasks[name]).event for name in ("kidney", "sepsis"))
    assert kidney.tolist() == [False, True, False, False, True]
    assert sepsis.tolist() == [True, False, True, False, False]


def test_who_is_admitted_before_she_has_left_has_not_come_back(tmp_path: Path) -> None:
    overlap = TABLES["hosp/admissions"].replace("2150-02-04 00:00:00", "2150-01-04 00:00:00")
    for third, back in (("2150-03-09", "no"), ("2150-02-03", "yes")):
        changed = {**TABLES, "hosp/admissions": overlap.replace("2150-03-09", third)}
        found = Mimic4().load(put(tmp_path / third, changed)).static
        assert found.set_index("patient").loc["10", "readmitted"] == back


def test_diagnoses_keep_their_system(made_up: Cohort) -> None:
    found = made_up.codes[["patient", "day", "system", "code"]].to_numpy().tolist()
    assert sorted(found) == [
        ["10", 4, "icd9cm", "038"],
        ["10", 4, "icd9cm", "E885"],
        ["11", 2, "icd10cm", OTHER],
        ["11", 2, "icd10cm", "N17"],
        ["12", 2.5, "icd10cm", "A41"],
        ["20", 2, "icd9cm", "V58"],
        ["21", 3.5, "icd9cm", "584"],
        ["30", 0.5, "icd10cm", "O80"],
    ]


def test_measurements_are_read_where_they_are_wanted(tmp_path: Path) -> None:
    store = put(tmp_path)
    with pytest.raises(DataError, match=r"no table 'labevents'.*no table 'chartevents'"):
        Mimic4(vitals=True, labs=True).load(store)
    put(tmp_path, EVENTS)
    found = {
        (row["patient"], round(24 * row["day"], 6), str(name)): value
        for _, row in Mimic4(vitals=True, labs=True).load(store).visits.iterrows()
        for name, value in row.drop(["patient", "day"]).dropna().items()
    }
    assert found == {
        ("10", 1, "creatinine"): 1.2,
        ("10", 1, "wbc"): 8,
        ("10", 24, "creatinine"): 1.3,  # at the index time
        ("10", 25, "creatinine"): 1.4,  # a second after it
        ("11", 3, "temperature"): 38,
        ("11", 4, "gcs_verbal"): 4,  # without the tube
        ("21", 84, "heart_rate"): 40,  # after the midnight that stands for discharge
    }
    assert list(Mimic4(labs=True).load(store).schema.visits) == list(LABS)


@pytest.mark.parametrize("task", ["mortality", "stay", "readmission", "kidney", "sepsis"])
def test_what_is_dated_later_moves_no_predictor(tmp_path: Path, task: str) -> None:
    """What happens to Ann after the first day of her first stay is changed in the files."""
    dataset, tables = Mimic4(vitals=True, labs=True), {**TABLES, **EVENTS}
    before = dataset.load(put(tmp_path / "old", tables))
    changes = {
        "hosp/admissions": [
            ("2150-01-05 00:00:00", "2150-01-08 00:00:00"), ("HOME HEALTH CARE", "REHAB"),
            ("2150-02-04", "2150-02-05"),
        ],
        "hosp/diagnoses_icd": [("1,10,1,0389", "1,10,1,5849")],
        "hosp/labevents": [("2150-01-02 00:00:01,,1.4,1.4", "2150-01-02 00:10:00,,9.9,9.9")],
    }  # fmt: skip
    for table, pairs in changes.items():
        for old, new in pairs:
            assert old in tables[table]
            tables[table] = tables[table].replace(old, new)
    after = dataset.load(put(tmp_path / "new", tables))
    assert after.fingerprint != before.fingerprint
    told, later = (problem(each, each.schema.tasks[task]).predictors for each in (before, after))
    assert told.loc["10", "creatinine"] == 1.3
    pd.testing.assert_frame_equal(told.loc[["10"]], later.loc[["10"]], check_exact=True)


def test_diagnoses_in_another_system_are_counted(tmp_path: Path, made_up: Cohort) -> None:
    assert not made_up.notes
    name = "hosp/diagnoses_icd"
    (note,) = Mimic4().load(put(tmp_path, TABLES | {name: TABLES[name] + "3,30,2,BA00,11"})).notes
    assert "'icd_version' is '11' in 1 such row; expected 9 or 10" in note


@pytest.fixture(scope="module")
def demo() -> Cohort:
    return Mimic4().load(DataStore.default())


@needs_files
def test_what_is_fetched_is_what_the_publisher_lists() -> None:
    """Of the packed tables, in PhysioNet's own list of checksums."""
    text = (Path(str(ROOT)) / FOLDER / "SHA256SUMS.physionet.txt").read_text()
    listed = {name: digest for digest, name in map(str.split, text.splitlines())}
    for wanted in Mimic4.downloads:
        assert wanted.url == f"https://physionet.org/files/mimic-iv-demo/2.2/{_within(wanted.path)}"
        assert wanted.sha256 == listed[_within(wanted.path)]
    tables = {Path(wanted.path).name.partition(".")[0] for wanted in Mimic4.downloads}
    assert tables == {*Mimic4.tables}


def _within(path: str) -> str:
    return path.removeprefix(f"{FOLDER}/")


@needs_files
def test_the_counts_are_those_of_the_demo(demo: Cohort) -> None:
    assert len(demo) == 275
    assert len(np.unique(demo.clusters)) == 100
    # Of 4,506 rows, those of one category at one admission count once.
    raw = pd.read_csv(Path(str(ROOT)) / FOLDER / "hosp" / "diagnoses_icd.csv.gz", dtype=str)
    assert len(raw) == 4_506
    assert dict(raw["icd_version"].value_counts()) == {"10": 2_313, "9": 2_193}
    short = raw["icd_version"].eq("10") | ~raw["icd_code"].str.startswith("E")
    every = raw["icd_code"].str[:3].where(short, raw["icd_code"].str[:4])
    once = raw.assign(code=every).drop_duplicates(["hadm_id", "icd_version", "code"])
    assert len(demo.codes) == len(once) == 4_155
    assert OTHER not in set(demo.codes["code"])
    assert demo.event.sum() == 15
    assert demo.sites is not None
    assert dict(pd.Series(demo.sites).value_counts()) == {
        "MICU/SICU": 63, "SICU": 57, "MICU": 55, "CVICU": 43, "TSICU": 36, "CCU": 15,
        "neurology": 6,
    }  # fmt: skip
    assert len(demo.static[["person", "unit"]].drop_duplicates()) == 100
    assert demo.static["age"].max() == 90
    for rule in demo.schema.rules:
        assert not kept(demo, rule).broken.any()


@needs_files
def test_readmissions_are_those_of_another_reading(demo: Cohort) -> None:
    """Every pair of a person's admissions, by pandas alone."""
    path = Path(str(ROOT)) / FOLDER / "hosp" / "admissions.csv.gz"
    rows = pd.read_csv(path, parse_dates=["admittime", "dischtime"], dtype={"hadm_id": str})
    pairs = rows.merge(rows, on="subject_id", suffixes=("", " next"))
    days = (pairs["admittime next"] - pairs["dischtime"]).dt.total_seconds() / 86_400
    back = set(pairs.loc[days.between(0, 30) & (pairs["hospital_expire_flag"] == 0), "hadm_id"])
    assert set(demo.static.loc[demo.static["readmitted"] == "yes", "patient"]) == back
    assert len(back) == 53
    assert demo.static["readmitted"].isna().sum() == 15
