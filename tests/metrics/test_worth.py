"""Patients of a cluster count as many as they tell, and others as many as they are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedbench.metrics._worth import precision, worth

OWNER = np.repeat(np.arange(40), 5)


def test_who_is_no_ones_kin_counts_whole() -> None:
    hits = np.random.default_rng(0).random((200, 3)) < 0.3
    assert worth(np.arange(200), hits).tolist() == [200, 200, 200]


def test_a_cluster_whose_patients_are_the_same_counts_as_one() -> None:
    alike = np.repeat(np.arange(40) < 13, 5)[:, None]
    nobody = np.zeros((200, 1), dtype=bool)
    # Of the 40 clusters one is lost to the mean.
    assert worth(OWNER, np.hstack([alike, nobody, ~nobody])) == pytest.approx(
        [40, 40, 40], rel=0.03
    )
    assert worth(np.zeros(200, dtype=np.int64), nobody).tolist() == [1]


def test_a_cluster_whose_patients_differ_as_others_do_counts_its_patients() -> None:
    rng = np.random.default_rng(0)
    found = worth(OWNER, rng.random((200, 200)) < 0.3)
    assert found.max() <= 200
    assert 150 < found.mean() <= 200


def test_a_mean_is_as_sure_as_its_clusters_are_many() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=200)
    assert precision(np.arange(200), values) == pytest.approx((values.var(ddof=1) / 200, 199))
    middles = rng.normal(size=40)
    alike = precision(OWNER, np.repeat(middles, 5))
    assert alike == pytest.approx((middles.var(ddof=1) / 40, 39))
    assert precision(np.zeros(5, dtype=np.int64), values[:5]) == (math.inf, 0)
