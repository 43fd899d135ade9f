"""The table of coverage counts what it says."""

from __future__ import annotations

import pandas as pd
import pytest

from fedbench.kinds import METRICS
from fedbench.testing.intervals import covered, measured


def test_what_lies_outside_is_counted_by_side() -> None:
    found = pd.DataFrame(
        {
            "metric": "rules",
            "value": [0.0, 1.0, 2.0, 1.0],
            "low": [-1.0, 0.5, 1.5, 0.0],
            "high": [0.5, 1.5, 2.5, 2.0],
        }
    )
    (row,) = covered(found).to_dict("records")
    assert (row["mean"], row["draws"]) == (1.0, 4)
    assert (row["covered"], row["too high"], row["too low"]) == (0.5, 0.25, 0.25)


@pytest.mark.parametrize("fixed", [False, True])
def test_patients_are_drawn_anew_or_stay(*, fixed: bool) -> None:
    metrics = {"visits": METRICS.build("visits")}
    found = pd.DataFrame(measured(metrics, 60, 3, replicates=20, fixed=fixed))
    counts = found[found["metric"] == "visits.count"]
    assert counts["draw"].tolist() == [0, 1, 2]
    assert counts["value"].nunique() == 3
    assert (counts["low"] <= counts["value"]).all()
