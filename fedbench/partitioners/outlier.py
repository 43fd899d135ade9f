"""One hospital whose records are not what they should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from annotated_types import Interval

from fedbench.data import Cohort, Column, Schema
from fedbench.partition import PARTS, Partition, Place
from fedbench.partitioners._altering import Altering, TestPart, by_size
from fedbench.seeds import Rng

How = Literal["recoded", "shuffled", "shifted"]


@dataclass(frozen=True, kw_only=True)
class Outlier(Altering):
    """One site is corrupted, or very different.

    * ``recoded``: a wrong code book. Levels of every category and codes of every vocabulary change
      places, none keeps its own; numbers are mirrored in the middle of their public range (log
      columns in its geometric middle).
    * ``shuffled``: every column is right, but belongs to somebody else; also codes and outcome do.
    * ``shifted``: every number is moved by ``by`` standard deviations of the site, up or down, and
      stays inside its public bounds.

    Attributes:
        within: the partitioner that deals.
        at: the corrupted sites; without any, the largest one.
        how: what is wrong.
        share: of all columns, how many it is wrong with; codes and outcome come on top.
        by: see ``shifted``.
        test: ``right``: a corrupted site, whose test patients are as they should be, so that scores
            show what the corruption does; ``recorded``: a very different site, whose test patients
            are so too. With ``control = "test"``, membership at the site can only be judged with
            ``recorded``.
    """

    how: How = "recoded"
    share: Annotated[float, Interval(gt=0, le=1)] = 1.0
    by: Annotated[float, Interval(gt=0, le=10)] = 2.0
    test: TestPart = "right"

    @property
    def own(self) -> frozenset[str]:
        return frozenset(PARTS) - ({"test"} if self.test == "right" else set())

    def usual(self, dealt: Partition) -> Sequence[str]:
        return by_size(dealt)[:1]

    def changed(self, records: Cohort, place: Place, rng: Rng) -> Cohort:
        schema = records.schema
        chosen = self._chosen(schema, rng)
        tables = {}
        for name, columns in (("static", schema.static), ("visits", schema.visits)):
            table, whole = getattr(records, name).copy(), getattr(place.everyone, name)
            for column, about in columns.items():
                if column in chosen:
                    found = self._change(table[column], whole[column], about, rng)
                    table[column] = found.to_numpy()
            tables[name] = table
        codes, outcome = records.codes, records.outcome
        if self.how == "recoded":
            codes = _renamed(codes, schema, rng)
        elif self.how == "shuffled":
            codes = codes.assign(patient=_elsewhere(codes["patient"], rng))
            order = rng.permutation(len(outcome))
            ends = outcome[["time", "event"]].iloc[order].reset_index(drop=True)
            outcome = outcome.assign(**ends)
        return Cohort.of_tables(
            schema,
            tables["static"],
            tables["visits"] if schema.visits else None,
            codes if schema.vocabularies else None,
            outcome if schema.outcome else None,
        )

    def _chosen(self, schema: Schema, rng: Rng) -> set[str]:
        names = [
            name
            for name, column in (*schema.static.items(), *schema.visits.items())
            if "site" not in column.roles and name != schema.cluster
        ]
        count = max(1, round(self.share * len(names)))
        return {names[place] for place in rng.permutation(len(names))[:count]}

    def _change(self, values: pd.Series, whole: pd.Series, column: Column, rng: Rng) -> pd.Series:
        """Return a column of one part changed; ``whole`` has that of all patients of the site."""
        if self.how == "recoded":
            return _recoded(values, column, rng)
        if self.how == "shuffled":
            return values.iloc[rng.permutation(len(values))]
        if column.kind == "category":
            return values
        numbers, all_numbers = (
            np.log(some.astype(np.float64)) if column.log else some.astype(np.float64)
            for some in (values, whole)
        )
        moved = numbers + rng.choice([-1.0, 1.0]) * self.by * all_numbers.std(ddof=0)
        return _kept(np.exp(moved) if column.log else moved, column)


def _recoded(values: pd.Series, column: Column, rng: Rng) -> pd.Series:
    if column.kind == "category":
        return values.map(_wrong_book(column.levels, rng))
    numbers = values.astype(np.float64)
    mirrored = (
        column.low * column.high / numbers if column.log else column.low + column.high - numbers
    )
    return _kept(mirrored, column)


def _wrong_book(words: Sequence[str], rng: Rng) -> Mapping[str, str]:
    """Return another word for every word: a random circle, so that none keeps its meaning."""
    circle = rng.permutation(np.array(words, dtype=object))
    return dict(zip(circle, np.roll(circle, 1), strict=True))


def _kept(values: pd.Series, column: Column) -> pd.Series:
    """Return the values inside their public bounds, whole where they must be."""
    values = values.round() if column.kind == "integer" else values
    return values.clip(column.low, column.high)


def _renamed(codes: pd.DataFrame, schema: Schema, rng: Rng) -> pd.DataFrame:
    found = codes["code"].copy()
    for system, vocabulary in schema.vocabularies.items():
        mine = codes["system"] == system
        found[mine] = codes.loc[mine, "code"].map(_wrong_book(tuple(vocabulary.codes), rng))
    return codes.assign(code=found)


def _elsewhere(patients: pd.Series, rng: Rng) -> pd.Series:
    """Return the patients of these rows, each patient's rows given to another."""
    there = patients.unique()
    return patients.map(dict(zip(there, rng.permutation(there), strict=True)))
