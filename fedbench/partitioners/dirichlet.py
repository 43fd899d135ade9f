"""Hospitals with different patients, as strongly different as one wants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from fedbench.data import Cohort
from fedbench.errors import SpecError, Unsupported
from fedbench.partition import Partition, Partitioner
from fedbench.partitioners._dealing import TRIES, Clusters, first_good
from fedbench.seeds import Rng

GROUPS = 4


@dataclass(frozen=True, kw_only=True)
class Dirichlet(Partitioner):
    """Patients of one kind gather at some of the sites: label skew.

    The patients with each value of ``by`` (``outcome``: with and without the event; a column
    of the static table: its levels, or the quarters of a number) are divided over the sites
    by shares drawn from a Dirichlet distribution; the smaller ``alpha``, the more the sites
    differ (Li, Diao, Chen and He 2022, https://arxiv.org/abs/2102.02079). A cluster counts as
    having the event if anyone in it has, and goes by its highest value otherwise.
    A draw that leaves a site with fewer than ``minimum`` patients is drawn again.

    Raises:
        Unsupported: the cohort has no outcome.
        SpecError: there is no such column, or a site would have too few patients.
    """

    by: str = "outcome"
    sites: Annotated[int, Ge(1)] = 4
    alpha: Annotated[float, Gt(0)] = 0.5
    minimum: Annotated[int, Ge(1)] = 10

    def deal(self, cohort: Cohort, rng: Rng) -> Partition:
        clusters = Clusters(cohort)
        label = clusters.highest(self._labels(cohort))
        deals = self._deals(clusters, label, rng)
        return first_good(deals, clusters, self.sites, self.minimum)

    def _deals(
        self, clusters: Clusters, label: NDArray[np.intp], rng: Rng
    ) -> Iterator[NDArray[np.intp]]:
        order = rng.permutation(len(label))
        same = [order[label[order] == value] for value in np.unique(label)]
        for _ in range(TRIES):
            site = np.empty(len(label), dtype=np.intp)
            for chosen in same:
                shares = rng.dirichlet(np.full(self.sites, self.alpha))
                site[chosen] = clusters.cut(chosen, shares)
            yield site

    def _labels(self, cohort: Cohort) -> NDArray[np.intp]:
        if self.by == "outcome":
            if cohort.schema.outcome is None:
                raise Unsupported(
                    f"The cohort {cohort.schema.name!r} has no outcome to deal by; "
                    "name a column of the static table instead."
                )
            return cohort.event.astype(np.intp)
        column = cohort.schema.static.get(self.by)
        if column is None:
            known = ", ".join(["outcome", *cohort.schema.static])
            raise SpecError(f"There is no column {self.by!r} to deal by. Known: {known}.")
        values = cohort.static[self.by]
        if column.kind == "category":
            codes = pd.Categorical(values, categories=list(column.levels)).codes
        else:
            codes = pd.qcut(values, GROUPS, labels=False, duplicates="drop").fillna(-1).to_numpy()
        return np.asarray(codes).astype(np.intp) + 1
