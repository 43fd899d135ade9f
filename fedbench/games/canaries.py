"""Does a training keep its promise? One training with planted records, some of them left out.

Steinke, Nasr and Jagielski 2023, https://arxiv.org/abs/2305.08846: ``m`` records, the canaries,
are each in the training or not by a fair coin of their own. Whoever guesses too many coins right
has seen more than the promise allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

__all__ = ["GRID", "Audit", "Claim", "audit", "ceiling"]

GRID: Sequence[tuple[float, float]] = (
    (0.45, 0.45),
    (0.25, 0.25),
    (0.1, 0.1),
    (0.05, 0.05),
    (0.1, 0.0),
    (0.05, 0.0),
)
"""Shares of canaries that are guessed in and out, written down before any audit: choosing them by
what comes out best, and not correcting for the choice, finds violations where there are none."""

_MOST = 30.0
"""Epsilon above which nothing is looked for."""


@dataclass(frozen=True)
class Claim:
    """What is promised about every patient; epsilon is None where nothing is."""

    epsilon: float | None = None
    delta: float = 1e-6


@dataclass(frozen=True)
class Audit:
    """What an audit shows: with confidence ``level``, epsilon is at least ``epsilon``.

    ``ceiling`` is what it could have shown at most: it cannot contradict a promise above that.
    ``guesses`` were made for that bound, ``right`` of them right, about ``canaries``. ``tried``
    has how many were right, and of how many, for every entry of ``GRID``.
    """

    epsilon: float
    ceiling: float
    delta: float
    level: float
    canaries: int
    guesses: int
    right: int
    tried: tuple[tuple[int, int], ...] = ()

    def p_value(self, claimed: float) -> float:
        """Return how likely so many right guesses are at most, if a promise is kept (Bonferroni).

        >>> there = np.arange(100) % 2 == 0
        >>> found = audit(there * 1.0, there, 1e-6, np.random.default_rng(0))
        >>> found.p_value(1.0) < 0.001, found.p_value(30.0)
        (True, 1.0)
        """
        chances = (
            _likely(right, guesses, self.canaries, claimed, self.delta)
            for right, guesses in self.tried
        )
        return min(1.0, len(self.tried) * min(chances, default=1.0))

    def contradicts(self, claimed: float) -> bool:
        """Whether a promise of this epsilon, at the same delta, is shown to be broken."""
        return self.epsilon > claimed

    def words(self, claimed: float | None) -> str:
        """Say what this means for a promise; None where nothing is promised."""
        least = f"epsilon is at least {self.epsilon:.2f} ({self.level:.0%} sure)"
        if claimed is None:
            return f"nothing is promised; {least}; up to {self.ceiling:.2f} could have been shown"
        if self.contradicts(claimed):
            return f"the promise of epsilon {claimed:g} is broken: {least}"
        if self.ceiling <= claimed:
            return (
                f"nothing can be said: with {self.canaries:,} canaries no more than epsilon "
                f"{self.ceiling:.2f} can be shown, and {claimed:g} is promised"
            )
        return (
            f"the promise of epsilon {claimed:g} is not contradicted: {least}; up to "
            f"{self.ceiling:.2f} could have been shown"
        )


def audit(
    scores: NDArray[np.float64],
    there: NDArray[np.bool_],
    delta: float,
    rng: np.random.Generator,
    level: float = 0.95,
) -> Audit:
    """Return what an attacker's scores say about epsilon.

    Args:
        scores: one per canary; higher means surer that it was trained on.
        there: which were; each by a fair coin of its own, not half of them exactly.
        delta: of the promise.
        rng: breaks ties.
        level: how sure the bound is, over all of ``GRID`` together (Bonferroni).

    Raises:
        ValueError: the shapes differ, there are fewer than 20 canaries, or a score is no number.
    """
    m = len(scores)
    if scores.shape != there.shape or scores.ndim != 1 or m < 20 or not np.isfinite(scores).all():
        raise ValueError(
            f"An audit needs a finite score and a coin for each of at least 20 canaries; found "
            f"shapes {scores.shape} and {there.shape}."
        )
    order = np.lexsort((rng.random(m), -scores))
    hit = there[order]
    chance = (1 - level) / len(GRID)
    tried = tuple(_guessed(hit, round(above * m), round(below * m)) for above, below in GRID)
    bounds = [_bound(right, guesses, m, delta, chance) for right, guesses in tried]
    best = int(np.argmax(bounds))
    right, guesses = tried[best]
    most = ceiling(m, delta, level)
    return Audit(bounds[best], most, delta, level, m, guesses, right, tried)


def _guessed(hit: NDArray[np.bool_], first: int, last: int) -> tuple[int, int]:
    """Return how many guesses are right, and how many there are: in at the top, out at the end."""
    last = min(last, len(hit) - first)
    return int(hit[:first].sum() + (~hit[len(hit) - last :]).sum()), first + last


def ceiling(m: int, delta: float, level: float = 0.95) -> float:
    """Return the bound of an attacker who guesses every coin right."""
    chance = (1 - level) / len(GRID)
    sizes = (round(above * m) + round(below * m) for above, below in GRID)
    return max(_bound(min(r, m), min(r, m), m, delta, chance) for r in sizes)


@lru_cache(maxsize=4096)
def _bound(right: int, guesses: int, m: int, delta: float, chance: float) -> float:
    """Return the largest epsilon under which so many right guesses are likelier than chance."""

    def excess(epsilon: float) -> float:
        return _likely(right, guesses, m, epsilon, delta) - chance

    if excess(0.0) >= 0:
        return 0.0
    if excess(_MOST) < 0:
        return _MOST
    return float(optimize.brentq(excess, 0.0, _MOST, xtol=1e-4))


def _likely(right: int, guesses: int, m: int, epsilon: float, delta: float) -> float:
    """Return an upper bound on the chance of at least so many right guesses (theorem 5.2)."""
    share = float(special.expit(epsilon))
    below = stats.binom.cdf(np.arange(-1, right), guesses, share)  # at most v - 1 - i, for i = v…0
    tail = 1 - below[-1]
    slack = 0.0
    if delta > 0 and right > 0:
        steps = np.arange(1, right + 1)
        slack = float(((below[-1] - below[:-1][::-1]) / steps).max())
    return float(min(1.0, tail + 2 * m * delta * slack))
