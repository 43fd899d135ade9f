"""What does a release tell about a patient whose other columns are known?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge

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

__all__ = ["Attribute"]


@dataclass(frozen=True, kw_only=True)
class Attribute(Attack):
    """Learn the secret from the released records and predict it for the targets.

    A random forest on the columns that the attacker knows (Stadler, Oprisanu and Troncoso 2022,
    https://www.usenix.org/conference/usenixsecurity22/presentation/stadler, use the same game
    with other models). Its trees are grown to the end, so that they remember single records.
    What counts is how much better it does on members than on others: most of its success is
    medicine, not leakage.

    Attributes:
        trees: how many.
    """

    game: ClassVar[Game] = "attribute"
    knows: ClassVar[frozenset[Knowledge]] = frozenset(
        {Knowledge.SYNTHETIC, Knowledge.OTHER_COLUMNS}
    )
    version: ClassVar[int] = 3
    misses: ClassVar[str] = (
        "secrets of single copied records as well as attacks do that look records up"
    )

    trees: Annotated[int, Ge(1)] = 30

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415

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
        # Trees cannot split a column without a value.
        filled = np.flatnonzero(np.isfinite(records).any(axis=0))
        if not len(filled):
            return Guess(np.tile(shares / shares.sum(), (len(targets), 1)))
        model = RandomForestClassifier(self.trees, random_state=int(rng.integers(2**31)))
        model.fit(records[:, filled], answers[there])
        found = np.zeros((len(targets), len(shares)))
        found[:, shares > 0] = model.predict_proba(targets[:, filled])
        return Guess(found)
