"""What a generator of synthetic records has to be able to do."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from fedbench.data import Cohort, Part
from fedbench.encoding import Encoder, Records
from fedbench.errors import Unsupported
from fedbench.plugin import Plugin
from fedbench.privacy import Budget, Stake, Unlimited
from fedbench.seeds import Rng, Seeds
from fedbench.strategy import Combined, Correction, Memory, Message, Update

__all__ = ["Generator", "Local", "Phase", "Site", "State", "Statistic", "shortened"]

State = Message
"""All that the server holds."""


@dataclass(frozen=True)
class Phase:
    """A stage of training; without ``rounds`` it takes as many as the scenario says.

    ``share`` is its part of the privacy budget, beside those of the other phases.
    """

    name: str
    rounds: int | None = None
    share: float = 1.0


@dataclass(frozen=True)
class Site:
    """One hospital's own side: its training records, encoded and as they are, and its memory."""

    name: str
    records: Records
    encoder: Encoder
    memory: Memory
    cohort: Cohort


@dataclass(frozen=True)
class Local:
    """The terms on which a site works in one round.

    ``streams`` is the same at every site: what a patient draws must not depend on where she
    lives. With ``steps_of``, a number of patients, a site takes as many optimizer steps as one
    with so many would (step-matched budgets).
    """

    round: int
    rounds: int
    streams: Seeds
    correction: Correction = Correction()
    budget: Budget = Unlimited()
    steps_of: int | None = None
    device: str = "cpu"


class Generator(Plugin):
    """Learn from records that stay where they are, then write new ones.

    Only ``summarize`` of the encoder, ``update`` and ``judge`` (with what they call) take a
    site's records. All that the first two return crosses the wire, and of the third a sum.
    """

    handles: ClassVar[frozenset[Part]]
    samples_at: ClassVar[Literal["server", "site"]] = "server"

    def phases(self) -> Sequence[Phase]:
        """Return the stages of training, after the encoder is agreed."""
        return (Phase("train"),)

    def stake(self, phase: Phase, patients: int, rounds: int, steps_of: int | None) -> Stake:
        """Return what a site with so many patients will release in a phase.

        ``rounds`` are the scenario's, for phases without their own; ``steps_of`` as in ``Local``.
        """
        return Stake(phase.name, phase.rounds or rounds, phase.share)

    @abstractmethod
    def start(self, phase: Phase, state: State | None, encoder: Encoder, rng: Rng) -> State:
        """Return what the server holds when a phase begins.

        ``state`` is what the phase before ended with, now frozen.
        """

    def message(self, phase: Phase, state: State, round: int) -> Message:
        """Return what the server tells every site at the beginning of a round."""
        return state

    @abstractmethod
    def update(self, phase: Phase, message: Message, site: Site, local: Local, rng: Rng) -> Update:
        """Learn at one site. Runs once per site and round."""

    def fold(
        self, phase: Phase, state: State, combined: Combined, encoder: Encoder, rng: Rng
    ) -> State:
        """Take what the sites said into the state. Runs once per round, at the server."""
        return {**state, **combined.parameters, **combined.sums}

    def judges(self, phase: Phase) -> bool:
        """Say whether the rounds of a phase can be judged, so that the best one is kept.

        Not where there is nothing to choose, as with sums.

        Raises:
            Unsupported: there is, but nothing to choose by.
        """
        return False

    def judged(self, phase: Phase, state: State, round: int) -> Message:
        """Return what sites judge after a round: what would write if training ended there."""
        return self.message(phase, state, round)

    def judge(
        self, phase: Phase, message: Message, site: Site, local: Local
    ) -> NDArray[np.float64]:
        """Return the loss of each of a site's patients, who are none of those it learned from.

        ``local.streams`` is the same at every site and in every round, so that rounds differ in
        what was learned alone. Only the sum over patients leaves the site.

        Raises:
            Unsupported: this generator cannot be judged.
        """
        raise Unsupported(f"{type(self).__name__} says of no patient how well it serves her.")

    @abstractmethod
    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        """Write ``n`` synthetic patients."""

    def latents(self, state: State, encoder: Encoder, cohort: Cohort) -> NDArray[np.float64] | None:
        """Return the hidden numbers that stand for these patients, ``(n, k)``; None without any.

        Raises:
            Unsupported: the server alone cannot say them.
        """
        return None


class Statistic(Generator):
    """A generator that is fitted by sums over patients, and so exactly the same either way."""

    @abstractmethod
    def features(
        self, phase: Phase, message: Message, records: Records, encoder: Encoder
    ) -> Message:
        """Return what each patient adds to the sums; the leading axis is patients."""

    def bound(self, phase: Phase, encoder: Encoder) -> float:
        """Return the largest L2 norm of one patient's features, for differential privacy.

        Raises:
            Unsupported: the features of this generator are not bounded.
        """
        raise Unsupported(f"{type(self).__name__} has no bound on what one patient adds.")

    def start(self, phase: Phase, state: State | None, encoder: Encoder, rng: Rng) -> State:
        return dict(state or {})

    def update(self, phase: Phase, message: Message, site: Site, local: Local, rng: Rng) -> Update:
        totals: dict[str, NDArray[Any]] = {}
        private = not isinstance(local.budget, Unlimited)
        bound = self.bound(phase, site.encoder) if private else float("inf")
        for block in site.records.blocks():
            features = self.features(phase, message, block, site.encoder)
            for name, values in (shortened(features, bound) if private else features).items():
                totals[name] = totals.get(name, 0.0) + np.sum(values, axis=0)
        return Update(sums=local.budget.release(totals, bound), weight=float(len(site.records)))


def shortened(features: Message, bound: float) -> Message:
    """Scale every patient whose L2 norm over all features is above ``bound`` down to it.

    >>> shortened({"x": np.array([[3.0, 4.0], [0.3, 0.4]])}, 2.5)["x"].tolist()
    [[1.5, 2.0], [0.3, 0.4]]
    """
    flat = [
        np.reshape(values, (len(values), math.prod(np.shape(values)[1:]))).astype(np.float64)
        for values in features.values()
    ]
    norms = np.sqrt(sum((values**2).sum(axis=1) for values in flat))
    factor = np.minimum(1.0, bound / np.maximum(norms, 1e-300))
    return {
        name: np.reshape(factor, (-1, *[1] * (np.ndim(values) - 1))) * values
        for name, values in features.items()
    }
