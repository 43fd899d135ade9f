"""Averaging with control variates against client drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from annotated_types import Interval

from fedbench.seeds import Rng
from fedbench.strategy import (
    Combined,
    Correction,
    Memory,
    Message,
    Strategy,
    Update,
    added,
    averaged,
)

_OWN = "scaffold/"
_PATIENTS = "patients/"


@dataclass(frozen=True, kw_only=True)
class Scaffold(Strategy):
    """Correct every local step by how this site's gradients differ from everybody's.

    Karimireddy et al. 2020, https://arxiv.org/abs/1910.06378. A site adds c - c_k to its gradient
    and sends how its control variate c_k changed; c_k is the mean of its own gradients in the
    last round it took part in, which for plain SGD is the paper's option II, and has a meaning
    for other optimizers too. Sites count by the patients they learn from, absent ones with what
    they said last; who has not spoken yet counts by all its train patients, with zeros.

    Attributes:
        learning_rate: How far the server goes towards the sites' average.
    """

    learning_rate: Annotated[float, Interval(gt=0, le=2)] = 1.0

    def meet(self, counts: Mapping[str, Update], noise: float = 0.0) -> Message:
        return {_PATIENTS + site: np.array(update.weight) for site, update in counts.items()}

    def broadcast(self, server: Message) -> Message:
        return {name: array for name, array in server.items() if name.startswith(_OWN)}

    def correct(self, extra: Message, memory: Memory) -> Correction:
        shift = {
            name.removeprefix(_OWN): everybody - memory.get(name, np.zeros_like(everybody))
            for name, everybody in extra.items()
        }
        return Correction(shift=shift, traced=True)

    def learn(self, update: Update, extra: Message, memory: Memory) -> Update:
        changes = {}
        for name, mean in update.control.items():
            key = _OWN + name
            changes[name] = mean - memory.get(key, np.zeros_like(mean))
            memory[key] = mean
        return replace(update, control=changes)

    def combine(
        self, state: Message, updates: Mapping[str, Update], server: Message, rng: Rng
    ) -> tuple[Combined, Message]:
        weights = {site: update.weight for site, update in updates.items()}
        told = {_PATIENTS + site: np.array(weight) for site, weight in weights.items()}
        before, total = _total(server), _total({**server, **told})
        # Whose number was only expected has said nothing so far: all that was, was others'.
        kept = {
            name: (array * (before / total)).astype(array.dtype)
            for name, array in self.broadcast(server).items()
        }
        for site, update in updates.items():
            for name, change in update.control.items():
                key, share = _OWN + name, weights[site] / total
                kept[key] = (kept.get(key, 0.0) + share * change).astype(change.dtype)
        counted = {name: n for name, n in server.items() if name.startswith(_PATIENTS)}
        means = averaged({site: u.parameters for site, u in updates.items()}, weights)
        parameters = {
            name: (state[name] + self.learning_rate * (mean - state[name])).astype(mean.dtype)
            for name, mean in means.items()
        }
        return Combined(parameters, added(updates), tuple(updates)), {**kept, **counted, **told}


def _total(server: Message) -> float:
    return float(sum(n for name, n in server.items() if name.startswith(_PATIENTS)))
