"""One dataset, its hospitals, and what each regime makes of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from fedbench.config import DatasetChoice, GeneratorChoice, Scenario
from fedbench.data import Cohort, Column, DataStore, Schema
from fedbench.datasets.nafld import Nafld
from fedbench.datasets.opt import Opt
from fedbench.encoding import Encoder, summarize
from fedbench.errors import SpecError
from fedbench.federation.study import Choice
from fedbench.partition import Split
from fedbench.regimes import Trainer
from fedbench.world import World, uniform

PARTS = {"train": 0.05, "control": 0.3, "reference": 0.1}


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    everyone = Nafld().load(DataStore())
    clusters = np.unique(everyone.clusters.astype(str))[:1500]
    return everyone.take(everyone.patients[np.isin(everyone.clusters.astype(str), clusters)])


@pytest.fixture(scope="module")
def world(cohort: Cohort) -> World:
    scenario = Scenario(name="three", partition=Choice("iid", {"sites": 3}), rounds=1)
    return World(DatasetChoice(name="nafld", parts=PARTS), scenario, 0, cohort, 100, 50)


def test_every_patient_has_one_site_and_one_part(world: World, cohort: Cohort) -> None:
    table = world.table()
    assert sorted(table["patient"]) == sorted(cohort.patients)
    assert table.groupby("cluster")["site"].nunique().max() == 1
    assert table.groupby("cluster")["part"].nunique().max() == 1
    shares = table["part"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.05, abs=0.02)
    assert shares["control"] == pytest.approx(0.3, abs=0.03)


def test_a_patient_has_the_same_weights_everywhere(world: World) -> None:
    for site in world.sites:
        view = world.target(site)
        mine = np.isin(world.everyone.cohort.patients, view.cohort.patients)
        assert (view.weights == world.everyone.weights[:, mine]).all()
        assert (view.cohort.patients == world.everyone.cohort.patients[mine]).all()


def test_patients_of_one_cluster_are_drawn_together(world: World) -> None:
    view = world.everyone
    frame = pd.DataFrame(view.weights.T, index=view.cohort.clusters.astype(str))
    assert (frame.groupby(level=0).nunique().max() == 1).all()


def test_a_mixture_takes_every_hospitals_share(world: World) -> None:
    trainer = Trainer(world, GeneratorChoice(name="independent"), "cpu")
    local = trainer.release("local").records
    mixed = trainer.release("mixture").records[""]
    trains = {site: len(part) for site, part in world.part("train").items()}
    total = max(world.m, sum(trains.values()))
    assert len(mixed) == total
    looks = set(_looks(mixed))
    assert len(looks) > 0.9 * total
    for site, cohort in local.items():
        share = trains[site] / sum(trains.values()) * total
        first = cohort.take(cohort.patients[: int(share) - 1])
        assert set(_looks(first)) <= looks


def test_statistics_share_one_training_and_its_records(world: World) -> None:
    trainer = Trainer(world, GeneratorChoice(name="copula"), "cpu")
    together, pooled = trainer.release("federated"), trainer.release("centralized")
    assert trainer.federated() is trainer.centralized()
    assert together.records[""].fingerprint == pooled.records[""].fingerprint
    assert pooled.ledger is not None
    assert set(pooled.ledger["phase"]) == {"records"}
    alone = trainer.release("local").ledger
    assert alone is not None
    assert len(alone) == 0


def test_uniform_patients_cover_the_public_range(world: World) -> None:
    drawn = uniform(world.encoder, 2000, np.random.default_rng(0)).table
    age = world.schema.feature("age").column
    assert drawn["age"].min() < age.low + 0.02 * (age.high - age.low)
    assert drawn["age"].mean() == pytest.approx((age.low + age.high) / 2, abs=2)
    assert drawn["sex"].value_counts(normalize=True).min() == pytest.approx(0.5, abs=0.05)


def test_uniform_patients_of_numbers_alone_are_drawn() -> None:
    schema = Schema(name="ages", clock="", static={"age": Column(kind="integer", low=18, high=90)})
    static = pd.DataFrame({"patient": [f"p{i}" for i in range(50)], "age": np.arange(50.0) + 20})
    encoder = Encoder(schema, summarize(Cohort.of_tables(schema, static)))
    drawn = uniform(encoder, 200, np.random.default_rng(0)).table
    assert drawn["age"].between(18, 90).all()
    assert drawn["age"].nunique() > 30


def _looks(cohort: Cohort) -> list[int]:
    return list(pd.util.hash_pandas_object(cohort.table, index=False))


def test_sites_too_small_are_named_with_what_helps() -> None:
    opt = Opt().load(DataStore())
    keep = np.concatenate([opt.patients[opt.sites == s][:n] for s, n in (("NY", 3), ("MS", 90))])
    dataset = DatasetChoice(name="opt")

    def splits(partition: Choice) -> Mapping[str, Split]:
        scenario = Scenario(name="clinics", partition=partition)
        return World(dataset, scenario, 0, opt.take(keep), 100, 50).splits

    with pytest.raises(SpecError) as told:
        splits(Choice("natural", {}))
    assert str(told.value) == (
        "opt, scenario 'clinics': 'NY' has 3 patients; to be split into train 0.5, control 0.2, "
        'reference 0.1, test 0.2, a site needs 19. Write partition = { name = "natural", '
        "minimum = 19, merge = true } in the scenario: the smallest hospitals are then one site."
    )
    found = splits(Choice("natural", {"minimum": 19, "merge": True}))
    assert {site: len(split.everyone) for site, split in found.items()} == {"MS + NY": 93}
    with pytest.raises(SpecError, match="Ask for fewer sites or less skew"):
        splits(Choice("iid", {"sites": 20, "minimum": 1}))
