"""Sites along a column."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.data import Cohort
from fedbench.errors import SpecError
from fedbench.partitioners.covariate import Covariate


def _ages(cohort: Cohort, strength: float, seed: int = 0) -> list[pd.Series]:
    dealt = Covariate(strength=strength).deal(cohort, np.random.default_rng(seed)).check(cohort)
    age = cohort.table["age"]
    return [age[pd.Index(patients)] for patients in dealt.patients.values()]


def test_a_full_strength_cuts_sharply(opt: Cohort) -> None:
    sites = sorted(_ages(opt, 1.0), key=lambda ages: ages.mean())
    for younger, older in pairwise(sites):
        assert younger.max() <= older.min()


def test_strength_is_the_correlation_with_the_order(opt: Cohort) -> None:
    def between(strength: float) -> float:
        """Return the share of the variance of age that lies between sites."""
        shares = []
        for seed in range(10):
            sites = _ages(opt, strength, seed)
            pool = pd.concat(sites)
            gaps = [len(s) * (s.mean() - pool.mean()) ** 2 for s in sites]
            shares.append(sum(gaps) / (len(pool) * pool.var(ddof=0)))
        return float(np.mean(shares))

    # Of a normal order, four equal groups keep 86 % of the variance.
    assert between(0.0) == pytest.approx(3 / 823, abs=0.004)
    assert between(0.5) == pytest.approx(0.86 * 0.25, abs=0.05)
    assert between(0.8) == pytest.approx(0.86 * 0.64, abs=0.07)


@given(seed=st.integers(0, 2**32 - 1), strength=st.floats(0, 1), sites=st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_everyone_and_every_matched_set_is_at_one_site(
    matched: Cohort, seed: int, strength: float, sites: int
) -> None:
    dealer = Covariate(by="age", strength=strength, sites=sites)
    dealt = dealer.deal(matched, np.random.default_rng(seed)).check(matched)
    assert len(dealt.patients) == sites
    sizes = [len(patients) for patients in dealt.patients.values()]
    assert max(sizes) - min(sizes) < 0.02 * len(matched)


def test_the_order_of_rows_decides_nothing(opt: Cohort) -> None:
    turned = Cohort.of_tables(
        opt.schema,
        opt.static.iloc[::-1],
        opt.visits.iloc[::-1],
        opt.codes if len(opt.codes) else None,
        opt.outcome.iloc[::-1],
    )
    one, other = (Covariate().deal(c, np.random.default_rng(3)) for c in (opt, turned))
    assert {s: set(p) for s, p in one.patients.items()} == {
        s: set(p) for s, p in other.patients.items()
    }


def test_a_column_that_is_not_there_is_named(opt: Cohort) -> None:
    with pytest.raises(
        SpecError, match=r"There is no column .agee. to deal by\. Known: group, age, "
    ):
        Covariate(by="agee").deal(opt, np.random.default_rng(0))
