from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from fedbench.baselines.independent import Independent
from fedbench.data import Cohort


@pytest.fixture(scope="module")
def written(trained: Callable[..., Any], sites: Mapping[str, Cohort]) -> Cohort:
    run = trained(Independent(), sites)
    return Independent().sample(run.state, run.encoder, 4000, np.random.default_rng(1))


def test_every_column_looks_right_on_its_own(written: Cohort, small: Cohort) -> None:
    for feature in small.schema.features:
        real, synthetic = small.table[feature.name], written.table[feature.name]
        assert abs(real.isna().mean() - synthetic.isna().mean()) < 0.15, feature.name
        if feature.column.kind == "category":
            shares = [x.value_counts(normalize=True) for x in (real, synthetic)]
            assert (shares[0] - shares[1]).abs().max() < 0.05
        elif real.notna().any():
            at = [0.1, 0.5, 0.9]
            spread = real.quantile(0.9) - real.quantile(0.1)
            gaps = (real.quantile(at) - synthetic.quantile(at)).abs() / spread
            assert gaps.max() < 0.15, feature.name


def test_columns_are_unrelated(written: Cohort) -> None:
    table = written.table
    assert abs(table["age"].corr(table["crp"])) < 0.06
    assert table["empty"].isna().all()
    assert (table["constant"] == "yes").all()
    assert not (table["ward"] == "never").any()


def test_time_belongs_to_its_event(written: Cohort) -> None:
    times = written.outcome["time"]
    assert times[written.event].median() < 300 < times[~written.event].min() + 20


def test_nothing_is_sent(trained: Callable[..., Any], sites: Mapping[str, Cohort]) -> None:
    assert trained(Independent(), sites).bytes_up == 0
