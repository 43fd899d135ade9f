"""Networks whose mean over the last rounds writes the patients."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fedbench.encoding import Encoder
from fedbench.generator import Phase, State
from fedbench.seeds import Rng
from fedbench.strategy import Combined, Message
from fedbench.training import Neural

__all__ = ["Averaged"]

_MEAN = "mean of "
_ROUNDS = "rounds averaged"
_SLOWEST = 0.9


class Averaged(Neural):
    """A network of which the server keeps a moving mean over rounds, for writing.

    Training wanders around what it looks for, and the mean of where it was is closer (Polyak and
    Juditsky 1992, https://doi.org/10.1137/0330046; for adversarial networks Yazici et al. 2019,
    https://arxiv.org/abs/1806.04498). Each round a mean of the past counts as much as the last ten,
    fewer at the beginning. Sites neither hear of it nor do anything for it.
    """

    averaged: ClassVar[tuple[str, ...]] = ("",)
    """Which parameters, by the beginning of their names."""

    def message(self, phase: Phase, state: State, round: int) -> Message:
        own = (*(_MEAN + name for name in self.averaged), _ROUNDS)
        return {name: array for name, array in state.items() if not name.startswith(own)}

    def judged(self, phase: Phase, state: State, round: int) -> Message:
        return self.message(phase, self.lasting(state), round)

    def fold(
        self, phase: Phase, state: State, combined: Combined, encoder: Encoder, rng: Rng
    ) -> State:
        held = dict(super().fold(phase, state, combined, encoder, rng))
        rounds = state[_ROUNDS].item() if _ROUNDS in state else 0.0
        past = min(_SLOWEST, (1 + rounds) / (10 + rounds))
        for name, array in combined.parameters.items():
            if name.startswith(self.averaged):
                before = state.get(_MEAN + name, array)
                held[_MEAN + name] = (past * before + (1 - past) * array).astype(array.dtype)
        return {**held, _ROUNDS: np.array([rounds + 1.0])}

    def start(self, phase: Phase, state: State | None, encoder: Encoder, rng: Rng) -> State:
        return super().start(phase, self.settled(state or {}), encoder, rng)

    def lasting(self, state: State) -> State:
        """Return the parameters that write."""
        return {name: state.get(_MEAN + name, array) for name, array in state.items()}

    def settled(self, state: State) -> State:
        """Return what lasts of a state, under the names of the network and without the means."""
        own = (_MEAN, _ROUNDS)
        return {n: array for n, array in self.lasting(state).items() if not n.startswith(own)}
