"""Stays of people with diabetes."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from fedbench.data import Cohort, DataStore
from fedbench.datasets.diabetes130 import DRUGS, Diabetes130
from fedbench.download import due
from fedbench.errors import DataError
from fedbench.rules import kept
from fedbench.task import problem

ROOT = os.environ.get("FEDBENCH_DATA")
needs_files = pytest.mark.skipif(
    not ROOT or not (Path(ROOT) / "uci_diabetes130").is_dir(),
    reason="needs the folder uci_diabetes130 in FEDBENCH_DATA",
)

USUAL = {
    **dict.fromkeys(Diabetes130.tables["diabetic_data"], "1"),
    **dict.fromkeys(DRUGS, "No"),
    "race": "?", "gender": "Male", "age": "[70-80)", "weight": "?", "payer_code": "MC",
    "admission_source_id": "7", "medical_specialty": "?", "max_glu_serum": "None",
    "A1Cresult": ">8", "change": "No", "diabetesMed": "Yes", "diag_1": "250.83", "diag_2": "?",
    "diag_3": "?", "readmitted": "NO",
}  # fmt: skip


def put(folder: Path, *stays: dict[str, str]) -> DataStore:
    table = pd.DataFrame([{**USUAL, **stay} for stay in stays]).assign(examide="No")
    (folder / "uci_diabetes130").mkdir()
    with zipfile.ZipFile(folder / "uci_diabetes130" / "dataset_diabetes.zip", "w") as packed:
        packed.writestr("dataset_diabetes/diabetic_data.csv", table.to_csv(index=False))
    return DataStore(folder)


STAYS = (
    {"encounter_id": "20", "patient_nbr": "7", "readmitted": "<30", "admission_source_id": "1"},
    {"encounter_id": "9", "patient_nbr": "7", "gender": "Unknown/Invalid", "readmitted": ">30",
     "admission_source_id": "4", "medical_specialty": "Hospitalist"},
    {"encounter_id": "30", "patient_nbr": "8", "discharge_disposition_id": "11",
     "admission_source_id": "17", "diag_2": "E950.3", "diag_3": "250.01"},
    {"encounter_id": "31", "patient_nbr": "9", "discharge_disposition_id": "13",
     "readmitted": "<30", "diag_1": "V27", "diag_2": "QQ", "diag_3": "38"},
    {"encounter_id": "40", "patient_nbr": "8", "admission_source_id": "7"},
)  # fmt: skip


def test_every_cell_is_where_it_belongs(tmp_path: Path) -> None:
    found = Diabetes130().load(put(tmp_path, *STAYS))
    static = found.static.set_index("patient")
    assert list(static.loc["20", ["person", "sex", "age", "payer_code", "A1Cresult"]]) == [
        "7", "Male", "[70-80)", "MC", ">8",
    ]  # fmt: skip
    assert static.loc["20", ["race", "weight", "max_glu_serum"]].isna().all()
    assert static["sex"].isna().to_dict()["9"]
    assert static.loc["9", "medical_specialty"] == "(other)"
    assert static["discharge"].to_dict() == {
        "20": "home", "30": "died", "31": "hospice", "40": "home", "9": "home",
    }  # fmt: skip
    # A person lives where her first stay was, that with the lowest number, known or not.
    assert static["place"].to_dict() == {
        "20": "transfer", "9": "transfer", "30": "unknown", "31": "emergency room",
        "40": "unknown",
    }  # fmt: skip
    ended = found.outcome.set_index("patient")
    assert ended["time"].to_dict() == {"20": 30, "30": 0, "31": 0, "40": 30, "9": 30}
    assert ended["event"].to_dict() == {"20": 1, "30": 0, "31": 0, "40": 0, "9": 0}
    asked = problem(found, found.schema.tasks["readmission"])
    assert dict(zip(asked.patients, asked.event, strict=True)) == {
        "20": True,
        "40": False,
        "9": False,
    }
    codes = found.codes.groupby("patient")["code"].agg(set).to_dict()
    assert codes == {
        "20": {"250"},
        "9": {"250"},
        "30": {"250", "E950"},
        "31": {"V27", "(other)", "038"},
        "40": {"250"},
    }


def test_sites_are_what_is_asked_for(tmp_path: Path) -> None:
    found = Diabetes130(site="medical_specialty").load(put(tmp_path, *STAYS))
    assert found.static.set_index("patient")["place"].to_dict() == {
        "20": "(other)", "9": "(other)", "30": "unknown", "31": "unknown",
        "40": "unknown",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"num_medications": "500"}, r"static .*num_medications.* is 500"),
        ({"num_medications": "many"}, r"diabetic_data\.csv: .*'many'"),
        ({"race": "Martian"}, "'race' is 'Martian'"),
        ({"insulin": "None"}, "'insulin' is 'None'"),
        ({"readmitted": "<60"}, "'readmitted' is '<60'; expected NO, <30, >30"),
        ({"readmitted": "?"}, "'readmitted' is None"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[str, str], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        Diabetes130().load(put(tmp_path, {**STAYS[0], **change}))


def test_what_is_dated_later_moves_no_predictor(tmp_path: Path) -> None:
    found = Diabetes130().load(put(tmp_path, *STAYS))
    later = found.codes.assign(day=1.0, code="428")
    codes = pd.concat([found.codes, later], ignore_index=True)
    other = Cohort.of_tables(
        found.schema, found.static, codes=codes, outcome=found.outcome.assign(event=1)
    )
    task = found.schema.tasks["readmission"]
    pd.testing.assert_frame_equal(
        problem(found, task).predictors, problem(other, task).predictors, check_exact=True
    )


@pytest.fixture(scope="module")
def stays() -> Cohort:
    return Diabetes130().load(DataStore(Path(str(ROOT))))


@needs_files
def test_the_file_is_the_one_that_would_be_fetched() -> None:
    assert due(Diabetes130.downloads, DataStore(Path(str(ROOT)))) == []


@needs_files
def test_the_counts_are_those_of_the_publisher(stays: Cohort) -> None:
    assert len(stays) == 101_766
    assert len(set(stays.clusters)) == 71_518
    # 11,357 came back within 30 days, 43 of them from a hospice, and 11 who had not left.
    assert stays.event.sum() == 11_357 - 43 - 11
    assert stays.static["weight"].isna().sum() == 98_569
    assert len(stays.codes) == 297_221
    assert (stays.codes["code"] == "(other)").mean() < 1e-3
    homes = pd.Series(stays.sites).groupby(stays.clusters).nunique()
    assert (homes == 1).all()
    assert len(problem(stays, stays.schema.tasks["readmission"])) == 101_766 - 1_652 - 771 - 24
    for rule in stays.schema.rules:
        found = kept(stays, rule)
        assert found.broken.sum() < 0.02 * found.asked.sum()


@pytest.mark.slow
@needs_files
def test_readmission_is_foreseen_as_well_as_elsewhere(stays: Cohort) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    asked = problem(stays, stays.schema.tasks["readmission"])
    person = pd.Series(stays.clusters, index=stays.patients)[pd.Index(asked.patients)]
    test = (pd.util.hash_pandas_object(person, index=False) % 5 == 0).to_numpy()
    model = HistGradientBoostingClassifier(max_iter=100, random_state=0)
    model.fit(asked.predictors[~test], asked.event[~test])
    scores = model.predict_proba(asked.predictors[test])[:, 1]
    # Elsewhere .667 (XGBoost), and .674 by boosted trees with persons kept together.
    assert roc_auc_score(asked.event[test], scores) == pytest.approx(0.674, abs=0.015)
