"""A number as tables show it, and the head of its column; how they look is decided elsewhere."""

from __future__ import annotations

from typing import Any

from fedbench import direction
from fedbench.report.controls import unsaid
from fedbench.report.numbers import Number
from fedbench.report.words import (
    NONE,
    beside,
    coverage,
    floor_of,
    human_bytes,
    left_out,
    measure,
    number,
    percent,
    seeds,
    short,
    shown,
    unit_of,
)
from fedbench.report.world import FLOOR, World

__all__ = [
    "CONTROLS",
    "Json",
    "amount",
    "anchored",
    "better_of",
    "cell",
    "fewer",
    "head",
    "role_of",
]

Json = dict[str, Any]

CONTROLS = {
    "copy": "real training records: ceiling; must be caught",
    "real": "real records that no generator saw",
    "uniform": "uniform noise: floor of single columns",
}


def cell(found: Number | None) -> Json:
    """Return a number as it is shown: value, range and what to know about it."""
    if found is None:
        return {"status": "absent", "shown": NONE, "range": "", "note": ""}
    if found.value is None:
        note = "; ".join(short(reason) for reason in found.reasons)
        return {"status": found.status, "shown": found.status, "range": "", "note": note}
    value, low, high = shown(found)
    known = None not in (found.low, found.high)
    return {
        "status": "done",
        "shown": value,
        "range": f"{low} to {high}" if known else "",
        "note": "; ".join(
            text
            for text in (
                fewer(found),
                left_out(found),
                beside(found),
                _nothing(found),
            )
            if text
        ),
        "value": found.value,
        "low": found.low,
        "high": found.high,
        **({"over": coverage(found)} if found.over else {}),
    }


def fewer(found: Number) -> str:
    """Say how many seeds have a number, where not all have."""
    return "" if found.seeds == found.asked else seeds(found)


def _nothing(found: Number) -> str:
    why = unsaid(found)
    return f"nothing can be said: {why}" if why else ""


def anchored(found: Number | None) -> Json:
    """Return a cell that names its own floor and ceiling."""
    ends = {} if found is None else {floor_of(found): found.floor, "ceiling": found.ceiling}
    share = found is not None and unit_of(found["name"]) == "share"
    say = percent if share else number
    known = [f"{end} {say(value)}" for end, value in ends.items() if value is not None]
    plain = cell(found)
    return {**plain, "note": "; ".join([*([plain["note"]] if plain["note"] else []), *known])}


def amount(value: float | None, note: str = "") -> Json:
    """Return an amount of data as it is shown."""
    status = "absent" if value is None else "done"
    shown = {"status": status, "shown": human_bytes(value), "range": "", "note": note}
    return shown if value is None else {**shown, "value": value, "low": None, "high": None}


def head(world: World, name: str, task: str) -> Json:
    """Return what stands above a column: the measure, and which way is good."""
    if name == "communication.bytes":
        return _headed(name, "", "sent per hospital", "both ways")
    better = better_of(world, name)
    hint = direction.hint(better) if better else ""
    if name.endswith(".auc"):
        hint = "0.5 is guessing, 1 finds everybody"
    if ".leak@" in name:
        hint = "share of training patients; lower is better"
    if (name, task) in world.foreign:
        hint = "; ".join([*([hint] if hint else []), "a metric from outside fedbench"])
    return _headed(name, world.say(task), measure(name), hint)


def _headed(name: str, task: str, title: str, hint: str) -> Json:
    return {"name": name, "task": task, "title": title, "hint": hint}


def better_of(world: World, name: str) -> str:
    """Return which way of a measure is better; empty where its rows do not say."""
    return next((n["better"] for n in world.numbers.where(name=name) if n["better"]), "")


def role_of(label: str) -> str:
    """Say what a generator is there for, where it is not to be judged."""
    return "floor: knows single columns only" if label == FLOOR else ""
