"""Every dataset says what is foreseen from when, and nothing that is dated later helps."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Cohort, DataStore, Task
from fedbench.kinds import DATASETS
from fedbench.task import problem, utilization

ROOT = os.environ.get("FEDBENCH_DATA")
FOLDERS = {
    "opt": "", "nafld": "", "pbcseq": "", "simulated": "", "heart4": "uci_heart_disease",
    "eicu_demo": "eicu_demo", "mimic4": "mimic4_demo_partial",
}  # fmt: skip
"""The folder, of what does not come with the package; the others are looked at in their files."""
MOST = 200
"""Patients that are looked at."""


@pytest.mark.parametrize("name", sorted({*DATASETS.names()} - {"table"}))
def test_index_and_horizon_are_declared(name: str) -> None:
    schema = DATASETS.build(name).schema
    assert schema.tasks
    for task in schema.tasks.values():
        assert math.isfinite(task.index)
        assert task.horizon > task.index
        if task.column:
            assert task.index < schema.static[task.column].known < math.inf
        if task.kind == "classification" and not (task.column or task.codes):
            assert math.isfinite(task.horizon)


def _loaded(name: str) -> Cohort:
    if FOLDERS[name] and not (ROOT and (Path(ROOT) / FOLDERS[name]).is_dir()):
        pytest.skip(f"needs the folder {FOLDERS[name]} in FEDBENCH_DATA")
    cohort = DATASETS.build(name).load(DataStore(Path(ROOT) if ROOT else None))
    return cohort.take(cohort.patients[:MOST])


@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_dated_later_moves_no_predictor(name: str) -> None:
    cohort = _loaded(name)
    assert cohort.schema.tasks
    for task in cohort.schema.tasks.values():
        for other in (_changed(cohort, task), _cut(cohort, task)):
            for look in (problem, utilization):
                before, after = look(cohort, task).predictors, look(other, task).predictors
                both = before.index.intersection(after.index)
                assert len(both) >= 0.5 * max(len(before), len(after))
                pd.testing.assert_frame_equal(before.loc[both], after.loc[both], check_exact=True)


def _changed(cohort: Cohort, task: Task) -> Cohort:
    """Return the cohort with other facts, visits and diagnoses after the index time, and more."""
    schema, rng = cohort.schema, np.random.default_rng(0)
    static, visits, codes = cohort.static.copy(), cohort.visits.copy(), cohort.codes
    for column, about in schema.static.items():
        if about.known > task.index:
            static[column] = static[column].to_numpy()[rng.permutation(len(static))]
    if schema.visits:
        later = visits["day"] > task.index
        for column in schema.visits:
            mine = visits.loc[later, column].to_numpy()
            visits.loc[later, column] = mine[rng.permutation(len(mine))]
        more = visits[["patient"]].drop_duplicates().assign(day=task.index + 0.017)
        first = visits[list(schema.visits)].bfill().iloc[[0] * len(more)].set_axis(more.index)
        visits = pd.concat([visits, more.join(first)])
    if schema.vocabularies:
        system, book = next(iter(schema.vocabularies.items()))
        new = pd.DataFrame({"patient": cohort.patients}).assign(
            day=task.index + 0.017, system=system, code=next(iter(book.codes))
        )
        codes = pd.concat([codes, new])
    return _of(cohort, static, visits, codes)


def _cut(cohort: Cohort, task: Task) -> Cohort:
    """Return the cohort without anything after the index time but the outcome."""

    def early(table: pd.DataFrame) -> pd.DataFrame:
        return table[table["day"] <= task.index] if "day" in table else table

    return _of(cohort, cohort.static, early(cohort.visits), early(cohort.codes))


def _of(cohort: Cohort, static: pd.DataFrame, visits: pd.DataFrame, codes: pd.DataFrame) -> Cohort:
    schema = cohort.schema
    return Cohort.of_tables(
        schema,
        static,
        visits if schema.visits else None,
        codes if schema.vocabularies else None,
        cohort.outcome if schema.outcome else None,
    )
