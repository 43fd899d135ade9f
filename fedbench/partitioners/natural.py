"""Where the patients really live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from annotated_types import Ge

from fedbench.data import MISSING, Cohort
from fedbench.errors import SpecError, Unsupported
from fedbench.partition import Partition, Partitioner
from fedbench.seeds import Rng

NAMED = 3
"""Merged hospitals that a site is still named after."""


@dataclass(frozen=True, kw_only=True)
class Natural(Partitioner):
    """Every patient at the hospital that the records name.

    Hospitals with fewer than ``minimum`` patients are an error; with ``merge`` they are one
    site, joined by the next larger ones until it has ``minimum`` patients. With ``by`` there is
    one such site in every region that has small hospitals; a region with fewer than ``minimum``
    patients is one with the next larger region.

    Attributes:
        minimum: patients that a site needs.
        merge: whether small hospitals become one site.
        by: the static column that names a hospital's region, for ``merge``; a hospital lies in
            the region that most of its patients have.

    Raises:
        Unsupported: the records name no hospital.
        SpecError: a hospital is too small, or all of them together are; there is no such column.
    """

    minimum: Annotated[int, Ge(1)] = 1
    merge: bool = False
    by: str = ""

    def __post_init__(self) -> None:
        if self.merge and self.minimum == 1:
            raise SpecError("merge has no effect; set minimum, the patients that a site needs.")
        if self.by and not self.merge:
            raise SpecError("by has no effect without merge = true.")

    def deal(self, cohort: Cohort, rng: Rng) -> Partition:
        sites = cohort.sites
        if sites is None or any(site is None for site in sites):
            raise Unsupported(
                f"The records of {cohort.schema.name!r} do not say where patients live. "
                "Deal them out with iid, dirichlet or quantity."
            )
        names = sites.astype(str)
        sizes = pd.Series(names).value_counts()
        merged = {
            _named(hospitals, region): hospitals
            for region, hospitals in self._together(sizes, self._regions(cohort))
        }
        for site, hospitals in merged.items():
            names = np.where(np.isin(names, list(hospitals)), site, names)
        found = {str(name): cohort.patients[names == name] for name in np.unique(names)}
        return Partition(found, merged)

    def advice(self, minimum: int) -> str:
        return (
            f'Write partition = {{ name = "natural", minimum = {minimum}, merge = true }} in the '
            "scenario: the smallest hospitals are then one site."
        )

    def _regions(self, cohort: Cohort) -> pd.Series:
        """Return the region of every hospital; the same for all where none is asked for."""
        hospital = pd.Series(cohort.sites).astype(str)
        if not self.by:
            return pd.Series("", index=hospital.unique())
        column = cohort.schema.static.get(self.by)
        if column is None or column.kind != "category":
            known = [n for n, c in cohort.schema.static.items() if c.kind == "category"]
            raise SpecError(f"There is no category {self.by!r}. There are: {', '.join(known)}.")
        region = cohort.static[self.by].astype(object).fillna(MISSING)
        found: pd.Series = region.groupby(hospital).agg(lambda every: every.mode().iloc[0])
        patients = hospital.value_counts().groupby(found).sum()
        while len(patients) > 1 and patients.min() < self.minimum:
            # Sorted by name first, so that equal sizes do not make it a matter of chance.
            smallest, next_one = patients.sort_index().sort_values(kind="stable").index[:2]
            both = f"{smallest} + {next_one}"
            found = found.replace([smallest, next_one], both)
            patients[both] = patients.pop(smallest) + patients.pop(next_one)
        return found

    def _together(
        self, sizes: pd.Series, regions: pd.Series
    ) -> Iterator[tuple[str, Mapping[str, int]]]:
        """Yield, region by region, the hospitals to be merged with their patients."""
        small = sizes[sizes < self.minimum].sort_index()
        if small.empty:
            return
        if not self.merge:
            listed = ", ".join(f"{name} ({size})" for name, size in small.items())
            raise SpecError(
                f"These hospitals have fewer than {self.minimum} patients: {listed}. "
                f"{self.advice(self.minimum)}"
            )
        if (everyone := int(sizes.sum())) < self.minimum:
            raise SpecError(
                f"All hospitals together have {everyone} patients; expected at least "
                f"{self.minimum}. Change the dataset's parts, or add patients."
            )
        for region in sorted(set(regions[small.index])):
            mine = sizes[regions[sizes.index] == region].sort_index().sort_values(kind="stable")
            # The next larger ones join, until there are patients enough.
            needed = (mine < self.minimum) | (mine.cumsum().shift(fill_value=0) < self.minimum)
            yield region, {str(name): int(size) for name, size in mine[needed].items()}


def _named(hospitals: Mapping[str, int], region: str) -> str:
    if len(hospitals) <= NAMED:
        return " + ".join(sorted(hospitals))
    return f"{len(hospitals)} small hospitals" + (f" of {region}" if region else "")
