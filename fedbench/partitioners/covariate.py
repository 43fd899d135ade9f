"""Hospitals with older, sicker or more recent patients than others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from fedbench.data import Cohort
from fedbench.errors import SpecError
from fedbench.partition import Partition, Partitioner
from fedbench.partitioners._dealing import Clusters, first_good
from fedbench.seeds import Rng


@dataclass(frozen=True, kw_only=True)
class Covariate(Partitioner):
    """Sites along a column: the youngest at one, the oldest at another, as sharply as one wants.

    Patients are put in order by ``strength`` x z + sqrt(1 - ``strength`` ** 2) x noise, where z is
    the normal score of their column, and cut into sites of equal size; so ``strength`` is the
    correlation of that order with the column: 0 is chance, 1 a sharp cut. Who has no value goes
    anywhere; a cluster goes by the mean of its members.

    Attributes:
        by: a column of the patient table: a static one (age, year), ``NAME@WINDOW`` of a visit
            column, ``time``; a category counts in the order of its levels.
        sites: how many.
        strength: from 0 to 1.
        minimum: patients that a site must have.

    Raises:
        SpecError: there is no such column, nobody has a value, or a site would be too small.
    """

    by: str = "age"
    sites: Annotated[int, Ge(1)] = 4
    strength: Annotated[float, Interval(ge=0, le=1)] = 0.8
    minimum: Annotated[int, Ge(1)] = 10

    def deal(self, cohort: Cohort, rng: Rng) -> Partition:
        clusters = Clusters(cohort)
        noise = rng.standard_normal(len(clusters.size))
        score = _normal_scores(_of_clusters(self._values(cohort), clusters))
        known = np.isfinite(score)
        pull = np.where(known, self.strength, 0.0)
        place = pull * np.where(known, score, 0.0) + np.sqrt(1 - pull**2) * noise
        order = np.argsort(place, kind="stable")
        site = np.empty(len(order), dtype=np.intp)
        site[order] = clusters.cut(order, np.full(self.sites, 1 / self.sites))
        return first_good([site], clusters, self.sites, self.minimum)

    def _values(self, cohort: Cohort) -> NDArray[np.float64]:
        features = {feature.name: feature for feature in cohort.schema.features}
        if self.by not in features:
            known = ", ".join(features)
            near = [name for name in features if name.startswith(f"{self.by}@")]
            meant = f" Did you mean {' or '.join(map(repr, near[:3]))}?" if near else ""
            raise SpecError(f"There is no column {self.by!r} to deal by.{meant} Known: {known}.")
        column = cohort.table[self.by]
        if features[self.by].column.kind == "category":
            codes = column.cat.codes.to_numpy(dtype=np.float64)
            values = np.where(codes < 0, np.nan, codes)
        else:
            values = column.to_numpy(dtype=np.float64)
        if np.isnan(values).all():
            raise SpecError(f"Nobody has a value of {self.by!r} to deal by.")
        return values


def _of_clusters(values: NDArray[np.float64], clusters: Clusters) -> NDArray[np.float64]:
    """Return the mean of each cluster's values, NaN where it has none."""
    there = np.isfinite(values)
    total = np.bincount(clusters.owner, np.where(there, values, 0.0), len(clusters.size))
    count = np.bincount(clusters.owner, there, len(clusters.size))
    found = np.full(len(total), np.nan)
    np.divide(total, count, out=found, where=count > 0)
    return found


def _normal_scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
    rank = rankdata(values, nan_policy="omit")
    return np.asarray(ndtri(rank / (np.isfinite(values).sum() + 1)))
