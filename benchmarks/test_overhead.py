"""What a round costs when nobody trains: ours in process against Flower's simulation on Ray."""

from __future__ import annotations

import fedbench.federation  # noqa: F401  isort: skip  (switches telemetry off before flwr)

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from fedbench.data import Cohort, DataStore, Part
from fedbench.datasets.pbcseq import Pbcseq
from fedbench.encoding import Encoder
from fedbench.federation.inprocess import train
from fedbench.federation.study import Choice, Study
from fedbench.generator import Generator, Local, Phase, Site, State
from fedbench.seeds import Rng
from fedbench.strategy import Memory, Update
from fedbench.strategy import Message as Arrays

pytest.importorskip("ray")

# Warnings of Ray and of Flower about Flower's own simulation are none of ours.
pytestmark = pytest.mark.filterwarnings("ignore")

SITES, SIZE, ROUNDS, TURNS = ("a", "b", "c", "d"), 100_000, 20, 3


@dataclass(frozen=True, kw_only=True)
class Echo(Generator):
    """Say back what was heard."""

    handles: ClassVar = frozenset(Part)

    def start(self, phase: Phase, state: State | None, encoder: Encoder, rng: Rng) -> State:
        return {"w": rng.standard_normal(SIZE).astype(np.float32)}

    def update(self, phase: Phase, message: Arrays, site: Site, local: Local, rng: Rng) -> Update:
        return Update(parameters=message, weight=float(len(site.records)))

    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        raise NotImplementedError


@pytest.fixture
def ours() -> Callable[[int], None]:
    everyone = Pbcseq().load(DataStore())
    dealt = np.array_split(np.random.default_rng(0).permutation(everyone.patients), len(SITES))
    cohorts: Mapping[str, Cohort] = {
        site: everyone.take(np.sort(mine)) for site, mine in zip(SITES, dealt, strict=True)
    }

    def run(rounds: int) -> None:
        study = Study(
            generator=Choice(f"{__name__}:Echo"),
            strategy=Choice("fedavg"),
            sites=SITES,
            rounds=rounds,
            seed=0,
        )
        assert len(train(study, cohorts).history["round"]) == len(SITES) * (rounds + 1)

    return run


@pytest.fixture
def theirs(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], None]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", "")  # Flower lengthens it
    config: Any = {
        "init_args": {
            "address": "local",
            "num_cpus": 2,
            "num_gpus": 0,
            "include_dashboard": False,
            "object_store_memory": 200_000_000,
            "_node_ip_address": "127.0.0.1",
            # Short: the paths of Ray's sockets end up in here.
            "_temp_dir": str(tmp_path_factory.mktemp("r")),
        },
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    }

    def run(rounds: int) -> None:
        done: list[int] = []
        run_simulation(flower_server(rounds, done), flower_client(), len(SITES), "ray", config)
        assert done == [rounds]

    return run


def flower_server(rounds: int, done: list[int]) -> ServerApp:
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        start = np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)
        strategy = FedAvg(fraction_evaluate=0.0, min_available_nodes=len(SITES))
        result = strategy.start(grid, ArrayRecord({"w": Array(start)}), num_rounds=rounds)
        np.testing.assert_allclose(result.arrays["w"].numpy(), start, rtol=1e-5)
        done.append(len(result.train_metrics_clientapp))

    return app


def flower_client() -> ClientApp:
    app = ClientApp()

    @app.train()
    def say_back(message: Message, context: Context) -> Message:
        arrays = message.content.array_records["arrays"]
        content = {"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}
        return Message(RecordDict(content), reply_to=message)

    return app


def seconds(run: Callable[[int], None], rounds: int) -> float:
    start = time.perf_counter()
    run(rounds)
    return time.perf_counter() - start


def test_an_empty_round_costs_a_twentieth_of_flowers_simulation(
    duel: Any, ours: Callable[[int], None], theirs: Callable[[int], None], tmp_path: Path
) -> None:
    pairs = duel.fight(lambda: ours(ROUNDS), lambda: theirs(ROUNDS), TURNS)
    # Twice the rounds, so that the difference is rounds alone and no start-up.
    rounds = [[seconds(run, 2 * ROUNDS) for _ in range(TURNS)] for run in (ours, theirs)]
    once = [statistics.median(found) for found in (pairs.ours, pairs.theirs)]
    our, their = (
        (statistics.median(twice) - short) / ROUNDS
        for twice, short in zip(rounds, once, strict=True)
    )
    duel.say(f"an empty federation of {ROUNDS} rounds, start-up included: {pairs}")
    duel.say(
        f"an empty round of {len(SITES)} sites and {SIZE} parameters: "
        f"ours {1000 * our:.3g} ms, theirs {1000 * their:.3g} ms, theirs / ours {their / our:.3g}"
    )
    assert their > 20 * our
