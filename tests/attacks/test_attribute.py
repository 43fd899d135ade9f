from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedbench.attack import Knowledge, PublicChallenge
from fedbench.attacks.attribute import Attribute
from fedbench.data import Cohort
from fedbench.games import show

People = Callable[..., Cohort]


def guess(attack: Attribute, released: Cohort, asked: Cohort) -> np.ndarray:
    targets = asked.table.drop(columns="hiv").reset_index(drop=True)
    sites = np.full(len(asked), "a", dtype=object)
    challenge = PublicChallenge("attribute", targets, sites, "hiv")
    sight = show(attack, asked.schema, {Knowledge.SYNTHETIC: released})
    return attack.guess(sight, challenge, np.random.default_rng(0)).scores


def test_it_answers_with_probabilities(people: People) -> None:
    scores = guess(Attribute(trees=5), people(200, 0), people(30, 1))
    assert scores.shape == (30, 2)
    np.testing.assert_allclose(scores.sum(axis=1), 1)


def test_it_remembers_what_was_copied_and_only_that(people: People) -> None:
    released, others = people(300, 0), people(300, 1)

    def right(cohort: Cohort) -> float:
        known = cohort.table["hiv"].notna().to_numpy()
        answers = cohort.table["hiv"].cat.codes.to_numpy()
        return float((guess(Attribute(), released, cohort).argmax(axis=1) == answers)[known].mean())

    assert right(released) > 0.95
    assert 0.6 < right(others) < 0.9


def test_it_is_reproducible(people: People) -> None:
    released, others = people(200, 0), people(50, 1)
    first, second = (guess(Attribute(trees=10), released, others) for _ in range(2))
    assert (first == second).all()


def test_without_two_answers_to_learn_from_it_says_what_it_saw(people: People) -> None:
    released, others = people(200, 0), people(20, 1)
    negative = released.take(released.patients[(released.table["hiv"] == "no").to_numpy()])
    unknown = released.take(released.patients[released.table["hiv"].isna().to_numpy()])
    assert (guess(Attribute(), negative, others) == [1, 0]).all()
    assert (guess(Attribute(), unknown, others) == 0.5).all()
