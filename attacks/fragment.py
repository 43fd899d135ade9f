"""Do several of this patient's values stand together in one released record?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedbench.attack import Attack, Game, Guess, Knowledge, PublicChallenge, Sight
from fedbench.attacks._fragments import Cells, fragments
from fedbench.seeds import Rng

__all__ = ["Fragment"]


@dataclass(frozen=True, kw_only=True)
class Fragment(Attack):
    """How many combinations of values, each of which many have, the patient shares with a record.

    A record of which only some columns are a patient's is not close to her: what else it holds
    drowns them. So combinations of a few columns are tried, of which no two targets have the
    same, and those count of which more stand in the release than by luck. What a patient shares
    with the same release whose values were dealt to its records one by one is subtracted: single
    values are no fragments.

    Counting released records that agree in random columns is how Houssiau et al. 2022
    (https://arxiv.org/abs/2211.06550) attack single targets with models trained anew; here all
    targets together show which columns tell, and nothing is trained.
    """

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC})
    version: ClassVar[int] = 1
    misses: ClassVar[str] = "fragments that several patients share, and single values, however rare"

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        cells = Cells.of(sight.schema, challenge.targets, sight.synthetic.table, rng)
        found = np.zeros(len(challenge.targets))
        telling = fragments(cells, rng)
        for each in telling:
            found[each.targets] += each.weight
            found[each.dealt] -= each.undone
        return Guess(found, cells.by(telling))
