"""Patients stay where they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedbench.data import Cohort, cohort_from_table
from fedbench.errors import SpecError, Unsupported
from fedbench.partitioners.natural import Natural

RNG = np.random.default_rng(0)


def test_everyone_stays_at_the_hospital_of_the_records(opt: Cohort) -> None:
    partition = Natural().deal(opt, RNG)
    sizes = {site: len(patients) for site, patients in partition.patients.items()}
    assert sizes == {"KY": 211, "MN": 247, "MS": 192, "NY": 173}
    assert opt.sites is not None
    assert list(partition.site_of(opt.patients)) == list(opt.sites)


def test_records_without_hospitals_are_skipped_with_a_reason(matched: Cohort, opt: Cohort) -> None:
    with pytest.raises(Unsupported, match="records of 'nafld' do not say where patients live"):
        Natural().deal(matched, RNG)
    with pytest.raises(Unsupported, match="do not say where"):
        Natural().deal(cohort_from_table(opt.schema, opt.table), RNG)


def test_small_hospitals_are_named(opt: Cohort) -> None:
    with pytest.raises(SpecError, match=r"fewer than 200 patients: MS \(192\), NY \(173\)"):
        replace(Natural(), minimum=200).deal(opt, RNG)
