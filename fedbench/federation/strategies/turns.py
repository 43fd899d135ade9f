"""One hospital after the other, to see what is forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge

from fedbench.seeds import Rng
from fedbench.strategy import Combined, Message, Strategy, Update, added, averaged

_ROUND = "rounds so far"


@dataclass(frozen=True, kw_only=True)
class Turns(Strategy):
    """Let hospitals arrive one by one, in the order of their names.

    For so many rounds (``each``) the model learns from the one whose turn it is, and what the
    others send is put aside. With ``stay``, those that have come go on taking part, weighted by
    their numbers of patients. After the last one has come, it starts again with the first. A
    control: it measures forgetting, nobody should train so. Sums are those of all hospitals.

    Attributes:
        each: Rounds until the next hospital comes.
        stay: Whether hospitals that have come stay.
    """

    needs: ClassVar[Literal["sum", "updates"]] = "updates"

    each: Annotated[int, Ge(1)] = 5
    stay: bool = False

    def last_joins(self, sites: int, rounds: int) -> int | None:
        joins = (sites - 1) * self.each
        again = not self.stay and rounds > sites * self.each
        return joins if 0 < joins < rounds and not again else None

    def combine(
        self, state: Message, updates: Mapping[str, Update], server: Message, rng: Rng
    ) -> tuple[Combined, Message]:
        done = int(server[_ROUND][0]) if _ROUND in server else 0
        names = sorted(updates)
        turn = done // self.each
        here = names[: turn + 1] if self.stay else [names[turn % len(names)]]
        told = {site: updates[site].parameters for site in here}
        parameters = averaged(told, {site: updates[site].weight for site in here})
        combined = Combined(parameters, added(updates), tuple(updates))
        return combined, {**server, _ROUND: np.array([done + 1.0])}
