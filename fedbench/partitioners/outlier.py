"""One hospital whose training records are not what they should be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from annotated_types import Interval

from fedbench.data import Cohort, Column, Schema
from fedbench.partition import Partition
from fedbench.partitioners._altering import Altering, by_size
from fedbench.seeds import Rng

How = Literal["recoded", "shuffled", "shifted"]
Change = Callable[[pd.Series, Column, Rng], pd.Series]


@dataclass(frozen=True, kw_only=True)
class Outlier(Altering):
    """One site is corrupted, or very different, in the records that it trains on.

    Its test, control and reference patients stay as they are, so that scores of every site say what
    the corruption did. Membership cannot be judged at such a site: members differ from others by
    more than membership, which the blind baseline shows.

    * ``recoded``: a wrong code book. Levels of every category and codes of every vocabulary change
      places; numbers are mirrored in the middle of their public range (log columns in its
      geometric middle).
    * ``shuffled``: every column is right, but belongs to somebody else; also the outcome does.
    * ``shifted``: every number is moved by ``by`` standard deviations of the site, up or down, and
      stays inside its public bounds.

    Attributes:
        within: the partitioner that deals.
        at: the corrupted sites; without any, the largest one.
        how: what is wrong.
        share: of all columns, how many it is wrong with.
        by: see ``shifted``.
    """

    how: How = "recoded"
    share: Annotated[float, Interval(gt=0, le=1)] = 1.0
    by: Annotated[float, Interval(gt=0, le=10)] = 2.0

    @property
    def own(self) -> frozenset[str]:
        return frozenset({"train"})

    def usual(self, dealt: Partition) -> Sequence[str]:
        return by_size(dealt)[:1]

    def changed(self, records: Cohort, rng: Rng) -> Cohort:
        schema = records.schema
        changes: Mapping[How, Change] = {
            "recoded": _recoded,
            "shuffled": _shuffled,
            "shifted": self._shifted,
        }
        chosen = self._chosen(schema, rng)
        tables = {}
        for name, columns in (("static", schema.static), ("visits", schema.visits)):
            table = getattr(records, name).copy()
            for column, about in columns.items():
                if column in chosen:
                    table[column] = changes[self.how](table[column], about, rng).to_numpy()
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

    def _shifted(self, values: pd.Series, column: Column, rng: Rng) -> pd.Series:
        if column.kind == "category":
            return values
        numbers = values.astype(np.float64)
        numbers = np.log(numbers) if column.log else numbers
        sign = rng.choice([-1.0, 1.0])
        moved = numbers + sign * self.by * numbers.std(ddof=0)
        return _kept(np.exp(moved) if column.log else moved, column)


def _recoded(values: pd.Series, column: Column, rng: Rng) -> pd.Series:
    if column.kind == "category":
        return values.map(dict(zip(column.levels, rng.permutation(column.levels), strict=True)))
    numbers = values.astype(np.float64)
    mirrored = (
        column.low * column.high / numbers if column.log else column.low + column.high - numbers
    )
    return _kept(mirrored, column)


def _shuffled(values: pd.Series, _: Column, rng: Rng) -> pd.Series:
    return values.iloc[rng.permutation(len(values))]


def _kept(values: pd.Series, column: Column) -> pd.Series:
    """Return the values inside their public bounds, whole where they must be."""
    values = values.round() if column.kind == "integer" else values
    return values.clip(column.low, column.high)


def _renamed(codes: pd.DataFrame, schema: Schema, rng: Rng) -> pd.DataFrame:
    found = codes["code"].copy()
    for system, vocabulary in schema.vocabularies.items():
        listed = list(vocabulary.codes)
        mine = codes["system"] == system
        book = dict(zip(listed, rng.permutation(np.array(listed, dtype=object)), strict=True))
        found[mine] = codes.loc[mine, "code"].map(book)
    return codes.assign(code=found)


def _elsewhere(patients: pd.Series, rng: Rng) -> pd.Series:
    """Return the patients of these rows, each patient's rows given to another."""
    there = patients.unique()
    return patients.map(dict(zip(there, rng.permutation(there), strict=True)))
