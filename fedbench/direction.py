"""Which way a number is better, and so how bad it is."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

__all__ = ["GUESSED", "Better", "badness", "best_at", "hint", "side"]

Better = Literal["higher", "lower", "near 0", "near 0.5", "near 1", "down to 0", "down to 0.5"]
"""Where a measure's best lies: at an end of its scale, at a number from which both ways are bad, or
at one below which nothing is better any more.

What tells synthetic from real patients at best guesses: its area under the curve is best at .5,
and .45 is chance, no better than perfect. An attack that comes out below guessing has guessed: .45
is as good as .5, and no worse, as an attack says beforehand who it takes for a member.
"""

GUESSED = {"utility.auroc": 0.5, "utility.c_index": 0.5, "utility.r2": 0.0}
"""What guessing reaches, of measures that are higher where more is foreseen."""


def best_at(better: str) -> float | None:
    """Return the number that nothing is better than; None where it is an end of the scale.

    >>> best_at("near 0.5"), best_at("down to 0")
    (0.5, 0.0)

    Raises:
        ValueError: there is no such way to be better.
    """
    if better not in get_args(Better):
        raise ValueError(f"better is {better!r}; expected one of {', '.join(get_args(Better))}")
    _, _, best = better.rpartition(" ")
    return float(best) if best != better else None


def side(value: float, better: str) -> float:
    """Return 1 where a larger number than this is worse, -1 where a smaller one is."""
    best = best_at(better)
    if best is None or _stops(better):
        return -1.0 if better == "higher" else 1.0
    return -1.0 if value < best else 1.0


def badness(
    numbers: npt.ArrayLike, better: str, of: float | None = None
) -> npt.NDArray[np.float64]:
    """Return how bad numbers are: the larger, the worse; where one number is best, how far from it.

    Args:
        numbers: of one measure.
        better: which way they are better.
        of: the value that they are replicates of. They are then seen from its side of what is
            best, beyond which they are below 0: folded or cut there, their spread would be too
            small.

    >>> badness([0.45, 0.55, 0.7], "near 0.5").round(2).tolist()
    [0.05, 0.05, 0.2]
    >>> badness([0.45, 0.55], "near 0.5", of=0.55).round(2).tolist()
    [-0.05, 0.05]
    >>> badness([0.45, 0.55], "down to 0.5").round(2).tolist()
    [0.0, 0.05]
    """
    found, best = np.asarray(numbers, dtype=np.float64), best_at(better)
    if best is None:
        return -found if better == "higher" else found
    if of is not None:
        return side(of, better) * (found - best)
    return np.maximum(found - best, 0.0) if _stops(better) else np.abs(found - best)


def hint(better: str) -> str:
    """Return it in words.

    >>> hint("near 0.5")
    '0.5 is best'
    >>> hint("down to 0.5")
    'lower is better, down to 0.5'
    """
    if best_at(better) is None:
        return f"{better} is better"
    return f"lower is better, {better}" if _stops(better) else f"{best_at(better):g} is best"


def _stops(better: str) -> bool:
    """Whether lower is better, but for what lies below the best."""
    return better.startswith("down to ")
