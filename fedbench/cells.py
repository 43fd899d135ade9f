"""Doing one job: training a generator under every regime, writing and scoring its cells."""

from __future__ import annotations

import json
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench import games
from fedbench.accounting import Accountant, Charge, Spent
from fedbench.attack import Knowledge, Wired
from fedbench.attacking import Arena, Release, Siege, judged
from fedbench.config import DatasetChoice, GeneratorChoice, Scenario, Suite
from fedbench.data import TABLES, Cohort, DataStore, Schema
from fedbench.environment import source_digest, versions
from fedbench.errors import ContractError, RunError, Unsupported
from fedbench.federation.study import Choice, promised
from fedbench.generator import Generator
from fedbench.kinds import (
    ATTACKS,
    CODECS,
    GENERATORS,
    METRICS,
    PARTITIONERS,
    STRATEGIES,
    cohort_of,
)
from fedbench.metric import Latents, Refusal, View
from fedbench.overhearing import Overheard, Overhearing
from fedbench.planting import PLANTED
from fedbench.plugin import plain
from fedbench.regimes import CHARGES
from fedbench.regimes import Release as Published
from fedbench.rehearsal import Rehearsal
from fedbench.results import (
    ROW,
    CellDir,
    RunDir,
    digest,
    portable,
    read_json,
    read_parquet,
    write_json,
    write_parquet,
)
from fedbench.scoring import Answer, Aside, answers
from fedbench.seeds import Rng
from fedbench.world import World, renamed, uniform

__all__ = [
    "Cell",
    "Job",
    "Work",
    "cells_of",
    "jobs_of",
    "label_of",
    "load",
    "lost",
    "perform",
    "written",
]

Note = Callable[[str], None]

_FORGOTTEN = Refusal(
    reason="The trained model of this cell was not kept, and its records do not tell it. Start a "
    "new run whose suite has this metric.",
    status="skipped",
)

STORED = {
    Knowledge.SYNTHETIC,
    Knowledge.REFERENCE,
    Knowledge.OTHER_COLUMNS,
    Knowledge.LABELS,
}
"""What an attacker knows that can be shown to her long after the training."""


@dataclass(frozen=True)
class Job:
    """One generator, or the controls, in one world: what a worker does in one go.

    Where it is ``planted``, canaries are among the training records.
    """

    dataset: DatasetChoice
    scenario: Scenario
    seed: int
    generator: GeneratorChoice | None
    planted: bool = False

    @property
    def label(self) -> str:
        """A name for people."""
        what = (self.generator.label if self.generator else "controls") + self.suffix
        return f"{self.dataset.called} · {self.scenario.name} · {what} · seed {self.seed}"

    @property
    def suffix(self) -> str:
        """What the names of its cells end with."""
        return PLANTED if self.planted else ""

    def cells(self, suite: Suite) -> list[tuple[str, str]]:
        """Return generator and regime of every cell of this job."""
        if self.generator is None:
            controls = ("copy", "real") if self.planted else ("copy", "real", "uniform")
            return [(control + self.suffix, "control") for control in controls]
        return [(self.generator.label + self.suffix, regime) for regime in suite.regimes]


def jobs_of(suite: Suite) -> list[Job]:
    """Return the jobs of a suite, world by world, the slow ones first."""
    return [
        Job(dataset, scenario, seed, generator, planted)
        for dataset, scenario in suite.worlds()
        for seed in suite.seeds
        for planted in ((False, True) if suite.audits else (False,))
        for generator in (*reversed(suite.generators), None)
    ]


def label_of(job: Job, generator: str, regime: str) -> str:
    """Return the readable half of a cell's folder name."""
    return f"{job.dataset.called}-{job.scenario.name}-{generator}-{regime}-s{job.seed}"


_COHORTS: dict[str, Cohort] = {}
FINGERPRINTS: dict[str, str] = {}
"""What datasets loaded; workers are told what the parent found."""
_WORLDS: dict[str, tuple[World, Arena]] = {}


def load(choice: DatasetChoice, store: DataStore) -> Cohort:
    """Return a dataset, loaded once per process and, to compare, twice in the first.

    Raises:
        FedbenchError: it cannot be loaded.
        ContractError: it does not load the same records twice.
    """
    key = digest(choice.name, dict(choice.settings), str(store.root))
    if key not in _COHORTS:
        cohort = cohort_of(choice.name, choice.settings, store)
        if key not in FINGERPRINTS:
            FINGERPRINTS[key] = cohort_of(choice.name, choice.settings, store).fingerprint
        if cohort.fingerprint != FINGERPRINTS[key]:
            raise ContractError(
                f"{choice.name}: load does not return the same records twice. A cell's name says "
                "which records it was trained on: draw from a fixed seed, and sort what comes from "
                "a set or a folder."
            )
        _COHORTS[key] = cohort
    return _COHORTS[key]


def lost(job: Job, suite: Suite, run: RunDir, store: DataStore, code: int) -> bool:
    """Write down that a worker process died in this job; say whether cells of it are left."""
    work = Work(job, suite, run, store, lambda _: None)
    due = [cell for cell in (work.cell(*cell) for cell in job.cells(suite)) if cell.due]
    if due:
        due[0].died(code)
    return len(due) > 1


def cells_of(suite: Suite, run: RunDir, store: DataStore) -> list[Cell]:
    """Return every cell of a run."""
    return [
        Work(job, suite, run, store, lambda _: None).cell(*cell)
        for job in jobs_of(suite)
        for cell in job.cells(suite)
    ]


def perform(job: Job, suite: Suite, run: RunDir, store: DataStore, note: Note) -> str:
    """Do a job and return the worst status of its cells."""
    note("dealing patients")
    work = Work(job, suite, run, store, note)
    statuses = [work.cell(*cell).perform() for cell in job.cells(suite)]
    return "failed" if "failed" in statuses else "done"


@dataclass
class Work:
    """A job under way; its world is made when it is first needed."""

    job: Job
    suite: Suite
    run: RunDir
    store: DataStore
    note: Note

    @cached_property
    def cohort(self) -> Cohort:
        return load(self.job.dataset, self.store)

    @cached_property
    def place(self) -> tuple[World, Arena]:
        """The world and its challenges; the last one is kept, jobs come world by world."""
        job, suite = self.job, self.suite
        planting = suite.planting if job.planted else None
        settings = (suite.records, suite.replicates, str(planting))
        key = digest(str(job.dataset), str(job.scenario), job.seed, *settings)
        if key not in _WORLDS:
            _WORLDS.clear()
            world = World(
                job.dataset,
                job.scenario,
                job.seed,
                self.cohort,
                suite.records,
                suite.replicates,
                planting,
            )
            _WORLDS[key] = (world, Arena(world, claim=claimed(job.scenario)))
        return _WORLDS[key]

    @property
    def world(self) -> World:
        return self.place[0]

    @property
    def arena(self) -> Arena:
        return self.place[1]

    @cached_property
    def plugin(self) -> Generator | None:
        """The generator; none for controls."""
        choice = self.job.generator
        return GENERATORS.build(choice.name, choice.settings) if choice else None

    @cached_property
    def trainer(self) -> Overhearing:
        assert self.job.generator is not None  # noqa: S101  (controls are not trained)
        asked = [ATTACKS.build(choice.name, choice.settings) for choice in self.attacks]
        listen = [attack.rounds for attack in asked if isinstance(attack, Wired)]
        device = device_of(self.suite)
        return Overhearing(self.world, self.job.generator, device, listen=listen)

    @cached_property
    def rehearsal(self) -> Rehearsal:
        """Trainings in which attacks on the training show what they can."""
        trainer = self.trainer
        return Rehearsal(self.world, trainer.choice, trainer.device, trainer.listen)

    @property
    def attacks(self) -> tuple[Choice, ...]:
        """The attacks that these cells are asked: where canaries were planted, audits."""
        audits = self.suite.audits
        if self.job.planted:
            return audits
        return tuple(choice for choice in self.suite.attacks if choice not in audits)

    def train_id(self, generator: str, regime: str) -> str:
        """Return the name of everything that decides what this cell's records are."""
        job, suite = self.job, self.suite
        dealer = job.scenario.partition
        trained: dict[str, Any] = {}
        if job.generator and self.plugin:
            trained = {
                "name": job.generator.name,
                "settings": self.plugin.settings,
                "sources": [
                    source_digest(plugin.__module__)
                    for plugin in (
                        type(self.plugin),
                        STRATEGIES.find(job.scenario.strategy.name),
                        CODECS.find(job.scenario.codec.name),
                    )
                ],
                "versions": {name: versions()[name] for name in self._decisive},
                "device": device_of(suite),
                "threads": suite.threads,
            }
        return digest(
            self.cohort.fingerprint,
            plain(asdict(self.cohort.schema)),
            str(replace(job.dataset, settings={})),  # all they decide is the records
            str(job.scenario),
            [
                source_digest(type(each).__module__) + each.contents
                for each in PARTITIONERS.build(dealer.name, dealer.settings).chain
            ],
            suite.records,
            generator,
            regime,
            "passes",
            job.seed,
            trained,
            *self._planted(),
        )

    def _planted(self) -> Sequence[Any]:
        """Return what decides which canaries there are; nothing where there are none."""
        planting = self.suite.planting
        if not self.job.planted or planting is None:
            return ()
        return ("planted", source_digest(type(planting).plant.__module__), planting.canaries)

    @property
    def _decisive(self) -> Sequence[str]:
        private = self.job.scenario.privacy.name != "none"
        return ("torch", "numpy", "flwr", *(["opacus"] if private else []))

    def cell(self, generator: str, regime: str) -> Cell:
        """Return one cell of this job."""
        train_id = self.train_id(generator, regime)
        here = self.run.cell(label_of(self.job, generator, regime), train_id)
        return Cell(self, here, train_id, generator, regime)

    def stored(self, trained: Mapping[tuple[str, str], str]) -> list[Cell]:
        """Return the cells as they were trained, by whatever code and versions.

        Args:
            trained: the train id of every generator and regime.
        """
        return [
            Cell(
                self, self.run.cell(label_of(self.job, *cell), trained[cell]), trained[cell], *cell
            )
            for cell in self.job.cells(self.suite)
        ]


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

    def perform(self) -> str:
        """Do what of this cell is not done yet, and return its status."""
        return self._perform() if self.due else str(self.here.facts()["status"])

    @property
    def due(self) -> bool:
        """Whether there is something left to do."""
        if not self.here.finished:
            return True
        return self.here.scored and bool(self.unanswered())

    def rescore(self, *, anew: bool) -> None:
        """Ask a cell that is done from its stored records: everything again, or what is new.

        What an attack heard while the cell was trained is not stored, nor is the model that some
        metrics ask, and their answers are kept. A control judges every attack by how many there
        are, so a new one has all judged again.

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
        new = self.regime == "control" and any(
            kind == "attack" and not self._answered(self.score_id(kind, choice))
            for kind, choice in self._asked()
        )
        for kind, choice in self._asked():
            if kind == "metric":
                again = anew and not METRICS.find(choice.name).needs_model
            else:
                again = (anew or new) and ATTACKS.find(choice.name).knows <= STORED
            if again:
                score_id = self.score_id(kind, choice)
                (self.here.path / "measures" / f"{score_id}.parquet").unlink(missing_ok=True)
        self._score(release)
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

    def score_ids(self) -> list[str]:
        """Return the names of the questions this cell is asked."""
        return [self.score_id(kind, choice) for kind, choice in self._asked()]

    def unanswered(self) -> list[str]:
        """Return the names of the questions that have no answer yet."""
        return [score_id for score_id in self.score_ids() if not self._answered(score_id)]

    def _answered(self, score_id: str) -> bool:
        return (self.here.path / "measures" / f"{score_id}.parquet").is_file()

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
            timings |= self._trained(release, time.monotonic() - started)
            if not self.here.finished:
                self._write(release)
            self._score(release)
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

    def _trained(self, release: Published, seconds: float) -> dict[str, float]:
        """Return what its training took; what a finished cell's took was written down then."""
        if self.here.finished:
            known = read_json(self.here.path / "timings.json")
            return {name: known[name] for name in TRAINING if name in known}
        found = (seconds, *(astuple(release.took) if release.took else ()))
        return dict(zip(TRAINING, found, strict=False))

    def _finish(self, status: str, reason: str, timings: Mapping[str, float]) -> None:
        write_json(self.here.path / "timings.json", timings)
        row = self.base | self._claim("")
        self.here.finish({"status": status, "reason": reason, "row": row} | self._facts())

    def score_id(self, kind: str, choice: Choice) -> str:
        """Return the name of everything that decides one metric's numbers on this cell."""
        plugin = (METRICS if kind == "metric" else ATTACKS).build(choice.name, choice.settings)
        version = type(plugin).version
        replicates = self.work.suite.replicates
        read = [plugin.contents] if plugin.contents else []
        return digest(self.train_id, kind, choice.name, plugin.settings, version, replicates, *read)

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
            **self._promise(),
        }

    def _promise(self) -> dict[str, Any]:
        promise = promised(self.work.job.scenario.privacy, "privacy")
        if promise is None or self.regime == "control":
            return {"dp": "none", "unit": "patient"}
        together = promise.noise == "distributed" and self.regime == "federated"
        return {
            "dp": "simulated",
            "unit": promise.unit,
            "epsilon": promise.epsilon,
            "delta": promise.delta,
            **({"server_sees": "sum"} if together else {}),
        }

    def _claim(self, site: str) -> dict[str, float]:
        """Return what the patients of a hospital gave away, and the most of any hospital."""
        if not self.spent:
            return {}
        found = {"epsilon_max": max(one.epsilon for one in self.spent.values())}
        return found | ({"epsilon_site": self.spent[site].epsilon} if site in self.spent else {})

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
            **(
                {"privacy": {s: _plainly(one) for s, one in self.spent.items()}}
                if self.spent
                else {}
            ),
        }

    def _check_parts(self) -> None:
        plugin = self.work.plugin
        if plugin and (lacking := sorted(self.work.world.schema.parts - plugin.handles)):
            raise _NotApplicable(f"{self.generator} does not handle {', '.join(lacking)}.")

    def _asked(self) -> list[tuple[str, Choice]]:
        """Return the metrics and attacks this cell is asked; controls only what anchors need."""
        suite = self.work.suite
        attacks = [("attack", choice) for choice in self.work.attacks]
        if self.work.job.planted:
            return attacks  # whatever else is asked is asked where nobody planted anything
        metrics = [("metric", choice) for choice in suite.metrics]
        if self.regime != "control":
            asked = [(k, c) for k, c in metrics if METRICS.find(c.name).needs_synthetic]
            return [*asked, *attacks]
        scored = [
            (kind, c)
            for kind, c in metrics
            if METRICS.find(c.name).family not in ("communication", "compute")
            and not METRICS.find(c.name).needs_model
        ]
        if self.generator == "uniform":
            return [(k, c) for k, c in scored if METRICS.find(c.name).anchors.floor == "uniform"]
        return [*scored, *attacks] if self.generator == "copy" else attacks

    def _released(self) -> Published:
        """Return each model's records and how they came about; a finished cell's are read."""
        if self.regime == "control":
            return Published({"": self._control()})
        if self.here.finished:
            return Published(
                self._read(),
                read_parquet(self.here.path / "ledger.parquet"),
                charges=self._stored("charges"),
                judged=self._stored("judged"),
                before=self._read("before").get("") if self._has_before else None,
            )
        self.work.note(f"training {self.regime}")
        return self.work.trainer.release(self.regime)  # type: ignore[arg-type]

    @property
    def _control_name(self) -> str:
        return self.generator.removesuffix(PLANTED)

    def _control(self) -> Cohort:
        world = self.work.world
        seeds = world.seeds.child("control", self._control_name)
        if self._control_name == "copy":
            return _shuffled(world.train, seeds.rng())
        if self._control_name == "real":
            return Cohort.union(list(self.work.arena.null.release.values()))
        return uniform(world.encoder, world.m, seeds.rng())

    def _write(self, release: Published) -> None:
        folder = self.here.path
        write_parquet(folder / "partition.parquet", self.work.world.table())
        if self.regime == "control":
            return  # real records are not written as synthetic ones
        _write_records(folder / "synthetic", release.records)
        if release.before is not None:
            _write_records(folder / "before", {"": release.before})
        assert release.ledger is not None  # noqa: S101  (only controls have none)
        write_parquet(folder / "ledger.parquet", release.ledger)
        write_parquet(folder / "history.parquet", release.history)
        for name in ("remarks", "charges", "judged"):
            if len(table := getattr(release, name)):
                write_parquet(folder / f"{name}.parquet", table)

    @property
    def _has_before(self) -> bool:
        return (self.here.path / "before" / "static.parquet").is_file()

    def _read(self, folder: str = "synthetic") -> dict[str, Cohort]:
        """Return the records of a finished cell."""
        return written(self.here.path / folder, self.work.world.schema)

    def _stored(self, name: str) -> pd.DataFrame:
        """Return a table of a finished cell that not every cell has."""
        file = self.here.path / f"{name}.parquet"
        return read_parquet(file) if file.is_file() else pd.DataFrame()

    def _score(self, release: Published) -> None:
        world, models = self.work.world, release.records
        views = {model: self._shown(cohort) for model, cohort in models.items()}
        before = None if release.before is None else self._shown(release.before)
        beside = world.beside(self._alone(models))
        aside = Aside(release.ledger, self._latents, beside, before)
        releases = [self._as_attacked(*item) for item in models.items()]
        for kind, choice in self._asked():
            name = choice.name.rpartition(":")[2].lower()
            score_id = self.score_id(kind, choice)
            file = self.here.path / "measures" / f"{score_id}.parquet"
            if file.is_file():
                continue
            self.work.note(f"{name} on {self.regime}")
            if kind == "metric":
                metric = METRICS.build(choice.name, choice.settings)
                found: Iterator[Answer] = answers(world, name, metric, views, aside)
            else:
                found = self._attacked(name, choice, releases)
            said = [answer.row() for answer in found]
            rows = [
                {**self.base, **self._claim(r["site"] or r["model"]), "score_id": score_id, **r}
                for r in said
            ]
            write_parquet(file, measures(rows))

    def _latents(self, model: str) -> Latents:
        """Return what asks a model of this cell where it puts patients."""
        trained = not self.here.finished

        def latents(cohort: Cohort) -> NDArray[np.float64] | Refusal:
            if not trained:
                return _FORGOTTEN
            return self.work.trainer.latents(self.regime, model, cohort)  # type: ignore[arg-type]

        return latents

    def _shown(self, cohort: Cohort) -> View:
        world = self.work.world
        return world.synthetic(cohort.take(cohort.patients[: world.m]))

    def _alone(self, models: Mapping[str, Cohort]) -> Mapping[str, Cohort]:
        """Return what is of one hospital each: its model's records, of a copy the real ones."""
        if self._control_name != "copy" or self.regime != "control":
            return {site: cohort for site, cohort in models.items() if site}
        seeds = self.work.world.seeds.child("control", "alone")
        return {
            site: _shuffled(cohort, seeds.child(site).rng())
            for site, cohort in self.work.world.part("train").items()
        }

    def _as_attacked(self, model: str, cohort: Cohort) -> Release:
        """Return as many records as were trained on."""
        world = self.work.world
        sites = (model,) if model else world.sites
        trained = sum(world.sizes[site] for site in sites)
        whole = self.regime == "control" and self.work.job.planted  # a copy has all canaries
        records = cohort if whole else cohort.take(cohort.patients[:trained])
        return Release(model, records, sites, self._overheard)

    @property
    def _overheard(self) -> Overheard | None:
        """What crossed while this cell was trained, if that was just now."""
        if self.regime == "control":
            return None
        wire = None if self.here.finished else self.work.trainer.wire()
        return Overheard.of(wire, self.regime, alone=self.base.get("server_sees") != "sum")

    def _attacked(self, name: str, choice: Choice, releases: Sequence[Release]) -> Iterator[Answer]:
        arena = self.work.arena
        control = self._control_name if self.regime == "control" else ""
        if control == "real":
            arena = arena.for_null
        attack = ATTACKS.build(choice.name, choice.settings)
        siege = Siege(arena, name, attack, watched=not control)
        for release in releases:
            target = "specialist" if release.model else "pooled"
            found = list(siege.answers(release, target))
            yield from found
            attacks = len(self.work.suite.attacks)
            if control:
                yield from judged(control, found, attacks, self.work.arena)
            elif isinstance(attack, Wired) and any(one.status == "done" for one in found):
                yield from self.work.rehearsal.answers(name, attack, attacks)
        if siege.guesses:
            file = self.here.path / f"guesses-{portable(name)}.parquet"
            write_parquet(file, pd.concat(siege.guesses, ignore_index=True))
        for told in siege.exposures:
            write_parquet(self.here.path / f"exposure-{portable(name)}.parquet", told)


def claimed(scenario: Scenario) -> games.Claim:
    """Return what a scenario promises about every patient."""
    promise = promised(scenario.privacy, "privacy")
    if promise is None or promise.unit != "patient":
        return games.Claim()
    return games.Claim(promise.epsilon, promise.delta)


TRAINING = ("training", "trained_seconds", "sampled_seconds", "sampled_records")
"""What is timed before anything is scored; the last three are those of ``regimes.Took``."""


def peak_mb() -> float:
    """Return the most memory that this process had in use since ``forget_peak``, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def forget_peak() -> None:
    """Count the most memory in use from now on; only Linux can, elsewhere it is of all cells."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


class _NotApplicable(Exception):
    """The generator does not handle a part of this cohort."""


def _shuffled(cohort: Cohort, rng: Rng) -> Cohort:
    """Return the same records under other names, in random order: a prefix is a fair sample."""
    order = rng.permutation(len(cohort))
    names = np.array([f"c{i:0{len(str(len(order)))}d}" for i in order], dtype=object)
    return renamed(cohort, names)


def spent(charges: pd.DataFrame, scenario: Scenario) -> dict[str, Spent]:
    """Return what every hospital's charges cost together; nothing where nothing is promised."""
    promise = promised(scenario.privacy, "privacy")
    if promise is None or charges.empty:
        return {}
    found = {}
    for site, mine in charges.groupby("site", sort=True):
        columns = (mine[name].tolist() for name in CHARGES[1:])
        told = [Charge("", *each) for each in zip(*columns, strict=True)]
        found[str(site)] = Accountant(charges=told).spent(promise.delta)
    return found


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


def _plainly(one: Spent) -> dict[str, float]:
    return {"epsilon": one.epsilon, "epsilon_rdp": one.epsilon_rdp}


def _write_records(folder: Path, models: Mapping[str, Cohort]) -> None:
    for name in TABLES:
        tables = [getattr(c, name).assign(model=model) for model, c in models.items()]
        if any(len(table) for table in tables):
            write_parquet(folder / f"{name}.parquet", pd.concat(tables, ignore_index=True))


def written(folder: Path, schema: Schema) -> dict[str, Cohort]:
    """Return the records that lie in a folder of synthetic ones, by model."""
    tables = {
        name: read_parquet(folder / f"{name}.parquet")
        for name in TABLES
        if name == "static" or (folder / f"{name}.parquet").is_file()
    }
    return {
        model: Cohort.of_tables(
            schema,
            **{
                name: table[table["model"] == model].drop(columns="model")
                for name, table in tables.items()
            },
        )
        for model in tables["static"]["model"].drop_duplicates()
    }


def device_of(suite: Suite) -> str:
    """Return the device that ``auto`` stands for on this machine."""
    if suite.device != "auto":
        return suite.device
    import torch  # noqa: PLC0415

    return "cuda" if torch.cuda.is_available() else "cpu"


def measures(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return raw rows as a table that parquet can hold; anchors as two words."""
    table = pd.DataFrame([dict(row) for row in rows])
    if "anchors" in table:
        table["anchor_floor"] = [a.floor or "" for a in table["anchors"]]
        table["anchor_ceiling"] = [a.ceiling or "" for a in table["anchors"]]
        table = table.drop(columns="anchors")
    return table
