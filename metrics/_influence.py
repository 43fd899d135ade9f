"""How the weights of a linear model would move if patients counted more or less."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fedbench.data import Task
from fedbench.task import Problem

__all__ = ["moved"]

Floats = NDArray[np.float64]


def moved(  # noqa: PLR0913  (a model, and whom it was learnt from)
    prepared: Floats,
    problem: Problem,
    *,
    task: Task,
    weights: Floats,
    intercept: float,
    penalty: float,
    draws: NDArray[np.uint8],
) -> Floats:
    """Return the weights of the model in every draw, one Newton step from the optimum.

    The infinitesimal jackknife (Efron 1982, https://doi.org/10.1137/1.9781611970319): the same to
    first order as learning again, in one product. Tied times are taken as in Breslow's likelihood.

    Args:
        prepared: (n, p), what the model was fed.
        problem: what happened to these patients.
        task: of which kind the model is.
        weights: (p,), at the optimum of mean log-likelihood - penalty / 2 * squared weights.
        intercept: of the model; 0 for survival.
        penalty: as in ``weights``.
        draws: (R, n), how often each patient counts.

    Returns:
        (R, p).
    """
    free = task.kind != "survival"
    design = np.column_stack([np.ones(len(prepared)), prepared]) if free else prepared
    scores = intercept + prepared @ weights
    if task.kind == "survival":
        gradient, curvature = _cox(design, scores, problem)
    elif task.kind == "classification":
        chances = expit(scores)
        gradient = design * (problem.event - chances)[:, None]
        curvature = (design * (chances * (1 - chances))[:, None]).T @ design
    else:
        gradient = design * (problem.value - scores)[:, None]
        curvature = design.T @ design
    held = np.full(design.shape[1], penalty)
    held[: int(free)] = 0.0
    counts = draws / draws.sum(axis=1, keepdims=True, dtype=np.float64)
    pull = counts @ gradient - held * np.append(np.zeros(int(free)), weights)
    step = np.linalg.solve(curvature / len(design) + np.diag(held), pull.T).T
    return np.asarray(weights + step[:, int(free) :])


def _cox(design: Floats, scores: Floats, problem: Problem) -> tuple[Floats, Floats]:
    """Return the score residual of every patient, (n, p), and the information, (p, p)."""
    order = np.argsort(-problem.time, kind="stable")
    time, event, x = problem.time[order], problem.event[order], design[order]
    hazard = np.exp(scores[order] - scores.max())
    # At risk at a time are those with this time or a later one: the last of equal times knows all.
    last = np.searchsorted(-time, -time, side="right") - 1
    risk = hazard.cumsum()[last]
    mean = (hazard[:, None] * x).cumsum(axis=0)[last] / risk[:, None]
    # What has passed at a time are the events at this time or before.
    first = np.searchsorted(-time, -time, side="left")
    passed = np.where(event, 1 / risk, 0.0)
    total = passed[::-1].cumsum()[::-1][first]
    drawn = (passed[:, None] * mean)[::-1].cumsum(axis=0)[::-1][first]
    residual = event[:, None] * (x - mean) - hazard[:, None] * (total[:, None] * x - drawn)
    information = (x * (hazard * total)[:, None]).T @ x - mean[event].T @ mean[event]
    found = np.empty_like(residual)
    found[order] = residual
    return found, information
