"""An attack on membership: who was trained on?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge
from scipy.spatial.distance import cdist

from fedbench.attack import Attack, Game, Guess, Knowledge, PublicChallenge, Sight, plain_columns
from fedbench.seeds import Rng

_MISSING = -1e9


@dataclass(frozen=True, kw_only=True)
class Template(Attack):
    """Accuse those who have many columns in common with some released record.

    It sees only what it declares in ``knows``. What it earns is decided elsewhere, with
    controls: it must catch a verbatim copy and stay silent about records that nobody saw.

    Attributes:
        most: released records to look at.
    """

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC})
    version: ClassVar[int] = 1

    most: Annotated[int, Ge(1)] = 2_000

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        """Return one score per target; higher means surer that it is a member."""
        known = [f for f in sight.schema.features if f.name in challenge.targets]
        released = plain_columns(sight.synthetic.table, known)[: self.most]
        targets = plain_columns(challenge.targets, known)
        # A missing value is a value of its own.
        sides = [np.nan_to_num(side, nan=_MISSING) for side in (targets, released)]
        return Guess(-cdist(*sides, metric="hamming").min(axis=1, initial=1))
