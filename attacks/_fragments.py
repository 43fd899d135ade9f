"""Which values does a release hold together as only a patient who was trained on does?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.attack import plain_columns
from fedbench.data import Schema
from fedbench.seeds import Rng

__all__ = ["Cells", "Fragment", "fragments"]

COMMON = 16
"""So many targets at least share a cell, so that no value tells anything by itself."""

_RANGES = 20  # of equally many values: numbers in one of them are alike under noise
_PAIRS, _LONGER = 400, 200  # how many are tried: of two columns, and of more, by lot
_ROUNDS, _BEST, _BESIDE = 3, 10, 40  # in each round the best ones get so many other cells
_LUCK = 0.02  # of lone targets who fit a released record: at fewer, no more columns are needed

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Number = TypeVar("Number", np.uint64, np.float64)


@dataclass(frozen=True)
class Cells:
    """Where every value lies: at a level or in a range of its column, in which others are too.

    Attributes:
        names: of the columns.
        column: of each row of cells, shape ``(rows,)``; numbers have fine and coarse ranges.
        mine: a number for each target's cell, ``(rows, n)``.
        theirs: the same for released records, ``(rows, m)``.
        usual: log of how much more often released records lie there than targets, ``(rows, n)``.
    """

    names: tuple[str, ...]
    column: Ints
    mine: Hashes
    theirs: Hashes
    usual: Floats

    @classmethod
    def of(cls, schema: Schema, targets: pd.DataFrame, release: pd.DataFrame, rng: Rng) -> Cells:
        known = [f for f in schema.features if f.name in targets and f.name in release]
        mine, theirs = (plain_columns(table, known) for table in (targets, release))
        rows = [
            (column, *row)
            for column, feature in enumerate(known)
            for row in _placed(mine[:, column], theirs[:, column], feature.column.kind)
        ]
        salt = rng.integers(2**64, size=(len(rows), len(targets) + 2), dtype=np.uint64)
        return cls(
            tuple(feature.name for feature in known),
            np.array([column for column, _, _ in rows], dtype=np.int64),
            _stacked([s[row] for s, (_, row, _) in zip(salt, rows, strict=True)], len(mine)),
            _stacked([s[row] for s, (_, _, row) in zip(salt, rows, strict=True)], len(theirs)),
            _stacked([_usual(row, other) for _, row, other in rows], len(mine)),
        )

    def by(self, found: Sequence[Fragment]) -> str:
        """Return the columns of the fragment that tells most, in the order of the schema."""
        if not found:
            return ""
        best = max(found, key=lambda each: each.evidence)
        names = [f"“{self.names[at]}”" for at in np.unique(self.column[list(best.cells)])]
        return f"{', '.join(names[:-1])} and {names[-1]} together"

    def together(self, rows: Sequence[int]) -> tuple[Hashes, Hashes]:
        """Return one number for all these cells of each target, and of each released record."""
        return self.mine[list(rows)].sum(axis=0), self.theirs[list(rows)].sum(axis=0)


@dataclass(frozen=True)
class Fragment:
    """Cells that stand together, and what it tells that a released record has them.

    Attributes:
        cells: rows of ``Cells``.
        targets: who bears them alone among the targets, and fits a released record.
        weight: log of how much likelier each of these was trained on, for that alone.
        luck: the share of lone targets who would fit a record of as many other patients.
        evidence: in nats, that more of them do than by luck.
    """

    cells: tuple[int, ...]
    targets: Ints
    weight: Floats
    luck: float
    evidence: float


def fragments(cells: Cells, rng: Rng) -> list[Fragment]:
    """Return the fragments of which more fit than by luck.

    The targets say by themselves how many fit by luck: of those who bear a fragment alone, as
    many as another patient would (Good 1953, https://doi.org/10.1093/biomet/40.3-4.237), the
    more, the more often the release has each of its cells. Nobody needs to know who was trained
    on. Weights are cut by what the best of so many fragments would reach without anything there.
    """
    tried: dict[tuple[int, ...], Fragment] = {}

    def look(rows: Sequence[int]) -> Fragment:
        chosen = tuple(sorted(rows))
        if chosen not in tried:
            tried[chosen] = _fragment(cells, chosen)
        return tried[chosen]

    for pair in _pairs(cells.column, rng):
        look(pair)
    for _ in range(_LONGER):
        order = _one_of_each(cells.column, rng)
        next((size for size in _sizes(len(order)) if look(order[:size]).luck < _LUCK), None)
    for _ in range(_ROUNDS):
        for best in sorted(tried.values(), key=lambda f: -f.evidence)[:_BEST]:
            free = np.flatnonzero(~np.isin(cells.column, cells.column[list(best.cells)]))
            for row in rng.permutation(free)[:_BESIDE]:
                look((*best.cells, int(row)))
    by_luck = np.log(max(len(tried), 1))
    return [
        replace(found, weight=found.weight * found.evidence / (found.evidence + by_luck))
        for found in tried.values()
        if found.evidence > 0
    ]


def _fragment(cells: Cells, rows: tuple[int, ...]) -> Fragment:
    mine, theirs = cells.together(rows)
    seen, first, times = np.unique(mine, return_index=True, return_counts=True)
    alone = times == 1
    lone, pairs = int(alone.sum()), max(int((times == 2).sum()), 0.5)
    if not lone:
        return Fragment(rows, first[:0], np.empty(0), 1.0, 0.0)
    who = first[alone]
    others = len(theirs) * 2 * pairs / (lone * len(mine))
    expected = others * np.exp(cells.usual[list(rows)][:, who].sum(axis=0))
    luck = np.clip(-np.expm1(-expected), 1 / (lone + 1), lone / (lone + 1))
    there = np.isin(seen[alone], theirs)
    by_luck = float(luck.mean())
    share = min((float(there.mean()) - by_luck) / (1 - by_luck), 1 - 0.5 / lone)
    if share <= 0:
        return Fragment(rows, first[:0], np.empty(0), by_luck, 0.0)
    weight = np.log(share / luck[there] + 1 - share)
    evidence = float(weight.sum() + (lone - there.sum()) * np.log1p(-share))
    return Fragment(rows, who[there], weight, by_luck, max(evidence, 0.0))


def _pairs(column: Ints, rng: Rng) -> Iterator[tuple[int, int]]:
    every = [(a, b) for a, b in combinations(range(len(column)), 2) if column[a] != column[b]]
    return (every[at] for at in rng.permutation(len(every))[:_PAIRS])


def _sizes(columns: int) -> Iterator[int]:
    """Yield of how many columns fragments are tried, each time a third more."""
    size = 3
    while size < columns:
        yield size
        size += max(size // 3, 1)
    yield columns


def _one_of_each(column: Ints, rng: Rng) -> list[int]:
    """Return one row of cells of every column, all by lot."""
    order = rng.permutation(len(column))
    _, first = np.unique(column[order], return_index=True)
    return [int(row) for row in order[np.sort(first)]]


def _placed(mine: Floats, theirs: Floats, kind: str) -> Iterator[tuple[Ints, Ints]]:
    """Yield the cells of both sides, 0 for missing, unless all targets are in one of them."""
    known = mine[~np.isnan(mine)]
    before = 1
    for parts in (len(mine) // COMMON, _RANGES):
        edges = np.unique(known)
        if kind != "category" and known.size:
            edges = np.unique(np.quantile(known, np.arange(parts) / max(parts, 1)))
        sides = (
            np.where(np.isnan(s), 0, np.searchsorted(edges, s, "right") + 1) for s in (mine, theirs)
        )
        found = _merged(*sides)
        if (cells := len(np.unique(found[0]))) not in (1, before):
            yield found
        before = cells


def _merged(mine: Ints, theirs: Ints) -> tuple[Ints, Ints]:
    """Put the rarest cells together until so many targets share them that none stands out."""
    cells = max(mine.max(initial=0), theirs.max(initial=0)) + 1
    times = np.bincount(mine, minlength=cells)
    order = np.argsort(times, kind="stable")
    rare = order[: np.searchsorted(times[order].cumsum(), COMMON) + 1]
    into = np.arange(cells)
    into[rare] = rare[-1]
    return into[mine], into[theirs]


def _usual(mine: Ints, theirs: Ints) -> Floats:
    cells = max(mine.max(initial=0), theirs.max(initial=0)) + 1
    targets, released = (np.bincount(side, minlength=cells) for side in (mine, theirs))
    often = np.maximum(released, 1e-9) / max(len(theirs), 1)
    return np.asarray(np.log(often * len(mine) / np.maximum(targets, 1))[mine])


def _stacked(rows: Sequence[NDArray[Number]], size: int) -> NDArray[Number]:
    return np.array(rows).reshape(len(rows), size)
