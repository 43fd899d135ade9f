"""Copies are told from patients of the same law, and those from patients of another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from fedbench.data import Cohort
from fedbench.metric import Evidence, Measure
from fedbench.metrics._space import points
from fedbench.metrics.adversarial import Adversarial, own_kind

Draw = Callable[[int, int], Cohort]
Judge = Callable[..., Evidence]
Change = Callable[..., Cohort]

RNG = np.random.default_rng(0)


def accuracy(evidence: Evidence, **settings: int) -> Measure:
    (found,) = Adversarial(**settings).measure(evidence, np.random.default_rng(0))
    assert isinstance(found, Measure)
    return found


def by_scikit_learn(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    own = NearestNeighbors(n_neighbors=1).fit(mine).kneighbors()[0][:, 0]
    other = NearestNeighbors(n_neighbors=1).fit(theirs).kneighbors(mine)[0][:, 0]
    return np.asarray(other > own)


def test_neighbours_are_those_of_scikit_learn(draw: Draw, judge: Judge) -> None:
    evidence = judge(draw(200, 0), draw(200, 1), b=3)
    real, fake = (points(evidence, view) for view in (evidence.test, evidence.synthetic))
    np.testing.assert_array_equal(own_kind(real, fake), by_scikit_learn(real, fake))
    both = (by_scikit_learn(real, fake).mean() + by_scikit_learn(fake, real).mean()) / 2
    assert accuracy(evidence).value == pytest.approx(both)


def test_one_law_gives_a_half_copies_nothing_and_others_all(
    draw: Draw, judge: Judge, changed: Change
) -> None:
    real = draw(400, 0)
    same, copied = (accuracy(judge(real, fake)) for fake in (draw(400, 1), real))
    assert same.low < 0.5 < same.high
    assert copied.value == 0
    far = changed(draw(400, 1), albumin=5.9)
    assert accuracy(judge(real, far)).value > 0.95


def test_equal_records_are_neighbours_of_either_kind(draw: Draw, judge: Judge) -> None:
    # Half of the patients look alike, so who is nearest among them is a matter of order alone.
    real, fake = draw(300, 0), draw(300, 1)
    flat = [
        replace(c, static=c.static.assign(**dict.fromkeys(("age", "bilirubin", "copper"), 50.0)))
        for c in (real, fake)
    ]
    found = accuracy(judge(*flat))
    assert found.low < 0.5 < found.high


def test_sides_are_thinned_to_one_size(draw: Draw, judge: Judge) -> None:
    evidence = judge(draw(300, 0), draw(120, 1))
    assert accuracy(evidence).n == 120
    assert accuracy(evidence, patients=50).n == 50


@pytest.mark.parametrize("columns", [1, 5])
def test_intervals_hold_the_expected_accuracy(columns: int) -> None:
    """The spread of the accuracy is at most what the replicates say, times sqrt 2."""
    rng = np.random.default_rng(1)
    values, spreads = [], []
    for _ in range(60):
        mine, theirs = rng.normal(size=(150, columns)), rng.normal(0.3, size=(150, columns))
        found = [own_kind(mine, theirs), own_kind(theirs, mine)]
        values.append(np.mean(found))
        spreads.append(np.sqrt(sum(own.var() / len(own) for own in found)) / 2)
    # 60 turns: the standard error of a spread is a tenth of it.
    assert np.std(values) < np.sqrt(2) * np.mean(spreads) * 1.25
