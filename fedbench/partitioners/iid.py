"""Hospitals that differ by chance alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedbench.data import Cohort
from fedbench.partition import Partition, Partitioner
from fedbench.partitioners._dealing import Clusters, first_good, several, shuffled
from fedbench.seeds import Rng


@dataclass(frozen=True, kw_only=True)
class Iid(Partitioner):
    """Equal numbers of patients at every site, drawn at random.

    Raises:
        SpecError: a site would have fewer than ``minimum`` patients.
    """

    sites: int = 4
    minimum: int = 10

    def __post_init__(self) -> None:
        several(self.sites, self.minimum)

    def deal(self, cohort: Cohort, rng: Rng) -> Partition:
        clusters = Clusters(cohort)
        order = shuffled(clusters, rng)
        site = np.empty(len(order), dtype=np.intp)
        site[order] = clusters.cut(order, np.full(self.sites, 1 / self.sites))
        return first_good([site], clusters, self.sites, self.minimum)
