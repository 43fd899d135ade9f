"""The lower end of a scale: what single columns alone reach, whatever one draw of them does.

Of a small release one draw differs from the next: a model of records without any structure
foresees something or its opposite by luck. So several are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from statistics import stdev
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from fedbench.data import Cohort, cohort_from_table
from fedbench.metric import Measure, Metric, View
from fedbench.report.numbers import across_seeds
from fedbench.scoring import Answer, Aside, answers
from fedbench.seeds import Rng, Seeds
from fedbench.tabular import numbered
from fedbench.world import World

__all__ = ["DRAWS", "FLOOR", "Redraws", "drawn"]

FLOOR = "independent"
"""Records that know single columns only."""

DRAWS = 5
"""How often it is drawn."""

_STAYING = ("better",)
"""What a number says of itself in any draw."""

_FEW = 8
"""Replicates of the draws after the first, of which the value is used and nothing else."""


def drawn(world: World, rng: Rng) -> Cohort:
    """Return as many records as are scored: training values, every column dealt on its own.

    What only means something beside another column stays with it: the time of an outcome goes
    with its event, and who has no visit has nothing measured there.
    """
    table, everybody = world.train.table, np.arange(len(world.train))
    dealt = {f.name: rng.permutation(everybody)[: world.m] for f in world.schema.features}
    for feature in world.schema.features:
        if feature.given:
            dealt[feature.name] = dealt[feature.given]
        elif feature.needs:
            there = table[feature.needs].notna().to_numpy()
            visited = there[dealt[feature.needs]]
            dealt[feature.name] = dealt[feature.needs].copy()
            dealt[feature.name][visited] = rng.permutation(everybody[there])[: visited.sum()]
    names = pd.Index(numbered("s", world.m), name="patient")
    columns = {name: table[name].take(rows).set_axis(names) for name, rows in dealt.items()}
    return cohort_from_table(world.schema, pd.DataFrame(columns))


class Redraws:
    """Further draws, and what metrics say of them."""

    def __init__(self, world: World) -> None:
        self._world, self._quick = world, replace(world, replicates=_FEW, _views={})
        self._seeds = world.seeds.child("control", FLOOR)
        streams = (self._seeds.child("again", draw).rng() for draw in range(1, DRAWS))
        self._records = [drawn(world, rng) for rng in streams]

    @cached_property
    def _quick_views(self) -> Sequence[View]:
        return [self._quick.synthetic(cohort) for cohort in self._records]

    @cached_property
    def _views(self) -> Sequence[View]:
        return [self._world.synthetic(cohort) for cohort in self._records]

    def steadied(self, name: str, metric: Metric, first: Iterable[Answer]) -> Sequence[Answer]:
        """Return means over all draws, if the metric's scale ends at this floor.

        Intervals add, in squares, that of the first draw and the spread between draws, as those
        over seeds do. What was said of the first draw alone, such as by tests, is left out.
        """
        if metric.anchors.floor != FLOOR:
            return list(first)
        quick = not metric.needs_replicates
        world, views = (self._quick, self._quick_views) if quick else (self._world, self._views)
        aside = Aside(beside=world.beside({}))
        found = [answers(world, name, metric, {"": view}, aside) for view in views]
        values = [{_key(answer): _value(answer) for answer in each} for each in found]
        return [
            _mean(answer, [each.get(_key(answer), math.nan) for each in values], self._seeds)
            for answer in first
        ]


def _key(answer: Answer) -> tuple[Any, ...]:
    return (answer.question, answer.found.part, answer.found.key)


def _value(answer: Answer) -> float:
    return answer.found.value if isinstance(answer.found, Measure) else math.nan


def _mean(answer: Answer, again: Sequence[float], seeds: Seeds) -> Answer:
    """Return the mean of a number and its redraws; what has none stays what it is."""
    one = answer.found
    values = [value for value in again if math.isfinite(value)]
    if not isinstance(one, Measure) or not values or not math.isfinite(one.value):
        return answer
    unknown = [math.nan] * len(values)
    limits = across_seeds([one.value, *values], [one.low, *unknown], [one.high, *unknown])
    mean, low, high = (math.nan if limit is None else limit for limit in limits)
    replicates = one.replicates
    if replicates is not None:
        rng = seeds.child(answer.name, *map(str, _key(answer))).rng()
        replicates = replicates - one.value + mean + _spread([one.value, *values], replicates, rng)
    found = replace(
        one,
        value=mean,
        low=max(low, min(one.least, mean)),
        high=min(high, max(one.most, mean)),
        replicates=replicates,
        facts={name: one.facts[name] for name in _STAYING if name in one.facts},
    )
    return replace(answer, found=found)


def _spread(values: Sequence[float], replicates: Any, rng: Rng) -> Any:
    """Return how far the mean of so few draws may lie off, by Student's t, in random order."""
    places = (rng.permutation(len(replicates)) + 0.5) / len(replicates)
    t = special.stdtrit(len(values) - 1, places)
    return t * stdev(values) / math.sqrt(len(values))
