"""Was this patient's record released, word for word?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedbench.attack import Attack, Game, Guess, Knowledge, PublicChallenge, Sight
from fedbench.attacks._neighbours import to_release
from fedbench.seeds import Rng

__all__ = ["Verbatim"]


@dataclass(frozen=True, kw_only=True)
class Verbatim(Attack):
    """Whether a released record equals the target in every column, and nothing finer.

    ``dcr`` finds copies too, but ranks everybody else by luck, which hides a handful of copies.
    """

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC})
    version: ClassVar[int] = 2
    yes: ClassVar[str] = "stand in the release word for word"

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        distances = to_release(sight, challenge)
        return Guess((distances[:, :1] == 0).sum(axis=1, dtype=np.float64))
