"""The mean of what the sites say, without the extremes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray

from fedbench.federation.strategies._robust import by_coordinate
from fedbench.seeds import Rng
from fedbench.strategy import Combined, Message, Strategy, Update, added


@dataclass(frozen=True, kw_only=True)
class Trimmed(Strategy):
    """Drop the largest and smallest of every parameter over sites, and average the rest.

    Yin et al. 2018, https://arxiv.org/abs/1803.01498. The number dropped on either side is
    rounded *up*, so that it works with few sites (Flower's rounds down: a fifth of four sites
    trims nothing), but never so far that nothing is left: up to two sites are simply averaged.

    Attributes:
        share: Of the sites, dropped on either side.
    """

    needs: ClassVar[Literal["sum", "updates"]] = "updates"
    weighs: ClassVar = True

    share: Annotated[float, Interval(ge=0, lt=0.5)] = 0.2

    def combine(
        self, state: Message, updates: Mapping[str, Update], server: Message, rng: Rng
    ) -> tuple[Combined, Message]:
        parameters = by_coordinate(updates, self._trimmed)
        return Combined(parameters, added(updates), tuple(updates)), {}

    def _trimmed(self, told: NDArray[Any]) -> NDArray[Any]:
        n = len(told)
        dropped = min(ceil(self.share * n - 1e-9), (n - 1) // 2)
        return np.asarray(np.sort(told, axis=0)[dropped : n - dropped].mean(axis=0))
