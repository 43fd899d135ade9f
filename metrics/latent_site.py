"""Does a generator know from which hospital a patient is?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from scipy.stats import rankdata

from fedbench.data import Cohort
from fedbench.metric import Evidence, Family, Key, Measure, Metric, Refusal
from fedbench.metrics._draws import Floats, draws, measured, mended
from fedbench.metrics._encoded import encoded, records
from fedbench.nouns import plural
from fedbench.seeds import Rng
from fedbench.stats import permutation_p, weighted_auc

__all__ = ["LatentSite"]

Ints = NDArray[np.int64]

FEW = 20
"""Test patients below whom a hospital is left out."""

# As in ``detection``: near .5 folds learn from each other's accidents, and weights show only half
# of the variance.
_TWICE = math.sqrt(2)


@dataclass(frozen=True, kw_only=True)
class LatentSite(Metric):
    """AUC of a classifier that tells a patient's hospital from her hidden numbers; .5 is best.

    The trained generator encodes real test patients; a ridge regression on these numbers and their
    squares, cross-fitted, tells each hospital from the others. It is fitted and judged among
    patients with the same outcome, so that a hospital with more events is not known by those.
    The value is the mean over hospitals. ``floor`` is the mean of the same where hospitals are
    shuffled among patients with the same outcome, and the p-value says how often those come as
    high. Part ``records``: the same from the encoded records themselves, which says how unlike the
    patients are to begin with. Replicates weigh patients and refit nothing.

    Whether hospitals share one manifold is asked of domain-invariant representations (Ben-David et
    al. 2010, https://doi.org/10.1007/s10994-009-5152-4: the classifier's AUC bounds how far the
    hospitals' hidden numbers lie apart).
    """

    family: ClassVar[Family] = "fairness"
    better: ClassVar = "near 0.5"
    version: ClassVar[int] = 2
    per_site: ClassVar[bool] = False
    needs_model: ClassVar[bool] = True

    folds: Annotated[int, Ge(2)] = 5
    shuffles: Annotated[int, Ge(19)] = 99
    penalty: Annotated[float, Gt(0)] = 0.01
    patients: Annotated[int, Ge(100)] = 4000

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        latents = evidence.latents(evidence.test.cohort)
        if isinstance(latents, Refusal):
            return [latents]
        if not evidence.beside:
            reason = "it is not known from which hospital these patients are"
            return [Refusal(reason=reason, status="not applicable")]
        hospitals = _homes(evidence)
        rows = self._rows(hospitals, rng)
        sites, place = np.unique(hospitals[rows].astype(str), return_inverse=True)
        if len(sites) < 2:
            those = plural(len(sites), "hospital has", "hospitals have")
            reason = f"{those} at least {FEW} test patients; this needs 2"
            return [Refusal(reason=reason)]
        asked = evidence.test.cohort
        crowd = _Crowd(
            names=tuple(map(str, sites)),
            site=place.astype(np.int64),
            stratum=_strata(asked)[rows],
            clusters=asked.clusters[rows].astype(str),
            weights=draws(evidence.test)[:, rows],
        )
        known = encoded(evidence.encoder, records(evidence, evidence.test)).values.T
        return [
            *self._told(crowd, latents[rows], "", rng),
            *self._told(crowd, known[rows], "records", rng),
        ]

    def _rows(self, hospitals: NDArray[np.object_], rng: Rng) -> Ints:
        """Return who takes part: patients of hospitals that are large enough, not too many."""
        names, place, counts = np.unique(
            hospitals.astype(str), return_inverse=True, return_counts=True
        )
        del names
        chosen = rng.permutation(np.flatnonzero(counts[place] >= FEW))
        return np.sort(chosen[: self.patients])

    def _told(self, crowd: _Crowd, numbers: Floats, part: str, rng: Rng) -> Iterator[Measure]:
        course = _Course.of(crowd, numbers, self.folds, self.penalty, rng)
        scores = course.scores(crowd.site)
        value = crowd.areas(scores, crowd.site).mean()
        shuffled = (crowd.shuffled(rng) for _ in range(self.shuffles))
        null = np.array([crowd.areas(course.scores(s), s).mean() for s in shuffled])
        rows = np.stack([crowd.drawn(scores[:, k], k) for k in range(len(crowd.names))])
        rows = mended(rows)
        facts = {
            "floor": float(null.mean()),
            "noise_floor": float(np.diff(np.quantile(null, [0.025, 0.975]))[0] / 2),
        }
        if crowd.alone:
            facts["p_value"] = permutation_p(float(value), null)
        n = len(crowd.site)
        yield _measure(rows.mean(axis=0), n, part, Key(), facts)
        for k, name in enumerate(crowd.names):
            mine = int((crowd.site == k).sum())
            yield _measure(rows[k], mine, part, Key(column=name), {})


def _homes(evidence: Evidence) -> NDArray[np.object_]:
    """Return where each test patient is from, in their order."""
    known = [each.test.cohort.patients for each in evidence.beside.values()]
    sites = np.repeat(np.array([*evidence.beside], dtype=object), [len(each) for each in known])
    patients = np.concatenate(known)
    order = np.argsort(patients)
    place = np.searchsorted(patients, evidence.test.cohort.patients, sorter=order)
    return np.asarray(sites[order[place]])


@dataclass(frozen=True)
class _Crowd:
    """Patients with hospital, outcome, cluster and weights ``(1 + B, n)``."""

    names: tuple[str, ...]
    site: Ints
    stratum: Ints
    clusters: NDArray[np.str_]
    weights: NDArray[np.uint8]

    @property
    def alone(self) -> bool:
        """Whether nobody belongs together with somebody else, so that all may be shuffled."""
        return len(np.unique(self.clusters)) == len(self.clusters)

    def shuffled(self, rng: Rng) -> Ints:
        """Return hospitals that are dealt anew among patients with the same outcome."""
        found = self.site.copy()
        for mine in self._strata():
            found[mine] = rng.permutation(found[mine])
        return found

    def lessened(self, values: Floats, seen: NDArray[np.bool_] | None = None) -> Floats:
        """Return values without the means of their strata, which are those of whoever is seen."""
        found = values.astype(np.float64)
        for mine in self._strata():
            known = mine if seen is None else mine & seen
            if known.any():
                found[mine] -= values[known].mean(axis=0)
        return found

    def centred(self, values: Floats) -> Floats:
        """Return the same divided by their spread; a column that is constant is 0."""
        found = self.lessened(values)
        spread = found.std(axis=0)
        varies = spread > 1e-9 * (1 + np.abs(values).max(axis=0, initial=0))
        return np.where(varies, found / np.where(varies, spread, 1.0), 0.0)

    def areas(self, scores: Floats, site: Ints) -> Floats:
        """Return the AUC of every hospital within strata, weighted by pairs."""
        won, pairs = np.zeros(len(self.names)), np.zeros(len(self.names))
        for mine in self._strata():
            ranks, hot = rankdata(scores[mine], axis=0), np.eye(len(self.names))[site[mine]]
            ones = hot.sum(axis=0)
            won += (ranks * hot).sum(axis=0) - ones * (ones + 1) / 2
            pairs += ones * (len(hot) - ones)
        return np.asarray(won / np.maximum(pairs, 1))

    def drawn(self, scores: Floats, site: int) -> Floats:
        """Return the AUC of one hospital under all weights, ``(1 + B,)``."""
        total, pairs = np.zeros(len(self.weights)), 0
        for mine in self._strata():
            here = self.site[mine] == site
            many = int(here.sum() * (~here).sum())
            if many:
                total += many * weighted_auc(scores[mine], here, self.weights[:, mine])
                pairs += many
        return total / pairs if pairs else np.full(len(self.weights), 0.5)

    def _strata(self) -> Iterator[NDArray[np.bool_]]:
        for value in np.unique(self.stratum):
            yield self.stratum == value


@dataclass(frozen=True)
class _Course:
    """Ridge regressions of folds: who is seen, and what turns her hospitals into slopes."""

    crowd: _Crowd
    wide: Floats
    folds: Sequence[tuple[NDArray[np.bool_], Floats]]

    @classmethod
    def of(cls, crowd: _Crowd, numbers: Floats, folds: int, penalty: float, rng: Rng) -> _Course:
        wide = crowd.centred(numbers)
        wide = np.concatenate([wide, crowd.centred(wide**2)], axis=1)
        wide = wide[:, wide.any(axis=0)]
        names, owner = np.unique(crowd.clusters, return_inverse=True)
        fold = (rng.permutation(len(names)) % folds)[owner]
        found = []
        for held in range(folds):
            seen, mine = fold != held, wide[fold != held]
            inner = mine.T @ mine / len(mine) + penalty * np.eye(wide.shape[1])
            found.append((seen, np.linalg.solve(inner, mine.T / len(mine))))
        return cls(crowd, wide, found)

    def scores(self, site: Ints) -> Floats:
        """Return how those who were not seen are scored for each hospital, ``(n, hospitals)``."""
        hot = np.eye(len(self.crowd.names))[site]
        found = np.zeros_like(hot)
        for seen, slopes in self.folds:
            known = self.crowd.lessened(hot, seen)
            found[~seen] = self.wide[~seen] @ (slopes @ known[seen])
        return found


def _strata(cohort: Cohort) -> Ints:
    """Return how it ended for each patient: the outcome, else the first column to be foreseen."""
    if len(cohort.outcome):
        return cohort.event.astype(np.int64)
    named = [task.column for task in cohort.schema.tasks.values() if task.column]
    for name in named:
        if cohort.schema.static[name].kind == "category":
            return np.asarray(cohort.table[name].cat.codes, dtype=np.int64)
    return np.zeros(len(cohort), dtype=np.int64)


def _measure(rows: Floats, n: int, part: str, key: Key, facts: dict[str, float]) -> Measure:
    found = measured(rows[0] + _TWICE * (rows - rows[0]), n, part=part, key=key)
    return replace(found, facts=facts)
