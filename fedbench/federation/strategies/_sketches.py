"""What the sites sent to agree the encoder, as distributions that can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fedbench.strategy import Update

__all__ = ["Sketch", "Sketches", "information"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sketch:
    """One column at every site.

    ``counts`` has shape ``(sites, bins)``, the last bin being missing; without privacy they are
    whole numbers, with it they are noised. ``ordered`` says that the bins lie on a scale.
    """

    name: str
    counts: Floats
    ordered: bool

    @property
    def n(self) -> Floats:
        """How many patients each site counted."""
        return np.asarray(self.counts.sum(axis=1), dtype=np.float64)

    @property
    def shares(self) -> Floats:
        """The distribution at every site; a site that counted nobody is uniform."""
        n = self.n[:, None]
        uniform = np.full_like(self.counts, 1 / self.counts.shape[1])
        return np.divide(self.counts, n, out=uniform, where=n > 0)

    def grouped(self, groups: int) -> Sketch:
        """Return it in at most so many groups, cut where everybody's bins add up to equal parts.

        Approximations for small samples need bins that are not almost empty.
        """
        if self.counts.shape[1] <= groups:
            return self
        pooled = self.counts.sum(axis=0)
        if not self.ordered:
            # The commonest levels stand alone; all others make one group.
            order = np.argsort(-pooled, kind="stable")
            place = np.minimum(np.argsort(order, kind="stable"), groups - 1)
        else:
            middle = np.cumsum(pooled[:-1]) - pooled[:-1] / 2
            total = max(float(pooled[:-1].sum()), 1e-300)
            place = np.minimum((middle / total * (groups - 1)).astype(np.intp), groups - 2)
            place = np.append(place, groups - 1)
        merged = np.zeros((len(self.counts), groups))
        np.add.at(merged.T, place, self.counts.T)
        return Sketch(self.name, merged[:, merged.sum(axis=0) > 0], self.ordered)


@dataclass(frozen=True)
class Sketches:
    """Every column at every site, the sites sorted by name.

    ``patients`` are the train patients of each site, ``noise`` the standard deviation of the
    noise in every count.
    """

    sites: tuple[str, ...]
    patients: Floats
    columns: Sequence[Sketch]
    noise: float

    @classmethod
    def of(cls, counts: Mapping[str, Update], noise: float = 0.0) -> Self:
        """Read them from what the sites said."""
        sites = tuple(sorted(counts))
        names = sorted(next(iter(counts.values())).sums)
        columns = []
        for name in names:
            told = [np.asarray(counts[site].sums[name], dtype=np.float64) for site in sites]
            # A number described within another column has one row per level of it.
            stacked = np.stack([np.atleast_2d(each).sum(axis=0) for each in told])
            columns.append(Sketch(name, np.maximum(stacked, 0.0), told[0].ndim > 1))
        patients = np.array([counts[site].weight for site in sites], dtype=np.float64)
        return cls(sites, patients, columns, noise)


def information(p: Floats, q: Floats) -> Floats:
    """Return the Jensen-Shannon divergence of each row from ``q``, in nats."""
    middle = (p + q) / 2

    def relative(a: Floats, b: Floats) -> Floats:
        ratio = np.divide(a, b, out=np.ones_like(b), where=a > 0)
        return np.asarray((a * np.log(ratio)).sum(axis=-1), dtype=np.float64)

    return (relative(p, middle) + relative(np.broadcast_to(q, p.shape), middle)) / 2
