"""Singling out: exactly one, hardly by luck, and as often among equally many others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from fedbench import games
from fedbench.attack import Attack, Game, Guess, Knowledge, PublicChallenge, Sight
from fedbench.attacks.singling import Singling
from fedbench.data import Cohort, Column, Schema, cohort_from_table
from fedbench.errors import ContractError
from fedbench.games.singling import play_singling, singling_challenges
from fedbench.metric import Measure, Refusal
from fedbench.predicates import Conditions, Predicates
from fedbench.seeds import Rng, Seeds

SCHEMA = Schema(
    name="points",
    clock="",
    static={
        **{name: Column(kind="number", low=0, high=1) for name in "abcd"},
        "kind": Column(kind="category", levels=("u", "v", "w")),
    },
)


def people(n: int, seed: int, prefix: str = "p") -> Cohort:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {**{name: rng.random(n) for name in "abcd"}, "kind": rng.choice(["u", "v", "w"], n)},
        index=pd.Index([f"{prefix}{i}" for i in range(n)], name="patient"),
    )
    table.loc[rng.random(n) < 0.2, "a"] = np.nan
    return cohort_from_table(SCHEMA, table)


def dealt(members: Cohort, others: Cohort) -> games.Challenge:
    rng = np.random.default_rng(0)
    return singling_challenges(SCHEMA, {"": members}, {"": others}, rng)[0]


def seen(attack: Attack, release: Cohort, reference: Cohort) -> Sight:
    held = {Knowledge.SYNTHETIC: release, Knowledge.REFERENCE: reference}
    return games.show(attack, SCHEMA, held)


def rows(attack: Attack, release: Cohort, challenge: games.Challenge) -> dict[str, object]:
    sight = seen(attack, release, people(200, 9, "r"))
    found = play_singling(attack, sight, challenge, Seeds(0))[1]
    return {scored.measure.part: scored.measure for scored in found}


@dataclass(frozen=True, kw_only=True)
class Says(Attack):
    """Answers what it is told to."""

    game: ClassVar[Game] = "singling-out"
    knows: ClassVar[frozenset[Knowledge]] = frozenset()
    version: ClassVar[int] = 1

    answer: Guess

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        return self.answer


def below(limits: list[float], weight: float = 0.0) -> Predicates:
    """One predicate for each limit: ``b`` is below it."""
    n = len(limits)
    columns = np.array(["b"] * n, dtype=object)
    conditions = Conditions(columns, np.zeros(n), np.array(limits))
    return Predicates(conditions=conditions, uses=np.arange(n)[:, None], weight=np.full(n, weight))


def test_bits_say_what_the_table_says() -> None:
    table = people(101, 0).table
    conditions = Conditions(
        np.array(["a", "a", "kind", "kind"], dtype=object),
        np.array([0.2, np.nan, 1, np.nan]),
        np.array([0.7, np.nan, 2, np.nan]),
    )
    uses = np.array([[0, 2], [1, 2], [3, 3], [0, 0]])
    found = Predicates(conditions=conditions, uses=uses, weight=np.zeros(4))
    a, is_v = table["a"], table["kind"] == "v"
    inside = (a >= 0.2) & (a < 0.7)
    truth = [inside & is_v, a.isna() & is_v, table["kind"].isna(), inside]
    assert found.counts(SCHEMA, table).tolist() == [each.sum() for each in truth]
    first = [int(each.argmax()) if each.any() else -1 for each in truth]
    assert found.first(SCHEMA, table).tolist() == first
    assert not found.counts(SCHEMA, table[:0]).any()


@pytest.mark.parametrize(
    ("n", "others", "seed"), [(30, 25, 0), (25, 25, 1), (25, 40, 2), (40, 22, 3)]
)
def test_the_control_is_the_mean_over_equally_many_others(n: int, others: int, seed: int) -> None:
    challenge = dealt(people(n, seed), people(others, seed + 1, "q"))
    limits = list(np.linspace(0.01, 0.3, 20))
    found = play_singling(Says(answer=below(limits)), seen(Says(answer=below(limits)),
        people(1, 0), people(1, 1)), challenge, Seeds(0))[0].scores  # fmt: skip
    values = challenge.records["b"].to_numpy()[challenge.truth]
    size, rng = min(n, others), np.random.default_rng(seed)
    if size == n:
        assert found.tolist() == [float((values < limit).sum() == 1) for limit in limits]
    else:
        drawn = np.array([rng.permutation(values)[:size] for _ in range(2000)])
        often = ((drawn[:, :, None] < limits).sum(axis=1) == 1).mean(axis=0)
        assert np.abs(often - found).max() < 0.06


def test_a_copy_singles_out_and_strangers_do_not() -> None:
    members, others = people(300, 0), people(400, 1, "q")
    challenge = dealt(members, others)
    copied, strange = (
        rows(Singling(), release, challenge) for release in (members, people(300, 2, "s"))
    )
    assert isinstance(copied["singled"], Measure)
    assert copied["singled"].value >= 0.95
    assert isinstance(copied["advantage"], Measure)
    assert copied["advantage"].low > 0.9
    assert isinstance(strange["advantage"], Measure)
    assert strange["advantage"].low <= 0 <= strange["advantage"].high


def test_a_predicate_that_fits_somebody_by_luck_counts_for_nothing() -> None:
    challenge = dealt(people(50, 0), people(50, 1, "q"))
    limits = list(np.linspace(0.01, 0.05, 30))
    lucky = rows(Says(answer=below(limits)), people(1, 0), challenge)
    assert isinstance(lucky["singled"], Measure)
    assert lucky["singled"].value > 0
    common = rows(Says(answer=below(limits, weight=1 / 500)), people(1, 0), challenge)
    assert isinstance(common["singled"], Measure)
    assert common["singled"].value == 0


def test_few_patients_or_predicates_are_refused() -> None:
    few = rows(Singling(), people(30, 2, "s"), dealt(people(30, 0), people(5, 1, "q")))
    assert isinstance(few["advantage"], Refusal)
    assert "equally many others" in few["advantage"].reason
    none = Says(answer=below([0.5] * 3))
    little = rows(none, people(30, 2, "s"), dealt(people(50, 0), people(50, 1, "q")))
    assert isinstance(little["advantage"], Refusal)
    assert "found 3 predicates" in little["advantage"].reason


def test_nobody_is_shown() -> None:
    public = dealt(people(30, 0), people(25, 1, "q")).public
    assert len(public.targets) == 0
    assert public.size == 25


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Guess(np.zeros(3)), "must give Predicates; found Guess"),
        (replace(below([0.5] * 30), uses=np.full((30, 1), 30)), "conditions by number"),
        (replace(below([0.5] * 30), weight=np.zeros(3)), "with one weight each"),
        (
            replace(
                below([0.5]),
                conditions=Conditions(np.array(["z"], dtype=object), np.zeros(1), np.ones(1)),
            ),
            "about columns of the schema; found 'z'",
        ),
    ],
)
def test_other_answers_break_the_promise(answer: Guess, problem: str) -> None:
    challenge = dealt(people(50, 0), people(50, 1, "q"))
    with pytest.raises(ContractError, match=problem):
        rows(Says(answer=answer), people(1, 0), challenge)
