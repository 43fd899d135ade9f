"""Which values does a release hold together as only a patient who was trained on does?"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from fedbench.attack import plain_columns
from fedbench.data import Schema
from fedbench.seeds import Rng

__all__ = ["Cells", "Fragment", "fragments"]

COMMON, RELEASED = 16, 8
"""So many targets at least share a cell, and as many released records would lie there on average,
so that no value tells anything by itself."""

_RANGES = 20  # of equally many values: numbers in one of them are alike under noise
_PAIRS, _LONGER = 400, 200  # how many are tried: of two columns, and of more, by lot
_ROUNDS, _BEST, _BESIDE = 3, 10, 40  # in each round the best ones get so many other cells beside
_LUCK = 0.02  # of lone targets who fit a released record: at fewer, no more columns are needed

Bools = NDArray[np.bool_]
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
        dealt: the same after every released value was dealt to a record by lot.
        usual: log of how much more often released records lie there than targets, ``(rows, n)``.
    """

    names: tuple[str, ...]
    column: Ints
    mine: Hashes
    theirs: Hashes
    dealt: Hashes
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
        lots = [rng.permutation(len(release)) for _ in known]
        salt = rng.integers(2**64, size=(len(rows), len(targets) + 2), dtype=np.uint64)
        return cls(
            tuple(feature.name for feature in known),
            np.array([column for column, _, _ in rows], dtype=np.int64),
            _stacked([s[row] for s, (_, row, _) in zip(salt, rows, strict=True)], len(mine)),
            _stacked([s[row] for s, (_, _, row) in zip(salt, rows, strict=True)], len(theirs)),
            _stacked(
                [s[row[lots[at]]] for s, (at, _, row) in zip(salt, rows, strict=True)], len(theirs)
            ),
            _stacked([_usual(row, other) for _, row, other in rows], len(mine)),
        )

    def by(self, found: Sequence[Fragment]) -> str:
        """Return the columns of the fragment that tells most, in the order of the schema."""
        if not found:
            return ""
        best = max(found, key=lambda each: each.evidence)
        names = [f"“{self.names[at]}”" for at in np.unique(self.column[list(best.cells)])]
        return f"{', '.join(names[:-1])} and {names[-1]} together"

    def together(self, rows: Sequence[int]) -> tuple[Hashes, Hashes, Hashes]:
        """Return one number for all these cells: of targets, of released and of dealt records."""
        mine, theirs, dealt = (
            side[list(rows)].sum(axis=0) for side in (self.mine, self.theirs, self.dealt)
        )
        return mine, theirs, dealt


@dataclass(frozen=True)
class Fragment:
    """Cells that stand together, and what it tells that a released record has them.

    Attributes:
        cells: rows of ``Cells``.
        targets: who bears them alone among the targets, and fits a released record.
        weight: log of how much likelier each of these was trained on, for that alone.
        dealt: who bears them alone and fits a record of dealt values.
        undone: the weight of each of these.
        luck: the share of lone targets who would fit a record of as many other patients.
        evidence: in nats, that more of them do than by luck.
        promise: in nats, that fewer released records than by luck are like nobody, as it is where
            some of the columns were copied and more of them would show it.
    """

    cells: tuple[int, ...]
    targets: Ints
    weight: Floats
    dealt: Ints
    undone: Floats
    luck: float
    evidence: float
    promise: float

    def times(self, sure: float) -> Fragment:
        """Return the same with so much of its weight."""
        return replace(self, weight=sure * self.weight, undone=sure * self.undone)


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
        for best in _best(tried.values()):
            free = np.flatnonzero(~np.isin(cells.column, cells.column[list(best.cells)]))
            for row in rng.permutation(free)[:_BESIDE]:
                look((*best.cells, int(row)))
    by_luck = np.log(max(len(tried), 1))
    return [
        found.times(found.evidence / (found.evidence + by_luck))
        for found in tried.values()
        if found.evidence > 0
    ]


def _best(found: Collection[Fragment]) -> list[Fragment]:
    """Return those to go on from: which tell most, and which promise most, each once."""
    told = sorted(found, key=lambda one: -one.evidence)[:_BEST]
    hoped = sorted(found, key=lambda one: -one.promise)[:_BEST]
    return list({one.cells: one for one in (*told, *hoped)}.values())


def _fragment(cells: Cells, rows: tuple[int, ...]) -> Fragment:
    mine, theirs, dealt = cells.together(rows)
    seen, first, times = np.unique(mine, return_index=True, return_counts=True)
    alone = times == 1
    lone, pairs = int(alone.sum()), max(int((times == 2).sum()), 0.5)
    if not lone:
        return _telling_nothing(rows, 1.0, 0.0)
    who = first[alone]
    others = len(theirs) * 2 * pairs / (lone * len(mine))
    expected = others * np.exp(cells.usual[list(rows)][:, who].sum(axis=0))
    luck = np.clip(-np.expm1(-expected), 1 / (lone + 1), lone / (lone + 1))
    whole, like = _of(seen, theirs)
    there, promise = whole[alone], _surprise(int((~like).sum()), len(like), lone / len(mine))
    by_luck = float(luck.mean())
    share = min((float(there.mean()) - by_luck) / (1 - by_luck), 1 - 0.5 / lone)
    if share <= 0:
        return _telling_nothing(rows, by_luck, promise)
    weight = np.log(share / luck + 1 - share)
    evidence = float(weight[there].sum() + (lone - there.sum()) * np.log1p(-share))
    again = _of(seen, dealt)[0][alone]
    told = who[there], weight[there], who[again], weight[again]
    return Fragment(rows, *told, by_luck, max(evidence, 0.0), promise)


def _telling_nothing(rows: tuple[int, ...], luck: float, promise: float) -> Fragment:
    nobody, nothing = np.empty(0, np.int64), np.empty(0)
    return Fragment(rows, nobody, nothing, nobody, nothing, luck, 0.0, promise)


def _of(seen: Hashes, records: Hashes) -> tuple[Bools, Bools]:
    """Return which of what was seen, in order, some record has, and which records have any."""
    place = np.minimum(np.searchsorted(seen, records), len(seen) - 1)
    like = seen[place] == records
    whole = np.zeros(len(seen), dtype=bool)
    whole[place[like]] = True
    return whole, like


def _surprise(found: int, n: int, expected: float) -> float:
    """Return the nats by which fewer of ``n`` are found than expected; 0 if they are not fewer."""
    share = max(found, 0.5) / max(n, 1)
    if not share < expected < 1:
        return 0.0
    return n * float(special.rel_entr([share, 1 - share], [expected, 1 - expected]).sum())


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
    least = _least(mine, theirs)
    edges = np.unique(mine[~np.isnan(mine)])
    sides = [np.searchsorted(edges, side, "right") for side in (mine, theirs)]
    if kind == "category":  # a level that no target has is none of theirs
        sides[1][~np.isin(theirs, edges)] = len(edges) + 1
    sides = [np.where(np.isnan(v), 0, at) for v, at in zip((mine, theirs), sides, strict=True)]
    before = 1
    for size in (least, max(least, len(mine) // _RANGES)):
        found = _merged(sides, size, ordered=kind != "category")
        if (cells := len(np.unique(found[0]))) not in (1, before):
            yield found
        before = cells


def _least(mine: Floats, theirs: Floats) -> int:
    """Return how many targets share a cell, so that which values were dealt tells nothing.

    In a release of few patients' values, again and again, there are as many patients in a cell as
    there would be in one of so many.
    """
    different = [len(np.unique(side)) / max(len(side), 1) for side in (mine, theirs)]
    patients = len(theirs) * min(1.0, different[1] / different[0]) if len(mine) else 0.0
    return max(COMMON, math.ceil(RELEASED * len(mine) / max(patients, 1)))


def _merged(sides: Sequence[Ints], size: int, *, ordered: bool) -> tuple[Ints, Ints]:
    """Put values together, next ones or the rarest, until so many targets share each cell."""
    mine, theirs = sides
    cells = max(mine.max(initial=0), theirs.max(initial=0)) + 1
    times = np.bincount(mine, minlength=cells)
    order = np.arange(cells) if ordered else np.argsort(times, kind="stable")
    upto = times[order].cumsum()
    ends = [0]
    while ends[-1] < cells:
        reached = upto[ends[-1] - 1] if ends[-1] else 0
        ends.append(int(np.searchsorted(upto, reached + size)) + 1)
    whole = ends[1:-1] if ends[-1] > cells else ends[1:]  # the rest joins the last whole one
    into = np.empty(cells, np.int64)
    into[order] = np.searchsorted(whole[:-1], np.arange(cells), "right")
    return into[mine], into[theirs]


def _usual(mine: Ints, theirs: Ints) -> Floats:
    cells = max(mine.max(initial=0), theirs.max(initial=0)) + 1
    targets, released = (np.bincount(side, minlength=cells) for side in (mine, theirs))
    often = np.maximum(released, 1e-9) / max(len(theirs), 1)
    return np.asarray(np.log(often * len(mine) / np.maximum(targets, 1))[mine])


def _stacked(rows: Sequence[NDArray[Number]], size: int) -> NDArray[Number]:
    return np.array(rows).reshape(len(rows), size)
