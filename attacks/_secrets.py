"""What attacks on the training that are after a secret share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from annotated_types import Ge
from numpy.typing import NDArray

from fedbench.attack import (
    Game,
    Guess,
    Knowledge,
    PublicChallenge,
    Sight,
    Wired,
    answers_of,
    plain_columns,
)
from fedbench.data import Cohort, Feature, Schema
from fedbench.errors import Unsupported
from fedbench.seeds import Rng
from fedbench.traces import cohort_of

__all__ = ["Secretive", "completed", "grid", "supposed"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WITHIN = (0.1, 0.5, 0.9)
"""Quantiles of a range at which a number is tried."""

_LEAST = 0.01
"""Of a probability that somebody has an answer, so that nothing is ruled out beforehand."""


@dataclass(frozen=True, kw_only=True)
class Secretive(Wired):
    """An attack on the training that is after a secret of patients it has lists of.

    Attributes:
        secrets: Columns to ask for, numbers too; without any, the sensitive categories.
        reference: Other patients, at most, who say what is usual.
        draws: Over how much noise of a generator a patient's gradient is averaged.
        trees: How many vote on what other patients say about a secret.
    """

    game: ClassVar[Game] = "attribute"
    knows: ClassVar[frozenset[Knowledge]] = frozenset(
        {Knowledge.UPDATES, Knowledge.REFERENCE, Knowledge.OTHER_COLUMNS, Knowledge.ROSTER}
    )

    secrets: tuple[str, ...] = ()
    reference: Annotated[int, Ge(2)] = 500
    draws: Annotated[int, Ge(1)] = 2
    trees: Annotated[int, Ge(1)] = 100

    def without(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess | None:
        """Learn from other patients how the secret goes with what is known."""
        from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415

        usual = sight.reference.table
        answers = answers_of(usual, sight.schema.feature(challenge.secret), challenge.cuts)
        there, size = answers >= 0, len(challenge.choices)
        shares = np.bincount(answers[there], minlength=size).astype(np.float64)
        known = [f for f in sight.schema.features if f.name in challenge.targets]
        records, targets = (plain_columns(t, known) for t in (usual[there], challenge.targets))
        filled = np.flatnonzero(np.isfinite(records).any(axis=0))
        if (shares > 0).sum() < 2 or not len(filled):
            shares = shares if shares.any() else np.ones(size)
            return Guess(np.tile(shares / shares.sum(), (len(targets), 1)))
        model = RandomForestClassifier(
            self.trees, min_samples_leaf=5, random_state=int(rng.integers(2**31))
        )
        model.fit(records[:, filled], answers[there])
        found = np.zeros((len(targets), size))
        found[:, shares > 0] = model.predict_proba(targets[:, filled])
        found = np.maximum(found, _LEAST)
        return Guess(found / found.sum(axis=1, keepdims=True))

    def usual(self, sight: Sight, rng: Rng) -> Cohort:
        """Return the patients who say what is usual.

        Raises:
            Unsupported: there are fewer than two.
        """
        everyone = sight.reference
        if len(everyone) < 2:
            raise Unsupported("The attacker has no reference patients to compare with.")
        return everyone.take(rng.permutation(everyone.patients)[: self.reference])


def grid(
    usual: pd.DataFrame, secret: Feature, challenge: PublicChallenge
) -> Iterator[tuple[str | float, int]]:
    """Yield values that the secret may have, and which choice each of them is.

    A number is tried at several quantiles of each range, as other patients have them.
    """
    if secret.column.kind == "category":
        yield from ((level, number) for number, level in enumerate(secret.column.levels))
        return
    values = usual[secret.name].to_numpy(dtype=np.float64)
    values, answers = values[np.isfinite(values)], answers_of(usual, secret, challenge.cuts)
    answers = answers[answers >= 0]
    for number, middle in enumerate(challenge.choices):
        here = values[answers == number]
        if not len(here):
            yield float(middle), number
            continue
        for value in np.unique(np.quantile(here, _WITHIN, method="inverted_cdf")):
            yield float(value), number


def completed(schema: Schema, targets: pd.DataFrame, usual: pd.DataFrame) -> pd.DataFrame:
    """Return the targets with all columns; what is hidden is as it is in most other patients."""
    found = {}
    for feature in schema.features:
        if feature.name in targets:
            found[feature.name] = targets[feature.name]
            continue
        column = usual[feature.name]
        value = column.mode().iloc[0] if column.notna().any() else np.nan
        if feature.column.kind == "category":
            value = pd.Categorical([value] * len(targets), categories=feature.column.levels)
        found[feature.name] = pd.Series(value, index=targets.index)
    return pd.DataFrame(found)


def supposed(schema: Schema, whole: pd.DataFrame, name: str, choice: str | float) -> Cohort:
    """Return these patients as if the secret of all of them were this."""
    table = whole.copy()
    kind = schema.feature(name).column
    if kind.kind == "category":
        table[name] = pd.Categorical([choice] * len(table), categories=kind.levels)
    else:
        table[name] = float(choice)
    return cohort_of(schema, table.reset_index(drop=True))
