"""Fed-TGAN's weights, as published."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from fedbench.federation.strategies._sketches import Sketch, Sketches, information
from fedbench.federation.strategies._weighted import Weighted


@dataclass(frozen=True, kw_only=True)
class FedTGAN(Weighted):
    """Weigh sites by size and by how much they look like everybody together.

    Zhao et al. 2021, https://arxiv.org/abs/2108.07927. S is a site's distance from the pool
    (Jensen-Shannon of categories, Wasserstein of numbers), each column scaled to add up to 1 over
    sites; the weight is softmax((1 - S / sum S) * n / N). Its arguments lie so close together that
    the weights are almost equal whatever the sites look like: kept as the published comparison.
    Distances are read off agreed counts, where all bins of a number are equally wide and missing
    is one more above them.
    """

    def weights(self, sketches: Sketches) -> NDArray[np.float64]:
        distance = np.sum([self._scaled(column) for column in sketches.columns], axis=0)
        total = distance.sum()
        alike = 1 - distance / total if total else np.ones(len(distance))
        share = sketches.patients / sketches.patients.sum()
        return np.asarray(softmax(alike * share))

    def _scaled(self, column: Sketch) -> NDArray[np.float64]:
        pool = column.counts.sum(axis=0)
        everybody = pool / pool.sum() if pool.sum() else np.full(len(pool), 1 / len(pool))
        if column.ordered:
            apart = np.cumsum(column.shares - everybody, axis=1)
            found = np.abs(apart).mean(axis=1)
        else:
            found = information(column.shares, everybody)
        return np.asarray(found / found.sum() if found.sum() else found)
