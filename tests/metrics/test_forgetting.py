"""A generator that unlearns the first hospitals is found, and one that keeps them is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedbench.data import Cohort
from fedbench.federation.strategies.turns import Turns
from fedbench.metric import Evidence, Hospital, Measure, Refusal, View
from fedbench.metrics.forgetting import Forgetting
from fedbench.stats import poisson_weights

TASK = "three-year death"

Draw = Callable[[int, int], Cohort]
Judge = Callable[..., Evidence]


def only(cohort: Cohort) -> Cohort:
    return replace(cohort, schema=replace(cohort.schema, tasks={TASK: cohort.schema.tasks[TASK]}))


def other(cohort: Cohort) -> Cohort:
    """Patients of a hospital where all are young, and outcomes are anybody's."""
    static = cohort.static.assign(age=30.0, sex="male")
    ends = cohort.outcome.iloc[np.random.default_rng(1).permutation(len(cohort))]
    ends = ends.reset_index(drop=True).assign(patient=cohort.outcome["patient"])
    return replace(cohort, static=static, outcome=ends)


def asked(judge: Judge, draw: Draw, now: Cohort, before: Cohort | None, seed: int = 0) -> Evidence:
    """Two hospitals that agree, and a last one."""
    known = {s: only(draw(250, 100 * seed + i)) for i, s in enumerate("abz", start=1)}
    test = Cohort.union(list(known.values()))
    base = judge(test, now, only(draw(500, 77)), seed=seed)
    places = {site: np.isin(test.patients, cohort.patients) for site, cohort in known.items()}
    hospitals = {site: Hospital(base.test.at(mine), 250) for site, mine in places.items()}
    if before is None:
        return replace(base, beside=hospitals)
    weights = poisson_weights(np.random.default_rng(seed + 500), len(before), 100)
    return replace(base, beside=hospitals, before=View(before, weights))


def found(evidence: Evidence) -> dict[str, Measure]:
    answers = Forgetting().measure(evidence, np.random.default_rng(0))
    return {a.part + a.key.column: a for a in answers if isinstance(a, Measure)}


def test_what_is_forgotten_is_found(draw: Draw, judge: Judge) -> None:
    good, bad = only(draw(400, 50)), other(only(draw(400, 51)))
    lost = found(asked(judge, draw, bad, good))
    assert sorted(lost) == ["", "a", "auroc", "b"], "the last hospital does not count"
    for number in lost.values():
        assert number.low > 0
    learned = found(asked(judge, draw, good, bad))
    for name, number in learned.items():
        assert number.high < 0
        assert number.value == pytest.approx(-lost[name].value)


def test_other_draws_of_one_law_forget_nothing(draw: Draw, judge: Judge) -> None:
    held = []
    for seed in range(20):
        now, before = (only(draw(300, 10_000 + 2 * seed + part)) for part in range(2))
        one = found(asked(judge, draw, now, before, seed))[""]
        held.append(one.low <= 0 <= one.high)
    assert np.mean(held) >= 0.8, "fewer than 16 of 20 would be by chance once in 400"


def test_where_all_are_there_from_the_start_it_is_not_asked(draw: Draw, judge: Judge) -> None:
    (refusal,) = Forgetting().measure(
        asked(judge, draw, only(draw(50, 1)), None), np.random.default_rng(0)
    )
    assert isinstance(refusal, Refusal)
    assert refusal.status == "not applicable"


@pytest.mark.parametrize(
    ("turns", "rounds", "wanted"),
    [
        (Turns(each=5), 20, 15),
        (Turns(each=5), 16, 15),
        (Turns(each=5), 15, None),
        (Turns(each=5), 21, None),
        (Turns(each=5, stay=True), 40, 15),
    ],
)
def test_when_the_last_of_four_joins(turns: Turns, rounds: int, wanted: int | None) -> None:
    assert turns.last_joins(4, rounds) == wanted
