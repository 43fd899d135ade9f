"""Distribution-aware weights: by size, without those who look like nobody else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray

from fedbench.federation.strategies._sketches import Sketch, Sketches, information
from fedbench.federation.strategies._weighted import Weighted
from fedbench.strategy import SHARE, Remark, Update

_FEW = 5
"""With fewer sites nobody can say who is the odd one out."""

_GROUPS = 8
_BIAS = 0.2
_LEAST = 0.01

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DistributionAware(Weighted):
    """Weigh sites by n to the power ``gamma``, shut out outliers, and cap what one site decides.

    Our own rule. How far a site is from the others is the Jensen-Shannon divergence of its columns
    from the median site's, less what its size (and the noise of private counts) would show anyway,
    in units of how far sites are apart in general: where all differ, nobody is an outlier. Weights
    are fixed before training and a sum suffices for it, but the counts of every site are seen.

    It does not see one column that is recorded differently among many; ``remarks`` lists the
    columns of a site that stand out. With fewer than five sites there is neither gate nor cap.

    Attributes:
        gamma: 1 weighs by patients as federated averaging does, 0 all sites equally.
        cap: The largest weight of a site.
        doubt: Distance, in robust standard deviations, from which a site's weight is reduced.
        out: Distance from which it gets none.
        flag: Distance from which a single column is remarked on.
    """

    gamma: Annotated[float, Interval(ge=0, le=1)] = 0.5
    cap: Annotated[float, Interval(gt=0, le=1)] = 0.5
    doubt: Annotated[float, Gt(0)] = 3.0
    out: Annotated[float, Gt(0)] = 6.0
    flag: Annotated[float, Ge(0)] = 4.0

    def weights(self, sketches: Sketches) -> Floats:
        raw = sketches.patients**self.gamma
        if len(raw) < _FEW:
            return np.asarray(raw / raw.sum())
        return _capped(raw * self._gate(_apart(sketches.columns, sketches)), self.cap)

    def remarks(self, counts: Mapping[str, Update], noise: float = 0.0) -> Sequence[Remark]:
        sketches = Sketches.of(counts, noise)
        shares = self.weights(sketches)
        found = [
            Remark(site, SHARE, float(share))
            for site, share in zip(sketches.sites, shares, strict=True)
        ]
        if len(sketches.sites) < _FEW:
            return found
        for site, z in zip(sketches.sites, _apart(sketches.columns, sketches), strict=True):
            found.append(Remark(site, "distance from the others", float(z)))
        for column in sketches.columns:
            for site, z in zip(sketches.sites, _apart([column], sketches), strict=True):
                if z >= self.flag:
                    found.append(Remark(site, f"distance in {column.name}", float(z)))
        return found

    def _gate(self, z: Floats) -> Floats:
        doubted = (self.doubt / np.maximum(z, self.doubt)) ** 2
        return np.where(z > self.out, 0.0, doubted)


def _apart(columns: Sequence[Sketch], sketches: Sketches) -> Floats:
    """Return how far each site is from the others over these columns, in robust deviations."""
    found, spread = zip(*(_distance(column, sketches.noise) for column in columns), strict=True)
    distance = np.mean(found, axis=0)
    error = np.sqrt(np.sum(np.square(spread), axis=0)) / len(columns)
    middle = np.median(distance)
    scale = 1.4826 * np.median(np.abs(distance - middle))
    return np.asarray((distance - middle) / (scale + _LEAST + error))


def _distance(column: Sketch, noise: float) -> tuple[Floats, Floats]:
    """Return each site's divergence in bits beyond what chance explains, and its deviation."""
    column = column.grouped(_GROUPS)
    n, bins = np.maximum(column.n, 1.0), column.counts.shape[1]
    usual = np.median(column.shares, axis=0)
    usual = usual / usual.sum() if usual.sum() else np.full(bins, 1 / bins)
    inverse = np.minimum(1 / np.maximum(usual, 1e-300), n[:, None])
    noisy = noise**2 * inverse / (8 * n[:, None] ** 2)
    by_chance = np.minimum((bins - 1) / (8 * n) + noisy.sum(axis=1), _BIAS)
    beyond = np.where(column.n > 0, information(column.shares, usual) - by_chance, 0.0)
    spread = np.sqrt(2 * (bins - 1)) * (1 / (8 * n) + noisy.mean(axis=1))
    return beyond / np.log(2), spread / np.log(2)


def _capped(raw: Floats, cap: float) -> Floats:
    """Return shares that add up to 1, none above the cap as long as that is possible.

    >>> import numpy as np
    >>> _capped(np.array([8.0, 1.0, 1.0]), 0.5).tolist()
    [0.5, 0.25, 0.25]
    """
    shares = raw / raw.sum()
    cap = max(cap, 1 / np.count_nonzero(shares))
    while (shares > cap + 1e-12).any():
        full = shares >= cap
        rest = np.where(full, 0.0, shares)
        shares = np.where(full, cap, rest / rest.sum() * (1 - cap * full.sum()))
    return np.asarray(shares)
