"""What a run is doing now: live in a terminal, in a few plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

if TYPE_CHECKING:
    from fedbench.runner import Event

__all__ = ["Bars", "Lines", "duration", "watching"]

SILENCE = 60.0
"""Seconds after which a log says what is being done, at the next chance."""

MOST_LINES = 100
"""About this many lines, at most, tell in a log of jobs that went well."""

GOOD = "done"


@contextmanager
def watching(stream: TextIO) -> Iterator[Callable[[Event], None]]:
    """Show what is reported to the yielded function for as long as the context lasts."""
    console = Console(file=stream)
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines(stream)
        return
    bars = Bars(console)
    with Live(Group(bars.jobs, bars.total), console=console, transient=True):
        yield bars


def duration(seconds: float) -> str:
    """Return a time in words.

    >>> duration(8), duration(75), duration(7500)
    ('8 s', '1 min 15 s', '2 h 5 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


@dataclass
class Lines:
    """Plain lines, for the log of a CI.

    Up to ``MOST_LINES`` jobs have a line each as they end. Of more than that, a line comes with
    every hundredth of them and says how many it speaks for, so that a log stays short; what went
    wrong always has a line of its own, with the reason. Every line counts all jobs that ended.
    After a minute without a line, one says what is being done now.
    """

    stream: TextIO
    total: int = 0
    done: int = 0
    told: int = 0
    silent: int = 0
    started: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event.kind:
            case "plan":
                self.total = event.total
                self._say(f"{event.total} jobs, written to {event.note}")
            case "stage" if not event.job:
                self._say(event.note)
            case "end":
                self.done += 1
                self._ended(event)
            case "start" | "stage":
                if time.monotonic() - self.last >= SILENCE:
                    note = f": {event.note}" if event.note else ""
                    self._count(f"at {event.job}{note}")

    def _ended(self, event: Event) -> None:
        share = self.done * MOST_LINES // max(self.total, MOST_LINES)
        good = event.status in ("", GOOD)
        if good and share <= self.told:
            self.silent += 1
            return
        what = "" if good else f": {event.status}{_because(event)}"
        if good:
            what = f" and {self.silent} before it" if self.silent else ""
            self.told, self.silent = share, 0
        self._count(f"{event.job}{what}")

    def _count(self, what: str) -> None:
        elapsed = duration(time.monotonic() - self.started)
        self._say(f"[{self.done}/{self.total}] {what} ({elapsed})")

    def _say(self, text: str) -> None:
        self.last = time.monotonic()
        print(text, file=self.stream, flush=True)


class Bars:
    """One line for the whole run and, above it, one for every job at work."""

    def __init__(self, console: Console) -> None:
        self.jobs = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
        )
        self.total = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("jobs"),
            TimeElapsedColumn(),
            console=console,
        )
        self._console = console
        self._run = self.total.add_task("getting ready", total=None)
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event.kind:
            case "plan":
                self.total.update(self._run, total=event.total, description="running")
            case "stage" if not event.job:
                self.total.update(self._run, description=event.note)
            case "start" | "stage":
                self._at_work(event)
            case "end":
                self._ended(event)

    def _at_work(self, event: Event) -> None:
        if event.job not in self._tasks:
            self._tasks[event.job] = self.jobs.add_task("", total=None)
        note = f" · {event.note}" if event.note else ""
        self.jobs.update(self._tasks[event.job], description=f"{event.job}{note}")

    def _ended(self, event: Event) -> None:
        if (task := self._tasks.pop(event.job, None)) is not None:
            self.jobs.remove_task(task)
        self.total.advance(self._run)
        if event.status not in ("", GOOD):
            self._console.print(
                f"{event.job}: {event.status}{_because(event)}", markup=False, highlight=False
            )


def _because(event: Event) -> str:
    """Return the last line of a reason; a traceback stays in the run directory."""
    lines = event.note.strip().splitlines()
    return f" ({lines[-1]})" if lines else ""
