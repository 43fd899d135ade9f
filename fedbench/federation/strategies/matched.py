"""Averaging units that mean the same, in whatever order sites have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from fedbench.seeds import Rng
from fedbench.strategy import Combined, Message, Strategy, Update, added


@dataclass(frozen=True, kw_only=True)
class Matched(Strategy):
    """Put the hidden units of every site in one order, then average by numbers of patients.

    Of use where networks were trained apart before they are averaged, each from a start of its
    own. Sites that start each round from the same parameters keep their units in order, and it is
    then as good as ``fedavg``, no better. See ``fedbench.matching``.

    Attributes:
        signed: Whether units may be turned around as well: right for tanh and for layers without
            activation, wrong for ReLU.
    """

    needs: ClassVar[Literal["sum", "updates"]] = "updates"

    signed: bool = False

    def combine(
        self, state: Message, updates: Mapping[str, Update], server: Message, rng: Rng
    ) -> tuple[Combined, Message]:
        from fedbench.matching import matched  # noqa: PLC0415

        told = {site: u.parameters for site, u in updates.items() if u.parameters}
        weights = {site: updates[site].weight for site in told}
        parameters = matched(told, weights, signed=self.signed) if told else {}
        return Combined(parameters, added(updates), tuple(updates)), {}
