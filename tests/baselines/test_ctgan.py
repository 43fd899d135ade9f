from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from fedbench.baselines.ctgan import Ctgan
from fedbench.baselines.independent import Independent
from fedbench.data import Cohort
from fedbench.training import Batch

torch.set_num_threads(1)

SMALL: dict[str, Any] = {"hidden": 32, "latent": 8}


def test_federated_is_centralized(
    trained: Callable[..., Any], small: Cohort, sites: Mapping[str, Cohort]
) -> None:
    rounds = 4
    exact = Ctgan(
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
    moved = {k: np.abs(together.state[k] - v).max() for k, v in start.state.items()}
    assert max(moved[k] for k in moved if k.startswith("writer.")) > 1e-3
    assert max(moved[k] for k in moved if k.startswith("critic.")) > 1e-3


def test_the_structure_is_better_than_the_floor(
    trained: Callable[..., Any], structure: Callable[[Cohort, Cohort], float], small: Cohort
) -> None:
    apart, missing = [], []
    for seed in range(6):  # one training is chance, and another one on another processor
        run = trained(Ctgan(passes=60, hidden=64), {"all": small}, 6, seed=seed)
        written = Ctgan(hidden=64).sample(run.state, run.encoder, 4000, np.random.default_rng(1))
        floor = Independent().sample({}, run.encoder, 4000, np.random.default_rng(1))
        apart.append(structure(written, small) / structure(floor, small))
        table = written.table
        assert table["empty"].isna().all()
        assert (table["constant"] == "yes").all()
        assert not (table["ward"] == "never").any()
        missing.append(table["weight"].isna().mean())
    assert np.mean(apart) < 0.7
    assert np.mean(missing) == pytest.approx(small.table["weight"].isna().mean(), abs=0.1)


def test_it_begins_with_columns_on_their_own(trained: Callable[..., Any], small: Cohort) -> None:
    run = trained(Ctgan(), {"all": small}, 0)
    table = Ctgan().sample(run.state, run.encoder, 4000, np.random.default_rng(1)).table
    for feature in small.schema.features:
        real = small.table[feature.name]
        assert table[feature.name].isna().mean() == pytest.approx(real.isna().mean(), abs=0.1)
        if feature.column.kind == "category":
            shares = [x.value_counts(normalize=True) for x in (real, table[feature.name])]
            assert (shares[0] - shares[1]).abs().max() < 0.1, feature.name


def test_the_writer_learns_from_no_record(trained: Callable[..., Any], small: Cohort) -> None:
    model = Ctgan(precision="float64", **SMALL)
    run = trained(model, {"all": small}, 0)
    phase = model.phases()[0]
    network = model.loaded(phase, run.state, run.encoder)
    some = Batch.of(run.encoder.encode(small).take(slice(0, 50)), run.encoder, torch.float64, "cpu")
    nobody = Batch.joined([torch.zeros_like(part) for part in some.tensors])
    draws = torch.as_tensor(
        np.random.default_rng(0).standard_normal((50, model.width(phase, run.encoder)))
    )
    one, other = (model.losses(network, batch, draws) for batch in (some, nobody))
    assert one["writer"].shape == one["critic"].shape == (50,)
    assert torch.equal(one["writer"], other["writer"])
    assert not torch.equal(one["critic"], other["critic"])


def test_the_mean_over_rounds_writes_and_stays_at_the_server(
    trained: Callable[..., Any], small: Cohort
) -> None:
    model = Ctgan(passes=6, **SMALL)
    run = trained(model, {"all": small}, 3)
    told = model.message(model.phases()[0], run.state, 3)
    assert {name.partition(".")[0] for name in told} == {"writer", "critic"}
    lasting = model.lasting(run.state)
    same = {name for name in told if np.array_equal(lasting[name], run.state[name])}
    assert same >= {name for name in told if name.startswith("critic.")}
    assert not any(name.startswith("writer.last") for name in same)
