"""Federated averaging."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedbench.seeds import Rng
from fedbench.strategy import Combined, Message, Strategy, Update


@dataclass(frozen=True, kw_only=True)
class FedAvg(Strategy):
    """Average the sites' parameters by their numbers of train patients.

    McMahan et al. 2017, https://arxiv.org/abs/1602.05629; the averaging is Flower's.
    """

    def combine(
        self, state: Message, updates: Mapping[str, Update], server: Message, rng: Rng
    ) -> tuple[Combined, Message]:
        from flwr.serverapp.strategy import FedAvg as Flower  # noqa: PLC0415

        from fedbench.federation.strategies._flower import combined_by  # noqa: PLC0415

        return combined_by(Flower(), updates, 0), {}
