from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter

from fedbench.metrics._cox import cox


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_coefficients_are_those_of_lifelines(*, ties: bool, penalty: float) -> None:
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(300, 6))
    columns[:, 5] = columns[:, 4] + 0.01 * rng.normal(size=300)
    columns = (columns - columns.mean(axis=0)) / columns.std(axis=0, ddof=1)
    time, event = rng.exponential(np.exp(columns[:, 0])), rng.random(300) < 0.6
    time = np.ceil(4 * time) if ties else time
    table = pd.DataFrame(columns).assign(time=time, event=event)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = CoxPHFitter(penalizer=penalty).fit(
            table, "time", "event", fit_options={"precision": 1e-12}
        )
    ours = cox(columns, time, event, penalty)
    assert ours == pytest.approx(theirs.params_.to_numpy(), abs=1e-6)


def test_copies_of_a_column_share_its_coefficient() -> None:
    rng = np.random.default_rng(0)
    column = rng.normal(size=(100, 1))
    found = cox(np.hstack([column, column]), rng.random(100), rng.random(100) < 0.5, 0.01)
    assert found[0] == pytest.approx(found[1])


def test_one_event_and_an_outlier_are_enough() -> None:
    columns = np.zeros((50, 2))
    columns[7] = 1e3, -1e3
    event = np.arange(50) == 7
    assert np.isfinite(cox(columns, np.arange(50.0), event, 0.01)).all()
