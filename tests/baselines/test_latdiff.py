from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fedbench.baselines.latdiff import Latdiff
from fedbench.data import Cohort
from fedbench.generator import Site
from fedbench.sequences import Sequences
from fedbench.training import Batch

torch.set_num_threads(1)

TINY: dict[str, Any] = {"hidden": 16, "rank": 8, "wide": 16, "layers": 1, "latent": 4}
MODEL = Latdiff(
    passes=40,
    time_passes=40,
    batch=64,
    learning_rate=5e-3,
    hidden=64,
    rank=32,
    wide=32,
    layers=2,
    latent=8,
)


@pytest.fixture(scope="module")
def real(planted: Callable[[int], Cohort]) -> Cohort:
    return planted(200)


@pytest.fixture(scope="module")
def run(trained: Callable[..., Any], real: Cohort) -> Any:
    return trained(MODEL, {"all": real}, 4)


@pytest.fixture(scope="module")
def written(run: Any) -> Sequences:
    return MODEL.sample(run.state, run.encoder, 1000, np.random.default_rng(1)).sequences


def test_a_lab_remembers_itself(
    remembered: Callable[[Sequences], float], real: Cohort, written: Sequences
) -> None:
    assert remembered(real.sequences) > 0.75
    assert remembered(written) > 0.4
    assert written.measured.mean() == pytest.approx(real.sequences.measured.mean(), abs=0.08)


def test_a_code_follows_another(written: Sequences) -> None:
    has = written.multi_hot(slice(None))
    same = written.owner[1:] == written.owner[:-1]
    first, second = has[:-1, 0][same], has[1:, 1][same]
    assert second[first].mean() > 0.8
    assert second[~first].mean() < 0.1


def test_gaps_and_lengths_are_those_of_patients(real: Cohort, written: Sequences) -> None:
    gaps = written.gap[~np.isnan(written.gap)]
    assert np.mean((gaps >= 25) & (gaps <= 35)) > 0.85
    assert (written.day <= 500).all()
    lengths, found = np.diff(real.sequences.starts), np.diff(written.starts)
    assert found.max() <= lengths.max()
    assert found.mean() == pytest.approx(lengths.mean(), abs=0.8)


def _evenly(real: Cohort) -> Cohort:
    """Return these patients with their visits evenly spread over the same 480 days."""
    steps = real.sequences
    lengths = np.diff(steps.starts)
    count = np.arange(len(steps.day)) - np.repeat(steps.starts[:-1], lengths)
    visits = pd.DataFrame(
        {
            "patient": real.patients[steps.owner],
            "day": np.round(480 * count / np.maximum(lengths[steps.owner] - 1, 1)),
            "lab": 0.0,
        }
    )
    return Cohort.of_tables(real.schema, real.static, visits, real.codes.head(0), real.outcome)


def test_days_add_up_to_the_time_that_is_left(
    trained: Callable[..., Any], planted: Callable[[int], Cohort]
) -> None:
    model = replace(MODEL, passes=60, time_passes=20)
    run = trained(model, {"all": _evenly(planted(400))}, 4)
    written = model.sample(run.state, run.encoder, 1000, np.random.default_rng(1)).sequences
    several = np.diff(written.starts) > 1
    last = written.day[written.starts[1:][several] - 1]
    assert np.mean(np.abs(last - 480) <= 60) > 0.85


def test_stages_hand_on_what_they_end_with(run: Any, real: Cohort) -> None:
    _, moments, time = MODEL.phases()
    assert moments.rounds == 1
    assert {"reader.out.weight", "writer.day.0.weight", "centre", "spread", "lengths"} <= set(
        run.state
    )
    assert run.state["lengths"].sum() == len(real)
    state = MODEL.settled(run.state)
    for phase in (moments, time):
        told = MODEL.message(phase, state, 0)
        assert any(name.startswith("reader.") for name in told)
        assert not any(name.startswith(("writer.", "lengths")) for name in told)
    site = Site("a", run.encoder.encode(real), run.encoder, {}, real)
    latents, lengths = MODEL.besides(time, MODEL.message(time, state, 0), site)
    there = np.arange(latents.shape[1]) < lengths[:, None]
    each = there / np.maximum(lengths, 1)[:, None]
    visited = (lengths > 0).sum()
    np.testing.assert_allclose((each[..., None] * latents).sum(axis=(0, 1)) / visited, 0, atol=1e-9)
    square = (each[..., None] * latents**2).sum(axis=(0, 1)) / visited
    np.testing.assert_allclose(square, 1, atol=1e-6)


def test_the_frozen_reader_is_sent_by_no_site_after_its_stage(run: Any) -> None:
    names = {
        phase.name: {name for name, _ in MODEL.network(phase, run.encoder).named_parameters()}
        for phase in MODEL.phases()
    }
    assert not names["time"] & names["visits"]
    assert {name.partition(".")[0] for name in names["moments"]} == {"reader"}


def test_the_same_seed_writes_the_same_patients(run: Any) -> None:
    one, other = (
        MODEL.sample(run.state, run.encoder, 40, np.random.default_rng(1)) for _ in range(2)
    )
    assert one.fingerprint == other.fingerprint


def test_patients_cost_the_same_alone_and_together(
    trained: Callable[..., Any], real: Cohort
) -> None:
    model = Latdiff(passes=1, time_passes=1, precision="float64", **TINY)
    run = trained(model, {"all": real}, 1)
    site = Site("a", run.encoder.encode(real), run.encoder, {}, real)
    for phase in (model.phases()[0], model.phases()[2]):
        extra = model.besides(phase, run.state, site)
        everyone = Batch.of(site.records, run.encoder, torch.float64, "cpu", extra)
        network = model.loaded(phase, run.state, run.encoder)
        draws = torch.as_tensor(model.draws(phase, run.encoder, site.records.keys, 3))
        together = model.losses(network, everyone, draws)["loss"]
        for i in (0, 7, 30):
            some = slice(i, i + 1)
            alone = model.losses(network, everyone.take(some), draws[some])["loss"]
            assert alone.item() == pytest.approx(together[i].item(), abs=1e-9)


def test_federated_is_centralized(
    trained: Callable[..., Any], small: Cohort, sites: Mapping[str, Cohort]
) -> None:
    exact = Latdiff(
        passes=2,
        time_passes=2,
        batch=0,
        least_steps=1,
        optimizer="sgd",
        learning_rate=1e-3,
        precision="float64",
        longest=8,
        **TINY,
    )
    apart = trained(exact, sites, 2)
    together = trained(exact, {"all": small}, 2, apart.encoder)
    for name, values in together.state.items():
        np.testing.assert_allclose(apart.state[name], values, atol=1e-9)
