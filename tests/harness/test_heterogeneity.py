"""Numbers about how different hospitals are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedbench.data import Cohort, DataStore
from fedbench.datasets.opt import Opt
from fedbench.heterogeneity import indices
from fedbench.partition import Partition
from fedbench.partitioners.iid import Iid


@pytest.fixture(scope="module")
def opt() -> Cohort:
    return Opt().load(DataStore())


def _found(cohort: Cohort, partition: Partition) -> dict[tuple[str, str], float]:
    return {(row.site, row.name): row.value for row in indices(cohort, partition)}


def test_the_same_patients_at_every_site_are_not_different(made_up: Any) -> None:
    cohort = made_up(40, 0)
    found = _found(cohort, Partition({"only": cohort.patients}))
    assert found["only", "patients"] == 40
    assert found["only", "share"] == 1
    assert found["only", "event rate"] == pytest.approx(cohort.event.mean())
    for name in ("divergence", "divergence by chance"):
        assert found["only", name] == pytest.approx(0, abs=1e-12)
    assert found["", "largest label divergence"] == pytest.approx(0, abs=1e-12)
    assert (found["", "size gini"], found["", "size ratio"]) == (0, 1)


def test_dealing_by_outcome_shows(made_up: Any) -> None:
    cohort = made_up(200, 0)
    half = {name: cohort.patients[cohort.event == (name == "ill")] for name in ("ill", "well")}
    found = _found(cohort, Partition(half))
    assert found["ill", "event rate"] == 1
    assert found["well", "event rate"] == 0
    # A site with only one of two equally frequent labels: .311 bits.
    assert found["", "largest label divergence"] == pytest.approx(0.311, abs=0.05)


def test_sizes_are_compared(made_up: Any) -> None:
    cohort = made_up(40, 0)
    parts = {"large": cohort.patients[:30], "small": cohort.patients[30:]}
    found = _found(cohort, Partition(parts))
    assert found["", "size ratio"] == 3
    assert found["", "size gini"] == pytest.approx(0.25)


def test_what_chance_would_show_is_about_right(opt: Cohort) -> None:
    deals = [Iid(sites=8).deal(opt, np.random.default_rng(seed)) for seed in range(5)]
    rows = [row for deal in deals for row in indices(opt, deal)]

    def mean(name: str) -> float:
        return float(np.mean([row.value for row in rows if row.name == name]))

    assert mean("divergence") == pytest.approx(mean("divergence by chance"), rel=0.2)


def test_what_a_site_does_not_write_down_shows(made_up: Any) -> None:
    cohort = made_up(200, 0)
    without = cohort.visits.assign(sodium=np.nan)
    half = {"here": cohort.patients[:100], "there": cohort.patients[100:]}
    mine = without["patient"].isin(half["there"])
    visits = cohort.visits.where(~mine, without)
    odd = Cohort.of_tables(cohort.schema, cohort.static, visits, cohort.codes, cohort.outcome)
    before, after = (_found(found, Partition(half)) for found in (cohort, odd))
    assert after["here", "missing"] == before["here", "missing"]
    fields = len(cohort.schema.features)
    table = cohort.table.loc[list(half["there"])]
    lost = table[[name for name in table if name.startswith("sodium@")]].notna().sum().sum()
    assert after["there", "missing"] - before["there", "missing"] == pytest.approx(
        lost / (100 * fields)
    )
    systems = [after["here", f"codes in {name}"] for name in cohort.schema.vocabularies]
    assert sum(systems) == pytest.approx(1)
