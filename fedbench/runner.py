"""Running a suite: a plan, warm workers, one directory at the end."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedbench.config import Suite, suite_of
from fedbench.data import DataStore
from fedbench.errors import RunError, SpecError
from fedbench.results import CONTRADICTED, RunDir, write_json
from fedbench.workers import Event, Observer, Task, heeding_ctrl_c, work

if TYPE_CHECKING:
    from fedbench.jobs import Job

__all__ = ["Event", "Plan", "failures", "plan", "run"]


@dataclass(frozen=True)
class Plan:
    """What a run would do, before it does it; seconds (of one core) and bytes are rough.

    ``cells`` and ``jobs`` are what is left to do. A resumed run has ``done`` others already;
    ``outdated`` ones are finished, but other code, data or versions made them, and they are made
    again. ``differences`` has, for every dataset and scenario, how the hospitals differ.
    """

    cells: list[str]
    done: int
    outdated: int
    jobs: int
    seconds: float
    bytes: int
    licences: list[tuple[str, str, str]]
    differences: list[dict[str, Any]]


def plan(suite: Suite, store: DataStore, begun: RunDir | None = None) -> Plan:
    """Return what a run would do, or what is left of one; the same mistakes are found as in a run.

    Every world is dealt and split under every seed, so that what cannot be dealt is found
    before the first slow step.

    Raises:
        FedbenchError: the suite or the data do not fit.
    """
    from fedbench.cells import cells_of  # noqa: PLC0415
    from fedbench.jobs import jobs_of, label_of, load  # noqa: PLC0415
    from fedbench.kinds import DATASETS  # noqa: PLC0415
    from fedbench.report.differences import differences  # noqa: PLC0415
    from fedbench.world import World  # noqa: PLC0415

    suite.check()
    trained, licences, differ = {}, [], []
    for choice, scenario in suite.worlds():
        dataset = DATASETS.build(choice.name, choice.settings)
        cohort, differing = load(choice, store), []
        for seed in suite.seeds:
            world = World(choice, scenario, seed, cohort, suite.records, suite.replicates)
            patients = sum(len(split.train) for split in world.splits.values())
            trained[choice.called, scenario.name, seed] = patients
            differing.append(world.heterogeneity)
        event = cohort.schema.outcome.label if cohort.schema.outcome else ""
        where = {"dataset": choice.called, "scenario": scenario.name}
        differ.append({**where, **differences(differing, event)})
        licences.append((choice.called, dataset.licence, dataset.citation))
    every = [(job, *cell) for job in jobs_of(suite) for cell in job.cells(suite)]
    found = cells_of(suite, begun, store) if begun else []
    done = {place for place, cell in enumerate(found) if not cell.due}
    left = [cell for place, cell in enumerate(every) if place not in done]
    known = {cell.here.path for cell in found}
    costs = [
        _cost(suite, job, regime, trained[job.dataset.called, job.scenario.name, job.seed])
        for job, _, regime in left
    ]
    return Plan(
        cells=[label_of(*cell) for cell in left],
        done=len(done),
        outdated=sum(cell.path not in known for cell in begun.cells()) if begun else 0,
        jobs=len({job.label for job, *_ in left}),
        seconds=START + sum(cost[0] for cost in costs),
        bytes=sum(cost[1] for cost in costs),
        licences=list(dict.fromkeys(licences)),
        differences=differ,
    )


START = 12.0
"""Seconds that a run takes beside its cells: imports, worlds, results, the report."""
QUESTION, PATIENT = 0.1, 7.5e-5
"""Seconds that a metric or attack takes on one model, and for each patient trained on."""
MODELS = {"federated": 1.5, "local": 2.2}
"""How much longer questions take about several hospitals or models."""
FIT, PASS = 0.3, 0.05
"""Seconds to train, and for each pass over the patients.

All as measured on `smoke` and `quick` with one job at a time on a server of 2026: between 0.9 and
1.1 times what they took.
"""


def _cost(suite: Suite, job: Job, regime: str, trained: int) -> tuple[float, int]:
    """Return about how many seconds of one core and bytes on disk a cell takes."""
    from fedbench.kinds import GENERATORS  # noqa: PLC0415

    questions = len(suite.metrics) + len(suite.attacks)
    seconds = questions * (QUESTION + PATIENT * trained) * MODELS.get(regime, 1)
    if job.generator is None:
        return seconds, 0
    generator = GENERATORS.build(job.generator.name, job.generator.settings)
    return seconds + FIT + PASS * getattr(generator, "passes", 0), 500_000 + 60 * trained


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

    if run.given:
        raise RunError(
            f"{run.path} was made by `fedbench {run.given}` and has no suite. Give the folder that "
            "`fedbench run` made."
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
    # A broken promise is about the whole cell, whose numbers are kept.
    name = "" if str(row["reason"]).startswith(CONTRADICTED) else row["name"]
    where = [row["dataset"], row["label"], row["regime"], f"seed {row['seed']}", name]
    last = str(row["reason"]).strip().splitlines()[-1]
    return f"{' · '.join(str(word) for word in where if word)}: {last}"


def _environment(suite: Suite, store: DataStore) -> dict[str, Any]:
    from fedbench.environment import describe  # noqa: PLC0415
    from fedbench.jobs import load  # noqa: PLC0415

    data = {choice.called: load(choice, store).fingerprint for choice in suite.datasets}
    return {**describe(), "threads": suite.threads, "device": suite.device, "data": data}


def _collect(suite: Suite, run: RunDir, store: DataStore) -> None:
    from fedbench.cells import cells_of  # noqa: PLC0415
    from fedbench.collect import collect  # noqa: PLC0415

    cells = cells_of(suite, run, store)
    collect(
        run, [cell.here for cell in cells], {c.train_id: c.questions.score_ids() for c in cells}
    )


def _perform(suite: Suite, run: RunDir, store: DataStore, jobs: int, observe: Observer) -> None:
    """Do all jobs in worker processes that stay warm."""
    from fedbench.cells import cells_of  # noqa: PLC0415
    from fedbench.jobs import jobs_of  # noqa: PLC0415

    todo = jobs_of(suite)
    with heeding_ctrl_c() as heed:
        observe(Event("plan", total=len(todo), note=str(run.path)))
        cells_of(suite, run, store)  # names every cell, and so reads the sources
        work(todo, min(jobs, len(todo)), Task(suite, run, store), observe, heed)
