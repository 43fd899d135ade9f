"""Whole patients are read off the first layer where it is about few of them, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedbench import games, stats
from fedbench.attack import Knowledge, PublicChallenge, Rebuilt, Sight, Wired
from fedbench.attacks.inversion import Inversion
from fedbench.attacks.span import Span
from fedbench.data import Cohort
from fedbench.errors import ContractError, Refused
from fedbench.federation.listening import listened
from fedbench.federation.study import Choice, Study
from fedbench.games.agreement import agreeing, usual
from fedbench.games.playing import Beside
from fedbench.metric import Measure, Refusal
from fedbench.seeds import Seeds
from fedbench.testing.cohorts import made_up_sites
from fedbench.wire import Wire

SITES = ("north", "south")
STEP: dict[str, Any] = {"hidden": 16, "latent": 4, "batch": 0, "passes": 2, "least_steps": 1}
STEP |= {"optimizer": "sgd", "learning_rate": 0.01}
People = Callable[..., Cohort]
Cohorts = Mapping[str, Cohort]


class Nothing(Beside):
    """Nothing is known beside the training."""

    def blind(self) -> None:
        return None

    def reference(self) -> None:
        return None


def trained(members: Cohorts, generator: str = "tvae", **settings: Any) -> Wire:
    chosen = Choice(generator, {**STEP, **settings} if generator == "tvae" else settings)
    sites = tuple(members)
    study = Study(generator=chosen, strategy=Choice("fedavg"), sites=sites, rounds=2, seed=0)
    return listened(study, members, [2])


def noised(wire: Wire) -> Wire:
    """The same, if hospitals had sent nothing but noise."""
    rng = np.random.default_rng(0)
    rounds = []
    for each in wire.rounds:
        heard = {}
        for site, update in each.heard.items():
            sent = {
                name: (each.told[name] + 0.01 * rng.normal(size=value.shape)).astype(value.dtype)
                for name, value in update.parameters.items()
            }
            heard[site] = replace(update, parameters=sent)
        rounds.append(replace(each, heard=heard))
    return replace(wire, rounds=rounds)


def some(people: People, n: int, seed: int = 0) -> dict[str, Cohort]:
    return {site: people(n, seed + number, f"{seed}{site}") for number, site in enumerate(SITES)}


def rebuilt(wire: Wire, members: Cohorts, others: Cohorts) -> dict[str, Measure | Refusal]:
    everybody = members["north"]
    dealt = games.Dealt(everybody, members, others)
    (challenge,) = games.deal("reconstruction", dealt, Seeds(0).rng())
    assert challenge.public.targets.empty
    sight = games.show(Inversion(), everybody.schema, {Knowledge.UPDATES: wire})
    rows = games.play(Inversion(), sight, challenge, Seeds(1), Nothing())[1]
    return {row.measure.part: row.measure for row in rows}


def value(found: Measure | Refusal) -> float:
    assert isinstance(found, Measure)
    assert found.low <= found.value <= found.high
    return found.value


def spanned(wire: Wire, members: Cohorts, others: Cohorts) -> float:
    schema = members["north"].schema
    challenge = games.membership_challenge(schema, members, others, Seeds(0).rng())
    sight = games.show(Span(), schema, {Knowledge.UPDATES: wire})
    scores = Span().guess(sight, challenge.public, Seeds(1).rng()).scores
    homes = [challenge.sites == site for site in SITES]
    return float(np.mean([stats.auc(scores[at], challenge.truth[at]) for at in homes]))


@pytest.fixture(scope="module")
def others(people: People) -> dict[str, Cohort]:
    return some(people, 100, 50)


@pytest.mark.parametrize("passes", [2, 12], ids=["one step a round", "six steps a round"])
def test_one_patient_is_rebuilt_in_every_column(
    people: People, others: Cohorts, passes: int
) -> None:
    for seed in (0, 2, 4):
        found = rebuilt(trained(alone := some(people, 1, seed), passes=passes), alone, others)
        assert value(found["accuracy"]) == value(found["ceiling"]) == 1.0
        assert value(found["columns"]) == 1.0
        assert value(found["control"]) == value(found["base"]) == value(found["reference"]) == 0.0
        assert value(found["gain"]) > 0.5
        main = found["advantage"]
        assert isinstance(main, Measure)
        assert main.facts["p_value"] < 0.001


def test_of_few_patients_some_are_rebuilt_and_of_many_nobody(
    people: People, others: Cohorts
) -> None:
    few, many = some(people, 5), some(people, 60)
    found = rebuilt(trained(few), few, others)
    assert 0.3 < value(found["accuracy"]) <= 1
    assert value(found["control"]) == 0.0
    assert value(found["gain"]) > 0.2
    quiet = rebuilt(trained(many), many, others)
    assert value(quiet["accuracy"]) == value(quiet["gain"]) == 0.0
    assert value(quiet["columns"]) == value(quiet["usual"])


def test_noise_says_nothing(people: People, others: Cohorts) -> None:
    alone, few = some(people, 1), some(people, 8)
    found = rebuilt(noised(trained(alone)), alone, others)
    assert value(found["accuracy"]) == 0.0
    assert abs(spanned(noised(trained(few)), few, others) - 0.5) < 0.15
    assert spanned(trained(few), few, others) > 0.99


def test_several_steps_span_the_same_patients(people: People, others: Cohorts) -> None:
    few = some(people, 8)
    assert spanned(trained(few, passes=12, batch=4, least_steps=2), few, others) > 0.99


def test_of_more_patients_than_dimensions_nothing_is_said(people: People, others: Cohorts) -> None:
    assert abs(spanned(trained(many := some(people, 60)), many, others) - 0.5) < 0.12
    many = some(people, 150)
    with pytest.raises(Refused, match="too many training patients"):
        spanned(trained(many), many, others)


@pytest.mark.parametrize(
    ("generator", "reason"),
    [("copula", "sums cross"), ("tabdiff", "without noise"), ("ctgan", "without noise")],
)
@pytest.mark.parametrize("attack", [Inversion(), Span()], ids=["inversion", "span"])
def test_where_no_layer_is_shown_patients_there_is_nothing_to_read(
    people: People, attack: Wired, generator: str, reason: str
) -> None:
    settings = {} if generator == "copula" else {"passes": 2}
    wire = trained(some(people, 5), generator, **settings)
    assert reason in attack.inapplicable(wire)
    assert not attack.inapplicable(trained(some(people, 5)))


@pytest.mark.parametrize(
    ("generator", "reason"),
    [("halo", "without noise"), ("latdiff", "without noise"), ("align", "to themselves")],
)
def test_layers_that_are_shown_visits_are_none_that_are_shown_patients(
    generator: str, reason: str
) -> None:
    settings = {} if generator == "halo" else {"time_passes": 2}
    wire = trained(made_up_sites(60), generator, passes=2, **settings)
    assert reason in Inversion().inapplicable(wire)


def test_baselines_are_what_anybody_could_say(people: People) -> None:
    cohort = people(200, 3)
    plain = usual(cohort.schema, cohort.table)
    agree = agreeing(cohort.schema, plain, cohort.table)
    assert agree.shape == (1, 200)
    commonest = cohort.table["hiv"].value_counts().max()
    assert (cohort.table["hiv"] == plain["hiv"][0]).sum() == commonest
    same = agreeing(cohort.schema, cohort.table, cohort.table)
    assert (np.diag(same) == len(cohort.schema.features)).all()


def test_an_answer_without_a_hospital_or_a_column_is_a_mistake(
    people: People, others: Cohorts
) -> None:
    alone = some(people, 1)
    wire, schema = trained(alone), alone["north"].schema

    class Short(Inversion):
        def guess(self, sight: Sight, challenge: PublicChallenge, rng: Any) -> Rebuilt:
            table = super().guess(sight, challenge, rng).records["north"]  # type: ignore[attr-defined]
            return Rebuilt(records={"north": table, "south": table.drop(columns="ward")})

    (challenge,) = games.deal(
        "reconstruction", games.Dealt(alone["north"], alone, others), Seeds(0).rng()
    )
    sight = games.show(Short(), schema, {Knowledge.UPDATES: wire})
    with pytest.raises(ContractError, match="'ward' of 'south'"):
        games.play(Short(), sight, challenge, Seeds(1), Nothing())
