"""Was this patient's record released, word for word?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedbench.attack import Attack, Game, Guess, Knowledge, PublicChallenge, Sight
from fedbench.data import looks_of
from fedbench.seeds import Rng

__all__ = ["Verbatim"]


@dataclass(frozen=True, kw_only=True)
class Verbatim(Attack):
    """Whether a released record equals the target in every column of the patient table, exactly.

    Of records with visits that is the last value of every measurement in each window, and which
    codes there are; not every single visit, at which ``trajectory`` looks.

    ``dcr`` finds copies too, but ranks everybody else by luck, which hides a handful of copies.
    """

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC})
    version: ClassVar[int] = 6
    misses: ClassVar[str] = "copies with one field changed"
    yes: ClassVar[str] = "stand in the release word for word"

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        released = sight.synthetic.table
        targets = challenge.targets[released.columns]
        return Guess(np.isin(looks_of(targets), looks_of(released)).astype(np.float64))
