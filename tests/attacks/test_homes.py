"""Where a patient was, and how common something is: what the training tells, and noise does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedbench import games
from fedbench.attack import Knowledge, Wired
from fedbench.attacks.origin import Origin
from fedbench.attacks.prevalence import Prevalence
from fedbench.attacks.towards import Towards
from fedbench.data import Cohort
from fedbench.federation.listening import listened
from fedbench.federation.study import Choice, Study
from fedbench.games.playing import Beside
from fedbench.games.scoring import Scored
from fedbench.metric import Measure, Refusal
from fedbench.seeds import Seeds
from fedbench.wire import Wire

SITES = ("east", "north", "south")
People = Callable[..., Cohort]


class Nothing(Beside):
    """Nothing is known beside the training."""

    def blind(self) -> None:
        return None

    def reference(self) -> None:
        return None


@pytest.fixture(scope="module")
def members(people: People) -> dict[str, Cohort]:
    return {site: people(25, number, site) for number, site in enumerate(SITES)}


@pytest.fixture(scope="module")
def others(people: People) -> dict[str, Cohort]:
    return {site: people(100, 5 + number, f"o{site}") for number, site in enumerate(SITES)}


@pytest.fixture(scope="module")
def reference(people: People) -> Cohort:
    return people(1_000, 9, "r")


@pytest.fixture(scope="module")
def wire(members: dict[str, Cohort]) -> Wire:
    study = Study(
        generator=Choice("copula"), strategy=Choice("fedavg"), sites=SITES, rounds=1, seed=0
    )
    return listened(study, members, [1])


def played(
    attack: Wired, wire: Wire, reference: Cohort, members: Any, others: Any
) -> dict[str, Measure | Refusal]:
    dealt = games.Dealt(reference, members, others)
    (challenge,) = games.deal(attack.game, dealt, Seeds(0).rng())
    held = {Knowledge.REFERENCE: reference, Knowledge.UPDATES: wire}
    sight = games.show(attack, reference.schema, held)
    rows: list[Scored] = games.play(attack, sight, challenge, Seeds(1), Nothing())[1]
    return {row.measure.part: row.measure for row in rows}


def value(found: Measure | Refusal) -> float:
    assert isinstance(found, Measure)
    assert found.low <= found.value <= found.high
    return found.value


def test_sums_of_few_tell_where_a_patient_was(
    wire: Wire, reference: Cohort, members: dict[str, Cohort], others: dict[str, Cohort]
) -> None:
    found = played(Origin(), wire, reference, members, others)
    advantage = found["advantage"]
    assert isinstance(advantage, Measure)
    assert advantage.low > 0.1
    assert value(found["accuracy"]) > 0.6
    assert value(found["base"]) == pytest.approx(1 / 3)
    assert abs(value(found["control"]) - 1 / 3) < 0.1
    weak = played(Towards(), wire, reference, members, others)
    assert value(weak["accuracy"]) < value(found["accuracy"])


def test_of_whom_nothing_was_sent_nobody_knows_where(
    wire: Wire, reference: Cohort, people: People
) -> None:
    held = 0
    for turn in range(10):
        strangers, others = (
            {site: people(200, seed + number, f"{seed}{site}") for number, site in enumerate(SITES)}
            for seed in (1000 + 10 * turn, 2000 + 10 * turn)
        )
        found = played(Origin(), wire, reference, strangers, others)["advantage"]
        assert isinstance(found, Measure)
        held += found.low <= 0 <= found.high
    # 95 % intervals: fewer than 8 of 10 once in eighty times; 38 of 40 in a longer run.
    assert held >= 8


def test_exact_sums_tell_how_common_something_is(
    wire: Wire, reference: Cohort, members: dict[str, Cohort], others: dict[str, Cohort]
) -> None:
    found = played(Prevalence(), wire, reference, members, others)
    assert value(found["error"]) < 0.5 * value(found["reference"])
    assert value(found["gain"]) == pytest.approx(value(found["reference"]) - value(found["error"]))
    assert value(found["advantage"]) > 0
    assert isinstance(found["gain"], Measure)
    assert found["gain"].facts["p_value"] < 0.001


def test_shares_of_strangers_are_not_given_away(
    wire: Wire, reference: Cohort, people: People
) -> None:
    found = []
    for turn in range(12):
        strangers, others = (
            {site: people(30, seed + number, f"{seed}{site}") for number, site in enumerate(SITES)}
            for seed in (3000 + 10 * turn, 4000 + 10 * turn)
        )
        row = played(Prevalence(), wire, reference, strangers, others)["advantage"]
        assert isinstance(row, Measure)
        found.append(row.facts["p_value"])
    # Twelve p-values that are uniform have a smallest below .001 once in eighty times.
    assert min(found) > 0.001
    assert 0.2 < np.mean(found) < 0.8


def test_noise_leaves_shares_where_other_patients_have_them(
    reference: Cohort, members: dict[str, Cohort], others: dict[str, Cohort]
) -> None:
    promise = Choice("patient", {"epsilon": 1.0, "delta": 1e-3})
    copula, plain = Choice("copula"), Choice("fedavg")
    study = Study(generator=copula, strategy=plain, sites=SITES, rounds=1, seed=0, privacy=promise)
    found = played(Prevalence(), listened(study, members, [1]), reference, members, others)
    # Without allowing for the noise the error is about one half.
    assert value(found["error"]) < value(found["reference"]) + 0.05


def test_two_hospitals_are_too_few_to_see_how_errors_vary(
    wire: Wire, reference: Cohort, members: dict[str, Cohort], others: dict[str, Cohort]
) -> None:
    two, rest = ({site: side[site] for site in SITES[:2]} for side in (members, others))
    found = played(Prevalence(), wire, reference, two, rest)["advantage"]
    assert isinstance(found, Refusal)
    assert "3 hospitals are needed" in found.reason


def test_one_hospital_is_no_question(
    reference: Cohort, members: dict[str, Cohort], others: dict[str, Cohort]
) -> None:
    one = games.Dealt(reference, {"east": members["east"]}, {"east": others["east"]})
    assert games.deal("source", one, Seeds(0).rng()) == []


def test_where_a_patient_was_is_not_shown(
    reference: Cohort, members: dict[str, Cohort], others: dict[str, Cohort]
) -> None:
    dealt = games.Dealt(reference, members, others)
    (challenge,) = games.deal("source", dealt, Seeds(0).rng())
    assert set(challenge.public.sites) == {""}
    assert set(challenge.homes) == set(SITES)
    assert not np.array_equal(challenge.homes, np.sort(challenge.homes))
