"""What do the most similar released records say about a patient?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedbench.attack import Attack, Game, Guess, Knowledge, PublicChallenge, Sight
from fedbench.attacks._answers import Answers
from fedbench.attacks._neighbours import tied, units
from fedbench.seeds import Rng

__all__ = ["Lookalike"]


@dataclass(frozen=True, kw_only=True)
class Lookalike(Attack):
    """Read the secret off the released record that is closest in what is known.

    Where several are equally close, each counts the same, so that the order of the release says
    nothing. One nearest neighbour, as in the inference attack of Giomi et al. 2023 (Anonymeter,
    https://doi.org/10.56553/popets-2023-0055), where the first of those that are tied decides.
    It sees copied records better than a model does that learns what is usual.
    """

    game: ClassVar[Game] = "attribute"
    knows: ClassVar[frozenset[Knowledge]] = frozenset(
        {Knowledge.SYNTHETIC, Knowledge.OTHER_COLUMNS}
    )
    version: ClassVar[int] = 2
    misses: ClassVar[str] = "anything but near copies"

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        told = Answers.of(sight, challenge.secret)
        if told.records.empty:
            return Guess(np.tile(told.usual, (len(challenge.targets), 1)))
        unit = units(sight.schema, told.records)
        closest = tied(sight.schema, challenge.targets, told.records, unit)
        # What is usual decides between answers that the closest records give equally often.
        return Guess((closest @ told.said + 1e-6 * told.usual) / (1 + 1e-6))
