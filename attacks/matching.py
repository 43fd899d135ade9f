"""Does a patient's gradient point where updates do, if her secret is this?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedbench.attack import Guess, Knowledge, PublicChallenge, Sight
from fedbench.attacks._secrets import Secretive, completed, grid, supposed
from fedbench.attacks.cosine import Cosine
from fedbench.seeds import Rng

__all__ = ["Matching"]


@dataclass(frozen=True, kw_only=True)
class Matching(Secretive):
    """The answer with which a patient's gradient points most where updates do (a weak attack).

    Patient by patient, as Lyu and Chen 2021 (https://arxiv.org/abs/2108.06910) match gradients;
    ``decode`` looks at all patients of a hospital together.
    """

    knows: ClassVar[frozenset[Knowledge]] = frozenset(
        {Knowledge.UPDATES, Knowledge.REFERENCE, Knowledge.OTHER_COLUMNS}
    )
    version: ClassVar[int] = 2

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        pointing = Cosine(rounds=self.rounds, reference=self.reference, draws=self.draws)
        usual = pointing.usual(sight, rng)
        whole = completed(sight.schema, challenge.targets, sight.reference.table)
        secret = sight.schema.feature(challenge.secret)
        found = np.full((len(whole), len(challenge.choices)), -np.inf)
        for value, answer in grid(sight.reference.table, secret, challenge):
            case = supposed(sight.schema, whole, challenge.secret, value)
            along = pointing.along(sight.wire, case, challenge.sites, usual)
            found[:, answer] = np.maximum(found[:, answer], along)
        # The cosines are sums over rounds, and tell answers apart by little: only order counts.
        shares = np.exp(found - found.max(axis=1, keepdims=True))
        return Guess(shares / shares.sum(axis=1, keepdims=True))
