"""The event tables of eICU, made up with all columns that the real ones have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.data import Cohort, DataStore
from fedbench.datasets import _eicu_visits, _reading
from fedbench.datasets._eicu_columns import CUFF, LABS, MONITOR, SCORED
from fedbench.datasets.eicu import Eicu
from fedbench.errors import DataError

HEADERS = {
    "patient": """patientunitstayid patienthealthsystemstayid gender age ethnicity hospitalid wardid
        apacheadmissiondx admissionheight hospitaladmittime24 hospitaladmitoffset
        hospitaladmitsource hospitaldischargeyear hospitaldischargetime24 hospitaldischargeoffset
        hospitaldischargelocation hospitaldischargestatus unittype unitadmittime24 unitadmitsource
        unitvisitnumber unitstaytype admissionweight dischargeweight unitdischargetime24
        unitdischargeoffset unitdischargelocation unitdischargestatus uniquepid""",
    "hospital": "hospitalid numbedscategory teachingstatus region",
    "apacheApsVar": "apacheapsvarid patientunitstayid dialysis ph pao2 pco2 fio2 meds "
    + " ".join(SCORED),
    "diagnosis": """diagnosisid patientunitstayid activeupondischarge diagnosisoffset
        diagnosisstring icd9code diagnosispriority""",
    "vitalPeriodic": """vitalperiodicid patientunitstayid observationoffset temperature sao2
        heartrate respiration cvp etco2 systemicsystolic systemicdiastolic systemicmean pasystolic
        padiastolic pamean st1 st2 st3 icp""",
    "vitalAperiodic": """vitalaperiodicid patientunitstayid observationoffset noninvasivesystolic
        noninvasivediastolic noninvasivemean paop cardiacoutput cardiacinput svr svri pvr pvri""",
    "lab": """labid patientunitstayid labresultoffset labtypeid labname labresult labresulttext
        labmeasurenamesystem labmeasurenameinterface labresultrevisedoffset""",
}
"""As in the files of version 2.0."""

STAYS = ("141764", "141765", "999999")
NAMES = ("sodium", "magnesium", "glucose", "a test of somebody else")
UNITS = {"sodium": "mmol/L", "magnesium": "mg/dL", "glucose": "mg/dL"}


def made_up(seed: int, rows: int = 400) -> dict[str, pd.DataFrame]:
    """Return stays with values at any minute of three weeks, believable or not."""
    rng = np.random.default_rng(seed)
    stays: dict[str, Any] = {
        "patientunitstayid": STAYS[:2], "patienthealthsystemstayid": ["5", "40"],
        "uniquepid": ["002-1", "002-1"], "hospitalid": ["73", "73"], "age": ["> 89", "52"],
        "hospitaldischargeyear": [2014, 2014], "unitvisitnumber": [1, 1],
        "hospitaldischargeoffset": [30_000, 30_000], "unitdischargeoffset": [25_000, 9_000],
        "hospitaldischargestatus": ["Alive", "Expired"], "hospitaldischargelocation": "Death",
    }  # fmt: skip

    def when(offset: str) -> dict[str, Any]:
        minutes = rng.integers(-2_000, 12_000, rows).astype(float)
        return {
            "patientunitstayid": rng.choice(STAYS, rows),
            offset: np.where(rng.random(rows) < 0.02, np.nan, minutes),
        }

    def values(columns: Any) -> dict[str, Any]:
        return {
            name: np.where(rng.random(rows) < 0.4, np.nan, rng.uniform(-50, 400, rows).round(1))
            for name in columns
        }

    name = rng.choice(NAMES, rows)
    lab: dict[str, Any] = {
        "labname": name, "labresult": np.exp(rng.uniform(0, 6, rows)).round(1),
        "labmeasurenamesystem": [UNITS.get(each) for each in name],
        "labmeasurenameinterface": rng.choice(["meq/L", "MG/DL", ""], rows),
    }  # fmt: skip
    found: dict[str, dict[str, Any]] = {
        "patient": stays,
        "hospital": {"hospitalid": ["73"], "region": ["Midwest"], "teachingstatus": "t"},
        "apacheApsVar": {"patientunitstayid": STAYS[:1], "eyes": 4, "motor": -1},
        "diagnosis": {"patientunitstayid": STAYS[:1], "diagnosisoffset": 7, "icd9code": "584.9"},
        "vitalPeriodic": {**when("observationoffset"), **values(MONITOR)},
        "vitalAperiodic": {**when("observationoffset"), **values(CUFF)},
        "lab": {**when("labresultoffset"), **lab},
    }
    return {
        name: pd.DataFrame(columns).reindex(columns=HEADERS[name].split())
        for name, columns in found.items()
    }


def load(folder: Path, tables: dict[str, pd.DataFrame], **settings: Any) -> Cohort:
    home = folder / "eicu"
    home.mkdir(exist_ok=True)
    for name, table in tables.items():
        table.to_csv(home / f"{name}.csv", index=False)
    return Eicu(**settings).load(DataStore(folder))


def expected(tables: dict[str, pd.DataFrame], hours: int = 1) -> pd.DataFrame:
    """Do the same again, slowly: sort, and take the last of every hour."""
    lab = tables["lab"]
    magnesium = lab["labname"].eq("magnesium") & lab["labmeasurenameinterface"].eq("meq/L")
    glucose = lab["labname"].eq("glucose") & lab["labmeasurenameinterface"].eq("meq/L")
    sodium = lab["labname"].eq("sodium") & lab["labmeasurenameinterface"].eq("MG/DL")
    lab = lab[~magnesium & ~glucose & ~sodium].rename(
        columns={"labname": "name", "labresult": "value"}
    )
    long = [lab.rename(columns={"labresultoffset": "minute"})]
    for name, columns in (("vitalPeriodic", MONITOR), ("vitalAperiodic", CUFF)):
        keys = ["patientunitstayid", "observationoffset"]
        melted = tables[name].melt(id_vars=keys, value_vars=list(columns), var_name="name")
        long.append(melted.rename(columns={"observationoffset": "minute"}))
    rows = pd.concat(long)[["patientunitstayid", "minute", "name", "value"]].dropna()
    known = {**CUFF, **MONITOR, **LABS}
    bounds = {name: (column.low, column.high) for name, column in known.items()}
    rows = rows[rows["name"].isin(known) & rows["patientunitstayid"].isin(STAYS[:2])]
    low = rows["name"].map(lambda name: bounds[name][0])
    high = rows["name"].map(lambda name: bounds[name][1])
    rows = rows[rows["value"].between(low, high) & rows["minute"].between(-1_439, 10_080)]
    rows["hour"] = -(-rows["minute"] // (60 * hours))
    keys = ["patientunitstayid", "hour"]
    last = rows.sort_values(["minute", "value"]).drop_duplicates([*keys, "name"], keep="last")
    wide = last.pivot_table(index=keys, columns="name", values="value")
    minute = rows.groupby(keys)["minute"].max()
    wide = wide.assign(day=minute / 1_440).reset_index().drop(columns="hour")
    wide = wide.rename(columns={"patientunitstayid": "patient"}).rename_axis(columns=None)
    return wide.reindex(columns=["patient", "day", *known]).astype(dict.fromkeys(known, float))


@pytest.mark.parametrize("hours", [1, 4])
def test_of_every_hour_the_last_believable_value_is_kept(tmp_path: Path, hours: int) -> None:
    tables = made_up(0)
    found = load(tmp_path, tables, hours=hours)
    pd.testing.assert_frame_equal(found.visits, expected(tables, hours), check_exact=True)
    assert found.visits["magnesium"].notna().any()


@given(seed=st.integers(0, 100), waiting=st.sampled_from([1, 50, 1 << 20]))
@settings(max_examples=10, deadline=None)
def test_blocks_and_the_order_of_rows_make_no_difference(
    tmp_path_factory: pytest.TempPathFactory, seed: int, waiting: int
) -> None:
    folder, tables = tmp_path_factory.mktemp("eicu"), made_up(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_eicu_visits, "WAITING", waiting)
        patch.setattr(_reading, "BLOCK", 4_000)  # bytes
        mixed = {name: table.sample(frac=1, random_state=seed) for name, table in tables.items()}
        found = load(folder, mixed)
    pd.testing.assert_frame_equal(found.visits, expected(tables), check_exact=True)


@pytest.mark.parametrize("hours", [1, 24])
def test_rows_after_the_day_of_a_prediction_change_nothing_before(
    tmp_path: Path, hours: int
) -> None:
    tables = made_up(3, rows=4_000)  # somebody is measured in every hour, at minute 1,440 too
    for name in ("vitalPeriodic", "vitalAperiodic"):
        tables[name].loc[:20, "observationoffset"] = 1_440
    whole = load(tmp_path, tables, hours=hours).visits
    cut = {}
    for name, table in tables.items():
        offset = next((c for c in ("observationoffset", "labresultoffset") if c in table), None)
        cut[name] = table[~(table[offset] > 1_440)] if offset else table
    early = load(tmp_path, cut, hours=hours).visits
    assert (early["day"] == 1).any()
    before = whole[whole["day"] <= 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(before, early, check_exact=True)


def test_a_coarser_grid_ends_every_window_alike(tmp_path: Path) -> None:
    tables = made_up(1)
    fine, coarse = load(tmp_path, tables), load(tmp_path, tables, hours=12)
    assert len(coarse.visits) < len(fine.visits)
    pd.testing.assert_frame_equal(coarse.table, fine.table, check_exact=True)


def test_what_is_said_twice_counts_once(tmp_path: Path) -> None:
    once, twice = made_up(2), made_up(2)
    twice = {name: pd.concat([table, table]) for name, table in twice.items()}
    found = load(tmp_path, twice)
    assert [note.split(" too many")[0].rpartition("/")[2] for note in found.notes] == [
        "patient.csv: 2 rows", "hospital.csv: 1 row", "apacheApsVar.csv: 1 row",
    ]  # fmt: skip
    found_once = load(tmp_path, once)
    assert found.fingerprint == found_once.fingerprint
    assert not found_once.notes


def test_stays_of_one_person_are_kept_together_in_order(tmp_path: Path) -> None:
    found = load(tmp_path, made_up(0))
    assert set(found.clusters) == {"002-1"}


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("apacheApsVar", {"eyes": 1}, "patientunitstayid '141764' is there more than once"),
        ("hospital", {"region": "West"}, "hospitalid '73' is there more than once"),
        ("patient", {"age": "70"}, "patientunitstayid '141764' is there more than once"),
    ],
)
def test_what_contradicts_itself_is_named(
    tmp_path: Path, name: str, change: dict[str, Any], said: str
) -> None:
    tables = made_up(0)
    other = tables[name].iloc[:1].assign(**change)
    with pytest.raises(DataError, match=rf"{name}\.csv: {said}"):
        load(tmp_path, {**tables, name: pd.concat([tables[name], other])})


@pytest.mark.parametrize("name", ["apacheApsVar", "diagnosis", "vitalPeriodic", "lab"])
def test_tables_of_another_release_are_named(tmp_path: Path, name: str) -> None:
    tables = made_up(0)
    tables[name]["patientunitstayid"] = "141764.0"
    with pytest.raises(DataError, match=rf"{name}\.csv: .*'141764\.0'\. Take both from the same"):
        load(tmp_path, tables)


def test_times_that_are_no_minutes_are_named(tmp_path: Path) -> None:
    tables = made_up(0)
    tables["vitalAperiodic"]["observationoffset"] *= 60
    with pytest.raises(DataError, match=r"vitalAperiodic\.csv: .* expected observationoffset in m"):
        load(tmp_path, tables)


def test_a_hospital_that_nobody_was_in_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nobody was in the hospital '7'"):
        load(tmp_path, made_up(0), hospitals=("73", "7"))


def test_a_cut_off_table_is_named(tmp_path: Path) -> None:
    tables = made_up(0)
    load(tmp_path, tables)
    path = tmp_path / "eicu" / "vitalPeriodic.csv"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"vitalPeriodic\.csv: .*Compare the file with its source"):
        Eicu().load(DataStore(tmp_path))
