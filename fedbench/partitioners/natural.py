"""Where the patients really live."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from annotated_types import Ge
from numpy.typing import NDArray

from fedbench.data import MISSING, Cohort
from fedbench.errors import SpecError, Unsupported
from fedbench.partition import Partition, Partitioner, units
from fedbench.seeds import Rng

Names = NDArray[np.str_]

NAMED = 3
"""Merged hospitals that a site is still named after."""


@dataclass(frozen=True, kw_only=True)
class Natural(Partitioner):
    """Every patient at the hospital that the records name.

    Hospitals with fewer than ``minimum`` patients are an error; with ``merge`` they are one
    site, joined by the next larger ones until it has ``minimum`` patients. Where the region of a
    hospital is known there is one such site in every region that has small hospitals; a region
    with fewer than ``minimum`` patients is one with the next larger region. Records that must stay
    together (several stays of one person) count once, here as in the split of a site.

    Attributes:
        minimum: patients that a site needs.
        merge: whether small hospitals become one site.
        by: the static column that names a hospital's region, for ``merge``; a hospital lies in
            the region that most of its patients have. Without it, the column that the records
            declare (role ``region``), if there is one.

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
        _check_whole(cohort, names)
        patients = pd.Series(names).value_counts()
        merged = {
            _named(hospitals, region): {name: int(patients[name]) for name in hospitals}
            for region, hospitals in self._together(cohort, names)
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

    def _regions(self, cohort: Cohort, sizes: pd.Series) -> pd.Series:
        """Return the region of every hospital; the same for all where none is known."""
        name = self.by or cohort.schema.region
        if not name:
            return pd.Series("", index=sizes.index)
        column = cohort.schema.static.get(name)
        if column is None or column.kind != "category":
            known = [n for n, c in cohort.schema.static.items() if c.kind == "category"]
            raise SpecError(f"There is no category {name!r}. There are: {', '.join(known)}.")
        region = cohort.static[name].astype(object).fillna(MISSING)
        hospital = pd.Series(cohort.sites).astype(str)
        found: pd.Series = region.groupby(hospital).agg(lambda every: every.mode().iloc[0])
        total = sizes.groupby(found).sum()
        while len(total) > 1 and total.min() < self.minimum:
            # Sorted by name first, so that equal sizes do not make it a matter of chance.
            smallest, next_one = total.sort_index().sort_values(kind="stable").index[:2]
            both = f"{smallest} + {next_one}"
            found = found.replace([smallest, next_one], both)
            total[both] = total.pop(smallest) + total.pop(next_one)
        return found

    def _together(self, cohort: Cohort, names: Names) -> Iterator[tuple[str, Sequence[str]]]:
        """Yield, region by region, the hospitals to be merged."""
        sizes = pd.Series(cohort.clusters).groupby(names).nunique()
        regions = self._regions(cohort, sizes)
        small = sizes[sizes < self.minimum]
        if small.empty:
            return
        what = units(cohort.schema)
        if not self.merge:
            listed = ", ".join(f"{name} ({size})" for name, size in small.items())
            raise SpecError(
                f"These hospitals have fewer than {self.minimum} {what}: {listed}. Write merge = "
                "true beside minimum, and they are one site; or a lower minimum."
            )
        if (everyone := int(sizes.sum())) < self.minimum:
            raise SpecError(
                f"All hospitals together have {everyone} {what}; expected at least "
                f"{self.minimum}. Write a lower minimum, or add patients."
            )
        for region in sorted(set(regions[small.index])):
            mine = sizes[regions[sizes.index] == region].sort_values(kind="stable")
            # The next larger ones join, until there are patients enough.
            needed = (mine < self.minimum) | (mine.cumsum().shift(fill_value=0) < self.minimum)
            yield region, [str(name) for name in mine.index[needed]]


def _check_whole(cohort: Cohort, names: Names) -> None:
    """Nobody can move whoever must stay together to one hospital but the records' owner."""
    homes = pd.Series(names).groupby(cohort.clusters, sort=True).agg(lambda each: sorted({*each}))
    torn = homes[homes.map(len) > 1]
    if torn.empty:
        return
    raise SpecError(
        f"{cohort.schema.cluster} {torn.index[0]!r} has patients at {' and '.join(torn.iloc[0])} "
        f"(and so {len(torn):,} in all); who must stay together lives at one hospital. Put them at "
        "one in the records, or leave the cluster out of the schema."
    )


def _named(hospitals: Sequence[str], region: str) -> str:
    if len(hospitals) <= NAMED:
        return " + ".join(sorted(hospitals))
    return f"{len(hospitals)} small hospitals" + (f" of {region}" if region else "")
