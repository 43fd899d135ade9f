"""Four hospitals from files that the user puts in place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from fedbench.data import Cohort, DataStore
from fedbench.datasets.heart4 import FIELDS, HOSPITALS, Heart4
from fedbench.errors import DataError
from fedbench.task import problem

LINE = "63.0,1.0,1.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,0.0,6.0,0\n"
GAPS = "41,0,4,0,0,?,?,?,?,?,?,?,?,3\n"


@pytest.fixture
def store(tmp_path: Path) -> DataStore:
    folder = tmp_path / "uci_heart_disease"
    folder.mkdir()
    for hospital in HOSPITALS:
        (folder / f"processed.{hospital}.data").write_text(LINE + GAPS)
    return DataStore(tmp_path)


@pytest.fixture(scope="module")
def real() -> Cohort:
    store = DataStore.default()
    try:
        store.folder("uci_heart_disease")
    except DataError as reason:
        pytest.skip(str(reason))
    return Heart4().load(store)


def test_lines_become_patients(store: DataStore) -> None:
    cohort = Heart4().load(store)
    assert len(cohort) == 8
    row = cohort.table.loc["va-001"]
    assert (row["age"], row["sex"], row["chest_pain"]) == (63, "male", "typical angina")
    assert (row["st_slope"], row["thallium"], row["event"]) == ("down", "fixed defect", "no")
    gaps = cohort.table.loc["va-002"]
    known = {"age", "sex", "chest_pain", "event", "time"}
    assert set(gaps.dropna().index) == known
    assert gaps["event"] == "yes"


def test_a_missing_file_is_named(store: DataStore) -> None:
    assert store.root is not None
    (store.root / "uci_heart_disease" / "processed.va.data").unlink()
    with pytest.raises(DataError, match=r"There is no processed.va.data in .* Put the four"):
        Heart4().load(store)
    shutil.rmtree(store.root / "uci_heart_disease")
    with pytest.raises(DataError, match="There is no folder 'uci_heart_disease'"):
        Heart4().load(store)


@pytest.mark.parametrize("line", ["<html>not found</html>\n", "63,1,1,145\n"])
def test_a_file_that_holds_something_else_is_refused(store: DataStore, line: str) -> None:
    assert store.root is not None
    (store.root / "uci_heart_disease" / "processed.va.data").write_text(line)
    with pytest.raises(DataError, match=r"processed\.va\.data line 1: there are"):
        Heart4().load(store)


def test_the_real_files(real: Cohort) -> None:
    sizes = pd.Series(real.sites).value_counts().to_dict()
    assert sizes == {"cleveland": 303, "hungarian": 294, "va": 200, "switzerland": 123}
    assert real.event.sum() == 509
    swiss = real.static[real.static["hospital"] == "switzerland"]
    assert swiss["cholesterol"].isna().all()
    asked = problem(real, real.schema.tasks["disease"])
    assert (len(asked.event), asked.event.sum()) == (920, 509)


def test_complete_cases_are_those_of_flamby(real: Cohort) -> None:
    """https://github.com/owkin/FLamby: 740 patients, complete but for three columns."""
    complete = {}
    folder = DataStore.default().folder("uci_heart_disease")
    for hospital in HOSPITALS:
        raw = pd.read_csv(
            folder / f"processed.{hospital}.data", header=None, names=FIELDS, na_values="?"
        )
        complete[hospital] = len(raw.drop(columns=["st_slope", "vessels", "thallium"]).dropna())
        # What is missing there is missing here, and a cholesterol or pressure of 0 as well.
        raw[["cholesterol", "resting_bp"]] = raw[["cholesterol", "resting_bp"]].replace(0, None)
        mine = real.static[real.static["hospital"] == hospital]
        assert mine[raw.columns[:-1]].isna().sum().equals(raw[raw.columns[:-1]].isna().sum())
    assert complete == {"cleveland": 303, "hungarian": 261, "switzerland": 46, "va": 130}
    assert sum(complete.values()) == 740


def test_disease_is_found_as_well_as_elsewhere(real: Cohort) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    asked = problem(real, real.schema.tasks["disease"])
    model = HistGradientBoostingClassifier(learning_rate=0.05, max_iter=80, random_state=0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    how = "predict_proba"
    scores = cross_val_predict(model, asked.predictors, asked.event, cv=folds, method=how)[:, 1]
    # .884 elsewhere, by boosted trees on all four hospitals.
    assert roc_auc_score(asked.event, scores) == pytest.approx(0.884, abs=0.02)
