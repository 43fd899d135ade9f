from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.baselines import tree
from fedbench.baselines.copula import Copula
from fedbench.baselines.independent import Independent
from fedbench.baselines.tree import Tree
from fedbench.data import Cohort, Column, Schema
from fedbench.generator import Phase, State, Statistic
from fedbench.strategy import Combined

PLANTED = Schema(
    name="planted",
    clock="days",
    static={
        "c": Column(kind="category", levels=("x", "y", "z")),
        "alone": Column(kind="category", levels=("no", "yes")),
        "d": Column(kind="number", low=0, high=10),
        "a": Column(kind="number", low=-4, high=4),
        "b": Column(kind="integer", low=0, high=6),
    },
)


def chain(n: int, seed: int = 0) -> Cohort:
    """a - b - c - d: b bends with a, c follows b, d is missing more often for one level of c."""
    rng = np.random.default_rng(seed)
    a = np.clip(rng.normal(size=n), -4, 4)
    b = np.clip(np.round(2 * a**2 + 0.3 * rng.normal(size=n)), 0, 6)
    c = np.array(["x", "y", "z"])[np.minimum(b // 2, 2).astype(int)]
    c = np.where(rng.random(n) < 0.2, "y", c)
    d = np.where(rng.random(n) < np.where(c == "x", 0.8, 0.1), np.nan, rng.uniform(0, 10, n))
    patient = np.array([f"p{i:05d}" for i in range(n)], dtype=object)
    alone = rng.choice(["no", "yes"], n)
    static = pd.DataFrame({"patient": patient, "a": a, "b": b, "c": c, "d": d, "alone": alone})
    return Cohort.of_tables(PLANTED, static)


def test_federated_is_centralized(
    trained: Callable[..., Any], small: Cohort, sites: Mapping[str, Cohort]
) -> None:
    apart, together = trained(Tree(), sites), trained(Tree(), {"all": small})
    assert apart.state.keys() == together.state.keys() == {"parents", "bins", "counts"}
    for name, values in together.state.items():
        np.testing.assert_array_equal(apart.state[name], values)


PLANTED_LINKS = {frozenset("ab"), frozenset("bc"), frozenset("cd")}


def links(run: Any) -> set[frozenset[str]]:
    names = [f.name for f in (*run.encoder.numbers, *run.encoder.categories)]
    parents = run.state["parents"].tolist()
    return {frozenset((names[c], names[p])) for c, p in enumerate(parents) if p >= 0}


def test_the_planted_links_are_found(trained: Callable[..., Any]) -> None:
    found = links(trained(Tree(), {"all": chain(1500)}))
    assert found >= PLANTED_LINKS
    assert all("alone" in link for link in found - PLANTED_LINKS)  # chance may tie it to something


def test_links_are_found_through_noise(trained: Callable[..., Any]) -> None:
    encoder, noise = trained(Tree(), {"all": chain(8000)}).encoder, 60.0
    model, rng = Tree(), np.random.default_rng(0)

    @dataclass(frozen=True, kw_only=True)
    class Noisy(Tree):
        def fold(self, phase: Phase, state: State, combined: Combined, *rest: Any) -> State:
            counts = combined.sums["counts"]
            noised = {"counts": counts + noise * rng.standard_normal(counts.shape)}
            heard = replace(combined, sums=noised, noise=noise)
            return super().fold(phase, state, heard, *rest)

    run = trained(Noisy(), {"all": chain(8000)}, encoder=encoder)
    assert links(run) >= PLANTED_LINKS
    assert 2 < run.state["bins"].item() < 16
    assert (run.state["counts"] >= 0).all()
    written = model.sample(run.state, encoder, 6000, np.random.default_rng(1))
    missing = written.table["d"].isna().groupby(written.table["c"], observed=True).mean()
    assert missing["x"] > missing["y"] + 0.4


def test_what_bends_and_what_is_missing_come_back(trained: Callable[..., Any]) -> None:
    def bend(someone: Cohort) -> float:
        return float(someone.table["b"][someone.table["a"].abs() > 1.5].mean())

    def gap(someone: Cohort) -> float:
        missing = someone.table["d"].isna()
        return float(missing[someone.table["c"] == "x"].mean() - missing.mean())

    real = chain(3000)
    written = [
        generator.sample(run.state, run.encoder, 6000, np.random.default_rng(1))
        for generator in (Tree(), Copula())
        for run in [trained(generator, {"all": real})]
    ]
    assert bend(written[0]) == pytest.approx(bend(real), abs=0.5)
    assert abs(bend(written[1]) - bend(real)) > 1  # one Gaussian cannot bend
    assert gap(written[0]) == pytest.approx(gap(real), abs=0.05)


@pytest.mark.parametrize("phase", Tree().phases(), ids=lambda phase: phase.name)
def test_sites_send_the_sums_of_features_within_their_bound(
    trained: Callable[..., Any], small: Cohort, phase: Phase
) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Slow(Tree):
        update = Statistic.update

    fast, slow = (trained(kind(), {"all": small}) for kind in (Tree, Slow))
    for name, values in fast.state.items():
        np.testing.assert_array_equal(slow.state[name], values)
    records = fast.encoder.encode(small)
    features = Tree().features(phase, fast.state, records, fast.encoder)["counts"]
    lengths = np.sqrt((features**2).sum(axis=1))
    assert lengths.max() <= Tree().bound(phase, fast.encoder) + 1e-9


def test_the_structure_is_kept(
    trained: Callable[..., Any],
    structure: Callable[[Cohort, Cohort], float],
    small: Cohort,
    sites: Mapping[str, Cohort],
    odd_columns: Callable[[Cohort], None],
) -> None:
    run = trained(Tree(), sites)
    written = Tree().sample(run.state, run.encoder, 4000, np.random.default_rng(1))
    floor = Independent().sample({}, run.encoder, 4000, np.random.default_rng(1))
    assert structure(written, small) < 0.6 * structure(floor, small)
    odd_columns(written)


def test_single_columns_stay_as_agreed(
    trained: Callable[..., Any], small: Cohort, sites: Mapping[str, Cohort]
) -> None:
    run = trained(Tree(), sites)
    written = Tree().sample(run.state, run.encoder, 8000, np.random.default_rng(1))
    for feature in small.schema.features:
        real, synthetic = small.table[feature.name], written.table[feature.name]
        assert synthetic.isna().mean() == pytest.approx(real.isna().mean(), abs=0.03), feature.name
        if feature.column.kind == "category":
            shares = [x.value_counts(normalize=True) for x in (real, synthetic)]
            assert (shares[0] - shares[1]).abs().max() < 0.05, feature.name
        elif real.notna().any():
            at = np.linspace(0.1, 0.9, 5)
            spread = real.quantile(0.9) - real.quantile(0.1)
            gaps = (real.quantile(at) - synthetic.quantile(at)).abs() / spread
            assert gaps.max() < 0.12, feature.name


def test_a_site_without_variety_is_no_trouble(trained: Callable[..., Any], small: Cohort) -> None:
    few = small.take(small.patients[:3])
    run = trained(Tree(), {"tiny": few})
    assert len(Tree().sample(run.state, run.encoder, 10, np.random.default_rng(0))) == 10


@given(seed=st.integers(0, 10_000), size=st.integers(1, 7))
@settings(max_examples=30, deadline=None)
def test_no_forest_is_worth_more(seed: int, size: int) -> None:
    draws = np.random.default_rng(seed).normal(size=(size, size))
    worth = np.triu(draws, 1) + np.triu(draws, 1).T
    parents = tree._spanning(worth)  # noqa: SLF001
    order = tree._from_roots(parents)  # noqa: SLF001
    assert sorted(order) == list(range(size))
    assert all(p < 0 or order.index(p) < order.index(c) for c, p in enumerate(parents.tolist()))
    found = sum(worth[c, p] for c, p in enumerate(parents.tolist()) if p >= 0)
    assert found == pytest.approx(_kruskal(worth))


def _kruskal(worth: np.ndarray) -> float:
    """The same by another way: the best links first, unless they close a circle."""
    group, total = np.arange(len(worth)), 0.0
    pairs = sorted(zip(*np.triu_indices(len(worth), 1), strict=True), key=lambda p: -worth[p])
    for one, other in pairs:
        if worth[one, other] > 0 and group[one] != group[other]:
            total += worth[one, other]
            group[group == group[other]] = group[one]
    return total
