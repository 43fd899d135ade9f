"""Takes the place of a generator whose code is not here, and need not be: its records are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedbench.data import Cohort, Part
from fedbench.encoding import Encoder
from fedbench.errors import Unsupported
from fedbench.generator import Generator, Local, Phase, Site, State
from fedbench.seeds import Rng
from fedbench.strategy import Memory, Message, Update

__all__ = ["StandIn"]

ABSENT = "The records of this cell are not there, and a bundle is never trained again."


@dataclass(frozen=True, kw_only=True)
class StandIn(Generator):
    """A generator that wrote its records elsewhere."""

    handles: ClassVar[frozenset[Part]] = frozenset(Part)

    def start(self, phase: Phase, state: State | None, encoder: Encoder, rng: Rng) -> State:
        raise Unsupported(ABSENT)

    def update(self, phase: Phase, message: Message, site: Site, local: Local, rng: Rng) -> Update:
        raise Unsupported(ABSENT)

    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        raise Unsupported(ABSENT)
