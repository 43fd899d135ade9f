"""Does what a hospital sends tell how common something is among its patients?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from fedbench.attack import Game, Guess, Knowledge, PublicChallenge, Sight, levels_of
from fedbench.attacks._training import Listening
from fedbench.data import Cohort, Schema
from fedbench.seeds import Rng
from fedbench.traces import Traces

__all__ = ["Prevalence"]

Floats = NDArray[np.float64]

_RIDGE = 1e-4
"""Of all that varies among reference patients, once every number varies alike."""


@dataclass(frozen=True, kw_only=True)
class Prevalence(Listening):
    """Read shares off the mean of all patients' traces, by regression on reference patients.

    Among them it is learned how a property goes with a patient's gradient (or her part of the
    sums), by ridge regression. What crossed is the mean of these over a hospital, and the share is
    linear in it: closed form, no model is trained for it. Noise of known size that privacy added
    is allowed for. Rounds are averaged.
    """

    game: ClassVar[Game] = "property"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.UPDATES, Knowledge.REFERENCE})
    version: ClassVar[int] = 3

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        usual = self.usual(sight, rng)
        has = _has(sight.schema, challenge, usual)
        found = []
        for site in challenge.choices:
            rounds = [
                _read(traces, usual, has) for traces, _ in self.heard(sight.wire, str(site), usual)
            ]
            found.append(np.mean(rounds, axis=0))
        return Guess(np.clip(np.stack(found, axis=1), 0, 1))

    def without(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess | None:
        shares = _has(sight.schema, challenge, sight.reference).mean(axis=0)
        return Guess(np.tile(shares[:, None], (1, len(challenge.choices))))


def _has(schema: Schema, challenge: PublicChallenge, cohort: Cohort) -> Floats:
    """Return who has which property, shape ``(n, properties)``; unknown is as the others are."""
    found = []
    for column, level in challenge.targets.itertuples(index=False):
        feature = schema.feature(column)
        levels = levels_of(cohort.table, feature)
        has, known = levels == feature.column.levels.index(level), levels >= 0
        share = float(has[known].mean()) if known.any() else 0.5
        found.append(np.where(known, has, share))
    return np.stack(found, axis=1)


def _read(traces: Traces, usual: Cohort, has: Floats) -> Floats:
    known = np.concatenate([traces.of(block) for block in traces.blocks(usual)])
    mean, spread = known.mean(axis=0, dtype=np.float64), known.std(axis=0, dtype=np.float64)
    moves = spread > 1e-6 * spread.max(initial=0.0)
    scaled = (known[:, moves] - mean[moves]) / spread[moves]
    seen = (traces.seen[moves] - mean[moves]) / spread[moves]
    ridge = _RIDGE * float(np.square(scaled).sum())
    # What privacy added is as if every patient had her part of it: where it is much, less is read.
    kept = 1 / np.sqrt(1 + len(known) * traces.haze / spread[moves] ** 2 / ridge)
    scaled, seen = scaled * kept, seen * kept
    gram = scaled @ scaled.T
    gram[np.diag_indices_from(gram)] += ridge
    shares = has.mean(axis=0)
    return np.asarray(shares + linalg.solve(gram, has - shares, assume_a="pos").T @ (scaled @ seen))
