"""Averages whose weights are fixed before training, from what agreed the encoder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedbench.errors import ContractError
from fedbench.federation.strategies._sketches import Sketches
from fedbench.seeds import Rng
from fedbench.strategy import Combined, Message, Strategy, Update, added, averaged

__all__ = ["Weighted"]


@dataclass(frozen=True, kw_only=True)
class Weighted(Strategy):
    """A weighted average; sites could multiply by their weights themselves, so a sum suffices."""

    weighs: ClassVar = True

    @abstractmethod
    def weights(self, sketches: Sketches) -> NDArray[np.float64]:
        """Return one weight per site."""

    def meet(self, counts: Mapping[str, Update], noise: float = 0.0) -> Message:
        sketches = Sketches.of(counts, noise)
        found = self.weights(sketches)
        return {site: np.asarray(w) for site, w in zip(sketches.sites, found, strict=True)}

    def combine(
        self, state: Message, updates: Mapping[str, Update], server: Message, rng: Rng
    ) -> tuple[Combined, Message]:
        if unknown := sorted(set(updates) - set(server)):
            raise ContractError(f"{', '.join(unknown)} did not take part in the agreement.")
        weights = {site: float(server[site]) for site in updates}
        # Where only sites without weight took part in a round, the model stays as it is.
        told: Mapping[str, Mapping[str, NDArray[Any]]] = {
            site: update.parameters for site, update in updates.items() if weights[site] > 0
        }
        return Combined(averaged(told, weights), added(updates), tuple(updates)), server
