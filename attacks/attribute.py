"""What does a release tell about a patient whose other columns are known?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.attack import Attack, Game, Guess, Knowledge, PublicChallenge, Sight
from fedbench.data import Feature
from fedbench.seeds import Rng

__all__ = ["Attribute"]

_MOST_LEVELS = 255  # what the model can treat as unordered


@dataclass(frozen=True, kw_only=True)
class Attribute(Attack):
    """Learn the secret from the released records and predict it for the targets.

    Boosted trees on the columns that the attacker knows (Stadler, Oprisanu and Troncoso 2022,
    https://www.usenix.org/conference/usenixsecurity22/presentation/stadler, use the same game
    with other models). What counts is how much better it does on members than on others: most
    of its success is medicine, not leakage.

    Attributes:
        trees: how many.
        leaves: leaves per tree.
        smallest: fewest records in a leaf; a small one lets the trees remember single records.
    """

    game: ClassVar[Game] = "attribute"
    knows: ClassVar[frozenset[Knowledge]] = frozenset(
        {Knowledge.SYNTHETIC, Knowledge.OTHER_COLUMNS}
    )
    version: ClassVar[int] = 1

    trees: int = 100
    leaves: int = 31
    smallest: int = 5

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        secret = sight.schema.feature(challenge.secret)
        known = [f for f in sight.schema.features if f.name in challenge.targets]
        released = sight.synthetic.table
        answers = _codes(released, secret)
        there = answers >= 0
        return Guess(
            self._learn(
                _columns(released, known)[there],
                answers[there],
                _columns(challenge.targets, known),
                known,
                len(secret.column.levels),
                rng,
            )
        )

    def _learn(  # noqa: PLR0913  (what is known, what is asked, and of whom)
        self,
        records: NDArray[np.float64],
        answers: NDArray[np.int64],
        targets: NDArray[np.float64],
        known: Sequence[Feature],
        levels: int,
        rng: Rng,
    ) -> NDArray[np.float64]:
        """Return one probability per target and level."""
        seen = np.unique(answers)
        if len(seen) < 2:  # nothing to learn from: all or none have the same level
            same = np.bincount(answers, minlength=levels) if len(seen) else np.ones(levels)
            return np.tile(same / same.sum(), (len(targets), 1))
        from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415
        from threadpoolctl import threadpool_limits  # noqa: PLC0415

        model = HistGradientBoostingClassifier(
            max_iter=self.trees,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.smallest,
            early_stopping=False,
            categorical_features=[_unordered(feature) for feature in known],
            random_state=int(rng.integers(2**31)),
        )
        found = np.zeros((len(targets), levels))
        with threadpool_limits(1):
            found[:, seen] = model.fit(records, answers).predict_proba(targets)
        return found


def _unordered(feature: Feature) -> bool:
    return feature.column.kind == "category" and len(feature.column.levels) <= _MOST_LEVELS


def _codes(table: pd.DataFrame, feature: Feature) -> NDArray[np.int64]:
    found = pd.Categorical(table[feature.name], categories=list(feature.column.levels))
    return found.codes.astype(np.int64)


def _columns(table: pd.DataFrame, known: Sequence[Feature]) -> NDArray[np.float64]:
    """Numbers as they are, categories as level numbers, NaN for missing."""
    found = np.empty((len(table), len(known)))
    for at, feature in enumerate(known):
        if feature.column.kind == "category":
            codes = _codes(table, feature)
            found[:, at] = np.where(codes < 0, np.nan, codes)
        else:
            found[:, at] = table[feature.name].to_numpy(dtype=np.float64)
    return found
