"""Flower averages what the sites said, to the bit as if it had come off the wire."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvg, FedTrimmedAvg

from fedbench.federation.inprocess import identify
from fedbench.federation.strategies._flower import combined_by
from fedbench.federation.strategies.fedavg import FedAvg as Plain
from fedbench.federation.strategies.fedavgm import FedAvgM
from fedbench.federation.strategies.fednova import FedNova
from fedbench.federation.strategies.fedyogi import FedYogi
from fedbench.federation.strategies.median import Median
from fedbench.federation.strategies.scaffold import Scaffold
from fedbench.federation.strategies.trimmed import Trimmed
from fedbench.strategy import Message as Sent
from fedbench.strategy import Update


@pytest.fixture
def updates() -> dict[str, Update]:
    identify()
    rng = np.random.default_rng(0)
    return {
        site: Update(
            parameters={
                "w": rng.standard_normal((7, 5)).astype(np.float32),
                "b": rng.standard_normal(3),
                "n": np.array([i, 2 * i]),
            },
            weight=float(10 + i),
        )
        for i, site in enumerate(("east", "north", "west"))
    }


def flower(kind: str) -> Any:
    if kind == "fedavg":
        return FedAvg()
    adam = FedAdam()
    adam.current_arrays = {"w": np.zeros((7, 5), np.float32), "b": np.zeros(3), "n": np.zeros(2)}
    return adam


@pytest.mark.parametrize("kind", ["fedavg", "fedadam"])
def test_what_flower_combines_does_not_depend_on_how_it_is_handed_over(
    kind: str, updates: dict[str, Update]
) -> None:
    written = [
        Message(
            RecordDict(
                {
                    "arrays": ArrayRecord(
                        {name: Array(update.parameters[name]) for name in ("b", "n", "w")}
                    ),
                    "metrics": MetricRecord({"num-examples": update.weight}),
                }
            ),
            0,
            "train",
        )
        for update in updates.values()
    ]
    expected, _ = flower(kind).aggregate_train(1, written)
    found = combined_by(flower(kind), updates, 0).parameters
    assert set(found) == set(expected)
    for name, array in expected.items():
        dtype = updates["east"].parameters[name].dtype
        assert found[name].dtype == dtype
        assert found[name].tobytes() == array.numpy().astype(dtype).tobytes()


def test_combining_leaves_what_the_sites_said_alone(updates: dict[str, Update]) -> None:
    before = {site: update.parameters["w"].copy() for site, update in updates.items()}
    combined = combined_by(flower("fedavg"), updates, 0).parameters
    combined["w"][:] = 0
    for site, update in updates.items():
        assert (update.parameters["w"] == before[site]).all()
        update.parameters["w"][:] = 1  # Still the server's own to change.


def told(*values: float, steps: tuple[int, ...] = (), weights: tuple[float, ...] = ()) -> Any:
    n = len(values)
    return {
        f"s{i}": Update(
            parameters={"w": np.array([values[i], 2 * values[i]])},
            weight=(weights or (1.0,) * n)[i],
            steps=(steps or (1,) * n)[i],
        )
        for i in range(n)
    }


STILL = {"w": np.zeros(2)}
RNG = np.random.default_rng(0)


def test_momentum_carries_over_rounds() -> None:
    identify()
    strategy, state, velocity = FedAvgM(momentum=0.5), dict(STILL), np.zeros(2)
    kept: Sent = {}
    expected = np.zeros(2)
    for values in ((1.0, 3.0), (2.0, 2.0), (5.0, 1.0)):
        combined, kept = strategy.combine(state, told(*values), kept, RNG)
        mean = np.mean(values) * np.array([1.0, 2.0])
        velocity = 0.5 * velocity + (expected - mean)
        expected = expected - velocity
        state = dict(combined.parameters)
        assert state["w"] == pytest.approx(expected)


def test_yogi_takes_the_steps_of_its_paper() -> None:
    identify()
    strategy, state = FedYogi(eta=0.1, tau=0.01), dict(STILL)
    kept: Sent = {}
    x, m, v = np.zeros(2), np.zeros(2), np.zeros(2)
    for values in ((1.0, 3.0), (2.0, 0.0)):
        combined, kept = strategy.combine(state, told(*values), kept, RNG)
        change = np.mean(values) * np.array([1.0, 2.0]) - x
        m = 0.9 * m + 0.1 * change
        v = v - 0.01 * change**2 * np.sign(v - change**2)
        x = x + 0.1 * m / (np.sqrt(v) + 0.01)
        state = dict(combined.parameters)
        assert state["w"] == pytest.approx(x)


def test_fednova_counts_directions_and_not_steps() -> None:
    same, _ = FedNova().combine(STILL, told(1.0, 3.0, steps=(4, 4)), {}, RNG)
    assert same.parameters["w"].tolist() == [2.0, 4.0]
    # Two sites go the same way per step, one four times as far: each counts once.
    found, _ = FedNova().combine(STILL, told(1.0, 8.0, steps=(1, 4)), {}, RNG)
    assert found.parameters["w"] == pytest.approx(2.5 * (1.0 + 2.0) / 2 * np.array([1, 2]))


@pytest.mark.parametrize("strategy", [Median(), Trimmed()])
def test_one_of_four_sites_cannot_move_the_middle(strategy: Any) -> None:
    combined, _ = strategy.combine(STILL, told(0.9, 1.0, 1.1, 1e6), {}, RNG)
    assert combined.parameters["w"][0] == pytest.approx(1.05)


def test_flowers_own_trimmed_mean_trims_nothing_at_four_sites() -> None:
    identify()
    found = combined_by(FedTrimmedAvg(beta=0.2), told(0.9, 1.0, 1.1, 1e6), 0)
    assert found.parameters["w"][0] > 1e5


def test_trimming_never_drops_everybody() -> None:
    for n in range(1, 6):
        combined, _ = Trimmed(share=0.49).combine(STILL, told(*map(float, range(n))), {}, RNG)
        assert combined.parameters["w"][0] == pytest.approx((n - 1) / 2)


def descended(strategy: Any, rounds: int = 60, steps: int = 10, rate: float = 0.1) -> float:
    """Two sites with losses a (x - b)^2 / 2 under a strategy; the optimum of the sum is 0.4."""
    losses = {"s0": (1.0, 0.0), "s1": (4.0, 0.5)}
    memories: dict[str, dict[str, Any]] = {site: {} for site in losses}
    state = {"w": np.array([3.0])}
    kept = strategy.meet({site: Update(weight=1.0) for site in losses})
    for _ in range(rounds):
        extra, updates = strategy.broadcast(kept), {}
        for site, (a, b) in losses.items():
            correction = strategy.correct(extra, memories[site])
            x, total = state["w"].copy(), np.zeros(1)
            for _ in range(steps):
                gradient = a * (x - b)
                total += gradient
                x -= rate * (gradient + correction.shift.get("w", 0.0))
            update = Update(
                parameters={"w": x}, weight=1.0, steps=steps, control={"w": total / steps}
            )
            updates[site] = strategy.learn(update, extra, memories[site])
        combined, kept = strategy.combine(state, updates, kept, RNG)
        state = dict(combined.parameters)
    return float(state["w"][0])


def test_scaffold_finds_the_optimum_that_averaging_drifts_away_from() -> None:
    assert abs(descended(Plain()) - 0.4) > 0.05
    assert descended(Scaffold()) == pytest.approx(0.4, abs=1e-6)
