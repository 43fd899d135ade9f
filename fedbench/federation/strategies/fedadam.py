"""Adaptive federated optimization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt, Interval

from fedbench.seeds import Rng
from fedbench.strategy import Combined, Message, Strategy, Update


@dataclass(frozen=True, kw_only=True)
class FedAdam(Strategy):
    """Take the average change of the sites as a gradient for Adam at the server.

    Reddi et al. 2021, https://arxiv.org/abs/2003.00295; the step is Flower's.
    """

    eta: Annotated[float, Gt(0)] = 0.01
    beta_1: Annotated[float, Interval(ge=0, lt=1)] = 0.9
    beta_2: Annotated[float, Interval(ge=0, lt=1)] = 0.99
    tau: Annotated[float, Gt(0)] = 0.001

    def combine(
        self, state: Message, updates: Mapping[str, Update], server: Message, rng: Rng
    ) -> tuple[Combined, Message]:
        from flwr.serverapp.strategy import FedAdam as Flower  # noqa: PLC0415

        from fedbench.federation.strategies._flower import combined_by  # noqa: PLC0415

        flower = Flower(eta=self.eta, beta_1=self.beta_1, beta_2=self.beta_2, tau=self.tau)
        sent = set.intersection(*(set(update.parameters) for update in updates.values()))
        flower.current_arrays = {name: state[name] for name in sorted(sent)}
        flower.m_t, flower.v_t = (
            {name.removeprefix(key): a for name, a in server.items() if name.startswith(key)}
            or None
            for key in ("m/", "v/")
        )
        round = int(server.get("round", np.array(0)))
        combined = combined_by(flower, updates, round)
        moments = {
            f"{key}/{name}": array
            for key, moment in (("m", flower.m_t), ("v", flower.v_t))
            for name, array in (moment or {}).items()
        }
        return combined, {**moments, "round": np.array(round + 1)}
