"""Does the release foretell this patient's values better than other patients do?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
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
from fedbench.data import Feature
from fedbench.errors import Unsupported
from fedbench.seeds import Rng

__all__ = ["Surprise"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Surprise(Attack):
    """How much better the release foretells a patient's values than other patients do.

    Each column is predicted from all others, by trees grown on the release and by trees grown on
    the attacker's own patients; the score is the sum of the log ratios of what both thought of the
    true values. After MIA-EPT's profile of prediction errors, with reference patients in the place
    of shadow models.

    Attributes:
        trees: how many per column.
        columns: how many are predicted, the most uncertain ones.
        bins: into how many of equal size numbers are cut.
    """

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC, Knowledge.REFERENCE})
    version: ClassVar[int] = 5
    misses: ClassVar[str] = "what no other column foretells"

    trees: Annotated[int, Ge(1)] = 10
    columns: Annotated[int, Ge(1)] = 20
    bins: Annotated[int, Ge(2)] = 10

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        if not len(sight.reference):
            raise Unsupported("The attacker has no reference patients to compare with.")
        known = [f for f in sight.schema.features if f.name in challenge.targets]
        tables = sight.synthetic.table, sight.reference.table, challenge.targets
        plain = [plain_columns(table, known) for table in tables]
        coded = [_coded(tables, feature, self.bins) for feature in known]
        score = np.zeros(len(challenge.targets))
        if not len(tables[0]):
            return Guess(score)
        for at in self._uncertain([reference for _, reference, _ in coded]):
            others = np.arange(len(known)) != at
            released, reference, asked = coded[at]
            levels = int(max(released.max(), reference.max(), asked.max())) + 1
            for sign, records, answers in ((1, plain[0], released), (-1, plain[1], reference)):
                seen = self._foretold(records[:, others], answers, plain[2][:, others], rng)
                chance = np.pad(seen, ((0, 0), (0, levels - seen.shape[1])))
                # One tree more, which knows nothing, so that no value is impossible.
                chance = (self.trees * chance + 1 / levels) / (self.trees + 1)
                score += sign * np.log(chance[np.arange(len(asked)), asked])
        return Guess(score)

    def _uncertain(self, reference: Sequence[Ints]) -> Ints:
        """Return the columns whose entropy among other patients is largest, none without any."""
        shares = [np.bincount(values) / len(values) for values in reference]
        entropy = np.array([special.entr(share).sum() for share in shares])
        order = np.argsort(-entropy, kind="stable")[: self.columns]
        return order[entropy[order] > 0]

    def _foretold(self, records: Floats, answers: Ints, asked: Floats, rng: Rng) -> Floats:
        """Return the chance of each answer, shape ``(len(asked), answers.max() + 1)``."""
        from sklearn.ensemble import ExtraTreesClassifier  # noqa: PLC0415

        shares = np.bincount(answers) / len(answers)
        chance = np.tile(shares, (len(asked), 1))
        filled = np.flatnonzero(np.isfinite(records).any(axis=0))
        if len(filled) and np.count_nonzero(shares) > 1:
            model = ExtraTreesClassifier(self.trees, random_state=int(rng.integers(2**31)))
            model.fit(records[:, filled], answers)
            chance[:] = 0
            chance[:, model.classes_] = model.predict_proba(asked[:, filled])
        return chance


def _coded(tables: Sequence[pd.DataFrame], feature: Feature, bins: int) -> list[Ints]:
    """Return one column of release, reference and targets as numbers from 0, which is missing."""
    if feature.column.kind == "category":
        return [levels_of(table, feature) + 1 for table in tables]
    values = [table[feature.name].to_numpy(dtype=np.float64) for table in tables]
    there = [each[np.isfinite(each)] for each in values[:2]]
    edges = (
        np.unique(np.quantile(np.concatenate(there), np.arange(1, bins) / bins))
        if sum(map(len, there))
        else np.empty(0)
    )
    return [
        np.where(np.isfinite(each), np.searchsorted(edges, each, "right") + 1, 0) for each in values
    ]
