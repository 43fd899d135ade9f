"""Running a suite: a plan, warm workers, one directory at the end."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fedbench.config import Suite, suite_of
from fedbench.data import DataStore
from fedbench.errors import RunError, SpecError
from fedbench.results import RunDir, write_json

__all__ = ["Event", "Plan", "failures", "plan", "run"]


@dataclass(frozen=True)
class Event:
    """Something happened in a run that somebody may want to see."""

    kind: Literal["plan", "start", "stage", "end"]
    job: str = ""
    note: str = ""
    total: int = 0
    status: str = ""


Observer = Callable[[Event], None]


@dataclass(frozen=True)
class Plan:
    """What a run would do, before it does it; seconds and bytes are rough."""

    cells: list[str]
    jobs: int
    seconds: float
    bytes: int
    licences: list[tuple[str, str, str]]


def plan(suite: Suite, store: DataStore) -> Plan:
    """Return what a run would do; the same mistakes are found as in a run.

    Every world is dealt and split under every seed, so that what cannot be dealt is found
    before the first slow step.

    Raises:
        FedbenchError: the suite or the data do not fit.
    """
    from fedbench.cells import jobs_of, label_of, load  # noqa: PLC0415
    from fedbench.kinds import DATASETS  # noqa: PLC0415
    from fedbench.world import World  # noqa: PLC0415

    suite.check()
    seconds, size, licences = 0.0, 0, []
    for choice, scenario in suite.worlds():
        dataset = DATASETS.build(choice.name, choice.settings)
        cohort = load(choice, store)
        for seed in suite.seeds:
            world = World(choice, scenario, seed, cohort, suite.records, suite.replicates)
            trained = sum(len(split.train) for split in world.splits.values())
            cells = len(suite.generators) * len(suite.regimes)
            seconds += cells * (1.0 + 2.5e-5 * trained * len(cohort.schema.features))
            size += cells * (500_000 + 60 * trained)
        licences.append((choice.name, dataset.licence, dataset.citation))
    jobs = jobs_of(suite)
    names = [label_of(job, *cell) for job in jobs for cell in job.cells(suite)]
    return Plan(names, len(jobs), seconds, size, list(dict.fromkeys(licences)))


def run(  # noqa: PLR0913  (each is a choice of the user's)
    suite: Suite,
    *,
    out: Path,
    resume: Path | None,
    jobs: int,
    store: DataStore,
    observe: Observer,
) -> RunDir:
    """Run a suite and return its directory, results and report included.

    Nothing is written before the suite and the data are known to fit. Finished cells of a
    resumed run are not trained again, and a resumed run does what its own suite says.

    Raises:
        FedbenchError: the input is wrong.
    """
    from fedbench import report  # noqa: PLC0415

    if resume:
        suite = suite_of_run(RunDir.open(resume))
    plan(suite, store)
    _check_device(suite)
    here = RunDir.open(resume) if resume else RunDir.create(out, suite.name)
    if not resume:
        (here.path / "suite.toml").write_text(suite.to_toml())
    write_json(here.path / "environment.json", _environment(suite, store))
    _perform(suite, here, store, jobs, observe)
    observe(Event("stage", note="collecting results"))
    _collect(suite, here, store)
    observe(Event("stage", note="writing the report"))
    report.write(here)
    return here


def _check_device(suite: Suite) -> None:
    if suite.device == "cuda":
        import torch  # noqa: PLC0415

        if not torch.cuda.is_available():
            raise SpecError(
                "device is 'cuda', and torch sees no such device. Use --device cpu or auto; "
                "`fedbench doctor` says what there is."
            )


def suite_of_run(run: RunDir) -> Suite:
    """Return the suite a run was started with."""
    import tomllib  # noqa: PLC0415

    file = run.path / "suite.toml"
    try:
        return suite_of(tomllib.loads(file.read_text()), where=str(file))
    except tomllib.TOMLDecodeError as error:
        raise RunError(f"{file} cannot be read: {error}.") from None


def failures(run: RunDir) -> list[str]:
    """Return the failed cells and measures of a run, with their reasons."""
    rows = run.results()
    failed = rows[rows["status"] == "failed"]
    return list(dict.fromkeys(_failure(row) for row in failed.to_dict("records")))


def _failure(row: Mapping[Hashable, Any]) -> str:
    where = [row["dataset"], row["label"], row["regime"], f"seed {row['seed']}", row["name"]]
    last = str(row["reason"]).strip().splitlines()[-1]
    return f"{' · '.join(str(word) for word in where if word)}: {last}"


def _environment(suite: Suite, store: DataStore) -> dict[str, Any]:
    from fedbench.cells import load  # noqa: PLC0415
    from fedbench.environment import describe  # noqa: PLC0415

    data = {choice.name: load(choice, store).fingerprint for choice in suite.datasets}
    return {**describe(), "threads": suite.threads, "device": suite.device, "data": data}


def _collect(suite: Suite, run: RunDir, store: DataStore) -> None:
    from fedbench.cells import cells_of  # noqa: PLC0415
    from fedbench.collect import collect  # noqa: PLC0415

    cells = cells_of(suite, run, store)
    collect(run, [cell.here for cell in cells], {c.train_id: c.score_ids() for c in cells})


def _perform(suite: Suite, run: RunDir, store: DataStore, jobs: int, observe: Observer) -> None:
    """Do all jobs in worker processes that stay warm."""
    from fedbench.cells import cells_of, jobs_of  # noqa: PLC0415
    from fedbench.environment import SOURCES  # noqa: PLC0415

    todo = jobs_of(suite)
    observe(Event("plan", total=len(todo), note=str(run.path)))
    cells_of(suite, run, store)  # names every cell, and so reads the sources
    context = multiprocessing.get_context("spawn")
    with _threads(suite.threads), context.Manager() as manager:
        events = manager.Queue()
        listener = threading.Thread(target=_listen, args=(events, observe), daemon=True)
        listener.start()
        pool = ProcessPoolExecutor(
            min(jobs, len(todo)), context, _warm, (suite.threads, dict(SOURCES))
        )
        try:
            futures = [pool.submit(_job, job, suite, run, store, events) for job in todo]
            for future in as_completed(futures):
                future.result()
        except BrokenProcessPool:
            raise RunError(
                "A worker process died, perhaps for want of memory. What is finished is kept: "
                f"go on with `fedbench run --resume {run.path}`, with fewer jobs (-j 1)."
            ) from None
        except BaseException:
            for process in list((pool._processes or {}).values()):  # noqa: SLF001
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            events.put(None)
            listener.join()


def _job(job: Any, suite: Suite, run: RunDir, store: DataStore, events: Any) -> None:
    from fedbench.cells import perform  # noqa: PLC0415

    events.put(Event("start", job.label))
    status = perform(
        job, suite, run, store, lambda note: events.put(Event("stage", job.label, note))
    )
    events.put(Event("end", job.label, status=status))


def _warm(threads: int, sources: dict[str, str]) -> None:
    """Import what is slow once per worker, and keep it to its threads."""
    import torch  # noqa: PLC0415

    from fedbench.environment import SOURCES  # noqa: PLC0415

    SOURCES.update(sources)
    torch.set_num_threads(threads)
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()


def _follow(parent: int) -> None:
    """End this worker when the process that started it is gone, however it went."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let worker processes start with this many threads for linear algebra."""
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


def _listen(events: queue.Queue[Event | None], observe: Observer) -> None:
    while (event := events.get()) is not None:
        observe(event)
