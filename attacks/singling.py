"""Which descriptions fit one released record, and hardly anybody else?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from annotated_types import Ge, Le
from numpy.typing import NDArray

from fedbench.attack import Attack, Game, Knowledge, PublicChallenge, Sight, plain_columns
from fedbench.data import Feature, Schema
from fedbench.predicates import Conditions, Predicates
from fedbench.seeds import Rng

__all__ = ["Singling"]

_TRIES = 10
_BATCH = 20  # candidates for every predicate that is wanted

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Singling(Attack):
    """Describe released records by a few columns, so that each description fits one of them.

    Random columns of a random released record, numbers by the range between two quantiles; kept
    where no other released record fits and where, by what other patients' columns say one by one,
    hardly anybody should. The multivariate singling-out attack of Giomi et al. 2023 (Anonymeter,
    https://doi.org/10.56553/popets-2023-0055) with the weight that Cohen and Nissim 2020 ask for
    (https://doi.org/10.1073/pnas.1914598117).

    Attributes:
        predicates: how many are tried, each about another released record.
        most: columns in a description; at least two.
        bins: into how many of equal size numbers are cut.
    """

    game: ClassVar[Game] = "singling-out"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC, Knowledge.REFERENCE})
    version: ClassVar[int] = 1
    misses: ClassVar[str] = "patients whose description fits others, too"

    predicates: Annotated[int, Ge(20), Le(100_000)] = 1_000
    most: Annotated[int, Ge(2)] = 6
    bins: Annotated[int, Ge(2)] = 20

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Predicates:
        released = sight.synthetic.table
        features = [f for f in sight.schema.features if f.name in released]
        conditions, starts = _conditions(released, features, self.bins)
        place = _places(conditions, starts, released, features)
        others = sight.reference.table if len(sight.reference) else released
        share = _shares(conditions, sight.schema, others)
        wanted = min(self.predicates, len(released))
        chosen, weights, seen = [np.empty((0, self.most), np.int64)], [np.empty(0)], set[int]()
        for _ in range(_TRIES):
            if len(seen) >= wanted or len(features) < 2:
                break
            rows, uses = self._drawn(place, _BATCH * wanted, rng)
            weight = _weight(share, uses)
            rare = np.flatnonzero(weight * 10 * max(challenge.size, 1) < 1)
            tried = Predicates(conditions=conditions, uses=uses[rare], weight=weight[rare])
            fits = rare[tried.counts(sight.schema, released) == 1]
            new = fits[np.unique(rows[fits], return_index=True)[1]]
            new = new[[int(row) not in seen for row in rows[new]]][: wanted - len(seen)]
            seen |= set(rows[new].tolist())
            chosen.append(uses[new])
            weights.append(weight[new])
        return Predicates(
            conditions=conditions, uses=np.vstack(chosen), weight=np.concatenate(weights)
        )

    def _drawn(self, place: Ints, n: int, rng: Rng) -> tuple[Ints, Ints]:
        """Return random records, and the conditions that some of their columns meet."""
        rows = rng.integers(len(place), size=n)
        columns = rng.random((n, place.shape[1])).argsort(axis=1)[:, : self.most]
        columns = np.pad(columns, ((0, 0), (0, self.most - columns.shape[1])), "edge")
        size = rng.integers(2, min(self.most, place.shape[1]) + 1, size=(n, 1))
        used = np.where(np.arange(self.most) < size, columns, columns[:, :1])
        return rows, np.take_along_axis(place[rows], used, axis=1)


def _conditions(
    released: pd.DataFrame, features: Sequence[Feature], bins: int
) -> tuple[Conditions, Ints]:
    """Return what can be asked of each column, and where each column's questions begin.

    The first asks whether the value is missing.
    """
    names: list[str] = []
    limits = []
    starts = [0]
    for feature, values in zip(features, plain_columns(released, features).T, strict=True):
        edges = _edges(feature, values, bins)
        limits.append(np.column_stack([np.r_[np.nan, edges[:-1]], np.r_[np.nan, edges[1:]]]))
        names += [feature.name] * len(edges)
        starts.append(starts[-1] + len(edges))
    low, high = np.vstack(limits).T if limits else np.empty((2, 0))
    return Conditions(np.array(names, dtype=object), low, high), np.array(starts[:-1])


def _edges(feature: Feature, values: Floats, bins: int) -> Floats:
    if feature.column.kind == "category":
        return np.arange(len(feature.column.levels) + 1, dtype=np.float64)
    there = values[np.isfinite(values)]
    inner = np.unique(np.quantile(there, np.arange(1, bins) / bins)) if there.size else there
    return np.concatenate([[-np.inf], inner, [np.inf]])


def _places(
    conditions: Conditions, starts: Ints, released: pd.DataFrame, features: Sequence[Feature]
) -> Ints:
    """Return the number of the condition that every value meets, shape ``(records, columns)``."""
    values = plain_columns(released, features)
    found = np.empty(values.shape, np.int64)
    ends = np.r_[starts[1:], len(conditions.low)]
    for at, (start, end) in enumerate(zip(starts, ends, strict=True)):
        inside = np.searchsorted(conditions.low[start + 1 : end], values[:, at], "right")
        found[:, at] = start + np.where(np.isnan(values[:, at]), 0, inside)
    return found


def _shares(conditions: Conditions, schema: Schema, table: pd.DataFrame) -> Floats:
    """Return which share of these patients meets each condition; never none of them."""
    met = np.bitwise_count(conditions.bits(schema, table)).sum(axis=1)
    return np.asarray((met + 1) / (len(table) + 2))


def _weight(share: Floats, uses: Ints) -> Floats:
    """Return the product of the shares, each condition counted once."""
    again = (uses[:, 1:] == uses[:, :1]).cumsum(axis=1) > 0
    return np.asarray(share[uses[:, 0]] * np.where(again, 1, share[uses[:, 1:]]).prod(axis=1))
