"""Canaries, and what trainings say about them.

At full size: ``python -m fedbench.testing.audits``; ``PLANTED=10000`` repeats the small ones
40 times.
"""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest

from fedbench import stats
from fedbench.attacks._among import among
from fedbench.attacks.canary import Canary
from fedbench.data import Cohort, Column, Schema
from fedbench.errors import Unsupported
from fedbench.games import Claim
from fedbench.planting import sown
from fedbench.seeds import Seeds
from fedbench.testing import made_up
from fedbench.testing.audits import Trial, told

FULL = int(os.environ.get("PLANTED", "300")) >= 10_000
CLAIM = Claim(1.0, 1e-5)


def test_canaries_are_rare_but_possible() -> None:
    like = made_up(200, 0)
    found = Canary(canaries=300).plant(like, Seeds(0).rng())
    assert len(found) == 300
    assert not found.table.duplicated().any()
    again = Cohort.of_tables(found.schema, found.static, found.visits, found.codes, found.outcome)
    assert again.fingerprint == found.fingerprint
    real = set(map(tuple, like.table.astype(str).to_numpy()))
    assert len(real & set(map(tuple, found.table.astype(str).to_numpy()))) < 10
    # Half of them are patients in most of their columns.
    alike = (found.table["age"].to_numpy()[:, None] == like.table["age"].to_numpy()).any(axis=1)
    assert alike[150:].mean() > 0.9


def test_without_patients_all_are_combinations() -> None:
    nobody = made_up(20, 0).take(np.array([], dtype=object))
    assert len(Canary(canaries=50).plant(nobody, Seeds(0).rng())) == 50


def test_more_canaries_than_combinations_are_told() -> None:
    few = Schema(
        name="few", clock="none", static={"sex": Column(kind="category", levels=("f", "m"))}
    )
    one = pd.DataFrame({"patient": ["p"], "sex": ["f"]})
    nobody = Cohort.of_tables(few, one).take(np.array([], dtype=object))
    with pytest.raises(Unsupported, match="Ask for fewer"):
        Canary(canaries=20).plant(nobody, Seeds(0).rng())


def test_each_is_at_one_hospital_and_in_by_its_own_coin() -> None:
    found = sown(Canary(canaries=400), made_up(100, 0), ("a", "b", "c"), Seeds(0))
    sides = [*found.there.values(), *found.left.values()]
    names = np.concatenate([side.patients for side in sides])
    assert len(set(names)) == len(names) == 400
    inside = sum(map(len, found.there.values()))
    assert 160 < inside < 240
    assert inside != 200
    spread = [len(found.there[site]) + len(found.left[site]) for site in "abc"]
    assert max(spread) - min(spread) <= 1


def test_candidates_are_told_though_others_cross_with_them() -> None:
    rng = np.random.default_rng(0)
    known = rng.normal(size=(400, 60)) * np.linspace(3, 0.1, 60)
    each = rng.normal(size=(40, 60)) * 2
    there = rng.random(40) < 0.5
    rest = rng.normal(size=(50, 60)) * np.linspace(3, 0.1, 60)
    patients = 50 + there.sum()
    total = rest.sum(axis=0) + each[there].sum(axis=0) + rng.normal(size=60)
    seen = (total / patients).astype(np.float32)
    scores = among(seen, known.astype(np.float32), each.astype(np.float32), float(patients))
    assert stats.auc(scores, there) > 0.9
    assert scores[there].mean() > 1 > -1 > scores[~there].mean()  # a likelihood ratio, around 0


@pytest.mark.parametrize("seed", range(40 if FULL else 3))
def test_a_tenth_of_the_noise_is_found_out(seed: int) -> None:
    found = Trial(CLAIM, noise=0.1).audited(seed)
    assert found.contradicts(1.0)
    assert found.p_value(1.0) < 0.05


def test_all_of_the_noise_is_hardly_ever_accused() -> None:
    quick = Trial(CLAIM, canaries=200, patients=50, reference=200, sites=2)
    found = told(quick, 40 if FULL else 12)
    assert found.accused <= (6 if FULL else 2)
    assert all(one.ceiling > 3 for one in found.found)
