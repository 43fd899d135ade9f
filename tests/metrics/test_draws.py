"""What all metrics share that are arithmetic under bootstrap weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fedbench.data import Cohort
from fedbench.kinds import METRICS
from fedbench.metric import Evidence, Measure
from fedbench.metrics._draws import FEWEST, lacking

Draw = Callable[[int, int], Cohort]
Judge = Callable[..., Evidence]

ASKED = sorted(
    name
    for name in METRICS.names()
    if METRICS.find(name).needs_synthetic
    and METRICS.find(name).family in ("fidelity", "utility")
    and not METRICS.find(name).needs_model
)


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("n", [1, FEWEST - 1])
def test_a_handful_of_synthetic_patients_has_no_number(
    draw: Draw, judge: Judge, name: str, n: int
) -> None:
    evidence = judge(draw(300, 0), draw(n, 1), b=20)
    answers = METRICS.build(name, {}).measure(evidence, np.random.default_rng(0))
    assert answers
    assert not any(isinstance(answer, Measure) and not answer.weak for answer in answers)


def test_either_side_is_named(draw: Draw, judge: Judge) -> None:
    few, enough = draw(FEWEST - 1, 0), draw(FEWEST, 1)
    for test, fake, side in ((few, enough, "real test"), (enough, few, "synthetic")):
        refusal = lacking(judge(test, fake, b=20))
        assert refusal is not None
        assert refusal.reason == f"9 {side} patients; this needs at least 10."
    assert lacking(judge(enough, enough, b=20)) is None
