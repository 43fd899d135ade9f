"""The counts that agree the encoder: whom they give away, and what hides them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fedbench import games, stats
from fedbench.attack import Knowledge
from fedbench.attacks.sketch import Sketch
from fedbench.data import Cohort
from fedbench.encoding import indicators, summarize
from fedbench.errors import Unsupported
from fedbench.federation.listening import listened
from fedbench.federation.study import Choice, Study
from fedbench.games import Challenge
from fedbench.seeds import Seeds
from fedbench.wire import Seen, Wire

SITES = ("north", "south")
People = Callable[..., Cohort]


def agreed(cohorts: dict[str, Cohort], privacy: Choice) -> Wire:
    study = Study(
        generator=Choice("independent"),
        strategy=Choice("fedavg"),
        sites=SITES,
        rounds=1,
        seed=0,
        privacy=privacy,
    )
    return listened(study, cohorts, [1])


def area(wire: Wire, reference: Cohort, challenge: Challenge) -> float:
    attack = Sketch()
    held = {Knowledge.REFERENCE: reference, Knowledge.UPDATES: wire}
    sight = games.show(attack, reference.schema, held)
    scores = attack.guess(sight, challenge.public, Seeds(1).rng()).scores
    mine = [challenge.sites == site for site in SITES]
    return float(np.mean([stats.auc(scores[each], challenge.truth[each]) for each in mine]))


@pytest.fixture(scope="module")
def members(people: People) -> dict[str, Cohort]:
    return {site: people(30, number, site) for number, site in enumerate(SITES)}


@pytest.fixture(scope="module")
def reference(people: People) -> Cohort:
    return people(1_000, 9, "r")


@pytest.fixture(scope="module")
def challenge(people: People, members: dict[str, Cohort]) -> Challenge:
    others = {site: people(150, 5 + number, f"o{site}") for number, site in enumerate(SITES)}
    return games.membership_challenge(members["north"].schema, members, others, Seeds(0).rng())


def test_what_single_patients_add_is_what_is_counted(people: People) -> None:
    cohort = people(50, 3)
    counted = summarize(cohort)
    for name, each in indicators(cohort).items():
        np.testing.assert_array_equal(each.sum(axis=0), counted[name])
        assert each.reshape(50, -1).sum(axis=1).max() == 1


def test_exact_counts_give_patients_away_and_noised_ones_do_not(
    members: dict[str, Cohort], reference: Cohort, challenge: Challenge
) -> None:
    exact = agreed(members, Choice("none"))
    noised = agreed(members, Choice("patient", {"epsilon": 1.0, "delta": 1e-4}))
    assert area(exact, reference, challenge) > 0.75
    assert abs(area(noised, reference, challenge) - 0.5) < 0.12


def test_the_sum_over_hospitals_hides_some(members: dict[str, Cohort]) -> None:
    wire = agreed(members, Choice("none"))
    seen: dict[Seen, float] = {
        who: wire.seen_as(who).agreement("north").patients for who in ("updates", "aggregate")
    }
    assert seen == {"updates": 30, "aggregate": 60}
    with pytest.raises(Unsupported, match="not known"):
        wire.seen_as("peer").agreement("north")
