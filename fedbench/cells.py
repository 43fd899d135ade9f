"""One cell: trained, written, scored and finished; whatever goes wrong becomes its status."""

from __future__ import annotations

import json
import resource
import signal
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pandas as pd

from fedbench.accounting import Spent
from fedbench.config import Suite
from fedbench.data import DataStore
from fedbench.environment import source_digest
from fedbench.errors import RunError, Unsupported
from fedbench.jobs import Job, Note, Work, jobs_of
from fedbench.promises import most_spent, promise, spent
from fedbench.questions import Questions
from fedbench.regimes import Release
from fedbench.releases import control, read, write
from fedbench.results import (
    ROW,
    CellDir,
    RunDir,
    read_json,
    read_parquet,
    write_json,
    write_parquet,
)

__all__ = ["TRAINING", "Cell", "cells_of", "lost", "perform"]

TRAINING = ("training", "trained_seconds", "sampled_seconds", "sampled_records")
"""What is timed before anything is scored; the last three are those of ``regimes.Took``."""


def lost(job: Job, suite: Suite, run: RunDir, store: DataStore, code: int) -> bool:
    """Write down that a worker process died in this job; say whether cells of it are left."""
    work = Work(job, suite, run, store, lambda _: None)
    due = [cell for cell in (Cell.of(work, *cell) for cell in job.cells(suite)) if cell.due]
    if due:
        due[0].died(code)
    return len(due) > 1


def cells_of(suite: Suite, run: RunDir, store: DataStore) -> list[Cell]:
    """Return every cell of a run."""
    return [
        Cell.of(Work(job, suite, run, store, lambda _: None), *cell)
        for job in jobs_of(suite)
        for cell in job.cells(suite)
    ]


def perform(job: Job, suite: Suite, run: RunDir, store: DataStore, note: Note) -> str:
    """Do a job and return the worst status of its cells."""
    note("dealing patients")
    work = Work(job, suite, run, store, note)
    statuses = [Cell.of(work, *cell).perform() for cell in job.cells(suite)]
    return "failed" if "failed" in statuses else "done"


@dataclass
class Cell:
    """One cell under way."""

    work: Work
    here: CellDir
    train_id: str
    generator: str
    regime: str
    spent: Mapping[str, Spent] = field(default_factory=dict)
    """By hospital; empty without differential privacy."""
    judged: pd.DataFrame = field(default_factory=pd.DataFrame)
    """What patients who were held back made of it, round by round."""

    @classmethod
    def of(cls, work: Work, generator: str, regime: str) -> Self:
        """Return one cell of a job, as it would be trained today."""
        return cls.stored(work, generator, regime, work.train_id(generator, regime))

    @classmethod
    def stored(cls, work: Work, generator: str, regime: str, train_id: str) -> Self:
        """Return one cell of a job as it was trained, by whatever code and versions."""
        here = work.folder(generator, regime, train_id)
        return cls(work, here, train_id, generator, regime)

    @cached_property
    def questions(self) -> Questions:
        """What it is asked."""
        return Questions(self.work, self.here, self.train_id, self.generator, self.regime)

    def perform(self) -> str:
        """Do what of this cell is not done yet, and return its status."""
        return self._perform() if self.due else str(self.here.facts()["status"])

    @property
    def due(self) -> bool:
        """Whether there is something left to do."""
        if not self.here.finished:
            return True
        return self.here.scored and bool(self.questions.unanswered())

    def rescore(self, *, anew: bool) -> None:
        """Ask a cell that is done from its stored records: everything again, or what is new.

        What an attack heard while the cell was trained is not stored, nor is the model that some
        metrics ask, and their answers are kept.

        Raises:
            RunError: its patients are dealt otherwise today.
        """
        facts = self.here.facts()
        if not self.here.scored:
            return
        facts.pop("files")
        dealt = read_parquet(self.here.path / "partition.parquet")
        if not dealt.equals(self.work.world.table()):
            raise RunError(
                f"The patients of {self.here.path.name} are dealt otherwise by this version of "
                "fedbench, so its records cannot be scored by it."
            )
        release = self._released()
        self.spent = spent(release.charges, self.work.job.scenario)
        self.questions.forget(anew=anew)
        self.questions.answer(release, self._told)
        self.here.finish({**facts, "status": "done", "reason": ""})

    def died(self, code: int) -> None:
        """Record that the process at work on this cell died with this return code."""
        memory = " (killed, perhaps for want of memory)" if code == -signal.SIGKILL else ""
        self._finish(
            "failed",
            f"The process died with return code {code}{memory}. To try this "
            f"cell again, delete the folder {self.here.path.name} in cells and resume the run.",
            {},
        )

    def _perform(self) -> str:
        """Train, write, score; whatever goes wrong becomes the cell's status."""
        started, cpu = time.monotonic(), time.process_time()
        timings: dict[str, float] = {}
        forget_peak()
        try:
            self._check_parts()
            release = self._released()
            self.spent = spent(release.charges, self.work.job.scenario)
            self.judged = release.judged
            timings |= self._took(release, time.monotonic() - started)
            if not self.here.finished:
                self._write(release)
            self.questions.answer(release, self._told)
            status, reason = "done", ""
        except _NotApplicable as found:
            status, reason = "not applicable", str(found)
        except Unsupported as found:
            status, reason = "skipped", str(found)
        except Exception:  # noqa: BLE001  (the one place where a cell becomes failed)
            status, reason = "failed", traceback.format_exc()
        timings |= {
            "seconds": time.monotonic() - started,
            "cpu_seconds": time.process_time() - cpu,
            "memory_mb": peak_mb(),
        }
        self._finish(status, reason, timings)
        return status

    def _took(self, release: Release, seconds: float) -> dict[str, float]:
        """Return what its training took; what a finished cell's took was written down then."""
        if self.here.finished:
            known = read_json(self.here.path / "timings.json")
            return {name: known[name] for name in TRAINING if name in known}
        found = (seconds, *(astuple(release.took) if release.took else ()))
        return dict(zip(TRAINING, found, strict=False))

    def _finish(self, status: str, reason: str, timings: Mapping[str, float]) -> None:
        write_json(self.here.path / "timings.json", timings)
        row = self._told("")
        self.here.finish({"status": status, "reason": reason, "row": row} | self._facts())

    @cached_property
    def base(self) -> dict[str, Any]:
        """The columns that all rows of this cell share."""
        if self.here.finished:  # whatever code there is today, this is what was trained
            row = self.here.facts()["row"]
            return {name: row[name] for name in ROW if name in row and name != "epsilon_max"}
        job, choice, plugin = self.work.job, self.work.job.generator, self.work.plugin
        settings = plugin.settings if plugin else {}
        source = source_digest(type(plugin).__module__) if plugin else ""
        several = self.regime == "federated"
        return {
            "train_id": self.train_id,
            "suite": self.work.suite.name,
            "dataset": job.dataset.called,
            "scenario": job.scenario.name,
            "strategy": job.scenario.strategy.name if several else "",
            "codec": job.scenario.codec.name if several else "",
            "rounds": job.scenario.rounds if choice else None,
            "regime": self.regime,
            "budget": job.scenario.budget if choice else "",
            "generator": choice.name if choice else self.generator,
            "label": self.generator,
            "generator_version": source,
            "settings": json.dumps(settings, sort_keys=True, default=str) if settings else "",
            "seed": job.seed,
            "server_sees": "updates" if several else "",
            **promise(job.scenario, self.regime),
        }

    def _told(self, site: str) -> dict[str, Any]:
        """Return the columns that all rows about a hospital share, or about everybody."""
        return self.base | most_spent(self.spent, site)

    def _facts(self) -> dict[str, Any]:
        """Return what else the cell's file says about the world."""
        world = self.work.world
        return {
            "train_id": self.train_id,
            "patients": {site: len(split.test) for site, split in world.splits.items()},
            "parts": {
                site: {p: len(getattr(split, p)) for p in ("train", "test", "control", "reference")}
                for site, split in world.splits.items()
            },
            "records": world.m,
            "heterogeneity": world.heterogeneity,
            **({"stopping": stopped(self.judged)} if len(self.judged) else {}),
            **({"privacy": privacy} if (privacy := _plainly(self.spent)) else {}),
        }

    def _check_parts(self) -> None:
        plugin = self.work.plugin
        if plugin and (lacking := sorted(self.work.world.schema.parts - plugin.handles)):
            raise _NotApplicable(f"{self.generator} does not handle {', '.join(lacking)}.")

    def _released(self) -> Release:
        """Return each model's records and how they came about; a finished cell's are read."""
        if self.regime == "control":
            return Release({"": control(self.questions.control, self.work.world, self.work.arena)})
        if self.here.finished:
            return read(self.here.path, self.work.world.schema)
        self.work.note(f"training {self.regime}")
        return self.work.trainer.release(self.regime)  # type: ignore[arg-type]

    def _write(self, release: Release) -> None:
        write_parquet(self.here.path / "partition.parquet", self.work.world.table())
        if self.regime != "control":  # real records are not written as synthetic ones
            write(release, self.here.path)


class _NotApplicable(Exception):
    """The generator does not handle a part of this cohort."""


def stopped(judged: pd.DataFrame) -> list[dict[str, Any]]:
    """Return, for every model and phase, after how many rounds it stopped and which was kept."""
    found = []
    for (model, phase), mine in judged.groupby(["model", "phase"], sort=False):
        last = mine.iloc[-1]
        kept = mine[mine["kept"]].iloc[-1] if mine["kept"].any() else last
        found.append(
            {
                "model": str(model),
                "phase": str(phase),
                "rounds": int(last["rounds"]),
                "kept": int(kept["rounds"]),
                "patients": float(kept["patients"]),
            }
        )
    return found


def _plainly(of: Mapping[str, Spent]) -> dict[str, dict[str, float]]:
    return {s: {"epsilon": one.epsilon, "epsilon_rdp": one.epsilon_rdp} for s, one in of.items()}


def peak_mb() -> float:
    """Return the most memory that this process had in use since ``forget_peak``, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def forget_peak() -> None:
    """Count the most memory in use from now on; only Linux can, elsewhere it is of all cells."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
