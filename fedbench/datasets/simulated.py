"""SIMULATED patients, as many as wanted, of whom the truth is known. Nobody is real."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
from annotated_types import Ge, Interval, MinLen
from numpy.typing import NDArray
from scipy.special import expit

from fedbench.data import (
    Cohort,
    Column,
    Dataset,
    DataStore,
    Outcome,
    Role,
    Schema,
    Task,
    Vocabulary,
    Window,
)
from fedbench.datasets._truth import (
    AFTER,
    AGES,
    BEFORE,
    FURTHEST,
    HORIZON,
    Truth,
    ages,
    every_state,
    written,
)
from fedbench.errors import SpecError
from fedbench.seeds import Rng, Seeds

System = Literal["icd10", "icd9", "snomed"]
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class People:
    """Who the patients are, what ails them included; one entry per patient."""

    hospital: Ints
    age: Ints
    state: Ints
    log_hazard: Floats


@dataclass(frozen=True, kw_only=True)
class Simulated(Dataset):
    """Simulated patients, nobody real: latent diseases, irregular visits, labs, codes, an event.

    ``truth`` is what they are drawn from. It depends on every setting but ``patients`` and
    ``seed``: another seed gives other patients of the same truth. Patients of one hospital are
    independent of each other and of the same kind; hospitals have declared numbers of them.
    No follow-up ends before the horizon of the task but with the event.

    Attributes:
        patients: how many, at all hospitals together.
        hospitals: how many; the first is the largest.
        unequal: sizes are in proportion to (number of the hospital) ** -unequal.
        visits: mean number in two years before and two years after the index day, for somebody
            followed throughout.
        labs: how many.
        codes: how many diagnoses there are to record.
        systems: how diagnoses are written; hospitals take them in turn. All codes are invented,
            and the same number means the same diagnosis in every system.
        diseases: latent ones, of which a patient can have several.
        effect: strength of all dependence between columns. At 0 there is none but what the
            number of visits and the end of follow-up bring about.
        shift: how far apart hospitals are in every lab and in age: the root mean square of their
            distances from the middle, in standard deviations.
        label_shift: the same for the log hazard of equal patients.
        outlier: how far all labs of one hospital are moved besides, in standard deviations.
        outlier_hospital: its number.
        missing: share of visits without a given lab, for patients without its disease.
        informative: by how much the disease of a lab raises the log-odds of measuring it.
        event_rate: expected share of all patients with the event within a year.
        world: draws the truth.
        seed: draws the patients.

    Raises:
        SpecError: a hospital would have fewer than two patients, or settings contradict.
    """

    title: ClassVar[str] = "SIMULATED patients, nobody is real"
    licence: ClassVar[str] = "none needed: simulated, no real patients"
    citation: ClassVar[str] = "simulated by fedbench; do not cite as evidence about patients"
    embedded: ClassVar[bool] = True

    patients: Annotated[int, Interval(ge=2, le=100_000_000)] = 2_000
    hospitals: Annotated[int, Interval(ge=1, le=1_000)] = 4
    unequal: Annotated[float, Interval(ge=0, le=5)] = 0.0
    visits: Annotated[float, Interval(gt=0, le=500)] = 10.0
    labs: Annotated[int, Interval(ge=1, le=100)] = 5
    codes: Annotated[int, Interval(ge=1, le=5_000)] = 10
    systems: Annotated[tuple[System, ...], MinLen(1)] = ("icd10",)
    diseases: Annotated[int, Interval(ge=1, le=6)] = 4
    effect: Annotated[float, Interval(ge=0, le=3)] = 1.0
    shift: Annotated[float, Interval(ge=0, le=2)] = 0.0
    label_shift: Annotated[float, Interval(ge=0, le=2)] = 0.0
    outlier: Annotated[float, Interval(ge=0, le=4)] = 0.0
    outlier_hospital: Annotated[int, Interval(ge=1, le=1_000)] = 1
    missing: Annotated[float, Interval(ge=0, le=0.95)] = 0.3
    informative: Annotated[float, Interval(ge=0, le=5)] = 0.5
    event_rate: Annotated[float, Interval(ge=0.001, le=0.9)] = 0.2
    world: Annotated[int, Ge(0)] = 0
    seed: Annotated[int, Ge(0)] = 0

    def __post_init__(self) -> None:
        if len(set(self.systems)) < len(self.systems):
            raise SpecError(f"'systems' names one twice: {', '.join(self.systems)}.")
        if self.outlier_hospital > self.hospitals:
            raise SpecError(
                f"'outlier_hospital' is {self.outlier_hospital}, and there are {self.hospitals}."
            )
        if self.sizes.min() < 2:
            raise SpecError(
                f"{self.patients} patients at {self.hospitals} hospitals leave one with "
                f"{self.sizes.min()}; expected at least 2. Ask for more patients or less unequal."
            )

    @property
    def shares(self) -> Floats:
        """The share of patients that each hospital has."""
        weights = np.arange(1.0, self.hospitals + 1) ** -self.unequal
        return np.asarray(weights / weights.sum())

    @property
    def sizes(self) -> Ints:
        """How many patients each hospital has."""
        ends = np.round(self.patients * self.shares.cumsum())
        return np.diff(ends, prepend=0.0).astype(np.intp)

    @property
    def schema(self) -> Schema:
        low, high = (float(written(np.array(end))) for end in (-FURTHEST, FURTHEST))
        names = _numbered("simulated-", self.hospitals)
        meanings = _numbered("simulated diagnosis ", self.codes)
        personal: frozenset[Role] = frozenset(["quasi-identifier"])
        return Schema(
            name="simulated",
            clock="days since the index day of a simulated patient",
            static={
                "hospital": Column(
                    kind="category", label="simulated hospital", levels=names,
                    roles=frozenset(["site"]),
                ),
                "age": Column(
                    kind="integer", label="simulated age", unit="years", roles=personal,
                    low=float(AGES[0]), high=float(AGES[-1]),
                ),
                "sex": Column(
                    kind="category", label="simulated sex", levels=("female", "male"),
                    roles=personal,
                ),
                "smoker": Column(
                    kind="category", label="smokes (simulated)", levels=("no", "yes"),
                    roles=frozenset(["sensitive"]),
                ),
            },
            visits={
                name: Column(kind="number", label=f"simulated {name}", low=low, high=high, log=True)
                for name in _numbered("lab", self.labs)
            },
            vocabularies={
                f"simulated-{system}": Vocabulary(
                    codes=dict(zip(self.names(system), meanings, strict=True)),
                    sensitive=frozenset(self.names(system)[:1]),
                )
                for system in self.systems
            },
            windows=(
                Window(name="before", start=-BEFORE, end=0),
                Window(name="after", start=0, end=AFTER),
            ),
            outcome=Outcome(label="simulated event", low=0, high=AFTER),
            tasks={
                "event": Task(
                    kind="classification", label="simulated event within a year", index=0,
                    horizon=HORIZON,
                ),
                "survival": Task(kind="survival", label="time to the simulated event", index=0),
            },
        )  # fmt: skip

    def names(self, system: System) -> tuple[str, ...]:
        """Return the invented codes of a system, in the order of ``truth.prevalence``."""
        return _numbered(f"sim-{system}-", self.codes)

    @cached_property
    def truth(self) -> Truth:
        """What patients are drawn from."""
        diseases, labs, codes = self.diseases, self.labs, self.codes
        states = every_state(diseases)
        shifts = _spread(self._draws("shift").standard_normal((self.hospitals, labs + 1)))
        away = np.zeros((self.hospitals, labs))
        away[self.outlier_hospital - 1] = self._draws("outlier").choice([-1.0, 1.0], labs)
        sicker = _spread(self._draws("label shift").standard_normal((self.hospitals, 1)))
        mixing = self._draws("personal").standard_normal((labs, 2))
        personal = np.eye(labs) + self.effect * mixing @ mixing.T
        unit = np.sqrt(np.diag(personal))
        # Every code and every lab belongs to one disease, and feels the others a little.
        owner = np.arange(codes) % diseases == np.arange(diseases)[:, None]
        felt = np.where(owner, 2.0, self._draws("codes").normal(0, 0.5, (diseases, codes)))
        usual = 0.05 / np.sqrt(1 + np.arange(codes))
        with np.errstate(divide="ignore"):
            measured = np.log((1 - self.missing) / np.float64(self.missing))
        return Truth(
            shares=self.shares,
            age_shift=self.shift * shifts[:, 0],
            lab_shift=self.shift * shifts[:, 1:] + self.outlier * away,
            log_rate=self.label_shift * sicker[:, 0],
            disease_logit=self._draws("diseases").uniform(-2, -0.5, diseases),
            disease_age=0.5 * self.effect,
            loadings=self.effect * self._draws("loadings").normal(0, 0.8, (diseases, labs)),
            personal=personal / np.outer(unit, unit),
            persistence=self.effect / (1 + self.effect),
            lab_logit=measured + self.informative * states[:, np.arange(labs) % diseases],
            code_logit=np.log(usual / (1 - usual)) + self.effect * states @ felt,
            smoker_logit=-1.0 + 1.5 * self.effect * states[:, 0],
            hazard_ratios=self.effect * self._draws("hazards").uniform(0.5, 1.5, diseases),
            hazard_age=0.5 * self.effect,
            rate=self.event_rate,
            daily=-np.expm1(-self.visits / (BEFORE + AFTER)),
        )

    @cached_property
    def people(self) -> People:
        """Who the patients are, latent states included, in the order of the cohort."""
        truth, rng = self.truth, self._drawn("people")
        hospital = rng.permutation(np.repeat(np.arange(self.hospitals), self.sizes))
        age = ages(truth.age_shift[hospital] + rng.standard_normal(self.patients))
        shares = np.exp(truth.state_given_age(AGES)).cumsum(axis=1)
        shares[:, -1] = 1.0
        # One search for all: the cumulative shares of every age, end to end.
        ends = (AGES[:, None] + shares).ravel()
        state = np.searchsorted(ends, age + rng.random(len(age)), side="right") % shares.shape[1]
        return People(hospital, age, state, truth.log_hazards[hospital, age, state])

    def load(self, store: DataStore) -> Cohort:
        people = self.people
        patient = np.array(_numbered(f"sim{self.seed}-", self.patients), dtype=object)
        hospital = np.array(self.schema.static["hospital"].levels, dtype=object)[people.hospital]
        rng, smokes = self._drawn("static"), expit(self.truth.smoker_logit)[people.state]
        static = {
            "patient": patient,
            "hospital": hospital,
            "age": people.age.astype(np.float64),
            "sex": np.where(rng.random(self.patients) < 0.5, "female", "male"),
            "smoker": np.where(rng.random(self.patients) < smokes, "yes", "no"),
        }
        time, event = self._ends(people)
        owner, day = self._seen(time)
        return Cohort.of_tables(
            self.schema,
            pd.DataFrame(static),
            pd.DataFrame({"patient": patient[owner], "day": day, **self._measured(people, owner)}),
            self._recorded(people, patient, owner, day),
            pd.DataFrame({"patient": patient, "time": time, "event": event}),
        )

    def _ends(self, people: People) -> tuple[Floats, Ints]:
        """Return the last day of follow-up, and whether it is that of the event."""
        rng = self._drawn("ends")
        happens = np.ceil(rng.exponential(np.exp(-people.log_hazard)))
        lost = rng.integers(HORIZON, AFTER + 1, self.patients)
        return np.minimum(happens, lost), (happens <= lost).astype(np.intp)

    def _seen(self, time: Floats) -> tuple[Ints, Floats]:
        """Return whose visit and on which day, sorted; at most one a day."""
        rng, span = self._drawn("visits"), BEFORE + AFTER
        count = rng.poisson(self.visits, self.patients)
        slot = np.repeat(np.arange(self.patients) * span, count)
        slot += rng.integers(0, span, len(slot))
        slot.sort()
        owner, day = np.divmod(slot[np.diff(slot, prepend=-1) > 0], span)
        day += 1 - BEFORE
        known = day <= time[owner]
        return owner[known], day[known].astype(np.float64)

    def _measured(self, people: People, owner: Ints) -> dict[str, Floats]:
        """Return every lab at every visit, NaN where it was not measured."""
        truth = self.truth
        own = self._drawn("personal").standard_normal((self.patients, self.labs))
        level = np.sqrt(truth.persistence) * own @ np.linalg.cholesky(truth.personal).T
        level += truth.lab_shift[people.hospital] + (truth.states @ truth.loadings)[people.state]
        state, chance, found = people.state[owner], expit(truth.lab_logit), {}
        for j, name in enumerate(self.schema.visits):
            rng = self._drawn(name)
            noise = np.sqrt(1 - truth.persistence) * rng.standard_normal(len(owner))
            lab = written(level[owner, j] + noise)
            lab[rng.random(len(owner), dtype=np.float32) >= chance[state, j]] = np.nan
            found[name] = lab
        return found

    def _recorded(
        self, people: People, patient: NDArray[np.object_], owner: Ints, day: Floats
    ) -> pd.DataFrame:
        """Return one row per code that was recorded at a visit, each in its hospital's system."""
        rng, state = self._drawn("codes"), people.state[owner]
        chance = expit(self.truth.code_logit)
        rows = [
            np.flatnonzero(rng.random(len(owner), dtype=np.float32) < chance[state, j])
            for j in range(self.codes)
        ]
        code = np.repeat(np.arange(self.codes), [len(found) for found in rows])
        row = np.concatenate(rows)
        order = np.argsort(row, kind="stable")
        row, code = row[order], code[order]
        who = owner[row]
        system = people.hospital[who] % len(self.systems)
        names = np.array([f"simulated-{name}" for name in self.systems], dtype=object)
        words = np.array([self.names(name) for name in self.systems], dtype=object)
        return pd.DataFrame(
            {
                "patient": patient[who],
                "day": day[row],
                "system": names[system],
                "code": words[system, code],
            }
        )

    def _draws(self, what: str) -> Rng:
        """Return a stream that belongs to the truth."""
        return Seeds(self.world).child("simulated", "truth", what).rng()

    def _drawn(self, what: str) -> Rng:
        """Return a stream that belongs to the patients."""
        return Seeds(self.seed).child("simulated", "patients", what).rng()


def _numbered(stem: str, count: int) -> tuple[str, ...]:
    width = len(str(count))
    return tuple(f"{stem}{number:0{width}d}" for number in range(1, count + 1))


def _spread(drawn: Floats) -> Floats:
    """Return columns of mean 0 and root mean square 1; a single row is 0."""
    apart = drawn - drawn.mean(axis=0)
    size = np.sqrt((apart**2).mean(axis=0))
    return np.asarray(np.divide(apart, size, out=np.zeros_like(apart), where=size > 1e-9))
