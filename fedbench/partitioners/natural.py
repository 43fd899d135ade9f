"""Where the patients really live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from fedbench.data import Cohort
from fedbench.errors import SpecError, Unsupported
from fedbench.partition import Partition, Partitioner
from fedbench.seeds import Rng


@dataclass(frozen=True, kw_only=True)
class Natural(Partitioner):
    """Every patient at the hospital that the records name.

    Raises:
        Unsupported: the records name no hospital.
        SpecError: a hospital has fewer than ``minimum`` patients.
    """

    minimum: Annotated[int, Ge(1)] = 2

    def deal(self, cohort: Cohort, rng: Rng) -> Partition:
        sites = cohort.sites
        if sites is None or any(site is None for site in sites):
            raise Unsupported(
                f"The records of {cohort.schema.name!r} do not say where patients live. "
                "Deal them out with iid, dirichlet or quantity."
            )
        names = sites.astype(str)
        partition = Partition(
            {str(name): cohort.patients[names == name] for name in np.unique(names)}
        )
        small = {n: len(p) for n, p in partition.patients.items() if len(p) < self.minimum}
        if small:
            listed = ", ".join(f"{name} ({count})" for name, count in small.items())
            raise SpecError(
                f"These hospitals have fewer than {self.minimum} patients: {listed}. "
                "Lower the minimum, or use a data set that groups them."
            )
        return partition
