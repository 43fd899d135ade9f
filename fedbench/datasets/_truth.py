"""What is true of simulated patients: sums over everything hidden, no estimates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit, ndtr, softmax, xlog1py

from fedbench.data import Cohort
from fedbench.seeds import Rng
from fedbench.summary import last_values

__all__ = [
    "AFTER",
    "AGES",
    "BEFORE",
    "FURTHEST",
    "HORIZON",
    "Truth",
    "ages",
    "every_state",
    "latent",
    "written",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

BEFORE, HORIZON, AFTER = 730, 365, 730
"""Days on record before the index day, to the task's horizon, and to the last end of follow-up."""

CENTRE, SPREAD, FURTHEST = 10.0, 0.25, 8.0
"""A lab x standard deviations from the middle is written CENTRE exp(SPREAD x), |x| <= FURTHEST."""

AGES, MIDDLE_AGE, AGE_SPREAD = np.arange(121), 60.0, 12.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """The parameters that patients were drawn from, and what follows from them.

    A patient has some of D latent diseases: one of S = 2^D ``states``. Given state and hospital,
    labs are normal on the latent scale (standard deviation 1), codes and gaps are coins tossed at
    every visit, and the event comes at a constant hazard. L labs, C codes, H hospitals.

    What is said of labs, gaps and codes holds on or before the index day. Later the sick are fewer,
    because visits end with the event.

    Attributes:
        shares: patients per hospital, as shares; shape (H,).
        age_shift: how much older a hospital's patients are, in standard deviations; shape (H,).
        lab_shift: how much higher a hospital's labs are, in standard deviations; shape (H, L).
        log_rate: a hospital's log hazard ratio for equal patients; shape (H,).
        disease_logit: log-odds of each disease at 60 years; shape (D,).
        disease_age: change of these log-odds over twelve years of age.
        loadings: what each disease adds to each lab; shape (D, L).
        personal: correlation of labs that a patient keeps from visit to visit; shape (L, L).
        persistence: share of a lab's variance (given hospital and state) that a patient keeps.
        lab_logit: log-odds that a lab is measured at a visit, by state; shape (S, L).
        code_logit: log-odds that a code is recorded at a visit, by state; shape (S, C).
        smoker_logit: log-odds of smoking, by state; shape (S,).
        hazard_ratios: log hazard ratio of each disease; shape (D,).
        hazard_age: log hazard ratio of twelve years of age.
        rate: expected share of all patients with the event before the horizon.
        daily: chance of a visit on any day on record.
    """

    shares: Floats
    age_shift: Floats
    lab_shift: Floats
    log_rate: Floats
    disease_logit: Floats
    disease_age: float
    loadings: Floats
    personal: Floats
    persistence: float
    lab_logit: Floats
    code_logit: Floats
    smoker_logit: Floats
    hazard_ratios: Floats
    hazard_age: float
    rate: float
    daily: float

    @property
    def states(self) -> Floats:
        """Which diseases each state has; shape (S, D)."""
        return every_state(len(self.disease_logit))

    @property
    def within(self) -> Floats:
        """Correlation of labs given hospital and state, also between visits; shape (L, L)."""
        own = np.eye(len(self.personal))
        return self.persistence * self.personal + (1 - self.persistence) * own

    @cached_property
    def cells(self) -> Floats:
        """Share of each age and state among a hospital's patients; shape (H, ages, S)."""
        cuts = (AGES[:-1] + 0.5 - MIDDLE_AGE) / AGE_SPREAD
        below = ndtr(cuts - self.age_shift[:, None])
        age = np.diff(below, axis=1, prepend=0.0, append=1.0)
        return np.asarray(age[:, :, None] * np.exp(self.state_given_age(AGES)))

    @cached_property
    def state(self) -> Floats:
        """Share of each state at each hospital; shape (H, S)."""
        return np.asarray(self.cells.sum(axis=1))

    @property
    def lab_mean(self) -> Floats:
        """Mean of each lab at each hospital, had everybody been measured; shape (H, L)."""
        return self.lab_shift + self.state @ (self.states @ self.loadings)

    @property
    def measured_mean(self) -> Floats:
        """Mean of each lab over those values that are measured; shape (H, L)."""
        seen = self.state[:, :, None] * expit(self.lab_logit)
        levels = self.lab_shift[:, None, :] + self.states @ self.loadings
        return np.asarray((seen * levels).sum(axis=1) / seen.sum(axis=1))

    @property
    def lab_covariance(self) -> Floats:
        """Covariance of labs at each hospital, had everybody been measured; (H, L, L)."""
        level = self.states @ self.loadings
        apart = level - (self.state @ level)[:, None, :]
        between = np.einsum("hs,hsl,hsm->hlm", self.state, apart, apart)
        return np.asarray(self.within + between)

    @property
    def lab_correlation(self) -> Floats:
        """Correlation of labs at each hospital, had everybody been measured; (H, L, L)."""
        spread = np.sqrt(np.diagonal(self.lab_covariance, axis1=1, axis2=2))
        return np.asarray(self.lab_covariance / spread[:, :, None] / spread[:, None, :])

    @property
    def missing(self) -> Floats:
        """Share of visits without each lab at each hospital; shape (H, L)."""
        return np.asarray(self.state @ expit(-self.lab_logit))

    @property
    def prevalence(self) -> Floats:
        """Share of patients with each code on or before the index day; shape (H, C)."""
        return np.asarray(1 - self.state @ (1 - self.daily * expit(self.code_logit)) ** BEFORE)

    @property
    def event_rate(self) -> Floats:
        """Share of patients with the event before the horizon, at each hospital; shape (H,)."""
        return np.asarray((self.cells * _by_horizon(self.log_hazards)).sum(axis=(1, 2)))

    @cached_property
    def log_hazards(self) -> Floats:
        """Log hazard a day of each age and state at each hospital; shape (H, ages, S)."""
        from scipy.optimize import brentq  # noqa: PLC0415  (slow to import)

        relative = self.log_rate[:, None, None] + self._log_ratios(AGES)
        weights = self.shares[:, None, None] * self.cells

        def excess(level: float) -> float:
            return float((weights * _by_horizon(relative + level)).sum() - self.rate)

        return np.asarray(relative + brentq(excess, -50, 50, xtol=1e-12))

    @property
    def best_auroc(self) -> float:
        """AUROC, over all hospitals, of who has the event before the horizon, by true hazard.

        A model that sees records alone stays below it: their best is the AUROC of ``risk``.
        """
        weights = (self.shares[:, None, None] * self.cells).ravel()
        risk = _by_horizon(self.log_hazards).ravel()
        _, place = np.unique(risk.round(12), return_inverse=True)
        ill = np.bincount(place, weights * risk)
        well = np.bincount(place, weights * (1 - risk))
        # Cells of equal risk, as equal hospitals have, count half.
        return float(ill @ (well.cumsum() - well / 2) / ill.sum() / well.sum())

    def best_concordance(self, rng: Rng, pairs: int = 200_000) -> float:
        """Return Harrell's C of the true hazard, over all hospitals, from simulated pairs."""
        weights = (self.shares[:, None, None] * self.cells).ravel()
        drawn = rng.choice(len(weights), size=(2, pairs), p=weights / weights.sum())
        rates = np.exp(self.log_hazards.ravel()[drawn])
        ends = rng.integers(HORIZON, AFTER + 1, (2, pairs)).min(axis=0)
        usable = -np.expm1(-rates.sum(axis=0) * ends)  # the first event comes before either end
        return float((usable * rates.max(axis=0) / rates.sum(axis=0)).sum() / usable.sum())

    def state_given_age(self, age: Floats | Ints) -> Floats:
        """Return the log-share of each state among people of these ages; shape (n, S)."""
        odds = self.disease_logit + self.disease_age * _standard(age)[:, None]
        return np.asarray(log_expit(odds) @ self.states.T + log_expit(-odds) @ (1 - self.states.T))

    def risk(self, cohort: Cohort) -> Floats:
        """Return each patient's chance of the event before the horizon, as far as it can be known.

        This is the Bayes-optimal prediction from hospital and the predictors of the task (static
        facts, last values and codes up to the index day): no model does better but by chance.
        """
        age = cohort.static["age"].to_numpy().astype(np.intp)
        smokes = (cohort.static["smoker"] == "yes").to_numpy()[:, None]
        names = cohort.schema.static["hospital"].levels
        hospital = np.array([names.index(name) for name in cohort.static["hospital"]])
        chances = self.state_given_age(age)
        chances += np.where(smokes, log_expit(self.smoker_logit), log_expit(-self.smoker_logit))
        labs = self._last(cohort) - self.lab_shift[hospital]
        chances += self._density(labs)
        chances += self._seen(np.hstack([~np.isnan(labs), self._coded(cohort)]))
        posterior = softmax(chances, axis=1)
        return np.asarray((posterior * _by_horizon(self.log_hazards[hospital, age])).sum(axis=1))

    def _log_ratios(self, age: Ints) -> Floats:
        return self.hazard_age * _standard(age)[:, None] + self.states @ self.hazard_ratios

    def _last(self, cohort: Cohort) -> Floats:
        last = last_values(cohort.visits, -np.inf, 0).reindex(cohort.patients)
        return latent(last[list(cohort.schema.visits)].to_numpy())

    def _coded(self, cohort: Cohort) -> NDArray[np.bool_]:
        known = cohort.codes[cohort.codes["day"] <= 0]
        number = {
            code: j
            for words in cohort.schema.vocabularies.values()
            for j, code in enumerate(words.codes)
        }
        found = np.zeros((len(cohort), self.code_logit.shape[1]), dtype=bool)
        rows = np.searchsorted(cohort.patients.astype(str), known["patient"].to_numpy(dtype=str))
        found[rows, known["code"].map(number).to_numpy(dtype=int)] = True
        return found

    def _density(self, labs: Floats) -> Floats:
        """Log-density of the labs that there are, by state, up to a term without the state."""
        level, found = self.states @ self.loadings, np.zeros((len(labs), len(self.states)))
        patterns, which = np.unique(~np.isnan(labs), axis=0, return_inverse=True)
        for number, seen in enumerate(patterns):
            mine, precision = which == number, np.linalg.inv(self.within[np.ix_(seen, seen)])
            apart = labs[mine][:, None, seen] - level[:, seen]
            found[mine] = -0.5 * np.einsum("nsl,lm,nsm->ns", apart, precision, apart)
        return found

    def _seen(self, ever: NDArray[np.bool_]) -> Floats:
        """Log-chance of which labs and codes were ever seen, by state, over all visit counts."""
        from scipy.stats import binom  # noqa: PLC0415  (slow to import)

        once = np.clip(expit(np.hstack([self.lab_logit, self.code_logit])), 1e-12, 1 - 1e-12)
        found = np.full((len(ever), len(self.states)), -np.inf)
        law = binom(BEFORE, self.daily)
        for visits in range(int(law.ppf(1 - 1e-9)) + 1):
            never = np.minimum(xlog1py(visits, -once), -1e-12)
            given = ever @ np.log(-np.expm1(never)).T + ~ever @ never.T
            found = np.logaddexp(found, law.logpmf(visits) + given)
        return found


def every_state(diseases: int) -> Floats:
    """Return all combinations of diseases as 0 and 1; shape (2^D, D)."""
    return (np.arange(2**diseases)[:, None] >> np.arange(diseases) & 1).astype(np.float64)


def written(lab: Floats) -> Floats:
    """Return latent labs as they stand in the records.

    Rounded, so that the last digit does not depend on the machine.
    """
    return np.round(CENTRE * np.exp(SPREAD * np.clip(lab, -FURTHEST, FURTHEST)), 3)


def latent(values: Floats) -> Floats:
    """Return labs from the records on the latent scale."""
    return np.asarray(np.log(values / CENTRE) / SPREAD)


def ages(standard: Floats) -> Ints:
    """Return ages in years of people who are so many standard deviations from the middle."""
    return np.clip(np.rint(MIDDLE_AGE + AGE_SPREAD * standard), AGES[0], AGES[-1]).astype(np.intp)


def _standard(age: Floats | Ints) -> Floats:
    return (np.asarray(age, dtype=np.float64) - MIDDLE_AGE) / AGE_SPREAD


def _by_horizon(log_hazard: Floats) -> Floats:
    return np.asarray(-np.expm1(-HORIZON * np.exp(log_hazard)))
