"""Admissions of MIMIC-III, from made-up tables and from the open demo."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Cohort, DataStore
from fedbench.datasets._mimic_items import LABS, VITALS, Measured
from fedbench.datasets.mimic3 import FOLDER, Mimic3
from fedbench.errors import DataError
from fedbench.rules import kept
from fedbench.task import problem

ROOT = os.environ.get("FEDBENCH_DATA")
needs_files = pytest.mark.skipif(
    not ROOT or not (Path(ROOT) / FOLDER).is_dir(),
    reason=f"needs the folder {FOLDER} in FEDBENCH_DATA",
)

# Ada comes twice, first without intensive care; Bob dies within a day; Cyd, who is old, leaves
# within a day; Dan is an organ donor, admitted after his death.
TABLES = {
    "ADMISSIONS": """
ROW_ID,SUBJECT_ID,HADM_ID,ADMITTIME,DISCHTIME,DEATHTIME,ADMISSION_TYPE,ADMISSION_LOCATION,\
DISCHARGE_LOCATION,INSURANCE,MARITAL_STATUS,ETHNICITY,EDREGTIME,HOSPITAL_EXPIRE_FLAG
1,1,010,2100-01-01 12:00:00,2100-01-03 12:00:00,,EMERGENCY,EMERGENCY ROOM ADMIT,HOME,Medicare,\
MARRIED,WHITE - RUSSIAN,2100-01-01 08:00:00,0
2,1,011,2100-02-02 11:00:00,2100-02-12 11:00:00,2100-02-13 11:00:00,ELECTIVE,\
PHYS REFERRAL/NORMAL DELI,DEAD/EXPIRED,Self Pay,LIFE PARTNER,UNKNOWN/NOT SPECIFIED,,1
3,2,020,2100-01-01 00:00:00,2100-01-01 06:00:00,2100-01-01 06:00:00,URGENT,\
TRANSFER FROM HOSP/EXTRAM,DEAD/EXPIRED,Medicaid,UNKNOWN (DEFAULT),BLACK/HAITIAN,,1
4,3,030,2100-01-01 00:00:00,2100-01-01 18:00:00,,NEWBORN,** INFO NOT AVAILABLE **,SNF,Private,,\
SOMETHING,,0
5,4,040,2100-01-02 00:00:00,2100-01-03 00:00:00,2100-01-01 00:00:00,EMERGENCY,SOMEWHERE,\
DEAD/EXPIRED,Barter,SINGLE,ASIAN - CHINESE,,1
""",
    "PATIENTS": """
SUBJECT_ID,GENDER,DOB
1,F,2030-01-02 00:00:00
2,M,2050-01-01 00:00:00
3,F,1800-01-01 00:00:00
4,M,
""",
    "ICUSTAYS": """
SUBJECT_ID,HADM_ID,ICUSTAY_ID,FIRST_CAREUNIT,INTIME
1,011,1,MICU,2100-02-05 00:00:00
1,011,2,CCU,2100-02-03 00:00:00
2,020,3,TSICU,2100-01-01 01:00:00
4,040,4,XYZ,2100-01-02 01:00:00
""",
    "DIAGNOSES_ICD": """
SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE
1,010,1,0389
1,010,2,E8859
1,010,3,
1,011,1,5849
1,099,1,5849
2,020,1,QQQ
""",
    "LABEVENTS": """
SUBJECT_ID,HADM_ID,ITEMID,CHARTTIME,VALUENUM,VALUEUOM
1,010,50912,2100-01-01 09:30:00,1.5,mg/dL
1,010,50912,2100-01-01 13:10:00,1.1,MG/DL
1,010,50912,2100-01-01 13:20:00,9.9,umol/L
1,010,50983,2100-01-01 13:20:00,140,
1,010,50983,2100-01-01 13:30:00,14,mEq/L
1,010,50820,2100-01-01 13:20:00,7.4,units
1,010,99999,2100-01-01 13:20:00,7.4,units
1,010,50983,2099-12-30 13:20:00,130,mEq/L
1,,50983,2100-01-01 14:20:00,131,mEq/L
""",
    "CHARTEVENTS": """
SUBJECT_ID,HADM_ID,ITEMID,CHARTTIME,VALUE,VALUENUM,ERROR
1,010,211,2100-01-01 13:30:00,80,80,
1,010,220045,2100-01-01 14:00:00,81,81,0
1,010,211,2100-01-01 13:59:00,99,99,1
1,010,211,2100-01-01 14:00:01,82,82,
1,010,678,2100-01-01 14:30:00,98.6,98.6,
1,010,676,2100-01-01 15:30:00,36.5,36.5,
1,010,678,2100-01-01 15:40:00,36.5,36.5,
1,010,723,2100-01-01 14:30:00,1.0 ET/Trach,1,
1,010,454,2100-01-01 14:30:00,6 Obeys Commands,6,
1,010,455,2100-01-02 12:00:00,120,120,
1,010,51,2100-01-02 12:00:00,110,110,
1,010,442,2100-01-02 12:00:00,130,130,
1,010,646,2100-01-03 11:59:00,97,97,
1,010,646,2100-01-03 12:01:00,50,50,
1,010,211,2100-01-01 16:00:00,,,
2,020,211,2100-01-01 05:45:00,20,20,
""",
}


def put(folder: Path, tables: Mapping[str, str] = TABLES) -> DataStore:
    """Write the tables in capitals; the events are packed."""
    home = folder / FOLDER
    home.mkdir()
    for name, text in tables.items():
        if name.endswith("EVENTS"):
            (home / f"{name}.csv.gz").write_bytes(gzip.compress(text.strip().encode()))
        else:
            (home / f"{name}.csv").write_text(text.strip())
    return DataStore(folder)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return Mimic3().load(put(tmp_path_factory.mktemp("mimic")))


def test_every_fact_is_where_it_belongs(made_up: Cohort) -> None:
    rows = made_up.static.set_index("patient")
    assert list(rows.index) == ["010", "011", "020", "030", "040"]
    expected = {
        "person": ["1", "1", "2", "3", "4"],
        # Where Ada's first stay in intensive care began, for her stay without one as well.
        "unit": ["CCU", "CCU", "TSICU", "no intensive care", "(other)"],
        "age": [69, 70, 50, 90, ""],
        "sex": ["female", "female", "male", "female", "male"],
        "race": ["white", "", "black", "(other)", "asian"],
        "marital_status": ["married", "(other)", "", "", "single"],
        "insurance": ["Medicare", "Self Pay", "Medicaid", "Private", "(other)"],
        "admission_type": ["EMERGENCY", "ELECTIVE", "URGENT", "NEWBORN", "EMERGENCY"],
        "admission_source": ["emergency room", "referral", "transfer", "", "(other)"],
        "emergency": ["yes", "no", "no", "no", "no"],
        "earlier": [0, 1, 0, 0, 0],
        "discharge": ["home", "died", "died", "nursing or rehabilitation", "died"],
        "los": [2, 11, 0.25, 0.75, ""],
        "readmitted": ["yes", "", "", "no", ""],
    }
    for name, values in expected.items():
        found = rows[name].astype(object)
        assert found.where(found.notna(), "").tolist() == values, name
    assert set(expected) | {"patient"} == set(made_up.static)


def test_death_ends_a_stay_and_survivors_cannot_die_in_it(made_up: Cohort) -> None:
    ends = made_up.outcome.set_index("patient")
    assert ends["event"].tolist() == [0, 1, 1, 0, 1]
    assert ends["time"].tolist() == [365, 11, 0.25, 0.75, 0]
    tasks = made_up.schema.tasks
    assert list(problem(made_up, tasks["mortality"]).patients) == ["010", "011"]
    assert list(problem(made_up, tasks["readmission"]).patients) == ["010"]
    assert problem(made_up, tasks["kidney"]).event.tolist() == [False, True]
    assert problem(made_up, tasks["sepsis"]).event.tolist() == [True, False]


def test_diagnoses_are_dated_when_the_stay_ends(made_up: Cohort) -> None:
    found = made_up.codes[["patient", "day", "system", "code"]].to_numpy().tolist()
    assert found == [
        ["010", 2, "icd9cm", "038"],
        ["010", 2, "icd9cm", "E885"],
        ["011", 11, "icd9cm", "584"],
        ["020", 0.25, "icd9cm", "(other)"],
    ]


def test_the_last_value_of_an_hour_counts_at_its_end(made_up: Cohort) -> None:
    found: dict[tuple[str, float, str], float] = {}
    for _, row in made_up.visits.iterrows():
        for name, value in row.drop(["patient", "day"]).dropna().items():
            found[row["patient"], round(24 * row["day"], 6), str(name)] = value
    assert found == {
        # 09:30 is in the hour before 10:00, two hours before admission.
        ("010", -2, "creatinine"): 1.5,
        ("010", 2, "creatinine"): 1.1,  # in micromoles: not read
        ("010", 2, "sodium"): 140,  # 14: impossible
        ("010", 2, "ph"): 7.4,
        ("010", 2, "heart_rate"): 81,  # at 14:00; 99 is marked as an error
        ("010", 3, "heart_rate"): 82,  # a second later
        ("010", 3, "temperature"): 37,  # from Fahrenheit
        ("010", 3, "gcs_motor"): 6,  # and no speech through a tube
        ("010", 4, "temperature"): 36.5,  # Celsius written as Fahrenheit: impossible
        ("010", 24, "sbp"): 110,  # of several at once the arterial one
        ("010", 48, "spo2"): 97,  # after the end: not of this stay
        ("020", 6, "heart_rate"): 20,
    }


def test_what_is_not_read_need_not_be_there(tmp_path: Path, made_up: Cohort) -> None:
    some = {name: text for name, text in TABLES.items() if not name.endswith("EVENTS")}
    store = put(tmp_path, some)
    with pytest.raises(DataError, match=r"no table 'labevents'.*no table 'chartevents'"):
        Mimic3().load(store)
    bare = Mimic3(vitals=False, labs=False).load(store)
    assert not bare.schema.visits
    pd.testing.assert_frame_equal(bare.codes, made_up.codes)
    (tmp_path / FOLDER / "LABEVENTS.csv").write_text(TABLES["LABEVENTS"].strip())
    labs = Mimic3(vitals=False).load(store)
    assert list(labs.schema.visits) == list(LABS)
    assert len(labs.visits) == 2


@pytest.mark.parametrize(
    ("table", "old", "new", "problem"),
    [
        ("ADMISSIONS", "2100-01-03 12:00:00", "soon", "soon"),
        ("ADMISSIONS", "2100-01-03 12:00:00", "", "admission '010' has no admittime or no"),
        ("ADMISSIONS", "HADM_ID", "HADM", "no column 'hadm_id'"),
        ("CHARTEVENTS", "2100-01-01 13:30:00", "noon", "noon"),
        ("CHARTEVENTS", "80,80", "80,high", "high"),
        ("LABEVENTS", "HADM_ID,ITEMID", "HADM_ID;ITEMID", "no column"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, table: str, old: str, new: str, problem: str
) -> None:
    store = put(tmp_path, {**TABLES, table: TABLES[table].replace(old, new, 1)})
    with pytest.raises(DataError, match=problem):
        Mimic3().load(store)


@pytest.mark.parametrize("task", ["mortality", "stay", "readmission", "kidney"])
def test_what_is_dated_later_moves_no_predictor(tmp_path: Path, task: str) -> None:
    """Everything after the first day is changed in the files; Ada's first stay is asked about."""
    before = Mimic3().load(put(tmp_path))
    asked = problem(before, before.schema.tasks[task])
    later = {
        "ADMISSIONS": [("2100-01-03 12:00:00,,", "2100-01-09 12:00:00,,"), ("HOME", "SNF")],
        "CHARTEVENTS": [
            ("2100-01-03 11:59:00,97,97", "2100-01-02 12:00:01,60,60"),
            ("2100-01-03 12:01:00", "2100-01-04 12:01:00"),
        ],
        "DIAGNOSES_ICD": [("1,010,1,0389", "1,010,1,4019")],
    }
    changed = dict(TABLES)
    for table, pairs in later.items():
        for old, new in pairs:
            assert old in changed[table]
            changed[table] = changed[table].replace(old, new)
    (tmp_path / "new").mkdir()
    after = Mimic3().load(put(tmp_path / "new", changed))
    assert after.fingerprint != before.fingerprint
    other = problem(after, after.schema.tasks[task])
    pd.testing.assert_frame_equal(
        asked.predictors.loc[["010"]], other.predictors.loc[["010"]], check_exact=True
    )


def test_the_order_of_rows_changes_nothing(tmp_path: Path, made_up: Cohort) -> None:
    turned = {}
    for name, text in TABLES.items():
        head, *rows = text.strip().splitlines()
        turned[name] = "\n".join([head, *reversed(rows)])
    assert Mimic3().load(put(tmp_path, turned)).fingerprint == made_up.fingerprint


@pytest.fixture(scope="module")
def demo() -> Cohort:
    return Mimic3().load(DataStore.default())


@needs_files
def test_the_counts_are_those_of_the_demo(demo: Cohort) -> None:
    assert len(demo) == 129
    assert len(np.unique(demo.clusters)) == 100
    # Of 1,761 rows, those of one category at one admission count once.
    raw = pd.read_csv(Path(str(ROOT)) / FOLDER / "DIAGNOSES_ICD.csv.gz", dtype=str)
    assert len(raw) == 1_761
    every = raw["icd9_code"].where(raw["icd9_code"].str[0] == "E", raw["icd9_code"].str[:3])
    once = raw.assign(code=every.str[:4]).drop_duplicates(["hadm_id", "code"])
    assert len(demo.codes) == len(once) == 1_624
    assert "(other)" not in set(demo.codes["code"])
    assert demo.event.sum() == 40
    assert demo.static["readmitted"].notna().sum() == 89
    assert demo.sites is not None
    assert dict(pd.Series(demo.sites).value_counts()) == {
        "MICU": 65, "SICU": 37, "CCU": 13, "TSICU": 8, "CSRU": 6,
    }  # fmt: skip
    # Of one person there is one site.
    assert len(demo.static[["person", "unit"]].drop_duplicates()) == 100
    assert demo.static["age"].max() == 90
    for rule in demo.schema.rules:
        found = kept(demo, rule)
        # A mean above the systolic, or below the diastolic, is charted in a few hours.
        assert found.broken.sum() <= (45 if "mean" in rule.label else 0)


@pytest.mark.parametrize(
    ("table", "was", "becomes", "message"),
    [
        ("ADMISSIONS", "3,2,020,", "3,2,011,", r"hadm_id '011' is there more than once \(2 rows"),
        (
            "PATIENTS",
            "4,M,",
            "1,M,",
            r"subject_id '1' is there more than once .* Remove the others",
        ),
        ("ICUSTAYS", "4,040,4,", "4,040,3,", r"icustay_id '3' is there more than once"),
        ("PATIENTS", "1,F,2030-01-02 00:00:00\n", "", "2 of 5 admissions have no row .* '1'"),
    ],
)
def test_tables_that_contradict_themselves_or_each_other_are_refused(
    tmp_path: Path, table: str, was: str, becomes: str, message: str
) -> None:
    assert was in TABLES[table]
    store = put(tmp_path, {**TABLES, table: TABLES[table].replace(was, becomes)})
    with pytest.raises(DataError, match=f"{table}.csv: .*{message}"):
        Mimic3(vitals=False, labs=False).load(store)


def test_rows_that_are_there_twice_count_once_and_are_told(tmp_path: Path, made_up: Cohort) -> None:
    twice = {
        name: TABLES[name] + TABLES[name].strip().splitlines()[-1]
        for name in ("ADMISSIONS", "PATIENTS", "ICUSTAYS")
    }
    found = Mimic3().load(put(tmp_path, {**TABLES, **twice}))
    assert found.fingerprint == made_up.fingerprint
    rows = (("ADMISSIONS", "hadm_id '040'"), ("PATIENTS", "subject_id '4'"), ("ICUSTAYS", "icust"))
    for note, (name, key) in zip(found.notes, rows, strict=False):
        assert re.search(rf"{name}.csv: 1 row too many, alike in every .*\({key}.* 2 times", note)


def test_what_cannot_be_is_counted(tmp_path: Path, made_up: Cohort) -> None:
    (dan,) = made_up.notes
    assert "'dischtime or deathtime' is '2100-01-01 00:00:00' in 1 such row; the stay ends" in dan
    changed = TABLES | {
        "ADMISSIONS": TABLES["ADMISSIONS"].replace("SOMETHING,,0", "SOMETHING,,7"),
        "ICUSTAYS": TABLES["ICUSTAYS"].replace("2,020,3", "2,999,3"),
    }
    flag, _, unit = Mimic3(vitals=False, labs=False).load(put(tmp_path, changed)).notes
    assert "'hospital_expire_flag' is 7 in 1 such row; expected 0 or 1" in flag
    assert "1 row with a hadm_id that is not in admissions, the first '999'" in unit


@needs_files
@pytest.mark.parametrize(("table", "measured"), [("D_ITEMS", VITALS), ("D_LABITEMS", LABS)])
def test_items_are_what_the_source_calls_them(table: str, measured: Mapping[str, Measured]) -> None:
    known = pd.read_csv(Path(str(ROOT)) / FOLDER / f"{table}.csv.gz").set_index("itemid")
    for each in measured.values():
        for item, label in each.items.items():
            assert known.loc[item, "label"] == label
        if table == "D_LABITEMS":
            assert set(known.loc[list(each.items), "fluid"]) == {"Blood"}


@needs_files
@pytest.mark.parametrize(
    ("table", "column", "items"),
    [
        ("CHARTEVENTS", "heart_rate", (211, 220045)),
        ("CHARTEVENTS", "spo2", (646, 220277)),
        ("LABEVENTS", "creatinine", (50912,)),
        ("LABEVENTS", "ph", (50820,)),
    ],
)
def test_values_are_those_of_another_reading(
    demo: Cohort, table: str, column: str, items: tuple[int, ...]
) -> None:
    """All stays, read by pandas alone."""
    folder, described = Path(str(ROOT)) / FOLDER, demo.schema.visits[column]
    times = ["admittime", "dischtime", "deathtime"]
    stays = pd.read_csv(folder / "ADMISSIONS.csv.gz", parse_dates=times, dtype={"hadm_id": str})
    stays["ended"] = stays["deathtime"].fillna(stays["dischtime"])
    wanted = ["hadm_id", "itemid", "charttime", "valuenum", "error"]
    rows = pd.read_csv(
        folder / f"{table}.csv.gz", usecols=lambda name: name in wanted,
        parse_dates=["charttime"], dtype={"hadm_id": str},
    )  # fmt: skip
    if "error" in rows:
        rows = rows[rows["error"] != 1]
    rows = rows[rows["itemid"].isin(items)].merge(stays, on="hadm_id")
    rows = rows[rows["valuenum"].between(described.low, described.high)]
    rows["second"] = (rows["charttime"] - rows["admittime"]).dt.total_seconds()
    rows["end"] = (rows["ended"] - rows["admittime"]).dt.total_seconds()
    rows = rows[(rows["second"] > -86_400) & (rows["second"] <= rows["end"])]
    rows["hour"] = np.ceil(rows["second"] / 3_600)
    rows["rank"] = rows["itemid"].map(items.index)
    rows = rows.sort_values(["hadm_id", "second", "rank", "valuenum"])
    last = rows.groupby(["hadm_id", "hour"]).last().reset_index()
    mine = demo.visits.dropna(subset=column)
    assert len(mine) > 1_000
    assert mine["patient"].tolist() == last["hadm_id"].tolist()
    day = np.minimum(last["hour"] * 3_600, last["end"]) / 86_400
    np.testing.assert_allclose(mine["day"], day, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(mine[column], last["valuenum"])
