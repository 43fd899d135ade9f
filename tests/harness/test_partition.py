"""Partitions are checked; a hospital splits itself the same way alone and with others."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.data import Cohort
from fedbench.errors import ContractError, SpecError
from fedbench.partition import Partition, Parts, Split, split_by_coins, split_site
from fedbench.seeds import Seeds

PARTS = Parts(train=0.4, control=0.3, reference=0.1)
NAMES = ("train", "test", "control", "reference")
Seed = st.integers(0, 2**32 - 1)


def _split(cohort: Cohort, seed: int, parts: Parts = PARTS, site: str = "north") -> Split:
    return split_site(cohort, site, parts, Seeds(seed))


@given(n=st.integers(60, 120), seed=Seed)
@settings(max_examples=12, deadline=None)
def test_a_split_covers_does_not_overlap_and_tears_nothing(made_up: Any, n: int, seed: int) -> None:
    cohort = made_up(n, seed)
    split = _split(cohort, seed)
    assert list(split.everyone) == list(cohort.patients)
    for one, other in combinations(NAMES, 2):
        left, right = getattr(split, one), getattr(split, other)
        assert not set(left.patients) & set(right.patients)
        assert not set(left.clusters) & set(right.clusters)


@given(seed=Seed)
@settings(max_examples=12, deadline=None)
def test_shares_hold_in_every_outcome_class(made_up: Any, seed: int) -> None:
    cohort = made_up(400, seed)
    split = _split(cohort, seed)
    ever: dict[str, bool] = {}
    for cluster, event in zip(cohort.clusters, cohort.event, strict=True):
        ever[cluster] = ever.get(cluster, False) or bool(event)
    shares = {"train": 0.4, "control": 0.3, "reference": 0.1, "test": 0.2}
    for side in (False, True):
        n = sum(event is side for event in ever.values())
        for name, share in shares.items():
            mine = {c for c in getattr(split, name).clusters if ever[c] is side}
            assert abs(len(mine) - share * n) <= 1


@given(seed=Seed)
@settings(max_examples=12, deadline=None)
def test_a_site_alone_splits_as_it_does_among_others(made_up: Any, seed: int) -> None:
    cohort = made_up(200, seed)
    sites = cohort.clusters.astype(int) % 2 == 0
    alone = cohort.take(cohort.patients[sites])
    among = Cohort.union([cohort.take(cohort.patients[~sites]), alone]).take(alone.patients)
    for name in NAMES:
        first, second = getattr(_split(alone, seed), name), getattr(_split(among, seed), name)
        assert first.fingerprint == second.fingerprint


def test_seed_and_site_name_decide(made_up: Any) -> None:
    cohort = made_up(200, 0)
    trains = {
        tuple(_split(cohort, seed, site=site).train.patients)
        for seed in (0, 1)
        for site in ("north", "south")
    }
    assert len(trains) == 4


def test_control_may_be_the_test_patients(made_up: Any) -> None:
    split = _split(made_up(50, 0), 0, Parts(train=0.5))
    assert split.control is split.test
    assert len(split.reference) == 0
    assert len(split.everyone) == 50


def test_a_site_too_small_says_so(made_up: Any) -> None:
    with pytest.raises(
        SpecError, match=r"Site 'north' has 1 clusters \(household\), too few to fill"
    ):
        _split(made_up(2, 0), 0)


@given(n=st.integers(1, 120), seed=Seed)
@settings(max_examples=12, deadline=None)
def test_by_coins_nobodys_part_depends_on_who_else_is_there(
    made_up: Any, n: int, seed: int
) -> None:
    """Neighbours, which differential privacy compares, differ by one patient and no more."""
    cohort = made_up(n, seed)
    split = split_by_coins(cohort, "north", PARTS, Seeds(seed))
    assert sum(len(getattr(split, name)) for name in NAMES) == n == len(split.everyone)
    fewer = cohort.take(np.delete(cohort.patients, seed % n))
    without = split_by_coins(fewer, "north", PARTS, Seeds(seed))
    for name in NAMES:
        there = set(getattr(split, name).patients) - {cohort.patients[seed % n]}
        assert set(getattr(without, name).patients) == there
    homes = [set(getattr(split, name).clusters) for name in NAMES]
    assert not any(one & other for one, other in combinations(homes, 2))


def test_by_coins_shares_hold_on_average(made_up: Any) -> None:
    cohort = made_up(4000, 1)
    split = split_by_coins(cohort, "north", PARTS, Seeds(0))
    for name, share in PARTS.shares.items():
        clusters = len(set(getattr(split, name).clusters)) / len(set(cohort.clusters))
        assert abs(clusters - share) < 0.04
    south = split_by_coins(cohort, "south", PARTS, Seeds(0))
    assert set(south.train.patients) != set(split.train.patients)


def test_by_coins_control_may_be_the_test_patients_and_a_part_may_be_empty(made_up: Any) -> None:
    split = split_by_coins(made_up(50, 0), "north", Parts(train=0.5), Seeds(0))
    assert split.control is split.test
    nobody = split_by_coins(made_up(2, 0), "north", Parts(train=1e-6), Seeds(0))
    assert len(nobody.train) == 0


SHARES = st.builds(
    Parts,
    train=st.floats(0.02, 0.6),
    control=st.floats(0.02, 0.2),
    reference=st.floats(0.02, 0.15),
)


@given(parts=SHARES, events=st.floats(0, 1), seed=Seed)
@settings(max_examples=60, deadline=None)
def test_enough_is_always_enough(made_up: Any, parts: Parts, events: float, seed: int) -> None:
    n = parts.enough
    cohort = made_up(n, 0)
    static = cohort.static.assign(household=cohort.patients)
    outcome = cohort.outcome.assign(event=(np.arange(n) < events * n).astype(int))
    split = _split(Cohort(cohort.schema, static, cohort.visits, cohort.codes, outcome), seed, parts)
    assert min(len(getattr(split, name)) for name in NAMES) > 0


def test_a_site_without_patients_is_too_small(made_up: Any) -> None:
    cohort = made_up(20, 0)
    with pytest.raises(SpecError, match=r"'north' has 0 clusters .* 19 are always enough"):
        _split(cohort.take(cohort.patients[:0]), 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"train": 0.0},
        {"train": 1.0},
        {"train": 0.5, "control": 0.5},
        {"train": 0.5, "reference": -0.1},
        {"train": 0.5, "control": "tests"},
    ],
)
def test_shares_must_make_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        Parts(**wrong)


def test_a_broken_partition_is_refused(made_up: Any) -> None:
    cohort = made_up(20, 0)
    everyone = cohort.patients
    with pytest.raises(ContractError, match="dealt to two sites"):
        Partition({"a": everyone, "b": everyone[:2]}).check(cohort)
    with pytest.raises(ContractError, match="2 patients were dealt to no site"):
        Partition({"a": everyone[2:]}).check(cohort)
    torn = np.unique(cohort.clusters, return_index=True)[1]
    one = np.isin(np.arange(20), torn)
    with pytest.raises(ContractError, match="torn apart"):
        Partition({"a": everyone[one], "b": everyone[~one]}).check(cohort)


def test_a_partition_knows_where_everyone_lives(made_up: Any) -> None:
    cohort = made_up(4, 0)
    partition = Partition({"a": cohort.patients[:3], "b": cohort.patients[3:]})
    assert list(partition.site_of(cohort.patients[::-1])) == ["b", "a", "a", "a"]
