"""A metric of fidelity: one number, its interval and its replicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedbench.metric import Anchors, Evidence, Family, Measure, Metric, Refusal, View
from fedbench.seeds import Rng
from fedbench.stats import percentile, recentre


@dataclass(frozen=True, kw_only=True)
class Template(Metric):
    """How far apart are real and synthetic patients in the share of values they lack?

    The harness asks it for every generator, hospital and regime, and makes gains, costs and
    worst hospitals from the replicates. Raise ``version`` when numbers change their meaning.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "lower"
    version: ClassVar[int] = 1
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        """Compare the test patients with the synthetic ones."""
        sides = (evidence.test, evidence.synthetic)
        if min(map(len, sides)) < 2:
            return [Refusal(reason="There must be two patients on each side.")]
        (real, drawn), (fake, redrawn) = map(_shares, sides)
        value, replicates = abs(real - fake), np.abs(drawn - redrawn)
        found = percentile(value, replicates)
        return [
            Measure(
                value=value,
                low=found.low,
                high=found.high,
                n=len(evidence.test),
                replicates=recentre(value, replicates),
            )
        ]


def _shares(view: View) -> tuple[float, NDArray[np.float64]]:
    """Return the share of missing values, and the same for every bootstrap draw."""
    each = view.table.isna().to_numpy().mean(axis=1)
    weights = view.weights.astype(np.float64)
    return float(each.mean()), weights @ each / weights.sum(axis=1)
