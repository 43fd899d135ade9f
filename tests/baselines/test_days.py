"""Days until the next visit are drawn where follow-up goes on, and learned there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from fedbench.baselines._visits import Plan
from fedbench.data import Cohort, Window
from fedbench.encoding import Encoder, summarize

LEFT = [0.0, 1.4, 30.0, 200.0, 5000.0]


@pytest.fixture(scope="module")
def plan(planted: Callable[[int], Cohort]) -> Plan:
    cohort = planted(20)
    return Plan(Encoder(cohort.schema, summarize(cohort)), 4)


def test_no_visit_is_drawn_after_the_end_of_follow_up(plan: Plan) -> None:
    left = np.repeat(LEFT, 200)
    logits = np.zeros((len(left), len(plan.gaps) + 1))
    choice, gap = plan.timed(logits, left, np.random.default_rng(0), first=False)
    assert (gap[choice > 0] <= left[choice > 0]).all()
    assert (choice[left == 0] <= 1).all()  # the same day, or none
    assert gap[left == 5000].max() > 2000


def test_what_is_too_late_gets_no_probability_in_training_either(plan: Plan) -> None:
    n = len(LEFT)
    clock = plan.clock(np.full(n, 100.0), np.full(n, 30.0), np.full(n, 2), np.array(LEFT) + 100.0)
    logits = plan.opened(torch.zeros(n, len(plan.gaps) + 1), torch.as_tensor(clock))
    chance = torch.softmax(logits, dim=-1).numpy()
    for mine, left in zip(chance, LEFT, strict=True):
        assert mine[0] > 0
        assert (mine[1:][plan.gaps > left + 1] == 0).all()
        assert (mine[1:][plan.gaps <= left] > 0).all()


def test_bins_are_narrow_enough_to_tell_gaps_apart(plan: Plan) -> None:
    days = np.random.default_rng(0).integers(61, 2000, 20_000).astype(float)
    choice = np.searchsorted(plan.gaps, days, side="right")
    again = plan.gap(choice, np.random.default_rng(1), first=False)
    assert np.abs(again - days).max() <= 0.1 * days.max()
    assert np.median(np.abs(again - days) / days) < 0.03


def test_the_clock_tells_the_last_hour_of_a_stay_from_the_one_before(
    planted: Callable[[int], Cohort],
) -> None:
    cohort = planted(20)
    stays = replace(cohort.schema, windows=(Window(name="all", start=-1, end=2),))
    plan = Plan(Encoder(stays, summarize(cohort)), 4, closing=True)
    day, followed = np.array([1.0, 47 / 24, 2.0]), np.full(3, 365.0)
    clock = plan.clock(day, np.full(3, 1 / 24), np.full(3, 5), followed)
    assert np.abs(clock[2] - clock[1]).max() > 0.5
    assert np.abs(clock[1] - clock[0]).max() > 0.1
