"""Are the gaps where they are in real records?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedbench.metric import Anchors, Evidence, Family, Measure, Metric, Refusal, View
from fedbench.metrics._draws import Floats, averaged, measured, pair_shares, shares
from fedbench.metrics._encoded import gaps, records
from fedbench.seeds import Rng

__all__ = ["Missingness"]


@dataclass(frozen=True, kw_only=True)
class Missingness(Metric):
    """Mean absolute difference in how often values are missing, alone and two together.

    Part ``rates``: share of patients with a gap, per column. Part ``pairs``: share with a gap in
    both of two columns. A gap is a value that could have been there: without a visit only its
    day is missing. Columns are those with a gap in the pooled training records; gaps elsewhere
    are seen by ``marginals``.

    The floor is ``independent``, which makes ``pairs`` by chance alone. It gets ``rates`` right
    by construction, so they have no scale to be normalized on.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "lower"
    version: ClassVar[int] = 1
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        real, fake = _Gaps.of(evidence.test, evidence), _Gaps.of(evidence.synthetic, evidence)
        return [
            _compared(real.rates, fake.rates, len(evidence.test), "rates"),
            _compared(real.pairs, fake.pairs, len(evidence.test), "pairs"),
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


def _compared(real: Floats, fake: Floats, n: int, part: str) -> Measure | Refusal:
    if not real.shape[1]:
        columns = "column" if part == "rates" else "two columns"
        reason = f"no {columns} with a gap in the training records"
        return Refusal(reason=reason, status="not applicable", part=part)
    return measured(averaged(real - fake), n, part=part)
