"""Scoring a finished run again from its stored records: nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from fedbench import report
from fedbench.cells import Cell
from fedbench.collect import collect
from fedbench.config import Suite, suite_of
from fedbench.data import DataStore
from fedbench.environment import versions
from fedbench.errors import RunError
from fedbench.jobs import Job, Note, Work, jobs_of, label_of, load
from fedbench.kinds import ATTACKS, METRICS
from fedbench.results import RunDir, read_json, unheard_of, write_json
from fedbench.runner import suite_of_run
from fedbench.workers import Event, Observer, Task, heeding_ctrl_c, work

__all__ = ["Rescored", "rescore"]

Trained = Mapping[str, Mapping[tuple[str, str], str]]
"""The train id of every generator and regime, by the label of the job."""

IDENTITY = """
    dataset scenario label regime budget seed model site target family name task column secret level
    group
""".split()  # noqa: SIM905
"""What makes two rows answers to the same question."""


SHOWN = ("status", "value", "low", "high")
"""The columns of a row that are told first, where they came out otherwise."""

EXAMPLES = 5
"""Rows that came out otherwise which are told; the rest are counted."""


@dataclass(frozen=True, kw_only=True)
class Rescored:
    """What became of a run.

    ``asked`` counts questions to cells: all that the suite asks where ``anew``, else those that
    had no answer. ``new`` and ``changed`` count rows.
    """

    anew: bool
    asked: int
    rows: int
    new: int
    changed: int
    names: tuple[str, ...] = field(default=())
    """Measures of which a number came out otherwise."""
    examples: tuple[str, ...] = field(default=())
    """The first of the rows that changed: what they are about, what was there and what is now."""


def rescore(  # noqa: PLR0913  (each is a choice of the user's)
    run: RunDir,
    *,
    metrics: Sequence[str],
    attacks: Sequence[str],
    jobs: int,
    store: DataStore,
    observe: Observer,
) -> Rescored:
    """Score the stored records of a finished run, and write its results and report again.

    Where the suite asks something that has no answer yet, because it is named here or was written
    into ``suite.toml``, only that is asked; else everything is asked again.

    Raises:
        FedbenchError: the run is unfinished, has no records, or is about other data.
    """
    if run.given:
        raise RunError(
            f"{run.path} was made by `fedbench {run.given}`, which keeps no records, so it cannot "
            f"be scored again. Do `fedbench {run.given}` again with the same tables."
        )
    suite = _with(suite_of_run(run), metrics, attacks)
    run.check()
    before = run.results()
    _same_data(run, suite, store)
    trained = _trained(run, suite, before)
    cells = [
        cell
        for job in jobs_of(suite)
        for cell in _stored(Work(job, suite, run, store, lambda _: None), trained)
    ]
    asked = [cell for cell in cells if _has_records(cell)]
    due = sum(len(cell.questions.unanswered()) for cell in asked)
    anew = not (due or metrics or attacks)
    if anew or due:
        _perform(suite, Task(suite, run, store, _Again(anew, trained)), jobs, observe)
    (run.path / "suite.toml").write_text(suite.to_toml(), encoding="utf-8")
    _note_versions(run)
    observe(Event("stage", note="collecting results"))
    collect(
        run, [cell.here for cell in cells], {c.train_id: c.questions.score_ids() for c in cells}
    )
    observe(Event("stage", note="writing the report"))
    report.write(run)
    count = sum(len(cell.questions.score_ids()) for cell in asked) if anew else due
    return _compared(before, run.results(), anew=anew, asked=count)


def _with(suite: Suite, metrics: Sequence[str], attacks: Sequence[str]) -> Suite:
    """Return the suite with more questions; every one of them is built, to find mistakes."""
    tables = suite.tables()
    head = tables["suite"]
    asked = {"metrics": [*head["metrics"], *metrics], "attacks": [*head["attacks"], *attacks]}
    found = suite_of({**tables, "suite": {**head, **asked}}, where="--metric, --attack")
    for metric in found.metrics:
        METRICS.build(metric.name, metric.settings)
    for attack in found.attacks:
        ATTACKS.build(attack.name, attack.settings)
    return found


def _same_data(run: RunDir, suite: Suite, store: DataStore) -> None:
    known = read_json(run.path / "environment.json").get("data", {})
    for dataset in suite.datasets:
        found = load(dataset, store).fingerprint
        if known.get(dataset.called) != found:
            raise RunError(
                f"{run.path} is about records of {dataset.called} with the fingerprint "
                f"{known.get(dataset.called)}; those here have {found}. Give the same records "
                "(--data-dir), or start a new run."
            )


def _trained(run: RunDir, suite: Suite, rows: pd.DataFrame) -> Trained:
    """Return what was trained.

    Raises:
        RunError: a generator, regime or seed of the suite was not.
    """
    columns = ["dataset", "scenario", "label", "regime", "seed", "train_id"]
    known = {tuple(found[:-1]): str(found[-1]) for found in rows[columns].to_numpy().tolist()}
    trained: dict[str, dict[tuple[str, str], str]] = {}
    for job in jobs_of(suite):
        for label, regime in job.cells(suite):
            place = (job.dataset.called, job.scenario.name, label, regime, job.seed)
            # A cell that nothing was asked about has no row, but a folder.
            folders = run.path.glob(f"cells/{label_of(job, label, regime)}-*/cell.json")
            found = known.get(place) or next((f.parent.name.split("-")[-1] for f in folders), "")
            if not found:
                said = " · ".join(str(part) for part in place)
                raise RunError(
                    f"{said} is in suite.toml, and was not trained. Nothing is trained by "
                    f"`fedbench score`; finish the run with `fedbench run --resume {run.path}`."
                )
            trained.setdefault(job.label, {})[label, regime] = found
    return trained


def _stored(work: Work, trained: Trained) -> list[Cell]:
    """Return the cells of a job as they were trained."""
    known = trained[work.job.label]
    return [Cell.stored(work, *cell, known[cell]) for cell in work.job.cells(work.suite)]


def _has_records(cell: Cell) -> bool:
    """Say whether a cell is done, and so has records that can be scored.

    Raises:
        RunError: it is done, and they were not stored or are not there any more.
    """
    if not cell.here.scored:
        return False
    needed = ["partition.parquet"]
    needed += [] if cell.regime == "control" else ["synthetic/static.parquet", "ledger.parquet"]
    for name in needed:
        if not (cell.here.path / name).is_file():
            raise RunError(
                f"{cell.here.path} has no {name}: its synthetic records were not stored, and "
                "without them nothing can be scored again."
            )
    return True


@dataclass(frozen=True)
class _Again:
    """What a worker does with a job."""

    anew: bool
    trained: Trained

    def __call__(self, job: Job, suite: Suite, run: RunDir, store: DataStore, note: Note) -> str:
        note("dealing patients")
        for cell in _stored(Work(job, suite, run, store, note), self.trained):
            cell.rescore(anew=self.anew)
        return "done"


def _perform(suite: Suite, task: Task, jobs: int, observe: Observer) -> None:
    todo = jobs_of(suite)
    observe(Event("plan", total=len(todo), note=str(task.run.path)))
    if jobs == 1:  # without the seconds that another process takes to start
        assert task.do is not None  # noqa: S101  (for the type checker)
        for job in todo:
            observe(Event("start", job.label))
            status = task.do(job, suite, task.run, task.store, lambda _: None)
            observe(Event("end", job.label, status=status))
        return
    with heeding_ctrl_c() as heed:
        work(todo, min(jobs, len(todo)), task, observe, heed)


def _note_versions(run: RunDir) -> None:
    """Write down what it was scored with, where that is not what it was run with."""
    environment = read_json(run.path / "environment.json")
    environment.pop("scored with", None)
    if environment.get("versions") != versions():
        environment["scored with"] = versions()
    write_json(run.path / "environment.json", environment)


def _compared(before: pd.DataFrame, after: pd.DataFrame, **facts: Any) -> Rescored:
    """Count the rows that are new, and those that say something else than before."""
    aside = ["suite", *unheard_of(before)]
    old, new = (rows.set_index(IDENTITY).drop(columns=aside) for rows in (before, after))
    both = new.index.intersection(old.index)
    same = _alike(old.loc[both], new.loc[both])
    otherwise = both[~same]
    names = otherwise.get_level_values("name").unique() if len(both) else []
    return Rescored(
        rows=len(after),
        new=len(after) - len(both),
        changed=int((~same).sum()),
        names=tuple(map(str, names)),
        examples=tuple(_told(at, old.loc[at], new.loc[at]) for at in otherwise[:EXAMPLES]),
        **facts,
    )


def _told(at: Sequence[Any], old: pd.Series, new: pd.Series) -> str:
    """Say what a row is about and what became of it, such as ``detection · pooled: 0.5 → 0.6``."""
    about = dict(zip(IDENTITY, map(str, at), strict=True))
    first = about.pop("name")
    place = [first, *(f"seed {v}" if k == "seed" else v for k, v in about.items() if v)]
    shown = [name for name in SHOWN if not _alike_one(old[name], new[name])]
    name = (shown or [str(k) for k in old.index if not _alike_one(old[k], new[k])])[0]
    what = "" if name == "value" else f"{name} "
    ends = [_plain(row[name]) for row in (old, new)]
    if ends[0] == ends[1]:  # they differ further back
        ends = [str(row[name]) for row in (old, new)]
    return f"{' · '.join(place)}: {what}{' → '.join(ends)}"


def _alike_one(old: Any, new: Any) -> bool:
    return bool((pd.isna(old) and pd.isna(new)) or (not pd.isna(old) and old == new))


def _plain(found: Any) -> str:
    if pd.isna(found):
        return "nothing"
    return f"{found:.6g}" if isinstance(found, float) else str(found)


def _alike(old: pd.DataFrame, new: pd.DataFrame) -> Any:
    return ((old == new) | (old.isna() & new.isna())).fillna(value=False).all(axis=1).to_numpy()
