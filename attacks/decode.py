"""Does what a hospital sends tell a secret of patients whom it is known to train on?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from fedbench.attack import Guess, PublicChallenge, Sight
from fedbench.attacks._decoding import Equations, decoded
from fedbench.attacks._likelihood import Whitening
from fedbench.attacks._secrets import Secretive, completed, grid, supposed
from fedbench.attacks._training import SILENT, traces_of
from fedbench.data import Cohort
from fedbench.errors import Refused, Unsupported
from fedbench.seeds import Rng
from fedbench.traces import Sums, Traces, cohort_of

__all__ = ["Decode"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Singles = NDArray[np.float32]

_RIDGE = 1e-2
"""Of the largest variance: noise that reference patients never show may be there as well."""


@dataclass(frozen=True)
class _List:
    """Patients of one list: who is asked about, under every answer, and who else is on it."""

    rows: Ints
    cases: Sequence[Cohort]
    rest: Cohort | None
    equations: Equations


@dataclass(frozen=True, kw_only=True)
class Decode(Secretive):
    """Find the answers of all patients of a list that together explain what was sent.

    The attacker knows who was trained on and all of them but the secret. What crossed is a mean
    of one trace per patient, out of those that she would have left with each answer, which makes
    a linear equation per number that crossed. They are solved by least squares, with answers
    between 0 and 1 that add up to 1 per patient and start from what other patients say about the
    secret, see ``decoded``. Gradients are followed from before to after each round by Simpson's
    rule, and weighed by how they vary with the noise that a generator draws for a patient; all
    rounds are solved together.

    Attributes:
        unknowns: Patients times answers that are solved for at once, at most.
    """

    version: ClassVar[int] = 4

    draws: Annotated[int, Ge(1)] = 4
    unknowns: Annotated[int, Ge(2)] = 3000

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        prior = self.without(sight, challenge, rng)
        assert prior is not None  # noqa: S101  (other patients always say something)
        usual, found = self.usual(sight, rng), prior.scores.copy()
        secret = sight.schema.feature(challenge.secret)
        values = list(grid(sight.reference.table, secret, challenge))
        answers = np.array([number for _, number in values])
        tried = [value for value, _ in values]
        beforehand = found[:, answers] / np.bincount(answers)[answers]
        for site in np.unique(challenge.sites.astype(str)).tolist():
            lists = list(self._lists(sight, challenge, site, tried, beforehand))
            for traces, patients in self._heard(sight, site, usual):
                weighed = _Weighed.by(traces, usual)
                for each in lists:
                    weighed.add(each, patients)
            for each in lists:
                weights = decoded(each.equations)
                mine = [weights[:, answers == v].sum(axis=1) for v in range(found.shape[1])]
                found[each.rows] = np.stack(mine, axis=1)
        return Guess(found)

    def _lists(
        self,
        sight: Sight,
        challenge: PublicChallenge,
        site: str,
        tried: Sequence[str | float],
        prior: Floats,
    ) -> Iterator[_List]:
        roster, schema = sight.roster, sight.schema
        whole = completed(schema, challenge.targets, sight.reference.table)
        for number in np.unique(roster.lists[challenge.sites.astype(str) == site]):
            rows = np.flatnonzero(roster.lists == number)
            self._check(len(rows), len(tried))
            table = whole.iloc[rows]
            cases = [supposed(schema, table, challenge.secret, value) for value in tried]
            known = roster.known[roster.known_lists == number]
            rest = cohort_of(schema, known) if len(known) else None
            yield _List(rows, cases, rest, Equations.around(prior[rows]))

    def _check(self, patients: int, answers: int) -> None:
        if patients * answers > self.unknowns:
            raise Refused(
                f"{patients:,} patients with {answers} answers each are more unknowns than "
                f"{self.unknowns:,}. Raise `unknowns` of this attack, or take smaller hospitals."
            )

    def _heard(self, sight: Sight, site: str, usual: Cohort) -> Iterator[tuple[Traces, float]]:
        silent = True
        for glimpse in sight.wire.glimpses(site, self.rounds):
            traces = traces_of(sight.wire, glimpse, usual, self.draws, "path")
            if traces is not None:
                silent = False
                yield traces, glimpse.patients
        if silent:
            raise Unsupported(SILENT)


@dataclass(frozen=True)
class _Weighed:
    """A round, with what is usual in it.

    The noise in sums is the same in all of them. Of gradients it is not known which noise the
    generator drew for each patient: what varies with that counts less. (How gradients vary between
    patients would not do: that is where their answers show.)
    """

    traces: Traces
    mean: Floats
    whiten: Whitening | None

    @classmethod
    def by(cls, traces: Traces, usual: Cohort) -> _Weighed:
        known = _of(traces, usual)
        mean = known.mean(axis=0, dtype=np.float64)
        if isinstance(traces, Sums):
            return cls(traces, mean, None)
        noise = np.concatenate([traces.unknown(block) for block in traces.blocks(usual)])
        return cls(traces, mean, Whitening.of(noise, _RIDGE))

    def add(self, each: _List, patients: float) -> None:
        """Add an equation per number that crossed; whoever is on no list is taken for usual."""
        n = len(each.rows) + (len(each.rest) if each.rest else 0)
        stacked = np.stack([_of(self.traces, case) for case in each.cases], axis=1)
        seen = patients * self.traces.seen - (patients - n) * self.mean
        if each.rest:
            seen -= _of(self.traces, each.rest).sum(axis=0, dtype=np.float64)
        flat = stacked.reshape(-1, stacked.shape[-1])
        rest = seen - each.equations.prior.ravel() @ flat.astype(np.float64)
        if self.whiten is None:
            known = flat.astype(np.float64)
            each.equations.add(known @ known.T, known @ rest, float(rest @ rest), len(seen))
            return
        inner, left = self.whiten.inner(flat), self.whiten.inner(rest[None].astype(np.float32))
        square = float(left.squares()[0])
        each.equations.add(inner.dot(inner), inner.dot(left)[:, 0], square, len(seen))


def _of(traces: Traces, cohort: Cohort) -> Singles:
    return np.concatenate([traces.of(block) for block in traces.blocks(cohort)])
