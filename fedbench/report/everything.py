"""Every pooled number of generators and controls."""

from __future__ import annotations

from collections.abc import Sequence

from fedbench.report.cells import CONTROLS, Json, anchored, cell
from fedbench.report.words import (
    measure,
)
from fedbench.report.world import World

__all__ = ["everything"]


def everything(world: World) -> list[Json]:
    """Return every pooled number, per generator and control: measures by regimes."""
    asked = [(label, world.regimes) for label in world.labels]
    asked += [(control, ["control"]) for control in CONTROLS]
    tables = [_all_of(world, label, regimes) for label, regimes in asked]
    return [table for table in tables if table["rows"]]


def _all_of(world: World, label: str, regimes: Sequence[str]) -> Json:
    found = [
        n
        for n in world.numbers.where(label=label, regime=tuple(regimes), site="", model="")
        if n["name"]
        and n["target"] not in ("gain", "tax")
        and not n["name"].startswith("communication.")
        if not n["name"].endswith(".check")
    ]
    keys = {tuple(n[k] for k in _KEY) for n in found}
    say = cell if label in CONTROLS else anchored  # a control is an end itself
    cells = {(tuple(n[k] for k in _KEY), n["regime"]): say(n) for n in reversed(found)}
    rows = [
        {
            **dict(zip(_KEY, key, strict=True)),
            "title": measure(key[1], world.kinds.get(key[2], "")),
            "about": _about(world, **dict(zip(_KEY, key, strict=True))),
            "cells": [cells.get((key, regime)) or cell(None) for regime in regimes],
        }
        for key in sorted(keys, key=lambda key: (_FAMILIES.find(key[0]), key))
    ]
    return {"generator": label, "regimes": list(regimes), "rows": rows}


def _about(world: World, target: str, level: str, **about: str) -> str:
    """Say whose patients a number is about, and what it is a mean of."""
    parts = [world.say(about["task"]), world.say(about["column"]), world.say(about["secret"])]
    if about["family"] == "communication":  # of the hospitals, not of patients
        parts += [level]
    elif world.main != "given" or len(world.sites) > 1:
        parts += [_TARGETS.get(target, target), _LEVELS.get(level, level)]
    return ", ".join(part for part in parts if part)


_TARGETS = {
    "pooled": "all hospitals' patients together",
    "specialist": "each hospital's own patients",
    "generalist": "each hospital's model on all hospitals' patients",
}

_LEVELS = {
    "patient-weighted": "mean over hospitals weighted by patients",
    "unweighted": "mean over hospitals, each counting the same",
}

_KEY = ("family", "name", "task", "column", "secret", "target", "level")

_FAMILIES = "fidelity utility privacy fairness communication compute"
