"""Linear models of a task: learnt on one set of patients, scored on another."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.data import Task
from fedbench.metrics._values import fences
from fedbench.nouns import plural
from fedbench.task import Problem

__all__ = ["Model", "Unfit", "learn"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_ROUNDING = 1e-9  # weights of standardized predictors below this are how sums round
_STEPS = (0.95, 0.5, 0.25, 0.1)  # shares of a Newton step; lifelines starts with the first


@dataclass(frozen=True)
class Unfit:
    """Why there is no model."""

    reason: str


@dataclass(frozen=True)
class Model:
    """A linear predictor: log-odds of the event, log-hazard up to a constant, or the number."""

    preparation: Preparation
    weights: Floats
    intercept: float

    def scores(self, predictors: pd.DataFrame) -> Floats:
        """Return one score per patient; higher means the event, an earlier one, or more."""
        return self.intercept + self.preparation(predictors) @ self.weights


@dataclass(frozen=True)
class Preparation:
    """Median-imputed, standardized predictors and their gaps, all fixed by who was learnt from.

    What does not vary there is left out, and a gap tells something only where the learner saw
    both gaps and values. Values further out than ``FAR`` times what the middle nine tenths span
    count as that far out: else one slip of a decimal point would be all that a column says.
    """

    columns: pd.Index
    low: Floats
    high: Floats
    median: Floats
    gappy: Bools
    middle: Floats
    spread: Floats
    varies: Bools

    @classmethod
    def of(cls, predictors: pd.DataFrame) -> Preparation:
        """Learn from these patients how predictors are prepared."""
        values = predictors.to_numpy(dtype=float)
        low, high = fences(values)
        values = values.clip(low, high)
        missing = np.isnan(values)
        there = ~missing.all(axis=0)
        median = np.zeros(values.shape[1])
        median[there] = np.nanmedian(values[:, there], axis=0)
        gappy = missing.any(axis=0) & there
        wide = _widened(values, median, gappy)
        spread = wide.std(axis=0)
        # The spread of a constant such as .1 is not quite 0.
        varies = spread > 1e-9 * (1 + np.abs(wide).max(axis=0, initial=0))
        return cls(predictors.columns, low, high, median, gappy, wide.mean(axis=0), spread, varies)

    def __call__(self, predictors: pd.DataFrame) -> Floats:
        """Return what a model is fed, ``(n, varying columns)``."""
        values = predictors.reindex(columns=self.columns).to_numpy(dtype=float)
        wide = _widened(values.clip(self.low, self.high), self.median, self.gappy)[:, self.varies]
        return (wide - self.middle[self.varies]) / self.spread[self.varies]


def learn(problem: Problem, task: Task, penalty: float) -> Model | Unfit:
    """Fit a ridge-penalized logistic, Cox or linear regression.

    ``penalty`` is lambda in: mean log-likelihood - lambda / 2 * squared weights of standardized
    predictors; the same for all kinds, the target being standardized for the linear one.
    """
    if reason := _unlearnable(problem, task):
        return Unfit(reason)
    preparation = Preparation.of(problem.predictors)
    if not preparation.varies.any():
        return Unfit("no predictor varies among the patients to learn from")
    prepared = preparation(problem.predictors)
    found = FITS[task.kind](prepared, problem, penalty)
    if isinstance(found, Unfit):
        return found
    weights, intercept = found
    unit = problem.value.std() if task.kind == "regression" else 1.0
    if not np.isfinite(weights).all() or np.abs(weights).max() < _ROUNDING * unit:
        return Unfit(f"the {task.kind} model fitted to these patients is degenerate")
    return Model(preparation, weights, intercept)


def _unlearnable(problem: Problem, task: Task) -> str:
    if task.kind == "regression":
        alike = len(np.unique(problem.value)) < 2
        return (
            f"fewer than two values among the {plural(len(problem), 'patient')} to learn from"
            * alike
        )
    events, others = int(problem.event.sum()), int((~problem.event).sum())
    if events == 0:
        return f"no event among the {plural(others, 'patient')} to learn from"
    if others == 0 and task.kind == "classification":
        return f"nobody without an event among the {plural(events, 'patient')} to learn from"
    return ""


def _widened(values: Floats, median: Floats, gappy: Bools) -> Floats:
    missing = np.isnan(values)
    return np.concatenate([np.where(missing, median, values), missing[:, gappy]], axis=1)


def _logistic(prepared: Floats, problem: Problem, penalty: float) -> tuple[Floats, float] | Unfit:
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    model = LogisticRegression(
        C=1 / (penalty * len(prepared)), solver="newton-cholesky", tol=1e-8, max_iter=1000
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(prepared, problem.event)
        except ConvergenceWarning:
            return Unfit("the logistic regression did not converge")
    return np.asarray(model.coef_[0], dtype=np.float64), float(model.intercept_[0])


def _cox(prepared: Floats, problem: Problem, penalty: float) -> tuple[Floats, float] | Unfit:
    """Try full Newton steps, which may circle around the optimum, then smaller ones."""
    frame = pd.DataFrame(prepared).assign(time=problem.time, event=problem.event)
    found = None
    for step in _STEPS:
        found = _newton(frame, penalty, step)
        if not isinstance(found, str):
            return found, 0.0
    return Unfit(f"the Cox regression did not converge, however small the steps: {found}")


def _newton(frame: pd.DataFrame, penalty: float, step: float) -> Floats | str:
    """Return the weights at the optimum, or why it was not reached."""
    from lifelines import CoxPHFitter  # noqa: PLC0415
    from lifelines.exceptions import ConvergenceError, ConvergenceWarning  # noqa: PLC0415

    model = CoxPHFitter(penalizer=penalty)
    # Without r_precision = 0 tiny steps, which hardly change the likelihood, pass for success.
    options = {"step_size": step, "max_steps": 100, "r_precision": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of, rare levels, the penalty takes care of
        warnings.filterwarnings("error", r"\s*Newton-Raphson", ConvergenceWarning)
        try:
            model.fit(frame, "time", "event", fit_options=options)
        except (ConvergenceError, ConvergenceWarning, ValueError) as error:  # also LinAlgError
            return str(error).strip().splitlines()[0].partition(" Please see")[0]
    return np.asarray(model.params_, dtype=np.float64)


def _linear(prepared: Floats, problem: Problem, penalty: float) -> tuple[Floats, float] | Unfit:
    from sklearn.linear_model import Ridge  # noqa: PLC0415

    middle, spread = problem.value.mean(), problem.value.std()
    model = Ridge(alpha=penalty * len(prepared))
    model.fit(prepared, (problem.value - middle) / spread)
    return spread * np.asarray(model.coef_, dtype=np.float64), float(
        middle + spread * model.intercept_
    )


FITS = {"classification": _logistic, "survival": _cox, "regression": _linear}
