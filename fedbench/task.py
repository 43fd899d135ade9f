"""What may be known at the index time, and what was asked to be foreseen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.data import Cohort, Task
from fedbench.summary import last_values

__all__ = ["Problem", "problem", "utilization"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """Predictors and answer of the patients who can take part in a task.

    ``predictors`` has one row per patient (index: patient), numbers with NaN for missing and
    one 0/1 column per category level. ``time`` counts from the index time and is for survival;
    ``value`` is the number that a regression asks for, the logarithm of a ``log`` column, and NaN
    in every other task.
    """

    patients: NDArray[np.object_]
    predictors: pd.DataFrame
    time: NDArray[np.float64]
    event: NDArray[np.bool_]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.patients)


def problem(cohort: Cohort, task: Task) -> Problem:
    """Return what a model may use at the index time, and what happened afterwards.

    Only static facts and what is dated or known at or before ``task.index`` become predictors,
    in real and synthetic records alike; anything later can be changed, added or deleted without
    moving a bit. Patients whose event or censoring lies at or before the index time are left
    out; for classification also those censored before the horizon.
    """
    return _answer(cohort, task).asked_of(_predictors(cohort, task))


def utilization(cohort: Cohort, task: Task) -> Problem:
    """Return the same task with nothing but counts and dates up to the index time."""
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
    return _answer(cohort, task).asked_of(found)


@dataclass(frozen=True)
class _Answer:
    """What happened to every patient of a cohort, and who can take part."""

    within: Bools
    time: Floats
    event: Bools
    value: Floats

    def asked_of(self, predictors: pd.DataFrame) -> Problem:
        mine = self.within
        return Problem(
            predictors.index.to_numpy(dtype=object)[mine],
            predictors[mine],
            self.time[mine],
            self.event[mine],
            self.value[mine],
        )


def _answer(cohort: Cohort, task: Task) -> _Answer:
    """Who has no outcome was followed throughout."""
    followed = cohort.schema.outcome is not None
    everyone = len(cohort)
    end = cohort.outcome["time"].to_numpy(dtype=float) if followed else np.full(everyone, np.inf)
    happened = cohort.event if followed else np.zeros(everyone, dtype=bool)
    within = end > task.index
    time, value = np.minimum(end, task.horizon) - task.index, np.full(everyone, np.nan)
    if task.column:
        there, event, value = _in_column(cohort, task)
        return _Answer(within & there, time, event, value)
    if task.codes:
        before, event = _recorded(cohort, task)
        unknown = ~event & ~happened & (end < task.horizon) & np.isfinite(task.horizon)
        return _Answer(within & ~before & ~unknown, time, event, value)
    event = happened & (end <= task.horizon)
    if task.kind == "classification":
        within = within & (event | (end >= task.horizon))
    return _Answer(within, time, event, value)


def _in_column(cohort: Cohort, task: Task) -> tuple[Bools, Bools, Floats]:
    """Return who has a value, whether it is yes, and the number."""
    found = cohort.static[task.column]
    there = found.notna().to_numpy()
    if task.kind == "classification":
        happened = cohort.schema.static[task.column].levels[-1]
        yes = found.eq(happened).fillna(value=False).to_numpy(dtype=bool)
        return there, yes, np.full(len(found), np.nan)
    value = found.to_numpy(dtype=float, na_value=np.nan)
    if cohort.schema.static[task.column].log:
        value = np.log(value)
    return there, np.zeros(len(found), dtype=bool), value


def _recorded(cohort: Cohort, task: Task) -> tuple[Bools, Bools]:
    """Return who had one of the codes up to the index time, and who has one afterwards."""
    codes = cohort.codes
    mine = codes[(codes["system"] + ":" + codes["code"]).isin(task.codes)]
    before = mine["day"] <= task.index
    after = ~before & (mine["day"] <= task.horizon)
    patients = pd.Index(cohort.patients)
    return patients.isin(mine.loc[before, "patient"]), patients.isin(mine.loc[after, "patient"])


def _predictors(cohort: Cohort, task: Task) -> pd.DataFrame:
    schema = cohort.schema
    patients = pd.Index(cohort.patients, name="patient")
    static = cohort.static.set_index("patient")
    columns: dict[str, pd.Series] = {}
    for name, column in schema.static.items():
        if "site" in column.roles or column.known > task.index:
            continue
        columns |= _numeric(name, static[name], column.levels)
    if schema.visits:
        last = last_values(cohort.visits, -np.inf, task.index).reindex(patients)
        for name, column in schema.visits.items():
            columns |= _numeric(name, last[name], column.levels)
    known = cohort.codes[cohort.codes["day"] <= task.index]
    for system, vocabulary in schema.vocabularies.items():
        mine = known[known["system"] == system]
        for code in vocabulary.features:
            have = patients.isin(mine.loc[mine["code"] == code, "patient"])
            columns[f"{system}:{code}"] = pd.Series(have.astype(float), index=patients)
    return pd.DataFrame(columns, index=patients)


def _numeric(name: str, values: pd.Series, levels: tuple[str, ...]) -> dict[str, pd.Series]:
    if not levels:
        return {name: values.astype(float)}
    return {f"{name}={level}": (values == level).astype(float) for level in levels}
