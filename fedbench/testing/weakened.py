"""A generator that promises more privacy than it keeps, to test audits on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar

from annotated_types import Gt, Le
from numpy.typing import NDArray

from fedbench.data import Cohort, Part
from fedbench.encoding import Encoder, Records
from fedbench.errors import SpecError
from fedbench.generator import Local, Phase, Site, State, Statistic
from fedbench.kinds import GENERATORS
from fedbench.privacy import Budget, Unlimited
from fedbench.seeds import Rng
from fedbench.strategy import Combined, Memory, Message, Update

__all__ = ["Weakened"]


@dataclass(frozen=True, kw_only=True)
class Weakened(Statistic):
    """A generator of sums with less noise than its promise needs: a bug to be found.

    ``{ name = "fedbench.testing.weakened:Weakened", noise = 0.1 }`` in a suite. With all of the
    noise it is the generator itself. The counts that agree the encoder have all of theirs.

    Attributes:
        of: Which generator of sums.
        noise: Which part of its noise (of the standard deviation) is added.
    """

    handles: ClassVar[frozenset[Part]] = frozenset(Part)

    of: str = "copula"
    noise: Annotated[float, Gt(0), Le(1)] = 0.1

    @cached_property
    def whole(self) -> Statistic:
        """The generator as it should be.

        Raises:
            SpecError: it is none of sums.
        """
        found = GENERATORS.build(self.of)
        if not isinstance(found, Statistic):
            raise SpecError(f"{self.of!r} is no generator of sums.")
        return found

    def phases(self) -> Sequence[Phase]:
        return self.whole.phases()

    def features(
        self, phase: Phase, message: Message, records: Records, encoder: Encoder
    ) -> Message:
        return self.whole.features(phase, message, records, encoder)

    def bound(self, phase: Phase, encoder: Encoder) -> float:
        return self.whole.bound(phase, encoder)

    def update(self, phase: Phase, message: Message, site: Site, local: Local, rng: Rng) -> Update:
        if isinstance(local.budget, Unlimited):
            return self.whole.update(phase, message, site, local, rng)
        hushed = replace(local, budget=_Hushed(budget=local.budget, part=self.noise))
        return super().update(phase, message, site, hushed, rng)

    def fold(
        self, phase: Phase, state: State, combined: Combined, encoder: Encoder, rng: Rng
    ) -> State:
        return self.whole.fold(phase, state, combined, encoder, rng)

    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        return self.whole.sample(state, encoder, n, rng, memory)


@dataclass(frozen=True, kw_only=True)
class _Hushed(Budget):
    """Pays the whole price and says that one patient adds less than she may."""

    label: ClassVar[str] = "hushed"

    budget: Budget
    part: float

    def release(self, sums: Mapping[str, NDArray[Any]], bound: float) -> Mapping[str, NDArray[Any]]:
        return self.budget.release(sums, bound * self.part)
