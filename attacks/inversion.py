"""Can whole patients be read off what a hospital sends?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from annotated_types import Gt, Lt
from numpy.typing import NDArray
from scipy.spatial import distance

from fedbench.attack import Game, Guess, Knowledge, PublicChallenge, Rebuilt, Sight
from fedbench.attacks._reading import Reading
from fedbench.encoding import Encoder
from fedbench.seeds import Rng

__all__ = ["Inversion"]

Floats = NDArray[np.float64]

_SHARP = 100
"""How many times further than rounding alone a bias must have moved."""

_LARGEST = 10.0
"""Normal score that somebody may have."""

_ALIKE = 0.02
"""Largest difference in any column between two readings of one patient."""


@dataclass(frozen=True, kw_only=True)
class Inversion(Reading):
    """Divide the gradient of each unit's weights by that of its bias.

    Of a layer that is shown patients, the gradient of a unit's weights is a sum over patients of
    what came back for each times what she looks like, and that of its bias is the same sum without
    the latter. Where one patient alone moved a unit, their quotient is that patient, whatever came
    back (Phong et al. 2018, https://doi.org/10.1109/TIFS.2017.2787987; Geiping et al. 2020,
    https://arxiv.org/abs/2003.14053). Of several it is a mixture, which is told by levels that are
    neither there nor not, and is thrown away. No column of any patient needs to be known.

    Attributes:
        looks: How far from 0 and 1 the levels and gaps of a patient may be read.
    """

    game: ClassVar[Game] = "reconstruction"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.UPDATES})
    version: ClassVar[int] = 2
    rehearsed: ClassVar[int] = 1

    looks: Annotated[float, Gt(0), Lt(0.5)] = 0.1

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        encoder = sight.wire.encoder
        found = {}
        for site in map(str, challenge.choices):
            read, sure, patients = [], [], 0.0
            for layer, glimpse in self.seen(sight.wire, site):
                moved = np.abs(layer.bias) > _SHARP * layer.blur
                read.append(layer.weight[moved] / layer.bias[moved, None])
                sure.append(np.abs(layer.bias[moved]) / max(layer.blur, 1e-300))
                patients = glimpse.patients
            order = np.argsort(-np.concatenate(sure), kind="stable")
            whole = _Readings.of(encoder, np.concatenate(read)[order])
            found[site] = whole.records(encoder, self.looks, round(patients))
        return Rebuilt(records=found)


@dataclass(frozen=True)
class _Readings:
    """Encoded columns as read, the surest first: normal scores, gaps, and levels by category."""

    numbers: Floats
    gaps: Floats
    levels: Sequence[Floats]

    @classmethod
    def of(cls, encoder: Encoder, columns: Floats) -> _Readings:
        p = len(encoder.numbers)
        cuts = p + p + np.cumsum([0, *encoder.widths])
        levels = [columns[:, a:b] for a, b in pairwise(cuts.tolist())]
        return cls(columns[:, :p], columns[:, p : 2 * p], levels)

    def records(self, encoder: Encoder, looks: float, most: int) -> pd.DataFrame:
        """Return what looks like patients, each one once and no more than there are."""
        bits = np.hstack([self.gaps, *self.levels])
        sums = np.stack([level.sum(axis=1) for level in self.levels] or [np.empty(0)], axis=-1)
        fault = np.maximum(_off(bits), _off(sums))
        fault = np.where(np.abs(self.numbers).max(axis=1, initial=0) > _LARGEST, np.inf, fault)
        rows = np.flatnonzero(fault <= looks)
        everything = np.hstack([self.numbers, bits])[rows]
        alike = distance.cdist(everything, everything, "chebyshev") < _ALIKE
        rows = rows[~np.tril(alike, -1).any(axis=1)][:most]
        levels = [level[rows].argmax(axis=1) for level in self.levels]
        chosen = np.stack(levels, axis=1) if levels else np.empty((len(rows), 0), np.int64)
        # Nobody is decoded with them, as there is no cohort without patients.
        nobody = ((0, 1), (0, 0))
        found = encoder.decode(
            np.pad(self.numbers[rows], nobody),
            np.pad(self.gaps[rows] > 0.5, nobody),
            np.pad(chosen, nobody),
        )
        return found.table.iloc[:-1].reset_index(drop=True)


def _off(values: Floats) -> Floats:
    """Return how far the worst of each row is from 0 and from 1."""
    nearest = np.clip(np.round(values), 0, 1)
    return np.asarray(np.abs(values - nearest).max(axis=1, initial=0))
