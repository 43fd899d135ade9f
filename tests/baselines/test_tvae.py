from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from fedbench.baselines.independent import Independent
from fedbench.baselines.tvae import Tvae
from fedbench.data import Cohort
from fedbench.training import Batch

torch.set_num_threads(1)


def test_federated_is_centralized(
    trained: Callable[..., Any], small: Cohort, sites: Mapping[str, Cohort]
) -> None:
    rounds = 4
    exact = Tvae(passes=rounds, batch=0, optimizer="sgd", learning_rate=0.01, precision="float64")
    apart = trained(exact, sites, rounds)
    together = trained(exact, {"all": small}, rounds, apart.encoder)
    start = trained(exact, {"all": small}, 0, apart.encoder)
    for name, values in together.state.items():
        np.testing.assert_allclose(apart.state[name], values, atol=1e-9)
    moved = max(np.abs(v - start.state[k]).max() for k, v in together.state.items())
    assert moved > 1e-3


def test_the_structure_is_better_than_the_floor(
    trained: Callable[..., Any],
    structure: Callable[[Cohort, Cohort], float],
    small: Cohort,
    sites: Mapping[str, Cohort],
    odd_columns: Callable[[Cohort], None],
) -> None:
    run = trained(Tvae(passes=40), sites, 5)
    written = Tvae().sample(run.state, run.encoder, 4000, np.random.default_rng(1))
    floor = Independent().sample({}, run.encoder, 4000, np.random.default_rng(1))
    assert structure(written, small) < 0.6 * structure(floor, small)
    odd_columns(written)
    table = written.table
    assert table["weight"].isna().mean() == pytest.approx(
        small.table["weight"].isna().mean(), abs=0.08
    )


def test_the_same_seed_writes_the_same_patients(
    trained: Callable[..., Any], sites: Mapping[str, Cohort]
) -> None:
    runs = [trained(Tvae(passes=2), sites, 2) for _ in range(2)]
    written = [Tvae().sample(r.state, r.encoder, 50, np.random.default_rng(1)) for r in runs]
    assert written[0].fingerprint == written[1].fingerprint


def test_what_does_not_apply_costs_nothing(trained: Callable[..., Any], small: Cohort) -> None:
    model = Tvae(passes=1, precision="float64")
    run = trained(model, {"all": small}, 1)
    records = run.encoder.encode(small)
    phase = model.phases()[0]
    network = model.loaded(phase, run.state, run.encoder)
    other = type(records)(
        records.keys,
        records.numbers,
        records.missing,
        records.applies,
        np.where(records.levels_apply, records.levels, 0),
        records.levels_apply,
    )
    draws = torch.zeros(len(records), model.latent, dtype=torch.float64)
    losses = [
        model.losses(network, Batch.of(r, run.encoder, torch.float64, "cpu"), draws)["loss"]
        for r in (records, other)
    ]
    assert losses[0].shape == (len(records),)
    assert torch.equal(losses[0], losses[1])
