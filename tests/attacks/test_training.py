"""Attacks on the training itself: what they catch, what they must not, and what they may see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedbench import games, stats
from fedbench.attack import Knowledge, Sight
from fedbench.attacks._training import Tracing, traces_of
from fedbench.attacks.aggregate import Aggregate
from fedbench.attacks.cosine import Cosine
from fedbench.attacks.gradient import Gradient
from fedbench.attacks.loss import Loss
from fedbench.attacks.peer import Peer
from fedbench.data import Cohort
from fedbench.errors import ContractError, Refused, Unsupported
from fedbench.federation.listening import listened
from fedbench.federation.study import Choice, Study
from fedbench.games import Challenge
from fedbench.generator import Statistic
from fedbench.seeds import Seeds
from fedbench.traces import Sums
from fedbench.wire import Wire

SITES = ("north", "south")
QUICK: dict[str, Any] = {"draws": 1, "rounds": 2}
People = Callable[..., Cohort]


def crossed(
    cohorts: Mapping[str, Cohort],
    generator: Choice,
    rounds: int = 3,
    privacy: Choice = Choice("none"),
) -> Wire:
    study = Study(
        generator=generator,
        strategy=Choice("fedavg"),
        sites=SITES,
        rounds=rounds,
        seed=0,
        privacy=privacy,
    )
    return listened(study, cohorts, [2])


def sees(attack: Tracing, wire: Wire, reference: Cohort) -> Sight:
    held = {
        Knowledge.REFERENCE: reference,
        Knowledge.UPDATES: wire,
        Knowledge.AGGREGATE: wire.seen_as("aggregate"),
        Knowledge.PEER: wire.seen_as("peer"),
    }
    return games.show(attack, reference.schema, held)


def area(attack: Tracing, wire: Wire, reference: Cohort, challenge: Challenge) -> float:
    guess = attack.guess(sees(attack, wire, reference), challenge.public, Seeds(1).rng())
    found = [
        stats.auc(guess.scores[mine], challenge.truth[mine])
        for mine in (challenge.sites == site for site in SITES)
    ]
    return float(np.mean(found))


@pytest.fixture(scope="module")
def members(people: People) -> dict[str, Cohort]:
    return {site: people(20, number, site) for number, site in enumerate(SITES)}


@pytest.fixture(scope="module")
def reference(people: People) -> Cohort:
    return people(1_000, 9, "r")


@pytest.fixture(scope="module")
def challenge(people: People, members: dict[str, Cohort]) -> Challenge:
    others = {site: people(120, 5 + number, f"o{site}") for number, site in enumerate(SITES)}
    schema = members["north"].schema
    return games.membership_challenge(schema, members, others, Seeds(0).rng())


@pytest.fixture(scope="module")
def sums(members: dict[str, Cohort]) -> Wire:
    return crossed(members, Choice("copula"))


@pytest.fixture(scope="module")
def steps(members: dict[str, Cohort]) -> Wire:
    settings: dict[str, Any] = {
        "hidden": 16,
        "latent": 4,
        "batch": 0,
        "passes": 3,
        "least_steps": 1,
    }
    settings |= {"optimizer": "sgd", "learning_rate": 0.01}
    return crossed(members, Choice("tvae", settings))


def test_sums_of_few_patients_give_them_away(
    sums: Wire, reference: Cohort, challenge: Challenge
) -> None:
    found = area(Gradient(**QUICK), sums, reference, challenge)
    assert found > 0.75
    assert found > area(Cosine(**QUICK), sums, reference, challenge) + 0.05
    # Among the patients of both hospitals each is harder to see.
    assert 0.55 < area(Aggregate(**QUICK), sums, reference, challenge) < found


def test_one_gradient_of_few_patients_gives_them_away(
    steps: Wire, reference: Cohort, challenge: Challenge
) -> None:
    found = area(Gradient(**QUICK), steps, reference, challenge)
    assert found > 0.7
    for weak in (Cosine, Loss):
        assert found > area(weak(**QUICK), steps, reference, challenge) + 0.05
    # A peer knows its own part of what it is told next, so that two hospitals hide nothing.
    assert area(Peer(**QUICK), steps, reference, challenge) > 0.6


def test_what_a_critic_learned_gives_patients_away(
    members: dict[str, Cohort], reference: Cohort, challenge: Challenge
) -> None:
    settings: dict[str, Any] = {"hidden": 16, "latent": 4, "batch": 0, "passes": 3}
    settings |= {"least_steps": 1, "optimizer": "sgd", "learning_rate": 0.01}
    wire = crossed(members, Choice("ctgan", settings))
    (first, *_) = wire.glimpses("north", 1)
    assert any(name.startswith("writer.") for name in first.after)  # which no record trains
    assert area(Gradient(**QUICK), wire, reference, challenge) > 0.6


def test_noise_gives_nobody_away(steps: Wire, reference: Cohort, challenge: Challenge) -> None:
    rng = np.random.default_rng(0)

    def noised(wire: Wire) -> Wire:
        rounds = []
        for each in wire.rounds:
            heard = {
                site: replace(
                    update,
                    parameters={
                        name: (each.told[name] + rng.normal(size=value.shape)).astype(value.dtype)
                        for name, value in update.parameters.items()
                    },
                )
                for site, update in each.heard.items()
            }
            rounds.append(replace(each, heard=heard))
        return replace(wire, rounds=rounds)

    found = area(Gradient(**QUICK), noised(steps), reference, challenge)
    assert abs(found - 0.5) < 0.12


def test_traces_are_as_short_as_privacy_makes_them(
    members: dict[str, Cohort], reference: Cohort
) -> None:
    promise = Choice("patient", {"epsilon": 5.0, "delta": 1e-3})
    wire = crossed(members, Choice("copula"), privacy=promise)
    (glimpse,) = wire.glimpses("north", 1)
    assert isinstance(wire.generator, Statistic)
    bound = wire.generator.bound(glimpse.phase, wire.encoder)
    lengths = np.linalg.norm(Sums(wire, wire.generator, glimpse).of(reference), axis=1)
    assert lengths.max() == pytest.approx(bound, rel=1e-4)
    (bare,) = (open := crossed(members, Choice("copula"))).glimpses("north", 1)
    assert np.linalg.norm(Sums(open, wire.generator, bare).of(reference), axis=1).max() > bound


def test_noise_of_known_size_is_allowed_for(
    members: dict[str, Cohort], reference: Cohort, challenge: Challenge
) -> None:
    promise = Choice("patient", {"epsilon": 20.0, "delta": 1e-3})
    wire = crossed(members, Choice("copula"), privacy=promise)
    (glimpse,) = wire.glimpses("north", 1)
    assert glimpse.noise > 0
    together = wire.seen_as("aggregate").glimpses("north", 1)[0]
    assert together.noise == pytest.approx(np.sqrt(2) * glimpse.noise)
    assert isinstance(wire.generator, Statistic)
    assert Sums(wire, wire.generator, glimpse).haze == pytest.approx(
        glimpse.noise**2 / glimpse.patients
    )
    silent = [
        replace(each, heard={s: replace(said, noise=1e-9) for s, said in each.heard.items()})
        for each in wire.rounds
    ]
    told, untold = (
        area(Gradient(**QUICK), each, reference, challenge)
        for each in (wire, replace(wire, rounds=silent))
    )
    assert told > untold + 0.08


def test_clipped_and_noised_gradients_are_read_as_such(
    members: dict[str, Cohort], reference: Cohort, challenge: Challenge
) -> None:
    promise = Choice("patient", {"epsilon": 100.0, "delta": 1e-3, "encoder": 0.1})
    settings: dict[str, Any] = {"hidden": 16, "latent": 4, "batch": 0, "passes": 1}
    settings |= {"least_steps": 1, "optimizer": "sgd", "learning_rate": 0.01}
    wire = crossed(members, Choice("tvae", settings), rounds=1, privacy=promise)
    (glimpse,) = wire.glimpses("north", 1)
    (charge,) = wire.rounds[0].heard["north"].charges
    assert glimpse.clip == 1.0
    assert glimpse.noise == pytest.approx(charge.noise)
    together = wire.seen_as("aggregate").glimpses("north", 1)[0]
    assert together.noise == pytest.approx(np.sqrt(2) * glimpse.noise)
    traces = traces_of(wire, glimpse, reference, draws=1)
    assert traces is not None
    lengths = np.linalg.norm(traces.of(reference), axis=1)
    assert lengths.max() == pytest.approx(1.0, rel=1e-4)
    assert traces.haze == pytest.approx(glimpse.noise**2 / glimpse.patients)
    told, untold = (
        area(Gradient(**QUICK), each, reference, challenge)
        for each in (wire, replace(wire, clip=np.inf))
    )
    assert told > untold + 0.05


def test_too_few_reference_patients_are_refused_or_said(
    people: People, sums: Wire, challenge: Challenge
) -> None:
    few = people(200, 9, "r")
    with pytest.raises(Refused, match="1,000"):
        area(Gradient(), sums, few, challenge)
    alike = Gradient(covariance="identity")
    assert area(alike, sums, few, challenge) > 0.6
    assert "identity" in alike.threat
    assert "identity" not in Gradient().threat


def test_a_peer_is_told_no_sums(sums: Wire, reference: Cohort, challenge: Challenge) -> None:
    with pytest.raises(Unsupported, match="saw nothing"):
        area(Peer(**QUICK), sums, reference, challenge)


def test_the_wire_is_for_those_who_declared_it(sums: Wire, reference: Cohort) -> None:
    sight = Sight(reference.schema, frozenset({Knowledge.REFERENCE}), {Knowledge.UPDATES: sums})
    with pytest.raises(ContractError, match="declaring"):
        _ = sight.wire
    with pytest.raises(Unsupported, match="Nothing is known"):
        _ = Sight(reference.schema, Gradient.knows, {}).wire


def test_only_the_rounds_asked_for_are_kept(steps: Wire) -> None:
    assert [each.round for each in steps.rounds] == [0, 1, 2]
    assert [sorted(each.heard) for each in steps.rounds] == [["north", "south"], [], [*SITES]]
    together = steps.seen_as("aggregate").glimpses("north", 2)
    assert [glimpse.patients for glimpse in together] == [40, 40]


def test_without_the_others_part_of_what_is_told_next(steps: Wire) -> None:
    (seen,) = steps.seen_as("peer").glimpses("south", 2)
    said = steps.rounds[0].heard["south"].parameters
    assert seen.sites == ("south",)
    for name, value in seen.after.items():
        np.testing.assert_allclose(value, said[name], rtol=1e-3, atol=1e-5)
