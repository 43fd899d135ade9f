"""A column held against a margin: how far apart the sides are, and what two tests say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from fedbench.data import Feature
from fedbench.metric import Evidence, View
from fedbench.metrics._draws import Floats, mended, shares, unfolded
from fedbench.metrics._worth import owners, precision, worth
from fedbench.stats import newcombe

__all__ = ["Apart", "Said", "levels_apart", "means_apart"]

Said = Literal["equivalent", "different", "undecided"]

ERROR = 0.05
_TWO_SIDED = float(special.ndtri(1 - ERROR / 2))


@dataclass(frozen=True)
class Apart:
    """Differences of one column, synthetic minus real: of its mean, or of each level's share.

    ``gaps`` has shape ``(k, 1 + B)``. ``ends`` gives the limits ``(2, k)`` that the truth lies
    below, or above, with a given chance; no bootstrap is in them. ``tests`` is how many of the k
    could be different.
    """

    gaps: Floats
    ends: Callable[[float], Floats]
    margin: float
    tests: int = 1

    @property
    def largest(self) -> Floats:
        """The largest difference, in every draw (1 + B,)."""
        return np.asarray(unfolded(self.gaps.T).max(axis=1))

    @property
    def limits(self) -> tuple[float, float]:
        """Limits of 95 % of the largest difference, from the formula and not the bootstrap."""
        place = int(np.abs(self.gaps[:, 0]).argmax())
        low, high = self.ends(ERROR / 2)[:, place]
        return max(float(low), -float(high), 0.0), max(float(high), -float(low))

    @property
    def verdict(self) -> Said:
        """What two one-sided tests say at 5 %."""
        low, high = self.ends(ERROR)
        if (np.maximum(high, -low) < self.margin).all():
            return "equivalent"
        low, high = self.ends(ERROR / self.tests)
        return "different" if (np.maximum(low, -high) > self.margin).any() else "undecided"

    @property
    def short(self) -> Floats:
        """Whether equivalence is not shown, and how far other patients may move that (1 + B,).

        A verdict turns at a threshold, and drawing patients again does not tell how often it
        would turn for others: it turns by chance, at most as often as where the 95 % interval
        comes closest to the threshold. The bootstrap says which columns turn together.
        """
        low, high = self.ends(ERROR)
        away = self._away(np.maximum(high, -low), high - low, ERROR)
        return self._turning(away, int(away.max() >= 0))

    @property
    def beyond(self) -> Floats:
        """Whether a difference is shown, and how far other patients may move that (1 + B,)."""
        error = ERROR / self.tests
        low, high = self.ends(error)
        away = self._away(np.maximum(low, -high), high - low, error)
        return self._turning(away, int(away.max() > 0))

    def _away(self, end: Floats, width: Floats, tail: float) -> Floats:
        """Return how far ends of intervals lie beyond the margin, in standard errors, (k,)."""
        beyond, error = end - self.margin, width / 2 / float(special.ndtri(1 - tail))
        known = (error > 0) & (error < np.inf)
        return np.divide(beyond, error, out=np.copysign(np.inf, beyond), where=known)

    def _turning(self, away: Floats, now: int) -> Floats:
        """Return a verdict, 0 or 1, which turns where something gets ``away`` past 0."""
        first = int(away.argmax())
        nearest = max(abs(float(away[first])) - _TWO_SIDED, 0.0)
        spread = float(np.sqrt(special.ndtr(nearest) * special.ndtr(-nearest)))
        moved = unfolded(self.gaps[first][:, None])[:, 0]
        moved -= moved[1:].mean()
        if (scale := float(moved[1:].std())) > 0:
            moved *= spread / scale
        moved[0] = 0.0
        return np.asarray(now + moved)


def means_apart(
    feature: Feature,
    evidence: Evidence,
    spread: float,
    margin: float,
    within: tuple[float, float],
) -> Apart:
    """Compare means of a number, cut to ``within``, in units of ``spread``, by Welch's test.

    Its variances are those over clusters where real patients have them; synthetic records are
    drawn one by one.
    """
    sides = [
        _mean(view, feature.name, within, clustered=view is evidence.test)
        for view in (evidence.test, evidence.synthetic)
    ]
    gap = (sides[1].drawn - sides[0].drawn) / spread
    variance = [side.variance / spread**2 for side in sides]
    error = float(np.sqrt(sum(variance)))
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = [v**2 / np.float64(side.free) for v, side in zip(variance, sides, strict=True)]
        free = sum(variance) ** 2 / sum(parts)

    def ends(tail: float) -> Floats:
        reach = error * special.stdtrit(free, 1 - tail) if 0 < error < np.inf else error
        return np.array([[gap[0] - reach], [gap[0] + reach]])

    return Apart(mended(gap[None]), ends, margin)


def levels_apart(feature: Feature, evidence: Evidence, margin: float) -> Apart:
    """Compare the shares of a category's levels, and of gaps, by Newcombe's limits.

    Real patients of clusters count as many as they are worth. Levels that nobody has are no
    tests.
    """
    real, fake = evidence.test, evidence.synthetic
    drawn = [_shares(view, feature) for view in (real, fake)]
    has = [_levels(view, feature) for view in (real, fake)]
    n = [worth(owners(real.cohort), has[0]), np.full(drawn[1].shape[1], float(len(fake)))]
    own, theirs = (side[0] * size for side, size in zip(drawn, n, strict=True))

    def ends(tail: float) -> Floats:
        found = [
            newcombe(*pair, level=1 - 2 * tail)
            for pair in zip(
                theirs.tolist(), n[1].tolist(), own.tolist(), n[0].tolist(), strict=True
            )
        ]
        return np.array([[each.low for each in found], [each.high for each in found]])

    seen = int((has[0].any(axis=0) | has[1].any(axis=0)).sum())
    return Apart(mended((drawn[1] - drawn[0]).T), ends, margin, seen)


@dataclass(frozen=True)
class _Mean:
    """A mean of those who have a value ``(1 + B,)``, its variance and degrees of freedom."""

    drawn: Floats
    variance: float
    free: int


def _mean(view: View, name: str, within: tuple[float, float], *, clustered: bool) -> _Mean:
    where = f"mean of {name}, clusters {clustered}"
    return view.shared(where, lambda: _computed(view, name, within, clustered=clustered))


def _computed(view: View, name: str, within: tuple[float, float], *, clustered: bool) -> _Mean:
    values = view.table[name].to_numpy(float).clip(*within)
    there = np.isfinite(values)
    owner = owners(view.cohort)[there] if clustered else np.arange(int(there.sum()))
    middle = values[there].mean()
    # In single precision, which is as good as exact around the mean.
    columns = np.stack([np.where(there, values - middle, 0.0), there], axis=1).astype(np.float32)
    with np.errstate(invalid="ignore"):
        moved = np.divide(*shares(view, columns).T)
    moved[0] = 0.0
    return _Mean(np.asarray(middle + moved), *precision(owner, values[there]))


def _shares(view: View, feature: Feature) -> Floats:
    def computed() -> Floats:
        return shares(view, _levels(view, feature).astype(np.float32))

    return view.shared(f"shares of {feature.name}", computed)


def _levels(view: View, feature: Feature) -> NDArray[np.bool_]:
    """Return who has no value and who has each level, (n, 1 + levels)."""
    codes = view.table[feature.name].cat.codes.to_numpy()
    return np.asarray(codes[:, None] == np.arange(-1, len(feature.column.levels)))
