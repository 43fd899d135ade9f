from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Cohort
from fedbench.metric import Evidence, Measure, Refusal
from fedbench.metrics import associations
from fedbench.metrics._encoded import encoded, records
from fedbench.metrics.associations import Associations
from fedbench.metrics.marginals import Marginals
from fedbench.metrics.support import Support

RNG = np.random.default_rng(0)


def value(evidence: Evidence) -> Measure:
    (found,) = Associations().measure(evidence, RNG)
    assert isinstance(found, Measure)
    return found


def test_a_shuffled_column_raises_associations_and_not_marginals(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence], changed: Callable[..., Cohort]
) -> None:
    test = draw(500, 0)
    mixed = test.static["bilirubin"].sample(frac=1, random_state=0).to_numpy()
    evidence = judge(test, changed(test, bilirubin=mixed))
    assert value(judge(test, test)).value == 0
    assert value(evidence).value > 0.01
    (overall, *_) = Marginals().measure(evidence, RNG)
    assert isinstance(overall, Measure)
    assert overall.value == 0


def test_replicates_are_correlations_of_weighted_patients(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence], monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = judge(draw(90, 0), draw(70, 1), b=3)
    kept = value(evidence)
    expected = [by_hand(evidence, None), *(by_hand(evidence, b) for b in range(3))]
    assert kept.value == pytest.approx(expected[0], abs=1e-12)
    assert kept.replicates == pytest.approx(
        np.array(expected[1:]) - np.mean(expected[1:]) + expected[0], abs=1e-5
    )
    monkeypatch.setattr(associations, "_KEPT", 0)
    monkeypatch.setattr(associations, "_BLOCK", 17)
    again = value(judge(draw(90, 0), draw(70, 1), b=3))
    assert again.value == pytest.approx(kept.value, abs=1e-12)
    assert again.replicates == pytest.approx(kept.replicates, abs=1e-5)


def by_hand(evidence: Evidence, b: int | None) -> float:
    sides = []
    for view in (evidence.test, evidence.synthetic):
        found = encoded(evidence.encoder, records(evidence, view))
        times = np.ones(len(view), int) if b is None else view.weights[b].astype(int)
        with np.errstate(invalid="ignore", divide="ignore"):
            sides.append(np.nan_to_num(np.corrcoef(np.repeat(found.values, times, axis=1))))
    blocks = [
        np.abs(sides[0] - sides[1])[np.ix_(found.owner == i, found.owner == j)].mean()
        for i in np.unique(found.owner)
        for j in np.unique(found.owner)
        if i < j
    ]
    return float(np.mean(blocks))


def test_columns_all_missing_or_constant_do_no_harm(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence], changed: Callable[..., Cohort]
) -> None:
    test = draw(200, 0)
    flat = changed(test, copper=np.nan, age=50.0)
    assert value(judge(flat, flat)).value == 0
    assert 0 < value(judge(flat, test, test)).value < 1
    assert 0 < value(judge(test, flat, test)).value < 1


def test_records_in_which_nothing_varies_are_refused(
    draw: Callable[..., Cohort], judge: Callable[..., Evidence]
) -> None:
    test = draw(200, 0)
    one = test.take(test.patients[:1])
    tables = {
        name: pd.concat([table.assign(patient=f"r{i}") for i in range(50)])
        for name in ("static", "visits", "codes", "outcome")
        if len(table := getattr(one, name))
    }
    alike = Cohort.of_tables(test.schema, **tables)
    for metric in (Associations(), Support()):
        (refused,) = metric.measure(judge(test, alike, test), RNG)
        assert isinstance(refused, Refusal)
        assert "the synthetic records" in refused.reason
