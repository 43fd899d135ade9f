from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

from fedbench.baselines import copula
from fedbench.baselines.copula import Copula
from fedbench.baselines.independent import Independent
from fedbench.data import Cohort
from fedbench.encoding import Encoder


def test_federated_is_centralized(
    trained: Callable[..., Any], small: Cohort, sites: Mapping[str, Cohort]
) -> None:
    apart, together = trained(Copula(), sites), trained(Copula(), {"all": small})
    np.testing.assert_allclose(apart.state["correlation"], together.state["correlation"], atol=1e-9)


def test_sites_send_the_sums_of_their_features(trained: Callable[..., Any], small: Cohort) -> None:
    run = trained(Copula(), {"all": small})
    records = run.encoder.encode(small)
    phase = Copula().phases()[0]
    features = Copula().features(phase, {}, records, run.encoder)
    plan = copula._Plan(run.encoder)  # noqa: SLF001
    for name, total in copula._moments(*plan.seen(records)).items():  # noqa: SLF001
        np.testing.assert_allclose(features[name].sum(axis=0), total, atol=1e-8)


def test_the_structure_is_kept(
    trained: Callable[..., Any],
    structure: Callable[[Cohort, Cohort], float],
    small: Cohort,
    sites: Mapping[str, Cohort],
    odd_columns: Callable[[Cohort], None],
) -> None:
    start = time.process_time()
    run = trained(Copula(), sites)
    written = Copula().sample(run.state, run.encoder, 4000, np.random.default_rng(1))
    assert time.process_time() - start < 5  # 0.2 s on an idle machine
    floor = Independent().sample({}, run.encoder, 4000, np.random.default_rng(1))
    assert structure(written, small) < 0.4 * structure(floor, small)
    assert run.bytes_up < 20_000
    odd_columns(written)


def test_single_columns_stay_as_agreed(
    trained: Callable[..., Any], small: Cohort, sites: Mapping[str, Cohort]
) -> None:
    run = trained(Copula(), sites)
    written = Copula().sample(run.state, run.encoder, 8000, np.random.default_rng(1))
    for feature in small.schema.features:
        real, synthetic = small.table[feature.name], written.table[feature.name]
        if feature.column.kind == "category":
            shares = [x.value_counts(normalize=True) for x in (real, synthetic)]
            assert (shares[0] - shares[1]).abs().max() < 0.05, feature.name
        elif real.notna().any():
            at = np.linspace(0.1, 0.9, 5)
            spread = real.quantile(0.9) - real.quantile(0.1)
            gaps = (real.quantile(at) - synthetic.quantile(at)).abs() / spread
            assert gaps.max() < 0.12, feature.name


def test_the_correlation_is_one(trained: Callable[..., Any], sites: Mapping[str, Cohort]) -> None:
    found = trained(Copula(), sites).state["correlation"]
    np.testing.assert_allclose(np.diag(found), 1, atol=1e-9)
    assert np.linalg.eigvalsh(found).min() > 0


@given(
    weights=st.lists(st.floats(0.002, 1), min_size=3, max_size=8),
)
@settings(max_examples=20, deadline=None)
def test_advantages_give_the_agreed_shares(weights: list[float]) -> None:
    shares = np.array(weights) / sum(weights)
    shows, advantages = copula._multinomial(shares)  # noqa: SLF001
    found, slope = copula._argmax(advantages)  # noqa: SLF001
    np.testing.assert_allclose(found, shares, atol=1e-6)
    np.testing.assert_allclose(shows, slope[1:])
    drawn = np.random.default_rng(0).normal(size=(40_000, len(shares)))
    chosen = np.argmax(drawn + advantages, axis=1)
    means = [np.mean(drawn * (chosen == level)[:, None], axis=0) for level in range(len(shares))]
    np.testing.assert_allclose(means, slope, atol=0.02)


@given(correlation=st.floats(-0.95, 0.95), one=st.floats(-1.5, 1.5), other=st.floats(-1.5, 1.5))
@settings(max_examples=20, deadline=None)
def test_two_thresholds_give_the_correlation_back(
    correlation: float, one: float, other: float
) -> None:
    both = multivariate_normal([0, 0], [[1, correlation], [correlation, 1]]).cdf([-one, -other])
    covariance = both - norm.sf(one) * norm.sf(other)
    pairs = np.array([[0.0, covariance], [covariance, 0.0]])
    found = copula._tetrachoric(pairs, np.array([one, other]))  # noqa: SLF001
    assert found[0, 1] == pytest.approx(correlation, abs=5e-3)


def test_a_site_without_variety_is_no_trouble(trained: Callable[..., Any], small: Cohort) -> None:
    few = small.take(small.patients[:3])
    run = trained(Copula(), {"tiny": few})
    assert len(Copula().sample(run.state, run.encoder, 10, np.random.default_rng(0))) == 10
    assert isinstance(run.encoder, Encoder)
