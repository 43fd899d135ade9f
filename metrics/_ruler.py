"""Every column of the patient table cut into levels, in one way for all cells of a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.data import Feature
from fedbench.encoding import Encoder, edges
from fedbench.metric import View
from fedbench.metrics._draws import Floats, shares

__all__ = ["Ruler", "level_shares"]

Ints = NDArray[np.int64]

CROWDED = 0.25
"""Of the training values; what lies within a fine bin that holds more is told apart."""


@dataclass(frozen=True)
class Ruler:
    """Cuts columns by what the pooled training records look like, never by what is scored.

    Levels of a category are its own. The encoder's fine bins of a number are merged until
    each holds about ``1 / bins`` of the training values; a value that many share keeps a bin of
    its own. Where public bounds lie so far apart that one fine bin holds more than ``CROWDED`` of
    the training values, it is cut at their quantiles. Then every column has a level for *missing*
    and one for *does not apply* (no visit that could have measured it), so that a missing visit
    counts wherever it leaves a hole.
    """

    encoder: Encoder
    bins: int
    train: View

    @property
    def features(self) -> tuple[Feature, ...]:
        """The columns."""
        return self.encoder.schema.features

    @cached_property
    def widths(self) -> Ints:
        """How many levels each column has, missing and not applicable included."""
        return np.array([self._width(feature) + 2 for feature in self.features])

    @cached_property
    def starts(self) -> Ints:
        """Where each column's levels start when all are laid side by side."""
        return np.concatenate([[0], self.widths.cumsum()[:-1]])

    def levels(self, table: pd.DataFrame) -> Iterator[Ints]:
        """Yield the level of every patient, column by column."""
        for feature, width in zip(self.features, self.widths, strict=True):
            found = self._own_levels(feature, table)
            found = np.where(found < 0, width - 2, found)
            if feature.needs is not None:
                found[table[feature.needs].isna().to_numpy()] = width - 1
            yield found

    def indicators(self, table: pd.DataFrame) -> NDArray[np.float32]:
        """Return 1 where a patient has a level, ``(n, levels of all columns)``."""
        found = np.zeros((len(table), int(self.widths.sum())), np.float32)
        for start, levels in zip(self.starts, self.levels(table), strict=True):
            found[np.arange(len(table)), start + levels] = 1
        return found

    def _own_levels(self, feature: Feature, table: pd.DataFrame) -> Ints:
        """Levels of those who have a value, -1 for the others."""
        if feature.column.kind == "category":
            return np.asarray(table[feature.name].cat.codes, dtype=np.int64)
        values = table[feature.name].to_numpy(dtype=float)
        place = np.searchsorted(self.cuts[feature.name], values, side="right")
        return np.where(np.isnan(values), -1, place)

    def _width(self, feature: Feature) -> int:
        if feature.column.kind == "category":
            return len(feature.column.levels)
        return len(self.cuts[feature.name]) + 1

    @cached_property
    def cuts(self) -> Mapping[str, Floats]:
        """Where each number is cut into levels, ascending; a cut belongs to the level above."""
        numbers = [f for f in self.features if f.column.kind != "category"]
        return self.train.shared(
            f"cuts {self.bins}", lambda: {f.name: self._cuts(f) for f in numbers}
        )

    def _cuts(self, feature: Feature) -> Floats:
        """Between fine bins whose middles lie in different quantiles, and within crowded ones."""
        fine, counts = edges(feature), self.encoder.counts[feature.name][:, :-1].sum(axis=0)
        share = counts / max(counts.sum(), 1)
        middles = share.cumsum() - share / 2
        quantiles = np.minimum(np.floor(middles * self.bins), self.bins - 1)
        found = [fine[1:-1][np.diff(quantiles) > 0]]
        if (crowded := np.flatnonzero(share > CROWDED)).size:
            values = self.train.table[feature.name].to_numpy(dtype=float)
            place = np.searchsorted(fine[1:-1], values, side="right")
            found += [
                _within(values[(place == bin) & ~np.isnan(values)], round(self.bins * share[bin]))
                for bin in crowded
            ]
        return np.unique(np.concatenate(found))


def _within(values: Floats, levels: int) -> Floats:
    """Return where to cut values into about so many levels; none where they are all the same."""
    found = np.quantile(values, np.arange(1, levels) / levels, method="closest_observation")
    return np.asarray(found[found > values.min()], dtype=np.float64)


def level_shares(view: View, ruler: Ruler) -> Floats:
    """Return the share of patients at each level of all columns, ``(1 + B, levels)``."""
    return view.shared(
        f"level shares {ruler.bins}", lambda: shares(view, ruler.indicators(view.table))
    )
