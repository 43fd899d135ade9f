"""Is what crossed likelier with this record in it, whichever of the others are?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from fedbench.traces import Floats, Singles

__all__ = ["among"]

_FAINT = 1e-10
"""Directions in which less varies, as a share of the largest variance, are none."""

_NOISES = np.geomspace(1e-8, 1e2, 61)
"""Variances of noise that are tried, in units of the largest variance."""


def among(seen: Singles, known: Singles, each: Singles, patients: float) -> Floats:
    """Return the log likelihood ratio of every candidate, the others being there by a coin.

    What crossed is n times ``seen``: the traces of candidates by fair coins, of other patients
    with the mean and covariance of those ``known``, and noise alike in all directions. It is
    about normal, so that the ratio of a candidate of (centred) trace d is d' C^-1 y / (1 - h),
    where y is what crossed without its expectation, C its covariance with every coin still to be
    tossed and h = d' C^-1 d / 4 takes its own one out (Sherman and Morrison's formula). How much
    noise there is, also of all that is not modelled, is what makes y likeliest.

    Args:
        seen: the mean over all patients, shape ``(width,)``.
        known: traces of other patients, shape ``(m, width)``.
        each: traces of the candidates, shape ``(k, width)``.
        patients: how many there are, about half of the candidates among them.
    """
    mean = known.mean(axis=0, dtype=np.float64)
    rest = max(patients - len(each) / 2, 1.0)
    # Their own mean varies as well, and so does the one that is known.
    scale = np.sqrt(rest * (1 + rest / len(known)) / len(known))
    rows = np.concatenate([(known - mean) * scale, (each - mean) / 2])
    left = patients * (seen - mean) - rows[len(known) :].sum(axis=0)
    fitted = _Fitted.of(rows, left)
    toward, own = fitted.solved()
    return np.asarray(2 * toward[len(known) :] / np.maximum(1 - own[len(known) :], 1e-9))


@dataclass(frozen=True)
class _Fitted:
    """``rows' rows`` and noise as a covariance, in the coordinates of the rows' Gram matrix."""

    values: Floats
    vectors: Floats
    along: Floats
    noise: float

    @classmethod
    def of(cls, rows: Floats, seen: Floats) -> _Fitted:
        values, vectors = linalg.eigh(rows @ rows.T)
        values = np.maximum(values, 0.0)
        along = vectors.T @ (rows @ seen)
        there = values > _FAINT * values[-1]
        parts = along[there] ** 2 / values[there]
        beyond = max(float(seen @ seen - parts.sum()), 0.0)
        width = max(rows.shape[1] - int(there.sum()), 0)

        def unlikely(noise: float) -> float:
            spread = values[there] + noise
            inside = float((np.log(spread) + parts / spread).sum())
            return float(inside + width * math.log(noise) + beyond / noise)

        tried = _NOISES * max(values[-1], 1e-300)
        noise = float(tried[np.argmin([unlikely(one) for one in tried])])
        return cls(values, vectors, along, noise)

    def solved(self) -> tuple[Floats, Floats]:
        """Return each row's inner products, under the inverse, with what was seen and itself."""
        spread = self.values + self.noise
        return self.vectors @ (self.along / spread), (self.vectors**2) @ (self.values / spread)
