"""Attacks that read a secret off the release by looking and counting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fedbench.attack import Attack, Knowledge, PublicChallenge
from fedbench.attacks.conditional import Conditional
from fedbench.attacks.lookalike import Lookalike
from fedbench.data import Cohort
from fedbench.games import show

People = Callable[..., Cohort]
ATTACKS = (Lookalike(), Conditional())


def guess(attack: Attack, released: Cohort, asked: Cohort) -> np.ndarray:
    targets = asked.table.drop(columns="hiv").reset_index(drop=True)
    sites = np.full(len(asked), "a", dtype=object)
    challenge = PublicChallenge("attribute", targets, sites, "hiv")
    sight = show(attack, asked.schema, {Knowledge.SYNTHETIC: released})
    return attack.guess(sight, challenge, np.random.default_rng(0)).scores


def right(attack: Attack, released: Cohort, asked: Cohort) -> float:
    known = asked.table["hiv"].notna().to_numpy()
    answers = asked.table["hiv"].cat.codes.to_numpy()
    return float((guess(attack, released, asked).argmax(axis=1) == answers)[known].mean())


@pytest.mark.parametrize("attack", ATTACKS)
def test_they_answer_with_probabilities(attack: Attack, people: People) -> None:
    scores = guess(attack, people(200, 0), people(30, 1))
    assert scores.shape == (30, 2)
    assert (scores > 0).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1)


def test_the_closest_record_is_the_copied_one(people: People) -> None:
    released, others = people(300, 0), people(300, 1)
    assert right(Lookalike(), released, released) > 0.99
    assert 0.5 < right(Lookalike(), released, others) < 0.9


def test_counting_many_tells_what_is_usual_and_counting_few_what_was_copied(
    people: People,
) -> None:
    released, others = people(2000, 0), people(500, 1)
    commonest = others.table["hiv"].dropna().value_counts(normalize=True).iloc[0]
    assert right(Conditional(least=50), released, others) > commonest - 0.01
    few = Conditional(least=1)
    assert right(few, released, released) > right(few, released, others) + 0.1


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_order_of_the_release_says_nothing(attack: Attack, people: People) -> None:
    released, others = people(200, 0), people(40, 1)
    mixed = released.take(released.patients[np.random.default_rng(0).permutation(200)])
    one, other = (guess(attack, each, others) for each in (released, mixed))
    np.testing.assert_allclose(one, other)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_release_without_the_secret_is_no_help(attack: Attack, people: People) -> None:
    released = people(200, 0)
    unknown = released.take(released.patients[released.table["hiv"].isna().to_numpy()])
    assert (guess(attack, unknown, people(20, 1)) == 0.5).all()
