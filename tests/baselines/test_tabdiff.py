from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from fedbench.baselines.independent import Independent
from fedbench.baselines.tabdiff import Tabdiff
from fedbench.data import Cohort
from fedbench.training import Batch

torch.set_num_threads(1)

SMALL: dict[str, Any] = {"hidden": 32, "layers": 2}


def test_federated_is_centralized(
    trained: Callable[..., Any], small: Cohort, sites: Mapping[str, Cohort]
) -> None:
    rounds = 2
    exact = Tabdiff(
        passes=rounds,
        batch=0,
        least_steps=1,
        optimizer="sgd",
        learning_rate=0.01,
        precision="float64",
        **SMALL,
    )
    apart = trained(exact, sites, rounds)
    together = trained(exact, {"all": small}, rounds, apart.encoder)
    start = trained(exact, {"all": small}, 0, apart.encoder)
    for name, values in together.state.items():
        np.testing.assert_allclose(apart.state[name], values, atol=1e-9)
    moved = max(np.abs(together.state[k] - v).max() for k, v in start.state.items())
    assert moved > 1e-3


def test_the_structure_is_better_than_the_floor(
    trained: Callable[..., Any],
    structure: Callable[[Cohort, Cohort], float],
    small: Cohort,
    sites: Mapping[str, Cohort],
    odd_columns: Callable[[Cohort], None],
) -> None:
    model = Tabdiff(passes=50, hidden=64, strides=12)
    run = trained(model, sites, 5)
    written = model.sample(run.state, run.encoder, 4000, np.random.default_rng(1))
    floor = Independent().sample({}, run.encoder, 4000, np.random.default_rng(1))
    assert structure(written, small) < 0.5 * structure(floor, small)
    odd_columns(written)
    for name, gone in small.table.isna().mean().items():
        assert written.table[name].isna().mean() == pytest.approx(gone, abs=0.05), name
    for name in ("age", "time"):
        assert written.table[name].std() == pytest.approx(small.table[name].std(), rel=0.08)


def test_it_begins_with_columns_on_their_own(trained: Callable[..., Any], small: Cohort) -> None:
    run = trained(Tabdiff(), {"all": small}, 0)
    table = Tabdiff().sample(run.state, run.encoder, 4000, np.random.default_rng(1)).table
    for feature in small.schema.features:
        real = small.table[feature.name]
        assert table[feature.name].isna().mean() == pytest.approx(real.isna().mean(), abs=0.04)
        if feature.column.kind == "category":
            shares = [x.value_counts(normalize=True) for x in (real, table[feature.name])]
            assert (shares[0] - shares[1]).abs().max() < 0.04, feature.name


def test_the_same_seed_writes_the_same_patients(
    trained: Callable[..., Any], sites: Mapping[str, Cohort]
) -> None:
    model = Tabdiff(passes=2, **SMALL)
    runs = [trained(model, sites, 2) for _ in range(2)]
    written = [model.sample(r.state, r.encoder, 50, np.random.default_rng(1)) for r in runs]
    assert written[0].fingerprint == written[1].fingerprint


def test_the_mean_over_rounds_writes_and_stays_at_the_server(
    trained: Callable[..., Any], small: Cohort
) -> None:
    model = Tabdiff(passes=6, **SMALL)
    run = trained(model, {"all": small}, 3)
    phase = model.phases()[0]
    names = {name for name, _ in model.network(phase, run.encoder).named_parameters()}
    assert set(model.message(phase, run.state, 3)) == names
    last = model.sample({k: run.state[k] for k in names}, run.encoder, 50, np.random.default_rng(1))
    mean = model.sample(run.state, run.encoder, 50, np.random.default_rng(1))
    assert last.fingerprint != mean.fingerprint


def test_what_does_not_apply_costs_nothing(trained: Callable[..., Any], small: Cohort) -> None:
    model = Tabdiff(passes=1, precision="float64", **SMALL)
    run = trained(model, {"all": small}, 1)
    records = run.encoder.encode(small)
    other = type(records)(
        records.keys,
        records.numbers,
        records.missing,
        records.applies,
        np.where(records.levels_apply, records.levels, 0),
        records.levels_apply,
    )
    phase = model.phases()[0]
    network = model.loaded(phase, run.state, run.encoder)
    draws = torch.as_tensor(model.draws(phase, run.encoder, records.keys, 1))
    losses = [
        model.losses(network, Batch.of(r, run.encoder, torch.float64, "cpu"), draws)["loss"]
        for r in (records, other)
    ]
    assert losses[0].shape == (len(records),)
    assert torch.equal(losses[0], losses[1])
