"""The tables that come with fedbench: what is in them, and what is not."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

import fedbench.datasets
from fedbench.data import TABLES, Cohort, Dataset, DataStore, Task, cohort_from_table
from fedbench.datasets.nafld import Nafld
from fedbench.datasets.opt import Opt
from fedbench.datasets.pbcseq import Pbcseq
from fedbench.task import problem

FOLDER = Path(next(iter(fedbench.datasets.__path__))) / "tables"
EMBEDDED: tuple[Dataset, ...] = (Opt(), Nafld(), Pbcseq())
NAMES = [dataset.schema.name for dataset in EMBEDDED]


@cache
def load(dataset: Dataset) -> Cohort:
    return dataset.load(DataStore())


@pytest.mark.parametrize("dataset", EMBEDDED, ids=NAMES)
class TestEveryTable:
    def test_reads_the_same_as_a_patient_table_and_back(self, dataset: Dataset) -> None:
        cohort = load(dataset)
        again = cohort_from_table(cohort.schema, cohort.table)
        pd.testing.assert_frame_equal(again.table, cohort.table)

    def test_is_described(self, dataset: Dataset) -> None:
        schema = dataset.schema
        assert dataset.embedded
        assert dataset.licence
        assert dataset.citation
        for name, column in {**schema.static, **schema.visits}.items():
            assert column.label, name
        for vocabulary in schema.vocabularies.values():
            assert all(vocabulary.codes.values())

    def test_has_a_notice_and_is_small(self, dataset: Dataset) -> None:
        folder = FOLDER / dataset.schema.name
        notice = (folder / "NOTICE.md").read_text()
        assert all(word in notice for word in ("Origin", "Licence", "sha256", "What was changed"))
        assert sum(file.stat().st_size for file in folder.iterdir()) < 1_500_000

    def test_uses_every_column_and_code_that_it_describes(self, dataset: Dataset) -> None:
        cohort = load(dataset)
        assert not cohort.table.isna().all().any()
        for system, vocabulary in cohort.schema.vocabularies.items():
            seen = set(cohort.codes.loc[cohort.codes["system"] == system, "code"])
            assert seen == set(vocabulary.codes)

    def test_nothing_is_dated_after_the_end(self, dataset: Dataset) -> None:
        cohort = load(dataset)
        end = cohort.outcome.set_index("patient")["time"]
        for name in ("visits", "codes"):
            table = getattr(cohort, name)
            assert (table["day"] <= table["patient"].map(end)).all()

    def test_every_dated_row_lies_in_a_window(self, dataset: Dataset) -> None:
        cohort = load(dataset)
        for name in ("visits", "codes"):
            days = getattr(cohort, name)["day"]
            windows = cohort.schema.windows
            assert sum(((days > w.start) & (days <= w.end)).sum() for w in windows) == len(days)

    def test_has_enough_to_foresee(self, dataset: Dataset) -> None:
        cohort = load(dataset)
        for task in cohort.schema.tasks.values():
            asked = problem(cohort, task)
            assert asked.event.sum() >= 80
            assert not asked.predictors.isna().all().any()


def _rows(cohort: Cohort) -> dict[str, int]:
    return {name: len(getattr(cohort, name)) for name in TABLES}


def test_opt_in_numbers() -> None:
    cohort = load(Opt())
    assert _rows(cohort) == {"static": 823, "visits": 2_166, "codes": 0, "outcome": 823}
    assert cohort.event.sum() == 101
    sites = pd.Series(cohort.sites).value_counts().to_dict()
    assert sites == {"MN": 247, "KY": 211, "MS": 192, "NY": 173}
    asked = problem(cohort, cohort.schema.tasks["preterm"])
    assert (len(asked.event), asked.event.sum()) == (794, 83)


def test_the_fifth_visit_of_opt_foresees_nothing() -> None:
    cohort = load(Opt())
    task = cohort.schema.tasks["preterm"]
    early = cohort.visits["day"] <= 174
    assert (~early).sum() == 658
    changed = cohort.visits.copy()
    changed.loc[~early, "plaque"] = 3.0
    tables = {"kept": cohort.visits, "changed": changed, "deleted": cohort.visits[early]}
    asked = [
        problem(Cohort.of_tables(cohort.schema, cohort.static, visits, None, cohort.outcome), task)
        for visits in tables.values()
    ]
    for other in asked[1:]:
        pd.testing.assert_frame_equal(asked[0].predictors, other.predictors, check_exact=True)


def test_everyone_in_the_task_of_opt_could_have_had_the_third_visit() -> None:
    cohort = load(Opt())
    task = cohort.schema.tasks["preterm"]
    assert max(window.end for window in cohort.schema.windows if window.name == "V3") == task.index


def test_opt_keeps_nothing_that_was_known_later() -> None:
    late = ("apgar", "birthweight", "eclamp", "gestational", "sae", "visits", "dna", "count")
    names = [*Opt().schema.static, *Opt().schema.visits]
    assert not [name for name in names if any(word in name for word in late)]


def test_nafld_in_numbers() -> None:
    cohort = load(Nafld())
    rows = {"static": 17_549, "visits": 198_439, "codes": 34_327, "outcome": 17_549}
    assert _rows(cohort) == rows
    assert cohort.event.sum() == 1_364
    measured = cohort.visits[list(cohort.schema.visits)].notna().sum()
    assert measured.to_dict() == {"hdl": 159_645, "sbp": 33_204, "fib4": 3_688, "smoker": 6_899}
    assert cohort.visits["patient"].nunique() == 15_666
    assert not cohort.visits.duplicated(["patient", "day"]).any()
    sets = pd.Series(cohort.clusters)
    assert sets.nunique() == 3_884
    assert sets.str.startswith("alone-").sum() == 31


def test_every_case_of_nafld_has_the_disease_on_the_index_day() -> None:
    cohort = load(Nafld())
    disease = cohort.codes[cohort.codes["code"] == "nafld"].set_index("patient")["day"]
    cases = cohort.patients[cohort.patients == cohort.clusters]
    assert len(cases) == 3_514
    assert (disease[list(cases)] == 0).all()
    assert len(disease) - len(cases) == 350 - 13


def test_pbcseq_in_numbers() -> None:
    cohort = load(Pbcseq())
    assert _rows(cohort) == {"static": 312, "visits": 1_945, "codes": 0, "outcome": 312}
    assert cohort.event.sum() == 140
    treated = cohort.static["treatment"].value_counts().to_dict()
    assert treated == {"D-penicillamine": 158, "placebo": 154}


# As well foreseen as elsewhere


def test_death_in_pbcseq_is_foreseen_as_well_as_elsewhere() -> None:
    from lifelines import CoxPHFitter
    from lifelines.utils import concordance_index

    cohort = load(Pbcseq())
    asked = problem(cohort, cohort.schema.tasks["death"])
    found = asked.predictors.astype(float)
    wide = found.columns[(found.min() > 0) & (found.max() > 50 * found.min())]
    found[wide] = np.log(found[wide])
    found = found.fillna(found.median()).loc[:, lambda table: table.std() > 0]
    found = (found - found.mean()) / found.std()
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    risk = np.zeros(len(asked))
    for train, test in folds.split(found, asked.event):
        known = found.iloc[train].assign(T=asked.time[train], E=asked.event[train])
        cox = CoxPHFitter(penalizer=0.05).fit(known, "T", "E")
        risk[test] = cox.predict_log_partial_hazard(found.iloc[test])
    # .827 elsewhere, by Cox regression on the first visit.
    assert concordance_index(asked.time, -risk, asked.event) == pytest.approx(0.827, abs=0.02)


def test_death_in_nafld_is_foreseen_as_well_as_elsewhere() -> None:
    cohort = load(Nafld())
    five_years = Task(kind="classification", label="death in 5 years", index=0, horizon=1_826)
    asked = problem(cohort, five_years)
    model = HistGradientBoostingClassifier(learning_rate=0.05, max_iter=80, random_state=0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    how = "predict_proba"
    scores = cross_val_predict(model, asked.predictors, asked.event, cv=folds, method=how)[:, 1]
    # .865 (logistic regression) and .880 (boosted trees) elsewhere.
    assert roc_auc_score(asked.event, scores) == pytest.approx(0.875, abs=0.025)
