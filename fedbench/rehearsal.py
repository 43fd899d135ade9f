"""Do attacks on the training work here? Asked of trainings of which the answer is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np

from fedbench import games
from fedbench.attack import Wired
from fedbench.attacking import Arena, Release, Siege, as_check
from fedbench.config import GeneratorChoice
from fedbench.data import Cohort
from fedbench.errors import Refused, Unsupported
from fedbench.federation.listening import listened
from fedbench.federation.study import Choice, Study
from fedbench.games import Scored
from fedbench.kinds import GENERATORS
from fedbench.metric import Refusal
from fedbench.overhearing import Overheard
from fedbench.scoring import Answer
from fedbench.seeds import Seeds
from fedbench.world import World

__all__ = ["Rehearsal"]

OTHERS, STRANGERS = 100, 300
"""Patients of each hospital, at most, who are beside them, and who are asked about in the null."""

ROUNDS = 2
"""So that a peer is told what came of the first one."""

EXACT = {"batch": 0, "optimizer": "sgd", "passes": ROUNDS, "least_steps": 1}
"""Settings with which a neural generator takes one exact step on everybody a round."""

Cohorts = Mapping[str, Cohort]


@dataclass
class Rehearsal:
    """Trains a generator by exact steps on few patients, without privacy, and lets attacks try.

    How few at each hospital, the attack says (``Wired.rehearsed``), and no more than half of those
    there are. ``step``: they must recognise these patients among others; of audits, canaries that
    are trained on with them. ``strangers``: they must not tell other training patients from
    others, on whom this training is as little about as about them; of audits, canaries that were
    not planted.

    Attributes:
        world: whose patients.
        choice: what is trained.
        device: where.
        listen: to how many rounds, for every attack.
    """

    world: World
    choice: GeneratorChoice
    device: str
    listen: Sequence[int]
    _heard: dict[tuple[int, bool], Overheard] = field(default_factory=dict)
    _arenas: dict[tuple[int, str], Arena] = field(default_factory=dict)

    def answers(self, name: str, attack: Wired, attacks: int) -> Iterator[Answer]:
        """Play both controls of an attack, and judge them.

        Args:
            name: of the attack.
            attack: on what crossed.
            attacks: how many attacks there are, all of which must stay silent.
        """
        nobody = self.world.cohort.take(np.empty(0, dtype=object))
        few = attack.rehearsed
        for control, played in (("step", self._step), ("strangers", self._strangers)):
            if (few, control) not in self._arenas:
                self._arenas[few, control] = played(few)
            arena = self._arenas[few, control]
            heard = self._overheard(few, canaries=control == "step")
            release = Release("", nobody, self.world.sites, heard)
            found = list(Siege(arena, name, attack).answers(release, "pooled"))
            yield from _judged(control, found, attacks)

    def _few(self, most: int) -> Cohorts:
        """Return the patients on whom is trained."""
        return {site: train.take(names[:most]) for site, (train, names) in self._shuffled.items()}

    @cached_property
    def _shuffled(self) -> Mapping[str, tuple[Cohort, np.ndarray]]:
        """Each site's training patients, without canaries, and half of their names."""
        found = {}
        for site, split in self.world.dealt.items():
            names = self._seeds.child(site).rng().permutation(split.train.patients)
            found[site] = split.train, names[: len(names) // 2]
        return found

    @property
    def _seeds(self) -> Seeds:
        return self.world.seeds.child("rehearsal")

    def _step(self, most: int) -> Arena:
        return self._arena(self._few(most), OTHERS)

    def _strangers(self, most: int) -> Arena:
        few = self._few(most)
        other = {
            site: train.take(np.setdiff1d(train.patients, few[site].patients))
            for site, (train, _) in self._shuffled.items()
        }
        return self._arena(self._some(other, "train", STRANGERS), STRANGERS)

    def _arena(self, members: Cohorts, most: int) -> Arena:
        others = self._some(self.world.part("control"), "control", most)
        # What is said against epsilon 0 is what is seen at all.
        claim = games.Claim(epsilon=0.0)
        return Arena(self.world, members=members, others=others, claim=claim, baseline=False)

    def _some(self, cohorts: Cohorts, part: str, most: int) -> Cohorts:
        return {
            site: cohort.take(
                self._seeds.child(part, site).rng().permutation(cohort.patients)[:most]
            )
            for site, cohort in cohorts.items()
        }

    def _overheard(self, few: int, *, canaries: bool) -> Overheard:
        planted = self.world.canaries if canaries else None
        key = few, planted is not None
        if key not in self._heard:
            there = planted.there if planted else {}
            cohorts = {
                site: Cohort.union([mine, *([there[site]] if planted else [])])
                for site, mine in self._few(few).items()
            }
            self._heard[key] = self._trained(cohorts)
        return self._heard[key]

    def _trained(self, cohorts: Cohorts) -> Overheard:
        study = Study(
            generator=Choice(self.choice.name, _exact(self.choice)),
            strategy=Choice("fedavg"),
            sites=tuple(cohorts),
            rounds=ROUNDS,
            seed=self.world.seed,
            path=(self.world.dataset.name, self.choice.label, "rehearsal"),
            device=self.device,
        )
        try:
            return Overheard(listened(study, cohorts, self.listen), Refusal(reason=""))
        except (Unsupported, Refused) as reason:
            return Overheard(None, Refusal(reason=str(reason)))


def _exact(choice: GeneratorChoice) -> Mapping[str, object]:
    """Return the settings with which this generator takes exact steps."""
    known = {each.name for each in fields(GENERATORS.find(choice.name))}  # type: ignore[arg-type]
    return {**choice.settings, **{name: value for name, value in EXACT.items() if name in known}}


def _judged(control: str, found: Sequence[Answer], attacks: int) -> Iterator[Answer]:
    """Say whether an attack passes a control, per secret."""
    secrets = list(dict.fromkeys(answer.found.key.secret for answer in found))
    for secret in secrets:
        mine = [answer for answer in found if answer.found.key.secret == secret]
        scored = [Scored(answer.question.site, answer.found) for answer in mine]
        if control == "step":
            reason, words = games.must_follow(scored), games.FOLLOWED
        else:
            tests = attacks * len(secrets)
            reason, words = games.must_ignore(scored, tests), games.IGNORED
        key = replace(mine[0].found.key, group=control)
        yield as_check(mine[0], key, 0.0 if reason else 1.0, reason or words)
