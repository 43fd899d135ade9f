"""Patients as sequences of visits: arrays for models of time, and back, without loss.

Visits of all patients lie end to end; nothing is padded to the longest patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.data import Cohort, Column, Schema

__all__ = ["Sequences"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sequences:
    """The visits and codes of patients, one step per visit or per day with codes alone.

    Attributes:
        schema: the public description.
        patients: every patient once, ``(n,)``; who has no step has none.
        starts: steps ``starts[i]:starts[i + 1]`` are those of patient i, ``(n + 1,)``.
        day: when, ascending for every patient, ``(steps,)``.
        visited: whether the step is a visit; else there are codes only, ``(steps,)``.
        numbers: measurements as in the schema, 0 where there is none, ``(steps, p)``.
        measured: whether there is one, ``(steps, p)``.
        levels: categories by their place among the levels, the last being missing,
            ``(steps, q)``.
        code_starts: codes ``code_starts[s]:code_starts[s + 1]`` are those of step s,
            ``(steps + 1,)``.
        codes: place of every code in ``vocabulary``, ascending within a step. Codes of a day with
            several visits belong to the first.
    """

    schema: Schema
    patients: NDArray[np.object_]
    starts: Ints
    day: Floats
    visited: Bools
    numbers: Floats
    measured: Bools
    levels: Ints
    code_starts: Ints
    codes: Ints

    def __len__(self) -> int:
        return len(self.patients)

    @cached_property
    def vocabulary(self) -> tuple[tuple[str, str], ...]:
        """Every code of the schema as (system, code), in the order that ``codes`` counts in."""
        return _vocabulary(self.schema)

    @cached_property
    def owner(self) -> Ints:
        """The patient of every step, by number, ``(steps,)``."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    @cached_property
    def gap(self) -> Floats:
        """Days since the patient's step before; NaN for her first, ``(steps,)``."""
        found = np.diff(self.day, prepend=np.nan)
        found[self.starts[:-1][np.diff(self.starts) > 0]] = np.nan
        return found

    def multi_hot(self, steps: slice | Ints) -> Bools:
        """Return which codes these steps have, ``(steps, codes of the vocabulary)``."""
        chosen = np.arange(len(self.day))[steps]
        count = np.diff(self.code_starts)[chosen]
        found = np.zeros((len(chosen), len(self.vocabulary)), dtype=bool)
        first = np.repeat(self.code_starts[chosen] - np.cumsum(count) + count, count)
        found[
            np.repeat(np.arange(len(chosen)), count), self.codes[first + np.arange(count.sum())]
        ] = True
        return found

    @classmethod
    def of(cls, cohort: Cohort) -> Sequences:
        """Return the visits and codes of a cohort."""
        schema, patients = cohort.schema, cohort.patients
        index = pd.Index(patients)
        visits, codes = cohort.visits, cohort.codes
        who, when = index.get_indexer(pd.Index(visits["patient"])), _days(visits)
        coded, dated = index.get_indexer(pd.Index(codes["patient"])), _days(codes)
        keys = pd.MultiIndex.from_arrays([who, when])
        alone = pd.MultiIndex.from_arrays([coded, dated]).unique().difference(keys, sort=False)
        owner = np.concatenate([who, alone.get_level_values(0).to_numpy(np.int64)])
        day = np.concatenate([when, alone.get_level_values(1).to_numpy(np.float64)])
        order = np.lexsort((day, owner))
        owner, day = owner[order], day[order]
        seen = order < len(visits)
        place = order[seen]
        numeric, categories = _split(schema)
        numbers = np.zeros((len(day), len(numeric)))
        measured = np.zeros(numbers.shape, dtype=bool)
        for j, (name, _) in enumerate(numeric):
            values = visits[name].to_numpy(dtype=np.float64)[place]
            measured[seen, j] = ~np.isnan(values)
            numbers[seen, j] = np.where(np.isnan(values), 0.0, values)
        levels = np.empty((len(day), len(categories)), dtype=np.int64)
        for j, (name, column) in enumerate(categories):
            known = pd.Categorical(visits[name], categories=list(column.levels)).codes[place]
            levels[:, j] = len(column.levels)
            levels[seen, j] = np.where(known < 0, len(column.levels), known)
        step, code = _coded(schema, codes, pd.MultiIndex.from_arrays([owner, day]), (coded, dated))
        return cls(
            schema=schema,
            patients=patients,
            starts=_ends(owner, len(patients)),
            day=day,
            visited=seen,
            numbers=numbers,
            measured=measured,
            levels=levels,
            code_starts=_ends(step, len(day)),
            codes=code,
        )

    def cohort(self, static: pd.DataFrame, outcome: pd.DataFrame | None = None) -> Cohort:
        """Return the cohort again; ``static`` and ``outcome`` are those of its patients."""
        numeric, categories = _split(self.schema)
        seen = self.visited
        columns: dict[str, object] = {
            "patient": self.patients[self.owner[seen]],
            "day": self.day[seen],
        }
        for j, (name, _) in enumerate(numeric):
            there = self.measured[seen, j]
            columns[name] = np.where(there, self.numbers[seen, j], np.nan)
        for j, (name, column) in enumerate(categories):
            words = np.array([*column.levels, None], dtype=object)
            columns[name] = words[self.levels[seen, j]]
        step = np.repeat(np.arange(len(self.day)), np.diff(self.code_starts))
        words = np.array([*self.vocabulary, ("", "")], dtype=object).reshape(-1, 2)[self.codes]
        codes = pd.DataFrame(
            {
                "patient": self.patients[self.owner[step]],
                "day": self.day[step],
                "system": words[:, 0],
                "code": words[:, 1],
            }
        )
        return Cohort.of_tables(
            self.schema,
            static,
            pd.DataFrame(columns) if self.schema.visits else None,
            codes if self.schema.vocabularies else None,
            outcome,
        )


def _vocabulary(schema: Schema) -> tuple[tuple[str, str], ...]:
    return tuple(
        (system, code) for system, known in schema.vocabularies.items() for code in known.codes
    )


def _split(schema: Schema) -> tuple[Sequence[tuple[str, Column]], Sequence[tuple[str, Column]]]:
    """Return the numbers and the categories among the visit columns."""
    every = list(schema.visits.items())
    return (
        [(name, column) for name, column in every if column.kind != "category"],
        [(name, column) for name, column in every if column.kind == "category"],
    )


def _days(table: pd.DataFrame) -> Floats:
    return table["day"].to_numpy(dtype=np.float64) if "day" in table else np.empty(0)


def _ends(owner: Ints, n: int) -> Ints:
    """Return where the rows of each of n owners begin, and where the last ones end."""
    return np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n))]).astype(np.int64)


def _coded(
    schema: Schema, codes: pd.DataFrame, steps: pd.MultiIndex, when: tuple[Ints, Floats]
) -> tuple[Ints, Ints]:
    """Return the step and the place in the vocabulary of every code, sorted by both."""
    if not len(codes):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    # The first of several visits of a day.
    first = pd.Series(np.arange(len(steps)), index=steps)
    first = first[~first.index.duplicated()]
    step = first.reindex(pd.MultiIndex.from_arrays(when)).to_numpy(dtype=np.int64)
    known = pd.MultiIndex.from_tuples(_vocabulary(schema))
    code = known.get_indexer(pd.MultiIndex.from_frame(codes[["system", "code"]]))
    order = np.lexsort((code, step))
    return step[order], code[order].astype(np.int64)
