"""Warm processes, each with one job at a time; one that dies takes no other with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, Self

from fedbench.config import Suite
from fedbench.data import DataStore
from fedbench.errors import FedbenchError, RunError
from fedbench.results import RunDir

if TYPE_CHECKING:
    from fedbench.jobs import Job

__all__ = ["Event", "Observer", "Task", "heeding_ctrl_c", "work"]


@dataclass(frozen=True)
class Event:
    """Something happened in a run that somebody may want to see."""

    kind: Literal["plan", "start", "stage", "end"]
    job: str = ""
    note: str = ""
    total: int = 0
    status: str = ""


Observer = Callable[[Event], None]

Do = Callable[[Any, Suite, RunDir, DataStore, Callable[[str], None]], str]

READY = Event("stage")
"""The first thing that a worker says."""


@dataclass(frozen=True)
class Task:
    """What all jobs of a run have in common."""

    suite: Suite
    run: RunDir
    store: DataStore
    do: Do | None = None
    """What is done with a job; to train and score it, unless something else is asked."""


@contextmanager
def heeding_ctrl_c() -> Iterator[Callable[[], None]]:
    """Yield what raises a Ctrl-C again, if there was one and its exception got lost.

    Which it does when it is raised in a callback that may not raise, as imports have them.
    A SIGTERM, as schedulers send it, is one too.
    """
    asked = threading.Event()

    def heed() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    def hear(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.default_int_handler(number, frame)

    if threading.current_thread() is not threading.main_thread():
        yield heed  # signals are another thread's business
        return
    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield heed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def work(
    jobs: Sequence[Job], count: int, task: Task, observe: Observer, heed: Callable[[], None]
) -> None:
    """Do all jobs, ``count`` at a time, until ``heed`` raises.

    A job whose process dies has its cell recorded as failed; its other cells and all other
    jobs go on.

    Raises:
        RunError: a process dies before it is asked anything.
    """
    crew = _Crew(task, observe, deque(jobs))
    try:
        while crew.busy(count):
            heed()
            crew.listen()
        for worker in crew.workers:
            worker.pipe.close()  # at which it ends
    except BaseException:
        for worker in crew.workers:
            worker.process.terminate()
        raise
    finally:
        for worker in crew.workers:
            worker.process.join()


@dataclass
class _Crew:
    """The workers there are and the jobs that wait for them."""

    task: Task
    observe: Observer
    waiting: deque[Job]
    workers: list[_Worker] = field(default_factory=list)

    def busy(self, count: int) -> bool:
        """Give out jobs to up to so many workers; say whether any of them has one."""
        idle = sum(worker.job is None for worker in self.workers)
        for _ in range(min(count - len(self.workers), len(self.waiting) - idle)):
            self.workers.append(_Worker.start(self.task))
        for worker in self.workers:
            if self.waiting and worker.job is None:
                worker.give(self.waiting.popleft(), self.observe)
        return any(worker.job for worker in self.workers)

    def listen(self) -> None:
        """Wait until workers say something, or die."""
        busy = {worker.pipe: worker for worker in self.workers if worker.job}
        for pipe in wait(list(busy)):
            worker = busy[pipe]  # type: ignore[index]  # pipes are all that was given
            if not worker.heard(self.observe):
                self.workers.remove(worker)
                if (left := worker.buried(self.task, self.observe)) is not None:
                    self.waiting.appendleft(left)


@dataclass
class _Worker:
    """A process, the pipe through which it is told and tells, and the job it is at."""

    process: SpawnProcess
    pipe: Connection
    job: Job | None = None
    ready: bool = False

    @classmethod
    def start(cls, task: Task) -> Self:
        from fedbench.environment import SOURCES  # noqa: PLC0415
        from fedbench.jobs import FINGERPRINTS  # noqa: PLC0415

        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs, task, dict(SOURCES), dict(FINGERPRINTS))
        )
        with _undisturbed(), _threads(task.suite.threads):
            process.start()
        theirs.close()
        return cls(process, ours)

    def give(self, job: Job, observe: Observer) -> None:
        """Ask for a job."""
        self.job = job
        observe(Event("start", job.label))
        with suppress(OSError):  # if it is dead, listening to it will tell
            self.pipe.send(job)

    def heard(self, observe: Observer) -> bool:
        """Pass on what the process says; false if it is dead."""
        try:
            said = self.pipe.recv()
        except (EOFError, OSError):
            return False
        if isinstance(said, Exception):
            raise said
        self.ready = True
        if said != READY:
            observe(said)
        if said.kind == "end":
            self.job = None
        return True

    def buried(self, task: Task, observe: Observer) -> Job | None:
        """Record the death of this process; return the job if cells of it are left."""
        from fedbench.cells import lost  # noqa: PLC0415

        assert self.job is not None  # noqa: S101  (idle workers are not listened to)
        self.process.join()
        code = self.process.exitcode or 0
        if not self.ready:
            raise RunError(
                f"A worker process could not be started: it ended with return code {code}. Where "
                "memory is short, give -j 1 (and --resume a run); a script that calls fedbench "
                "needs `if __name__ == '__main__':` around the call."
            )
        note = f"the process died with return code {code}"
        if task.do is not None:  # its cells are done, and stay so
            raise RunError(f"{self.job.label}: {note}. Nothing of the run is lost; try again.")
        if lost(self.job, task.suite, task.run, task.store, code):
            observe(Event("stage", self.job.label, note))
            return self.job
        observe(Event("end", self.job.label, note, status="failed"))
        return None


def _serve(
    pipe: Connection, task: Task, sources: dict[str, str], fingerprints: dict[str, str]
) -> None:
    """Do jobs until nobody asks any more."""
    import torch  # noqa: PLC0415

    from fedbench.environment import SOURCES  # noqa: PLC0415
    from fedbench.jobs import FINGERPRINTS  # noqa: PLC0415

    SOURCES.update(sources)
    FINGERPRINTS.update(fingerprints)
    torch.set_num_threads(task.suite.threads)
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    with suppress(EOFError, OSError):  # nobody is there any more
        pipe.send(READY)
        while True:
            pipe.send(_done(pipe.recv(), task, pipe))


def _done(job: Job, task: Task, pipe: Connection) -> Event | Exception:
    """Do a job and return what to say of it; what stops it stops the run."""
    from fedbench.cells import perform  # noqa: PLC0415

    def note(text: str) -> None:
        pipe.send(Event("stage", job.label, text))

    try:
        status = (task.do or perform)(job, task.suite, task.run, task.store, note)
    except (FedbenchError, OSError) as error:
        return error
    except Exception as error:  # noqa: BLE001  (it is raised again where the run was started)
        # Of a type that can be sent, whatever it was.
        sent = RuntimeError(f"{type(error).__name__}: {error}")
        sent.add_note(traceback.format_exc())
        return sent
    return Event("end", job.label, status=status)


def _follow(parent: int) -> None:
    """End this worker when the process that started it is gone, however it went."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: the one that started them ends them."""
    resource_tracker.ensure_running()  # which, where it has to be started, lets Ctrl-C in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let processes start with this many threads for linear algebra."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
