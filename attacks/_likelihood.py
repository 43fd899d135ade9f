"""Is what crossed likelier with this patient in it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from fedbench.attacks._training import Floats, Tracing, enough
from fedbench.data import Cohort
from fedbench.traces import Traces

__all__ = ["Likelihood", "Whitening"]

_LEAST = 1000
"""Reference patients without whom nothing is known of how gradients vary together."""

_RIDGE = 1e-4
"""Of the largest variance."""

_TURNS = 10
"""Of a power iteration, which finds the largest variance."""

_UNSEEN = 1e-12


@dataclass(frozen=True, kw_only=True)
class Likelihood(Tracing):
    """The log likelihood ratio of a patient's trace, summed over rounds.

    What crossed is a mean G over n patients. If their traces have mean m and covariance C, it is
    about normal around m with C/n, and with a patient of trace g in it around m + (g - m)/n. The
    log ratio is (g - m)' C^-1 (G - m) - (g - m)' C^-1 (g - m) / 2n, with m and C from reference
    patients. C has their rank and a ridge, and is not written down (Woodbury's formula); noise of
    known size that privacy added is a part of the ridge. For sums
    this is the tracing attack of Dwork et al. 2015 (https://doi.org/10.1109/FOCS.2015.46) with
    correlated columns; no model is trained for it.

    Attributes:
        covariance: ``reference`` needs 1,000 patients; ``identity`` takes all directions for
            equally likely, which is said in the row.
    """

    covariance: Literal["reference", "identity"] = "reference"

    @property
    def threat(self) -> str:
        return super().threat + (" (covariance: identity)" if self.covariance == "identity" else "")

    def scores(self, traces: Traces, usual: Cohort, targets: Cohort, patients: float) -> Floats:
        if self.covariance == "reference":
            enough(usual, min(_LEAST, self.reference))
        known = np.concatenate([traces.of(block) for block in traces.blocks(usual)])
        mean = known.mean(axis=0, dtype=np.float64).astype(np.float32)
        known -= mean
        whiten = (
            Whitening.of(known, haze=traces.haze)
            if self.covariance == "reference"
            else Whitening.none(known, traces.haze)
        )
        seen = traces.seen - mean
        towards = whiten.inner(seen[None])
        found = []
        for block in traces.blocks(targets):
            each = traces.of(block) - mean
            own = whiten.inner(each)
            along = own.dot(towards)[:, 0]
            found.append(along - own.squares() / (2 * patients))
        return np.concatenate(found)


@dataclass(frozen=True)
class Whitening:
    """Inner products under the inverse of a covariance of low rank with a ridge.

    With A the centred traces of n patients, (A'A/n + r)^-1 = (1 - A' (n r + A A')^-1 A) / r;
    ``root`` is the Cholesky factor of the inner inverse's argument, None where C is all ridge.
    """

    known: NDArray[np.float32]
    ridge: float
    root: Floats | None

    @classmethod
    def none(cls, known: NDArray[np.float32], haze: float = 0.0) -> Whitening:
        """Take for granted that all parameters vary alike, and alone."""
        spread = float(np.einsum("ij,ij->", known, known, dtype=np.float64)) / known.size
        return cls(known, max(spread, _UNSEEN) + haze, None)

    @classmethod
    def of(cls, known: NDArray[np.float32], share: float = _RIDGE, haze: float = 0.0) -> Whitening:
        """Take the covariance of these traces, whose mean is zero.

        ``share`` of the largest variance is the ridge, and the variance of noise that is there
        besides (``haze``).
        """
        gram = (known @ known.T).astype(np.float64)
        along = gram.sum(axis=1) + np.diag(gram)
        for _ in range(_TURNS):
            along = gram @ (along / max(float(np.linalg.norm(along)), _UNSEEN))
        ridge = max(share * float(np.linalg.norm(along)) / len(known), _UNSEEN) + haze
        gram[np.diag_indices_from(gram)] += len(known) * ridge
        return cls(known, ridge, linalg.cholesky(gram, lower=True))

    def inner(self, each: NDArray[np.float32]) -> _Inner:
        """Return these as they enter inner products."""
        if self.root is None:
            return _Inner(each, np.zeros((len(each), 1)), self.ridge)
        across = (self.known @ each.T).astype(np.float64)
        return _Inner(each, linalg.solve_triangular(self.root, across, lower=True).T, self.ridge)


@dataclass(frozen=True)
class _Inner:
    each: NDArray[np.float32]
    across: Floats
    ridge: float

    def dot(self, other: _Inner) -> Floats:
        """Return all inner products, shape ``(n, m)``."""
        plain = (self.each @ other.each.T).astype(np.float64)
        return np.asarray((plain - self.across @ other.across.T) / self.ridge)

    def squares(self) -> Floats:
        """Return the squared lengths."""
        plain = np.einsum("ij,ij->i", self.each, self.each, dtype=np.float64)
        return np.asarray((plain - (self.across**2).sum(axis=1)) / self.ridge)
