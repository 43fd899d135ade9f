"""How much patients tell who are alike, as those of a family or a household are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fedbench.data import Cohort
from fedbench.metrics._draws import Floats

__all__ = ["Ints", "owners", "precision", "worth"]

Ints = NDArray[np.int64]


def owners(cohort: Cohort) -> Ints:
    """Return a number for every patient, which patients of one cluster share."""
    if cohort.schema.cluster is None:
        return np.arange(len(cohort))
    return np.unique(cohort.clusters.astype(str), return_inverse=True)[1].astype(np.int64)


def worth(owner: Ints, hits: NDArray[np.bool_]) -> Floats:
    """Return how many patients drawn one by one would tell shares as well as these.

    Where shares vary between clusters as by chance it is all of them; where all of a cluster are
    the same, and also where nobody or everybody is hit so that nothing tells, it is n² by the sum
    of the squared sizes of clusters (effective sample size, Kish 1965, Survey Sampling).

    Args:
        owner: (n,) the cluster of every patient.
        hits: (n, k) who counts towards each share.
    """
    n, sizes = len(owner), np.bincount(owner)
    if n == 0 or sizes.max() == 1:
        return np.full(hits.shape[1], float(n))
    least = n**2 / float(sizes @ sizes)
    share = hits.mean(axis=0)
    spread = np.array([precision(owner, hit.astype(float))[0] for hit in hits.T])
    alone = share * (1 - share)
    found = np.divide(alone, spread, out=np.full(len(alone), least), where=spread > 0)
    return np.asarray(np.clip(found, least, n))


def precision(owner: Ints, values: Floats) -> tuple[float, int]:
    """Return the variance of a mean whose clusters are independent, and its degrees of freedom.

    Where everybody is a cluster it is the usual one; of a single cluster nothing is known.
    """
    sums = np.bincount(owner, values - values.mean())[np.bincount(owner) > 0]
    free = len(sums) - 1
    if not free:
        return math.inf, 0
    return float(sums @ sums) * len(sums) / free / len(values) ** 2, free
