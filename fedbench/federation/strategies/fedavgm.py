"""Federated averaging with momentum at the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt, Interval

from fedbench.seeds import Rng
from fedbench.strategy import Combined, Message, Strategy, Update


@dataclass(frozen=True, kw_only=True)
class FedAvgM(Strategy):
    """Take the average change of the sites as a step with momentum.

    Hsu et al. 2019, https://arxiv.org/abs/1909.06335; the step is Flower's.
    """

    learning_rate: Annotated[float, Gt(0)] = 1.0
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9

    def combine(
        self, state: Message, updates: Mapping[str, Update], server: Message, rng: Rng
    ) -> tuple[Combined, Message]:
        from flwr.app import ArrayRecord  # noqa: PLC0415
        from flwr.serverapp.strategy import FedAvgM as Flower  # noqa: PLC0415

        from fedbench.federation.strategies._flower import combined_by, shared  # noqa: PLC0415

        names = shared(updates)
        flower = Flower(server_learning_rate=self.learning_rate, server_momentum=self.momentum)
        flower.current_arrays = ArrayRecord([np.asarray(state[name]) for name in names])
        flower.momentum_vector = [server[name] for name in names if name in server] or None
        combined = combined_by(flower, updates, 0)
        moving = flower.momentum_vector or []
        return combined, dict(zip(names, moving, strict=False))
