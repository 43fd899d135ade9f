"""Do single columns look right?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge

from fedbench.metric import Anchors, Evidence, Family, Key, Measure, Metric, Refusal
from fedbench.metrics._draws import Floats, measured, unfolded
from fedbench.metrics._ruler import Ruler, level_shares
from fedbench.seeds import Rng
from fedbench.stats import clopper_pearson

__all__ = ["Marginals"]


@dataclass(frozen=True, kw_only=True)
class Marginals(Metric):
    """Total-variation distance between real and synthetic columns, for each and on average.

    Levels are those of ``Ruler``. A gap counts as a level, and so does a visit that did not take
    place: it moves every column measured in its window, as it does for whoever uses the table.
    For a category this is ``1 - TVComplement`` of SDMetrics. Where all records share one level no
    bootstrap can move; the upper limit is then that of a level so rare that nobody was seen with
    it (Clopper and Pearson's for none of the smaller number of records).
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "lower"
    version: ClassVar[int] = 3
    anchors: ClassVar[Anchors] = Anchors(floor="uniform", ceiling="real")

    bins: Annotated[int, Ge(1)] = 20

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise ValueError(f"bins is {self.bins}; expected at least 2")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        ruler, n = Ruler(evidence.encoder, self.bins, evidence.train), len(evidence.test)
        gaps = level_shares(evidence.test, ruler) - level_shares(evidence.synthetic, ruler)
        unseen = clopper_pearson(0, min(n, len(evidence.synthetic))).high
        return [self._overall(gaps, ruler, n), *self._columns(gaps, ruler, n, unseen)]

    def _overall(self, gaps: Floats, ruler: Ruler, n: int) -> Measure:
        distances = np.add.reduceat(np.abs(gaps), ruler.starts, axis=1) / 2
        return measured(distances.mean(axis=1), n)

    def _columns(self, gaps: Floats, ruler: Ruler, n: int, unseen: float) -> Iterator[Measure]:
        distances = np.add.reduceat(unfolded(gaps), ruler.starts, axis=1) / 2
        for column, feature in zip(distances.T, ruler.features, strict=True):
            found = measured(column, n, key=Key(column=feature.name))
            yield found if column.any() else replace(found, high=unseen)
