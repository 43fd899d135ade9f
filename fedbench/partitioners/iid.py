"""Hospitals that differ by chance alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from fedbench.data import Cohort
from fedbench.partition import Partition, Partitioner
from fedbench.partitioners._dealing import Clusters, first_good, shuffled
from fedbench.seeds import Rng


@dataclass(frozen=True, kw_only=True)
class Iid(Partitioner):
    """Equal numbers of patients at every site, drawn at random.

    Raises:
        SpecError: a site would have fewer than ``minimum`` patients.
    """

    sites: Annotated[int, Ge(1)] = 4
    minimum: Annotated[int, Ge(1)] = 10

    def deal(self, cohort: Cohort, rng: Rng) -> Partition:
        clusters = Clusters(cohort)
        order = shuffled(clusters, rng)
        site = np.empty(len(order), dtype=np.intp)
        site[order] = clusters.cut(order, np.full(self.sites, 1 / self.sites))
        return first_good([site], clusters, self.sites, self.minimum)
