"""Patients as points: how far apart they are, in blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fedbench.metric import Evidence, View
from fedbench.metrics._draws import Floats
from fedbench.metrics._encoded import encoded, records

__all__ = ["between", "blocks", "points"]

_NUMBERS = 1 << 21  # that a block of distances may hold


def points(evidence: Evidence, view: View) -> Floats:
    """Return patients as ``encoded`` makes numbers of them, ``(n, k)``.

    A number has the spread 1 that it has among the training records, a level or a gap counts 1.
    """
    return view.shared(
        "points",
        lambda: np.ascontiguousarray(
            encoded(evidence.encoder, records(evidence, view)).values.T, dtype=np.float64
        ),
    )


def blocks(rows: int, width: int) -> Iterator[slice]:
    """Yield stretches of so many rows that a block is of bounded size."""
    step = max(1, _NUMBERS // max(1, width))
    return (slice(start, start + step) for start in range(0, rows, step))


def between(first: Floats, second: Floats) -> Floats:
    """Return Euclidean distances, ``(len(first), len(second))``."""
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))
