"""One-run audits: the bound holds, finds what is broken, and knows its limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from fedbench.accounting import gaussian_mu
from fedbench.games.canaries import _bound, audit, ceiling

DELTA, M = 1e-5, 1_000


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0, 2.0, 4.0])
def test_randomised_response_is_rarely_accused(epsilon: float) -> None:
    rng = np.random.default_rng(int(10 * epsilon))
    bounds = []
    for _ in range(100):
        there = rng.random(M) < 0.5
        honest = rng.random(M) < expit(epsilon)
        scores = np.where(honest, there, ~there).astype(float)
        bounds.append(audit(scores, there, 0.0, rng).epsilon)
    assert np.mean(np.array(bounds) > epsilon) <= 0.1  # 5 % promised
    assert np.median(bounds) >= 0.6 * epsilon - 0.2


@pytest.mark.parametrize("claimed", [0.5, 1.0, 2.0])
def test_noise_of_a_tenth_is_flagged_and_right_noise_is_not(claimed: float) -> None:
    rng = np.random.default_rng(7)
    std = 1 / gaussian_mu(claimed, DELTA)
    wrong = found = 0
    for _ in range(40):
        there = rng.random(M) < 0.5
        noise = std * rng.normal(size=M)
        wrong += audit(there + noise, there, DELTA, rng).contradicts(claimed)
        found += audit(there + noise / 10, there, DELTA, rng).contradicts(claimed)
    assert wrong <= 6
    assert found == 40


def test_who_knows_everything_reaches_the_ceiling() -> None:
    rng = np.random.default_rng(0)
    there = rng.random(M) < 0.5
    sure = audit(there.astype(float), there, DELTA, rng)
    assert sure.epsilon >= 0.9 * sure.ceiling
    # 5.78 if all are guessed, once; fewer guesses and six looks cost a little.
    assert _bound(M, M, M, DELTA, 0.05) == pytest.approx(5.78, abs=0.01)
    assert 5.0 < ceiling(M, DELTA) < 5.78
    assert ceiling(100, DELTA) < ceiling(500, DELTA) < ceiling(M, DELTA) < ceiling(5_000, DELTA)
    assert "nothing can be said" in sure.words(8.0)
    assert "broken" in sure.words(1.0)


def test_guessing_shows_nothing() -> None:
    rng = np.random.default_rng(1)
    there = rng.random(M) < 0.5
    blind = audit(np.zeros(M), there, DELTA, rng)
    assert blind.epsilon < 0.3
    assert "not contradicted" in blind.words(1.0)


def test_nonsense_is_told() -> None:
    with pytest.raises(ValueError, match="20 canaries"):
        audit(np.zeros(5), np.zeros(5, dtype=bool), DELTA, np.random.default_rng(0))
