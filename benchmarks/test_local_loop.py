"""What a federation costs beyond the training in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from fedbench.baselines.tvae import Tvae
from fedbench.data import Cohort, DataStore
from fedbench.datasets.nafld import Nafld
from fedbench.federation.inprocess import train
from fedbench.federation.study import Choice, Study
from fedbench.training import Batch

PATIENTS, SITES, ROUNDS, PASSES = 5_000, ("a", "b", "c", "d"), 20, 3
MODEL = Tvae(passes=PASSES * ROUNDS)
PHASE = MODEL.phases()[0]


@pytest.fixture(scope="module")
def cohorts() -> Mapping[str, Cohort]:
    everyone = Nafld().load(DataStore())
    some = np.random.default_rng(0).permutation(everyone.patients)[:PATIENTS]
    return {
        site: everyone.take(np.sort(mine))
        for site, mine in zip(SITES, np.array_split(some, len(SITES)), strict=True)
    }


def test_a_round_takes_little_longer_than_its_training(
    duel: Any, cohorts: Mapping[str, Cohort]
) -> None:
    study = Study(
        generator=Choice("tvae", {"passes": MODEL.passes}),
        strategy=Choice("fedavg"),
        sites=SITES,
        rounds=ROUNDS,
        seed=0,
    )
    whole = train(study, cohorts)
    bare = bare_loop(whole.encoder, whole.state, cohorts)
    assert sum(whole.history["steps"]) == bare()
    pairs = duel.fight(lambda: train(study, cohorts), bare, 5)
    duel.say(f"tvae, {ROUNDS} rounds of {len(SITES)} sites, {PATIENTS} patients: {pairs}")
    assert pairs.share < 1.15


def bare_loop(encoder: Any, state: Any, cohorts: Mapping[str, Cohort]) -> Callable[[], int]:
    """Return the same training as anybody would write it, with data that is ready to use."""
    network = MODEL.loaded(PHASE, state, encoder)
    sites = [
        Batch.of(encoder.encode(cohort), encoder, torch.float32, "cpu")
        for cohort in cohorts.values()
    ]

    def run() -> int:
        taken = 0
        for _ in range(ROUNDS):
            for everyone in sites:
                taken += fit(network, everyone)
        return taken

    return run


def fit(network: torch.nn.Module, everyone: Batch) -> int:
    n = len(everyone)
    cuts = np.linspace(0, n, -(-n // MODEL.batch) + 1).astype(int).tolist()
    optimizer = torch.optim.Adam(network.parameters(), lr=MODEL.learning_rate, fused=True)
    for _ in range(PASSES):
        shuffled, draws = everyone.take(torch.randperm(n)), torch.randn(n, MODEL.latent)
        for first, last in pairwise(cuts):
            rows = slice(first, last)
            optimizer.zero_grad(set_to_none=True)
            loss = MODEL.losses(network, shuffled.take(rows), draws[rows])["loss"].mean()
            torch.autograd.backward(loss)
            optimizer.step()
    return PASSES * (len(cuts) - 1)
