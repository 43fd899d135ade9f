from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Task
from fedbench.metrics._models import Floats, Model, Unfit, learn
from fedbench.task import Problem

SURVIVAL = Task(kind="survival", label="death", index=0)


def long_tailed(seed: int, tail: float, n: int, deaths: float, power: float) -> Problem:
    """Four laboratory values, the first of which foretells death."""
    rng = np.random.default_rng(seed)
    values = np.exp(tail * rng.normal(size=(n, 4)))
    time = rng.exponential(values[:, 0] ** -power)
    patients = np.arange(n).astype(str).astype(object)
    predictors = pd.DataFrame(values, index=pd.Index(patients, name="patient"))
    return Problem(patients, predictors, time, rng.random(n) < deaths, np.full(n, np.nan))


def slope(problem: Problem, model: Model, penalty: float) -> Floats:
    """Gradient of what is maximized, per patient: 0 at the optimum (no two times are equal)."""
    prepared, order = model.preparation(problem.predictors), np.argsort(-problem.time)
    columns, died = prepared[order], problem.event[order, None]
    hazard = np.exp(columns @ model.weights)[:, None]
    expected = np.cumsum(hazard * columns, axis=0) / np.cumsum(hazard, axis=0)
    return np.asarray(((columns - expected) * died).mean(axis=0) - penalty * model.weights)


@pytest.mark.parametrize("seed", [2, 22])
def test_cox_weights_are_at_the_optimum_where_full_steps_circle_around_it(seed: int) -> None:
    problem = long_tailed(seed, 2.5, 200, deaths=0.5, power=1)
    model = learn(problem, SURVIVAL, 0.01)
    assert isinstance(model, Model)
    assert slope(problem, model, 0.01) == pytest.approx(np.zeros(4), abs=2e-4)


def test_a_cox_regression_that_never_converges_is_refused() -> None:
    problem = long_tailed(1, 4, 100, deaths=0.9, power=2)
    found = learn(problem, SURVIVAL, 1e-8)
    assert isinstance(found, Unfit)
    assert found.reason.startswith("the Cox regression did not converge, however small the steps")


def test_what_teaches_nothing_does_not_rank_by_rounding() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.integers(0, 11, (250, 2)).astype(float), 2, axis=0)
    patients = np.arange(500).astype(str).astype(object)
    predictors = pd.DataFrame(values, index=pd.Index(patients, name="patient"))
    ill = np.tile([True, False], 250)  # of two who are alike, one
    nothing = np.full(500, np.nan)
    known = Problem(patients, predictors, nothing, ill, nothing)
    found = learn(known, Task(kind="classification", label="ill", index=0, column="ill"), 0.01)
    assert isinstance(found, Unfit)
    assert "degenerate" in found.reason
    number = Problem(patients, predictors, nothing, ill, np.where(ill, 1e6, 0.0))
    found = learn(number, Task(kind="regression", label="cost", index=0, column="cost"), 0.01)
    assert isinstance(found, Unfit)
