"""How often do audits with canaries find a promise that is broken, and one that is kept?

python -m fedbench.testing.audits --repeats 40
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np

from fedbench import games
from fedbench.attack import Knowledge, Planting
from fedbench.data import Cohort, DataStore
from fedbench.federation.listening import listened
from fedbench.federation.study import Choice, Study
from fedbench.games.canaries import Audit, audit
from fedbench.kinds import ATTACKS, cohort_of
from fedbench.planting import sown
from fedbench.seeds import Seeds
from fedbench.wire import Wire

__all__ = ["WEAKENED", "Told", "Trial", "told"]

WEAKENED = "fedbench.testing.weakened:Weakened"

CLAIMED = (0.5, 1.0, 2.0, 4.0)
NOISES = (1.0, 0.1)


@dataclass(frozen=True)
class Trial:
    """Trainings on a few simulated patients and on canaries, whose updates are audited.

    Attributes:
        claim: What the trainings promise.
        noise: Which part of the noise that this takes they add.
        canaries: How many are planted, at all hospitals together.
        patients: How many real ones are trained on.
        reference: How many the attacker has.
        sites: How many hospitals there are.
        of: Which generator of sums is trained.
    """

    claim: games.Claim
    noise: float = 1.0
    canaries: int = 1000
    patients: int = 100
    reference: int = 500
    sites: int = 5
    of: str = "copula"

    def audited(self, seed: int) -> Audit:
        """Return what one training says, with canaries, coins and noise of its own."""
        seeds = Seeds(seed).child("audit")
        sites = tuple(f"site-{number}" for number in range(self.sites))
        attack = self._attack
        planted = sown(attack, self._people["reference"], sites, seeds)
        homes = np.array_split(self._people["train"].patients, len(sites))
        cohorts = {
            site: Cohort.union([self._people["train"].take(home), planted.there[site]])
            for site, home in zip(sites, homes, strict=True)
        }
        dealt = games.Dealt(self._people["train"], planted.there, planted.left, claim=self.claim)
        (challenge,) = games.deal("planted", dealt, seeds.child("deal").rng())
        held: dict[Knowledge, Wire | Cohort] = {
            Knowledge.UPDATES: self._wire(cohorts, seed),
            Knowledge.REFERENCE: self._people["reference"],
        }
        sight = games.show(attack, self._people["train"].schema, held)
        guess = attack.guess(sight, challenge.public, seeds.child("guess").rng())
        return audit(guess.scores, challenge.truth, self.claim.delta, seeds.child("ties").rng())

    @property
    def _attack(self) -> Planting:
        settings = {"canaries": self.canaries, "reference": self.reference}
        return cast("Planting", ATTACKS.build("canary_updates", settings))

    @property
    def _generator(self) -> Choice:
        return Choice(WEAKENED, {"of": self.of, "noise": self.noise})

    @cached_property
    def _people(self) -> dict[str, Cohort]:
        settings = {"patients": self.patients + self.reference, "hospitals": 1}
        settings |= {"labs": 8, "codes": 8}
        everybody = cohort_of("simulated", settings, DataStore(None))
        order = np.random.default_rng(0).permutation(everybody.patients)
        cut = self.patients
        return {"train": everybody.take(order[:cut]), "reference": everybody.take(order[cut:])}

    def _wire(self, cohorts: dict[str, Cohort], seed: int) -> Wire:
        promise = {"epsilon": self.claim.epsilon, "delta": self.claim.delta}
        study = Study(
            generator=self._generator,
            strategy=Choice("fedavg"),
            sites=tuple(cohorts),
            rounds=1,
            seed=seed,
            privacy=Choice("patient", promise),
        )
        return listened(study, cohorts, [1])


@dataclass(frozen=True)
class Told:
    """How often a promise was said to be broken, and what the audits said epsilon is at least."""

    trial: Trial
    found: Sequence[Audit]

    @property
    def accused(self) -> int:
        """How many audits contradict the promise, each at 5 % for itself."""
        claimed = self.trial.claim.epsilon
        return sum(claimed is not None and one.contradicts(claimed) for one in self.found)

    def __str__(self) -> str:
        least, most = (
            float(np.median([getattr(one, name) for one in self.found]))
            for name in ("epsilon", "ceiling")
        )
        return (
            f"{self.trial.claim.epsilon:8g} {self.trial.noise:6.0%} {self.accused:4} of "
            f"{len(self.found):3} {least:8.2f} {most:8.2f}"
        )


def told(trial: Trial, repeats: int) -> Told:
    """Audit so many trainings."""
    return Told(trial, [trial.audited(seed) for seed in range(repeats)])


def _every(trial: Trial, repeats: int) -> Iterator[Told]:
    for claimed in CLAIMED:
        for noise in NOISES:
            claim = replace(trial.claim, epsilon=claimed)
            yield told(replace(trial, claim=claim, noise=noise), repeats)


def _main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--repeats", type=int, default=40)
    given.add_argument("--canaries", type=int, default=Trial.canaries)
    given.add_argument("--patients", type=int, default=Trial.patients)
    given.add_argument("--reference", type=int, default=Trial.reference)
    given.add_argument("--of", default=Trial.of, help="a generator of sums")
    asked = given.parse_args()
    claim = games.Claim(None, 1e-5)
    sizes = {name: getattr(asked, name) for name in ("canaries", "patients", "reference", "of")}
    trial = Trial(claim, **sizes)
    sys.stdout.write(" promised  noise     accused at least     most\n")
    for each in _every(trial, asked.repeats):
        sys.stdout.write(f"{each}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main()
