"""Sites with different patients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedbench.data import Cohort
from fedbench.errors import SpecError, Unsupported
from fedbench.heterogeneity import indices
from fedbench.partitioners.dirichlet import Dirichlet


def _skew(cohort: Cohort, dealer: Dirichlet) -> float:
    """Return the largest label divergence, on average over seeds."""
    found = []
    for seed in range(8):
        rows = indices(cohort, dealer.deal(cohort, np.random.default_rng(seed)))
        found += [row.value for row in rows if row.name == "largest label divergence"]
    return float(np.mean(found))


def test_a_smaller_alpha_makes_labels_more_unequal(opt: Cohort, matched: Cohort) -> None:
    for cohort in (opt, matched):
        skewed, even = (_skew(cohort, Dirichlet(alpha=alpha)) for alpha in (0.5, 100))
        assert skewed > 0.02
        assert skewed > 5 * even


def test_a_column_of_the_static_table_can_be_skewed(opt: Cohort) -> None:
    for by in ("race", "age", "bmi"):
        partition = Dirichlet(by=by, alpha=0.3).deal(opt, np.random.default_rng(1))
        values = opt.static.set_index("patient")[by]
        codes = values if by != "race" else (values == "Black").astype(float)
        means = [codes[list(patients)].mean() for patients in partition.patients.values()]
        assert np.ptp(means) > codes.std() / 3


def test_there_must_be_something_to_deal_by(opt: Cohort) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(SpecError, match="There is no column 'aeg' to deal by"):
        Dirichlet(by="aeg").deal(opt, rng)
    bare = replace(opt, schema=replace(opt.schema, outcome=None, tasks={}))
    with pytest.raises(Unsupported, match="has no outcome to deal by"):
        Dirichlet().deal(bare, rng)
