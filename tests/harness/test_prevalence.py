"""What an accusation is worth."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score

from fedbench.prevalence import Accusation
from fedbench.stats import Interval, clopper_pearson


@pytest.mark.parametrize("prevalence", [0.5, 0.1, 0.01])
def test_it_is_what_counting_gives(prevalence: float) -> None:
    n, tpr, fpr = 100_000, 0.3, 0.02
    members = round(prevalence * n)
    truth = np.arange(n) < members
    accused = np.where(
        truth, np.arange(n) < tpr * members, np.arange(n) - members < fpr * (n - members)
    )
    found = Accusation(Interval(tpr, 0.2, 0.4), Interval(fpr, fpr, fpr))
    precision, f1 = found.precision(prevalence), found.f1(prevalence)
    assert precision.value == pytest.approx(precision_score(truth, accused), abs=1e-3)
    assert f1.value == pytest.approx(f1_score(truth, accused), abs=1e-3)
    assert precision.low < precision.value < precision.high
    assert f1.low < f1.value < f1.high
    everybody = f1_score(truth, np.ones(n, bool))
    assert Accusation.naive_f1(prevalence) == pytest.approx(everybody)


def test_an_attack_that_finds_nobody_is_never_right() -> None:
    found = Accusation(Interval(0.0, 0.0, 0.01), Interval(0.0, 0.0, 0.0))
    assert found.precision(0.1) == Interval(0.0, 0.0, 1.0)
    assert found.f1(0.1).value == 0.0


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -1.0])
def test_a_prevalence_is_a_share(prevalence: float) -> None:
    with pytest.raises(ValueError, match="expected a share above 0 and below 1"):
        Accusation(Interval(0.1, 0.0, 0.2), Interval(0.01, 0.0, 0.02)).precision(prevalence)


@pytest.mark.parametrize(("tpr", "fpr"), [(0.05, 0.001), (0.3, 0.01), (0.02, 0.0)])
def test_its_limits_hold_whoever_was_counted(tpr: float, fpr: float) -> None:
    rng, n1, n0, p = np.random.default_rng(0), 1500, 3000, 0.1
    truth = p * tpr / (p * tpr + (1 - p) * fpr)
    held = 0
    for found, wrong in zip(rng.binomial(n1, tpr, 400), rng.binomial(n0, fpr, 400), strict=True):
        shares = clopper_pearson(int(found), n1), clopper_pearson(int(wrong), n0)
        precision = Accusation(*shares).precision(p)
        held += precision.low <= truth <= precision.high
    assert held >= 0.95 * 400
