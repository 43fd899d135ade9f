"""Do released records crowd around this patient?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Le

from fedbench.attack import Attack, Game, Guess, Knowledge, PublicChallenge, Sight
from fedbench.attacks._neighbours import MOST, to_reference, to_release
from fedbench.seeds import Rng

__all__ = ["Vote"]


@dataclass(frozen=True, kw_only=True)
class Vote(Attack):
    """The share of released records among the nearest released records and other patients.

    The data plagiarism index of Ward, Wang and Cheng 2024 (https://arxiv.org/abs/2406.13012).
    It sees records that were drawn around a patient many times, and a single copy hardly.

    Attributes:
        k: how many neighbours vote.
    """

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC, Knowledge.REFERENCE})
    version: ClassVar[int] = 5

    k: Annotated[int, Ge(1), Le(MOST)] = 20

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        released, reference = to_release(sight, challenge), to_reference(sight, challenge)
        both = np.sort(np.hstack([released, reference]), axis=1)
        last = both[:, min(self.k, both.shape[1]) - 1, None]
        near, others = ((each <= last).sum(axis=1) for each in (released, reference))
        return Guess(near / (near + others))
