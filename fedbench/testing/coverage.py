"""Do intervals hold the truth as often as they say? Scores of which it is known what they tell.

python -m fedbench.testing.coverage --draws 1000
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from fedbench import stats
from fedbench.seeds import Rng

__all__ = ["Covered", "covered", "leaky_scores", "normal_scores", "placed"]

NORMAL = NormalDist()
SHIFT = 1.0  # of members in the tests of AUC and TPR, in standard deviations
SIZES = ((200, 200), (1_000, 1_000))
SHARES = (0.0, 0.05, 0.2)


def normal_scores(rng: Rng, shift: float, n1: int, n0: int) -> stats.Labelled:
    """Scores of members N(shift, 1) and of others N(0, 1)."""
    return np.r_[rng.normal(shift, 1, n1), rng.normal(0, 1, n0)], np.arange(n1 + n0) < n1


def leaky_scores(rng: Rng, share: float, n1: int, n0: int) -> stats.Labelled:
    """Scores of which each member's stands out with this chance; the rest is as others'."""
    scores, member = normal_scores(rng, 0, n1, n0)
    scores[:n1] += 20 * (rng.random(n1) < share)
    return scores, member


def placed(found: stats.Labelled) -> stats.Placed:
    """Placements of members and of others."""
    scores, member = found
    place = stats.placements(scores, member)
    return place[member], place[~member]


@dataclass(frozen=True)
class Covered:
    """How often an interval held the truth, of how many patients a class."""

    name: str
    n: tuple[int, int]
    share: float
    width: float

    def __str__(self) -> str:
        n1, n0 = self.n
        return f"{self.name:24} {n1:>6,} {n0:>6,} {self.share:9.1%} {self.width:8.3f}"


Draw = Callable[[Rng], stats.Interval]


def _asked(n1: int, n0: int) -> Iterator[tuple[str, float, Draw]]:
    """Yield what is estimated, its truth and a draw of its interval."""
    area = NORMAL.cdf(SHIFT / 2**0.5)
    yield "AUC", area, lambda rng: stats.auc_interval(*normal_scores(rng, SHIFT, n1, n0))
    for alpha in (0.1, 0.01):
        if n0 * alpha < 10:
            continue
        rate = NORMAL.cdf(SHIFT - NORMAL.inv_cdf(1 - alpha))
        yield f"TPR at {alpha:.0%} FPR", rate, _at(alpha, n1, n0, lambda r: r.tpr)
        for share in SHARES:
            name = f"leak of {share:.0%} at {alpha:.0%} FPR"
            yield name, share, _at(alpha, n1, n0, lambda r: r.leak, share)


def _at(
    alpha: float,
    n1: int,
    n0: int,
    part: Callable[[stats.LowFpr], stats.Interval],
    share: float | None = None,
) -> Draw:
    def draw(rng: Rng) -> stats.Interval:
        if share is None:
            scores = normal_scores(rng, SHIFT, n1, n0)
        else:
            scores = leaky_scores(rng, share, n1, n0)
        return part(stats.tpr_at_fpr([placed(scores)], alpha, rng))

    return draw


def covered(draws: int, sizes: Sequence[tuple[int, int]] = SIZES) -> Iterator[Covered]:
    """Yield how often each interval held the truth."""
    for n1, n0 in sizes:
        for name, truth, draw in _asked(n1, n0):
            found = [draw(np.random.default_rng([7, i])) for i in range(draws)]
            share = float(np.mean([each.low <= truth <= each.high for each in found]))
            width = float(np.mean([each.high - each.low for each in found]))
            yield Covered(name, (n1, n0), share, width)


def _main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--draws", type=int, default=1_000)
    sys.stdout.write(f"{'interval (nominal 95 %)':24} {'n1':>6} {'n0':>6} {'covered':>9} width\n")
    for each in covered(given.parse_args().draws):
        sys.stdout.write(f"{each}\n")


if __name__ == "__main__":
    _main()
