"""Do this patient's visits stand together in one released patient?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
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
from fedbench.attacks._marks import Grid, Marks, Records, Rows, marks_of, visits_of
from fedbench.data import Cohort, Part, Schema, by_content
from fedbench.seeds import Rng

__all__ = ["Trajectory"]

COMMON, MOST = 0.1, 200
"""Marks of more than this share of the targets, or of more than so many, are not looked at."""

AGAIN = 1.5
"""How many times as much as usual a released patient shares, at least."""

CHANCE = 0.01
"""That the best of all released patients shares so much by luck."""

_CELLS = 4_000_000  # of a block of what is shared

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class Trajectory(Attack):
    """Whether one released patient shares much more of the target's record than luck explains.

    It looks at whole records: facts known once, every visit, every code, and when they were. What
    two patients share are marks (values, values beside each other, whole visits, visits that
    follow each other, distances of days; numbers also if they are nearly the same), each of them
    weighed by the log of how few targets bear it. So visits are found again of which others were
    left out, or whose days were shifted or numbers changed a little.

    Usual is the most that the target shares with any other target, most of them strangers, or with
    a record as long as a released one whose single values are dealt from the whole release
    (``Records.dealt``): long records share more by luck, and where a generator deals values that
    one training patient alone has, two of them meet in one record by luck, too.

    The answer is yes where at least ``AGAIN`` times as much as usual is shared with a released
    patient, and more than with the best of so many strangers (``_often``).
    """

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC})
    version: ClassVar[int] = 3
    misses: ClassVar[str] = (
        "visits that hold little more than other patients' visits do, and half of the "
        "visits with days, numbers and facts changed at once"
    )
    yes: ClassVar[str] = (
        "have visits, codes or other facts that stand together in one released record, half as "
        "many again as luck puts there"
    )

    def lacking(self, schema: Schema) -> str:
        if schema.parts & {Part.VISITS, Part.CODES}:
            return ""
        return "There are no visits and no codes: the patient table, at which others look, is all."

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        asked, released = _records(sight.schema, challenge, sight.synthetic)
        grids = Grid.of(asked.facts), Grid.of(asked.visits)
        telling = _Telling.of(marks_of(asked, grids), len(asked))
        dealt, whole = (
            _most(telling.borne, telling.among(marks_of(records, grids), len(records)))
            for records in (released.dealt(rng), released)
        )
        usual = np.maximum(_most(telling.borne, telling.borne, itself=False), dealt)
        one = np.log(len(asked) + 1)  # what a mark tells that nobody else bears
        again = whole + 2 * one > _often(len(asked), len(released)) * (usual + 2 * one)
        return Guess(again.astype(np.float64))


def _often(asked: int, released: int) -> float:
    """Return how many times as much as usual is more than luck.

    One stranger in n shares as much as usual, so with an exponential tail one in n^c shares c times
    as much, and of m released patients one does with a chance of m / n^c.
    """
    return max(AGAIN, float(np.log(max(released, 1) / CHANCE) / np.log(asked + 1)))


@dataclass(frozen=True)
class _Telling:
    """The marks that few of the targets bear.

    Attributes:
        marks: these, ascending.
        borne: which target bears which, with what it weighs: the more, the fewer bear it.
    """

    marks: Hashes
    borne: sparse.csr_array

    @classmethod
    def of(cls, marks: Marks, n: int) -> Self:
        """Return those of ``n`` targets, from all that they bear."""
        every, place = np.unique(marks.mark, return_inverse=True)
        borne = _table(marks.owner, place, (n, len(every)))
        times = np.bincount(borne.indices, minlength=len(every))
        few = (times <= max(min(COMMON * n, MOST), 1)) & (times < n)
        borne = borne[:, few]
        borne.data = np.log(n / times[few])[borne.indices]
        return cls(every[few], borne)

    def among(self, marks: Marks, n: int) -> sparse.csr_array:
        """Return which of ``n`` others bear which of these marks."""
        shared = np.isin(marks.mark, self.marks)
        place = np.searchsorted(self.marks, marks.mark[shared])
        return _table(marks.owner[shared], place, (n, len(self.marks)))


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


def _table(owner: Ints, place: Ints, shape: tuple[int, int]) -> sparse.csr_array:
    """Return who bears what, however often."""
    found = sparse.csr_array((np.ones(len(owner)), (owner, place)), shape=shape)
    found.sum_duplicates()
    found.data[:] = 1
    return found


def _records(
    schema: Schema, challenge: PublicChallenge, release: Cohort
) -> tuple[Records, Records]:
    known = [f for f in schema.features if f.part in (Part.STATIC, Part.OUTCOME)]
    # Rows of a day stand in the order of a file, which must not tell. Those of targets do not.
    release = replace(release, visits=by_content(release.visits), codes=by_content(release.codes))
    sides = (challenge.targets, challenge.records), (release.table, release)
    asked, released = (
        Records(
            Rows(np.arange(len(table)), plain_columns(table, known)),
            visits_of(cohort.sequences),
            cohort.sequences,
        )
        for table, cohort in sides
    )
    return asked, released
