"""Matching helps networks that started apart, and changes nothing for those that did not."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from fedbench.data import DataStore
from fedbench.datasets.pbcseq import Pbcseq
from fedbench.encoding import Encoder, summarize
from fedbench.federation.inprocess import identify
from fedbench.federation.strategies.fedavg import FedAvg
from fedbench.federation.strategies.matched import Matched
from fedbench.generator import Local, Phase, Site
from fedbench.kinds import GENERATORS
from fedbench.matching import chains, matched
from fedbench.seeds import Seeds
from fedbench.strategy import Message, Strategy, Update
from fedbench.training import weights

SITES, CODES, HIDDEN, LATENT = 4, 40, 24, 6


@pytest.fixture(autouse=True)
def _identified() -> None:
    identify()


class Net(nn.Module):
    """An autoencoder whose middle has no activation."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(*layers)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.net(seen)
        return found


def network(seed: int) -> Net:
    torch.manual_seed(seed)
    return Net(
        nn.Linear(CODES, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, LATENT),
        nn.Linear(LATENT, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CODES),
    )  # fmt: skip


def patients(n: int, seed: int) -> torch.Tensor:
    """Who has which codes: a few hidden causes bring codes about, the same at every site."""
    world = np.random.default_rng(0)
    brings = world.normal(0, 2.0, (LATENT, CODES))
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((n, LATENT)) @ brings - 1
    return torch.as_tensor(rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).float()


def cost(net: nn.Module, seen: torch.Tensor) -> torch.Tensor:
    """What writing a patient back costs, summed over codes."""
    return nn.functional.binary_cross_entropy_with_logits(net(seen), seen) * CODES


def trained(net: nn.Module, seen: torch.Tensor, steps: int) -> nn.Module:
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(cost(net, seen))
        optimizer.step()
    return net


def federated(strategy: Strategy, *, rounds: int, steps: int, apart: bool) -> float:
    """Return what patients cost whom nobody has seen, after so many rounds."""
    shared: Message = weights(network(0))
    for turn in range(rounds):
        updates = {}
        for site in range(SITES):
            net = network(site)
            if not apart or turn:
                net.load_state_dict({k: torch.as_tensor(v) for k, v in shared.items()})
            trained(net, patients(300, 100 + site), steps)
            updates[f"site-{site}"] = Update(parameters=weights(net), weight=300.0)
        shared = strategy.combine(shared, updates, {}, np.random.default_rng(0))[0].parameters
    net = network(0)
    net.load_state_dict({k: torch.as_tensor(v) for k, v in shared.items()})
    with torch.no_grad():
        return float(cost(net, patients(2000, 7)))


def test_once_from_different_starts_it_is_much_better() -> None:
    plain = federated(FedAvg(), rounds=1, steps=150, apart=True)
    ours = federated(Matched(signed=True), rounds=1, steps=150, apart=True)
    alone = float(cost(trained(network(0), patients(300, 100), 150), patients(2000, 7)).detach())
    assert ours < plain - 0.3 * (plain - alone)


def test_in_rounds_from_one_start_it_makes_no_difference() -> None:
    plain = federated(FedAvg(), rounds=4, steps=20, apart=False)
    ours = federated(Matched(signed=True), rounds=4, steps=20, apart=False)
    assert ours == pytest.approx(plain, rel=0.02)


def shuffled(parameters: Message, rng: np.random.Generator) -> Message:
    """The same network with its hidden units in another order and turned around."""
    found = {name: np.array(array) for name, array in parameters.items()}
    for layer, after in (("0", "2"), ("2", "3"), ("3", "5")):
        size = len(found[f"net.{layer}.bias"])
        place, sign = rng.permutation(size), rng.choice([-1.0, 1.0], size).astype(np.float32)
        found[f"net.{layer}.weight"] = found[f"net.{layer}.weight"][place] * sign[:, None]
        found[f"net.{layer}.bias"] = found[f"net.{layer}.bias"][place] * sign
        found[f"net.{after}.weight"] = found[f"net.{after}.weight"][:, place] * sign
    return found


def test_one_network_in_two_orders_is_that_network() -> None:
    one = weights(network(3))
    other = shuffled(one, np.random.default_rng(0))
    found = matched({"a": one, "b": other}, {"a": 2.0, "b": 1.0}, signed=True)
    for name, array in one.items():
        assert np.allclose(found[name], array, atol=1e-6), name


def test_layers_that_do_not_follow_each_other_are_left_alone() -> None:
    lists = {
        f"heads.{i}.{part}": np.ones(shape)
        for i, size in enumerate((2, 5))
        for part, shape in (("weight", (size, 3)), ("bias", (size,)))
    }
    assert chains(lists) == []
    found = matched({"a": lists, "b": {k: 3 * v for k, v in lists.items()}}, {"a": 1.0, "b": 1.0})
    assert all((array == 2).all() for array in found.values())


@pytest.mark.parametrize("generator", ["tvae", "tabdiff", "halo"])
def test_no_generator_is_another_one_with_its_units_in_another_order(generator: str) -> None:
    cohort = Pbcseq().load(DataStore())
    cohort = cohort.take(cohort.patients[:40])
    encoder = Encoder(cohort.schema, summarize(cohort))
    model, rng, phase = GENERATORS.build(generator), np.random.default_rng(0), Phase("train")
    start = model.start(phase, None, encoder, rng)
    # Some generators begin with layers of zeros, which would hide a difference.
    some = {name: a + rng.normal(0, 0.1, a.shape).astype(a.dtype) for name, a in start.items()}
    other = dict(some)
    for chain in chains(some):
        for layer, after in pairwise(chain):
            place = rng.permutation(len(other[f"{layer}.bias"]))
            for part in ("weight", "bias"):
                other[f"{layer}.{part}"] = other[f"{layer}.{part}"][place]
            other[f"{after}.weight"] = other[f"{after}.weight"][:, place]
    assert bool(chains(some)) == (generator == "tvae")
    site, local = Site("x", encoder.encode(cohort), encoder, {}, cohort), Local(0, 1, Seeds(0))
    one, turned = (model.judge(phase, state, site, local) for state in (some, other))
    np.testing.assert_allclose(one, turned, rtol=1e-4)
