"""Attacks on the training show what they can before anything is said of what they find."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from fedbench.attack import Game, Guess, Knowledge, PublicChallenge, Sight, Wired
from fedbench.attacks.canary_updates import CanaryUpdates
from fedbench.attacks.gradient import Gradient
from fedbench.config import DatasetChoice, GeneratorChoice, Scenario
from fedbench.data import DataStore
from fedbench.federation.study import Choice
from fedbench.kinds import cohort_of
from fedbench.rehearsal import Rehearsal
from fedbench.seeds import Rng
from fedbench.world import World

SIZES: dict[str, Any] = {"patients": 900, "hospitals": 2, "labs": 2, "codes": 2}
QUICK: dict[str, Any] = {"reference": 300, "rounds": 2, "draws": 1}
STEP: dict[str, Any] = {"hidden": 16, "latent": 4}


@dataclass(frozen=True, kw_only=True)
class Deaf(Wired):
    """Does not listen."""

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.UPDATES})
    version: ClassVar[int] = 1

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        return Guess(rng.random(len(challenge.targets)))


@dataclass(frozen=True, kw_only=True)
class Informed(Deaf):
    """Knows the training patients from elsewhere, whatever crossed."""

    known: frozenset[int] = field(default=frozenset())

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        return Guess(np.array([look in self.known for look in looks(challenge.targets)], float))


def looks(table: pd.DataFrame) -> list[int]:
    found: list[int] = pd.util.hash_pandas_object(table, index=False).tolist()
    return found


def world(planting: CanaryUpdates | None = None) -> World:
    dataset = DatasetChoice(
        name="simulated",
        settings=SIZES,
        parts={"train": 0.2, "control": 0.3, "reference": 0.4},
    )
    scenario = Scenario(name="s", partition=Choice("natural"), rounds=1)
    cohort = cohort_of("simulated", SIZES, DataStore(None))
    return World(dataset, scenario, 0, cohort, 100, 10, planting)


def held(world: World, attack: Wired, generator: GeneratorChoice) -> dict[str, float]:
    answers = list(Rehearsal(world, generator, "cpu", [2]).answers("tried", attack, 3))
    assert all(answer.status == "done" and answer.found.part == "check" for answer in answers)
    rows = [answer.row() for answer in answers]
    return {row["group"]: row["value"] for row in rows}


@pytest.mark.parametrize("generator", ["copula", "tvae"])
def test_an_attack_that_works_passes(generator: str) -> None:
    choice = GeneratorChoice(name=generator, settings=STEP if generator == "tvae" else {})
    assert held(world(), Gradient(**QUICK), choice) == {"step": 1.0, "strangers": 1.0}


def test_one_that_hears_nothing_fails_the_step() -> None:
    assert held(world(), Deaf(), GeneratorChoice(name="copula")) == {"step": 0.0, "strangers": 1.0}


def test_one_that_knows_patients_from_elsewhere_fails_the_null() -> None:
    here = world()
    informed = Informed(known=frozenset(looks(here.train.table)))
    assert held(here, informed, GeneratorChoice(name="copula")) == {"step": 1.0, "strangers": 0.0}


def test_audits_rehearse_with_canaries_and_without() -> None:
    attack = CanaryUpdates(canaries=100, **QUICK)
    found = held(world(attack), attack, GeneratorChoice(name="copula"))
    assert found == {"step": 1.0, "strangers": 1.0}
