"""The server's control variate is the mean of the sites', whoever learns and in every phase."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from fedbench.federation.inprocess import train
from fedbench.federation.stopping import Stopping
from fedbench.federation.strategies.scaffold import Scaffold
from fedbench.federation.study import Choice, Study
from fedbench.seeds import Rng
from fedbench.strategy import Combined, Memory, Message, Update
from fedbench.testing.cohorts import made_up_sites

TVAE = Choice("tvae", {"passes": 6, "hidden": 8, "latent": 2})
ALIGN = Choice(
    "align",
    {"passes": 4, "time_passes": 2, "batch": 16, "hidden": 8, "rank": 8, "latent": 2, "wide": 8,
     "layers": 1, "heads": 2, "adapter": 4},
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Followed(Scaffold):
    """Says how far the server's variate is from the mean of what sites remember."""

    own: ClassVar[list[tuple[float, Message]]] = []
    gaps: ClassVar[list[float]] = []

    def learn(self, update: Update, extra: Message, memory: Memory) -> Update:
        found = super().learn(update, extra, memory)
        self.own.append((update.weight, dict(memory)))
        return found

    def combine(
        self, state: Message, updates: Mapping[str, Update], server: Message, rng: Rng
    ) -> tuple[Combined, Message]:
        combined, kept = super().combine(state, updates, server, rng)
        total = sum(weight for weight, _ in self.own)
        for name, everybody in self.broadcast(kept).items():
            if all(name in memory for _, memory in self.own):
                mean = sum(weight / total * memory[name] for weight, memory in self.own)
                self.gaps.append(float(np.abs(everybody - mean).max(initial=0.0)))
        self.own.clear()
        return combined, kept


@pytest.fixture
def followed(study: Study) -> Iterator[Callable[..., float]]:
    def furthest(generator: Choice, stopping: Stopping | None = None) -> float:
        sites = made_up_sites(90, 0)
        how: Any = {"strategy": Choice(f"{__name__}:Followed"), "sites": tuple(sites), "rounds": 3}
        train(replace(study, generator=generator, stopping=stopping, **how), sites)
        return max(Followed.gaps)

    yield furthest
    Followed.own.clear()
    Followed.gaps.clear()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_patients_who_are_held_back_do_not_count_in_the_mean(
    share: float, followed: Callable[..., float]
) -> None:
    stopping = Stopping(share=share, patience=9) if share else None
    assert followed(TVAE, stopping) < 1e-6


def test_a_phase_begins_without_the_variates_of_the_one_before(
    followed: Callable[..., float],
) -> None:
    assert followed(ALIGN) < 1e-6


def test_a_site_that_was_silent_counts_as_it_was_told_until_it_speaks() -> None:
    strategy = Scaffold()
    kept = strategy.meet({"a": Update(weight=10.0), "b": Update(weight=30.0)})

    def said(weight: float, change: float) -> Update:
        return Update({"w": np.zeros(1)}, weight=weight, control={"w": np.array([change])})

    state, rng = {"w": np.zeros(1)}, np.random.default_rng(0)
    _, kept = strategy.combine(state, {"a": said(8.0, 1.0)}, kept, rng)
    assert strategy.broadcast(kept)["scaffold/w"] == pytest.approx(8 / 38)
    _, kept = strategy.combine(state, {"b": said(24.0, 2.0)}, kept, rng)
    assert strategy.broadcast(kept)["scaffold/w"] == pytest.approx((8 * 1 + 24 * 2) / 32)
    _, kept = strategy.combine(state, {"a": said(8.0, 3.0)}, kept, rng)
    assert strategy.broadcast(kept)["scaffold/w"] == pytest.approx((8 * 4 + 24 * 2) / 32)
