"""Can a classifier tell synthetic patients from real ones?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from fedbench.metric import Anchors, Evidence, Family, Measure, Metric, Refusal, View
from fedbench.metrics._draws import Floats, draws, measured
from fedbench.seeds import Rng
from fedbench.stats import combine_auc, weighted_auc

__all__ = ["Detection"]

# Near .5 every pair of folds is compared twice, each learning from the other's accidents: the
# AUCs of k folds have correlation 1/(k - 1), and their mean twice the variance that weighing
# patients shows. Far from .5 this makes intervals too wide rather than too narrow.
_TWICE = math.sqrt(2)


@dataclass(frozen=True, kw_only=True)
class Detection(Metric):
    """AUC of gradient boosting that tells synthetic from real test patients; .5 is best.

    Equally many of both sides, at most ``records`` each, drawn by ``rng``. Every patient is
    scored by a model that has not seen her; the AUC is taken within each fold, because scores
    of different models cannot be ranked together without bias, and averaged. Replicates weigh
    patients and refit nothing; what they leave out is told by ``_TWICE``. Limits are never
    closer than those of ``stats.combine_auc``, which stay away from 1 where a bootstrap does not.

    Lopez-Paz and Oquab 2017, https://arxiv.org/abs/1610.06545.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "near 0.5"
    version: ClassVar[int] = 4
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")
    per_site: ClassVar[bool] = False

    records: Annotated[int, Ge(10)] = 2000
    folds: Annotated[int, Ge(2)] = 3
    trees: Annotated[int, Ge(1)] = 40
    leaves: Annotated[int, Ge(2)] = 8

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ValueError(f"folds is {self.folds}; expected at least 2")

    @property
    def fewest(self) -> int:
        return 10 * self.folds

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        size = min(self.records, len(evidence.test), len(evidence.synthetic))
        real = _Sample.draw(evidence.test, size, self.folds, rng)
        fake = _Sample.draw(evidence.synthetic, size, self.folds, rng)
        judged = [
            self._judged(real, fake, fold, int(seed))
            for fold, seed in enumerate(rng.integers(2**31, size=self.folds))
        ]
        rows = np.mean([weighted_auc(scores, is_fake, w) for scores, is_fake, w in judged], axis=0)
        found = measured(rows[0] + _TWICE * (rows - rows[0]), size)
        exact = combine_auc([(scores, is_fake) for scores, is_fake, _ in judged])
        return [
            replace(
                found,
                low=max(0.0, min(found.low, found.value - (exact.value - exact.low))),
                high=min(1.0, max(found.high, found.value + (exact.high - exact.value))),
            )
        ]

    def _judged(
        self, real: _Sample, fake: _Sample, fold: int, seed: int
    ) -> tuple[Floats, NDArray[np.bool_], NDArray[np.uint8]]:
        """Scores of the patients of one fold, who is synthetic, and weights ``(1 + B, n)``."""
        rest = [side.columns[side.fold != fold] for side in (real, fake)]
        mine = [side.columns[side.fold == fold] for side in (real, fake)]
        weights = [side.weights[:, side.fold == fold] for side in (real, fake)]
        scores = self._scores(rest, np.concatenate(mine), seed)
        return scores, _is_fake(mine), np.concatenate(weights, axis=1)

    def _scores(self, known: Sequence[Floats], asked: Floats, seed: int) -> Floats:
        from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415
        from threadpoolctl import threadpool_limits  # noqa: PLC0415

        model = HistGradientBoostingClassifier(
            max_iter=self.trees,
            max_leaf_nodes=self.leaves,
            learning_rate=0.2,
            max_bins=64,
            early_stopping=False,
            random_state=seed,
        )
        records = np.concatenate(known)
        filled = np.isfinite(records).any(axis=0)  # trees cannot bin a column without a value
        if not filled.any():
            return np.zeros(len(asked))
        with threadpool_limits(1):
            model.fit(records[:, filled], _is_fake(known))
            return np.asarray(model.decision_function(asked[:, filled]), dtype=np.float64)


@dataclass(frozen=True)
class _Sample:
    """Some patients of one side, with their folds and their weights in every draw."""

    columns: Floats
    weights: NDArray[np.uint8]
    fold: NDArray[np.int64]

    @classmethod
    def draw(cls, view: View, size: int, folds: int, rng: Rng) -> _Sample:
        rows = rng.permutation(len(view))[:size]
        # Whole clusters: a sibling among those learnt from would give a patient away.
        names, owner = np.unique(view.cohort.clusters[rows].astype(str), return_inverse=True)
        fold = (rng.permutation(len(names)) % folds)[owner]
        return cls(_columns(view)[rows], draws(view)[:, rows], fold)


def _is_fake(sides: Sequence[Floats]) -> NDArray[np.bool_]:
    return np.repeat([False, True], [len(side) for side in sides])


def _columns(view: View) -> Floats:
    """The patient table as numbers: levels by position, NaN where there is no value."""
    return view.shared("detection", lambda: np.stack(list(_numbers(view)), axis=1))


def _numbers(view: View) -> Iterator[Floats]:
    for feature in view.cohort.schema.features:
        column = view.table[feature.name]
        if feature.column.kind != "category":
            yield column.to_numpy(dtype=np.float64)
        else:
            codes = column.cat.codes.to_numpy()
            yield np.where(codes < 0, np.nan, codes.astype(np.float64))
