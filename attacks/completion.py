"""What stands beside fragments of this patient's record?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedbench.attack import Attack, Game, Guess, Knowledge, PublicChallenge, Sight
from fedbench.attacks._answers import Answers
from fedbench.attacks._fragments import Cells, fragments
from fedbench.seeds import Rng

__all__ = ["Completion"]


@dataclass(frozen=True, kw_only=True)
class Completion(Attack):
    """Read the secret off the released records that share telling fragments with the target.

    ``lookalike`` asks which record is closest in all that is known; this one finds the secret
    also where it was copied with a few of the columns, and the rest is somebody else's. Which
    fragments tell is found as in ``fragment``; each adds what the records say that have it.
    """

    game: ClassVar[Game] = "attribute"
    knows: ClassVar[frozenset[Knowledge]] = frozenset(
        {Knowledge.SYNTHETIC, Knowledge.OTHER_COLUMNS}
    )
    version: ClassVar[int] = 1
    misses: ClassVar[str] = "secrets beside which no fragment was copied"

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        told = Answers.of(sight, challenge.secret)
        found = np.tile(told.usual, (len(challenge.targets), 1))
        cells = Cells.of(sight.schema, challenge.targets, told.records, rng)
        telling = fragments(cells, rng)
        for each in telling:
            mine, theirs, _ = cells.together(each.cells)
            whole, place = np.unique(theirs, return_inverse=True)
            counts = np.zeros((len(whole), len(told.usual)))
            np.add.at(counts, place, told.said)
            beside = counts[np.searchsorted(whole, mine[each.targets])]
            found[each.targets] += each.weight[:, None] * beside / beside.sum(axis=1, keepdims=True)
        return Guess(found / found.sum(axis=1, keepdims=True), cells.by(telling))
