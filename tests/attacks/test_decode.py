"""Secrets of patients who are known to have been trained on, from what their hospital sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedbench import games
from fedbench.attack import Knowledge, Sight, Wired
from fedbench.attacks._decoding import Equations, decoded
from fedbench.attacks._training import traces_of
from fedbench.attacks.decode import Decode
from fedbench.attacks.matching import Matching
from fedbench.data import Cohort
from fedbench.errors import Refused
from fedbench.federation.listening import listened
from fedbench.federation.study import Choice, Study
from fedbench.games import Challenge
from fedbench.seeds import Seeds
from fedbench.wire import Wire

SITES = ("north", "south")
SGD: dict[str, Any] = {"hidden": 16, "latent": 4, "batch": 0, "passes": 2, "least_steps": 1}
SGD |= {"optimizer": "sgd", "learning_rate": 0.01}
People = Callable[..., Cohort]


def crossed(cohorts: Mapping[str, Cohort], generator: Choice) -> Wire:
    study = Study(generator=generator, strategy=Choice("fedavg"), sites=SITES, rounds=2, seed=0)
    return listened(study, cohorts, [2])


def noised(wire: Wire) -> Wire:
    """The same, if hospitals had sent nothing but noise."""
    rng = np.random.default_rng(0)

    def heard(update: Any) -> Any:
        sums = {k: v + 1e3 * rng.normal(size=v.shape) for k, v in update.sums.items()}
        return replace(update, sums=sums)

    rounds = [
        replace(each, heard={site: heard(update) for site, update in each.heard.items()})
        for each in wire.rounds
    ]
    return replace(wire, rounds=rounds)


def asked(members: dict[str, Cohort], others: dict[str, Cohort], secret: str) -> Challenge:
    schema = members["north"].schema
    (found,) = games.attribute_challenges(schema, members, others, Seeds(0).rng(), [secret])
    return found


def right(attack: Wired, wire: Wire, reference: Cohort, challenge: Challenge) -> np.ndarray:
    guess = attack.guess(sees(attack, wire, reference, challenge), challenge.public, Seeds(1).rng())
    return np.asarray(guess.scores.argmax(axis=1) == challenge.answers)


def sees(attack: Wired, wire: Wire, reference: Cohort, challenge: Challenge) -> Sight:
    held: dict[Knowledge, Any] = {Knowledge.REFERENCE: reference, Knowledge.UPDATES: wire}
    held |= {Knowledge.ROSTER: challenge.roster}
    return games.show(attack, reference.schema, held)


@pytest.fixture(scope="module")
def reference(people: People) -> Cohort:
    return people(400, 9, "r")


@pytest.fixture(scope="module")
def members(people: People) -> dict[str, Cohort]:
    return {site: people(30, number, site) for number, site in enumerate(SITES)}


@pytest.fixture(scope="module")
def others(people: People) -> dict[str, Cohort]:
    return {site: people(60, 5 + number, f"o{site}") for number, site in enumerate(SITES)}


@pytest.fixture(scope="module")
def sums(members: dict[str, Cohort]) -> Wire:
    return crossed(members, Choice("copula"))


def test_exact_sums_tell_every_secret(
    sums: Wire, members: dict[str, Cohort], others: dict[str, Cohort], reference: Cohort
) -> None:
    challenge = asked(members, others, "hiv")
    found = right(Decode(), sums, reference, challenge)
    assert found[challenge.truth].all()
    assert found[~challenge.truth].mean() < 0.95  # who is on no true list is guessed, no more
    many = asked(members, others, "ward")  # three answers
    found = right(Decode(), sums, reference, many)
    assert found[many.truth].mean() > found[~many.truth].mean() + 0.3


def test_ranges_of_a_number_are_told_better_for_those_who_were_trained_on(
    people: People, others: dict[str, Cohort], reference: Cohort
) -> None:
    members = {site: people(10, number, site) for number, site in enumerate(SITES)}
    challenge = asked(members, others, "lab0")
    assert len(challenge.public.choices) == 5
    assert np.bincount(challenge.answers).min() > 0.15 * len(challenge.answers)
    found = right(Decode(), crossed(members, Choice("copula")), reference, challenge)
    assert found[challenge.truth].mean() > found[~challenge.truth].mean() + 0.1


def test_one_gradient_of_one_patient_tells_her_secret(people: People, reference: Cohort) -> None:
    found: list[bool] = []
    for number in range(4):
        everyone = people(40, 20 + number, "n")
        known = everyone.patients[everyone.table["ward"].notna().to_numpy()]
        members = {site: everyone.take(known[[at]]) for at, site in enumerate(SITES)}
        challenge = asked(members, {"north": everyone.take(known[2:3])}, "ward")
        wire = crossed(members, Choice("tvae", SGD))
        mine = right(Decode(draws=4), wire, reference, challenge)
        found += mine[challenge.truth].tolist()
    assert all(found)


def test_noise_leaves_what_other_patients_say(
    sums: Wire, members: dict[str, Cohort], others: dict[str, Cohort], reference: Cohort
) -> None:
    challenge, attack = asked(members, others, "hiv"), Decode()
    found = right(attack, noised(sums), reference, challenge)
    sight = sees(attack, sums, reference, challenge)
    before = attack.without(sight, challenge.public, Seeds(1).rng())
    assert before is not None
    np.testing.assert_array_equal(found, before.scores.argmax(axis=1) == challenge.answers)


def test_together_they_tell_more_than_one_by_one(
    sums: Wire, members: dict[str, Cohort], others: dict[str, Cohort], reference: Cohort
) -> None:
    challenge = asked(members, others, "hiv")
    alone = right(Matching(), sums, reference, challenge)[challenge.truth]
    assert alone.mean() < right(Decode(), sums, reference, challenge)[challenge.truth].mean()


def test_too_many_unknowns_are_refused(
    sums: Wire, members: dict[str, Cohort], others: dict[str, Cohort], reference: Cohort
) -> None:
    challenge = asked(members, others, "hiv")
    with pytest.raises(Refused, match="more unknowns than 20"):
        right(Decode(unknowns=20), sums, reference, challenge)


def test_rows_say_what_is_gained_beyond_other_patients(
    sums: Wire, members: dict[str, Cohort], others: dict[str, Cohort], reference: Cohort
) -> None:
    challenge, attack, seeds = asked(members, others, "hiv"), Decode(), Seeds(1)
    bare = games.show(attack, reference.schema, {})
    other = games.reference_guess(attack, bare, challenge, reference, seeds)
    sight = sees(attack, sums, reference, challenge)
    _, rows = games.play_attribute(attack, sight, challenge, other, seeds)
    found = {row.measure.part: row.measure for row in rows}
    gain, mine, theirs = (found[part] for part in ("gain", "accuracy", "reference"))
    assert gain.value == pytest.approx(mine.value - theirs.value)  # type: ignore[union-attr]
    assert gain.low > 0  # type: ignore[union-attr]


def test_lists_do_not_say_who_was_trained_on(
    members: dict[str, Cohort], others: dict[str, Cohort]
) -> None:
    challenge = asked(members, others, "hiv")
    assert challenge.roster is not None
    lists = challenge.roster.lists
    for number in np.unique(lists):
        on = lists == number
        assert len(set(challenge.truth[on])) == len(set(challenge.sites[on])) == 1
        assert 20 <= on.sum() <= 40
    assert len(np.unique(lists)) == 6
    silent = challenge.roster.known
    assert silent["hiv"].isna().all()
    assert len(silent) + len(lists) == 180


def test_the_nearest_weights_that_could_be() -> None:
    rng = np.random.default_rng(0)
    traces, prior = rng.normal(size=(12, 40)), np.full((6, 2), 0.5)
    truth = np.eye(2)[rng.integers(0, 2, 6)]
    rest = (truth - prior).ravel() @ traces
    equations = Equations.around(prior)
    equations.add(traces @ traces.T, traces @ rest, float(rest @ rest), 40)
    np.testing.assert_allclose(decoded(equations), truth, atol=1e-3)
    unmoved = Equations.around(prior)
    unmoved.add(np.zeros((12, 12)), np.zeros(12), 1.0, 40)
    np.testing.assert_allclose(decoded(unmoved), prior)


def test_an_exact_step_tells_secrets_in_spite_of_the_noise_that_a_generator_draws(
    people: People, others: dict[str, Cohort], reference: Cohort
) -> None:
    members = {site: people(20, 30 + at, site) for at, site in enumerate(SITES)}
    some = {site: cohort.take(cohort.patients[:5]) for site, cohort in others.items()}
    challenge, attack = asked(members, some, "ward"), Decode()
    wire = crossed(members, Choice("tvae", SGD))
    sight = sees(attack, wire, reference, challenge)
    before = attack.without(sight, challenge.public, Seeds(1).rng())
    assert before is not None
    mine, plain = (
        hits[challenge.truth].mean()
        for hits in (
            right(attack, wire, reference, challenge),
            before.scores.argmax(axis=1) == challenge.answers,
        )
    )
    # Of three answers: 77 % right where other patients tell 42 %.
    assert mine > 0.7
    assert mine > plain + 0.25


def test_what_is_not_known_of_a_patient_is_which_noise_was_drawn_for_her(
    members: dict[str, Cohort], reference: Cohort
) -> None:
    wire = crossed(members, Choice("tvae", SGD))
    (first, *_) = wire.glimpses("north", 2)
    one, many = (traces_of(wire, first, reference, draws) for draws in (1, 16))
    assert one is not None
    assert many is not None
    apart = (one.of(reference) - many.of(reference)).astype(np.float64)
    noise = one.unknown(reference).astype(np.float64)
    assert abs(noise.mean()) < 0.1 * noise.std()
    assert (noise**2).mean() == pytest.approx((apart**2).mean(), rel=0.2)
    sums = crossed(members, Choice("copula"))
    (glimpse,) = sums.glimpses("north", 2)
    exact = traces_of(sums, glimpse, reference, 2)
    assert exact is not None
    assert not exact.unknown(reference).any()
