"""In how much of a record a patient is right."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize

from fedbench.attack import levels_of
from fedbench.data import Feature, Schema

__all__ = ["TOLERANCE", "agreeing", "dealt_out", "same", "usual"]

TOLERANCE = 0.01
"""How far a number that counts as right may be off, as a share of its public range."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def agreeing(schema: Schema, records: pd.DataFrame, patients: pd.DataFrame) -> Ints:
    """Return in how many columns each record is right about each patient: ``(records, n)``."""
    found = np.zeros((len(records), len(patients)), dtype=np.int64)
    for feature in schema.features:
        mine, theirs = (_placed(table, feature) for table in (records, patients))
        found += _right(feature, mine[:, None], theirs[None])
    return found


def same(schema: Schema, records: pd.DataFrame, patients: pd.DataFrame) -> Bools:
    """Return which records are right about the patient in the same row, in every column."""
    each = [_right(f, _placed(records, f), _placed(patients, f)) for f in schema.features]
    return np.asarray(np.all(each, axis=0))


def usual(schema: Schema, patients: pd.DataFrame) -> pd.DataFrame:
    """Return one record with what is commonest, or in the middle, in every column."""
    found: dict[str, object] = {}
    for feature in schema.features:
        column = patients[feature.name]
        gone = column.isna().mean()
        if feature.column.kind == "category":
            times = column.value_counts(normalize=True)
            value = times.index[0] if len(times) and times.iloc[0] * (1 - gone) >= gone else None
            found[feature.name] = pd.Categorical([value], categories=list(feature.column.levels))
        else:
            found[feature.name] = [np.nan if gone > 0.5 else float(column.median())]
    return pd.DataFrame(found)


def dealt_out(agree: Ints, otherwise: Ints) -> Floats:
    """Return how many columns are right of each patient, each record being given to one of them.

    As well as can be; for whom none is left, it is ``otherwise``.

    >>> dealt_out(np.array([[3, 5, 1]]), np.array([1, 1, 1])).tolist()
    [1.0, 5.0, 1.0]
    """
    found = otherwise.astype(np.float64)
    rows, patients = optimize.linear_sum_assignment(agree - otherwise, maximize=True)
    found[patients] = agree[rows, patients]
    return found


def _right(feature: Feature, mine: Floats, theirs: Floats) -> Bools:
    within = 0 if feature.column.kind == "category" else TOLERANCE
    gone = np.isnan(mine) & np.isnan(theirs)
    return np.asarray(gone | (np.abs(mine - theirs) <= within))


def _placed(table: pd.DataFrame, feature: Feature) -> Floats:
    """Return numbers on their public range from 0 to 1, and levels by number; NaN is missing."""
    if feature.column.kind == "category":
        levels = levels_of(table, feature)
        return np.where(levels < 0, np.nan, levels)
    low, high = float(feature.column.low), float(feature.column.high)
    values = table[feature.name].to_numpy(dtype=np.float64)
    if feature.column.log:
        values, low, high = np.log(np.clip(values, low, None)), np.log(low), np.log(high)
    return np.asarray((values - low) / (high - low))
