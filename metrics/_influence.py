"""How the weights of a linear model would move if patients counted more or less."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fedbench.data import Task
from fedbench.task import Problem

__all__ = ["moved"]

MOST = 0.9
"""Leverage beyond which it is not believed."""

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

    The infinitesimal jackknife (Efron 1982, https://doi.org/10.1137/1.9781611970319): close to
    learning again, in one product. Residuals are divided by 1 minus the leverage, as a jackknife
    that leaves patients out would (MacKinnon and White 1985,
    https://doi.org/10.1016/0304-4076(85)90158-7); without, models of many predictors are taken for
    a fifth less uncertain than they are. Tied times are taken as in Breslow's likelihood.

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
        gradient, curvature, much = _cox(design, scores, problem)
    else:
        chances = expit(scores)
        binary = task.kind == "classification"
        much = chances * (1 - chances) if binary else np.ones(len(design))
        found = chances if binary else scores
        gradient = design * ((problem.event if binary else problem.value) - found)[:, None]
        curvature = (design * much[:, None]).T @ design
    held = np.full(design.shape[1], penalty)
    held[: int(free)] = 0.0
    inverse = np.linalg.inv(curvature / len(design) + np.diag(held))
    # Who pulls the model to herself leaves a residual that is too small.
    apart = design if free else design - np.average(design, axis=0, weights=much)
    leverage = much * ((apart @ inverse) * apart).sum(axis=1) / len(design)
    gradient /= (1 - np.minimum(leverage, MOST))[:, None]
    counts = draws / draws.sum(axis=1, keepdims=True, dtype=np.float64)
    step = (counts - 1 / len(design)) @ gradient @ inverse
    return np.asarray(weights + step[:, int(free) :])


def _cox(design: Floats, scores: Floats, problem: Problem) -> tuple[Floats, Floats, Floats]:
    """Return every patient's score residual, (n, p), the information, (p, p), and share, (n,)."""
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
    found, share = np.empty_like(residual), np.empty(len(residual))
    found[order], share[order] = residual, hazard * total
    return found, information, share
