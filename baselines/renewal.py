"""A Gaussian copula that writes whole records: visits, measurements and codes over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval

from fedbench.baselines._course import Course, Floats, agreed, cut
from fedbench.baselines._writer import Writer
from fedbench.baselines.copula import Copula
from fedbench.data import Cohort
from fedbench.encoding import Encoder, settled, summarize
from fedbench.generator import Local, Phase, Site, State, shortened
from fedbench.privacy import Unlimited
from fedbench.seeds import Rng
from fedbench.strategy import Combined, Memory, Message, Update

_BLOCK = 256
_MOST_CODES = 16
"""Of so many codes of a patient her sums are bounded under privacy; more count less each."""


@dataclass(frozen=True, kw_only=True)
class Renewal(Copula):
    """Write each patient's summary by a copula, and the record between by chance and memory.

    The copula is over what is known once, the outcome, and a summary of the record (how many days
    with a record, the first, how dense, the patient's own mean of every number, which codes she
    ever has). Days follow each other as a renewal process: gaps are drawn from public bins, in
    eight groups of patients by how dense their days are. A number goes around the patient's mean
    with a memory of one measurement (AR(1); from half squared differences one and two measurements
    apart, which do not depend on the mean), several numbers are measured together, a category and
    what a day holds depend on those before (Markov), and a code that a patient has returns with
    its own chance, another one after it was there the time before. No day is after the end of
    follow-up: gaps that lead beyond are shortened in proportion.

    Everything is sums over patients in two rounds, so federated and centralized are the same.

    Attributes:
        codes: How many of the most frequent codes the copula knows; others come by chance.
        longest: Days with a record that a patient can have.
    """

    codes: Annotated[int, Ge(0)] = 64
    longest: Annotated[int, Interval(ge=1, le=100_000)] = 1000

    def phases(self) -> Sequence[Phase]:
        return Phase("counts", rounds=1), Phase("moments", rounds=1)

    def update(self, phase: Phase, message: Message, site: Site, local: Local, rng: Rng) -> Update:
        private = not isinstance(local.budget, Unlimited)
        if phase.name == "counts":
            sums, bound = self._counted(
                Course(site.encoder, self.longest), site.cohort, private=private
            )
        else:
            course, summary = self._agreed(message, site.encoder)
            records = summary.encode(course.summarized(site.cohort))
            bound = math.hypot(self.bound(phase, summary), _reach(course)) if private else 0.0
            sums, steps = {}, site.cohort.sequences
            for start in range(0, max(len(records), 1), _BLOCK):
                block = slice(start, min(start + _BLOCK, len(records)))
                mine = records.take(block)
                told = {
                    **self.features(phase, message, mine, summary),
                    **course.features(cut(steps, block.start, block.stop), mine, summary),
                }
                for name, values in (shortened(told, bound) if private else told).items():
                    sums[name] = sums.get(name, 0.0) + np.sum(values, axis=0)
        return Update(
            sums=local.budget.release(sums, bound if private else math.inf),
            weight=float(len(site.records)),
        )

    def _counted(
        self, course: Course, cohort: Cohort, *, private: bool
    ) -> tuple[dict[str, Floats], float]:
        """Return counts of summaries and of who ever has a code, and the length of one patient."""
        counts = summarize(course.summarized(cohort))
        known = course.encoder.counts
        sums = {f"counts {name}": c for name, c in counts.items() if name not in known}
        ever = course.ever(cohort.sequences).astype(np.float64)
        if private:
            ever *= np.minimum(1.0, np.sqrt(_MOST_CODES / np.maximum(ever.sum(axis=1), 1)))[:, None]
        return {**sums, "ever": ever.sum(axis=0)}, math.sqrt(len(sums) + _MOST_CODES)

    def fold(
        self, phase: Phase, state: State, combined: Combined, encoder: Encoder, rng: Rng
    ) -> State:
        if phase.name == "counts":
            return self._settled(combined, encoder)
        _, summary = self._agreed(state, encoder)
        moments = {name: combined.sums[name] for name in ("products", "counts")}
        course_sums = {k: v for k, v in combined.sums.items() if k not in moments}
        only = Combined({}, moments, combined.sites, combined.noise)
        return {
            **state,
            **super().fold(phase, {}, only, summary, rng),
            **agreed(course_sums, combined.noise),
        }

    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        course, summary = self._agreed(state, encoder)
        people = super().sample(state, summary, n, rng)
        return Writer(course, summary, state, people, rng).cohort()

    def _settled(self, combined: Combined, encoder: Encoder) -> dict[str, Floats]:
        """Return agreed counts of summaries, who ever has a code, and which codes are shown."""
        course, sums = Course(encoder, self.longest), combined.sums
        patients = float(sums["counts days with a record"].sum())
        ever = np.clip(sums["ever"], 0.0, patients)
        order = np.argsort(-ever, kind="stable")[: self.codes]
        least = max(1.0, 4 * combined.noise)
        shown = np.sort(order[(ever[order] >= least) & (ever[order] <= patients - least)])
        counts = {name: c for name, c in sums.items() if name != "ever"}
        if combined.noise:
            known = {f.name: encoder.counts[f.name] for f in course.summary.features
                     if f.name in encoder.counts}  # fmt: skip
            told = {name.removeprefix("counts "): c for name, c in counts.items()}
            found = settled(course.summary, {**known, **told}, max(patients, 1.0))
            counts = {f"counts {name}": found[name] for name in told}
        return {
            **counts,
            "ever": ever,
            "shown": shown.astype(np.float64),
            "patients": np.array([max(patients, 1.0)]),
        }

    def _agreed(self, state: Message, encoder: Encoder) -> tuple[Course, Encoder]:
        """Return what summaries are, and their encoder."""
        shown = tuple(int(code) for code in state["shown"])
        course, patients = Course(encoder, self.longest, shown), float(state["patients"][0])
        counts = dict(encoder.counts)
        for name, found in state.items():
            if name.startswith("counts "):
                counts[name.removeprefix("counts ")] = found
        for code in shown:
            have = float(state["ever"][code])
            counts[f"code {code}"] = np.array([patients - have, have, 0.0])
        schema = course.summary
        return course, Encoder(schema, {f.name: counts[f.name] for f in schema.features})


def _reach(course: Course) -> float:
    """Return how long the part of a patient's sums is that is about time."""
    p, q = len(course.numbers), len(course.categories)
    return math.sqrt(2 + q + 4 * p + p * (p + 1) + 4 * min(course.codes, _MOST_CODES))
