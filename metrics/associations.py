"""Do columns go together as they should?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedbench.metric import Anchors, Evidence, Family, Measure, Metric, Refusal, View
from fedbench.metrics._draws import Floats, Singles, measured, pair_shares, shares
from fedbench.metrics._encoded import Encoded, encoded, records
from fedbench.seeds import Rng

__all__ = ["Associations"]

Ints = NDArray[np.int64]

_BLOCK = 4096  # pairs
_KEPT = 1 << 22  # correlations that a view may keep, 16 MiB; more are computed again
_FLAT = 1e-4  # variance, in units of the unweighted one, below which nothing varies


@dataclass(frozen=True, kw_only=True)
class Associations(Metric):
    """Mean absolute difference between real and synthetic correlations of all column pairs.

    Columns of any type are compared through what ``encoded`` makes of them. Differences are
    averaged within a pair of columns first, so that a category with many levels weighs no more
    than a number. Where one side does not vary its correlation is 0.
    The last value of a laboratory and the one before are two columns, so persistence counts.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "lower"
    version: ClassVar[int] = 1
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        sides = [
            _Side.of(evidence.test, evidence),
            _Side.of(evidence.synthetic, evidence),
        ]
        first, second, weight = _pairs(sides[0].owner)
        if not len(first):
            reason = "fewer than two columns vary among the training records"
            return [Refusal(reason=reason, status="not applicable")]
        if len(np.unique(sides[1].owner[sides[1].exact.diagonal() > 0])) < 2:
            return [Refusal(reason="fewer than two columns vary among the synthetic records")]
        rows = np.zeros(1 + len(evidence.test.weights))
        for start in range(0, len(first), _BLOCK):
            block = slice(start, start + _BLOCK)
            kept = len(first) * len(rows) <= _KEPT
            real, fake = (side.correlations(first[block], second[block], kept) for side in sides)
            rows += np.abs(real - fake) @ weight[block]
        rows[0] = np.abs(sides[0].exact - sides[1].exact)[first, second] @ weight
        return [measured(rows, len(evidence.test), most=2.0)]


@dataclass(frozen=True)
class _Side:
    """Standardized columns of one side, with their means and precisions in every draw."""

    view: View
    columns: Singles  # (k, n)
    owner: Ints
    middle: Singles  # (1 + B, k)
    inverse: Singles  # one over the standard deviation, 0 where nothing varies
    exact: Floats  # (k, k), unweighted

    @classmethod
    def of(cls, view: View, evidence: Evidence) -> _Side:
        return view.shared(
            "associations",
            lambda: cls._of(view, encoded(evidence.encoder, records(evidence, view))),
        )

    @classmethod
    def _of(cls, view: View, found: Encoded) -> _Side:
        values = found.values - found.values.mean(axis=1, keepdims=True)
        spread = values.std(axis=1, keepdims=True)
        values = np.divide(values, spread, out=np.zeros_like(values), where=spread > 1e-12)
        columns = values.astype(np.float32)
        middle = shares(view, columns.T)
        variance = shares(view, columns.T**2) - middle**2
        flat = variance < _FLAT
        inverse = np.where(flat, 0.0, 1 / np.sqrt(np.where(flat, 1.0, variance)))
        return cls(
            view,
            columns,
            found.owner,
            middle.astype(np.float32),
            inverse.astype(np.float32),
            values @ values.T / len(view),
        )

    def correlations(self, first: Ints, second: Ints, kept: bool) -> Singles:  # noqa: FBT001
        """Return ``(1 + B, pairs)``."""
        if not kept:
            return self._correlations(first, second)
        name = f"associations {first[0]} {second[0]}"
        return self.view.shared(name, lambda: self._correlations(first, second))

    def _correlations(self, first: Ints, second: Ints) -> Singles:
        found = pair_shares(self.view, self.columns, first, second)
        found -= self.middle[:, first] * self.middle[:, second]
        found *= self.inverse[:, first]
        found *= self.inverse[:, second]
        return found


def _pairs(owner: Ints) -> tuple[Ints, Ints, Floats]:
    """Return pairs of rows of different columns, with weights that add up to 1."""
    first, second = np.triu_indices(len(owner), 1)
    other = owner[first] != owner[second]
    first, second = first[other], second[other]
    low, high = np.minimum(owner[first], owner[second]), np.maximum(owner[first], owner[second])
    _, block, size = np.unique(
        low * (owner.max(initial=0) + 1) + high, return_inverse=True, return_counts=True
    )
    return first, second, 1 / (size[block] * max(1, len(size)))
