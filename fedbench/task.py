"""What may be known at the index time, and what was asked to be foreseen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.data import Cohort, Task
from fedbench.summary import last_values

__all__ = ["Problem", "problem", "utilization"]


@dataclass(frozen=True)
class Problem:
    """Predictors and outcome of the patients who can take part in a task.

    ``predictors`` has one row per patient (index: patient), numbers with NaN for missing and
    one 0/1 column per category level. ``time`` counts from the index time.
    """

    patients: NDArray[np.object_]
    predictors: pd.DataFrame
    time: NDArray[np.float64]
    event: NDArray[np.bool_]


def problem(cohort: Cohort, task: Task) -> Problem:
    """Return what a model may use at the index time, and what happened afterwards.

    Only static facts and what is dated at or before ``task.index`` become predictors, in real
    and synthetic records alike; anything dated later can be changed, added or deleted without
    moving a bit. Patients whose event or censoring lies at or before the index time are left
    out; for classification also those censored before the horizon.
    """
    within, time, event = _outcome(cohort, task)
    found = _predictors(cohort, task)[within]
    return Problem(cohort.patients[within], found, time[within], event[within])


def utilization(cohort: Cohort, task: Task) -> Problem:
    """Return the same task with nothing but counts and dates up to the index time."""
    within, time, event = _outcome(cohort, task)
    found = pd.DataFrame(index=pd.Index(cohort.patients, name="patient"))
    for name in ("visits", "codes"):
        table = getattr(cohort, name)
        if "day" not in table:
            continue
        days = table.loc[table["day"] <= task.index].groupby("patient")["day"]
        # Nobody is missing from a count, but dates are missing where there is none.
        found[f"{name} counted"] = days.size().reindex(found.index, fill_value=0).astype(float)
        found[f"{name} first"] = days.min()
        found[f"{name} last"] = days.max()
    return Problem(cohort.patients[within], found[within], time[within], event[within])


def _outcome(
    cohort: Cohort, task: Task
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]:
    time = cohort.outcome["time"].to_numpy(dtype=float)
    happened = cohort.event
    within = time > task.index
    event = happened & (time <= task.horizon)
    if task.kind == "classification":
        within &= event | (time >= task.horizon)
    return within, np.minimum(time, task.horizon) - task.index, event


def _predictors(cohort: Cohort, task: Task) -> pd.DataFrame:
    schema = cohort.schema
    patients = pd.Index(cohort.patients, name="patient")
    static = cohort.static.set_index("patient")
    columns: dict[str, pd.Series] = {}
    for name, column in schema.static.items():
        if "site" in column.roles:
            continue
        columns |= _numeric(name, static[name], column.levels)
    if schema.visits:
        last = last_values(cohort.visits, -np.inf, task.index).reindex(patients)
        for name, column in schema.visits.items():
            columns |= _numeric(name, last[name], column.levels)
    known = cohort.codes[cohort.codes["day"] <= task.index]
    for system, vocabulary in schema.vocabularies.items():
        mine = known[known["system"] == system]
        for code in vocabulary.codes:
            have = patients.isin(mine.loc[mine["code"] == code, "patient"])
            columns[f"{system}:{code}"] = pd.Series(have.astype(float), index=patients)
    return pd.DataFrame(columns, index=patients)


def _numeric(name: str, values: pd.Series, levels: tuple[str, ...]) -> dict[str, pd.Series]:
    if not levels:
        return {name: values.astype(float)}
    return {f"{name}={level}": (values == level).astype(float) for level in levels}
