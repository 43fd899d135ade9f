"""Differential privacy through the Flower apps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message
from numpy.typing import NDArray

from fedbench.accounting import Accountant, Charge
from fedbench.baselines.copula import Copula
from fedbench.baselines.tabdiff import Tabdiff
from fedbench.data import Cohort
from fedbench.encoding import summarize
from fedbench.errors import SpecError, Unsupported
from fedbench.federation.door import arrays_of
from fedbench.federation.inprocess import train
from fedbench.federation.sites import Dealt
from fedbench.federation.strategies.fedavg import FedAvg
from fedbench.federation.study import Choice, Study
from fedbench.generator import Local, Phase, Site
from fedbench.kinds import GENERATORS
from fedbench.privacy import Hospital, Whole
from fedbench.seeds import Rng
from fedbench.strategy import Message as Arrays
from fedbench.strategy import Update

DELTA = 1e-5
RELEASES = {"independent": [], "copula": ["moments 0"], "tree": ["pairs 0", "tree 0"]}


def private(study: Study, epsilon: float = 4.0, **settings: Any) -> Study:
    return replace(study, privacy=Choice("patient", {"epsilon": epsilon, **settings}))


SHORT = {"passes": 4, "hidden": 8, "latent": 2}


@pytest.mark.parametrize("generator", ["independent", "copula", "tree"])
def test_every_site_spends_what_was_promised_and_no_more(
    generator: str, study: Study, sites: Mapping[str, Cohort]
) -> None:
    trained = train(private(replace(study, generator=Choice(generator)), delta=DELTA), sites)
    assert sorted(trained.accountants) == list(study.sites)
    for accountant in trained.accountants.values():
        spent = accountant.spent(DELTA)
        assert 3.999 < spent.epsilon <= 4.0
        assert spent.epsilon < spent.epsilon_rdp < 5.0
        releases = [charge.what for charge in accountant.charges]
        assert releases == ["encoder 0", *RELEASES[generator]]
    assert not train(study, sites).accountants


@pytest.mark.parametrize("generator", ["tvae", "ctgan", "tabdiff"])
def test_a_neural_generator_spends_what_was_promised_round_by_round(
    generator: str, study: Study, sites: Mapping[str, Cohort]
) -> None:
    settings = {
        name: value for name, value in SHORT.items() if hasattr(GENERATORS.find(generator), name)
    }
    study = replace(study, generator=Choice(generator, settings))
    trained = train(private(study, delta=DELTA), sites)
    assert set(trained.history["steps"][-6:]) == {6}
    for accountant in trained.accountants.values():
        assert [c.what for c in accountant.charges] == ["encoder 0", "train 0", "train 1"]
        assert [(c.rate, c.steps) for c in accountant.charges[1:]] == [(1 / 3, 6)] * 2
        spent = accountant.spent(DELTA)
        assert 3.95 < spent.epsilon <= 4.0
        first = replace(accountant, charges=accountant.charges[:2]).spent(DELTA)
        assert first.epsilon < spent.epsilon
    for name, array in trained.state.items():
        assert np.isfinite(array).all(), name
    model = GENERATORS.build(generator, settings)
    assert len(model.sample(trained.state, trained.encoder, 50, np.random.default_rng(0))) == 50


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("latdiff", ["visits", "moments", "time"]),
        ("align", ["systems", "visits", "strata", "together", "moments", "time"]),
    ],
)
def test_stages_share_one_ledger(
    study: Study, sites: Mapping[str, Cohort], name: str, stages: Sequence[str]
) -> None:
    small = {"batch": 0, "hidden": 8, "rank": 4, "wide": 8, "layers": 1, "latent": 2, "longest": 4}
    short = {"passes": 2, "time_passes": 1, "least_steps": 1}
    study = replace(study, generator=Choice(name, {**small, **short}))
    trained = train(private(study, delta=DELTA), sites)
    assert set(trained.history["phase"]) == {"encoder", *stages}
    for accountant in trained.accountants.values():
        charged = [charge.what for charge in accountant.charges]
        assert [what for what in charged if what.startswith("encoder")] == ["encoder 0"]
        assert {what.partition(" ")[0] for what in charged} == {"encoder", *stages}
        assert charged.count("moments 0") == 1
        assert 3.9 < accountant.spent(DELTA).epsilon <= 4.0
    for array_name, array in trained.state.items():
        assert np.isfinite(array).all(), array_name
    model = GENERATORS.build(name, study.generator.settings)
    assert len(model.sample(trained.state, trained.encoder, 50, np.random.default_rng(0))) == 50


def test_diffusion_averages_over_noises_before_a_gradient_is_cut(
    study: Study, sites: Mapping[str, Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: set[tuple[int, ...]] = set()
    losses = Tabdiff.losses

    def watched(*given: Any) -> Any:
        shapes.add((len(given[2]), *given[3].shape))
        return losses(*given)

    monkeypatch.setattr(Tabdiff, "losses", watched)
    study = replace(study, generator=Choice("tabdiff", {"passes": 1, "hidden": 8}), rounds=1)
    encoder = train(private(study), sites).encoder
    assert shapes == {(4, 4, Tabdiff().width(Phase("train"), encoder))}


def test_a_site_that_sits_out_spends_less(study: Study, sites: Mapping[str, Cohort]) -> None:
    study = replace(study, generator=Choice("tvae", SHORT), rounds=4, participation=0.34)
    trained = train(private(study, delta=DELTA), sites)
    rounds = {site: len(a.charges) - 1 for site, a in trained.accountants.items()}
    assert min(rounds.values()) < 4
    most = {site: a.spent(DELTA).epsilon for site, a in trained.accountants.items()}
    assert all(epsilon < 3.9 for site, epsilon in most.items() if rounds[site] < 4)


@pytest.mark.parametrize("strategy", ["fedprox", "fednova", "fedadam", "median", "daw", "fedtgan"])
def test_other_strategies_work_on_what_was_noised(
    strategy: str, study: Study, sites: Mapping[str, Cohort]
) -> None:
    study = replace(study, generator=Choice("tvae", SHORT), strategy=Choice(strategy))
    trained = train(private(study), sites)
    assert all(np.isfinite(array).all() for array in trained.state.values())


@pytest.mark.parametrize(
    ("privacy", "changed", "problem"),
    [
        ({}, {"strategy": Choice("scaffold")}, "Scaffold sends exact gradients of a hospital"),
        (
            {"noise": "distributed"},
            {"strategy": Choice("daw")},
            "DistributionAware looks at",
        ),
        ({"noise": "distributed"}, {"strategy": Choice("median")}, "Median looks at"),
        ({"noise": "distributed"}, {"participation": 0.5}, "must all take part in every round"),
    ],
)
def test_strategies_that_cannot_keep_a_promise_are_refused_before_anything_is_said(
    privacy: dict[str, Any],
    changed: dict[str, Any],
    problem: str,
    study: Study,
    sites: Mapping[str, Cohort],
) -> None:
    said: list[Message] = []
    with pytest.raises(SpecError, match=problem):
        train(replace(private(study, **privacy), **changed), sites, said.append)
    assert not any("facts" in message.content for message in said)


def test_noise_that_sites_add_together_is_in_the_sum_alone(
    study: Study, sites: Mapping[str, Cohort]
) -> None:
    each, together = private(study, delta=DELTA), private(study, delta=DELTA, noise="distributed")
    told = {noise: heard(one, sites) for noise, one in (("each", each), ("together", together))}
    alone, shared = (told[name][0][1]["noise"] for name in ("each", "together"))
    assert shared == pytest.approx(alone / 3**0.5)
    exact = summarize(Cohort.union([sites[site] for site in study.sites]))
    sums = [sums for sums, _ in told["together"][:3]]
    noise = np.concatenate([(sum(s[n] for s in sums) - exact[n]).ravel() for n in exact])
    assert noise.std() == pytest.approx(alone, rel=6 / (2 * len(noise)) ** 0.5)
    for accountant in train(together, sites).accountants.values():
        assert 3.999 < accountant.spent(DELTA).epsilon <= 4.0
    with pytest.raises(Unsupported, match="gradients are used at each"):
        train(replace(together, generator=Choice("tvae", SHORT)), sites)


# --- Whole hospitals --------------------------------------------------------------------------


def hidden(study: Study, epsilon: float = 4.0, **settings: Any) -> Study:
    return replace(study, privacy=Choice("hospital", {"epsilon": epsilon, **settings}))


@pytest.mark.parametrize("generator", ["independent", "copula", "tree", "tvae"])
def test_hospitals_are_hidden_as_a_whole(
    generator: str, study: Study, sites: Mapping[str, Cohort]
) -> None:
    settings = SHORT if generator == "tvae" else {}
    study = hidden(replace(study, generator=Choice(generator, settings)))
    trained = train(study, sites)
    assert set(trained.history["weight"]) == {1000.0}, "no hospital is known by its size"
    assert set(trained.history["steps"]) <= {0, 1}
    for accountant in trained.accountants.values():
        assert 3.99 < accountant.spent(1e-3).epsilon <= 4.0
    model = GENERATORS.build(generator, settings)
    assert len(model.sample(trained.state, trained.encoder, 50, np.random.default_rng(0))) == 50


def test_no_hospital_moves_the_counts_further_than_the_bound(
    study: Study,
    sites: Mapping[str, Cohort],
    everyone: Cohort,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever sits at a hospital: some, everybody, or one patient alone."""
    monkeypatch.setattr(Dealt, "normals", lambda *_: np.zeros)
    study = hidden(study)
    others = [sites["south"], everyone, everyone.take(everyone.patients[:1])]
    told = [heard(study, {**sites, "south": south}) for south in others]
    bound = 1000 * (len(everyone.schema.features) + 1) ** 0.5
    lengths = [
        sum(float((array**2).sum()) for array in sums.values()) ** 0.5
        for said in told
        for sums, _ in said[:3]
    ]
    assert max(lengths) <= bound
    assert max(lengths) > 0.8 * bound, "the bound is much too wide"


def test_a_hospital_moves_parameters_no_further_than_the_bound() -> None:
    before: dict[str, NDArray[Any]] = {"a": np.zeros(3, np.float32), "b": np.ones((2, 2))}
    for there in (0.001, 5.0, np.nan, np.inf):
        budget = Whole(
            promise=Hospital(epsilon=1, clip=2.0),
            accountant=Accountant(),
            run="",
            what="train 0",
            plan=(Charge("", "train", 1.0),),
            normals=np.zeros,
            part=0.5,
        )
        after = budget.moved({"a": before["a"] + there, "b": before["b"] + there}, before)
        assert budget.covers(after)
        assert after["a"].dtype == np.float32
        moved = sum(float(((after[name] - before[name]) ** 2).sum()) for name in before) ** 0.5
        expected = min(there * 7**0.5, 2.0) if np.isfinite(there) else 0.0
        assert moved == pytest.approx(expected, rel=1e-5)
        noised = replace(budget, accountant=Accountant(), normals=np.ones).moved(before, before)
        np.testing.assert_allclose(noised["a"], 1.0 * 2.0 * 0.5)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"delta": 0.01}, None),
        ({"noise": "site"}, "'noise' is not known"),
        ({"size": 0}, "'size' is 0; expected at least 1"),
    ],
)
def test_what_is_promised_to_hospitals_is_checked(
    settings: dict[str, Any], problem: str | None, study: Study, sites: Mapping[str, Cohort]
) -> None:
    if problem is None:
        assert train(hidden(study, **settings), sites).accountants
        return
    with pytest.raises(SpecError, match=problem):
        train(hidden(study, **settings), sites)


def test_a_hospital_alone_is_not_hidden(study: Study, everyone: Cohort) -> None:
    with pytest.raises(Unsupported, match="hidden among others, and here is only one"):
        train(hidden(replace(study, sites=("all",))), {"all": everyone})


@pytest.mark.parametrize("generator", ["independent", "copula", "tree"])
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 50.0])
def test_what_was_learned_from_noise_still_writes_records(
    generator: str, epsilon: float, study: Study, sites: Mapping[str, Cohort]
) -> None:
    study = replace(study, generator=Choice(generator))
    trained = train(private(study, epsilon), sites)
    model = GENERATORS.build(generator)
    written = model.sample(trained.state, trained.encoder, 200, np.random.default_rng(0))
    assert len(written) == 200
    assert all(np.isfinite(array).all() for array in trained.state.values())


def heard(study: Study, sites: Mapping[str, Cohort]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    said = []

    def tap(message: Message) -> None:
        if "facts" in message.content:
            sums = message.content.get("sums", ArrayRecord())
            said.append((arrays_of(sums), dict(message.content["facts"])))  # type: ignore[arg-type]

    train(study, sites, tap)
    return said


def test_nothing_exact_crosses(study: Study, sites: Mapping[str, Cohort]) -> None:
    exact, noised = heard(study, sites), heard(private(study), sites)
    assert len(exact) == len(noised) == 6
    for (open_sums, open_facts), (sums, facts) in zip(exact, noised, strict=True):
        assert set(sums) == set(open_sums)
        assert facts["noise"] > 0
        assert "noise" not in open_facts
    for (open_sums, _), (sums, _) in zip(exact[:3], noised[:3], strict=True):
        apart = np.concatenate([(sums[name] != open_sums[name]).ravel() for name in sums])
        assert apart.mean() > 0.98, "more alike than chance on a grid allows"
    for sums, _ in noised[3:]:
        assert (sums["counts"] != np.round(sums["counts"])).mean() > 0.9
    counted = [facts["weight"] for _, facts in noised]
    assert counted[:3] == counted[3:], "the number of patients is told once"
    assert counted[:3] != [150, 100, 62]


def test_the_noise_is_that_of_the_charge(study: Study, sites: Mapping[str, Cohort]) -> None:
    told = heard(private(study, 1.0, delta=DELTA), sites)
    accountants = train(private(study, 1.0, delta=DELTA), sites).accountants
    features = len(sites["north"].schema.features) + 1
    for (sums, facts), site in zip(told[:3], study.sites, strict=True):
        charge = accountants[site].charges[0]
        assert facts["noise"] == pytest.approx(charge.noise * features**0.5)
        exact = summarize(sites[site])
        noise = np.concatenate([(sums[name] - exact[name]).ravel() for name in exact])
        assert noise.std() == pytest.approx(facts["noise"], rel=6 / (2 * len(noise)) ** 0.5)


def test_a_strategy_is_told_how_large_the_noise_is(
    study: Study, sites: Mapping[str, Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[float] = []

    def meet(_: FedAvg, counts: Mapping[str, Update], noise: float = 0.0) -> Arrays:
        met.extend([noise, *(update.noise for update in counts.values())])
        return {}

    monkeypatch.setattr(FedAvg, "meet", meet)
    train(private(study), sites)
    assert met[0] > 1
    assert set(met) == {met[0]}
    met.clear()
    train(study, sites)
    assert set(met) == {0.0}


def test_more_privacy_is_more_noise(study: Study, sites: Mapping[str, Cohort]) -> None:
    exact = train(study, sites).encoder.counts
    off = []
    for epsilon in (0.1, 1.0, 10.0, 100.0):
        counts = train(private(study, epsilon), sites).encoder.counts
        off.append(sum(float(np.abs(counts[name] - exact[name]).sum()) for name in exact))
    assert off == sorted(off, reverse=True)


def test_training_again_repeats_the_noise_and_another_seed_does_not(
    study: Study, sites: Mapping[str, Cohort]
) -> None:
    one, same, other = (train(private(s), sites) for s in (study, study, replace(study, seed=4)))
    for name, counts in one.encoder.counts.items():
        np.testing.assert_array_equal(counts, same.encoder.counts[name])
    assert any(
        (counts != other.encoder.counts[n]).any() for n, counts in one.encoder.counts.items()
    )


@dataclass(frozen=True, kw_only=True)
class Careless(Copula):
    """Sends its sums past the budget."""

    def update(self, phase: Phase, message: Arrays, site: Site, local: Local, rng: Rng) -> Update:
        found = super().update(phase, message, site, local, rng)
        return replace(found, sums={name: array + 0 for name, array in found.sums.items()})


@dataclass(frozen=True, kw_only=True)
class Talkative(Copula):
    """Releases twice in a round."""

    calls: ClassVar[int] = 0

    def update(self, phase: Phase, message: Arrays, site: Site, local: Local, rng: Rng) -> Update:
        super().update(phase, message, site, local, rng)
        return super().update(phase, message, site, local, rng)


@pytest.mark.parametrize(
    ("generator", "problem"),
    [
        (f"{__name__}:Careless", "does not learn with differential privacy: what it sends is not"),
        (f"{__name__}:Talkative", "Releasing moments 0 would spend epsilon"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    generator: str, problem: str, study: Study, sites: Mapping[str, Cohort],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    with pytest.raises(Unsupported, match=problem):
        train(private(replace(study, generator=Choice(generator))), sites)


def test_a_delta_that_means_little_is_refused(study: Study, sites: Mapping[str, Cohort]) -> None:
    with pytest.raises(Unsupported, match=r"delta 0.01 means little .* ask for at most 0.000"):
        train(private(study, delta=0.01), sites)


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [
        ("dp-sgd", {}, "'dp-sgd' is not known; expected one of 'none', 'patient', 'hospital'"),
        ("patient", {"epsilon": -1}, "'epsilon' is -1; expected more than 0"),
        ("patient", {"epsilon": 1, "clipp": 1}, "'clipp' is not known. Did you mean 'clip'"),
        ("patient", {"epsilon": 1, "clip": 0}, "'clip' is 0; expected more than 0"),
        ("patient", {"epsilon": 1, "delta": 0.5}, "'delta' is 0.5; expected at most 0.01"),
        ("none", {"epsilon": 1}, "'none' is not known"),
    ],
)
def test_settings_that_do_not_fit_are_named(
    name: str, settings: dict[str, Any], problem: str, study: Study, sites: Mapping[str, Cohort]
) -> None:
    with pytest.raises(SpecError, match=problem):
        train(replace(study, privacy=Choice(name, settings)), sites)
