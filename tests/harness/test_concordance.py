from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines.utils import concordance_index

from fedbench import stats
from fedbench.concordance import weighted_concordance


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 60))
def test_concordance_equals_lifelines_on_repeated_patients(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    time, event = rng.integers(1, 9, n), rng.random(n) < 0.6
    risk = rng.integers(0, 6, n).astype(float)
    weights = np.vstack([np.ones(n, np.uint8), stats.poisson_weights(rng, n, 4)])
    for rows in (weights, weights.astype(float)):
        found = weighted_concordance(time, event, risk, rows)
        for c, row in zip(found, weights, strict=True):
            again = [np.repeat(each, row) for each in (time, event, risk)]
            try:
                expected = concordance_index(again[0], -again[2], again[1])
            except (ZeroDivisionError, ValueError):
                expected = math.nan
            assert c == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_rows_of_weights_are_counted_as_if_each_were_alone() -> None:
    rng = np.random.default_rng(5)
    follow_up = rng.integers(1, 30, 130), rng.random(130) < 0.5, rng.normal(size=130)
    weights = stats.poisson_weights(rng, 130, 50)
    alone = [weighted_concordance(*follow_up, row[None])[0] for row in weights]
    np.testing.assert_array_equal(weighted_concordance(*follow_up, weights), alone)


def test_concordance_of_many_equals_lifelines() -> None:
    rng = np.random.default_rng(0)
    time, event = rng.integers(1, 900, 3_000), rng.random(3_000) < 0.3
    risk = np.round(rng.normal(size=3_000) - time / 400, 2)
    (found,) = weighted_concordance(time, event, risk, np.ones((1, 3_000)))
    assert found == pytest.approx(concordance_index(time, -risk, event), abs=1e-12)


def test_concordance_without_events_is_nan() -> None:
    assert np.isnan(weighted_concordance([1, 2], [0, 0], [1, 2], np.ones((3, 2)))).all()
