"""Running a suite: a plan, warm workers, one directory at the end."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedbench.config import Suite, suite_of
from fedbench.data import DataStore
from fedbench.errors import RunError, SpecError
from fedbench.results import RunDir, write_json
from fedbench.workers import Event, Observer, Task, heeding_ctrl_c, work

__all__ = ["Event", "Plan", "failures", "plan", "run"]


START, CELL, VALUE = 15.0, 2.0, 5e-5
"""Seconds of one core that a run, a cell and a value trained on take, as `quick` took them."""


@dataclass(frozen=True)
class Plan:
    """What a run would do, before it does it; seconds and bytes are rough.

    ``done`` counts the cells that a resumed run has already.
    """

    cells: list[str]
    done: int
    jobs: int
    seconds: float
    bytes: int
    licences: list[tuple[str, str, str]]


def plan(suite: Suite, store: DataStore, begun: RunDir | None = None) -> Plan:
    """Return what a run would do, or what is left of one; the same mistakes are found as in a run.

    Every world is dealt and split under every seed, so that what cannot be dealt is found
    before the first slow step.

    Raises:
        FedbenchError: the suite or the data do not fit.
    """
    from fedbench.cells import cells_of, jobs_of, label_of, load  # noqa: PLC0415
    from fedbench.kinds import DATASETS  # noqa: PLC0415
    from fedbench.world import World  # noqa: PLC0415

    suite.check()
    seconds, size, licences = START, 0, []
    for choice, scenario in suite.worlds():
        dataset = DATASETS.build(choice.name, choice.settings)
        cohort = load(choice, store)
        for seed in suite.seeds:
            world = World(choice, scenario, seed, cohort, suite.records, suite.replicates)
            trained = sum(len(split.train) for split in world.splits.values())
            cells = len(suite.generators) * len(suite.regimes)
            seconds += cells * (CELL + VALUE * trained * len(cohort.schema.features))
            size += cells * (500_000 + 60 * trained)
        licences.append((choice.name, dataset.licence, dataset.citation))
    jobs = jobs_of(suite)
    names = [label_of(job, *cell) for job in jobs for cell in job.cells(suite)]
    done = sum(not cell.due for cell in cells_of(suite, begun, store)) if begun else 0
    left = 1 - done / len(names)
    return Plan(
        names, done, len(jobs), seconds * left, round(size * left), list(dict.fromkeys(licences))
    )


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
        RunDir.open(resume).check()
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

    if run.is_audit:
        raise RunError(
            f"{run.path} is an audit, which has no suite. Give the folder that `fedbench run` made."
        )
    file = run.path / "suite.toml"
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(
            f"{file} is not the suite that was started: {error}. Put it right, or start a new run."
        ) from None
    return suite_of(tables, where=str(file))


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

    todo = jobs_of(suite)
    with heeding_ctrl_c() as heed:
        observe(Event("plan", total=len(todo), note=str(run.path)))
        cells_of(suite, run, store)  # names every cell, and so reads the sources
        work(todo, min(jobs, len(todo)), Task(suite, run, store), observe, heed)
