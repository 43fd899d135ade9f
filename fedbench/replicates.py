"""A number with its replicates, and arithmetic on such numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedbench.direction import badness, side
from fedbench.rows import Row
from fedbench.stats import percentile

__all__ = ["Floats", "Number"]

Floats = NDArray[np.float64]

_ROUNDING = 1e-12
"""Limits that differ by less are the same."""


@dataclass(frozen=True)
class Number:
    """A value with its replicates, and how far its own limits lie outside of theirs.

    At the end of a scale a bootstrap does not move, but exact limits stay away from it:
    ``below`` and ``above`` are what they reach further.
    """

    value: float
    replicates: Floats
    n: int
    below: float = 0.0
    above: float = 0.0

    @classmethod
    def of(cls, row: Row) -> Number:
        """Return the number of a row."""
        value, replicates = row["value"], np.asarray(row["replicates"], dtype=float)
        shown = percentile(value, replicates)
        further = np.array([shown.low - row["low"], row["high"] - shown.high])
        below, above = np.where(further > _ROUNDING, further, 0.0)
        return cls(value, replicates, int(row["n"]), float(below), float(above))

    def minus(self, other: Number) -> Number:
        """Return the paired difference.

        What turns the same way on both sides is no difference, so what exact limits reach
        further counts as far as replicates do not: a model minus itself is 0.
        """
        apart = self.replicates - other.replicates
        known = np.isfinite(apart)
        mine, theirs, both = (
            float(draws[known].std()) if known.any() else 0.0
            for draws in (self.replicates, other.replicates, apart)
        )
        alone = math.hypot(mine, theirs)
        share = min(1.0, both / alone) if alone > 0 else 1.0
        return Number(
            self.value - other.value,
            apart,
            min(self.n, other.n),
            share * (self.below + other.above),
            share * (self.above + other.below),
        )

    @classmethod
    def badness(cls, row: Row) -> Number:
        """Return how bad a row's number is, see ``direction.badness``."""
        found, better = cls.of(row), row["better"]
        value, replicates = (
            badness(each, better, of=found.value) for each in (found.value, found.replicates)
        )
        beyond = (found.below, found.above)[:: int(side(found.value, better))]
        return cls(float(value), replicates, found.n, *beyond)

    @staticmethod
    def mean(numbers: Sequence[Number], weights: Floats, *, apart: bool) -> Number:
        """Return the weighted mean.

        What exact limits reach further adds up, or, if the numbers are about different patients
        (``apart``), in squares (MOVER, Zou and Donner 2008, https://doi.org/10.1002/sim.3095).
        """
        share = weights / weights.sum()
        beyond = [share * [getattr(n, side) for n in numbers] for side in ("below", "above")]
        return Number(
            float(share @ [number.value for number in numbers]),
            np.asarray(share @ np.array([number.replicates for number in numbers])),
            sum(number.n for number in numbers),
            *(float(np.linalg.norm(each) if apart else each.sum()) for each in beyond),
        )

    def columns(self) -> Row:
        """Return the columns of a row that hold this number."""
        found = percentile(self.value, self.replicates)
        return {
            "value": self.value,
            "low": found.low - self.below,
            "high": found.high + self.above,
            "n": self.n,
            "replicates": self.replicates,
        }
