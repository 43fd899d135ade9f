"""Every column of the patient table cut into levels, in one way for all cells of a seed."""

from __future__ import annotations

from collections.abc import Iterator
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


@dataclass(frozen=True)
class Ruler:
    """Cuts columns by what the pooled training records look like, never by what is scored.

    Levels of a category are its own. The encoder's fine bins of a number are merged until
    each holds about ``1 / bins`` of the training values; a value that many share keeps a bin of
    its own. Then every column has a level for *missing* and one for *does not apply* (no visit
    that could have measured it), so that a missing visit counts wherever it leaves a hole.
    """

    encoder: Encoder
    bins: int

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
        merged = self._merged(feature)
        place = np.searchsorted(edges(feature), values, side="right") - 1
        return np.where(np.isnan(values), -1, merged[np.clip(place, 0, len(merged) - 1)])

    def _width(self, feature: Feature) -> int:
        if feature.column.kind == "category":
            return len(feature.column.levels)
        return int(self._merged(feature)[-1]) + 1

    def _merged(self, feature: Feature) -> Ints:
        """The level of each fine bin: bins whose middles lie in the same quantile are one."""
        counts = self.encoder.counts[feature.name][:, :-1].sum(axis=0)
        middles = (counts.cumsum() - counts / 2) / max(counts.sum(), 1)
        quantiles = np.minimum(np.floor(middles * self.bins), self.bins - 1)
        return np.unique(quantiles, return_inverse=True)[1].astype(np.int64)


def level_shares(view: View, ruler: Ruler) -> Floats:
    """Return the share of patients at each level of all columns, ``(1 + B, levels)``."""
    return view.shared(
        f"level shares {ruler.bins}", lambda: shares(view, ruler.indicators(view.table))
    )
