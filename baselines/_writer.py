"""Whole records of patients whose summaries are known."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from fedbench.baselines._course import KINDS, Bools, Course, Floats, Ints, band
from fedbench.baselines._sums import drawn, later, position, threshold
from fedbench.baselines.copula import _nearest, _tetrachoric
from fedbench.data import Cohort
from fedbench.encoding import Encoder
from fedbench.generator import State
from fedbench.seeds import Rng
from fedbench.sequences import Sequences

_TRIES = 16


@dataclass
class Writer:
    """Writes the days of patients whose summaries are known."""

    course: Course
    summary: Encoder
    state: State
    people: Cohort
    rng: Rng
    table: pd.DataFrame = field(init=False)
    owner: Ints = field(init=False)
    starts: Ints = field(init=False)
    ever: Bools = field(init=False)

    def cohort(self) -> Cohort:
        """Return whole records."""
        self.table = self.people.table
        # Noise may say that some have no such number.
        days = self.table["days with a record"].fillna(1.0)
        lengths = days.to_numpy(np.float64).astype(np.int64) - 1
        n = len(lengths)
        self.starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.owner = np.repeat(np.arange(n), lengths)
        kind = self._kinds(self._ever())
        seen = kind < 2 if self.course.schema.visits else np.zeros(len(kind), dtype=bool)
        numbers, measured = self._numbers(seen)
        code_starts, codes = self._codes(kind)
        steps = Sequences(
            schema=self.course.schema,
            patients=self.people.patients,
            starts=self.starts,
            day=self._days(),
            visited=seen,
            numbers=numbers,
            measured=measured,
            levels=self._levels(seen),
            code_starts=code_starts,
            codes=codes,
        )
        schema, static = self.course.schema, self.people.static
        known = {name: static[name] for name in static if name in schema.static}
        facts = pd.DataFrame({"patient": static["patient"], **known})
        if schema.site:
            facts[schema.site] = None
        if schema.cluster:
            facts[schema.cluster] = static["patient"]
        return _merged(steps).cohort(facts, self.people.outcome if schema.outcome else None)

    def _days(self) -> Floats:
        """Draw when days are, none after the end of follow-up.

        Of several draws each patient keeps the one that spans most nearly what her summary says.
        """
        course, lengths = self.course, np.diff(self.starts)
        has = lengths > 0
        group = course.group(self.summary.encode(self.people), self.summary)[self.owner]
        bins = np.append(course.gaps, course.gaps[-1] + 1)
        first, last = self.starts[:-1][has], self.starts[1:][has] - 1
        begin = np.round(course.near(self.table["first day"].fillna(0.0).to_numpy()) / course.unit)
        end = np.full(len(lengths), np.inf)
        if course.schema.outcome:
            end = np.floor(self.people.outcome["time"].to_numpy(np.float64) / course.unit)
        begin = np.minimum(begin, end)[has]
        room = course.far((end[has] - begin) * course.unit)
        wanted = np.minimum(self.table["span"].fillna(0.0).to_numpy()[has], room)
        best, nearest = np.zeros(len(group)), np.full(len(first), np.inf)
        for _ in range(_TRIES):
            place = drawn(self.state["gaps"], group, self.rng)
            width = bins[place + 1] - bins[place]
            gap = bins[place] + np.floor(self.rng.random(len(place)) * width)
            gap[first] = 0
            since = np.cumsum(gap)
            since -= np.repeat(since[first], lengths[has])
            apart = np.abs(course.far(since[last] * course.unit) - wanted)
            better = np.repeat(apart < nearest, lengths[has])
            best[better] = since[better]
            nearest = np.minimum(nearest, apart)
        span = np.maximum(best[last], 1.0)
        short = np.minimum(1.0, (end[has] - begin) / span)
        day = np.repeat(begin, lengths[has]) + np.floor(best * np.repeat(short, lengths[has]))
        return np.asarray(day * course.unit)

    def _ever(self) -> Bools:
        """Draw which codes every patient ever has."""
        course, n = self.course, len(self.table)
        share = self.state["ever"] / self.state["patients"][0]
        found: Bools = self.rng.random((n, course.codes)) < share
        for code in course.shown:
            found[:, code] = (self.table[f"code {code}"] == "yes").to_numpy()
        return found

    def _kinds(self, ever: Bools) -> Ints:
        """Draw what each day holds; who has codes or numbers has a day for them."""
        self.ever = ever
        schema = self.course.schema
        if not (schema.visits and schema.vocabularies):
            return np.full(len(self.owner), 0 if schema.visits else 2)
        first = self.table["first holds"].cat.codes.to_numpy().astype(np.int64)
        own = band(self.table["days with codes"].to_numpy(np.float64))
        kind = np.zeros(len(self.owner), dtype=np.int64)
        for each, moves in enumerate(self.state["kinds"]):
            mine = own[self.owner] == each
            kind[mine] = self._chain(np.maximum(first, 0), self.owner[mine], moves)
        some: Bools = np.asarray(ever.any(axis=1))
        for lacking, wanted in ((kind > 0, some), (kind < 2, self._measured_ever())):
            has = np.bincount(self.owner, lacking, len(wanted)) > 0
            needy = np.flatnonzero(wanted & ~has & (np.diff(self.starts) > 0))
            kind[self.starts[needy]] = KINDS.index("visit and codes")
        return kind

    def _measured_ever(self) -> Bools:
        found = np.zeros(len(self.table), dtype=bool)
        for name in self.course.numbers:
            found |= self.table[f"mean of {name}"].notna().to_numpy()
        return found

    def _chain(self, first: Ints, owner: Ints, moves: Floats) -> Ints:
        """Draw states one after the other; ``owner`` ascends."""
        place = position(owner)
        found = np.zeros(len(owner), dtype=np.int64)
        opening = place == 0
        found[opening] = first[owner[opening]]
        for at in later(place):
            found[at] = drawn(moves, found[at - 1], self.rng)
        return found

    def _levels(self, seen: Bools) -> Ints:
        course = self.course
        found = np.zeros((len(seen), len(course.categories)), dtype=np.int64)
        for j, name in enumerate(course.categories):
            width = len(course.schema.visits[name].levels)
            first = self.table[f"first {name}"].cat.codes.to_numpy().astype(np.int64)
            found[:, j] = width
            found[seen, j] = self._chain(
                np.where(first < 0, width, first), self.owner[seen], self.state[f"moves {name}"]
            )
        return found

    def _numbers(self, seen: Bools) -> tuple[Floats, Bools]:
        course = self.course
        measured = self._measured(seen)
        numbers = np.zeros(measured.shape)
        for j, name in enumerate(course.numbers):
            there = np.flatnonzero(measured[:, j])
            owner = self.owner[there]
            scores = self._around(owner, j)
            scores += self.table[f"mean of {name}"].to_numpy(np.float64)[owner]
            encoder, feature = course.scale(name)
            rows = np.zeros(len(there), dtype=np.int64)
            numbers[there, j] = encoder.values(feature, scores, rows)
        return numbers, measured

    def _around(self, owner: Ints, j: int) -> Floats:
        """Draw how far values are from the patient's own mean."""
        memory, spread = self.state["memory"][j], self.state["spread"][j]
        found = np.sqrt(spread) * self.rng.standard_normal(len(owner))
        for at in later(position(owner)):
            found[at] = memory * found[at - 1] + math.sqrt(1 - memory**2) * found[at]
        count = np.bincount(owner, minlength=len(self.table))
        mean = np.bincount(owner, found, len(self.table)) / np.maximum(count, 1)
        return np.asarray(found - mean[owner])

    def _measured(self, seen: Bools) -> Bools:
        """Draw what is measured at visits: numbers that go together do."""
        course, p = self.course, len(self.course.numbers)
        found = np.zeros((len(seen), p), dtype=bool)
        visits = np.flatnonzero(seen)
        if not p or not len(visits):
            return found
        pairs = np.zeros((p, p))
        pairs[np.triu_indices(p)] = self.state["together"]
        pairs += np.triu(pairs, 1).T
        rate = np.clip(np.diag(pairs), 1e-3, 1 - 1e-3)
        cuts = threshold(rate, np.full(p, 1e9))
        alike = np.clip(_tetrachoric(pairs - np.outer(rate, rate), cuts), -0.99, 0.99)
        np.fill_diagonal(alike, 1.0)
        values, vectors = np.linalg.eigh(_nearest(alike, [slice(j, j + 1) for j in range(p)]))
        root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
        hidden = self.rng.standard_normal((len(visits), p)) @ root
        owner = self.owner[visits]
        days = np.bincount(owner, minlength=len(self.table))
        different, which = np.unique(days, return_inverse=True)
        most = np.maximum(different, 1)[:, None]
        wanted = (1 + (most - 1) * self.state["others"]) / most
        limits = threshold(wanted, np.broadcast_to(most, wanted.shape))
        ever = np.stack([self.table[f"mean of {name}"].notna() for name in course.numbers], axis=1)
        there = hidden > limits[which[owner]]
        for j in range(p):  # at least once
            best = np.lexsort((hidden[:, j], owner))
            there[best[np.append(np.diff(owner[best]) > 0, True)], j] = True
        found[visits] = there & ever[owner]
        return found

    def _codes(self, kind: Ints) -> tuple[Ints, Ints]:
        """Draw on which days each patient's codes are recorded."""
        days = np.flatnonzero(kind > 0)
        owner = self.owner[days]
        count = np.bincount(owner, minlength=len(self.table))
        begin = np.concatenate([[0], np.cumsum(count)])
        who, code = np.nonzero(self.ever & (count > 0)[:, None])
        # Each once for certain, on days in turn, so that few are left without any.
        order = np.lexsort((self.rng.random(len(who)), who))
        who, code = who[order], code[order]
        turn = position(who) + np.floor(self.rng.random(len(count)) * count)[who]
        anchor = turn.astype(np.int64) % np.maximum(count[who], 1)
        rate, again = self.state["besides"][code], self.state["repeats"][code]
        otherwise = np.clip(rate * (1 - again) / np.maximum(1 - rate, 1e-9), 0, 1)
        rows = [(begin[who] + anchor, code)]
        for way in (-1, 1):
            there, at = np.ones(len(who), dtype=bool), anchor.copy()
            left = np.arange(len(who))
            while len(left):
                at[left] += way
                left = left[(at[left] >= 0) & (at[left] < count[who[left]])]
                chance = np.where(there[left], again[left], otherwise[left])
                there[left] = self.rng.random(len(left)) < chance
                hit = left[there[left]]
                rows.append((begin[who[hit]] + at[hit], code[hit]))
        place = np.concatenate([row for row, _ in rows])
        codes = np.concatenate([row for _, row in rows])
        told = (np.bincount(place, minlength=len(days)) > 0) | (kind[days] < 2)
        none = np.bincount(self.owner, kind < 2, len(count)) + np.bincount(owner, told, len(count))
        bare = np.flatnonzero(~told & (none == 0)[owner])  # else nothing is left of the patient
        place = np.concatenate([place, bare])
        usual = self.state["ever"][None] + 1e-9
        codes = np.concatenate([codes, drawn(usual, np.zeros_like(bare), self.rng)])
        step = days[place] if len(place) else place
        order = np.lexsort((codes, step))
        ends = np.cumsum(np.bincount(step, minlength=len(kind)))
        return np.concatenate([[0], ends]).astype(np.int64), codes[order]


def _merged(steps: Sequences) -> Sequences:
    """Return steps of which a patient has each code at most once a day."""
    step = np.repeat(np.arange(len(steps.day)), np.diff(steps.code_starts))
    key = pd.MultiIndex.from_arrays([steps.owner[step], steps.day[step], steps.codes])
    first = ~key.duplicated()
    ends = np.cumsum(np.bincount(step[first], minlength=len(steps.day)))
    starts = np.concatenate([[0], ends]).astype(np.int64)
    return replace(steps, code_starts=starts, codes=steps.codes[first])
