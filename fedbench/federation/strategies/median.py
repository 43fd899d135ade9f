"""The middle of what the sites say, number by number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from fedbench.federation.strategies._robust import by_coordinate
from fedbench.seeds import Rng
from fedbench.strategy import Combined, Message, Strategy, Update, added


@dataclass(frozen=True, kw_only=True)
class Median(Strategy):
    """Take the median over sites of every parameter; a hospital counts once, whatever its size.

    Yin et al. 2018, https://arxiv.org/abs/1803.01498. Withstands fewer than half of the sites
    being wrong, and costs accuracy where honest sites differ.
    """

    needs: ClassVar[Literal["sum", "updates"]] = "updates"
    weighs: ClassVar = True

    def combine(
        self, state: Message, updates: Mapping[str, Update], server: Message, rng: Rng
    ) -> tuple[Combined, Message]:
        parameters = by_coordinate(updates, lambda told: np.median(told, axis=0))
        return Combined(parameters, added(updates), tuple(updates)), {}
