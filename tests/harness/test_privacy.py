"""What a site may say: noise, its scale and its price."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, norm

from fedbench.accounting import Accountant, Charge, epsilon_of, gaussian_epsilon
from fedbench.data import Cohort
from fedbench.encoding import Encoder, settled, summarize
from fedbench.errors import Unsupported
from fedbench.generator import Phase, Statistic, shortened
from fedbench.kinds import GENERATORS
from fedbench.privacy import Noised, Patient, Stake, agreed, os_normals, planned

PROMISE = Patient(epsilon=1.0, delta=1e-5)


def budget(noise: float = 4.0, what: str = "round 0", rate: float = 1.0, **changed: Any) -> Noised:
    plan = (Charge("", what.split(maxsplit=1)[0], noise, rate),)
    seeded = np.random.default_rng(7).standard_normal
    rest: dict[str, Any] = {
        "promise": PROMISE,
        "accountant": Accountant(),
        "normals": seeded,
        "plan": plan,
    }
    return Noised(run="run", what=what, **(rest | changed))


def scale_is(std: float, noise: np.ndarray) -> bool:
    """Whether the variance is that of this standard deviation, at one error in a million."""
    low, high = chi2.ppf([5e-7, 1 - 5e-7], len(noise))
    return bool(low < (noise**2).sum() / std**2 < high)


@pytest.mark.parametrize("normals", [np.random.default_rng(1).standard_normal, os_normals])
def test_the_noise_is_as_large_as_it_is_charged_for(
    normals: Callable[[int], np.ndarray],
) -> None:
    private = budget(noise=4.0, normals=normals)
    exact = np.arange(40_000.0).reshape(200, 200)
    noise = (private.release({"sums": exact}, bound=3.0)["sums"] - exact).ravel()
    assert private.scale == [12.0]
    assert scale_is(12.0, noise)
    assert not scale_is(1.2, noise)
    assert not scale_is(12.0, noise / 10), "a tenth of the noise would go unnoticed"
    assert abs(noise.mean()) < 5 * 12 / math.sqrt(len(noise))
    assert private.accountant.charges == [Charge("run", "round 0", 4.0)]


def test_noise_that_was_charged_hides_a_patient_and_a_tenth_of_it_does_not() -> None:
    """Guess from the sum whether she is in it; nobody may guess better than epsilon allows."""
    delta, trials = 1e-5, 4_000

    def lower_bound(tenth: float) -> float:
        rng = np.random.default_rng(3)
        mine = budget(noise=4.0, normals=lambda n: tenth * rng.standard_normal(n))
        outs = {}
        for there in (0.0, 1.0):
            sums = {str(i): np.array(there) for i in range(trials)}
            said = replace(mine, accountant=Accountant(), said={}).release(sums, 1)
            outs[there] = np.array([said[name] for name in sums])
        hits, alarms = (outs[t] > 2.0 * tenth for t in (1.0, 0.0))
        # Clopper-Pearson is within this of the share, at one error in a thousand.
        slack = norm.ppf(0.9995) * math.sqrt(0.25 / trials)
        power, false = hits.mean() - slack, alarms.mean() + slack
        return float(math.log(max((power - delta) / false, 1.0)))

    claimed = gaussian_epsilon(1 / 4.0, delta)
    assert lower_bound(1.0) <= claimed
    assert lower_bound(0.1) > claimed


def test_released_numbers_lie_on_a_grid_that_is_fine() -> None:
    said = budget().release({"sums": np.array([1 / 3, 2.0, 1e6])}, bound=1.0)["sums"]
    grid = 2.0 ** math.floor(math.log2(4.0 / 1024))
    assert (said / grid == np.round(said / grid)).all()


def test_more_than_was_promised_is_not_said() -> None:
    accountant = Accountant()
    encoder, train = planned(PROMISE, "encoder", (Stake("train", 4),))

    def say(plan: tuple[Charge, ...], what: str) -> None:
        budget(what=what, accountant=accountant, plan=plan).release({"x": np.ones(1)}, 1)

    say((encoder,), "encoder 0")
    for round in range(4):
        say((encoder, train), f"train {round}")
    spent = accountant.spent(PROMISE.delta).epsilon
    assert 0.9999 < spent <= PROMISE.epsilon
    with pytest.raises(Unsupported, match=r"would spend epsilon 1\.\d+ of the promised 1,"):
        say((encoder, train), "train 4")
    with pytest.raises(Unsupported, match=r"would spend epsilon 1\.\d+ of the promised 1,"):
        say((encoder,), "encoder 0")
    assert accountant.spent(PROMISE.delta).epsilon == spent, "what was refused was charged"


@pytest.mark.parametrize("bound", [math.inf, math.nan, 0.0, -1.0])
def test_sums_without_a_bound_stay_at_the_site(bound: float) -> None:
    private = budget()
    with pytest.raises(Unsupported, match="without a bound"):
        private.release({"sums": np.ones(3)}, bound)
    assert not private.accountant.charges


def test_what_was_not_released_is_not_covered() -> None:
    private = budget()
    said = private.release({"a": np.ones(3)}, 1.0)
    assert private.covers(said)
    assert not private.covers({"a": np.ones(3)})
    assert not private.covers({"a": said["a"] + 0})
    assert not private.covers({**said, "b": np.ones(3)})


@given(
    st.floats(0.1, 20),
    st.lists(st.tuples(st.integers(1, 50), st.floats(0.1, 5)), min_size=1, max_size=4),
    st.floats(0.05, 0.95),
)
def test_a_promise_is_divided_without_rest(
    epsilon: float, phases: list[tuple[int, float]], share: float
) -> None:
    promise = Patient(epsilon=epsilon, delta=1e-5, encoder=share)
    stakes = tuple(Stake(f"phase {i}", rounds, part) for i, (rounds, part) in enumerate(phases))
    plan = planned(promise, "encoder", stakes)
    assert [charge.what for charge in plan] == ["encoder", *(stake.phase for stake in stakes)]
    assert epsilon * (1 - 1e-4) < epsilon_of(plan, 1e-5) <= epsilon * (1 + 1e-7)
    parts = [charge.steps / charge.noise**2 for charge in plan]
    assert parts[0] / sum(parts) == pytest.approx(share, rel=1e-3)
    for part, (_, asked) in zip(parts[1:], phases, strict=True):
        assert part / sum(parts[1:]) == pytest.approx(asked / sum(p for _, p in phases), rel=1e-3)


@pytest.mark.parametrize("epsilon", [0.5, 8.0])
def test_a_promise_is_divided_where_patients_are_sampled(epsilon: float) -> None:
    promise = Patient(epsilon=epsilon, delta=1e-5)
    stakes = (Stake("sums", 2), Stake("steps", 200, rate=0.1), Stake("more", 1))
    plan = planned(promise, "encoder", stakes)
    assert epsilon * 0.97 < epsilon_of(plan, 1e-5) <= epsilon
    after = [epsilon_of(plan[: i + 1], 1e-5) for i in range(len(plan))]
    assert after == sorted(after)


def test_without_phases_the_encoder_gets_everything() -> None:
    (alone,) = planned(PROMISE, "encoder", ())
    assert gaussian_epsilon(1 / alone.noise, PROMISE.delta) == pytest.approx(1.0, rel=1e-5)
    assert alone.noise < agreed(PROMISE, "encoder", alone=False).noise


def test_sums_are_not_released_where_a_sample_was_charged() -> None:
    private = budget(rate=0.1)
    with pytest.raises(Unsupported, match="Sums about everybody"):
        private.release({"sums": np.ones(3)}, 1.0)
    assert not private.accountant.charges


# --- Sensitivity, by brute force on neighbours ------------------------------------------------


def norm_of(sums: dict[str, np.ndarray]) -> float:
    return float(np.sqrt(sum((np.asarray(a) ** 2).sum() for a in sums.values())))


def neighbours(everybody: Cohort, count: int = 40) -> list[Cohort]:
    """Without each of some patients, those with most visits and of the largest household too."""
    visits = everybody.visits["patient"].value_counts().index[:5]
    house = everybody.static["household"].mode()[0]
    family = everybody.static.loc[everybody.static["household"] == house, "patient"]
    chosen = dict.fromkeys([*visits, *family, *everybody.patients[:count]])
    return [everybody.take(everybody.patients[everybody.patients != p]) for p in chosen]


def test_the_counts_of_a_patient_are_as_bounded_as_is_said(
    made_up: Callable[[int, int], Cohort],
) -> None:
    everybody = made_up(60, 0)
    bound = (len(everybody.schema.features) + 1) ** 0.5
    mine = {**summarize(everybody), "n": np.array([60.0])}
    gaps = []
    for other in neighbours(everybody):
        theirs = {**summarize(other), "n": np.array([float(len(other))])}
        gaps.append(norm_of({name: mine[name] - theirs[name] for name in mine}))
    assert max(gaps) <= bound
    assert max(gaps) > 0.7 * bound, "the bound is much too wide"


@pytest.mark.parametrize("noised", [False, True])
def test_the_sums_of_a_statistic_are_as_bounded_as_is_said(
    noised: bool,  # noqa: FBT001
    made_up: Callable[[int, int], Cohort],
) -> None:
    everybody, rng = made_up(60, 0), np.random.default_rng(2)
    counts = dict(summarize(everybody))
    if noised:
        counts = {name: a + 20 * rng.standard_normal(a.shape) for name, a in counts.items()}
        counts = settled(everybody.schema, counts, 60)
    encoder, model, phase = Encoder(everybody.schema, counts), GENERATORS.build("copula"), Phase("")
    assert isinstance(model, Statistic)
    bound = model.bound(phase, encoder)

    def sums(cohort: Cohort) -> dict[str, np.ndarray]:
        features = model.features(phase, {}, encoder.encode(cohort), encoder)
        return {n: a.sum(axis=0) for n, a in shortened(features, bound).items()}

    mine = sums(everybody)
    gaps = [
        norm_of({name: mine[name] - theirs[name] for name in mine})
        for theirs in map(sums, neighbours(everybody))
    ]
    assert max(gaps) <= bound * (1 + 1e-9)
    assert max(gaps) > 0.5 * bound, "the bound is much too wide"


def test_counts_are_settled_as_counts_that_could_have_been(
    made_up: Callable[[int, int], Cohort],
) -> None:
    everybody = made_up(300, 1)
    schema, exact = everybody.schema, dict(summarize(everybody))
    same = settled(schema, exact, 300)
    for name, counts in exact.items():
        np.testing.assert_allclose(same[name], counts, atol=1e-9)
    rng = np.random.default_rng(0)
    noised = {name: a + 10 * rng.standard_normal(a.shape) for name, a in exact.items()}
    found = settled(schema, noised, 300)
    for feature in schema.features:
        counts = found[feature.name]
        assert (counts >= 0).all()
        if not feature.needs:
            assert counts.sum() == pytest.approx(300)
            before = np.linalg.norm(noised[feature.name] - exact[feature.name])
            assert np.linalg.norm(counts - exact[feature.name]) < before
    assert not found["event"][-1]
    assert not found["time"][:, -1].any()
    nobody = settled(schema, noised, 0)
    assert not any(counts.any() for counts in nobody.values())
