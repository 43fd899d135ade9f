"""Would a model take this patient's record for a released one?"""

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
    plain_columns,
)
from fedbench.errors import Unsupported
from fedbench.seeds import Rng

__all__ = ["Classifier"]


@dataclass(frozen=True, kw_only=True)
class Classifier(Attack):
    """How sure a random forest is that a record is released rather than another patient's.

    The discriminator attack of LOGAN (Hayes et al. 2019, https://doi.org/10.2478/popets-2019-0008)
    with trees grown to the end: they remember single records, which smooth models do not.

    Attributes:
        trees: how many.
    """

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC, Knowledge.REFERENCE})
    version: ClassVar[int] = 5
    misses: ClassVar[str] = (
        "leaks smaller than the noise of its trees, and at very few false alarms some copies"
    )

    trees: Annotated[int, Ge(1)] = 100

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415

        released, reference = sight.synthetic.table, sight.reference.table
        if not len(reference):
            raise Unsupported("The attacker has no reference patients to compare with.")
        known = [f for f in sight.schema.features if f.name in challenge.targets]
        tables = (released, reference, challenge.targets)
        theirs, others, asked = (plain_columns(table, known) for table in tables)
        records = np.vstack([theirs, others])
        # Trees cannot split a column without a value.
        filled = np.flatnonzero(np.isfinite(records).any(axis=0))
        if not len(theirs) or not len(filled):
            return Guess(np.zeros(len(asked)))
        model = RandomForestClassifier(
            self.trees, class_weight="balanced", random_state=int(rng.integers(2**31))
        )
        model.fit(records[:, filled], np.repeat([True, False], [len(theirs), len(others)]))
        return Guess(model.predict_proba(asked[:, filled])[:, 1])
