"""Several kinds of models of one task, all learnt from the same patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.data import Task
from fedbench.metrics._models import Preparation, Unfit, learn
from fedbench.task import Problem

__all__ = ["Score", "martingale_residuals", "taught"]

Floats = NDArray[np.float64]

Score = Callable[[pd.DataFrame], Floats]
"""One score per patient; higher means the event, an earlier one, or more."""

NEIGHBOURS = 25
LEAF = 10


def taught(problem: Problem, task: Task, penalty: float, seed: int) -> Mapping[str, Score] | Unfit:
    """Return one model of each kind, by its name: always the same names for a kind of task.

    ``linear`` is the ridge regression that ``utility`` learns; ``neighbours``, ``tree``,
    ``forest`` and ``boosting`` are scikit-learn's, and so is ``bayes`` (naive, for
    classification alone). For survival they learn the martingale residuals of a model without
    predictors, as survival trees do.

    Args:
        problem: the patients to learn from.
        task: what is to be foreseen.
        penalty: of the linear model, see ``learn``.
        seed: of the models that draw at random.
    """
    linear = learn(problem, task, penalty)
    if isinstance(linear, Unfit):
        return linear
    fed = linear.preparation(problem.predictors)
    classes = task.kind == "classification"
    models = (_classifiers if classes else _regressors)(len(problem), seed)
    for model in models.values():
        model.fit(fed, _target(problem, task))
    others = {name: _score(linear.preparation, model) for name, model in models.items()}
    return {"linear": linear.scores, **others}


def _target(problem: Problem, task: Task) -> NDArray[Any]:
    if task.kind == "classification":
        return problem.event
    if task.kind == "regression":
        return problem.value
    return martingale_residuals(problem.time, problem.event)


def martingale_residuals(time: Floats, event: NDArray[np.bool_]) -> Floats:
    """Events minus those that the Nelson-Aalen estimate expects of everyone by her time.

    Therneau, Grambsch and Fleming 1990, https://doi.org/10.1093/biomet/77.1.147.
    """
    times, place = np.unique(time, return_inverse=True)
    died = np.bincount(place, weights=event, minlength=len(times))
    left = np.bincount(place, minlength=len(times))[::-1].cumsum()[::-1]
    return np.asarray(event - np.cumsum(died / left)[place])


def _classifiers(n: int, seed: int) -> dict[str, Any]:
    from sklearn import ensemble, naive_bayes, neighbors, tree  # noqa: PLC0415

    return {
        "bayes": naive_bayes.GaussianNB(var_smoothing=0.01),
        "neighbours": neighbors.KNeighborsClassifier(min(NEIGHBOURS, n)),
        "tree": tree.DecisionTreeClassifier(min_samples_leaf=LEAF, random_state=seed),
        "forest": ensemble.RandomForestClassifier(**_FOREST, random_state=seed),
        "boosting": ensemble.HistGradientBoostingClassifier(**_BOOSTING, random_state=seed),
    }


def _regressors(n: int, seed: int) -> dict[str, Any]:
    from sklearn import ensemble, neighbors, tree  # noqa: PLC0415

    return {
        "neighbours": neighbors.KNeighborsRegressor(min(NEIGHBOURS, n)),
        "tree": tree.DecisionTreeRegressor(min_samples_leaf=LEAF, random_state=seed),
        "forest": ensemble.RandomForestRegressor(**_FOREST, random_state=seed),
        "boosting": ensemble.HistGradientBoostingRegressor(**_BOOSTING, random_state=seed),
    }


_FOREST: Mapping[str, Any] = {
    "n_estimators": 100,
    "min_samples_leaf": LEAF // 2,
    "max_features": "sqrt",
}
_BOOSTING: Mapping[str, Any] = {
    "max_iter": 60,
    "max_leaf_nodes": 8,
    "min_samples_leaf": LEAF,
    "early_stopping": False,
}


def _score(preparation: Preparation, model: Any) -> Score:
    def score(predictors: pd.DataFrame) -> Floats:
        fed = preparation(predictors)
        if hasattr(model, "predict_joint_log_proba"):  # chances of naive Bayes end at 0 and 1
            found = model.predict_joint_log_proba(fed)
            return np.asarray(found[:, 1] - found[:, 0], dtype=np.float64)
        if hasattr(model, "predict_proba"):
            return np.asarray(model.predict_proba(fed)[:, 1], dtype=np.float64)
        return np.asarray(model.predict(fed), dtype=np.float64)

    return score
