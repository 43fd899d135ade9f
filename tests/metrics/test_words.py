"""Reports call every number by words of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedbench.config import SETS
from fedbench.data import Cohort, Rule
from fedbench.kinds import METRICS
from fedbench.metric import Evidence, Measure
from fedbench.report.words import measure
from fedbench.testing import made_up


@pytest.fixture
def evidence(judge: Callable[..., Evidence]) -> Evidence:
    def ruled(seed: int) -> Cohort:
        cohort = made_up(250, seed)
        rule = Rule(label="nobody is above 70", holds="age <= 70", source="made up")
        return replace(cohort, schema=replace(cohort.schema, rules=(rule,)))

    return judge(ruled(0), ruled(1), ruled(2), b=10)


def test_every_number_has_words_and_no_two_have_the_same(evidence: Evidence) -> None:
    called: dict[str, str] = {}
    for name in SETS["metrics"]["full"]:
        for found in METRICS.build(name).measure(evidence, np.random.default_rng(0)):
            if isinstance(found, Measure):
                each = f"{name}.{found.part}" if found.part else name
                called[each] = measure(each)
    assert {each: words for each, words in called.items() if each == words} == {
        "associations": "associations",
        "detection": "detection",
    }
    assert len(set(called.values())) == len(called)


def test_levels_are_left_to_means_over_hospitals(evidence: Evidence) -> None:
    for name in SETS["metrics"]["full"]:
        found = METRICS.build(name).measure(evidence, np.random.default_rng(0))
        keys = [(f.part, f.key) for f in found]
        assert len(set(keys)) == len(keys), name
        assert not any(key.level or key.group for _, key in keys), name
