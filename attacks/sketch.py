"""Do the counts that agree the encoder tell whom a hospital has?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from fedbench.attack import Knowledge
from fedbench.attacks._likelihood import Likelihood
from fedbench.data import Cohort
from fedbench.traces import Counts, Traces
from fedbench.wire import Glimpse, Wire

__all__ = ["Sketch"]


@dataclass(frozen=True, kw_only=True)
class Sketch(Likelihood):
    """How much likelier the counts that a hospital sends first are with the patient in them.

    Before anything is trained, every hospital sends how many of its patients are in each bin of
    each column. That is a sum of what each of them is in: the tracing attack (Homer et al. 2008,
    https://doi.org/10.1371/journal.pgen.1000167), whatever the generator.
    """

    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.UPDATES, Knowledge.REFERENCE})
    version: ClassVar[int] = 5

    rounds: Annotated[int, Ge(1)] = 1

    def heard(self, wire: Wire, site: str, usual: Cohort) -> Iterator[tuple[Traces, Glimpse]]:
        glimpse = wire.agreement(site)
        yield Counts(glimpse), glimpse
