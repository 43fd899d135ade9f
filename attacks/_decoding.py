"""Which answers of all patients on a list explain together what their hospital sent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

__all__ = ["Equations", "decoded"]

Floats = NDArray[np.float64]

_TURNS = 300
_NOISES = np.logspace(-9, 4, 66)
"""Variances of what nobody's answer explains that are tried, as shares of what is to explain."""


@dataclass
class Equations:
    """Normal equations of a linear model around a prior, summed over rounds.

    What was seen is a sum over patients of the trace of the answer that each one has: with one
    weight for the answer v of patient i, shape ``(n, answers)``, which are at least 0 and add up
    to 1 for each patient, it is their product with the traces, and noise.
    """

    prior: Floats
    gram: Floats
    towards: Floats
    square: float = 0.0
    count: int = 0

    @classmethod
    def around(cls, prior: Floats) -> Equations:
        """Know nothing yet but how likely each answer is."""
        return cls(prior, np.zeros((prior.size, prior.size)), np.zeros(prior.size))

    def add(self, gram: Floats, towards: Floats, square: float, count: int) -> None:
        """Take a round into account.

        Args:
            gram: inner products of the traces, which have a row per weight.
            towards: those with what was seen beyond what the prior explains.
            square: of the latter with itself.
            count: how many numbers crossed.
        """
        self.gram += gram
        self.towards += towards
        self.square += square
        self.count += count


def decoded(equations: Equations) -> Floats:
    """Return how likely each answer of each patient is, shape ``(n, answers)``.

    Bounded least squares: of all weights that are at least 0 and add up to 1 for each patient,
    those which explain best what was seen, and are as near to the prior as the noise asks for.
    How much noise there is, is what makes all that was seen likeliest, if answers vary around the
    prior as draws from it would (their covariance is that of a multinomial). So pure noise leaves
    the prior, and an exact sum leaves the answers.
    """
    prior, root = equations.prior, np.sqrt(equations.prior)
    scaled = root.ravel()[:, None] * equations.gram * root.ravel()
    inner = _flat(_flat(scaled, root).T, root)
    along = _flat((root.ravel() * equations.towards)[:, None], root)[:, 0]
    values, vectors = linalg.eigh(inner)
    values, turned = np.maximum(values, 0), vectors.T @ along
    noise = _noise(values, turned, max(equations.square, 1e-300), equations.count)
    moved = vectors @ (turned / (values + noise))
    first = prior + (root.ravel() * _flat(moved[:, None], root)[:, 0]).reshape(prior.shape)
    return _bounded(equations, noise, _onto_simplex(first))


def _flat(columns: Floats, root: Floats) -> Floats:
    """Take out what would change the sum of a patient's weights."""
    each = columns.reshape(*root.shape, -1)
    along = np.einsum("nv,nvm->nm", root, each)
    return np.asarray((each - root[:, :, None] * along[:, None]).reshape(columns.shape))


def _noise(values: Floats, turned: Floats, square: float, count: int) -> float:
    """Return the likeliest variance of the noise."""
    there = values > values.max(initial=0.0) * 1e-10
    lengths, along = values[there], turned[there]
    tried = _NOISES * square / count
    log_likelihood: list[float] = [
        -(count - len(lengths)) * np.log(v)
        - np.log(lengths + v).sum()
        - (square - (along**2 / (lengths + v)).sum()) / v
        for v in tried
    ]
    return float(tried[int(np.argmax(log_likelihood))])


def _bounded(equations: Equations, noise: float, start: Floats) -> Floats:
    """Descend to the best weights within their bounds.

    FISTA: Beck and Teboulle 2009, https://doi.org/10.1137/080716542.
    """
    prior = equations.prior
    steep = float(linalg.eigvalsh(equations.gram, subset_by_index=[len(equations.gram) - 1] * 2)[0])
    step = 1 / (steep / noise + 1 / prior.min())
    now = ahead = start
    pace = 1.0
    for _ in range(_TURNS):
        moved = ahead - prior
        slope = (equations.gram @ moved.ravel() - equations.towards).reshape(prior.shape) / noise
        slope += moved / prior
        after = _onto_simplex(ahead - step * slope)
        further = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        ahead = after + (pace - 1) / further * (after - now)
        now, pace = after, further
    return now


def _onto_simplex(weights: Floats) -> Floats:
    """Return the nearest weights that are at least 0 and add up to 1 in each row.

    Duchi et al. 2008, https://doi.org/10.1145/1390156.1390191.
    """
    falling = -np.sort(-weights, axis=1)
    cuts = (np.cumsum(falling, axis=1) - 1) / np.arange(1, weights.shape[1] + 1)
    last = (falling > cuts).sum(axis=1) - 1
    return np.asarray(np.maximum(weights - cuts[np.arange(len(weights)), last][:, None], 0))
