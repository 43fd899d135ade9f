"""Are large hospitals drawn better than small ones?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge

from fedbench.metric import Anchors, Evidence, Family, Hospital, Key, Measure, Metric, Refusal, View
from fedbench.metrics._draws import Floats, draws, measured
from fedbench.metrics._ruler import Ruler, level_shares
from fedbench.nouns import plural
from fedbench.seeds import Rng

__all__ = ["SizeBias"]

FEW = 20
"""Test patients below whom a hospital's distance is mostly noise."""

ENOUGH = 5
"""Hospitals from which on chance alone rarely puts all in the order of their sizes."""

APART = 2.0
"""How many times as large as the smallest the largest hospital is, at least."""


@dataclass(frozen=True, kw_only=True)
class SizeBias(Metric):
    """By how much hospitals are drawn better for being larger.

    For every hospital the squared distance between the shares of levels (``Ruler``) of its test
    patients and of synthetic ones, summed over the levels of a column, averaged over columns. It
    is corrected for the sampling of both sides, without which small hospitals would always look
    badly drawn; so it can come out below 0. The number is minus the slope of that distance on the
    logarithm (base 2) of how many patients a hospital trains with: what each doubling takes off.
    Above 0 large hospitals are served better, 0 is best. The row ``tax`` is how much
    further from 0 it is for ``federated`` than for ``centralized``, paired.

    At least five hospitals of 20 test patients are needed: which of so many are drawn better has
    some order anyway, and of fewer it is that of their sizes, up or down, more often than once in
    twenty times (2 of 4! orders; 2 of 5! is one in sixty). The largest must be twice the smallest.
    Replicates weigh patients: intervals are about these hospitals, not about others.
    """

    family: ClassVar[Family] = "fairness"
    better: ClassVar = "near 0"
    version: ClassVar[int] = 3
    anchors: ClassVar[Anchors] = Anchors(ceiling="real")
    per_site: ClassVar[bool] = False

    bins: Annotated[int, Ge(2)] = 10

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        if len(evidence.beside) < 2:
            reason = "this needs records of several hospitals"
            return [Refusal(reason=reason, status="not applicable")]
        if refusal := _too_few(evidence.beside):
            return [refusal]
        ruler, known = (
            Ruler(evidence.encoder, self.bins, evidence.train),
            _large_enough(evidence.beside),
        )
        apart = {
            site: _distances(each.test, evidence.synthetic, ruler) for site, each in known.items()
        }
        size = np.log2([each.trained for each in known.values()])
        lever = (size - size.mean()) / ((size - size.mean()) ** 2).sum()
        slope = -(lever @ np.stack(list(apart.values())))
        n = sum(len(each.test) for each in known.values())
        return [
            measured(slope, n, least=-math.inf, most=math.inf),
            *(
                measured(found, len(known[site].test), key=Key(column=site), least=-math.inf)
                for site, found in apart.items()
            ),
        ]


def _large_enough(hospitals: Mapping[str, Hospital]) -> Mapping[str, Hospital]:
    return {site: each for site, each in hospitals.items() if len(each.test) >= FEW}


def _too_few(hospitals: Mapping[str, Hospital]) -> Refusal | None:
    """Say why a slope would tell nothing."""
    known = _large_enough(hospitals)
    if len(known) < ENOUGH:
        return Refusal(
            reason=f"{plural(len(known), 'hospital has', 'hospitals have')} {FEW} test patients; "
            f"a slope on size needs {ENOUGH}, because fewer are in the order of their sizes by "
            "chance too often"
        )
    sizes = [each.trained for each in known.values()]
    if max(sizes) < APART * min(sizes):
        return Refusal(
            reason=f"hospitals train with {min(sizes)} to {max(sizes)} patients; a slope on size "
            f"needs one that is {APART:g} times as large as another"
        )
    return None


def _distances(test: View, synthetic: View, ruler: Ruler) -> Floats:
    """Return the mean squared distance over columns, ``(1 + B,)``, unbiased in its first row.

    A share p of n patients is off by p (1 - p) / n in square, of which p (1 - p) / (n - 1) of the
    sample is an unbiased estimate. What sampling adds to the replicates once more is the same in
    all of them on average, and goes when they are centred.
    """
    sides = [level_shares(view, ruler) for view in (test, synthetic)]
    squared = np.asarray((sides[0] - sides[1]) ** 2).sum(axis=1)
    chance = [_chance(shares, view) for shares, view in zip(sides, (test, synthetic), strict=True)]
    found = (squared - chance[0] - chance[1]) / len(ruler.features)
    return np.asarray(np.where(np.isfinite(found), found, found[0]), dtype=np.float64)


def _chance(shares: Floats, view: View) -> Floats:
    weight = draws(view).sum(axis=1, dtype=np.float64)
    return np.asarray((shares * (1 - shares)).sum(axis=1) / np.maximum(weight - 1, 1))
