"""What every way of dealing promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.data import Cohort
from fedbench.errors import SpecError
from fedbench.partition import Partitioner
from fedbench.partitioners.dirichlet import Dirichlet
from fedbench.partitioners.iid import Iid
from fedbench.partitioners.natural import Natural
from fedbench.partitioners.quantity import Quantity

DEALERS = (
    Iid(sites=3),
    Quantity(sites=5),
    Quantity(shares=(5, 3, 1)),
    Dirichlet(alpha=2),
    Dirichlet(by="age", sites=3),
)


@given(dealer=st.sampled_from(DEALERS), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_everyone_is_dealt_once_and_clusters_stay_whole(
    matched: Cohort, dealer: Partitioner, seed: int
) -> None:
    partition = dealer.deal(matched, np.random.default_rng(seed)).check(matched)
    again = dealer.deal(matched, np.random.default_rng(seed))
    assert min(map(len, partition.patients.values())) >= dealer.settings["minimum"]
    for site, patients in partition.patients.items():
        assert list(patients) == list(again.patients[site])


@pytest.mark.parametrize("dealer", [*DEALERS, Natural()], ids=repr)
def test_hospitals_are_dealt_too(opt: Cohort, dealer: Partitioner) -> None:
    partition = dealer.deal(opt, np.random.default_rng(0)).check(opt)
    assert len(partition.patients) == dealer.settings.get("sites", 4) or dealer.settings["shares"]


@pytest.mark.parametrize("dealer", DEALERS, ids=repr)
def test_another_seed_deals_otherwise(opt: Cohort, dealer: Partitioner) -> None:
    one, other = (dealer.deal(opt, np.random.default_rng(seed)).patients for seed in (0, 1))
    assert list(one) == list(other)
    assert any(list(one[site]) != list(other[site]) for site in one)


@pytest.mark.parametrize("kind", [Iid, Quantity, Dirichlet])
def test_too_many_sites_are_refused(opt: Cohort, kind: type[Iid | Quantity | Dirichlet]) -> None:
    with pytest.raises(SpecError, match="823 patients cannot be dealt to 100 sites with at least"):
        kind(sites=100).deal(opt, np.random.default_rng(0))


def test_names_sort_like_numbers(opt: Cohort) -> None:
    names = list(Iid(sites=12).deal(opt, np.random.default_rng(0)).patients)
    assert names == sorted(names)
    assert (names[0], names[-1]) == ("site-01", "site-12")
    assert list(Iid(sites=2).deal(opt, np.random.default_rng(0)).patients) == ["site-1", "site-2"]
