"""Training stops when patients who were held back are served no better, and the best is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flwr.app import Message
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedbench.baselines.tvae import Tvae
from fedbench.data import Cohort
from fedbench.encoding import Encoder
from fedbench.errors import DataError, SpecError, Unsupported
from fedbench.federation.door import arrays_of, size
from fedbench.federation.inprocess import Trained, train
from fedbench.federation.sites import Dealt, dealing
from fedbench.federation.stopping import Stopping, Watch, columns, parted
from fedbench.federation.study import Choice, Start, Study
from fedbench.generator import Local, Phase, Site
from fedbench.kinds import GENERATORS
from fedbench.seeds import Seeds
from fedbench.strategy import Message as Arrays
from fedbench.strategy import averaged

DELTA = 1e-5
SHORT = {"passes": 4, "hidden": 8, "latent": 2}
EXACT = {
    "passes": 4,
    "batch": 0,
    "least_steps": 1,
    "optimizer": "sgd",
    "learning_rate": 0.001,
    "precision": "float64",
}
OVERFIT = {"passes": 240, "batch": 0, "least_steps": 1, "hidden": 128, "learning_rate": 0.01}
SMALL = {"batch": 0, "hidden": 8, "rank": 4, "wide": 8, "layers": 1, "latent": 2, "longest": 4}


def stopping(study: Study, settings: Mapping[str, Any], **asked: Any) -> Study:
    return replace(
        study,
        generator=Choice("tvae", settings),
        stopping=Stopping(**{"share": 0.3, **asked}),
    )


def judged(trained: Trained) -> pd.DataFrame:
    return pd.DataFrame(trained.judged)


def furthest(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    assert set(one) == set(other)
    return max(float(np.abs(one[name] - other[name]).max(initial=0.0)) for name in one)


def losses(study: Study, cohort: Cohort, trained: Trained) -> np.ndarray:
    """Return what the patients who are held back make of what was released."""
    assert study.stopping
    held = parted(cohort, study.stopping.share, dealing(study)).held
    encoder = Encoder(cohort.schema, trained.encoder.counts)
    site = Site("x", encoder.encode(held), encoder, {}, held)
    local = Local(0, study.rounds, study.seeds.child("validation"))
    generator = GENERATORS.build(study.generator.name, study.generator.settings)
    return np.asarray(generator.judge(Phase("train"), trained.state, site, local))


# --- Who is held back -------------------------------------------------------------------------


def test_everybody_learns_or_judges_and_nobody_does_both(everyone: Cohort) -> None:
    found = parted(everyone, 0.3, Seeds(1))
    both = [*found.learned.patients, *found.held.patients]
    assert sorted(both) == list(everyone.patients)
    assert 0.2 < len(found.held) / len(everyone) < 0.4
    others = parted(everyone, 0.3, Seeds(2)).held
    assert set(others.patients) != set(found.held.patients)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nobodys_side_depends_on_who_else_is_there(everyone: Cohort, seed: int) -> None:
    whole = set(parted(everyone, 0.3, Seeds(1)).held.patients)
    some = np.random.default_rng(seed).permutation(everyone.patients)[: 50 + 100 * seed]
    alone = set(parted(everyone.take(some), 0.3, Seeds(1)).held.patients)
    assert alone == whole & set(some)


def test_somebody_must_be_left_to_learn_from(everyone: Cohort) -> None:
    one = parted(everyone, 0.5, Seeds(1)).held
    with pytest.raises(DataError, match="would be held back to judge; take a smaller share"):
        parted(one, 0.5, Seeds(1))


# --- When it stops ----------------------------------------------------------------------------


@given(
    st.lists(st.floats(-10, 10, width=16), min_size=1, max_size=30),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.5]),
)
def test_the_best_is_kept_and_patience_ends(told: list[float], patience: int, noise: float) -> None:
    watch = Watch(Stopping(patience=patience), "train", columns())
    for round, loss in enumerate(told, start=1):
        if watch.over:
            break
        state = {"round": np.array([round])}
        watch.take(state, round, np.array([loss * 10.0]), patients=10.0, noise=10 * noise)
    rows = pd.DataFrame(watch.judged)
    kept = rows[rows["kept"]]["rounds"].iloc[-1]
    assert watch.kept is not None
    assert watch.kept["round"].item() == kept
    assert rows["loss"][kept - 1] < rows["loss"].min() + 2 * noise + 1e-12
    assert (rows["loss"][kept:] >= rows["loss"][:kept].min() + 2 * noise - 1e-12).all()
    assert watch.over == (len(rows) - kept == patience)
    assert len(rows) == len(told) or watch.over


def test_a_model_that_went_astray_is_not_kept_and_nobody_to_ask_changes_nothing() -> None:
    watch = Watch(Stopping(patience=2), "train", columns())
    for round, loss in enumerate([1.0, math.nan, math.inf], start=1):
        watch.take({"round": np.array([round])}, round, np.array([loss]), 1.0, 0.0)
    assert watch.over
    assert watch.kept == {"round": np.array([1])}
    empty = Watch(Stopping(patience=1), "train", columns())
    for round in range(1, 4):
        empty.take({}, round, np.array([0.0]), 0.0, 0.0)
    assert (empty.kept, empty.over) == (None, False)


def test_a_planted_overfit_is_stopped_and_the_best_round_is_kept(
    study: Study, sites: Mapping[str, Cohort]
) -> None:
    west = {"west": sites["west"]}
    short = replace(stopping(study, OVERFIT, patience=2), sites=("west",), rounds=24)
    found, whole = (
        train(one, west)
        for one in (short, replace(short, stopping=Stopping(share=0.3, patience=99)))
    )
    rows = judged(found)
    assert len(rows) < 24
    best = int(rows["loss"].to_numpy().argmin())
    assert len(rows) == best + 3
    assert rows["rounds"][rows["kept"]].iloc[-1] == best + 1
    assert losses(short, sites["west"], found).mean() == pytest.approx(rows["loss"].min(), rel=1e-6)
    # Without stopping it is the same up to there, and the end is worse.
    everything = judged(whole)
    np.testing.assert_array_equal(everything["loss"][: len(rows)], rows["loss"])
    assert everything["loss"].iloc[-1] > rows["loss"].min() * 1.1
    assert set(pd.DataFrame(found.history)["phase"]) == {"encoder", "train", "train validation"}


def test_federated_and_centralized_training_decide_alike_when_nothing_differs(
    study: Study, sites: Mapping[str, Cohort], everyone: Cohort
) -> None:
    study = replace(stopping(study, EXACT, every=2), rounds=4)
    federated = train(study, sites)
    centralized = train(replace(study, sites=("all",)), {"all": everyone})
    one, other = judged(federated), judged(centralized)
    assert one["rounds"].tolist() == [2, 4]
    assert one["loss"].nunique() == 2
    np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-9)
    assert one[["rounds", "patients", "kept"]].equals(other[["rounds", "patients", "kept"]])
    assert furthest(federated.state, centralized.state) < 1e-9


def test_it_repeats_itself_and_a_site_that_judges_trains_on_fewer(
    study: Study, sites: Mapping[str, Cohort]
) -> None:
    asked = stopping(study, SHORT)
    one, again = train(asked, sites), train(asked, sites)
    assert furthest(one.state, again.state) == 0
    assert (one.judged, one.ledger) == (again.judged, again.ledger)
    history = pd.DataFrame(one.history)
    total = history.groupby(["phase", "round"])["weight"].sum()
    assert total["train"][0] + total["train validation"][0] == total["encoder"][0] == 312


def test_all_hospitals_judge_also_those_that_sit_out(
    study: Study, sites: Mapping[str, Cohort]
) -> None:
    study = replace(stopping(study, SHORT), participation=0.34, rounds=2)
    history = pd.DataFrame(train(study, sites).history)
    asked = history.groupby(["phase", "round"])["site"].nunique().to_dict()
    assert [asked["train validation", round] for round in range(2)] == [3, 3]
    assert [asked["train", round] for round in range(2)] == [2, 2]


def test_every_network_phase_is_judged_and_the_sums_between_are_not(
    study: Study, sites: Mapping[str, Cohort]
) -> None:
    short = {"passes": 2, "time_passes": 2, "least_steps": 1}
    study = replace(stopping(study, {}), generator=Choice("latdiff", {**SMALL, **short}))
    rows = judged(train(study, sites))
    assert rows["phase"].tolist() == ["visits", "visits", "time", "time"]
    assert np.isfinite(rows["loss"]).all()


# --- What crosses -----------------------------------------------------------------------------


@pytest.mark.parametrize("generator", ["tvae", "tabdiff", "halo", "latdiff"])
def test_only_a_sum_and_a_count_cross_and_no_canary(
    generator: str, study: Study, sites: Mapping[str, Cohort]
) -> None:
    canary, short = 7.123456789012345, {"time_passes": 1} if generator == "latdiff" else {}
    site = sites["west"]
    visits = site.visits.assign(
        albumin=np.where(site.visits["day"] <= 0, canary, site.visits["albumin"])
    )
    planted = Cohort.of_tables(site.schema, site.static, visits, site.codes, site.outcome)
    study = replace(
        stopping(study, {}), generator=Choice(generator, {"passes": 1, **short}), rounds=1
    )
    held = parted(planted, 0.3, dealing(study)).held
    assert canary in held.visits["albumin"].to_numpy()
    crossed: list[int] = []
    said: list[Message] = []

    def look(message: Message) -> None:
        crossed.append(size(message.content))
        for record in message.content.array_records.values():
            for array in arrays_of(record).values():
                assert not np.isclose(array.astype(float), canary, rtol=1e-6, atol=0).any()
        if message.metadata.message_type == "evaluate" and message.metadata.dst_node_id == 1:
            said.append(message)

    trained = train(study, {**sites, "west": planted}, tap=look)
    assert sorted(trained.ledger["bytes"]) == sorted(crossed), "every message is in the ledger"
    phases = 2 if generator == "latdiff" else 1
    assert len(said) == 3 * phases
    for message in said:
        assert set(message.content) == {"sums", "facts"}
        sums = arrays_of(message.content.array_records["sums"])
        assert {name: array.shape for name, array in sums.items()} == {"loss": (1,)}
        assert set(message.content["facts"]) == {"weight", "steps"}
        assert size(message.content) < 400
    rows = pd.DataFrame(trained.ledger)
    ways = rows[rows["phase"].str.endswith(" validation")].groupby("way")["bytes"].count()
    assert ways.to_dict() == {"down": 3 * phases, "up": 3 * phases}


def test_a_study_without_it_says_nothing_of_it(study: Study) -> None:
    assert "stopping" not in study.to_json()
    assert "start" not in study.to_json()
    asked = replace(study, stopping=Stopping(share=0.2, patience=5), start="site")
    assert Study.from_json(asked.to_json()) == asked
    with pytest.raises(SpecError, match=r"stopping: 'share' is 0\.9; expected at most 0\.5"):
        Study.from_json(replace(asked, stopping=Stopping(share=0.9)).to_json())


@pytest.mark.parametrize("generator", ["independent", "copula", "tree"])
def test_sums_leave_nothing_to_choose_and_nobody_is_held_back(
    generator: str, study: Study, sites: Mapping[str, Cohort]
) -> None:
    plain = train(replace(study, generator=Choice(generator)), sites)
    asked = train(replace(study, generator=Choice(generator), stopping=Stopping()), sites)
    assert not any(asked.judged.values())
    assert asked.history == plain.history
    if plain.state:
        assert furthest(asked.state, plain.state) == 0


@pytest.mark.parametrize(
    ("generator", "why"),
    [
        ("ctgan", "several objectives that work against each other"),
        ("align", "cannot be taken back to an earlier one"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_is_said(
    generator: str, why: str, study: Study, sites: Mapping[str, Cohort]
) -> None:
    study = replace(study, generator=Choice(generator), stopping=Stopping())
    with pytest.raises(Unsupported, match=why):
        train(study, sites, tap=lambda _: pytest.fail("a message"))


# --- Differential privacy ---------------------------------------------------------------------


def test_judging_is_charged_and_noised(study: Study, sites: Mapping[str, Cohort]) -> None:
    study = replace(
        stopping(study, SHORT, patience=9), privacy=Choice("patient", {"epsilon": 4, "delta": 1e-5})
    )
    exact, noised = train(replace(study, privacy=Choice("none")), sites), train(study, sites)
    assert (judged(exact)["noise"] == 0).all()
    rows = judged(noised)
    assert rows["rounds"].tolist() == [1, 2]
    for accountant in noised.accountants.values():
        assert [charge.what for charge in accountant.charges] == [
            "encoder 0", "train 0", "train validation 0", "train 1", "train validation 1",
        ]  # fmt: skip
        assert 3.9 < accountant.spent(DELTA).epsilon <= 4.0
        less = replace(accountant, charges=accountant.charges[:-1]).spent(DELTA)
        assert less.epsilon < accountant.spent(DELTA).epsilon
    # One patient weighs as much as the bound: a nat for each feature of the table.
    (noise,) = {a.charges[2].noise for a in noised.accountants.values()}
    bound = 1.0 * len(sites["west"].schema.features)
    assert rows["noise"][0] * rows["patients"][0] == pytest.approx(3**0.5 * noise * bound)


@dataclass(frozen=True, kw_only=True)
class Extreme(Tvae):
    """Serves every patient endlessly badly, endlessly well or nobody knows how."""

    def judge(self, phase: Phase, message: Arrays, site: Site, local: Local) -> NDArray[np.float64]:
        return np.resize([1e9, -1e9, math.nan], len(super().judge(phase, message, site, local)))


def test_no_patient_moves_the_sum_further_than_the_bound(
    study: Study, sites: Mapping[str, Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_noise(*_: object) -> Any:
        return np.zeros

    monkeypatch.setattr(Dealt, "normals", without_noise)

    private = Choice("patient", {"epsilon": 4, "delta": DELTA})
    study = replace(stopping(study, SHORT), privacy=private, sites=("west",), rounds=1)
    study = replace(study, generator=Choice(f"{__name__}:Extreme", SHORT))
    rows = judged(train(study, {"west": sites["west"]}))
    held = len(parted(sites["west"], 0.3, dealing(study)).held)
    capped = np.resize([1.0, -1.0, 1.0], held).sum() * len(sites["west"].schema.features)
    assert rows["loss"][0] * rows["patients"][0] == pytest.approx(capped, rel=0.01)


def test_hospitals_that_are_hidden_judge_too(study: Study, sites: Mapping[str, Cohort]) -> None:
    hidden = Choice("hospital", {"epsilon": 4.0})
    trained = train(replace(stopping(study, SHORT, patience=9), privacy=hidden), sites)
    assert judged(trained)["patients"].tolist() == [3000.0, 3000.0]
    for accountant in trained.accountants.values():
        assert 3.99 < accountant.spent(1e-3).epsilon <= 4.0


# --- Starts of one's own ----------------------------------------------------------------------


def test_sites_that_start_apart_are_averaged_from_there(
    study: Study, sites: Mapping[str, Cohort]
) -> None:
    still = {**SHORT, "learning_rate": 1e-30, "optimizer": "sgd"}
    study = replace(study, generator=Choice("tvae", still), rounds=1, start="site")
    trained = train(study, sites)
    model = GENERATORS.build("tvae", still)
    starts = {
        site: model.start(
            Phase("train"), None, trained.encoder, study.seeds.child("start", "train", site).rng()
        )
        for site in sites
    }
    weights = {site: float(len(cohort)) for site, cohort in sites.items()}
    assert furthest(trained.state, averaged(starts, weights)) < 1e-6
    common = train(replace(study, start="common"), sites)
    assert furthest(trained.state, common.state) > 0.1


def test_only_the_first_round_starts_apart_and_sums_start_nowhere(
    study: Study, sites: Mapping[str, Cohort]
) -> None:
    still = {**SHORT, "learning_rate": 1e-30, "optimizer": "sgd"}
    study = replace(study, generator=Choice("tvae", still), start="site")
    once, twice = (train(replace(study, rounds=n), sites).state for n in (1, 2))
    assert furthest(once, twice) < 1e-6
    copula = replace(study, generator=Choice("copula"))
    plain = train(replace(copula, start="common"), sites)
    assert furthest(train(copula, sites).state, plain.state) == 0


@pytest.mark.parametrize(("start", "differs"), [("common", False), ("site", True)])
def test_matching_acts_where_sites_start_apart(
    study: Study, sites: Mapping[str, Cohort], *, start: Start, differs: bool
) -> None:
    study = replace(study, generator=Choice("tvae", SHORT), rounds=1, start=start)
    plain = train(study, sites)
    ours = train(replace(study, strategy=Choice("matched")), sites)
    assert (furthest(plain.state, ours.state) > 1e-2) is differs
