"""The Flower apps on the in-process grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from flwr.app import Message

from fedbench.data import Cohort
from fedbench.encoding import summarize
from fedbench.errors import FedbenchError, SpecError
from fedbench.federation.door import arrays_of
from fedbench.federation.inprocess import InProcessGrid, Trained, train
from fedbench.federation.study import Choice, Study
from fedbench.kinds import GENERATORS, STRATEGIES

EXACT = {
    "passes": 3,
    "batch": 0,
    "optimizer": "sgd",
    "learning_rate": 0.001,
    "precision": "float64",
}


def together(study: Study, everyone: Cohort) -> Trained:
    return train(replace(study, sites=("all",)), {"all": everyone})


def furthest(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float:
    assert set(one) == set(other)
    gaps = (float(np.abs(one[name] - other[name]).max(initial=0.0)) for name in one)
    return max(gaps, default=0.0)


@pytest.mark.parametrize("generator", ["independent", "copula"])
def test_a_statistics_generator_is_the_same_federated_and_centralized(
    generator: str, study: Study, sites: Mapping[str, Cohort], everyone: Cohort
) -> None:
    study = replace(study, generator=Choice(generator))
    federated, centralized = train(study, sites), together(study, everyone)
    assert furthest(federated.encoder.counts, centralized.encoder.counts) == 0
    if generator != "independent":
        assert federated.state
    assert furthest(federated.state, centralized.state) < 1e-9


def test_a_neural_generator_is_the_same_federated_and_centralized_when_nothing_differs(
    study: Study, sites: Mapping[str, Cohort], everyone: Cohort
) -> None:
    study = replace(study, generator=Choice("tvae", EXACT), rounds=3)
    federated, centralized = train(study, sites), together(study, everyone)
    start = train(
        replace(study, generator=Choice("tvae", {**EXACT, "learning_rate": 1e-30})), sites
    )
    assert set(federated.history["steps"][-9:]) == {1}
    assert furthest(federated.state, start.state) > 1e-4, "nothing was learned"
    assert furthest(federated.state, centralized.state) < 1e-9


def test_the_order_of_sites_and_patients_changes_nothing(
    study: Study, sites: Mapping[str, Cohort]
) -> None:
    backwards = dict(reversed(list(sites.items())))
    turned = train(replace(study, sites=tuple(backwards)), backwards)
    assert furthest(train(study, sites).state, turned.state) == 0


@pytest.mark.parametrize("strategy", ["scaffold", "fednova"])
def test_what_corrects_for_drift_changes_nothing_where_there_is_none(
    strategy: str, study: Study, sites: Mapping[str, Cohort], everyone: Cohort
) -> None:
    study = replace(study, generator=Choice("tvae", EXACT), rounds=3)
    federated = train(replace(study, strategy=Choice(strategy)), sites)
    assert furthest(federated.state, together(study, everyone).state) < 1e-9
    ledger = pd.DataFrame(federated.ledger)
    sent = ledger[(ledger["way"] == "up") & (ledger["phase"] == "train")]["bytes"].mean()
    plain = pd.DataFrame(train(study, sites).ledger)
    usual = plain[(plain["way"] == "up") & (plain["phase"] == "train")]["bytes"].mean()
    assert sent == pytest.approx((2 if strategy == "scaffold" else 1) * usual, rel=0.02)


@pytest.mark.parametrize("strategy", STRATEGIES.names())
def test_every_strategy_learns_and_repeats_itself(
    strategy: str, study: Study, sites: Mapping[str, Cohort]
) -> None:
    settings = {"passes": 2, "batch": 64}
    study = replace(study, generator=Choice("tvae", settings), strategy=Choice(strategy))
    one, again = train(study, sites), train(study, sites)
    assert furthest(one.state, again.state) == 0
    assert one.ledger == again.ledger
    assert all(np.isfinite(array).all() for array in one.state.values())


def test_the_strategies_differ(study: Study, sites: Mapping[str, Cohort]) -> None:
    study = replace(study, generator=Choice("tvae", {"passes": 2, "batch": 64}))
    plain, near, adam = (
        train(replace(study, strategy=Choice(name, settings)), sites).state
        for name, settings in (("fedavg", {}), ("fedprox", {"mu": 10.0}), ("fedadam", {}))
    )
    assert furthest(plain, near) > 1e-4
    assert furthest(plain, adam) > 1e-4


def test_the_ledger_holds_every_message_with_its_size(
    study: Study, sites: Mapping[str, Cohort]
) -> None:
    crossed: list[tuple[str, int]] = []

    def note(message: Message) -> None:
        from fedbench.federation.door import size

        crossed.append((message.metadata.message_type, size(message.content)))

    ledger = pd.DataFrame(train(study, sites, tap=note).ledger)
    assert sorted(ledger["bytes"]) == sorted(count for _, count in crossed)
    assert set(ledger["phase"]) == {"enrol", "encoder", *(p for p in ledger["phase"])}
    assert (ledger.groupby(["phase", "round", "site", "way"]).size() == 1).all()
    assert set(ledger["site"]) == set(sites)
    assert (ledger["bytes"] > 0).all()


def test_a_share_of_sites_takes_part_in_a_round(study: Study, sites: Mapping[str, Cohort]) -> None:
    study = replace(
        study, generator=Choice("tvae", {"passes": 4, "batch": 0}), rounds=4, participation=0.5
    )
    history = pd.DataFrame(train(study, sites).history)
    rounds = history[history["phase"] != "encoder"].groupby("round")["site"].nunique()
    assert (rounds == 2).all()


@pytest.mark.parametrize(
    "generator",
    ["independent", "copula", "tree", "tvae", "ctgan", "tabdiff", "halo", "latdiff", "align"],
)
def test_a_canary_is_found_in_no_message(
    generator: str, study: Study, sites: Mapping[str, Cohort]
) -> None:
    canary, column = 7.123456789012345, "albumin"
    site = sites["west"]
    visits = site.visits.assign(
        **{column: np.where(site.visits["day"] <= 0, canary, site.visits[column])}
    )
    planted = Cohort.of_tables(site.schema, site.static, visits, site.codes, site.outcome)
    assert canary in planted.visits[column].to_numpy()
    seen: list[bytes] = []

    def look(message: Message) -> None:
        for record in message.content.array_records.values():
            for array in arrays_of(record).values():
                close = np.isclose(array.astype(float), canary, rtol=1e-6, atol=0)
                assert not close.any()
        seen.append(b"")

    short = {"passes": 1, "time_passes": 1}
    kind = GENERATORS.find(generator)
    settings = {name: value for name, value in short.items() if hasattr(kind, name)}
    study = replace(study, generator=Choice(generator, settings), rounds=1)
    train(study, {**sites, "west": planted}, tap=look)
    assert seen


def test_only_whitelisted_records_of_known_shape_cross(
    study: Study, sites: Mapping[str, Cohort], everyone: Cohort
) -> None:
    shapes = {name: counts.shape for name, counts in summarize(everyone).items()}
    allowed = {"parameters", "sums", "control", "facts", "site"}
    up: list[Message] = []

    def look(message: Message) -> None:
        if message.metadata.dst_node_id == 1:
            up.append(message)

    train(study, sites, tap=look)
    for message in up:
        assert set(message.content) <= allowed
        for name, array in arrays_of(message.content.array_records.get("sums")).items():
            # Sums have the shape of the schema, never one entry per patient.
            assert shapes.get(name, array.shape) == array.shape
            assert not any(len(cohort) in array.shape for cohort in sites.values())


def test_a_site_that_fails_is_named(study: Study, sites: Mapping[str, Cohort]) -> None:
    with pytest.raises(SpecError, match="expected each of"):
        train(replace(study, sites=("north", "north")), sites)


def test_an_unknown_generator_costs_no_message(study: Study, sites: Mapping[str, Cohort]) -> None:
    with pytest.raises(SpecError, match="Did you mean 'copula'"):
        train(
            replace(study, generator=Choice("copulla")),
            sites,
            tap=lambda _: pytest.fail("a message"),
        )


def test_a_study_travels_as_text(study: Study) -> None:
    assert Study.from_json(study.to_json()) == study
    with pytest.raises(FedbenchError, match="not a study"):
        Study.from_json("{}")


def test_the_grid_gives_flower_the_identity_it_asks_for() -> None:
    """Breaks when a new flwr moves or renames its private task identity."""
    from flwr.app import RecordDict

    grid = InProcessGrid({})
    message = grid.create_message(RecordDict(), "train", 2, "")
    assert message.metadata.src_node_id == 1
    assert grid.run.run_id == 1
