from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedbench.data import Cohort
from fedbench.metric import Evidence, Measure
from fedbench.metrics.detection import Detection
from fedbench.stats import weighted_auc


def measure(evidence: Evidence, metric: Detection) -> Measure:
    (found,) = metric.measure(evidence, np.random.default_rng(0))
    assert isinstance(found, Measure)
    return found


def test_records_of_one_law_are_not_told_apart_and_others_are(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence], changed: Callable[..., Cohort]
) -> None:
    test, fake = draw(500, 0), draw(600, 1)
    same = measure(judge(test, fake), Detection())
    assert same.low < 0.5 < same.high
    mixed = {name: fake.static[name].sample(frac=1, random_state=i).to_numpy()
             for i, name in enumerate(("bilirubin", "albumin", "copper"))}  # fmt: skip
    assert measure(judge(test, changed(fake, **mixed)), Detection()).low > 0.55
    assert measure(judge(test, changed(fake, age=20.0)), Detection()).value > 0.95


def test_records_that_are_all_told_apart_leave_an_exact_doubt(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence], changed: Callable[..., Cohort]
) -> None:
    test, fake = changed(draw(150, 0), age=60.0), changed(draw(150, 1), age=20.0)
    found = measure(judge(test, fake), Detection())
    assert found.value == found.high == 1
    assert found.low == pytest.approx(0.025 ** (1 / 150))  # Clopper and Pearson's for 150 of 150


def test_it_draws_as_many_as_it_was_told_to_and_repeats_itself(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence]
) -> None:
    evidence = judge(draw(200, 0), draw(300, 1))
    first, again = (measure(evidence, Detection(records=90, trees=5)) for _ in range(2))
    assert first.n == 90
    assert first.value == again.value


def test_areas_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(9, size=200) / 9, rng.random(200) < 0.4
    weights = rng.poisson(1, size=(3, 200)).astype(np.uint8)
    expected = [roc_auc_score(positive, scores, sample_weight=row) for row in weights]
    assert weighted_auc(scores, positive, weights) == pytest.approx(expected)
