"""What cannot be is counted against what real records say by mistake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedbench.data import Cohort, Rule
from fedbench.metric import Evidence, Measure, Refusal
from fedbench.metrics.rules import Rules
from fedbench.stats import newcombe

RNG = np.random.default_rng(0)
ELDERLY = Rule(label="nobody is above 70", holds="age <= 70", source="made up")
MEN = Rule(label="men are no women", holds="sex = male", when="sex = male", source="made up")
DATED = Rule(label="nothing after the end", holds="day <= time", when="event = 1", source="made up")

Draw = Callable[[int, int], Cohort]
Judge = Callable[..., Evidence]


def ruled(cohort: Cohort, *rules: Rule) -> Cohort:
    return replace(cohort, schema=replace(cohort.schema, rules=rules))


def found(evidence: Evidence) -> dict[str, Measure]:
    answers = Rules().measure(evidence, RNG)
    return {m.key.column: m for m in answers if isinstance(m, Measure)}


def test_the_rate_is_counted_against_the_real_one(draw: Draw, judge: Judge) -> None:
    test, fake = (ruled(draw(n, n), ELDERLY, DATED) for n in (300, 200))
    ours = found(judge(test, fake))
    counts = [(int((c.static["age"] > 70).sum()), len(c)) for c in (fake, test)]
    limits = newcombe(*counts[0], *counts[1])
    assert ours[ELDERLY.label].value == pytest.approx(limits.value)
    assert ours[ELDERLY.label].low <= limits.low
    late = []
    for cohort in (fake, test):
        dead = cohort.outcome[cohort.outcome["event"] == 1]
        seen = cohort.visits.merge(dead, on="patient")
        broken = seen.loc[seen["day"] > seen["time"], "patient"].nunique()
        late.append(broken / seen["patient"].nunique())
    assert ours[DATED.label].value == pytest.approx(late[0] - late[1])
    assert ours[""].value == pytest.approx(np.mean([ours[r.label].value for r in (ELDERLY, DATED)]))


def test_what_nobody_breaks_may_yet_happen(draw: Draw, judge: Judge) -> None:
    test, fake = (ruled(draw(n, n), MEN) for n in (300, 200))
    ours = found(judge(test, fake))
    assert ours[""].value == ours[MEN.label].value == 0
    assert ours[""].low < 0 < ours[""].high < 0.05


def test_impossible_values_are_found(
    draw: Draw, judge: Judge, changed: Callable[..., Cohort]
) -> None:
    test, fake = ruled(draw(300, 0), ELDERLY), ruled(draw(300, 1), ELDERLY)
    older = changed(fake, age=np.where(np.arange(300) % 3 == 0, 90.0, fake.static["age"]))
    before, after = (found(judge(test, each))[ELDERLY.label] for each in (fake, older))
    assert after.low > before.high - 0.05
    assert after.value - before.value == pytest.approx(
        (older.static["age"] > 70).mean() - (fake.static["age"] > 70).mean()
    )


def test_what_cannot_be_asked_has_a_reason(draw: Draw, judge: Judge) -> None:
    plain = draw(50, 0)
    (answer,) = Rules().measure(judge(plain, plain), RNG)
    assert isinstance(answer, Refusal)
    assert answer.status == "not applicable"
    women = ruled(plain, MEN)
    women = replace(women, static=women.static.assign(sex="female"))
    (answer,) = Rules().measure(judge(women, women), RNG)
    assert isinstance(answer, Refusal)
    assert answer.reason == "0 real test patients could have broken it; this needs at least 10"
    both = ruled(women, MEN, ELDERLY)
    assert found(judge(both, both))[""].facts == {
        "covered": 1,
        "of": 2,
        "over": "over 1 of 2 rules",
    }


@pytest.mark.parametrize("side", ["real test", "synthetic"])
def test_a_rule_about_fewer_than_ten_patients_is_refused(
    side: str, draw: Draw, judge: Judge
) -> None:
    test, fake = (ruled(draw(60, n), MEN, ELDERLY) for n in range(2))
    men = np.where(np.arange(60) < 9, "male", "female")
    few = [
        replace(each, static=each.static.assign(sex=men)) if name == side else each
        for name, each in (("real test", test), ("synthetic", fake))
    ]
    answers = Rules().measure(judge(*few), RNG)
    (refusal,) = (answer for answer in answers if isinstance(answer, Refusal))
    assert refusal.key.column == MEN.label
    assert refusal.reason == f"9 {side} patients could have broken it; this needs at least 10"
    ours = found(judge(*few))
    mean, rule = ours[""], ours[ELDERLY.label]
    assert (mean.value, mean.low, mean.high) == (rule.value, rule.low, rule.high)


def test_intervals_cover(draw: Draw, judge: Judge) -> None:
    measures = []
    for seed in range(60):
        test, fake = (ruled(draw(100, s), ELDERLY, DATED) for s in (seed, 1000 + seed))
        measures.append(found(judge(test, fake, seed=seed)))
    for name in ("", ELDERLY.label, DATED.label):
        share = np.mean([m[name].low <= 0 <= m[name].high for m in measures])
        # 60 draws, three standard errors below .95.
        assert share > 0.86, (name, share)
