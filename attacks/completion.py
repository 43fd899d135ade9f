"""What stands beside fragments of this patient's record?"""

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
        secret = sight.schema.feature(challenge.secret)
        answers = levels_of(sight.synthetic.table, secret)
        released = sight.synthetic.table[answers >= 0]
        said = np.eye(len(secret.column.levels))[answers[answers >= 0]]
        usual = (said.sum(axis=0) + 1) / (len(said) + said.shape[1])
        found = np.tile(usual, (len(challenge.targets), 1))
        cells = Cells.of(sight.schema, challenge.targets, released, rng)
        telling = fragments(cells, rng)
        for each in telling:
            mine, theirs, _ = cells.together(each.cells)
            whole, place = np.unique(theirs, return_inverse=True)
            counts = np.zeros((len(whole), said.shape[1]))
            np.add.at(counts, place, said)
            beside = counts[np.searchsorted(whole, mine[each.targets])]
            found[each.targets] += each.weight[:, None] * beside / beside.sum(axis=1, keepdims=True)
        return Guess(found / found.sum(axis=1, keepdims=True), cells.by(telling))
