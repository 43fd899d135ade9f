"""Releases of which it is known what they give away, to test attacks on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from fedbench.data import Cohort, cohort_from_table
from fedbench.seeds import Rng

__all__ = ["copied", "jittered", "leaky", "mixed", "partial", "shuffled", "thinned"]


def copied(members: Cohort, rng: Rng) -> Cohort:
    """Return the members themselves, under other names and in another order."""
    from fedbench.world import renamed  # noqa: PLC0415

    width = len(str(len(members)))
    return renamed(
        members, np.array([f"s{i:0{width}d}" for i in rng.permutation(len(members))], dtype=object)
    )


def leaky(members: Cohort, independent: Cohort, share: float, rng: Rng) -> Cohort:
    """Return copies of a share of the members among other real patients.

    Args:
        members: the training patients.
        independent: other patients, none of them a member; as many as members are used.
        share: of the members who are copied, rounded to whole patients.
        rng: chooses them.
    """
    n = len(members)
    copies = round(share * n)
    given = members.take(rng.permutation(members.patients)[:copies])
    others = independent.take(rng.permutation(independent.patients)[: n - copies])
    return copied(Cohort.union([given, others]), rng)


def partial(
    members: Cohort, independent: Cohort, rng: Rng, *, columns: Sequence[str], share: float = 1.0
) -> Cohort:
    """Return records of others, of which some have a few columns of a member each.

    Args:
        members: the training patients.
        independent: whose the other columns are; as many as members.
        rng: chooses who is copied.
        columns: what is copied, together.
        share: of the members who are, rounded to whole patients.
    """
    some = rng.permutation(len(members))[: round(share * len(members))]
    table = independent.table.copy()
    for name in columns:
        values = table[name].copy()
        values.iloc[: len(some)] = members.table[name].iloc[some].to_numpy()
        table[name] = values
    return _written(independent, table)


def thinned(
    members: Cohort, rng: Rng, keep: float, *, shift: int = 0, noise: float = 0.0
) -> Cohort:
    """Return the members with some of their days: visits and codes of the others are left out.

    Args:
        members: the training patients.
        rng: chooses days, shifts and noise.
        keep: the chance of a day to stay.
        shift: by how many days all of a patient's days are moved at most, together.
        noise: what is added to measurements, in standard deviations of each.
    """
    by = pd.Series(rng.integers(-shift, shift + 1, len(members)), members.patients)
    dated = [members.visits, members.codes]
    days = pd.concat([table[["patient", "day"]] for table in dated if len(table)])
    days = days.drop_duplicates()
    days = days[rng.random(len(days)) < keep]

    def left(table: pd.DataFrame) -> pd.DataFrame:
        found = table.merge(days, on=["patient", "day"])
        return found.assign(day=found["day"] + by.reindex(found["patient"]).to_numpy())

    visits, codes = (left(table) if len(table) else table for table in dated)
    numbers = [n for n, c in members.schema.visits.items() if c.kind != "category"]
    for name in numbers if noise else ():
        log = members.schema.visits[name].log
        values = np.log(visits[name]) if log else visits[name]
        moved = values + noise * values.std() * rng.standard_normal(len(values))
        visits[name] = np.exp(moved) if log else moved
    return replace(members, visits=visits, codes=codes)


def shuffled(members: Cohort, rng: Rng) -> Cohort:
    """Return records whose columns are the members', each in an order of its own.

    Single columns are as the members', and nothing else is.
    """
    table = members.table.copy()
    for name in table:
        table[name] = table[name].to_numpy()[rng.permutation(len(table))]
    return _written(members, table)


def jittered(members: Cohort, rng: Rng, chance: float = 0.3) -> Cohort:
    """Return the members with cells replaced by those of other members, by this chance."""
    table = members.table.copy()
    for name in table:
        other = table[name].to_numpy()[rng.permutation(len(table))]
        table[name] = table[name].where(rng.random(len(table)) >= chance, other)
    return _written(members, table)


def mixed(members: Cohort, rng: Rng, neighbours: int = 5) -> Cohort:
    """Return each member moved a random part of the way to one of the nearest members.

    SMOTE (Chawla et al. 2002, https://doi.org/10.1613/jair.953); what is no number comes from
    the nearer of the two.
    """
    table = members.table
    numbers = [f.name for f in members.schema.features if f.column.kind != "category"]
    values = table[numbers].to_numpy(dtype=np.float64)
    spread = np.nanstd(values, axis=0)
    from scipy.spatial import KDTree  # noqa: PLC0415

    placed = np.nan_to_num((values - np.nanmean(values, axis=0)) / np.where(spread > 0, spread, 1))
    _, near = KDTree(placed).query(placed, min(neighbours + 1, len(table)))
    other = near[np.arange(len(table)), rng.integers(1, near.shape[1], len(table))]
    part = rng.random(len(table))
    moved = values + part[:, None] * (values[other] - values)
    found = table.where(pd.Series(part < 0.5, table.index), table.iloc[other].set_axis(table.index))
    for at, name in enumerate(numbers):
        whole = members.schema.feature(name).column.kind == "integer"
        column = np.where(np.isfinite(moved[:, at]), moved[:, at], found[name])
        found[name] = np.round(column) if whole else column
    return _written(members, found.astype(table.dtypes))


def _written(members: Cohort, table: pd.DataFrame) -> Cohort:
    width = math.ceil(math.log10(len(table) + 1))
    names = pd.Index([f"s{i:0{width}d}" for i in range(len(table))], name="patient")
    return cohort_from_table(members.schema, table.set_axis(names))
