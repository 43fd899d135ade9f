"""How much usefulness each promise of privacy cost, beside the same training without one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import pandas as pd
from scipy import special

from fedbench.nouns import plural
from fedbench.report.words import NONE, measure, number
from fedbench.report.world import World

__all__ = ["frontier"]

Json = dict[str, Any]

_HOW = (
    "How much of the value without a promise is lost, in percent: the mean over seeds of pairs "
    "with equal patients and equal start, with Student's t over seeds."
)


def frontier(suite: Json, stories: Sequence[World], table: pd.DataFrame) -> list[Json]:
    """Return one table per dataset and way of working together that was run with and without.

    Args:
        suite: the run's resolved suite.
        stories: its datasets and scenarios.
        table: its results.
    """
    ways: dict[str, list[Json]] = {}
    for scenario in suite["tables"].get("scenarios", []):
        rest = {k: v for k, v in scenario.items() if k not in ("name", "privacy")}
        ways.setdefault(json.dumps(rest, sort_keys=True), []).append(scenario)
    found: list[Json] = []
    for alike in ways.values():
        open_ones = [s["name"] for s in alike if not _promise(s)]
        promising = [s for s in alike if _promise(s)]
        for world in stories:
            if world.scenario in open_ones and world.utility[0]:
                found += _tables(world, promising, table)
    return found


def _tables(world: World, promising: Sequence[Json], table: pd.DataFrame) -> Iterator[Json]:
    name, task = world.utility
    mine = table[(table["dataset"] == world.dataset) & (table["name"] == name)]
    mine = mine[(mine["task"] == task) & (mine["status"] == "done")]
    heads = [s for s in promising if (mine["scenario"] == s["name"]).any()]
    if not heads or (mine["better"] != "higher").any():
        return
    rows = []
    for label in world.labels:
        for regime in world.regimes:
            shown = world.pooled(label, regime, name, task)
            if shown is None or not shown.done:
                continue
            same = mine[(mine["label"] == label) & (mine["regime"] == regime)]
            for place in ("site", "model", "level", "target"):
                same = same[same[place].fillna("") == shown[place]]
            before = _by_seed(same, world.scenario)
            cells = [_lost(before, _by_seed(same, head["name"])) for head in heads]
            rows.append(
                {
                    "generator": label,
                    "regime": regime,
                    "without": number(fmean(before.values())),
                    "cells": cells,
                }
            )
    if rows:
        yield {
            "dataset": world.dataset,
            "scenario": world.scenario,
            "title": f"What privacy costs: {measure(name)}, {world.dataset}",
            "text": _HOW,
            "heads": [_head(head) for head in heads],
            "rows": rows,
        }


def _by_seed(rows: pd.DataFrame, scenario: str) -> dict[int, float]:
    mine = rows[rows["scenario"] == scenario]
    return {int(s): float(v) for s, v in zip(mine["seed"], mine["value"], strict=True)}


def _lost(before: Mapping[int, float], after: Mapping[int, float]) -> Json:
    """Return the share that was lost, in percent, with its interval over seeds."""
    shares = [100 * (1 - after[seed] / before[seed]) for seed in before if seed in after]
    if not shares:
        return {"status": "absent", "shown": NONE, "range": "", "note": ""}
    mean, low, high = fmean(shares), None, None
    if len(shares) > 1:
        reach = float(special.stdtrit(len(shares) - 1, 0.975))
        half = reach * stdev(shares) / math.sqrt(len(shares))
        low, high = mean - half, mean + half
    return {
        "status": "done",
        "shown": f"{number(mean, 1)} %",
        "range": "" if low is None else f"{number(low, 1)} to {number(high, 1)}",
        "note": "" if len(shares) == len(before) else plural(len(shares), "seed"),
        "value": mean,
        "low": low,
        "high": high,
    }


def _promise(scenario: Json) -> Json:
    found = scenario.get("privacy", "none")
    return {} if found in ("none", {"name": "none"}) else found


def _head(scenario: Json) -> str:
    promise = _promise(scenario)
    whose = " of every hospital" if promise["name"] == "hospital" else ""
    summed = ", noise in the sum" if promise.get("noise") == "distributed" else ""
    return f"epsilon {promise['epsilon']:g}{whose}{summed}"
