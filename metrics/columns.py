"""How do single columns differ: by the statistics that their kinds are compared by?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from fedbench.data import Feature
from fedbench.metric import Anchors, Evidence, Family, Key, Measure, Metric, Refusal
from fedbench.metrics._draws import Floats, measured, mended, over, steadied
from fedbench.metrics._ruler import Ruler, level_shares
from fedbench.metrics._values import Values, distances, having, outside, too_few
from fedbench.metrics._worth import owners, worth
from fedbench.seeds import Rng
from fedbench.stats import clopper_pearson

__all__ = ["Columns"]

NUMERIC = ("ks", "wasserstein")
SHARES = ("outside", "uncovered")
SCALED = "wasserstein"
"""The part that is in units of a standard deviation, and has no upper end."""


@dataclass(frozen=True, kw_only=True)
class Columns(Metric):
    """Distances between real and synthetic columns, for each and on average over columns.

    Part ``ks``: the largest gap between the two distribution functions of a number. Part
    ``wasserstein``: how far its values must be moved on average, in standard deviations of the
    training records. Part ``jensen_shannon``: of any column, on the levels of ``Ruler``, gaps
    included (distance to base 2). Part ``outside``: the share of synthetic values that lie beyond
    those of the training records, or are levels that none of them has. Part ``uncovered``: the
    share of real test values that lie beyond the synthetic ones, or are levels that none has.
    Both take the ends of that range as they are: one record decides them, and the interval tells
    nothing of other releases. It stays open where nobody lies beyond, as Clopper and Pearson's.

    All but ``jensen_shannon`` are among those who have a value, as in SDMetrics, of which
    ``KSComplement``, and, for ``outside``, ``BoundaryAdherence`` and ``CategoryAdherence`` (real
    records being those trained on) are 1 minus these. Its ``RangeCoverage`` and
    ``CategoryCoverage`` count ranges and levels where ``uncovered`` counts patients: of how much
    of a range is missing an outlier decides, and how little depends on it is not seen.

    A column of which fewer than ten patients of a side have a value has no row, and is left out
    of the means, which then say so; ``marginals`` and ``missingness`` see it.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "lower"
    version: ClassVar[int] = 2
    anchors: ClassVar[Anchors] = Anchors(floor="uniform", ceiling="real")

    bins: Annotated[int, Ge(2)] = 20

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise ValueError(f"bins is {self.bins}; expected at least 2")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        found: dict[str, dict[str, Floats]] = {}
        refused: list[Refusal] = []
        for name, parts in self._by_column(evidence):
            if isinstance(parts, Refusal):
                refused.append(parts)
                continue
            for part, rows in parts.items():
                if np.isfinite(rows[0]):
                    found.setdefault(part, {})[name] = rows
        features, answers = evidence.schema.features, list[Measure]()
        for part, by_name in found.items():
            rows = mended(np.stack(list(by_name.values())))
            mean = _measured(rows.mean(axis=0), len(evidence.test), part)
            if part in SHARES:
                named = zip(rows, by_name, strict=True)
                limits = [_limits(row, part, name, evidence) for row, name in named]
                mean = steadied(mean, rows, np.array(limits))
            of = [f for f in features if part not in NUMERIC or f.column.kind != "category"]
            answers.append(over(mean, len(by_name), len(of)))
        for part, by_name in found.items():
            answers += [_of_column(rows, part, name, evidence) for name, rows in by_name.items()]
        return [*answers, *refused]

    def _by_column(
        self, evidence: Evidence
    ) -> Iterator[tuple[str, Mapping[str, Floats] | Refusal]]:
        ruler = Ruler(evidence.encoder, self.bins, evidence.train)
        sides = level_shares(evidence.test, ruler), level_shares(evidence.synthetic, ruler)
        ends = np.append(ruler.starts, ruler.widths.sum())
        for feature, start, end in zip(ruler.features, ends[:-1], ends[1:], strict=True):
            shares = [side[:, start:end] for side in sides]
            yield feature.name, {"jensen_shannon": _jensen_shannon(shares[0], shares[1])}
            if feature.column.kind == "category":
                real, fake = (side[:, : len(feature.column.levels)] for side in shares)
                few = too_few(evidence, feature.name, "outside")
                yield feature.name, few or _of_levels(feature, real, fake, evidence)
            else:
                few = too_few(evidence, feature.name, "ks")
                yield feature.name, few or _of_numbers(feature, evidence)


def _of_numbers(feature: Feature, evidence: Evidence) -> Mapping[str, Floats]:
    real, fake = (Values.of(v, feature.name) for v in (evidence.test, evidence.synthetic))
    ks, moved = distances(real, fake)
    trained = evidence.train.table[feature.name].dropna()
    scale = float(trained.std(ddof=0)) if len(trained) else 0.0
    found = {"ks": ks, "uncovered": outside(fake.values[0], fake.values[-1], real)}
    if len(trained):
        found["outside"] = outside(trained.min(), trained.max(), fake)
    return {**found, SCALED: moved / scale} if scale > 0 else found


def _of_levels(
    feature: Feature, real: Floats, fake: Floats, evidence: Evidence
) -> Mapping[str, Floats]:
    trained = evidence.encoder.counts[feature.name][:-1] > 0
    return {"outside": _unknown(trained, fake), "uncovered": _unknown(fake[0] > 0, real)}


def _unknown(known: NDArray[np.bool_], found: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(found[:, ~known].sum(axis=1) / found.sum(axis=1))


def _jensen_shannon(real: Floats, fake: Floats) -> Floats:
    middle = (real + fake) / 2
    return np.asarray(np.sqrt(np.maximum(_bits(real, middle) + _bits(fake, middle), 0) / 2))


def _bits(p: Floats, middle: Floats) -> Floats:
    ratio = np.divide(p, middle, out=np.ones_like(p), where=p > 0)
    return np.asarray((p * np.log2(ratio)).sum(axis=1))


def _measured(rows: Floats, n: int, part: str, column: str = "") -> Measure:
    most = np.inf if part == SCALED else 1.0
    return measured(rows, n, part=part, key=Key(column=column), most=most)


def _of_column(rows: Floats, part: str, column: str, evidence: Evidence) -> Measure:
    """Return the measure of a column, among those whom it is about.

    Where it is a share of them its limits are not closer than Clopper and Pearson's.
    """
    if part == "jensen_shannon":
        return _measured(rows, len(evidence.test), part, column)
    n = having(evidence.synthetic if part == "outside" else evidence.test, column)
    found = _measured(rows, n, part, column)
    if part not in SHARES:
        return found
    low, high = _limits(rows, part, column, evidence)
    return replace(found, low=min(found.low, low), high=max(found.high, high))


def _limits(rows: Floats, part: str, column: str, evidence: Evidence) -> tuple[float, float]:
    """Return Clopper and Pearson's limits of a share.

    Where no draw moves it, real patients of clusters count as many as they are worth.
    """
    view = evidence.synthetic if part == "outside" else evidence.test
    n = float(having(view, column))
    if part == "uncovered" and not np.ptp(rows):
        owner = owners(view.cohort)[view.table[column].notna().to_numpy()]
        n = float(worth(owner, np.zeros((len(owner), 1), dtype=bool))[0])
    found = clopper_pearson(float(rows[0]) * n, n)
    return found.low, found.high
