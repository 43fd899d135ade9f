"""Are columns the same for all practical purposes, rather than just not shown to differ?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Gt, Lt

from fedbench.data import Feature
from fedbench.metric import Anchors, Evidence, Family, Key, Measure, Metric, Refusal, View
from fedbench.metrics._draws import Floats, measured, mended, over, shares, unfolded
from fedbench.metrics._values import having, too_few
from fedbench.seeds import Rng

__all__ = ["Equivalence"]

Said = Literal["equivalent", "different", "undecided"]

ONE_SIDED = 1.6448536269514722
"""Standard errors below which 5 % of normal estimates lie."""


@dataclass(frozen=True, kw_only=True)
class Equivalence(Metric):
    """The share of columns that are not shown to be equivalent in real and synthetic patients.

    With enough patients every difference is significant, with few none is; so each column is held
    against a margin that is declared. Of a number, the difference of means in standard deviations
    of the training records (``margin``); of a category and of gaps, the largest difference in the
    share of a level (``share``). Two one-sided tests (Schuirmann 1987,
    https://doi.org/10.1007/BF01068419): *equivalent* where both reject at 5 %, which is where the
    90 % interval lies within the margin; *different* where it lies beyond; else *undecided*. For
    a category all levels must be equivalent, so that no correction is called for (Berger 1982,
    https://doi.org/10.1080/00401706.1982.10487790).

    Beside every verdict stands the p-value of the plain two-sample test, adjusted by Holm over all
    tests of fidelity: Kolmogorov and Smirnov's for numbers, chi-squared for levels. There is none
    where patients belong to clusters, which those tests know nothing of; standard errors come from
    the bootstrap, which draws whole clusters. A number that fewer than ten patients of a side
    have has no verdict, and the share of columns says over how many it is.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "lower"
    version: ClassVar[int] = 2
    anchors: ClassVar[Anchors] = Anchors(floor="uniform", ceiling="real")

    margin: Annotated[float, Gt(0)] = 0.2
    share: Annotated[float, Gt(0), Lt(1)] = 0.05

    def __post_init__(self) -> None:
        if not self.margin > 0 or not 0 < self.share < 1:
            raise ValueError("margin and share are above 0, and a share is below 1")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        found: list[Measure] = []
        beyond: list[Floats] = []
        refused: list[Refusal] = []
        for feature in evidence.schema.features:
            gaps = _gaps(feature, evidence)
            if isinstance(gaps, Refusal):
                refused.append(gaps)
                continue
            limit = self.share if feature.column.kind == "category" else self.margin
            verdict, short = _judged(gaps, limit)
            largest = unfolded(gaps.T).max(axis=1)
            part = "share" if feature.column.kind == "category" else "means"
            row = measured(
                largest,
                _size(feature, evidence),
                part=part,
                key=Key(column=feature.name),
                most=1.0 if part == "share" else np.inf,
            )
            facts: dict[str, object] = {"equivalence": verdict}
            if evidence.schema.cluster is None:
                facts["p_value"] = _difference(feature, evidence)
            found.append(replace(row, facts=facts))
            beyond.append(short)
        if not found:
            return refused
        overall = measured(np.stack(beyond).mean(axis=0), len(evidence.test))
        overall = over(overall, len(found), len(evidence.schema.features))
        return [overall, *found, *refused]


def _gaps(feature: Feature, evidence: Evidence) -> Floats | Refusal:
    """Return the differences of a column, (levels or 1, 1 + B), synthetic minus real."""
    is_category = feature.column.kind == "category"
    if not is_category and (refused := too_few(evidence, feature.name, "means")):
        return refused
    gaps = mended(_means(evidence.synthetic, feature) - _means(evidence.test, feature))
    if is_category:
        return gaps
    spread = float(evidence.train.table[feature.name].std(ddof=0))
    if not spread > 0:
        reason = "it does not vary among the training records"
        return Refusal(reason=reason, part="means", key=Key(column=feature.name))
    return gaps / spread


def _size(feature: Feature, evidence: Evidence) -> int:
    """Return how many real patients are compared: of categories all, as gaps are a level."""
    if feature.column.kind == "category":
        return len(evidence.test)
    return having(evidence.test, feature.name)


def _means(view: View, feature: Feature) -> Floats:
    """Return the mean of those who have a value, or the share of each level and of gaps."""
    return view.shared(f"equivalence: {feature.name}", lambda: _computed(view, feature))


def _computed(view: View, feature: Feature) -> Floats:
    if feature.column.kind == "category":
        codes = view.table[feature.name].cat.codes.to_numpy()
        levels = np.arange(-1, len(feature.column.levels))
        return shares(view, (codes[:, None] == levels).astype(np.float32)).T
    values = view.table[feature.name].to_numpy(float)
    there = np.isfinite(values)
    middle = values[there].mean()
    # In single precision, which is as good as exact around the mean.
    columns = np.stack([np.where(there, values - middle, 0.0), there], axis=1).astype(np.float32)
    with np.errstate(invalid="ignore"):
        moved = np.divide(*shares(view, columns).T)
    moved[0] = 0.0
    return np.asarray(middle + moved)[None]


def _judged(gaps: Floats, limit: float) -> tuple[Said, Floats]:
    """Return the verdict, and whether equivalence is not shown, in every draw."""
    reach = ONE_SIDED * gaps[:, 1:].std(axis=1, keepdims=True)
    size = np.abs(gaps)
    short = (size + reach >= limit).any(axis=0)
    if not short[0]:
        verdict: Said = "equivalent"
    else:
        verdict = "different" if (size - reach > limit).any(axis=0)[0] else "undecided"
    return verdict, short.astype(np.float64)


def _difference(feature: Feature, evidence: Evidence) -> float:
    """Return the p-value of the usual two-sample test."""
    from scipy.stats import chi2_contingency, ks_2samp  # noqa: PLC0415

    real, fake = (v.table[feature.name] for v in (evidence.test, evidence.synthetic))
    if feature.column.kind != "category":
        return float(ks_2samp(real.dropna(), fake.dropna(), method="asymp").pvalue)
    width = len(feature.column.levels) + 1
    counts = np.stack([np.bincount(side.cat.codes + 1, minlength=width) for side in (real, fake)])
    counts = counts[:, counts.any(axis=0)]
    return float(chi2_contingency(counts, correction=False).pvalue) if counts.shape[1] > 1 else 1.0
