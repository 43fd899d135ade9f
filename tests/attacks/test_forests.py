from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from fedbench.attack import Attack, Knowledge, PublicChallenge
from fedbench.attacks.classifier import Classifier
from fedbench.attacks.surprise import Surprise
from fedbench.data import Cohort
from fedbench.errors import Unsupported
from fedbench.games import show

People = Callable[..., Cohort]

FORESTS = [Classifier(trees=5), Surprise(trees=3)]


def scores(
    attack: Attack, released: Cohort, reference: Cohort, targets: pd.DataFrame
) -> np.ndarray:
    held = {Knowledge.SYNTHETIC: released, Knowledge.REFERENCE: reference}
    sight = show(attack, released.schema, held)
    challenge = PublicChallenge("membership", targets, np.full(len(targets), "a", dtype=object))
    found: np.ndarray = attack.guess(sight, challenge, np.random.default_rng(0)).scores
    return found


@pytest.mark.parametrize("attack", FORESTS, ids=lambda a: type(a).__name__)
def test_nobody_to_compare_with_is_said(attack: Attack, people: People) -> None:
    members = people(20, 0)
    nobody = members.take(np.array([], dtype=object))
    with pytest.raises(Unsupported, match="no reference patients"):
        scores(attack, members, nobody, members.table)


@pytest.mark.parametrize("attack", FORESTS, ids=lambda a: type(a).__name__)
def test_an_empty_release_tells_nothing(attack: Attack, people: People) -> None:
    members = people(20, 0)
    nobody = members.take(np.array([], dtype=object))
    assert (scores(attack, nobody, people(20, 1), members.table) == 0).all()


@pytest.mark.parametrize("attack", FORESTS, ids=lambda a: type(a).__name__)
def test_columns_that_are_empty_or_constant_are_no_obstacle(attack: Attack, people: People) -> None:
    def odd(n: int, seed: int) -> Cohort:
        static = people(n, seed).static.assign(lab0=np.nan, lab1=1.0, ward="a", hiv=None)
        return Cohort.of_tables(people(1, 0).schema, static)

    found = scores(attack, odd(30, 0), odd(30, 1), odd(30, 2).table)
    assert np.isfinite(found).all()


def test_the_most_uncertain_columns_are_foretold_and_no_constant_one() -> None:
    columns = [np.zeros(9, int), np.arange(9), np.arange(9) % 2]
    assert Surprise(columns=2)._uncertain(columns).tolist() == [1, 2]  # noqa: SLF001
    assert Surprise(columns=9)._uncertain(columns).tolist() == [1, 2]  # noqa: SLF001


def test_a_value_that_neither_has_seen_costs_both_the_same(people: People) -> None:
    released = people(40, 0)
    static = released.static.assign(ward="a")
    same = Cohort.of_tables(released.schema, static)
    asked = same.table.assign(ward="c").astype(same.table.dtypes)
    found = scores(Surprise(trees=3), same, same, asked)
    assert np.isfinite(found).all()
