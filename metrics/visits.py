"""Do patients come, and are they measured, as real ones are?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from fedbench.metric import Anchors, Evidence, Family, Key, Measure, Metric, Refusal, View
from fedbench.metrics._draws import (
    Floats,
    averaged,
    draws,
    measured,
    mended,
    over,
    unfolded,
)
from fedbench.metrics._events import Events, apart, counted, gap, steps, thinned
from fedbench.seeds import Rng
from fedbench.sequences import Sequences

__all__ = ["Visits"]

Ints = NDArray[np.int64]
Found = Iterator[tuple[str, str, Floats]]
"""Part, column (empty for the mean of all) and the rows ``(1 + B,)``."""

PARTS = ("count", "first", "gaps", "length", "values", "persistence", "transitions", "together")
NEEDS = {"values": "number", "persistence": "number", "transitions": "category"}
"""What parts are means of."""
FEW = 10
"""Patients with a value below whom a period says nothing."""
FLAT = 1e-9
"""Variance, in units of the unweighted one, below which nothing varies."""


@dataclass(frozen=True, kw_only=True)
class Visits(Metric):
    """Differences in when patients come, what is measured then, and how that changes.

    Every patient counts once, however often she came. Where a schema has no visits, its days with
    codes are the visits. Kolmogorov-Smirnov distances of: part ``count``, visits per patient;
    ``first``, the day of the first; ``gaps``, days from one visit to the next; ``length``, days
    from the first to the last; ``values``, a laboratory's values within each of ``periods``
    stretches of time that hold equally many visits of the training records, averaged over
    periods.

    ``persistence``: mean absolute difference of a laboratory's correlation with its next value in
    the same patient. ``transitions``: total variation of the pairs of a category's level and its
    next one, averaged over categories. ``together``: mean absolute difference in how often two
    columns are measured at one visit, each with itself included.

    What is asked depends on the real patients alone. What synthetic ones leave out of it counts as
    lost: a distance of 1, a correlation of 0 (as where a side does not vary), nothing together.

    Sides of more than ``patients`` are thinned to that many, drawn by ``rng``; what is asked then
    is asked of those.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "lower"
    version: ClassVar[int] = 2
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")

    periods: Annotated[int, Ge(1)] = 4
    patients: Annotated[int, Ge(10)] = 2000

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        schema = evidence.schema
        if not schema.visits and not schema.vocabularies:
            return [Refusal(reason="the schema has no visits", status="not applicable")]
        if not len(steps(evidence.train)[1]):
            return [Refusal(reason="no training patient has a visit")]
        streams = rng.spawn(2)
        real, fake = (
            thinned(view, self.patients, "visits", stream)
            for view, stream in zip((evidence.test, evidence.synthetic), streams, strict=True)
        )
        found = {(part, name): rows for part, name, rows in self._found(real, fake, evidence)}
        answers: list[Measure | Refusal] = [
            measured(
                rows,
                len(real),
                part=part,
                key=Key(column=name),
                most=2.0 if part == "persistence" else 1.0,
            )
            for (part, name), rows in found.items()
            if np.isfinite(rows[0])
        ]
        have = {answer.part for answer in answers}
        answers = [_over(answer, answers, evidence) for answer in answers]
        return answers + [_absent(part, evidence) for part in PARTS if part not in have]

    def _found(self, real: View, fake: View, evidence: Evidence) -> Found:
        sides = [_Side.of(view) for view in (real, fake)]
        for part in ("count", "first", "gaps", "length"):
            yield part, "", gap(*(side.times[part] for side in sides))
        ends = np.quantile(steps(evidence.train)[1], np.arange(1, self.periods) / self.periods)
        yield from _with_mean("values", dict(_values(sides, ends)))
        if lagged := dict(_persistence(sides)):
            yield "persistence", "", averaged(np.stack(list(lagged.values()), axis=1))
            for name, rows in lagged.items():
                yield "persistence", name, unfolded(rows[:, None])[:, 0]
        yield from _with_mean("transitions", dict(_transitions(sides)))
        if evidence.schema.visits:
            yield "together", "", averaged(_together(real) - np.nan_to_num(_together(fake)))


@dataclass(frozen=True)
class _Side:
    """The visits of one side, and all that is a number per visit or patient."""

    view: View
    times: Mapping[str, Events]
    labs: Mapping[str, tuple[Events, Floats]]  # values, and the day of each
    levels: Mapping[str, tuple[Ints, Ints, int]]  # whose, a level times the width plus the next

    @classmethod
    def of(cls, view: View) -> _Side:
        return view.shared("visits", lambda: cls._of(view))

    @classmethod
    def _of(cls, view: View) -> _Side:
        owner, day = steps(view)
        everyone, count = np.arange(len(view)), np.bincount(owner, minlength=len(view))
        came, first = np.unique(owner, return_index=True)
        last = len(owner) - 1 - np.unique(owner[::-1], return_index=True)[1]
        after = owner[1:] == owner[:-1]
        times = {
            "count": Events.of(view, everyone, count.astype(np.float64)),
            "first": Events.of(view, came, day[first]),
            "length": Events.of(view, came, day[last] - day[first]),
            "gaps": Events.of(view, owner[1:][after], np.diff(day)[after]),
        }
        found = view.cohort.sequences
        numeric = [n for n, c in found.schema.visits.items() if c.kind != "category"]
        labs = {}
        for j, name in enumerate(numeric):
            rows = found.measured[:, j]
            values = Events(view, found.owner[rows], found.numbers[rows, j])
            labs[name] = (values, found.day[rows])
        return cls(view, times, labs, dict(_levels(found)))


def _levels(found: Sequences) -> Iterator[tuple[str, tuple[Ints, Ints, int]]]:
    categories = [(n, c) for n, c in found.schema.visits.items() if c.kind == "category"]
    for j, (name, column) in enumerate(categories):
        width = len(column.levels)
        known = found.levels[:, j] < width
        owner, level = found.owner[known], found.levels[known, j]
        after = owner[1:] == owner[:-1]
        yield name, (owner[1:][after], (level[:-1] * width + level[1:])[after], width)


def _values(sides: Sequence[_Side], ends: Floats) -> Iterator[tuple[str, Floats]]:
    for name in sides[0].labs:
        found = []
        periods = [np.searchsorted(ends, side.labs[name][1], side="left") for side in sides]
        for period in range(len(ends) + 1):
            real, fake = (
                side.labs[name][0].where(at == period)
                for side, at in zip(sides, periods, strict=True)
            )
            if len(real) >= FEW:
                found.append(gap(real, fake))
        if found:
            yield name, np.asarray(mended(np.stack(found)).mean(axis=0))


def _persistence(sides: Sequence[_Side]) -> Iterator[tuple[str, Floats]]:
    for name in sides[0].labs:
        real, fake = (_correlation(side.labs[name][0]) for side in sides)
        if real is not None:
            yield name, mended((real - (0.0 if fake is None else fake))[None])[0]


def _correlation(lab: Events) -> Floats | None:
    """Return Pearson's correlation of a value with the patient's next one, ``(1 + B,)``.

    It is 0 where they do not vary. None where few patients have a next one.
    """
    after = lab.owner[1:] == lab.owner[:-1]
    pairs = Events(lab.view, lab.owner[1:][after], lab.values[1:][after])
    if len(pairs) < FEW:
        return None
    middle, spread = lab.values.mean(), lab.values.std()
    x, y = ((values - middle) / (spread or 1) for values in (lab.values[:-1][after], pairs.values))
    sums = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y])
    place = np.repeat(np.arange(6), len(x))
    found = counted(lab.view, np.tile(pairs.owner, 6), place, 6, (sums * pairs.share).ravel())
    with np.errstate(invalid="ignore"):
        _, mx, my, xx, yy, xy = found.T / found[:, 0]
    variances = np.stack([xx - mx**2, yy - my**2])
    varies = (variances > FLAT).all(axis=0)
    scale = np.sqrt(np.where(varies, variances.prod(axis=0), 1.0))
    return np.where(varies | np.isnan(xy), (xy - mx * my) / scale, 0.0)


def _transitions(sides: Sequence[_Side]) -> Iterator[tuple[str, Floats]]:
    for name in sides[0].levels:
        found = []
        for side in sides:
            owner, pair, width = side.levels[name]
            each = Events(side.view, owner, pair.astype(np.float64)).share
            found.append(counted(side.view, owner, pair, width * width, each))
        if found[0][0].any():
            yield name, apart(found[0], found[1])


def _together(view: View) -> Floats:
    """Return the share of visits with each pair of columns measured, ``(1 + B, pairs)``."""
    return view.shared("visits: together", lambda: _measured_together(view))


def _measured_together(view: View) -> Floats:
    found = view.cohort.sequences
    categories = [c for c in found.schema.visits.values() if c.kind == "category"]
    widths = np.array([len(column.levels) for column in categories], dtype=np.int64)
    there = np.concatenate([found.measured, found.levels < widths], axis=1)[found.visited]
    owner = found.owner[found.visited]
    share = Events(view, owner, np.zeros(len(owner))).share
    pairs = list(combinations_with_replacement(range(there.shape[1]), 2))
    # Per patient first: there are more visits than patients.
    personal = np.empty((len(view), len(pairs)))
    for j, (first, second) in enumerate(pairs):
        both = there[:, first] & there[:, second]
        personal[:, j] = np.bincount(owner[both], share[both], minlength=len(view))
    came = np.bincount(owner, minlength=len(view)) > 0
    weights = draws(view).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(weights @ personal / (weights @ came)[:, None])


def _with_mean(part: str, found: Mapping[str, Floats]) -> Found:
    if found:
        yield part, "", np.asarray(mended(np.stack(list(found.values()))).mean(axis=0))
    yield from ((part, name, rows) for name, rows in found.items())


def _over(
    answer: Measure | Refusal, answers: Sequence[Measure | Refusal], evidence: Evidence
) -> Measure | Refusal:
    """Let a mean over what is measured at visits say over how many of these it is."""
    if answer.part not in NEEDS or answer.key.column or isinstance(answer, Refusal):
        return answer
    kept = [each for each in answers if each.part == answer.part and each.key.column]
    return over(answer, len(kept), _kinds(evidence).count(NEEDS[answer.part]))


def _kinds(evidence: Evidence) -> Sequence[str]:
    """Return of what kind each thing is that is measured at visits."""
    columns = evidence.schema.visits.values()
    return ["category" if column.kind == "category" else "number" for column in columns]


def _absent(part: str, evidence: Evidence) -> Refusal:
    """Say why a part has no number."""
    kinds = _kinds(evidence)
    if not kinds and part == "together":
        return Refusal(reason="nothing is measured at visits", status="not applicable", part=part)
    if part in NEEDS and NEEDS[part] not in kinds:
        reason = f"no {NEEDS[part]} is measured at visits"
        return Refusal(reason=reason, status="not applicable", part=part)
    return Refusal(reason="too few real patients came often enough", part=part)
