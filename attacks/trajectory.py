"""Do this patient's visits stand together in one released patient?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from fedbench.attack import (
    Attack,
    Game,
    Guess,
    Knowledge,
    PublicChallenge,
    Sight,
    plain_columns,
)
from fedbench.attacks._marks import Grid, Marks, Rows, marks_of, visits_of
from fedbench.data import Cohort, Part, Schema, by_content
from fedbench.seeds import Rng

__all__ = ["Trajectory"]

COMMON, MOST = 0.1, 200
"""Marks of more than this share of the targets, or of more than so many, are not looked at."""

AGAIN = 1.5
"""How many times as much as usual a released patient must share."""

_CELLS = 4_000_000  # of a block of what is shared

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Trajectory(Attack):
    """Whether one released patient shares much more of the target's record than any other target.

    It looks at whole records: facts known once, every visit, every code, and when they were. What
    two patients share are marks (values, values beside each other, whole visits, visits that
    follow each other, distances of days; numbers also if they are nearly the same), each of them
    weighed by the log of how few targets bear it. So visits are found again of which others were
    left out, or whose days were shifted or numbers changed a little. Long records share more by
    luck; what a target shares with the other targets, most of them strangers, shows how much.

    The answer is yes where more than ``AGAIN`` times as much is shared with a released patient as
    with a target.
    """

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC})
    version: ClassVar[int] = 3
    yes: ClassVar[str] = (
        "have visits, codes or other facts that stand together in one released record, half as "
        "many again as anybody else asked about shares with them"
    )

    def lacking(self, schema: Schema) -> str:
        if schema.parts & {Part.VISITS, Part.CODES}:
            return ""
        return "There are no visits and no codes: the patient table, at which others look, is all."

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        mine, theirs = _borne(sight.schema, challenge, sight.synthetic)
        usual, found = _most(mine, mine, itself=False), _most(mine, theirs)
        one = np.log(len(found) + 1)  # what a mark tells that nobody else bears
        again = found + 2 * one > AGAIN * (usual + 2 * one)
        return Guess(again.astype(np.float64))


def _most(mine: sparse.csr_array, theirs: sparse.csr_array, *, itself: bool = True) -> Floats:
    """Return how much each patient shares with the one with whom she shares most.

    Args:
        mine: the weight of every mark of each patient, ``(n, marks)``.
        theirs: the marks of those looked through, ``(m, marks)``; what they weigh is not asked.
        itself: whether the patient at the same place may be the one.
    """
    best = np.zeros(mine.shape[0])
    there = theirs.T.tocsr()
    there.data = np.ones(there.nnz)
    size = max(_CELLS // max(theirs.shape[0], 1), 1)
    for start in range(0, len(best), size):
        shared = mine[start : start + size] @ there
        if not itself:
            row = np.repeat(np.arange(shared.shape[0]), np.diff(shared.indptr))
            shared.data[shared.indices == row + start] = 0
        some = np.flatnonzero(np.diff(shared.indptr))
        if len(some):
            best[start + some] = np.maximum.reduceat(shared.data, shared.indptr[some])
    return best


def _borne(
    schema: Schema, challenge: PublicChallenge, release: Cohort
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Return who bears which mark; targets with its weight, the larger the fewer they are."""
    mine, theirs = _marks(schema, challenge.targets, challenge.records, release)
    marks, place = np.unique(mine.mark, return_inverse=True)
    borne = _table(mine.owner, place, (len(challenge.targets), len(marks)))
    times = np.bincount(borne.indices, minlength=len(marks))
    weight = np.where(times <= max(min(COMMON * borne.shape[0], MOST), 1), 1.0, 0.0)
    weight *= np.log(borne.shape[0] / times)
    borne.data = weight[borne.indices]
    borne.eliminate_zeros()
    telling = marks[weight > 0]
    shared = np.isin(theirs.mark, telling)
    place = np.searchsorted(marks, theirs.mark[shared])
    return borne, _table(theirs.owner[shared], place, (len(release), len(marks)))


def _table(owner: Ints, place: Ints, shape: tuple[int, int]) -> sparse.csr_array:
    """Return who bears what, however often."""
    found = sparse.csr_array((np.ones(len(owner)), (owner, place)), shape=shape)
    found.sum_duplicates()
    found.data[:] = 1
    return found


def _marks(
    schema: Schema, targets: pd.DataFrame, records: Cohort, release: Cohort
) -> tuple[Marks, Marks]:
    known = [f for f in schema.features if f.part in (Part.STATIC, Part.OUTCOME)]
    facts = [
        Rows(np.arange(len(table)), plain_columns(table, known))
        for table in (targets, release.table)
    ]
    # Rows of a day stand in the order of a file, which must not tell. Those of targets do not.
    release = replace(release, visits=by_content(release.visits), codes=by_content(release.codes))
    visits = [visits_of(each.sequences) for each in (records, release)]
    grids = Grid.of(facts[0]), Grid.of(visits[0])
    mine, theirs = (
        marks_of(known_once, seen, each.sequences, grids)
        for known_once, seen, each in zip(facts, visits, (records, release), strict=True)
    )
    return mine, theirs
