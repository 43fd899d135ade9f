"""Extremes of other patients vary as they do, whatever the tail."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from fedbench.metrics._ends import ends
from fedbench.seeds import Rng

Floats = NDArray[np.float64]
Tail = Callable[[Rng, int], Floats]

TAILS: dict[str, Tail] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "heavy": lambda rng, n: rng.standard_t(4, size=n),
    "years": lambda rng, n: np.round(60 + 13 * rng.normal(size=n)),
}


def found(values: Floats, b: int = 100) -> Floats:
    return ends(values, b, np.random.default_rng(1))


def spread(values: Floats) -> float:
    return float(np.subtract(*np.quantile(values, [0.9, 0.1])))


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("n", [150, 1000])
def test_the_largest_varies_as_those_of_other_patients(tail: str, n: int) -> None:
    rng = np.random.default_rng(0)
    samples = [TAILS[tail](rng, n) for _ in range(400)]
    true = np.array([values.max() for values in samples])
    drawn = np.array([found(values)[:, 1] for values in samples[:100]])
    again = np.array([rng.choice(values, (100, n)).max(axis=1) for values in samples[:100]])
    assert abs(np.median(drawn) - np.median(true)) < 0.4 * spread(true)
    ratio = np.mean([spread(rows) for rows in drawn]) / spread(true)
    assert 0.75 < ratio < 2
    assert np.mean([spread(rows) for rows in again]) / spread(true) < 0.75 * ratio


def test_coarse_numbers_end_where_those_of_other_patients_do() -> None:
    """Many at one value are no heavy tail: the largest of 1,500 varies by one or two steps."""
    rng = np.random.default_rng(0)
    samples = [np.round(3 * rng.normal(size=1500)) for _ in range(200)]
    drawn = np.mean([spread(found(values)[:, 1]) for values in samples])
    assert drawn < 1.5 * spread(np.array([values.max() for values in samples]))


def test_numbers_in_steps_end_on_a_step() -> None:
    values = np.round(np.random.default_rng(0).normal(60, 13, 300)) / 10
    rows = found(values) * 10
    np.testing.assert_allclose(rows, np.rint(rows), atol=1e-9)
    assert len(np.unique(np.rint(rows[:, 1]))) > 3


def test_an_end_that_many_share_stays() -> None:
    values = np.random.default_rng(0).normal(size=300).clip(-1.5, 10)
    rows = found(values)
    assert (rows[:, 0] == -1.5).all()
    assert len(np.unique(rows[:, 1])) > 30


def test_gaps_have_no_ends_and_one_value_is_both() -> None:
    gap = np.nan
    assert np.isnan(found(np.full(20, gap))).all()
    assert (found(np.array([gap, 3.0, gap])) == 3).all()
    assert (found(np.full(20, 3.0)) == 3).all()
    assert np.isfinite(found(np.array([1.0, 2.0, gap]))).all()
