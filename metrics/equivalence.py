"""Are columns the same for all practical purposes, rather than just not shown to differ?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Gt, Lt
from numpy.typing import NDArray

from fedbench.data import Feature
from fedbench.metric import Anchors, Evidence, Family, Key, Measure, Metric, Refusal
from fedbench.metrics._draws import Floats, measured, over
from fedbench.metrics._margins import Apart, levels_apart, means_apart
from fedbench.metrics._values import fences, having, too_few
from fedbench.seeds import Rng
from fedbench.stats import permutation_p

__all__ = ["Equivalence"]

EXPECTED = 5
"""Patients expected of every level on either side, below which chi-squared's law is not its own."""
DEALS = 9_999
"""How often patients are then dealt anew: no p is below .0001, however many columns there are."""
NUMBERS = 1 << 21  # a block of deals holds this many


@dataclass(frozen=True, kw_only=True)
class Equivalence(Metric):
    """The share of columns that are not shown to be equivalent in real and synthetic patients.

    With enough patients every difference is significant, with few none is; so each column is held
    against a margin that is declared. Of a number, the difference of means in standard deviations
    of the training records (``margin``), where no value counts as further out than three times
    what their middle nine tenths span; of a category and of gaps, the largest difference in the
    share of a level (``share``). Two one-sided tests (Schuirmann 1987,
    https://doi.org/10.1007/BF01068419): *equivalent* where both reject at 5 %, which is where the
    90 % interval lies within the margin; *different* where it lies beyond; else *undecided*.
    Intervals are Welch's for means and Newcombe's for shares, which stay open where nobody was
    seen with a level. For a category all levels must be equivalent, so that no correction is
    called for (Berger 1982, https://doi.org/10.1080/00401706.1982.10487790); for one of them to
    be different it is Bonferroni's.

    Beside every verdict stands the p-value of the plain two-sample test, adjusted by Holm over all
    tests of fidelity: Kolmogorov and Smirnov's for numbers, chi-squared for levels, of which
    patients dealt anew to the two sides tell the law where fewer than five are expected with a
    level. There is none
    where patients belong to clusters, which those tests know nothing of; verdicts count clusters.
    A number that fewer than ten patients of a side have has no verdict, and the share of columns
    says over how many it is. It counts *undecided* columns too, which is what few patients make of
    any; part ``different`` is the share of columns that are shown to be different, and what lies
    between the two is undecided.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "lower"
    version: ClassVar[int] = 3
    anchors: ClassVar[Anchors] = Anchors(floor="uniform", ceiling="real")

    margin: Annotated[float, Gt(0)] = 0.2
    share: Annotated[float, Gt(0), Lt(1)] = 0.05

    def __post_init__(self) -> None:
        if not self.margin > 0 or not 0 < self.share < 1:
            raise ValueError("margin and share are above 0, and a share is below 1")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        found: list[Measure] = []
        short: list[Floats] = []
        beyond: list[Floats] = []
        refused: list[Refusal] = []
        for feature in evidence.schema.features:
            apart = self._apart(feature, evidence)
            if isinstance(apart, Refusal):
                refused.append(apart)
                continue
            facts: dict[str, object] = {"equivalence": apart.verdict}
            if evidence.schema.cluster is None:
                facts["p_value"] = _difference(feature, evidence, rng)
            found.append(replace(_row(feature, apart, evidence), facts=facts))
            short.append(apart.short)
            beyond.append(apart.beyond)
        if not found:
            return refused
        shares = [
            over(
                measured(np.stack(rows).mean(axis=0), len(evidence.test), part=part),
                len(found),
                len(evidence.schema.features),
            )
            for part, rows in (("", short), ("different", beyond))
        ]
        return [shares[0], *found, shares[1], *refused]

    def _apart(self, feature: Feature, evidence: Evidence) -> Apart | Refusal:
        if feature.column.kind == "category":
            return levels_apart(feature, evidence, self.share)
        if refused := too_few(evidence, feature.name, "means"):
            return refused
        known = evidence.train.table[feature.name].to_numpy(dtype=float)[:, None]
        low, high = fences(known)
        spread = float(np.nanstd(known.clip(low, high))) if np.isfinite(known).any() else 0.0
        if not spread > 0:
            reason = "it does not vary among the training records"
            return Refusal(reason=reason, part="means", key=Key(column=feature.name))
        return means_apart(feature, evidence, spread, self.margin, (float(low[0]), float(high[0])))


def _row(feature: Feature, apart: Apart, evidence: Evidence) -> Measure:
    """Return the largest difference; its limits are not closer than those of the tests.

    It is about real patients who have a value, of categories about all, as gaps are a level.
    """
    is_category = feature.column.kind == "category"
    found = measured(
        apart.largest,
        len(evidence.test) if is_category else having(evidence.test, feature.name),
        part="share" if is_category else "means",
        key=Key(column=feature.name),
        most=1.0 if is_category else np.inf,
    )
    low, high = apart.limits
    return replace(found, low=min(found.low, low), high=max(found.high, high))


def _difference(feature: Feature, evidence: Evidence, rng: Rng) -> float:
    """Return the p-value of the usual two-sample test."""
    from scipy.stats import chi2_contingency, ks_2samp  # noqa: PLC0415

    real, fake = (v.table[feature.name] for v in (evidence.test, evidence.synthetic))
    if feature.column.kind != "category":
        return float(ks_2samp(real.dropna(), fake.dropna(), method="asymp").pvalue)
    width = len(feature.column.levels) + 1
    counts = np.stack([np.bincount(side.cat.codes + 1, minlength=width) for side in (real, fake)])
    counts = counts[:, counts.any(axis=0)]
    if counts.shape[1] == 1:
        return 1.0
    found = chi2_contingency(counts, correction=False)
    if found.expected_freq.min() >= EXPECTED:
        return float(found.pvalue)
    return _dealt(counts, found.expected_freq, rng)


def _dealt(counts: NDArray[np.int64], expected: Floats, rng: Rng) -> float:
    """Return the p-value of chi-squared among patients dealt anew to the sides, levels in rows."""
    weight = (1 / expected).sum(axis=0)
    step = max(1, NUMBERS // len(weight))
    null = [
        (rng.multivariate_hypergeometric(counts.sum(axis=0), counts[0].sum(), size) - expected[0])
        ** 2
        @ weight
        for size in np.diff([*range(0, DEALS, step), DEALS])
    ]
    # Rounding must not tell tables apart that are mirror images.
    observed = float((counts[0] - expected[0]) ** 2 @ weight) * (1 - 1e-9)
    return permutation_p(observed, np.concatenate(null))
