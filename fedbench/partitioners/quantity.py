"""Large and small hospitals with the same kind of patients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray

from fedbench.data import Cohort
from fedbench.errors import SpecError
from fedbench.partition import Partition, Partitioner
from fedbench.partitioners._dealing import TRIES, Clusters, first_good, shuffled
from fedbench.seeds import Rng

SITES = 4
"""Where nothing is said."""


@dataclass(frozen=True, kw_only=True)
class Quantity(Partitioner):
    """Sites of unequal size; who goes where is chance.

    ``shares`` says in which proportions the patients are divided (``[5, 3, 2]`` is half, three
    tenths and a fifth), and so how many sites there are. Without it, shares are drawn from a
    Dirichlet distribution: the smaller ``alpha``, the more unequal; a draw that leaves a site with
    fewer than ``minimum`` patients is drawn again.

    Raises:
        SpecError: a site would have fewer than ``minimum`` patients, or ``sites`` is another
            number than there are ``shares``.
    """

    sites: Annotated[int, Ge(1)] = SITES
    alpha: Annotated[float, Gt(0)] = 1.0
    shares: tuple[Annotated[float, Interval(gt=0, le=1e9)], ...] = ()
    minimum: Annotated[int, Ge(1)] = 10

    def __post_init__(self) -> None:
        if self.shares and self.sites not in (len(self.shares), SITES):
            raise SpecError(
                f"sites is {self.sites}, and there are {len(self.shares)} shares; expected one "
                "share per site, or shares alone."
            )

    def deal(self, cohort: Cohort, rng: Rng) -> Partition:
        clusters = Clusters(cohort)
        sites = len(self.shares) or self.sites
        return first_good(self._deals(clusters, rng), clusters, sites, self.minimum)

    def _deals(self, clusters: Clusters, rng: Rng) -> Iterator[NDArray[np.intp]]:
        order = shuffled(clusters, rng)
        given = np.array(self.shares, dtype=np.float64)
        for _ in range(1 if self.shares else TRIES):
            shares = given / given.sum() if self.shares else self._drawn(rng)
            site = np.empty(len(order), dtype=np.intp)
            site[order] = clusters.cut(order, shares)
            yield site

    def _drawn(self, rng: Rng) -> NDArray[np.float64]:
        return rng.dirichlet(np.full(self.sites, self.alpha))
