"""Gradient steps that no single patient shows in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import binom, chi2
from torch import Tensor, nn

from fedbench.baselines.tvae import Tvae
from fedbench.clipping import Clipped, sampled
from fedbench.data import Cohort
from fedbench.encoding import Encoder, summarize
from fedbench.generator import Local, Phase, Site
from fedbench.kinds import GENERATORS
from fedbench.privacy import os_normals
from fedbench.seeds import Seeds
from fedbench.stepping import Batch, Trainer
from fedbench.training import Neural, weights

PATIENTS = 40


def silence(count: int) -> np.ndarray:
    return np.zeros(count)


@dataclass(frozen=True)
class Setting:
    """A real generator's network, and patients it has never seen."""

    model: Neural
    network: nn.Module
    trainer: Trainer
    patients: list[Tensor]

    def losses(self, network: nn.Module, *patients: Tensor) -> Mapping[str, Tensor]:
        *records, draws = patients
        return self.model.losses(network, Batch.joined(records), draws)

    def clipped(self, **changed: Any) -> Clipped:
        usual: dict[str, Any] = {"bound": 1.0, "noise": 1.0, "expected": 1.0, "normals": silence}
        return Clipped(
            losses=self.losses,
            network=self.network,
            parameters=dict(self.network.named_parameters()),
            whole=self.trainer.whole,
            **usual | changed,
        )

    def gradient(self, rows: list[int], **changed: Any) -> Tensor:
        patients = [part[rows] for part in self.patients]
        self.clipped(**changed).differentiate("loss", patients)
        assert self.trainer.whole.grad is not None
        return self.trainer.whole.grad.clone()

    def alone(self, row: int) -> Tensor:
        """One patient's gradient as everybody computes it: in a batch of her own."""
        loss = self.losses(self.network, *(part[[row]] for part in self.patients))["loss"].mean()
        found = torch.autograd.grad(loss, list(self.network.parameters()))
        return torch.cat([gradient.flatten() for gradient in found])


@pytest.fixture
def setting(made_up: Callable[[int, int], Cohort]) -> Setting:
    cohort = made_up(PATIENTS, 0)
    encoder = Encoder(cohort.schema, summarize(cohort))
    model = GENERATORS.build("tvae", {"hidden": 8, "latent": 3, "precision": "float64"})
    assert isinstance(model, Neural)
    torch.manual_seed(1)
    network = model.network(Phase("train"), encoder).double()
    records = Batch.of(encoder.encode(cohort), encoder, torch.float64, "cpu")
    draws = torch.randn(PATIENTS, 3, dtype=torch.float64)
    trainer = Trainer.of(network, "loss", ("",), partial(torch.optim.SGD, lr=0.1))
    return Setting(model, network, trainer, [*records.tensors, draws])


def test_every_patient_has_the_gradient_that_she_has_alone(setting: Setting) -> None:
    found = setting.clipped().each("loss", setting.patients)
    each = torch.cat([part.flatten(start_dim=1) for part in found], dim=1)
    assert each.shape == (PATIENTS, len(setting.trainer.whole))
    for row in range(PATIENTS):
        torch.testing.assert_close(each[row], setting.alone(row))
    assert each.norm(dim=1).min() > 0.01


def test_long_gradients_are_shortened_and_short_ones_are_not(setting: Setting) -> None:
    lengths = torch.stack([setting.alone(row).norm() for row in range(PATIENTS)])
    bound = float(lengths.median())
    expected = sum(
        setting.alone(row) * min(1.0, bound / float(lengths[row])) for row in range(PATIENTS)
    )
    found = setting.gradient([*range(PATIENTS)], bound=bound, expected=20.0)
    torch.testing.assert_close(found, expected / 20, rtol=1e-5, atol=1e-8)


def test_done_in_turns_it_is_the_same(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = setting.gradient([*range(PATIENTS)])
    monkeypatch.setattr("fedbench.clipping._NUMBERS", 7 * len(setting.trainer.whole))
    torch.testing.assert_close(setting.gradient([*range(PATIENTS)]), whole)


@pytest.mark.parametrize("bound", [0.01, 1.0, 30.0])
def test_no_patient_moves_the_sum_further_than_the_bound(setting: Setting, bound: float) -> None:
    everybody = [*range(PATIENTS)]
    mine = setting.gradient(everybody, bound=bound)
    moved = [
        float((mine - setting.gradient([r for r in everybody if r != gone], bound=bound)).norm())
        for gone in everybody
    ]
    assert max(moved) <= bound * (1 + 1e-9)
    assert max(moved) > 0.5 * bound


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 1e200])
def test_a_patient_whose_gradient_is_no_number_moves_it_no_further(
    setting: Setting, odd: float
) -> None:
    before = setting.gradient([*range(1, PATIENTS)])
    setting.patients[0][0] = odd
    after = setting.gradient([*range(PATIENTS)])
    assert torch.isfinite(after).all()
    assert float((after - before).norm()) <= 1 + 1e-9


@pytest.mark.parametrize("normals", [np.random.default_rng(0).standard_normal, os_normals])
def test_the_noise_is_as_large_as_it_is_charged_for(
    setting: Setting, normals: Callable[[int], np.ndarray]
) -> None:
    quiet = {"bound": 2.0, "noise": 3.0, "expected": 5.0}
    drawn = torch.cat(
        [
            setting.gradient([*range(PATIENTS)], normals=normals, **quiet)
            - setting.gradient([*range(PATIENTS)], **quiet)
            for _ in range(20)
        ]
    ).numpy()
    low, high = chi2.ppf([5e-7, 1 - 5e-7], len(drawn))
    assert low < (drawn**2).sum() / (3.0 * 2.0 / 5.0) ** 2 < high
    assert not low < ((drawn / 10) ** 2).sum() / (3.0 * 2.0 / 5.0) ** 2 < high


def test_a_sample_of_nobody_is_noise_alone(setting: Setting) -> None:
    drawn = np.random.default_rng(4).standard_normal
    found = setting.gradient([], normals=drawn, noise=2.0)
    assert torch.isfinite(found).all()
    assert 1.5 < float(found.std()) < 2.5
    assert not setting.gradient([]).any()


def test_patients_are_sampled_one_by_one_at_the_rate_that_is_charged_for() -> None:
    normals = np.random.default_rng(2).standard_normal
    there = np.zeros((2_000, 30), dtype=bool)
    for row in there:
        row[sampled(30, 0.2, normals)] = True
    low, high = binom.ppf([1e-6, 1 - 1e-6], there.size, 0.2)
    assert low < there.sum() < high
    sizes = there.sum(axis=1)
    assert sizes.var() == pytest.approx(30 * 0.2 * 0.8, rel=0.15), "not all sizes are alike"
    correlation = np.corrcoef(there.T)[np.triu_indices(30, 1)]
    assert np.abs(correlation).max() < 5 / math.sqrt(len(there))
    assert sampled(30, 1.0, normals).tolist() == [*range(30)]


@dataclass(frozen=True, kw_only=True)
class Two(Tvae):
    """Two objectives that records enter."""

    objectives: ClassVar = {"write": ("decoder.", "spread"), "read": ("encoder.",)}

    def losses(self, network: nn.Module, batch: Batch, draws: Tensor) -> Mapping[str, Tensor]:
        return dict.fromkeys(self.objectives, super().losses(network, batch, draws)["loss"])


@pytest.mark.parametrize("kind", [Tvae, Two])
def test_no_patient_moves_all_objectives_together_further_than_the_bound(
    kind: type[Tvae], made_up: Callable[[int, int], Cohort]
) -> None:
    cohort, bound = made_up(1, 0), 0.25
    encoder = Encoder(cohort.schema, summarize(cohort))
    model = kind(passes=1, optimizer="sgd", learning_rate=1.0, precision="float64")
    budget = SimpleNamespace(
        promise=SimpleNamespace(clip=bound),
        noise=1e-12,
        rate=1.0,
        patients=1,
        normals=np.random.default_rng(0).standard_normal,
        pay=lambda _: None,
    )
    phase = model.phases()[0]
    site = Site("one", encoder.encode(cohort), encoder, {}, cohort)
    before = model.start(phase, None, encoder, np.random.default_rng(0))
    network = model.loaded(phase, before, encoder)
    local = Local(0, 1, Seeds(0))
    course = model._course(phase, before, site, "cpu")  # noqa: SLF001
    model._fit_privately(network, course, local, budget)  # type: ignore[arg-type]  # noqa: SLF001
    moved = sum(((array - before[name]) ** 2).sum() for name, array in weights(network).items())
    assert math.sqrt(moved) == pytest.approx(bound)
