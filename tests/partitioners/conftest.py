"""Real patients to deal out: some with hospitals, some with matched sets."""

from __future__ import annotations

import pytest

from fedbench.data import Cohort, DataStore
from fedbench.datasets.nafld import Nafld
from fedbench.datasets.opt import Opt


@pytest.fixture(scope="session")
def opt() -> Cohort:
    return Opt().load(DataStore())


@pytest.fixture(scope="session")
def matched() -> Cohort:
    """Every eighth matched set of nafld."""
    nafld = Nafld().load(DataStore())
    some = set(sorted(set(nafld.clusters))[::8])
    return nafld.take(nafld.patients[[cluster in some for cluster in nafld.clusters]])
