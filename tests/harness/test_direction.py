"""Which way a number is better."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from fedbench.direction import Better, badness, best_at, hint, side
from fedbench.kinds import METRICS

NUMBERS = some.floats(-9, 9)


@given(NUMBERS, NUMBERS, some.sampled_from(get_args(Better)))
def test_nothing_is_better_than_the_best(first: float, second: float, better: str) -> None:
    one, other = badness([first, second], better)
    best = best_at(better)
    if best is None:
        assert (one < other) == ((first > second) if better == "higher" else (first < second))
    else:
        assert one == (max(first - best, 0) if better.startswith("down") else abs(first - best))
        assert badness(best, better) == 0


@given(NUMBERS, some.sampled_from(get_args(Better)), some.lists(NUMBERS, min_size=2))
def test_replicates_spread_as_far_as_their_number_does(
    value: float, better: str, replicates: list[float]
) -> None:
    seen = badness(replicates, better, of=value)
    assert np.ptp(seen) == pytest.approx(np.ptp(replicates), abs=1e-9)
    beyond = better.startswith("down") and value < (best_at(better) or 0.0)
    assert beyond or badness(value, better, of=value) == badness(value, better)
    back = (best_at(better) or 0.0) + side(value, better) * seen
    assert back == pytest.approx(np.array(replicates), abs=1e-9)


def test_in_words() -> None:
    assert [hint(better) for better in get_args(Better)] == [
        "higher is better",
        "lower is better",
        "0 is best",
        "0.5 is best",
        "1 is best",
        "lower is better, down to 0",
        "lower is better, down to 0.5",
    ]
    with pytest.raises(ValueError, match=r"better is 'near 2'; expected one of higher, lower"):
        hint("near 2")


def test_every_metric_that_at_best_guesses_says_so() -> None:
    for name in METRICS.names():
        metric = METRICS.find(name)
        says = ".5 is best" in (metric.__doc__ or "")
        assert says == (metric.better == "near 0.5"), name
