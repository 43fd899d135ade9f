"""Where the patients really live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from fedbench.data import Cohort
from fedbench.errors import SpecError, Unsupported
from fedbench.partition import Partition, Partitioner
from fedbench.seeds import Rng

NAMED = 3
"""Merged hospitals that a site is still named after."""


@dataclass(frozen=True, kw_only=True)
class Natural(Partitioner):
    """Every patient at the hospital that the records name.

    Hospitals with fewer than ``minimum`` patients are an error; with ``merge`` they are one
    site, joined by the next larger ones until it has ``minimum`` patients.

    Raises:
        Unsupported: the records name no hospital.
        SpecError: a hospital is too small, or all of them together are.
    """

    minimum: Annotated[int, Ge(1)] = 1
    merge: bool = False

    def __post_init__(self) -> None:
        if self.merge and self.minimum == 1:
            raise SpecError("merge has no effect; set minimum, the patients that a site needs.")

    def deal(self, cohort: Cohort, rng: Rng) -> Partition:
        sites = cohort.sites
        if sites is None or any(site is None for site in sites):
            raise Unsupported(
                f"The records of {cohort.schema.name!r} do not say where patients live. "
                "Deal them out with iid, dirichlet or quantity."
            )
        names = sites.astype(str)
        sizes = dict(zip(*np.unique(names, return_counts=True), strict=True))
        together = self._together({str(name): int(size) for name, size in sizes.items()})
        merged = {_named(together): together} if together else {}
        for site, hospitals in merged.items():
            names = np.where(np.isin(names, list(hospitals)), site, names)
        found = {str(name): cohort.patients[names == name] for name in np.unique(names)}
        return Partition(found, merged)

    def advice(self, minimum: int) -> str:
        return (
            f'Write partition = {{ name = "natural", minimum = {minimum}, merge = true }} in the '
            "scenario: the smallest hospitals are then one site."
        )

    def _together(self, sizes: Mapping[str, int]) -> Mapping[str, int]:
        """Return the hospitals to be merged, the smallest first, with their patients."""
        small = {name: size for name, size in sizes.items() if size < self.minimum}
        if not small:
            return {}
        if not self.merge:
            listed = ", ".join(f"{name} ({size})" for name, size in small.items())
            raise SpecError(
                f"These hospitals have fewer than {self.minimum} patients: {listed}. "
                f"{self.advice(self.minimum)}"
            )
        if (everyone := sum(sizes.values())) < self.minimum:
            raise SpecError(
                f"All hospitals together have {everyone} patients; expected at least "
                f"{self.minimum}. Change the dataset's parts, or add patients."
            )
        found: dict[str, int] = {}
        for name in sorted(sizes, key=lambda name: (sizes[name], name)):
            if name in small or sum(found.values()) < self.minimum:
                found[name] = sizes[name]
        return found


def _named(hospitals: Mapping[str, int]) -> str:
    if len(hospitals) <= NAMED:
        return " + ".join(sorted(hospitals))
    return f"{len(hospitals)} small hospitals"
