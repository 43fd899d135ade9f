"""What do the most similar released records say about a patient?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedbench.attack import (
    Attack,
    Game,
    Guess,
    Knowledge,
    PublicChallenge,
    Sight,
    levels_of,
)
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
        secret = sight.schema.feature(challenge.secret)
        answers = levels_of(sight.synthetic.table, secret)
        released = sight.synthetic.table[answers >= 0]
        said = np.eye(len(secret.column.levels))[answers[answers >= 0]]
        usual = (said.sum(axis=0) + 1) / (len(said) + said.shape[1])
        if not len(said):
            return Guess(np.tile(usual, (len(challenge.targets), 1)))
        closest = tied(sight.schema, challenge.targets, released, units(sight.schema, released))
        # What is usual decides between answers that the closest records give equally often.
        return Guess((closest @ said + 1e-6 * usual) / (1 + 1e-6))
