"""Adaptive federated optimization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt, Interval

from fedbench.seeds import Rng
from fedbench.strategy import Combined, Message, Strategy, Update


@dataclass(frozen=True, kw_only=True)
class FedAdam(Strategy):
    """Take the average change of the sites as a gradient for Adam at the server.

    Reddi et al. 2021, https://arxiv.org/abs/2003.00295; the step is Flower's, which unlike the
    paper's is corrected for the bias of moments, as if a round more had passed.
    """

    eta: Annotated[float, Gt(0)] = 0.01
    beta_1: Annotated[float, Interval(ge=0, lt=1)] = 0.9
    beta_2: Annotated[float, Interval(ge=0, lt=1)] = 0.99
    tau: Annotated[float, Gt(0)] = 0.001

    def combine(
        self, state: Message, updates: Mapping[str, Update], server: Message, rng: Rng
    ) -> tuple[Combined, Message]:
        from flwr.serverapp.strategy import FedAdam as Flower  # noqa: PLC0415

        from fedbench.federation.strategies._flower import adapted_by  # noqa: PLC0415

        flower = Flower(eta=self.eta, beta_1=self.beta_1, beta_2=self.beta_2, tau=self.tau)
        return adapted_by(flower, state, updates, server)
