"""What one cell is asked: its metrics and attacks, and the answers beside its records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.attack import Knowledge, Wired
from fedbench.attacking import Release, Siege, judged
from fedbench.data import Cohort
from fedbench.federation.study import Choice
from fedbench.jobs import Work
from fedbench.kinds import ATTACKS, METRICS
from fedbench.metric import Latents, Refusal, View
from fedbench.overhearing import Overheard
from fedbench.planting import PLANTED
from fedbench.regimes import Release as Published
from fedbench.releases import shuffled
from fedbench.results import CellDir, digest, portable, write_parquet
from fedbench.scoring import Answer, Aside, answers

__all__ = ["Questions", "measures"]

Told = Callable[[str], Mapping[str, Any]]

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
class Questions:
    """The questions of one cell."""

    work: Work
    here: CellDir
    train_id: str
    generator: str
    regime: str

    @property
    def control(self) -> str:
        """The name of the control, whether or not canaries were planted."""
        return self.generator.removesuffix(PLANTED)

    def asked(self) -> list[tuple[str, Choice]]:
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

    def score_id(self, kind: str, choice: Choice) -> str:
        """Return the name of everything that decides one metric's numbers on this cell."""
        plugin = (METRICS if kind == "metric" else ATTACKS).build(choice.name, choice.settings)
        version = type(plugin).version
        replicates = self.work.suite.replicates
        read = [plugin.contents] if plugin.contents else []
        return digest(self.train_id, kind, choice.name, plugin.settings, version, replicates, *read)

    def score_ids(self) -> list[str]:
        """Return the names of the questions the cell is asked."""
        return [self.score_id(kind, choice) for kind, choice in self.asked()]

    def unanswered(self) -> list[str]:
        """Return the names of the questions that have no answer yet."""
        return [score_id for score_id in self.score_ids() if not self._answered(score_id)]

    def _answered(self, score_id: str) -> bool:
        return self.file(score_id).is_file()

    def file(self, score_id: str) -> Path:
        """Return where the answers to a question are written."""
        return self.here.path / "measures" / f"{score_id}.parquet"

    def forget(self, *, anew: bool) -> None:
        """Throw away answers that stored records can give again: all, or a control's on attacks.

        It judges every attack by how many there are, so a new one has all judged again.
        """
        new = self.regime == "control" and any(
            kind == "attack" and not self._answered(self.score_id(kind, choice))
            for kind, choice in self.asked()
        )
        for kind, choice in self.asked():
            if kind == "metric":
                again = anew and not METRICS.find(choice.name).needs_model
            else:
                again = (anew or new) and ATTACKS.find(choice.name).knows <= STORED
            if again:
                self.file(self.score_id(kind, choice)).unlink(missing_ok=True)

    def answer(self, release: Published, told: Told) -> None:
        """Ask all that has no answer yet, and write down what is said.

        Args:
            release: what the cell released.
            told: the columns that all rows about a hospital share, or about everybody.
        """
        world, models = self.work.world, release.records
        views = {model: self._shown(cohort) for model, cohort in models.items()}
        before = None if release.before is None else self._shown(release.before)
        beside = world.beside(self._alone(models))
        aside = Aside(release.ledger, self._latents, beside, before)
        overheard = self._overheard(alone=told("").get("server_sees") != "sum")
        releases = [self._as_attacked(*item, overheard) for item in models.items()]
        for kind, choice in self.asked():
            name = choice.name.rpartition(":")[2].lower()
            score_id = self.score_id(kind, choice)
            file = self.file(score_id)
            if file.is_file():
                continue
            self.work.note(f"{name} on {self.regime}")
            if kind == "metric":
                metric = METRICS.build(choice.name, choice.settings)
                found: Iterator[Answer] = answers(world, name, metric, views, aside)
            else:
                found = self._attacked(name, choice, releases)
            said = [answer.row() for answer in found]
            rows = [{**told(r["site"] or r["model"]), "score_id": score_id, **r} for r in said]
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
        if self.control != "copy" or self.regime != "control":
            return {site: cohort for site, cohort in models.items() if site}
        seeds = self.work.world.seeds.child("control", "alone")
        return {
            site: shuffled(cohort, seeds.child(site).rng())
            for site, cohort in self.work.world.part("train").items()
        }

    def _as_attacked(self, model: str, cohort: Cohort, heard: Overheard | None) -> Release:
        """Return as many records as were trained on."""
        world = self.work.world
        sites = (model,) if model else world.sites
        trained = sum(world.sizes[site] for site in sites)
        whole = self.regime == "control" and self.work.job.planted  # a copy has all canaries
        records = cohort if whole else cohort.take(cohort.patients[:trained])
        return Release(model, records, sites, heard)

    def _overheard(self, *, alone: bool) -> Overheard | None:
        """What crossed while this cell was trained, if that was just now."""
        if self.regime == "control":
            return None
        wire = None if self.here.finished else self.work.trainer.wire()
        return Overheard.of(wire, self.regime, alone=alone)

    def _attacked(self, name: str, choice: Choice, releases: Sequence[Release]) -> Iterator[Answer]:
        arena = self.work.arena
        control = self.control if self.regime == "control" else ""
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


def measures(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return raw rows as a table that parquet can hold; anchors as two words."""
    table = pd.DataFrame([dict(row) for row in rows])
    if "anchors" in table:
        table["anchor_floor"] = [a.floor or "" for a in table["anchors"]]
        table["anchor_ceiling"] = [a.ceiling or "" for a in table["anchors"]]
        table = table.drop(columns="anchors")
    return table
