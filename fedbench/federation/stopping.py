"""When training stops, and which of its rounds is kept: by patients held back for that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray
from scipy.special import ndtri

from fedbench.data import Cohort
from fedbench.errors import DataError
from fedbench.generator import State
from fedbench.partition import coins
from fedbench.privacy import Stake
from fedbench.seeds import Seeds

__all__ = ["LOSS", "Parted", "Stopping", "Watch", "columns", "parted", "validation"]

LOSS = "loss"
"""What a site says of the patients it holds back: the sum of their losses."""


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """Hold patients back from training, and stop when what it learns serves them no better.

    Attributes:
        share: The chance of every patient (of every cluster) of a site's train part to be held
            back.
        patience: After how many judgements without a better one training stops.
        every: Of how many rounds the last one is judged; the very last one always is.
        spend: Under differential privacy, the share of a phase's budget that judging takes.
        clip: Under differential privacy, the largest loss of a patient, per feature of the table.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    share: Annotated[float, Gt(0), Le(0.5)] = 0.1
    patience: Annotated[int, Ge(1)] = 3
    every: Annotated[int, Ge(1)] = 1
    spend: Annotated[float, Gt(0), Lt(1)] = 0.2
    clip: Annotated[float, Gt(0), Le(1000)] = 1.0

    def stakes(self, learning: Stake, rounds: int) -> tuple[Stake, Stake]:
        """Return what judging a phase will release, and what is left for learning."""
        judging = Stake(
            validation(learning.phase), -(-rounds // self.every), learning.share * self.spend
        )
        return judging, replace(learning, share=learning.share * (1 - self.spend))

    def due(self, round: int, rounds: int) -> bool:
        """Whether a round, counted from 0, is judged."""
        return (round + 1) % self.every == 0 or round + 1 == rounds


def validation(phase: str) -> str:
    """Return the name under which a phase is judged."""
    return f"{phase} validation"


@dataclass(frozen=True)
class Parted:
    """The train part of a site: who is learned from, and who is held back to judge."""

    learned: Cohort
    held: Cohort


def parted(cohort: Cohort, share: float, seeds: Seeds, *, empty: bool = False) -> Parted:
    """Hold back every cluster with this chance, by a coin of its own.

    Nobody's coin depends on who else is there. So the same patients are held back whoever trains
    with whom, and with or without one patient all others are on the same side, which differential
    privacy needs. With ``empty`` it may be that nobody is left to learn from.

    Raises:
        DataError: nobody is left, and somebody should be.
    """
    held = coins(cohort, seeds.child("validation")) < ndtri(share)
    if held.all() and not empty:
        raise DataError(
            f"All of {len(cohort)} training patients would be held back to judge; take a smaller "
            "share, or hospitals with more patients."
        )
    return Parted(cohort.take(cohort.patients[~held]), cohort.take(cohort.patients[held]))


@dataclass
class Watch:
    """The server's side: the best state of a phase so far, and whether to go on.

    A state is kept if its loss is below all before it. Noise of differential privacy must not
    stop a training, so with it a state is also kept that is worse than the best by less than
    twice the standard deviation of the noise.

    ``judged`` has, as columns, every judgement: after how many rounds, the mean loss of how many
    patients, the standard deviation of its noise, and whether the state was kept until another
    was.
    """

    stopping: Stopping
    phase: str
    judged: dict[str, list[Any]]
    least: float = math.inf
    kept: State | None = None
    since: int = 0

    @property
    def over(self) -> bool:
        """Whether training stops."""
        return self.since >= self.stopping.patience

    def take(
        self, state: State, rounds: int, sums: NDArray[Any], patients: float, noise: float
    ) -> None:
        """Judge a state after so many rounds, given all sites' sums of losses."""
        loss, spread = math.nan, 0.0  # nobody to judge: nothing is better than what comes last
        if patients > 0:
            loss, spread = float(np.sum(sums)) / patients, noise / patients
        keep = loss < self.least + 2 * spread
        if keep:
            self.kept, self.since = state, 0
        elif patients > 0:
            self.since += 1
        self.least = min(self.least, loss) if keep else self.least
        row = (self.phase, rounds, loss, patients, spread, keep)
        for name, value in zip(self.judged, row, strict=True):
            self.judged[name].append(value)


def columns() -> dict[str, list[Any]]:
    """Return the columns of judgements, without any."""
    return {name: [] for name in ("phase", "rounds", "loss", "patients", "noise", "kept")}
