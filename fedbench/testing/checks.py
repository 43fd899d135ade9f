"""What every plug-in of a kind promises; each check raises AssertionError with the promise."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbench import games
from fedbench.attack import WIRED, Attack, Knowledge, Links, PublicChallenge, Sight, Wired
from fedbench.codec import Codec
from fedbench.data import Cohort, Dataset, DataStore, Schema
from fedbench.encoding import Encoder, summarize
from fedbench.errors import ContractError, Unsupported
from fedbench.federation.inprocess import Trained, identify, train
from fedbench.federation.listening import listened
from fedbench.federation.study import Choice, Study
from fedbench.generator import Generator
from fedbench.metric import Evidence, Measure, Metric, Refusal, View, checked
from fedbench.partition import Partitioner
from fedbench.plugin import Plugin
from fedbench.predicates import Predicates
from fedbench.registry import misnamed
from fedbench.seeds import Seeds
from fedbench.stats import poisson_weights
from fedbench.strategy import Message, Strategy, Update
from fedbench.testing.cohorts import made_up, made_up_sites
from fedbench.wire import Wire

SEEDS = Seeds(0).child("contract")
DRAWS = 50


def check_plugin(plugin: Plugin) -> None:
    """Its settings build it again, and its first line says what it is for."""
    assert dataclasses.is_dataclass(plugin), "A plug-in is a dataclass."
    from pydantic import TypeAdapter  # noqa: PLC0415

    again = TypeAdapter(type(plugin)).validate_python(plugin.settings)
    assert again == plugin, "Settings do not build the plug-in again."
    assert plugin.describe(), "A plug-in needs a docstring whose first line says what it is for."


def check_dataset(dataset: Dataset, store: DataStore) -> Cohort:
    """It loads, fits its schema, says where it comes from, and loads the same again."""
    check_plugin(dataset)
    assert dataset.title, "A dataset has a title."
    assert dataset.licence, "A dataset states its licence."
    assert dataset.citation, "A dataset says whom to cite."
    cohort = dataset.load(store)
    assert cohort.schema == dataset.schema, "What is loaded follows the declared schema."
    again = dataset.load(store)
    assert again.fingerprint == cohort.fingerprint, "Loading twice gives the same records."
    assert len(cohort.table) == len(cohort), "There is one summary per patient."
    return cohort


def check_partitioner(partitioner: Partitioner, cohort: Cohort | None = None) -> None:
    """Every patient and cluster at exactly one site, the same under the same seed."""
    check_plugin(partitioner)
    cohort = cohort or made_up()
    dealt = [partitioner.deal(cohort, SEEDS.child("deal").rng()) for _ in range(2)]
    for partition in dealt:
        partition.check(cohort)
    one, again = (partition.patients for partition in dealt)
    assert list(one) == list(again), "Dealing again names other sites."
    assert all((one[site] == again[site]).all() for site in one), "Dealing again differs."


def check_generator(name: str, settings: Mapping[str, object] | None = None) -> None:
    """It trains federated, writes valid records, repeats itself and leaves its input alone."""
    sites = made_up_sites()
    before = {site: cohort.fingerprint for site, cohort in sites.items()}
    study = Study(
        generator=Choice(name, settings or {}),
        strategy=Choice("fedavg"),
        sites=tuple(sites),
        rounds=2,
        seed=0,
    )
    from fedbench.kinds import GENERATORS  # noqa: PLC0415

    generator = GENERATORS.build(name, settings or {})
    check_plugin(generator)
    trained, again = train(study, sites), train(study, sites)
    assert {site: cohort.fingerprint for site, cohort in sites.items()} == before
    for array, same in zip(trained.state.values(), again.state.values(), strict=True):
        assert np.array_equal(array, same), "Training twice under one seed differs."
    _check_records(generator, trained)
    alone = train(replace(study, sites=("west",)), {"west": sites["west"]})
    assert len(generator.sample(alone.state, alone.encoder, 7, SEEDS.rng())) == 7


def _check_records(generator: Generator, trained: Trained) -> None:
    """Records fit the schema, as many as asked for, the same under the same stream."""
    one, again, other = (
        generator.sample(trained.state, trained.encoder, 50, SEEDS.child(name).rng())
        for name in ("a", "a", "b")
    )
    assert len(one) == 50, "As many patients as asked for are written."
    Cohort.of_tables(one.schema, one.static, one.visits, one.codes, one.outcome)
    assert one.fingerprint == again.fingerprint, "Sampling twice from one stream differs."
    assert one.fingerprint != other.fingerprint, "Sampling ignores its random stream."
    _check_latents(generator, trained)


def _check_latents(generator: Generator, trained: Trained) -> None:
    """Hidden numbers, where there are any, are finite and a patient's own."""
    cohort = made_up(40, 5)
    some = cohort.take(cohort.patients[:9])
    try:
        found, fewer = (
            generator.latents(trained.state, trained.encoder, c) for c in (cohort, some)
        )
    except Unsupported:
        return
    if found is None or fewer is None:
        return
    assert found.ndim == 2, "Hidden numbers have a row for every patient."
    assert len(found) == len(cohort), "Hidden numbers have a row for every patient."
    assert np.isfinite(found).all(), "Hidden numbers are finite."
    assert np.allclose(found[:9], fewer, atol=1e-4), "Hidden numbers are a patient's own."


def check_strategy(strategy: Strategy) -> None:
    """Equal updates stay what they are or move the same way; sums are added; order is nothing."""
    check_plugin(strategy)
    identify()
    state = {"w": np.zeros(3), "b": np.zeros(1)}
    update = Update(
        parameters={"w": np.ones(3), "b": np.ones(1)}, sums={"n": np.array([2.0])}, weight=5.0
    )
    told = {"a": update, "b": update}
    met = strategy.meet({site: Update(sums={"x": np.ones(3)}, weight=5.0) for site in told})
    combined, remembered = strategy.combine(state, told, met, SEEDS.rng())
    assert set(combined.parameters) == {"w", "b"}, "Every parameter that was sent comes back."
    assert combined.sums["n"].tolist() == [4.0], "Sums are added."
    assert len(set(combined.parameters["w"].tolist())) == 1, "Equal parameters move alike."
    assert combined.parameters["w"][0] > 0, "The model moves towards what the sites sent."
    turned, _ = strategy.combine(state, dict(reversed(told.items())), met, SEEDS.rng())
    assert np.array_equal(turned.parameters["w"], combined.parameters["w"])
    strategy.combine({**state, **combined.parameters}, told, remembered, SEEDS.rng())


def check_codec(codec: Codec) -> None:
    """What is unpacked has the names, shapes and types of what was packed."""
    check_plugin(codec)
    sent: Message = {"w": np.linspace(-1, 1, 12).reshape(3, 4).astype(np.float32), "b": np.zeros(2)}
    heard = codec.decode(codec.encode(sent))
    assert set(heard) == set(sent), "Names survive the wire."
    for name, array in sent.items():
        assert heard[name].shape == array.shape, "Shapes survive the wire."
        assert heard[name].dtype == array.dtype, "Types survive the wire."


def check_metric(metric: Metric) -> None:
    """Every answer is a number inside its interval, or a refusal with a reason; again the same."""
    check_plugin(metric)
    wrong = misnamed(type(metric), Metric)
    assert not wrong, f"A metric says what it is: {wrong}"
    evidence = _evidence(made_up(300, 0), made_up(200, 1), made_up(300, 2))
    try:
        found = checked(metric, metric.measure(evidence, SEEDS.rng()), DRAWS)
    except ContractError as broken:
        raise AssertionError(str(broken)) from broken
    assert found, "A metric answers, if only with a refusal."
    for answer in found:
        _check_answer(answer)
    again = metric.measure(
        _evidence(made_up(300, 0), made_up(200, 1), made_up(300, 2)), SEEDS.rng()
    )
    values, same = ([a.value for a in each if isinstance(a, Measure)] for each in (found, again))
    assert values == same, "Measuring twice differs."


def _check_answer(answer: Measure | Refusal) -> None:
    if isinstance(answer, Refusal):
        assert answer.reason, "A refusal has a reason."
        return
    assert np.isfinite(answer.value), "A number that cannot be computed is a refusal."
    assert answer.low <= answer.value <= answer.high, "A value lies inside its interval."
    assert answer.n > 0, "A number says of how many."
    if answer.replicates is not None:
        assert answer.replicates.ndim == 1, "Replicates are one number per bootstrap draw."


def _evidence(train_on: Cohort, test: Cohort, synthetic: Cohort) -> Evidence:
    def view(cohort: Cohort, name: str) -> View:
        return View(cohort, poisson_weights(SEEDS.child(name).rng(), len(cohort), DRAWS))

    schema: Schema = test.schema
    return Evidence(
        schema=schema,
        encoder=Encoder(schema, summarize(train_on)),
        train=view(train_on, "train"),
        test=view(test, "test"),
        synthetic=view(synthetic, "synthetic"),
    )


def check_attack(attack: Attack) -> None:
    """It answers every target once with finite scores, touching only what it declared."""
    check_plugin(attack)
    schema = made_up().schema
    members, others = {"north": made_up(120, 0)}, {"north": _renamed(made_up(120, 1))}
    held: dict[Knowledge, Any] = {
        Knowledge.SYNTHETIC: made_up(120, 2),
        Knowledge.REFERENCE: made_up(60, 3),
        Knowledge.OTHER_COLUMNS: None,
    }
    if attack.game == "source":  # which of several hospitals
        members["south"] = _renamed(made_up(60, 4), "s")
        others["south"] = _renamed(made_up(60, 5), "t")
    if isinstance(attack, Wired):
        held |= {what: _wire().seen_as(seen) for what, seen in WIRED.items()}
        held[Knowledge.REFERENCE] = _many()
    rng = SEEDS.child("challenge").rng()
    challenges = games.deal(attack.game, games.Dealt(made_up(120, 0), members, others), rng)
    assert challenges, "There is something to ask."
    for challenge in challenges:
        sight = games.show(attack, schema, {**held, Knowledge.ROSTER: challenge.roster})
        guess, again = (_scores(attack, sight, challenge.public) for _ in range(2))
        if len(challenge.public.targets):
            assert len(guess) == len(challenge.public.targets), "One answer per target."
        assert np.isfinite(guess).all(), "Scores are finite."
        assert np.array_equal(guess, again), "Guessing twice differs."


@lru_cache(maxsize=1)
def _many() -> Cohort:
    """Return as many patients as it takes to know how gradients vary."""
    return made_up(1_000, 3)


@lru_cache(maxsize=1)
def _wire() -> Wire:
    """Listen to a small training."""
    sites = {"north": made_up(120, 0), "south": _renamed(made_up(60, 4))}
    settings = {"hidden": 8, "latent": 2, "passes": 2}
    names = tuple(sorted(sites))
    study = Study(
        generator=Choice("tvae", settings),
        strategy=Choice("fedavg"),
        sites=names,
        rounds=2,
        seed=0,
    )
    return listened(study, sites, [2])


def _scores(attack: Attack, sight: Sight, challenge: PublicChallenge) -> NDArray[np.float64]:
    guess = attack.guess(sight, challenge, SEEDS.rng())
    if isinstance(guess, Links):
        return np.hstack([guess.first.toarray(), guess.second.toarray()])
    if isinstance(guess, Predicates):
        return np.column_stack([guess.uses, guess.weight])
    return guess.scores


def _renamed(cohort: Cohort, by: str = "q") -> Cohort:
    """The same invented patients under other names, so that nobody is dealt twice."""
    tables = {
        name: table.assign(patient=by + table["patient"].astype(str))
        for name in ("static", "visits", "codes", "outcome")
        if len(table := getattr(cohort, name))
    }
    return Cohort.of_tables(cohort.schema, **tables)
