"""What weights cost and save where the truth is planted: nats a patient beyond the true model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from fedbench.federation.inprocess import identify
from fedbench.federation.strategies.daw import DistributionAware
from fedbench.federation.strategies.fedavg import FedAvg
from fedbench.federation.strategies.median import Median
from fedbench.strategy import Strategy, Update

LEVELS, COLUMNS, SEEDS = 8, 10, range(10)
EIGHT = {f"s{i}": 500 for i in range(8)}
GIANT = {**EIGHT, "s3": 2500}
UNEQUAL = {f"s{i}": n for i, n in enumerate((60, 100, 200, 400, 800, 1200, 2000, 3000))}
FAIR = DistributionAware(gamma=0.0, doubt=1e9, out=2e9)
"""Every hospital counts the same, nobody is shut out."""


@pytest.fixture(autouse=True)
def _identified() -> None:
    identify()


def truths(sizes: Mapping[str, int], seed: int, moved: str, how: str) -> dict[str, np.ndarray]:
    """The distribution of every column at every site; one site is recoded or shifted."""
    rng = np.random.default_rng(seed)
    common = rng.dirichlet(np.ones(LEVELS), size=COLUMNS)
    other = common[:, rng.permutation(LEVELS)]
    if how == "shifted":
        tilt = np.exp(np.linspace(-1, 1, LEVELS))
        other = common * tilt / (common * tilt).sum(axis=1, keepdims=True)
    return {site: other if site == moved else common for site in sizes}


def gaps(
    strategy: Strategy, sizes: Mapping[str, int], seed: int, moved: str = "", how: str = ""
) -> dict[str, float]:
    """Return how many nats worse than the truth the combined model is at every site."""
    rng, truth = np.random.default_rng(1000 + seed), truths(sizes, seed, moved, how)
    told = {}
    for site, n in sizes.items():
        counts = np.stack([rng.multinomial(n, p) for p in truth[site]]).astype(float)
        model = (counts + 0.5) / (n + 0.5 * LEVELS)
        sums = {f"c{j}": np.append(counts[j], 0.0) for j in range(COLUMNS)}
        told[site] = Update(parameters={"p": model}, sums=sums, weight=float(n))
    combined, _ = strategy.combine({}, told, strategy.meet(told), rng)
    model = combined.parameters["p"]
    model = model / model.sum(axis=1, keepdims=True)
    return {site: float((p * np.log(p / model)).sum()) for site, p in truth.items()}


def mean(strategy: Strategy, sizes: Mapping[str, int], at: str, **world: str) -> float:
    return float(np.mean([gaps(strategy, sizes, seed, **world)[at] for seed in SEEDS]))


def test_an_outlier_that_is_the_largest_is_withstood() -> None:
    world = {"moved": "s3", "how": "recoded"}
    ours, plain = (mean(each, GIANT, "s0", **world) for each in (DistributionAware(), FedAvg()))
    equal = mean(FAIR, GIANT, "s0", **world)
    assert ours < 0.15 * plain
    assert ours < 0.5 * equal


def test_unequal_hospitals_that_are_alike_lose_little_by_it_and_more_by_a_median() -> None:
    ours, plain, middle = (
        mean(each, UNEQUAL, "s0") for each in (DistributionAware(), FedAvg(), Median())
    )
    assert ours <= plain + 0.05
    assert middle > ours


def test_a_shifted_giant_is_held_back() -> None:
    """Between patients as they are elsewhere and its own, weights choose those elsewhere."""
    ours, plain = (
        [gaps(each, GIANT, seed, moved="s3", how="shifted") for seed in SEEDS]
        for each in (DistributionAware(), FedAvg())
    )
    others = [site for site in GIANT if site != "s3"]
    for site in others:
        assert np.mean([found[site] for found in ours]) < np.mean([found[site] for found in plain])
    everywhere = [np.mean([np.mean([*g.values()]) for g in found]) for found in (ours, plain)]
    assert everywhere[0] < everywhere[1]
    # What that costs: the giant itself is served worse.
    assert np.mean([g["s3"] for g in ours]) > np.mean([g["s3"] for g in plain])
