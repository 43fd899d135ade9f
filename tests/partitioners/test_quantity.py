"""Sites of unequal size."""

from __future__ import annotations

import numpy as np
import pytest

from fedbench.data import Cohort
from fedbench.errors import SpecError
from fedbench.kinds import PARTITIONERS
from fedbench.partitioners.quantity import Quantity


def _sizes(dealer: Quantity, cohort: Cohort, seed: int = 0) -> list[int]:
    partition = dealer.deal(cohort, np.random.default_rng(seed))
    return [len(patients) for patients in partition.patients.values()]


def test_given_shares_are_kept(opt: Cohort, matched: Cohort) -> None:
    for cohort in (opt, matched):
        found = np.array(_sizes(Quantity(shares=(5, 3, 2)), cohort)) / len(cohort)
        assert found == pytest.approx([0.5, 0.3, 0.2], abs=0.01)


def test_a_smaller_alpha_is_more_unequal(opt: Cohort) -> None:
    def spread(alpha: float) -> float:
        return float(np.mean([np.std(_sizes(Quantity(alpha=alpha), opt, s)) for s in range(20)]))

    assert spread(0.5) > 2 * spread(20)


@pytest.mark.parametrize("wrong", [{"alpha": 0}, {"shares": [1, 0]}, {"shares": [1, np.inf]}])
def test_settings_must_make_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=r"expected (more than 0|a finite number)"):
        PARTITIONERS.build("quantity", wrong)


def test_a_minimum_that_shares_cannot_keep_is_refused(opt: Cohort) -> None:
    with pytest.raises(SpecError, match="the best deal left a site with 8"):
        Quantity(shares=(99, 1)).deal(opt, np.random.default_rng(0))


def test_as_many_sites_as_shares() -> None:
    assert len(Quantity(sites=2, shares=(2, 1)).shares) == 2
    with pytest.raises(SpecError, match=r"sites is 5, and there are 3 shares"):
        PARTITIONERS.build("quantity", {"sites": 5, "shares": [0.5, 0.3, 0.2]})
