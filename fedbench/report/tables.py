"""Tables and the points of pictures, as plain values; how they look is decided elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedbench.report.controls import Check, attack_names, backwards, broken, noticed
from fedbench.report.numbers import Number
from fedbench.report.sentences import turned, verdict
from fedbench.report.traffic import traffic
from fedbench.report.words import NONE, human_bytes, measure, number, percent, seeds, short, unit_of
from fedbench.report.world import FLOOR, World

__all__ = ["baseline", "cell", "everything", "hospitals", "main", "overview", "tradeoff"]

Json = dict[str, Any]

CONTROLS = {
    "copy": "real training records: ceiling; must be caught",
    "real": "real records that no generator saw",
    "uniform": "uniform noise: floor of single columns",
}
BEST = {"detection": "0.5 is best", "higher": "higher is better", "lower": "lower is better"}


def cell(found: Number | None) -> Json:
    """Return a number as it is shown: value, range and what to know about it."""
    if found is None:
        return {"status": "absent", "shown": NONE, "range": "", "note": ""}
    if found.value is None:
        note = "; ".join(short(reason) for reason in found.reasons)
        return {"status": found.status, "shown": found.status, "range": "", "note": note}
    show = percent if unit_of(found["name"]) == "share" else number
    ends = [found.low, found.high]
    known = None not in ends
    return {
        "status": "done",
        "shown": show(found.value),
        "range": " to ".join(show(end) for end in ends) if known else "",
        "note": "" if found.seeds == found.asked else seeds(found),
        "value": found.value,
        "low": found.low,
        "high": found.high,
    }


def _data(value: float | None, note: str = "") -> Json:
    status = "absent" if value is None else "done"
    shown = {"status": status, "shown": human_bytes(value), "range": "", "note": note}
    return shown if value is None else {**shown, "value": value, "low": None, "high": None}


# --- Generators and regimes -------------------------------------------------------------------


def baseline(world: World) -> Json | None:
    """Return what visit counts and dates alone foresee: utility no higher means little."""
    name, task = world.utility
    part = name.rpartition(".")[2]
    found = world.numbers.where(name=f"utilization.{part}", task=task, site="", model="")
    best = found.where(target=("pooled", "")).all or found.all
    done = next((n for n in best if n.done), None)
    return None if done is None else {"title": measure(name), "task": task, "cell": cell(done)}


def main(world: World) -> Json:
    """Return generators and regimes by the primary measures, with floors and ceilings."""
    columns = _columns(world)
    rows: list[Json] = [
        {"generator": label, "regime": regime, "role": role}
        for label, regime, role in [
            *((label, r, _role(label)) for label in world.labels for r in world.regimes),
            *((name, "control", role) for name, role in CONTROLS.items()),
        ]
    ]
    full = [{**row, "cells": _row(world, row["generator"], row["regime"], columns)} for row in rows]
    return {
        "columns": [_head(world, *column) for column in columns],
        "rows": [row for row in full if any(c["status"] != "absent" for c in row["cells"])],
    }


def _role(label: str) -> str:
    return "floor: knows single columns only" if label == FLOOR else ""


def _columns(world: World) -> list[tuple[str, str]]:
    there = world.numbers.values("name")
    attacks = [n for a in world.attacks for n in (f"{a}.auc", _leak(world, a))]
    names = [
        *(("associations",) if "associations" in there else (world.fidelity,)),
        "detection",
    ]
    found = [(name, "") for name in names if name in there]
    found += [world.utility] if world.utility[0] else []
    found += [(name, "") for name in attacks if name in there]
    return found + ([("communication.bytes", "")] if "communication.bytes" in there else [])


def _leak(world: World, attack: str) -> str:
    """The strictest of two shares of false alarms at which there is a number."""
    strict, loose = (f"{attack}.leak@{at}%" for at in (1, 10))
    done = [n["name"] for n in world.numbers.where(name=(strict, loose), site="") if n.done]
    return strict if strict in done or not done else loose


def _head(world: World, name: str, task: str) -> Json:
    if name == "communication.bytes":
        return {"name": name, "task": "", "title": "sent per hospital", "hint": "both ways"}
    better = next((n["better"] for n in world.numbers.where(name=name) if n["better"]), "")
    hint = BEST.get(name) or BEST.get(better, "")
    if name.endswith(".auc"):
        hint = "0.5 is guessing"
    if ".leak@" in name:
        hint = "share of training patients"
    return {"name": name, "task": task, "title": measure(name), "hint": hint}


def _row(world: World, label: str, regime: str, columns: Sequence[tuple[str, str]]) -> list[Json]:
    return [
        _data(traffic(world, label, regime).each)
        if name == "communication.bytes"
        else cell(world.pooled(label, regime, name, task))
        for name, task in columns
    ]


# --- The four questions -----------------------------------------------------------------------


def overview(world: World, played: Sequence[Check]) -> list[Json]:
    """Return the four answers for every generator, in cells."""
    return [_answers(world, label, played) for label in world.labels]


def _answers(world: World, label: str, played: Sequence[Check]) -> Json:
    name, task = world.score
    gain = world.difference(label, "gain", name, task, "over local")
    tax = turned(world.difference(label, "tax", name, task))
    members = [(f"{a}.auc", world.pooled(label, world.main, f"{a}.auc")) for a in world.attacks]
    secrets = [secret for name, secret in attack_names(world) if secret]
    return {
        "generator": label,
        "role": _role(label),
        "gain": {**cell(gain), "verdict": verdict(gain)},
        "tax": {**cell(tax), "verdict": verdict(tax)},
        "members": [_attack(name, "", found, played) for name, found in members],
        "facts": [
            _attack("attribute.advantage", secret, world.inferred(label, secret), played)
            for secret in secrets
        ],
        "sent": _data(traffic(world, label, world.main).each),
    }


def _attack(name: str, secret: str, found: Number | None, played: Sequence[Check]) -> Json:
    said = "not detectable by this attack"
    if found is None or not found.done or broken(name, secret, played):
        said = "nothing can be said"
    elif noticed(found):
        said = "noticed"
    elif backwards(found):
        said = "the wrong way round"
    return {"name": name, "secret": secret, **cell(found), "verdict": said}


# --- Hospitals --------------------------------------------------------------------------------


def hospitals(world: World) -> Json | None:
    """Return one measure for every hospital, generator and regime; None where there is none."""
    choice = next((c for c in _site_measures(world) if _any_site(world, *c)), None)
    if choice is None:
        return None
    name, task = choice
    regimes = [r for r in ("local", "federated", "centralized") if r in world.regimes]
    panels = [
        {
            "generator": label,
            "rows": [
                {
                    "site": site,
                    "cells": [cell(world.at_site(label, r, site, name, task)) for r in regimes],
                }
                for site in world.sites
            ],
        }
        for label in world.labels
    ]
    speaking = [panel for panel in panels if _speaks(panel)]
    # The floor is shown where nothing else is.
    panels = [panel for panel in speaking if panel["generator"] != FLOOR] or speaking
    if not panels:
        return None
    return {**_head(world, name, task), "regimes": regimes, "panels": panels}


def _speaks(panel: Json) -> bool:
    """A generator that failed has no panel; it is among what has no number."""
    return any(found["status"] != "absent" for row in panel["rows"] for found in row["cells"])


def _site_measures(world: World) -> list[tuple[str, str]]:
    return [pair for pair in (world.utility, ("marginals", ""), (world.fidelity, "")) if pair[0]]


def _any_site(world: World, name: str, task: str) -> bool:
    found = [n for n in world.own.where(name=name, task=task) if n["site"] in world.sites]
    return any(n.done and n["target"] not in ("gain", "tax") for n in found)


# --- Fidelity against privacy -----------------------------------------------------------------


def tradeoff(world: World) -> Json | None:
    """Return the points of the picture of usefulness against leakage; None without an attack."""
    name, task = world.score
    if not world.attacks or not name:
        return None
    risk = f"{world.attacks[0]}.auc"
    points = [
        {"generator": label, "regime": regime, "x": x, "y": y}
        for label, regime in [
            *((label, regime) for label in world.labels for regime in world.regimes),
            ("copy", "control"),
        ]
        if (x := cell(world.pooled(label, regime, risk)))["status"] == "done"
        and (y := cell(world.pooled(label, regime, name, task)))["status"] == "done"
    ]
    if not any(point["regime"] != "control" for point in points):
        return None
    real = cell(world.pooled("copy", "control", name, task))
    return {
        "x": _head(world, risk, ""),
        "y": _head(world, name, task),
        "better": next((n["better"] for n in world.numbers.where(name=name) if n["better"]), ""),
        "ceiling": real.get("value"),
        "points": points,
    }


# --- All pooled numbers -----------------------------------------------------------------------


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
        if n["name"] and n["target"] not in ("gain", "tax") and n["family"] != "communication"
    ]
    keys = {tuple(n[k] for k in _KEY) for n in found}
    cells = {(tuple(n[k] for k in _KEY), n["regime"]): cell(n) for n in reversed(found)}
    rows = [
        {
            **dict(zip(_KEY, key, strict=True)),
            "title": measure(key[1]),
            "cells": [cells.get((key, regime)) or cell(None) for regime in regimes],
        }
        for key in sorted(keys, key=lambda key: (_FAMILIES.find(key[0]), key))
    ]
    return {"generator": label, "regimes": list(regimes), "rows": rows}


_KEY = ("family", "name", "task", "column", "secret", "target", "level")
_FAMILIES = "fidelity utility privacy fairness compute"
