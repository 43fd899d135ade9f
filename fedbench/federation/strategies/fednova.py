"""Averaging that does not favour whoever took more steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedbench.seeds import Rng
from fedbench.strategy import Combined, Message, Strategy, Update, added, averaged


@dataclass(frozen=True, kw_only=True)
class FedNova(Strategy):
    """Average the sites' changes *per step*, then go as many steps as they took on average.

    Wang et al. 2020, https://arxiv.org/abs/2007.07481, for local steps without momentum:
    x + (sum p_k steps_k) * sum p_k (y_k - x) / steps_k, with p_k the share of train patients.
    Where all sites took the same number of steps this is federated averaging. With Adam as the
    sites' optimizer, whose steps have a length of their own, it is a heuristic.
    """

    def combine(
        self, state: Message, updates: Mapping[str, Update], server: Message, rng: Rng
    ) -> tuple[Combined, Message]:
        weights = {site: update.weight for site, update in updates.items()}
        total = sum(weights.values())
        steps = {site: max(update.steps, 1) for site, update in updates.items()}
        mean = sum(weights[site] / total * steps[site] for site in updates)
        moved = {
            site: {
                name: state[name] + (array - state[name]) * (mean / steps[site])
                for name, array in update.parameters.items()
            }
            for site, update in updates.items()
        }
        parameters = {
            name: array.astype(np.asarray(state[name]).dtype, copy=False)
            for name, array in averaged(moved, weights).items()
        }
        return Combined(parameters, added(updates), tuple(updates)), {}
