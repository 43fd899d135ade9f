"""At which hospital is a patient's trace to be seen best?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedbench.attack import Game, Guess, PublicChallenge, Sight
from fedbench.attacks._training import Tracing
from fedbench.seeds import Rng
from fedbench.traces import cohort_of

__all__ = ["Homing"]


@dataclass(frozen=True, kw_only=True)
class Homing(Tracing):
    """An attack that scores each target at every hospital; the highest score is its answer."""

    game: ClassVar[Game] = "source"

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        targets = cohort_of(sight.schema, challenge.targets)
        usual = self.usual(sight, rng)
        everywhere = [
            self.along(sight.wire, targets, np.full(len(targets), str(site), dtype=object), usual)
            for site in challenge.choices
        ]
        return Guess(np.stack(everywhere, axis=1))
