"""Federated averaging with a leash on every site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from fedbench.seeds import Rng
from fedbench.strategy import Combined, Correction, Memory, Message, Strategy, Update


@dataclass(frozen=True, kw_only=True)
class FedProx(Strategy):
    """Average like FedAvg, while sites are pulled towards the broadcast parameters.

    Li et al. 2020, https://arxiv.org/abs/1812.06127: a site minimizes its own loss plus
    ``mu / 2`` times the squared distance to what the server sent.
    """

    mu: Annotated[float, Ge(0)] = 0.1

    def correct(self, extra: Message, memory: Memory) -> Correction:
        return Correction(proximal=self.mu)

    def combine(
        self, state: Message, updates: Mapping[str, Update], server: Message, rng: Rng
    ) -> tuple[Combined, Message]:
        from flwr.serverapp.strategy import FedProx as Flower  # noqa: PLC0415

        from fedbench.federation.strategies._flower import combined_by  # noqa: PLC0415

        return combined_by(Flower(proximal_mu=self.mu), updates, 0), {}
