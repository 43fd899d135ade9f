"""What a round costs when nobody trains: ours in process against Flower's simulation on Ray."""

from __future__ import annotations

import fedbench.federation  # noqa: F401  isort: skip  (switches telemetry off before flwr)

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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
from fedbench.strategy import Combined, Memory, Update
from fedbench.strategy import Message as Arrays

pytest.importorskip("ray")

# Warnings of Ray and of Flower about Flower's own simulation are none of ours.
pytestmark = pytest.mark.filterwarnings("ignore")

SITES, SIZE, ROUNDS, TURNS = ("a", "b", "c", "d"), 100_000, 20, 3

# Ray's start-up varies by seconds; the difference between the two must be well above that.
SHORT, LONG = 50, 100

FOLDED: list[float] = []
"""When the server had combined each round, of whichever federation runs."""


@dataclass(frozen=True, kw_only=True)
class Echo(Generator):
    """Say back what was heard."""

    handles: ClassVar = frozenset(Part)

    def start(self, phase: Phase, state: State | None, encoder: Encoder, rng: Rng) -> State:
        return {"w": rng.standard_normal(SIZE).astype(np.float32)}

    def update(self, phase: Phase, message: Arrays, site: Site, local: Local, rng: Rng) -> Update:
        return Update(parameters=message, weight=float(len(site.records)))

    def fold(
        self, phase: Phase, state: State, combined: Combined, encoder: Encoder, rng: Rng
    ) -> State:
        FOLDED.append(time.perf_counter())
        return super().fold(phase, state, combined, encoder, rng)

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


class Clocked(FedAvg):
    """Flower's own averaging, with the time of each round."""

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        found = super().aggregate_train(server_round, replies)
        FOLDED.append(time.perf_counter())
        return found


def flower_server(rounds: int, done: list[int]) -> ServerApp:
    app = ServerApp()

    @app.main()
    def main(grid: Grid, _: Context) -> None:
        start = np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)
        strategy = Clocked(fraction_evaluate=0.0, min_available_nodes=len(SITES))
        result = strategy.start(grid, ArrayRecord({"w": Array(start)}), num_rounds=rounds)
        np.testing.assert_allclose(result.arrays["w"].numpy(), start, rtol=1e-5)
        done.append(len(result.train_metrics_clientapp))

    return app


def flower_client() -> ClientApp:
    app = ClientApp()

    @app.train()
    def say_back(message: Message, _: Context) -> Message:
        arrays = message.content.array_records["arrays"]
        content = {"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}
        return Message(RecordDict(content), reply_to=message)

    return app


def seconds(run: Callable[[int], None], rounds: int) -> float:
    FOLDED.clear()
    start = time.perf_counter()
    run(rounds)
    return time.perf_counter() - start


def a_round(run: Callable[[int], None]) -> tuple[float, float]:
    """Return milliseconds a round: by two lengths of run, and by the server's own clock."""
    short, long = seconds(run, SHORT), seconds(run, LONG)
    assert len(FOLDED) == LONG
    # The mean: Flower's rounds take one or two of its polls, and a median hides the second.
    mean = (FOLDED[-1] - FOLDED[0]) / (LONG - 1)
    return 1000 * (long - short) / (LONG - SHORT), 1000 * mean


def test_an_empty_round_costs_a_twentieth_of_flowers_simulation(
    duel: Any, ours: Callable[[int], None], theirs: Callable[[int], None]
) -> None:
    pairs = duel.fight(lambda: ours(ROUNDS), lambda: theirs(ROUNDS), TURNS)
    duel.say(f"an empty federation of {ROUNDS} rounds, start-up included: {pairs}")
    turns = [(a_round(ours), a_round(theirs)) for _ in range(TURNS)]
    ratios = []
    for i, how in enumerate((f"{LONG} against {SHORT} rounds", "by the server's clock")):
        our, their = ([turn[side][i] for turn in turns] for side in (0, 1))
        ratios.append(statistics.median(their) / statistics.median(our))
        duel.say(
            f"an empty round of {len(SITES)} sites and {SIZE} parameters, {how}: "
            f"ours {duel.spread(our)} ms, theirs {duel.spread(their)} ms, "
            f"theirs / ours {ratios[-1]:.3g}"
        )
    # By the clock: start-up varies by more than many rounds take, and is not in it.
    assert ratios[1] > 20
