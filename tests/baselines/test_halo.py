from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from fedbench.baselines.halo import Halo
from fedbench.data import Cohort
from fedbench.generator import Site
from fedbench.sequences import Sequences
from fedbench.training import Batch

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def real(planted: Callable[[int], Cohort]) -> Cohort:
    return planted(300)


@pytest.fixture(scope="module")
def run(trained: Callable[..., Any], real: Cohort) -> Any:
    return trained(Halo(passes=24), {"all": real}, 1)


@pytest.fixture(scope="module")
def written(run: Any) -> Sequences:
    return Halo().sample(run.state, run.encoder, 1000, np.random.default_rng(1)).sequences


def followed(steps: Sequences) -> tuple[float, float]:
    """Return how often B is there after a visit with A, and after one without."""
    has = steps.multi_hot(slice(None))
    same = steps.owner[1:] == steps.owner[:-1]
    first, second = has[:-1, 0][same], has[1:, 1][same]
    return float(second[first].mean()), float(second[~first].mean())


def test_a_lab_remembers_itself(
    remembered: Callable[[Sequences], float], real: Cohort, written: Sequences
) -> None:
    assert remembered(real.sequences) > 0.75
    assert remembered(written) == pytest.approx(remembered(real.sequences), abs=0.2)
    assert written.measured.mean() == pytest.approx(real.sequences.measured.mean(), abs=0.06)


def test_a_code_follows_another(written: Sequences) -> None:
    after, otherwise = followed(written)
    assert after > 0.8
    assert otherwise < 0.1


def test_gaps_and_lengths_are_those_of_patients(real: Cohort, written: Sequences) -> None:
    gaps = written.gap[~np.isnan(written.gap)]
    assert np.mean((gaps >= 25) & (gaps <= 35)) > 0.95
    lengths, found = np.diff(real.sequences.starts), np.diff(written.starts)
    assert found.mean() == pytest.approx(lengths.mean(), abs=0.6)
    assert np.mean((found >= 2) & (found <= 8)) > 0.9
    assert (written.day <= 500).mean() > 0.95


def test_the_same_seed_writes_the_same_patients(run: Any) -> None:
    prints = {
        Halo().sample(run.state, run.encoder, 40, np.random.default_rng(1)).fingerprint
        for _ in range(2)
    }
    assert len(prints) == 1


def test_patients_cost_the_same_alone_and_together(run: Any, real: Cohort) -> None:
    model = Halo(precision="float64")
    site = Site("a", run.encoder.encode(real), run.encoder, {}, real)
    everyone = Batch.of(
        site.records, run.encoder, torch.float64, "cpu", model.besides(model.phases()[0], {}, site)
    )
    network = model.loaded(model.phases()[0], run.state, run.encoder)
    none = torch.zeros(len(everyone), 0, dtype=torch.float64)
    together = model.losses(network, everyone, none)["loss"]
    for i in (0, 7, 30):
        alone = model.losses(network, everyone.take(slice(i, i + 1)), none[:1])["loss"]
        assert alone.item() == pytest.approx(together[i].item(), abs=1e-9)


def test_federated_is_centralized(
    trained: Callable[..., Any], small: Cohort, sites: Mapping[str, Cohort]
) -> None:
    exact = Halo(passes=2, batch=0, least_steps=1, optimizer="sgd", learning_rate=1e-3,
                 precision="float64")  # fmt: skip
    apart = trained(exact, sites, 2)
    together = trained(exact, {"all": small}, 2, apart.encoder)
    for name, values in together.state.items():
        np.testing.assert_allclose(apart.state[name], values, atol=1e-9)
