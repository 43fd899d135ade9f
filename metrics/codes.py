"""Are diagnoses recorded as often, and together, as in real records?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from annotated_types import Ge
from numpy.typing import NDArray

from fedbench.coding import chapters
from fedbench.crosswalk import Crosswalk, Level, Which, named_map
from fedbench.data import Schema
from fedbench.errors import SpecError
from fedbench.metric import FEWEST, Anchors, Evidence, Family, Key, Measure, Metric, Refusal, View
from fedbench.metrics._draws import Floats, measured, rank_correlation
from fedbench.metrics._events import Events, apart, counted, gap, thinned
from fedbench.metrics._mentions import Mentions, agreement, prevalence
from fedbench.nouns import plural
from fedbench.seeds import Rng
from fedbench.stats import clopper_pearson, percentile

__all__ = ["Codes"]

Ints = NDArray[np.int64]
Rows = Floats | str
"""Rows ``(1 + B,)``, or why there are none."""
Found = Iterator[tuple[str, str, Rows]]
"""Part, tenth of the codes (empty for all) and the rows."""

DECILES = 10
SQUARES = ("prevalence", "together", "next", "mapped")
"""Coefficients of determination, which can lie below 0 without limit."""
ITEMS = {
    "prevalence": ("code", "codes"),
    "together": ("pair of codes on one day", "pairs of codes on one day"),
    "next": ("pair of codes on one day and the next", "pairs of codes on one day and the next"),
    "mapped": ("disease", "diseases"),
}
"""What is as frequent or not, one and several of it."""
REASONS = {
    "recall": "no training patient has a code",
    "per_visit": "no real test patient has a code",
    "per_patient": "no real test patient has a code",
    "chapters": "no real test patient has a code",
}


@dataclass(frozen=True, kw_only=True)
class Codes(Metric):
    """How alike codes are in real and synthetic patients: how often, together, and in a row.

    Coefficients of determination (1 is best, 0 no better than their mean) of the shares of
    patients who have: a code at all (part ``prevalence``), two codes on one day (``together``), a
    code and another one on the next day with codes (``next``). ``rank``: Spearman's correlation of
    the first. ``recall``: the share of codes of training patients that any synthetic one has, of
    all and of each tenth, the first being the rarest; which depends on how many synthetic patients
    there are. ``per_visit`` and ``per_patient``: 1 minus the Kolmogorov-Smirnov distance of the
    number of different codes on a day with any, and in a patient. ``chapters``: 1 minus the total
    variation of codes over the chapters of ICD, every patient with codes counting once.
    ``mapped``: as ``prevalence``, after the codes of one system were mapped to those of another,
    where hospitals do not all write the same one: whether a disease is as frequent, whoever wrote
    it down. What has no counterpart stays as it is.

    What is asked depends on the real patients alone: coefficients and correlations take ten codes,
    and of pairs ten, that they have, not all as often. Where no synthetic one has a code, or all
    codes are as frequent there, nothing is refused, and ``rank`` is 0. Sides of more than
    ``patients`` are thinned to that many, drawn by ``rng``. Theodorou, Xiao and Sun 2023, https://doi.org/10.1038/s41467-023-41093-0.

    Attributes:
        patients: at most, of a side.
        map: from ``source`` to ``target``, named as the partitioner ``coding`` does.
        source: the system that is mapped.
        target: the system to which it is mapped.
        level: ``category`` to compare categories, three characters of an ICD.
        which: where the map has a choice, its ``first`` or ``all``.

    Raises:
        SpecError: there is no such map.
        DataError: it cannot be read.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "higher"
    version: ClassVar[int] = 4
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")

    patients: Annotated[int, Ge(10)] = 2000
    map: str = ""
    source: str = "icd9cm"
    target: str = "icd10cm"
    level: Level = "category"
    which: Which = "first"

    def __post_init__(self) -> None:
        _ = self.crosswalk  # a map that cannot be read is told before anything is trained

    @cached_property
    def crosswalk(self) -> Crosswalk | None:
        """The map; None where none is named."""
        if not self.map:
            return None
        return named_map(self.map, self.source, self.target, self.which, self.level)

    @property
    def contents(self) -> str:
        return self.crosswalk.fingerprint if self.crosswalk else ""

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        if not evidence.schema.vocabularies:
            return [Refusal(reason="the schema has no codes", status="not applicable")]
        streams = rng.spawn(2)
        real, fake = (
            thinned(view, self.patients, "codes", stream)
            for view, stream in zip((evidence.test, evidence.synthetic), streams, strict=True)
        )
        chapter = _Chapters.of(evidence.schema)
        answers: list[Measure | Refusal] = []
        told = [*_found(real, fake, evidence, chapter), *self._mapped(real, fake)]
        for part, tenth, rows in told:
            if isinstance(rows, str):
                answers.append(Refusal(reason=rows, part=part))
            elif np.isfinite(rows[0]):
                least = -np.inf if part in SQUARES else -1.0 if part == "rank" else 0.0
                n = len(fake if part == "recall" else real)
                found = measured(rows, n, part=part, key=Key(column=tenth), least=least)
                answers.append(_with_limits(found, rows, evidence.train))
        have = {answer.part for answer in answers}
        unmapped = [] if "mapped" in have else [self._unmapped(evidence.schema)]
        absent = [part for part in REASONS if part not in have]
        return [*answers, *(_absent(part, chapter) for part in absent), *unmapped]

    def _mapped(self, real: View, fake: View) -> Found:
        systems = real.cohort.schema.vocabularies
        if self.crosswalk is not None and {self.source, self.target} <= set(systems):
            words = real.cohort.sequences.vocabulary
            concepts = self.crosswalk.concepts(*zip(*words, strict=True))
            place, names = pd.factorize(concepts["concept"])
            row = concepts["row"].to_numpy(dtype=np.int64)
            sides = (Mentions.single(view).meaning(row, place, len(names)) for view in (real, fake))
            yield "mapped", "", _alike("mapped", *sides)

    def _unmapped(self, schema: Schema) -> Refusal:
        lacking = [name for name in (self.source, self.target) if name not in schema.vocabularies]
        if self.crosswalk is None:
            reason = "no map from one coding system to another is named"
        else:
            reason = f"the schema has no codes of {lacking[0]!r}, which the map is about"
        return Refusal(reason=reason, status="not applicable", part="mapped")


def _found(real: View, fake: View, evidence: Evidence, chapter: _Chapters | None) -> Found:
    mine, theirs = (Mentions.single(view) for view in (real, fake))
    yield "prevalence", "", _alike("prevalence", mine, theirs)
    yield "rank", "", _unfit("prevalence", mine) or _rank(mine, theirs)
    pairs = (Mentions.together(view) for view in (real, fake))
    few = _few("prevalence", mine)  # many pairs of few codes are no more than these
    yield "together", "", few or _alike("together", *pairs)
    pairs = (Mentions.following(view) for view in (real, fake))
    yield "next", "", few or _alike("next", *pairs)
    yield from _recall(theirs, _known(evidence.train))
    yield "per_visit", "", 1 - gap(*(_per_visit(view) for view in (real, fake)))
    yield "per_patient", "", 1 - gap(*(_per_patient(side) for side in (mine, theirs)))
    if chapter is not None:
        yield "chapters", "", 1 - apart(chapter.counts(mine), chapter.counts(theirs))


def _alike(part: str, real: Mentions, fake: Mentions) -> Rows:
    return _unfit(part, real) or agreement(real, fake)


def _unfit(part: str, real: Mentions) -> str:
    """Say why shares of these items cannot be correlated; empty where they can."""
    if few := _few(part, real):
        return few
    if not np.ptp(np.unique(real.item, return_counts=True)[1]):
        return f"all {ITEMS[part][1]} are as frequent as each other among the real test patients"
    return ""


def _few(part: str, real: Mentions) -> str:
    found = len(np.unique(real.item))
    told = f"{plural(found, *ITEMS[part])} among the real test patients"
    return "" if found >= FEWEST else f"{told}; this needs at least {FEWEST}"


def _with_limits(found: Measure, rows: Floats, train: View) -> Measure:
    """Return a measure with limits that cover where its own replicates are lopsided.

    What is left to explain varies in proportion to itself, so that limits are taken on its
    logarithm as well, and the wider ones count. What nobody has cannot be drawn: to ``recall``,
    codes are coins of unequal chances, for which Clopper and Pearson's limits are wide enough
    (Hoeffding 1956, https://doi.org/10.1214/aoms/1177728178).
    """
    if found.part in SQUARES and found.value < 1:
        left = 1 - found.value
        ends = percentile(0.0, (rows[1:] - np.nanmean(rows[1:])) / left)
        low, high = 1 - left * np.exp([-ends.low, -ends.high])
        return replace(found, low=min(found.low, low), high=max(found.high, high))
    if found.part == "recall":
        codes = len(_known(train))
        if found.key.column:
            codes //= DECILES
        limits = clopper_pearson(round(found.value * codes), codes)
        return replace(found, low=min(found.low, limits.low), high=max(found.high, limits.high))
    return found


def _rank(real: Mentions, fake: Mentions) -> Floats:
    items = np.unique(np.concatenate([real.item, fake.item]))
    if not len(items):
        return np.full(1 + len(real.view.weights), np.nan)
    mine, theirs = (prevalence(side, items) for side in (real, fake))
    flat = (np.ptp(theirs, axis=1) == 0) & (np.ptp(mine, axis=1) > 0)
    return np.where(flat, 0.0, rank_correlation(mine, theirs))


def _known(train: View) -> Ints:
    """Return the codes of training patients, the rarest first."""
    return train.shared("codes: known", lambda: _by_rarity(Mentions.single(train)))


def _by_rarity(found: Mentions) -> Ints:
    items, count = np.unique(found.item, return_counts=True)
    return np.asarray(items[np.argsort(count, kind="stable")])


def _recall(fake: Mentions, known: Ints) -> Found:
    if not len(known):
        return
    order = np.argsort(known)
    there = np.empty((1 + len(fake.view.weights), len(known)), dtype=bool)
    there[:, order] = prevalence(fake, known[order]) > 0
    yield "recall", "", there.mean(axis=1)
    if len(known) >= DECILES:
        for decile, mine in enumerate(np.array_split(np.arange(len(known)), DECILES), start=1):
            yield "recall", f"tenth {decile}", there[:, mine].mean(axis=1)


def _per_visit(view: View) -> Events:
    found, width = view.cohort.sequences, len(view.cohort.sequences.vocabulary)
    step = np.repeat(np.arange(len(found.day)), np.diff(found.code_starts))
    coded, size = np.unique(np.unique(step * width + found.codes) // width, return_counts=True)
    return Events(view, found.owner[coded], size.astype(np.float64))


def _per_patient(side: Mentions) -> Events:
    count = np.bincount(side.owner, minlength=len(side.view)).astype(np.float64)
    return Events(side.view, np.arange(len(count)), count)


@dataclass(frozen=True)
class _Chapters:
    """The chapter of every code of a vocabulary, by number; the last is of codes without one."""

    place: Ints
    width: int

    @classmethod
    def of(cls, schema: Schema) -> _Chapters | None:
        """Return the chapters, if any system of the schema has some."""
        titles: list[str] = []
        for system, vocabulary in schema.vocabularies.items():
            found = pd.Series([None] * len(vocabulary.codes), dtype=object)
            with suppress(SpecError):  # a system without chapters
                found = chapters(pd.Series(list(vocabulary.codes), dtype="string"), system)
            titles += [f"{system} {title}" if isinstance(title, str) else "" for title in found]
        names = sorted(set(titles) - {""})
        place = {name: j for j, name in enumerate(names)}
        rows = np.array([place.get(title, len(names)) for title in titles], dtype=np.int64)
        return cls(rows, len(names) + 1) if names else None

    def counts(self, side: Mentions) -> Floats:
        """Return how many patients each chapter has, ``(1 + B, width)``; shares of them count."""
        each = 1 / np.bincount(side.owner, minlength=len(side.view))[side.owner]
        return counted(side.view, side.owner, self.place[side.item], self.width, each)


def _absent(part: str, chapter: _Chapters | None) -> Refusal:
    if part == "chapters" and chapter is None:
        reason = "no coding system of the schema has chapters of which we know"
        return Refusal(reason=reason, status="not applicable", part=part)
    return Refusal(reason=REASONS[part], part=part)
