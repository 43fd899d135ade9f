"""Patients as numbers that can be multiplied: normal scores, gaps and levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedbench.data import Feature
from fedbench.encoding import Encoder, Records
from fedbench.metric import Evidence, View

__all__ = ["Encoded", "encoded", "gaps", "records"]

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Encoded:
    """One row per encoded column, ``values`` of shape ``(k, n)``; ``owner`` is its feature."""

    values: NDArray[np.float64]
    owner: NDArray[np.int64]


def records(evidence: Evidence, view: View) -> Records:
    """Return the encoded patients, once for all metrics."""
    return view.shared("metrics: records", lambda: evidence.encoder.encode(view.cohort))


def encoded(encoder: Encoder, found: Records) -> Encoded:
    """Return all that varies among the pooled training patients.

    Of a number its normal score, 0 (the middle) without a value, and whether it is missing; of
    a category each level and missing. A visit that did not take place is told by its day.
    """
    rows: list[NDArray[np.float64]] = []
    owner: list[int] = []
    place = {feature.name: j for j, feature in enumerate(encoder.schema.features)}
    for j, feature in enumerate(encoder.numbers):
        count = encoder.counts[feature.name].sum(axis=0)
        if np.count_nonzero(count[:-1]) > 1:
            rows.append(found.numbers[:, j])
            owner.append(place[feature.name])
        if 0 < count[-1] < count.sum():
            rows.append(found.missing[:, j].astype(np.float64))
            owner.append(place[feature.name])
    for j, feature in enumerate(encoder.categories):
        for level in _varying(encoder, feature):
            rows.append(((found.levels[:, j] == level) & found.levels_apply[:, j]).astype(float))
            owner.append(place[feature.name])
    values = np.stack(rows) if rows else np.zeros((0, len(found)))
    return Encoded(values, np.array(owner, dtype=np.int64))


def gaps(encoder: Encoder, found: Records) -> NDArray[np.float32]:
    """Return 1 where a value could be and is not, for columns with gaps in training: (n, k)."""
    last = np.array(encoder.widths, dtype=np.int64) - 1
    numbers = found.missing[:, _gappy(encoder, encoder.numbers)]
    categories = ((found.levels == last) & found.levels_apply)[
        :, _gappy(encoder, encoder.categories)
    ]
    return np.concatenate([numbers, categories], axis=1).astype(np.float32)


def _varying(encoder: Encoder, feature: Feature) -> NDArray[np.int64]:
    found = np.flatnonzero(encoder.counts[feature.name])
    if len(found) == 1:
        return found[:0]
    # Of two levels that are each other's opposite, one says it all.
    return found[1:] if len(found) == 2 and feature.needs is None else found


def _gappy(encoder: Encoder, features: tuple[Feature, ...]) -> Bools:
    return np.array([encoder.counts[f.name][..., -1].sum() > 0 for f in features], dtype=bool)
