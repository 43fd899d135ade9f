"""Sites that differ by chance alone."""

from __future__ import annotations

import numpy as np

from fedbench.data import Cohort
from fedbench.partitioners.iid import Iid


def test_sites_have_the_same_size(opt: Cohort, matched: Cohort) -> None:
    for cohort, spread in ((opt, 1), (matched, 10)):
        sizes = [
            len(patients)
            for patients in Iid(sites=5).deal(cohort, np.random.default_rng(0)).patients.values()
        ]
        assert max(sizes) - min(sizes) <= spread
