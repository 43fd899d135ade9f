from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from fedbench.data import Cohort, DataStore
from fedbench.datasets.pbcseq import Pbcseq
from fedbench.federation.study import Choice, Study

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def everyone() -> Cohort:
    return Pbcseq().load(DataStore())


@pytest.fixture(scope="session")
def sites(everyone: Cohort) -> Mapping[str, Cohort]:
    """Three hospitals of very different size."""
    patients = np.random.default_rng(5).permutation(everyone.patients)
    north, south, west = np.split(patients, [150, 250])
    return {
        "north": everyone.take(north),
        "south": everyone.take(south),
        "west": everyone.take(west),
    }


@pytest.fixture
def study() -> Study:
    return Study(
        generator=Choice("copula"),
        strategy=Choice("fedavg"),
        sites=("north", "south", "west"),
        rounds=2,
        seed=3,
    )
