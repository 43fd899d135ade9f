"""What a site will release in a training, phase by phase, before it releases anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from fedbench.accounting import Charge
from fedbench.federation.stopping import Stopping, validation
from fedbench.federation.study import Study
from fedbench.generator import Generator
from fedbench.privacy import Hospital, Promise, Stake, agreed, planned

__all__ = ["ENCODER", "Planning"]

ENCODER = "encoder"
"""The phase in which the sites agree on an encoder."""


@dataclass(frozen=True)
class Planning:
    """The releases of one study at one site, whose noise follows from the promise.

    Attributes:
        study: What was asked.
        generator: What is trained.
    """

    study: Study
    generator: Generator

    @cached_property
    def stopping(self) -> Stopping | None:
        """When training stops; None too where the generator has no rounds to choose from."""
        watched = self.study.stopping and any(map(self.generator.judges, self.generator.phases()))
        return self.study.stopping if watched else None

    @cached_property
    def judgements(self) -> Sequence[str]:
        """The names under which phases are judged."""
        if not self.stopping:
            return ()
        phases = self.generator.phases()
        return [validation(each.name) for each in phases if self.generator.judges(each)]

    def counted(self, told: float, *, judging: bool = False) -> int:
        """Return how many patients learn, or judge, at a site that told how many it has."""
        if not self.stopping or isinstance(self.study.promise, Hospital):
            return int(told)
        share = self.stopping.share
        return max(1, round(told * (share if judging else 1 - share)))

    def first(self, promise: Promise) -> tuple[Charge, ...]:
        """Return what agreeing on the encoder will cost."""
        return (agreed(promise, ENCODER, alone=not self.generator.phases()),)

    def until(self, promise: Promise, phase: str, told: float) -> tuple[Charge, ...]:
        """Return what everything will cost up to and including a phase, which comes last."""
        stakes = self.stakes(told)
        names = [stake.phase for stake in stakes]
        # A phase and what judges it are planned one after the other, and alternate.
        after = names.index(phase) + (phase in self.judgements)
        plan = planned(promise, ENCODER, stakes)[: 2 + after]
        return tuple(sorted(plan, key=lambda charge: charge.what == phase))

    def stakes(self, told: float) -> tuple[Stake, ...]:
        """Return what will be released, phase by phase; judging a phase comes before it."""
        # A hospital as a whole is noised once a round, whatever it does with its patients.
        whole = isinstance(self.study.promise, Hospital)
        stake = partial(Generator.stake, self.generator) if whole else self.generator.stake
        found: list[Stake] = []
        for each in self.generator.phases():
            mine = stake(each, self.counted(told), self.study.rounds, self.study.steps_of)
            if self.stopping and validation(each.name) in self.judgements:
                found += self.stopping.stakes(mine, each.rounds or self.study.rounds)
            else:
                found.append(mine)
        return tuple(found)
