"""One job: a generator, or the controls, in one world, with all that its cells share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from fedbench.attack import Wired
from fedbench.attacking import Arena
from fedbench.config import DatasetChoice, GeneratorChoice, Scenario, Suite
from fedbench.data import Cohort, DataStore
from fedbench.environment import source_digest, versions
from fedbench.errors import ContractError
from fedbench.federation.study import Choice
from fedbench.generator import Generator
from fedbench.kinds import ATTACKS, CODECS, GENERATORS, PARTITIONERS, STRATEGIES, cohort_of
from fedbench.overhearing import Overhearing
from fedbench.planting import PLANTED
from fedbench.plugin import plain
from fedbench.promises import claimed
from fedbench.rehearsal import Rehearsal
from fedbench.results import CellDir, RunDir, digest
from fedbench.world import World

__all__ = ["Job", "Note", "Work", "jobs_of", "label_of", "load"]

Note = Callable[[str], None]


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

    def folder(self, generator: str, regime: str, train_id: str) -> CellDir:
        """Return where one cell of this job is, or will be."""
        return self.run.cell(label_of(self.job, generator, regime), train_id)


def device_of(suite: Suite) -> str:
    """Return the device that ``auto`` stands for on this machine."""
    if suite.device != "auto":
        return suite.device
    import torch  # noqa: PLC0415

    return "cuda" if torch.cuda.is_available() else "cpu"
