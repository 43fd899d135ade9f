"""Two ways to do one thing, turn by turn, and what came of it on the terminal."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from threadpoolctl import threadpool_limits

FOUND = pytest.StashKey[list[str]]()


@dataclass(frozen=True)
class Pairs:
    """Seconds of ours and of theirs, taken turn by turn."""

    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def shares(self) -> Sequence[float]:
        """Our time as a share of theirs, turn by turn."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    @property
    def share(self) -> float:
        """The middle one, which one disturbed turn does not move."""
        return statistics.median(self.shares)

    def __str__(self) -> str:
        return (
            f"ours {spread(self.ours)} s, theirs {spread(self.theirs)} s, "
            f"ours / theirs {spread(self.shares)}, {len(self.ours)} pairs"
        )


@dataclass
class Duel:
    """Runs ours and theirs in turn, so that what disturbs one disturbs the other."""

    benchmark: BenchmarkFixture
    lines: list[str]
    theirs: list[float] = field(default_factory=list)

    def fight(self, ours: Callable[[], object], theirs: Callable[[], object], turns: int) -> Pairs:
        """Return the seconds of both after a turn each to warm up."""
        ours()
        theirs()

        def their_turn() -> None:
            start = time.perf_counter()
            theirs()
            self.theirs.append(time.perf_counter() - start)

        self.benchmark.pedantic(ours, setup=their_turn, rounds=turns)
        return Pairs(list(self.benchmark.stats.stats.data), self.theirs)

    def spread(self, values: Sequence[float]) -> str:
        """Return the median with the smallest and the largest."""
        return spread(values)

    def say(self, line: str) -> None:
        """Show a line when all benchmarks are done."""
        self.lines.append(line)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep both sides to one thread: several wait for each other where others work as well."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


@pytest.fixture
def duel(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Duel:
    return Duel(benchmark, request.config.stash.setdefault(FOUND, []))


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Show a line when all benchmarks are done, of what no fixture timed."""
    return request.config.stash.setdefault(FOUND, []).append


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    terminalreporter.section("ours against theirs")
    for line in config.stash.get(FOUND, []):
        terminalreporter.write_line(line)


def spread(values: Sequence[float]) -> str:
    """Return the median with the smallest and the largest."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"
