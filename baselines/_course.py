"""What happens to a patient over time, as sums over patients, and written again from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from fedbench.baselines._sums import means, moves, others, shares, sums
from fedbench.data import SHORT, Cohort, Column, Feature, Part, Schema
from fedbench.encoding import Encoder, Records, edges
from fedbench.sequences import Sequences
from fedbench.strategy import Message

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

KINDS = ("visit", "visit and codes", "codes")
"""What a day in a record can hold."""

BANDS = 5
"""Bands of the share of a patient's days that have codes."""

LEVEL = 5.0
"""The largest normal score of a patient's own mean."""

_GROUPS = 8
_MINUTE = 1 / 1440
_SINGLE, _WIDE, _FAR = 60, 48, 36525
_LARGEST = 8.0
"""Half squared differences of scores are cut here, so that a patient is bounded."""


@dataclass(frozen=True)
class Course:
    """Summaries of each patient's record, and what they leave open.

    A patient's summary is one row: how many days with a record, when the first is, how dense they
    are, what the first holds, her own mean of every number that is measured at visits, the first
    level of every category, and which of the ``shown`` codes she ever has. Records have at most
    ``longest`` days.
    """

    encoder: Encoder
    longest: int
    shown: tuple[int, ...] = ()

    @property
    def schema(self) -> Schema:
        """The public description of whole records."""
        return self.encoder.schema

    @property
    def unit(self) -> float:
        """The grain of time: a minute where windows are short, else a day."""
        return _MINUTE if any(w.end - w.start < SHORT for w in self.schema.windows) else 1.0

    @property
    def furthest(self) -> float:
        """Public: twice as far from day 0 as any window reaches, in days."""
        ends = [abs(end) for w in self.schema.windows for end in (w.start, w.end)]
        return min(_FAR, 2 * max(ends, default=_FAR / 2))

    @property
    def gaps(self) -> Ints:
        """Public bins of the time between two days with a record, in units; the lower ends."""
        far = np.floor(np.geomspace(_SINGLE + 1, _FAR / self.unit, _WIDE))
        return np.unique([*np.arange(_SINGLE + 1), *far]).astype(np.int64)

    @property
    def numbers(self) -> list[str]:
        """What is measured at visits."""
        return [name for name, c in self.schema.visits.items() if c.kind != "category"]

    @property
    def categories(self) -> list[str]:
        """What is noted at visits."""
        return [name for name, c in self.schema.visits.items() if c.kind == "category"]

    @property
    def codes(self) -> int:
        """How many codes there are."""
        return sum(len(v.codes) for v in self.schema.vocabularies.values())

    @property
    def summary(self) -> Schema:
        """The public description of summaries: a table without visits."""
        far = float(np.log1p(self.furthest / self.unit))
        once = {f.name: f.column for f in self.schema.features if f.part is Part.STATIC}
        found = {
            **once,
            "days with a record": Column(kind="integer", low=1, high=self.longest + 1, log=True),
            "first day": Column(kind="number", low=-far, high=far),
            "pace": Column(kind="number", low=0, high=far),
            "span": Column(kind="number", low=0, high=far + math.log(2)),
            "first holds": Column(kind="category", levels=KINDS),
            "days with codes": Column(kind="number", low=0, high=1),
        }
        for name in self.numbers:
            found[f"mean of {name}"] = Column(kind="number", low=-LEVEL, high=LEVEL)
        for name in self.categories:
            found[f"first {name}"] = replace(self.schema.visits[name], implies="")
        for code in self.shown:
            found[f"code {code}"] = Column(kind="category", levels=("no", "yes"))
        return Schema(
            name=f"summary of {self.schema.name}",
            clock=self.schema.clock,
            static=found,
            outcome=self.schema.outcome,
        )

    def scale(self, name: str) -> tuple[Encoder, Feature]:
        """Return what numbers of this column were agreed to be, over all windows together."""
        every = [f for f in self.schema.features if f.part is Part.VISITS and f.source == name]
        feature = Feature(name, self.schema.visits[name], Part.VISITS, name)
        counts = np.zeros((1, len(edges(feature))))
        if every:
            counts = np.sum([self.encoder.counts[f.name] for f in every], axis=0)
        # Last values tell which values there are, not all of them.
        counts = counts + max(1.0, 1e-3 * float(counts.sum())) / counts.shape[1]
        return Encoder(self.schema, {name: counts}), feature

    def scores(self, steps: Sequences) -> Floats:
        """Return normal scores of what was measured, 0 elsewhere, ``(steps, numbers)``."""
        found = np.zeros(steps.numbers.shape)
        for j, name in enumerate(self.numbers):
            encoder, feature = self.scale(name)
            there = steps.measured[:, j]
            rows = np.zeros(int(there.sum()), dtype=np.int64)
            found[there, j] = encoder.scores(feature, steps.numbers[there, j], rows)
        return np.clip(found, -LEVEL, LEVEL)

    def far(self, day: Floats) -> Floats:
        """Return days on a scale on which near is told finely."""
        return np.asarray(np.sign(day) * np.log1p(np.abs(day) / self.unit))

    def near(self, found: Floats) -> Floats:
        """Return days again."""
        return np.asarray(np.sign(found) * np.expm1(np.abs(found)) * self.unit)

    def summarized(self, cohort: Cohort) -> Cohort:
        """Return the summaries of patients, a cohort of its own."""
        steps = cohort.sequences
        n, owner = len(steps), steps.owner
        lengths = np.diff(steps.starts)
        first = steps.starts[:-1][lengths > 0]
        columns: dict[str, object] = {"patient": steps.patients}
        static = cohort.static.set_index("patient").loc[list(steps.patients)]
        for feature in self.schema.features:
            if feature.part is Part.STATIC:
                columns[feature.name] = static[feature.source].to_numpy()
        columns["days with a record"] = np.minimum(lengths, self.longest) + 1.0
        columns["first day"] = _at(n, lengths > 0, self.far(steps.day[first]))
        later = ~np.isnan(steps.gap)
        columns["pace"] = means(owner[later], self.far(steps.gap[later])[:, None], n)[:, 0]
        last = steps.starts[1:][lengths > 0] - 1
        columns["span"] = _at(n, lengths > 0, self.far(steps.day[last] - steps.day[first]))
        columns["first holds"] = _words(KINDS, _at(n, lengths > 0, kinds(steps)[first]))
        coded = (kinds(steps) > 0).astype(np.float64)
        columns["days with codes"] = means(owner, coded[:, None], n)[:, 0]
        scores = self.scores(steps)
        for j, name in enumerate(self.numbers):
            there = steps.measured[:, j]
            columns[f"mean of {name}"] = means(owner[there], scores[there, j][:, None], n)[:, 0]
        seen = np.flatnonzero(steps.visited)
        opening = seen[np.diff(owner[seen], prepend=-1) > 0]
        for j, name in enumerate(self.categories):
            place = np.full(n, np.nan)
            place[owner[opening]] = steps.levels[opening, j]
            columns[f"first {name}"] = _words(self.schema.visits[name].levels, place)
        ever = self.ever(steps)
        for code in self.shown:
            columns[f"code {code}"] = np.where(ever[:, code], "yes", "no").astype(object)
        empty = pd.DataFrame({"patient": []})
        return Cohort(self.summary, pd.DataFrame(columns), empty, empty, cohort.outcome)

    def ever(self, steps: Sequences) -> Bools:
        """Return which codes every patient ever has, ``(patients, codes)``."""
        found = np.zeros((len(steps), self.codes), dtype=bool)
        found[np.repeat(steps.owner, np.diff(steps.code_starts)), steps.codes] = True
        return found

    def features(self, steps: Sequences, records: Records, summary: Encoder) -> Message:
        """Return what patients add to the sums, every part of a length near 1 or less."""
        n, owner, kind = len(steps), steps.owner, kinds(steps)
        later = np.flatnonzero(~np.isnan(steps.gap))
        grain = np.round(steps.gap[later] / self.unit)
        place = np.searchsorted(self.gaps, grain, side="right") - 1
        group = self.group(records, summary)[owner[later]]
        seen = np.flatnonzero(steps.visited)
        coded = np.flatnonzero(kind > 0)
        size = len(self.gaps)
        found = {
            "gaps": shares(owner[later], group * size + place, n, _GROUPS * size),
            "kinds": self._kinds(owner, kind, n),
            "labs": self._labs(steps, n),
            "together": self._together(steps, seen, n),
            "others": others(owner[seen], steps.measured[seen], n),
            "repeats": self._repeats(steps, coded, n),
            "besides": others(owner[coded], steps.multi_hot(coded), n),
        }
        for j, name in enumerate(self.categories):
            width = len(self.schema.visits[name].levels) + 1
            found[f"moves {name}"] = moves(owner[seen], steps.levels[seen, j], n, width)
        return found

    def _kinds(self, owner: Ints, kind: Ints, n: int) -> Floats:
        """Shares of moves between kinds, in the patient's own band of days with codes."""
        own = band(means(owner, (kind > 0).astype(np.float64)[:, None], n)[:, 0])
        width = len(KINDS) ** 2
        found = np.zeros((n, BANDS, width))
        found[np.arange(n), own] = moves(owner, kind, n, len(KINDS))
        return found.reshape(n, BANDS * width)

    def group(self, records: Records, summary: Encoder) -> Ints:
        """Return in which of several equal groups by pace each patient is."""
        place = [f.name for f in summary.numbers].index("pace")
        share = ndtr(records.numbers[:, place])
        return np.asarray(np.minimum((share * _GROUPS).astype(np.int64), _GROUPS - 1))

    def _labs(self, steps: Sequences, n: int) -> Floats:
        """Half squared differences from one and two measurements before, with their counts."""
        scores, found = self.scores(steps), np.zeros((n, len(self.numbers), 4))
        for j in range(len(self.numbers)):
            there = steps.measured[:, j]
            owner, value = steps.owner[there], scores[there, j]
            for lag in (1, 2):
                same = owner[lag:] == owner[:-lag]
                half = np.minimum((value[lag:] - value[:-lag])[same] ** 2 / 2, _LARGEST)
                mean = means(owner[lag:][same], half[:, None], n)[:, 0]
                found[:, j, 2 * lag - 2] = ~np.isnan(mean)
                found[:, j, 2 * lag - 1] = np.nan_to_num(mean)
        return found

    def _together(self, steps: Sequences, seen: Ints, n: int) -> Floats:
        """How often two numbers are measured at one visit, where both ever are, with counts."""
        upper, lower = np.triu_indices(len(self.numbers))
        measured = steps.measured[seen]
        share = means(steps.owner[seen], measured.astype(np.float64), n)
        ever = np.nan_to_num(share) > 0
        pairs = means(
            steps.owner[seen], (measured[:, upper] & measured[:, lower]).astype(np.float64), n
        )
        both = ever[:, upper] & ever[:, lower]
        return np.stack([both.astype(np.float64), np.nan_to_num(pairs) * both], axis=2)

    def _repeats(self, steps: Sequences, coded: Ints, n: int) -> Floats:
        """How often a code is there the next time after it was, with counts."""
        hot, owner = steps.multi_hot(coded), steps.owner[coded]
        same = owner[1:] == owner[:-1]
        before = hot[:-1][same]
        twice = sums(owner[1:][same], (before & hot[1:][same]).astype(np.float64), n)
        could = sums(owner[1:][same], before.astype(np.float64), n)
        again = np.divide(twice, could, out=np.zeros_like(twice), where=could > 0)
        return np.stack([(could > 0).astype(np.float64), again], axis=2)


def band(share: Floats) -> Ints:
    """Return which band a share lies in: none, three between, or all."""
    inside = 1 + np.floor(np.nan_to_num(share) * 3).clip(0, 2)
    return np.where(share >= 1, 4, np.where(share > 0, inside, 0)).astype(np.int64)


def kinds(steps: Sequences) -> Ints:
    """Return what each day with a record holds, see ``KINDS``."""
    coded = np.diff(steps.code_starts) > 0
    return np.where(steps.visited, coded.astype(np.int64), 2)


def cut(steps: Sequences, start: int, end: int) -> Sequences:
    """Return these patients only, by number."""
    low, high = steps.starts[start], steps.starts[end]
    first, last = steps.code_starts[low], steps.code_starts[high]
    mine = slice(low, high)
    return replace(
        steps,
        patients=steps.patients[start:end],
        starts=steps.starts[start : end + 1] - low,
        day=steps.day[mine],
        visited=steps.visited[mine],
        numbers=steps.numbers[mine],
        measured=steps.measured[mine],
        levels=steps.levels[mine],
        code_starts=steps.code_starts[low : high + 1] - first,
        codes=steps.codes[first:last],
    )


def rates(found: Floats, noise: float) -> Floats:
    """Return means of sums whose counts stand before them, ``(…, 2)`` to ``(…)``."""
    return np.asarray(
        np.maximum(found[..., 1], 0) / np.maximum(found[..., 0], max(1e-9, 4 * noise))
    )


def agreed(sums: Mapping[str, Floats], noise: float) -> dict[str, Floats]:
    """Return chances, memory and spread from the sums of ``Course.features``."""
    found: dict[str, Floats] = {}
    for name, total in sums.items():
        if name == "gaps":
            found[name] = _chances(np.maximum(total, 0).reshape(_GROUPS, -1))
        elif name == "kinds":
            every = np.maximum(total, 0).reshape(BANDS, len(KINDS), len(KINDS))
            found[name] = np.stack([_chances(each + np.eye(len(KINDS)) * 1e-6) for each in every])
        elif name.startswith("moves "):
            width = round(total.size**0.5)
            table = np.maximum(total, 0).reshape(width, width)
            found[name] = _chances(table + np.eye(width) * 1e-6)
        elif name == "labs":
            near, far = rates(total[:, :2], noise), rates(total[:, 2:], noise)
            # Half the mean square of differences is spread times (1 - memory ** lag).
            memory = np.clip(far / np.maximum(near, 1e-9) - 1, 0.0, 0.95)
            found["memory"], found["spread"] = memory, near / (1 - memory)
        elif name == "together":
            found[name] = np.clip(rates(total, noise), 0, 1)
        elif name in ("others", "besides", "repeats"):
            found[name] = np.clip(rates(total, noise), 0, 0.999)
    return found


def _chances(table: Floats) -> Floats:
    """Return rows that add up to 1; an empty one is that of all together."""
    whole = table.sum(axis=0) if table.any() else np.ones(table.shape[1])
    filled = np.where(table.sum(axis=1, keepdims=True) > 0, table, whole)
    return np.asarray(filled / filled.sum(axis=1, keepdims=True))


def _at(n: int, where: Bools, values: NDArray[np.generic]) -> Floats:
    found = np.full(n, np.nan)
    found[where] = values
    return found


def _words(levels: tuple[str, ...], place: Floats) -> NDArray[np.object_]:
    words = np.array([*levels, None], dtype=object)
    return words[np.where(np.isnan(place), len(levels), np.nan_to_num(place)).astype(np.int64)]
