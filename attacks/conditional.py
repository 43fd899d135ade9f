"""What is usual among released records that agree with a patient?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from scipy import special

from fedbench.attack import (
    Attack,
    Game,
    Guess,
    Knowledge,
    PublicChallenge,
    Sight,
    levels_of,
    plain_columns,
)
from fedbench.seeds import Rng

__all__ = ["Conditional"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Conditional(Attack):
    """Say of the secret what released records say that agree in the columns that tell most of it.

    Columns are taken in the order of their mutual information with the secret, as many as still
    leave enough records that agree. Without any, it says what is commonest in the release. This is
    what anybody could count in the released table by hand.

    Attributes:
        columns: how many must agree at most.
        least: how many records must agree before what they say counts.
        bins: into how many of equal size numbers are cut.
    """

    game: ClassVar[Game] = "attribute"
    knows: ClassVar[frozenset[Knowledge]] = frozenset(
        {Knowledge.SYNTHETIC, Knowledge.OTHER_COLUMNS}
    )
    version: ClassVar[int] = 2
    misses: ClassVar[str] = "most of what single records give away"

    columns: Annotated[int, Ge(1)] = 6
    least: Annotated[int, Ge(1)] = 2
    bins: Annotated[int, Ge(2)] = 10

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        secret = sight.schema.feature(challenge.secret)
        levels, asked = len(secret.column.levels), len(challenge.targets)
        answers = levels_of(sight.synthetic.table, secret)
        released = sight.synthetic.table[answers >= 0]
        answers = answers[answers >= 0]
        usual = (np.bincount(answers, minlength=levels) + 1) / (len(answers) + levels)
        chance = np.tile(usual, (asked, 1))
        known = [f for f in sight.schema.features if f.name in challenge.targets]
        plain = [plain_columns(table, known) for table in (released, challenge.targets)]
        coded = [
            _coded(*columns, self.bins) for columns in zip(plain[0].T, plain[1].T, strict=True)
        ]
        told = np.array([_information(column[: len(answers)], answers) for column in coded])
        group = np.zeros(len(answers) + asked, np.int64)
        for at in np.argsort(-told, kind="stable")[: self.columns]:
            both = np.column_stack([group, coded[at]])
            group = np.unique(both, axis=0, return_inverse=True)[1].ravel()
            counts = np.zeros((group.max() + 1, levels))
            np.add.at(counts, (group[: len(answers)], answers), 1)
            mine = counts[group[len(answers) :]]
            enough = mine.sum(axis=1) >= self.least
            # What fewer columns said decides where few records agree.
            sums = mine.sum(axis=1, keepdims=True) + 1
            chance = np.where(enough[:, None], (mine + chance) / sums, chance)
        return Guess(chance)


def _coded(released: Floats, asked: Floats, bins: int) -> Ints:
    """Return one column of the release and of the targets as numbers from 0, which is missing."""
    there = released[np.isfinite(released)]
    distinct = np.unique(there)
    if len(distinct) > bins:
        distinct = np.unique(np.quantile(there, np.arange(1, bins) / bins))
    both = np.concatenate([released, asked])
    return np.where(np.isfinite(both), np.searchsorted(distinct, both, "right") + 1, 0)


def _information(column: Ints, answers: Ints) -> float:
    """Return the mutual information of a column with the secret, in nats."""
    if not len(answers):
        return 0.0
    both = np.zeros((column.max() + 1, answers.max() + 1))
    np.add.at(both, (column, answers), 1 / len(answers))
    sums = [special.entr(both.sum(axis=axis)).sum() for axis in (0, 1)]
    return float(sum(sums) - special.entr(both).sum())
