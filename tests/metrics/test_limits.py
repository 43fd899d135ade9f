"""Limits of skewed scores hold the mean of other samples as often as they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from fedbench.concordance import weighted_concordance
from fedbench.metric import Measure
from fedbench.metrics._answers import weighted_precision, weighted_r2
from fedbench.metrics._draws import Floats, measured
from fedbench.metrics._limits import Skewed, explained, shared_by, unit
from fedbench.seeds import Rng
from fedbench.stats import poisson_weights

DRAWS = 500

Drawn = tuple[Floats, Skewed]


def drawn(rng: Rng, n: int) -> np.ndarray:
    """Weights of everybody once, then of draws."""
    return np.concatenate([np.ones((1, n), np.uint8), poisson_weights(rng, n, 200)])


def survival(rng: Rng, n: int, strength: float) -> Drawn:
    """Few of many followed have the event."""
    x = rng.normal(size=n)
    event, end = rng.exponential(np.exp(-strength * x)), rng.exponential(0.1, n)
    rows = weighted_concordance(np.minimum(event, end), event <= end, x, drawn(rng, n))
    return rows, unit(rows, int((event <= end).sum()))


def rare(rng: Rng, n: int, strength: float) -> Drawn:
    """One in ten has the event."""
    ill = rng.random(n) < 0.1
    rows = weighted_precision(rng.normal(size=n) + strength * ill, ill, drawn(rng, n))
    return rows, unit(rows, int(ill.sum()))


def number(rng: Rng, n: int, freedom: float, noise: float = 1.0) -> Drawn:
    """A number whose errors have tails of Student's t."""
    x = rng.normal(size=n)
    value = x + noise * rng.standard_t(freedom, n)
    rows = weighted_r2(x, value, drawn(rng, n))
    parts = (x - value) ** 2, (value - value.mean()) ** 2
    return rows, explained(rows, min(map(shared_by, parts)))


def both(draw: Callable[..., Drawn], *about: float) -> Iterator[tuple[Measure, Measure]]:
    """The measure by percentiles, and with the better limits, of many samples."""
    rng = np.random.default_rng(11)
    for _ in range(DRAWS):
        rows, skewed = draw(rng, *about)
        yield measured(rows, 1, least=-np.inf), skewed.bounds(measured(skewed.rows, 1, least=-9.0))


@pytest.mark.parametrize(
    ("draw", "about"),
    [
        (survival, (200, 1.0)),
        (survival, (200, 2.0)),
        (rare, (300, 1.0)),
        (rare, (300, 2.0)),
        (rare, (150, 1.5)),
        (number, (100, 50.0)),
        (number, (100, 3.0)),
        (number, (100, 2.5)),
        (number, (300, 3.0)),
    ],
)
def test_intervals_cover(draw: Callable[..., Drawn], about: tuple[float, ...]) -> None:
    plain, ours = zip(*both(draw, *about), strict=True)
    truth = np.mean([m.value for m in ours])
    before, after = (np.mean([m.low <= truth <= m.high for m in found]) for found in (plain, ours))
    # 500 draws, two standard errors below .95.
    assert after > 0.93, (before, after)
    assert after >= before
    assert [m.value for m in plain] == [m.value for m in ours]


def test_where_rare_errors_make_all_the_difference_limits_hold_more_often() -> None:
    """Of numbers that are mostly well foreseen a sample rarely has the error that counts."""
    plain, ours = zip(*both(number, 100, 3.0, 0.3), strict=True)
    truth = np.mean([m.value for m in ours])
    before, after = (np.mean([m.low <= truth <= m.high for m in found]) for found in (plain, ours))
    assert before + 0.03 < after > 0.86


def test_where_nothing_is_skewed_limits_are_hardly_wider() -> None:
    plain, ours = zip(*both(number, 300, 50.0), strict=True)
    wide = [np.mean([m.high - m.low for m in found]) for found in (plain, ours)]
    assert wide[1] < 1.15 * wide[0]


def test_a_score_of_1_or_of_no_draw_stays_what_it_is() -> None:
    for rows in (np.ones(50), np.append(0.7, np.full(50, np.nan))):
        for skewed in (unit(rows, 20), explained(rows, 20)):
            plain = measured(rows, 1)
            assert skewed.bounds(plain) == plain or np.isnan(plain.low)


def test_limits_near_an_end_are_never_narrower_than_percentiles() -> None:
    rng = np.random.default_rng(3)
    for value in (0.9999, 0.99, 0.002, 0.0002):
        drawn_ones = np.append(
            value,
            rng.beta(5 * value / (1 - value) + 0.5, 5, 400)
            if value > 0.5
            else rng.beta(2, 2 / value, 400),
        )
        plain = measured(drawn_ones, 1)
        ours = unit(drawn_ones, 60).bounds(measured(unit(drawn_ones, 60).rows, 1))
        assert ours.low <= plain.low < plain.high <= ours.high, value


def test_no_draw_of_few_who_decide_is_endless() -> None:
    rng = np.random.default_rng(4)
    rows = 1 - np.exp(np.append(-0.5, -0.5 + 0.4 * rng.standard_normal(400)))
    spread = explained(rows, 2.0).rows
    assert 1 - rows[0] < 1
    assert np.abs(spread).max() < 5
    assert (spread <= 1).all()


def test_few_who_decide_are_counted_as_few() -> None:
    assert shared_by(np.ones(100)) == pytest.approx(100)
    assert shared_by(np.append(np.full(99, 1e-3), 100.0)) == 2
    assert shared_by(np.zeros(5)) == 2
