"""What four hospitals with the columns of heart4 say until they have one encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Cohort
from fedbench.datasets.heart4 import HOSPITALS, Heart4
from fedbench.encoding import BINS
from fedbench.federation.inprocess import train
from fedbench.federation.study import Choice, Study

MOST = 100_000
"""Bytes, up and down."""


def hospital(name: str, n: int, seed: int) -> Cohort:
    """Nobody real: any value that the public schema of heart4 allows, some of them missing."""
    schema, rng = Heart4().schema, np.random.default_rng(seed)
    static: dict[str, object] = {"patient": [f"{name}-{number}" for number in range(n)]}
    for column, about in schema.static.items():
        if about.kind == "category":
            values = pd.Series(rng.choice(about.levels, n), dtype=object)
        else:
            values = pd.Series(rng.uniform(about.low, about.high, n))
            values = values.round() if about.kind == "integer" else values
        static[column] = name if "site" in about.roles else values.where(rng.random(n) > 0.1)
    outcome = {"patient": static["patient"], "time": 1.0, "event": rng.integers(0, 2, n)}
    return Cohort.of_tables(schema, pd.DataFrame(static), outcome=pd.DataFrame(outcome))


@pytest.fixture(scope="module")
def sites() -> Mapping[str, Cohort]:
    sizes = (303, 294, 123, 200)
    return {
        name: hospital(name, size, seed)
        for seed, (name, size) in enumerate(zip(sorted(HOSPITALS), sizes, strict=True))
    }


@pytest.mark.parametrize("epsilon", [None, 1.0], ids=["open", "noised"])
def test_four_hospitals_agree_in_less_than_100_kilobytes(
    sites: Mapping[str, Cohort], epsilon: float | None
) -> None:
    study = Study(
        generator=Choice("copula"),
        strategy=Choice("fedavg"),
        sites=tuple(sites),
        rounds=1,
        seed=0,
    )
    if epsilon:
        study = replace(study, privacy=Choice("patient", {"epsilon": epsilon}))
    trained = train(study, sites)
    assert bool(trained.accountants) == bool(epsilon)
    said = pd.DataFrame(trained.ledger)
    # The encoder goes down with the first message of the first phase.
    first = said["phase"].isin(["enrol", "encoder"]) | said["way"].eq("down")
    assert set(said.loc[first, "site"]) == set(sites)
    assert {"up", "down"} == set(said.loc[first, "way"])
    agreed = said.loc[first, "bytes"].sum()
    assert agreed < MOST
    assert all(counts.shape[-1] <= BINS + 3 for counts in trained.encoder.counts.values())


def test_what_crosses_does_not_grow_with_patients(sites: Mapping[str, Cohort]) -> None:
    def told(some: Mapping[str, Cohort]) -> int:
        study = Study(
            generator=Choice("independent"),
            strategy=Choice("fedavg"),
            sites=tuple(some),
            rounds=1,
            seed=0,
        )
        said = pd.DataFrame(train(study, some).ledger)
        return int(said.loc[said["phase"].isin(["enrol", "encoder"]), "bytes"].sum())

    few = {name: cohort.take(cohort.patients[:30]) for name, cohort in sites.items()}
    assert told(sites) == pytest.approx(told(few), rel=0.001)
