"""Are the gaps where they are in real records?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedbench.metric import Anchors, Evidence, Family, Measure, Metric, Refusal, View
from fedbench.metrics._draws import (
    Floats,
    averaged,
    measured,
    pair_shares,
    shares,
    steadied,
    unfolded,
)
from fedbench.metrics._encoded import gaps, records
from fedbench.metrics._worth import owners, worth
from fedbench.seeds import Rng
from fedbench.stats import newcombe

__all__ = ["Missingness"]


@dataclass(frozen=True, kw_only=True)
class Missingness(Metric):
    """Mean absolute difference in how often values are missing, alone and two together.

    Part ``rates``: share of patients with a gap, per column. Part ``pairs``: share with a gap in
    both of two columns. A gap is a value that could have been there: without a visit only its
    day is missing. Columns are those with a gap in the pooled training records; gaps elsewhere
    are seen by ``marginals``. Where nobody of either side has a gap that training records have,
    the interval stays open as far as Newcombe's for two such shares.

    The floor is ``independent``, which makes ``pairs`` by chance alone. It gets ``rates`` right
    by construction, so they have no scale to be normalized on.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "lower"
    version: ClassVar[int] = 2
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        real, fake = _Gaps.of(evidence.test, evidence), _Gaps.of(evidence.synthetic, evidence)
        return [
            _compared(real.rates, fake.rates, evidence, "rates"),
            _compared(real.pairs, fake.pairs, evidence, "pairs"),
        ]


@dataclass(frozen=True)
class _Gaps:
    """Shares of patients with gaps, first row everyone once: per column, per pair of columns."""

    rates: Floats
    pairs: Floats

    @classmethod
    def of(cls, view: View, evidence: Evidence) -> _Gaps:
        return view.shared("missingness", lambda: cls._of(view, evidence))

    @classmethod
    def _of(cls, view: View, evidence: Evidence) -> _Gaps:
        found = gaps(evidence.encoder, records(evidence, view))
        first, second = np.triu_indices(found.shape[1], 1)
        pairs = pair_shares(view, np.ascontiguousarray(found.T), first, second)
        return cls(shares(view, found), pairs.astype(np.float64))


def _compared(real: Floats, fake: Floats, evidence: Evidence, part: str) -> Measure | Refusal:
    if not real.shape[1]:
        columns = "column" if part == "rates" else "two columns"
        reason = f"no {columns} with a gap in the training records"
        return Refusal(reason=reason, status="not applicable", part=part)
    mean = measured(averaged(real - fake), len(evidence.test), part=part)
    rows, n = unfolded(real - fake).T, _everyone(evidence)
    limits = np.full((len(rows), 2), np.nan)
    for place in np.flatnonzero(np.ptp(rows, axis=1) == 0):
        shares = float(real[0, place]), float(fake[0, place])
        gap = newcombe(shares[0] * n[0], n[0], shares[1] * n[1], n[1])
        limits[place] = max(gap.low, -gap.high, 0.0), max(gap.high, -gap.low)
    return steadied(mean, rows, limits)


def _everyone(evidence: Evidence) -> tuple[float, float]:
    """Return how many real patients, of clusters as many as they are worth, and synthetic ones."""
    nobody = np.zeros((len(evidence.test), 1), dtype=bool)
    return float(worth(owners(evidence.test.cohort), nobody)[0]), float(len(evidence.synthetic))
