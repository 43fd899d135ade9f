"""Examining records from outside: an audit attacks them, an evaluation also measures them.

Metrics, attacks, controls, statistics and report are those of a run. What differs is where the
patients come from: all parts are tables, and nobody is trained here.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedbench import games, report
from fedbench.attacking import Arena, Release, Siege, judged
from fedbench.collect import collect
from fedbench.config import SETS
from fedbench.data import Cohort
from fedbench.environment import describe
from fedbench.floors import FLOOR, Redraws, drawn
from fedbench.given import REPLICATES, SEED, SYNTHETIC, Case
from fedbench.kinds import ATTACKS, METRICS
from fedbench.metric import Metric, Refusal
from fedbench.questions import measures
from fedbench.results import CellDir, RunDir, digest, portable, write_json, write_parquet
from fedbench.schemas import schema_file
from fedbench.scoring import Answer, Aside, answers
from fedbench.tables import document
from fedbench.tabular import numbered
from fedbench.world import renamed

__all__ = ["AUDIT", "EVALUATION", "Examination", "perform"]

VERBATIM = "verbatim"
"""The attack that knows copies alone, so that it is deaf where none can be one."""

Note = Callable[[str], None]
Row = dict[str, Any]


@dataclass(frozen=True)
class Examination:
    """What is asked of a release; ``name`` is the command's."""

    name: str
    metrics: tuple[str, ...]
    attacks: tuple[str, ...]

    @property
    def cells(self) -> Sequence[tuple[str, str]]:
        """Generator and regime of everything that is asked: the ends of every scale first."""
        ends = [("uniform", "control"), (FLOOR, "given")] if self.metrics else []
        return [("copy", "control"), ("real", "control"), *ends, (SYNTHETIC, "given")]


AUDIT = Examination("audit", (), SETS["attacks"]["audit"])
EVALUATION = Examination(
    "evaluate",
    tuple(n for n in SETS["metrics"]["full"] if METRICS.find(n).family != "communication"),
    (*SETS["attacks"]["fast"], "verbatim", "trajectory", "fragment"),
)


def perform(asked: Examination, case: Case, out: Path, note: Note) -> RunDir:
    """Ask the controls, then the release, and write a run directory with its report.

    What does not get to its end leaves nothing behind: it cannot be resumed.
    """
    run = RunDir.create(out, asked.name)
    try:
        _perform(asked, case, run, note)
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return run


def _perform(asked: Examination, case: Case, run: RunDir, note: Note) -> None:
    (run.path / f"{asked.name}.toml").write_text(_written(asked, case), encoding="utf-8")
    (run.path / "schema.toml").write_text(schema_file(case.schema), encoding="utf-8")
    data = {name: cohort.fingerprint for name, cohort in case.tables.items()}
    write_json(run.path / "environment.json", {**describe(), "data": data})
    played = {}
    for generator, regime in asked.cells:
        cell = _Cell(asked, case, run, generator, regime, note)
        played[cell.perform()] = cell.ids
    note("writing the report")
    collect(run, list(played), {cell.facts()["train_id"]: ids for cell, ids in played.items()})
    report.write(run)


def _written(asked: Examination, case: Case) -> str:
    head = {
        "name": asked.name,
        "seeds": [SEED],
        "regimes": ["given"],
        **({"metrics": list(asked.metrics), "records": case.world.m} if asked.metrics else {}),
        "attacks": list(asked.attacks),
        "notes": list(case.notes),
        **({"named": list(case.named)} if case.named else {}),
        **({"overlap": case.overlap} if case.overlap else {}),
        **({"copied": case.copied} if case.copied else {}),
        **({"id": case.patient} if case.patient else {}),
        **({} if case.fail_over is None else {"fail-over": case.fail_over}),
    }
    tables = [
        {"part": name, "file": case.files[name], "records": len(cohort)}
        for name, cohort in case.tables.items()
    ]
    return document({asked.name: head}, {"tables": tables})


@dataclass
class _Cell:
    """One release under examination; ``ids`` are the questions it was asked."""

    asked: Examination
    case: Case
    run: RunDir
    generator: str
    regime: str
    note: Note
    ids: list[str] = field(default_factory=list)

    def perform(self) -> CellDir:
        """Ask everything, and write what was answered."""
        started, world = time.monotonic(), self.case.world
        seen = self.case.parts if self._real else self.case.tables
        tables = {name: cohort.fingerprint for name, cohort in seen.items()}
        train_id = digest(schema_file(self.case.schema), tables, self.generator, self.regime)
        here = self.run.cell(f"{self.case.schema.name}-{self.generator}-{self.regime}", train_id)
        base = self._base(train_id)
        released = self._released()
        for name, plugin, found in [*self._measured(released), *self._attacked(released, here)]:
            version = type(plugin).version
            self.ids.append(digest(train_id, name, plugin.settings, version, REPLICATES))
            rows = [{**base, "score_id": self.ids[-1], **answer.row()} for answer in found]
            write_parquet(here.path / "measures" / f"{self.ids[-1]}.parquet", measures(rows))
        write_json(here.path / "timings.json", {"seconds": time.monotonic() - started})
        target = "test" if self.asked.metrics else "train"
        patients = {site: len(getattr(split, target)) for site, split in world.splits.items()}
        facts: Row = {"train_id": train_id, "status": "done", "reason": "", "row": base}
        here.finish({**facts, "patients": patients})
        return here

    def _base(self, train_id: str) -> Row:
        return {
            "train_id": train_id,
            "suite": self.asked.name,
            "dataset": self.case.schema.name,
            "scenario": "",
            "regime": self.regime,
            "generator": "given" if self.generator == SYNTHETIC else self.generator,
            "label": self.generator,
            "seed": SEED,
            "unit": "patient",
        }

    @property
    def _real(self) -> bool:
        """Whether what is asked does not depend on the release."""
        return self.generator != SYNTHETIC

    def _released(self) -> Cohort:
        world = self.case.world
        seeds = world.seeds.child("control", self.generator)
        if self.generator == SYNTHETIC:
            return self.case.release
        if self.generator == "real":
            return Cohort.union(list(self.case.arena.null.release.values()))
        if self.generator == "uniform":
            return self.case.uniform(seeds.rng())
        if self.generator == FLOOR:
            return drawn(world, seeds.rng())
        names = np.array(numbered("c", len(world.train)), dtype=object)
        return renamed(world.train, names)

    def _measured(self, released: Cohort) -> Iterator[tuple[str, Metric, Sequence[Answer]]]:
        world = self.case.world
        metrics = [(name, METRICS.build(name)) for name in self.asked.metrics]
        if not (mine := [(name, m) for name, m in metrics if self._is_asked(m)]):
            return
        views = {"": world.synthetic(self._scored(released))}
        aside = Aside(beside=world.beside({}))
        redraws = Redraws(world) if self.generator == FLOOR else None
        for name, metric in mine:
            self.note(f"{name} on {self._called}")
            found: Iterable[Answer] = answers(world, name, metric, views, aside)
            if redraws:
                found = redraws.steadied(name, metric, found)
            yield name, metric, [a for a in found if len(world.sites) > 1 or not a.question.site]

    def _scored(self, released: Cohort) -> Cohort:
        """Return as many records as every release is scored by, a random sample where more."""
        if len(released) <= self.case.world.m:
            return released
        order = self.case.world.seeds.child("scored").rng().permutation(len(released))
        return released.take(released.patients[order[: self.case.world.m]])

    def _is_asked(self, metric: Metric) -> bool:
        if self.generator == "real":
            return False
        if self.generator == "uniform":
            return metric.anchors.floor == "uniform"
        if metric.needs_model and self.generator != SYNTHETIC:
            return False
        return metric.needs_synthetic or self.generator == "copy"

    def _attacked(
        self, released: Cohort, here: CellDir
    ) -> Iterator[tuple[str, Any, Sequence[Answer]]]:
        if self.generator in ("uniform", FLOOR):
            return
        arena = self.case.arena
        release = Release("", released, arena.world.sites)
        for name in self.asked.attacks:
            self.note(f"{name} on {self._called}")
            attack = ATTACKS.build(name)
            where = arena.for_null if self.generator == "real" else arena
            siege = Siege(where, name, attack, watched=self.generator == SYNTHETIC)
            found = list(siege.answers(release, "pooled"))
            if self.regime == "control":
                found += judged(self.generator, found, len(self.asked.attacks), arena)
            elif attack.game != "membership":
                found = _trusted(arena, found)
            elif name == VERBATIM and (column := self.case.foreign):
                found = [_deaf(answer, column) for answer in found]
            # One hospital's row would say again what the row of everybody says.
            found = [a for a in found if len(release.sites) > 1 or not a.question.site]
            if siege.guesses:
                guesses = pd.concat(siege.guesses, ignore_index=True)
                write_parquet(here.path / f"guesses-{portable(name)}.parquet", guesses)
            for told in siege.exposures:
                write_parquet(here.path / f"exposure-{portable(name)}.parquet", told)
            yield name, attack, found

    @property
    def _called(self) -> str:
        what = f"the control {self.generator}" if self.regime == "control" else self.generator
        return f"the floor {self.generator}" if self.generator == FLOOR else what


def _deaf(answer: Answer, column: str) -> Answer:
    """Say of a row that it says nothing, as no released record could equal a real one."""
    said = "" if isinstance(answer.found, Refusal) else answer.found.facts.get("verdict", "")
    if isinstance(answer.found, Refusal) or str(said).startswith("nothing can be said"):
        return answer
    words = (
        "nothing can be said: no record counts as a copy, as no released value of "
        f"{column!r} is met in real records"
    )
    facts = {**answer.found.facts, "detectable": math.nan, "verdict": words}
    return replace(answer, found=replace(answer.found, facts=facts))


def _trusted(arena: Arena, found: Sequence[Answer]) -> list[Answer]:
    """Refuse guesses about two groups that differ without any release."""
    challenge = arena.challenges("membership", arena.world.sites)[0]
    blind = arena.blind(challenge, arena.world.sites)
    reason = games.distrust(blind) if blind is not None else ""
    if not reason:
        return list(found)
    keys = dict.fromkeys(a.found.key for a in found if a.status == "done")
    return [
        replace(found[0], found=Refusal(reason=reason, part="advantage", key=key), status="refused")
        for key in keys
    ] or list(found)
