"""What partitioners have in common that change what some hospitals write down."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.data import Cohort, Column, Schema
from fedbench.errors import SpecError
from fedbench.partition import PARTS, Partition, Partitioner, Place
from fedbench.seeds import Rng

__all__ = ["Altering", "TestPart", "by_size", "within_bounds"]

TestPart = Literal["right", "recorded"]
"""Whether test patients are as they should be, or as the site writes them down.

Everything is scored against test patients. With ``right``, scores of every site, and of all
together, show what wrong records do to those who need right ones. With ``recorded``, the site is
not wrong but different, and is judged by its own lights. Training, control and reference records
are as the site writes them down either way, so members differ from others by membership alone;
where the test patients are the control (``control = "test"``), ``recorded`` keeps that true.
"""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Altering(Partitioner):
    """Deals as another partitioner does, and changes what some of the hospitals write down.

    Attributes:
        within: the partitioner that deals, with its settings; it may alter records too, and does
            so first.
        at: the sites whose records are changed, by name; without any, those of ``usual``.
    """

    within: Mapping[str, Any] = field(default_factory=lambda: {"name": "iid"})
    at: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.within.get("name"), str):
            raise SpecError(
                f"within is {dict(self.within)!r}; expected a partitioner with its settings, such "
                'as { name = "iid", sites = 4 }.'
            )
        _ = self.inner  # so that a mistake in it is told before anything is loaded

    @cached_property
    def inner(self) -> Partitioner:
        """The partitioner that deals."""
        from fedbench.kinds import PARTITIONERS  # noqa: PLC0415  (it finds this one, too)

        settings = {name: value for name, value in self.within.items() if name != "name"}
        found: Partitioner = PARTITIONERS.build(self.within["name"], settings)
        return found

    @property
    def own(self) -> frozenset[str]:
        """The parts that this one changes; all of them, unless a subclass says otherwise."""
        return frozenset(PARTS)

    @property
    def alters(self) -> frozenset[str]:
        return self.own | self.inner.alters

    @property
    def chain(self) -> tuple[Partitioner, ...]:
        return (self, *self.inner.chain)

    def deal(self, cohort: Cohort, rng: Rng) -> Partition:
        dealt = self.inner.deal(cohort, rng)
        if strange := [site for site in self.at if site not in dealt.patients]:
            there = ", ".join(sorted(dealt.patients))
            raise SpecError(f"There is no site {strange[0]!r} to change. There are: {there}.")
        return dealt

    def agreed(self, schema: Schema) -> Schema:
        return self.inner.agreed(schema)

    def advice(self, minimum: int) -> str:
        return self.inner.advice(minimum)

    def alter(self, records: Cohort, place: Place, rng: Rng) -> Cohort:
        first, second = rng.spawn(2)
        if place.part in self.inner.alters:
            records = self.inner.alter(records, place, first)
        if place.part in self.own and place.site in self.sites(place.dealt):
            records = self.changed(records, place, second)
        return records

    def sites(self, dealt: Partition) -> Sequence[str]:
        """Return the sites whose records are changed."""
        return self.at or self.usual(dealt)

    def usual(self, dealt: Partition) -> Sequence[str]:
        """Return the sites that are changed if none is named: every second one by size."""
        return by_size(dealt)[1::2]

    @abstractmethod
    def changed(self, records: Cohort, place: Place, rng: Rng) -> Cohort:
        """Return the records as such a site writes them down; the same patients."""


def by_size(dealt: Partition) -> Sequence[str]:
    """Return the sites, the largest first."""
    return sorted(dealt.patients, key=lambda site: (-len(dealt.patients[site]), site))


def within_bounds(values: pd.Series, column: Column) -> pd.Series:
    """Return the values; what nobody would believe is missing, as after a plausibility check."""
    if column.kind == "integer":
        values = values.round()
    return values.where(values.between(column.low, column.high))
