"""What the ways of dealing have in common: whole clusters go to numbered sites."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedbench.data import Cohort
from fedbench.errors import SpecError
from fedbench.nouns import plural
from fedbench.partition import Partition
from fedbench.seeds import Rng

__all__ = ["TRIES", "Clusters", "first_good", "shuffled"]

TRIES = 1_000
"""How often chance is asked again before a minimum is called impossible."""

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Clusters:
    """The clusters of a cohort: sorted, so that the order of rows decides nothing."""

    cohort: Cohort

    @cached_property
    def owner(self) -> Ints:
        """The number of every patient's cluster."""
        return np.unique(self.cohort.clusters.astype(str), return_inverse=True)[1]

    @cached_property
    def size(self) -> Ints:
        """How many patients every cluster has."""
        return np.bincount(self.owner)

    def highest(self, label: Ints) -> Ints:
        """Return the highest label in every cluster: with events, whether there was any."""
        found = np.zeros(len(self.size), dtype=np.intp)
        np.maximum.at(found, self.owner, label)
        return found

    def sizes(self, site: Ints, sites: int) -> Ints:
        """Return how many patients every site would get."""
        return np.bincount(site, weights=self.size, minlength=sites).astype(np.intp)

    def cut(self, chosen: Ints, shares: Floats) -> Ints:
        """Return a site for each of these clusters, in this order, by shares of patients."""
        size = self.size[chosen]
        middle = (np.cumsum(size) - size / 2) / size.sum()
        return np.asarray(np.searchsorted(np.cumsum(shares)[:-1], middle, side="right"))

    def partition(self, site: Ints, sites: int) -> Partition:
        """Return the partition in which every cluster lives at its site, the largest first.

        So a number stands for a similar hospital whatever the seed.
        """
        width = len(str(sites))
        rank = np.argsort(np.argsort(-self.sizes(site, sites), kind="stable"))
        home = rank[site[self.owner]]
        return Partition(
            {
                f"site-{number + 1:0{width}d}": self.cohort.patients[home == number]
                for number in range(sites)
            }
        )


def first_good(deals: Iterable[Ints], clusters: Clusters, sites: int, minimum: int) -> Partition:
    """Return the first deal in which every site has at least ``minimum`` patients.

    Raises:
        SpecError: there is none.
    """
    smallest = 0
    possible = len(clusters.cohort) >= sites * minimum
    for site in deals if possible else ():
        if (found := int(clusters.sizes(site, sites).min())) >= minimum:
            return clusters.partition(site, sites)
        smallest = max(smallest, found)
    raise SpecError(
        f"{plural(len(clusters.cohort), 'patient')} cannot be dealt to {plural(sites, 'site')} "
        f"with at least {plural(minimum, 'patient')} each"
        + (f": the best deal left a site with {smallest}. " if possible else ". ")
        + "Ask for fewer sites, less skew or a lower minimum."
    )


def shuffled(clusters: Clusters, rng: Rng) -> Ints:
    """Return all clusters in random order."""
    return rng.permutation(len(clusters.size))
