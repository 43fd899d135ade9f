"""By how much something became worse, and how far to trust that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fedbench.compare.primary import SHARES
from fedbench.compare.runs import About, Row, Run
from fedbench.direction import badness

__all__ = ["Worsening", "worsening"]

Floats = NDArray[np.float64]

HALF_WIDTH = NormalDist().inv_cdf(0.975)
"""Half of a 95 % interval, in standard deviations."""


@dataclass(frozen=True)
class Worsening:
    """By how much one thing became worse in each seed, and how far to trust the mean.

    Attributes:
        base: what it was in each seed.
        head: what it is.
        worse: by how much it became worse; shares as logarithms.
        patients: the variance that the choice of test patients gives each of them, from the
            bootstrap over clusters of patients, drawn alike in both runs.
        overlap: test patients per training patient.

    A limit is the further one of two. That over seeds is the corrected resampled t (Nadeau and
    Bengio 2003, https://doi.org/10.1023/A:1024068626366): seeds split the same patients anew, so
    their mean varies by (1/k + overlap) times what they vary around it. What test patients do is
    part of that and is not added once more. But the correction is a rule of thumb, and five seeds
    can agree by chance: so the limit is at least as far away as that within a seed, whose variance
    is not divided by the number of seeds, as if all had the same test patients.
    """

    base: Floats
    head: Floats
    worse: Floats
    patients: Floats
    overlap: float

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return float(self.worse.mean())

    @property
    def identical(self) -> bool:
        """Whether nothing at all has changed, for no patient."""
        return not self.worse.any() and not self.patients.any()

    def half(self, error: float) -> float:
        """Return how far a one-sided limit with this error lies from the mean."""
        k = len(self.worse)
        if k < 2:
            return math.inf
        within = math.sqrt(self.patients.mean())
        between = math.sqrt((1 / k + self.overlap) * self.worse.var(ddof=1))
        normal, student = _quantiles(error, k - 1)
        return max(normal * within, student * between)


@lru_cache(maxsize=256)
def _quantiles(error: float, freedom: int) -> tuple[float, float]:
    return float(stats.norm.isf(error)), float(stats.t.isf(error, freedom))


def worsening(base: Run, head: Run, about: About, seeds: Sequence[int]) -> Worsening | None:
    """Return by how much something became worse, over the seeds in which both runs have it."""
    pairs = [
        (base.rows[about][seed], head.rows[about][seed])
        for seed in seeds
        if base.done(about, seed) and head.done(about, seed)
    ]
    if not pairs:
        return None
    before, after = (np.array([pair[i]["value"] for pair in pairs], dtype=float) for i in (0, 1))
    if about.name in SHARES:
        worse = np.log(np.maximum(after, 1) / np.maximum(before, 1))
    else:
        better = _better(about, pairs[0][0])
        worse = badness(after, better) - badness(before, better)
    variances = [
        _variance(_draws(base, about, one), _draws(head, about, two), (one, two))
        for one, two in pairs
    ]
    overlap = max(run.overlap.get((about.dataset, about.scenario), 0.0) for run in (base, head))
    return Worsening(before, after, worse, np.array(variances), overlap)


def _better(about: About, row: Row) -> str:
    """Say which way it is better; gains are good and taxes bad, whatever the measure."""
    return {"gain": "higher", "tax": "lower"}.get(about.target, str(row["better"]))


def _draws(run: Run, about: About, row: Row) -> Floats | None:
    """Return how bad bootstrap replicates are, those of the worst hospital from those of all."""
    if about.place == "worst" and row.get("replicates") is None:
        rows = [run.rows[hospital].get(row["seed"], {}) for hospital in run.hospitals(about)]
    else:
        rows = [row]
    known = [
        badness(each["replicates"], _better(about, each), of=each["value"])
        for each in rows
        if each.get("replicates") is not None
    ]
    return np.asarray(np.max(known, axis=0)) if known else None


def _variance(one: Floats | None, two: Floats | None, rows: tuple[Row, Row]) -> float:
    """Return what the choice of test patients adds to a difference.

    Without replicates that is what both intervals say, as if they had no patient in common.
    """
    if one is not None and two is not None:
        apart = two - one
        return float(np.var(apart[np.isfinite(apart)]))
    return math.fsum(((row["high"] - row["low"]) / 2 / HALF_WIDTH) ** 2 for row in rows)
