"""Every column on its own: the floor that any generator should beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedbench.data import Cohort, Part
from fedbench.encoding import Encoder
from fedbench.generator import Generator, Local, Phase, Site, State
from fedbench.seeds import Rng
from fedbench.strategy import Memory, Message, Update


@dataclass(frozen=True, kw_only=True)
class Independent(Generator):
    """Draw every column on its own from the agreed counts (the floor).

    Nothing is trained and nothing is sent beyond what the encoder needs. Missing values are drawn
    as often as they are found. The time of an outcome is drawn within the event, because only
    together do they mean something.
    """

    handles: ClassVar = frozenset(Part)

    def phases(self) -> Sequence[Phase]:
        return ()

    def start(self, phase: Phase, state: State | None, encoder: Encoder, rng: Rng) -> State:
        return {}

    def update(self, phase: Phase, message: Message, site: Site, local: Local, rng: Rng) -> Update:
        return Update(weight=float(len(site.records)))

    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        numbers = rng.standard_normal((n, len(encoder.numbers)))
        missing = rng.random(numbers.shape) < encoder.missing_rates
        levels = np.empty((n, len(encoder.categories)), dtype=np.int64)
        for j, shares in enumerate(encoder.shares):
            levels[:, j] = rng.choice(len(shares), size=n, p=shares)
        return encoder.decode(numbers, missing, levels)
