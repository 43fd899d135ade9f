"""What does a release tell about a patient whose other columns are known?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

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
from fedbench.seeds import Rng

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

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

    trees: int = 50
    leaves: int = 31
    smallest: int = 5

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        secret = sight.schema.feature(challenge.secret)
        known = [f for f in sight.schema.features if f.name in challenge.targets]
        released = sight.synthetic.table
        answers = levels_of(released, secret)
        there = answers >= 0
        shares = np.bincount(answers[there], minlength=len(secret.column.levels)).astype(float)
        if (shares > 0).sum() < 2:  # nothing to learn from
            shares = shares if shares.any() else shares + 1
            return Guess(np.tile(shares / shares.sum(), (len(challenge.targets), 1)))
        records, targets = (plain_columns(t, known) for t in (released[there], challenge.targets))
        # Trees cannot bin a column without a value.
        filled = np.flatnonzero(np.isfinite(records).any(axis=0))
        if not len(filled):
            return Guess(np.tile(shares / shares.sum(), (len(targets), 1)))
        model = self._model([_unordered(known[at]) for at in filled], rng)
        found = np.zeros((len(challenge.targets), len(shares)))
        from threadpoolctl import threadpool_limits  # noqa: PLC0415

        with threadpool_limits(1):
            model.fit(records[:, filled], answers[there])
            found[:, shares > 0] = model.predict_proba(targets[:, filled])
        return Guess(found)

    def _model(self, unordered: Sequence[bool], rng: Rng) -> HistGradientBoostingClassifier:
        from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415

        return HistGradientBoostingClassifier(
            max_iter=self.trees,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.smallest,
            early_stopping=False,
            categorical_features=unordered,
            random_state=int(rng.integers(2**31)),
        )


def _unordered(feature: Feature) -> bool:
    return feature.column.kind == "category" and len(feature.column.levels) <= _MOST_LEVELS
