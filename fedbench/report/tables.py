"""Tables and the points of pictures, as plain values; how they look is decided elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from fedbench import direction
from fedbench.direction import GUESSED
from fedbench.report.controls import Check, backwards, doubted, noticed, unsaid
from fedbench.report.notes import meaning
from fedbench.report.numbers import Number
from fedbench.report.plays import Play
from fedbench.report.sentences import ONE_HOSPITAL, turned, verdict
from fedbench.report.traffic import traffic
from fedbench.report.words import (
    NONE,
    REGIMES,
    beside,
    coverage,
    floor_of,
    human_bytes,
    joined,
    left_out,
    measure,
    number,
    percent,
    seeds,
    short,
    shown,
    told,
    unit_of,
)
from fedbench.report.world import FLOOR, World

__all__ = ["baseline", "cell", "everything", "hospitals", "main", "overview", "tradeoff"]

Json = dict[str, Any]

CONTROLS = {
    "copy": "real training records: ceiling; must be caught",
    "real": "real records that no generator saw",
    "uniform": "uniform noise: floor of single columns",
}
MOST_SHARES = 2


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
                _fewer(found),
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


def _fewer(found: Number) -> str:
    return "" if found.seeds == found.asked else seeds(found)


def _nothing(found: Number) -> str:
    why = unsaid(found)
    return f"nothing can be said: {why}" if why else ""


def _anchored(found: Number | None) -> Json:
    """Return a cell that names its own floor and ceiling."""
    ends = {} if found is None else {floor_of(found): found.floor, "ceiling": found.ceiling}
    share = found is not None and unit_of(found["name"]) == "share"
    say = percent if share else number
    known = [f"{end} {say(value)}" for end, value in ends.items() if value is not None]
    plain = cell(found)
    return {**plain, "note": "; ".join([*([plain["note"]] if plain["note"] else []), *known])}


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
    return (
        None
        if done is None
        else {"title": measure(name), "task": world.say(task), "cell": cell(done)}
    )


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
    full = [row for row in full if any(c["status"] != "absent" for c in row["cells"])]
    return {
        "columns": [_head(world, *column) for column in columns],
        "meanings": _meanings([name for name, _ in columns]),
        "notes": _remarks(world, columns, full),
        "rows": full,
    }


def _meanings(names: Sequence[str]) -> dict[str, str]:
    """Return what measures mean; what several attacks have is said once, without their names."""
    several = Counter(text for name in names if (text := meaning(name)))
    return {
        measure(name) if several[text] == 1 else measure(name).rpartition(" (")[0]: text
        for name in names
        if (text := meaning(name))
    }


def _remarks(world: World, columns: Sequence[tuple[str, str]], rows: Sequence[Json]) -> list[str]:
    """Say where a number is about other patients, and why there is none where there is a dash."""
    places = [
        (row["generator"], row["regime"], *column, found["status"])
        for row in rows
        for column, found in zip(columns, row["cells"], strict=True)
    ]
    own = {
        (regime, name): None
        for label, regime, name, task, _ in places
        if (n := world.pooled(label, regime, name, task)) and n["target"] == "specialist"
    }
    empty = [place for place in places if place[-1] == "absent"]
    trained = [place for place in empty if place[1] in (*REGIMES, "given")]
    alone = {
        (regime, name): _one_by_one(world, regime, name) if regime in REGIMES else ""
        for _, regime, name, _, _ in trained
    }
    return [
        *(
            f"{measure(name)}, {regime}: on each hospital's own patients, mean over hospitals."
            for regime, name in own
        ),
        *(text for text in alone.values() if text),
        *([_ELSEWHERE] if not all(alone.values()) else []),
        *([_UNASKED] if len(trained) < len(empty) else []),
    ]


_ELSEWHERE = (
    f"A dash ({NONE}) of a generator: it has no such number, as what it takes is not there "
    "(skipped, not applicable) or was not asked for; why stands under “What has no number, and "
    "why”."
)
_UNASKED = f"A dash ({NONE}) of a control or of the floor: it was not asked this."


def _one_by_one(world: World, regime: str, name: str) -> str:
    """Return the numbers of single hospitals where there is none over all of them."""
    found = [
        (label, site, n)
        for label in world.labels
        for site in world.sites
        if (n := world.at_site(label, regime, site, name, "")) is not None
    ]
    done = {
        label: [
            f"{site} {shown(n)[0]}{_some(n)}" for of, site, n in found if of == label and n.done
        ]
        for label in world.labels
    }
    said = [f"{label} {', '.join(texts)}" for label, texts in done.items() if texts]
    sites = dict.fromkeys(site for _, site, n in found if not n.done)
    reasons = dict.fromkeys(r for _, _, n in found if not n.done for r in n.reasons)
    none = f"none at {joined([*sites])}, because {told([*reasons])}" if sites else ""
    each = "; ".join([*said, *([none] if none else [])])
    about = f"{measure(name)}, {regime}: each hospital has a generator and a number of its own, and"
    return f"{about} there is none over all hospitals: {each}." if each else ""


def _some(found: Number) -> str:
    return f" ({_fewer(found)})" if _fewer(found) else ""


def _role(label: str) -> str:
    return "floor: knows single columns only" if label == FLOOR else ""


def _columns(world: World) -> list[tuple[str, str]]:
    there = world.numbers.values("name")
    # Where attacks are many, one share stands for them; the others are among all numbers.
    shares = world.attacks if len(world.attacks) <= MOST_SHARES else _plainest(world)
    areas = [f"{a}.auc" for a in world.attacks]
    attacks = [n for a in areas for n in (a, *(_leak(world, s) for s in shares if a == f"{s}.auc"))]
    names = [
        *(("associations",) if "associations" in there else (world.fidelity,)),
        "detection",
    ]
    found = [(name, "") for name in names if name in there]
    found += [world.utility] if world.utility[0] else []
    found += [(name, "") for name in attacks if name in there]
    found += [("communication.bytes", "")] if "communication.bytes" in there else []
    return found + [pair for pair in world.foreign if _pooled_anywhere(world, *pair)]


def _pooled_anywhere(world: World, name: str, task: str) -> bool:
    return any(
        world.pooled(label, regime, name, task)
        for label in world.labels
        for regime in world.regimes
    )


def _plainest(world: World) -> list[str]:
    """Return an attack whose share counts copies: by the distance to released records."""
    return ["dcr"] if "dcr" in world.attacks else world.attacks[:1]


def _leak(world: World, attack: str) -> str:
    """The strictest of two shares of false alarms at which there is a number."""
    strict, loose = (f"{attack}.leak@{at}%" for at in (1, 10))
    done = [n["name"] for n in world.numbers.where(name=(strict, loose), site="") if n.done]
    return strict if strict in done or not done else loose


def _head(world: World, name: str, task: str) -> Json:
    if name == "communication.bytes":
        return _headed(name, "", "sent per hospital", "both ways")
    better = _better(world, name)
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


def _better(world: World, name: str) -> str:
    return next((n["better"] for n in world.numbers.where(name=name) if n["better"]), "")


def _row(world: World, label: str, regime: str, columns: Sequence[tuple[str, str]]) -> list[Json]:
    return [
        _data(traffic(world, label, regime).each)
        if name == "communication.bytes"
        else (_anchored if (name, task) in world.foreign else cell)(
            world.pooled(label, regime, name, task)
        )
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
    found = {
        play: world.pooled(label, world.main, play.name)
        if play.said.main == "auc"
        else world.gained(label, play)
        for play in world.plays
    }
    asked = [(play.game, _attack(world, play, n, played)) for play, n in found.items()]
    return {
        "generator": label,
        "role": _role(label),
        "gain": _change(gain, single=world.single),
        "tax": _change(tax),
        "members": [said for game, said in asked if game == "membership"],
        "facts": [said for game, said in asked if game == "attribute"],
        "others": [said for game, said in asked if game not in ("membership", "attribute")],
        "sent": _data(traffic(world, label, world.main).each),
    }


def _change(found: Number | None, *, single: bool = False) -> Json:
    if single:
        said = "not applicable"
        return {"status": said, "shown": said, "range": "", "note": ONE_HOSPITAL, "verdict": said}
    return {**cell(found), "verdict": verdict(found)}


def behind(world: World) -> list[Json]:
    """Return what gains and costs are the differences of, for every generator."""
    asked = dict.fromkeys([world.score, world.utility, (world.fidelity, "")])
    pairs = [pair for pair in asked if pair[0]]
    rows = [_behind(world, label, *pair) for label in world.labels for pair in pairs]
    return [row for row in rows if any(row[k]["status"] == "done" for k in ("gain", "tax"))]


def _behind(world: World, label: str, name: str, task: str) -> Json:
    gain = world.difference(label, "gain", name, task, "over local")
    level = gain["level"] if gain is not None and gain["level"] else "patient-weighted"
    own = {r: world.mean(label, r, name, task, level) for r in ("local", "federated")}
    return {
        "generator": label,
        **_head(world, name, task),
        "local": cell(own["local"]),
        "federated": cell(own["federated"]),
        "gain": _change(gain, single=world.single),
        "centralized": cell(world.pooled(label, "centralized", name, task)),
        "pooled": cell(world.pooled(label, "federated", name, task)),
        "tax": _change(turned(world.difference(label, "tax", name, task))),
    }


def _attack(world: World, play: Play, found: Number | None, played: Sequence[Check]) -> Json:
    said = "not detectable by this attack"
    if found is None or not found.done or doubted(play, found, played):
        said = "nothing can be said"
    elif noticed(found):
        said = "noticed"
    elif backwards(found):
        said = "the wrong way round"
    return {
        "name": play.name,
        "secret": play.secret,
        "called": world.called(play),
        "tried": play.tried(world.plays, world.words),
        **cell(found),
        "verdict": said,
    }


# --- Hospitals --------------------------------------------------------------------------------


def hospitals(world: World) -> Json | None:
    """Return one measure for every hospital, generator and regime; None where there is none."""
    choice = next((c for c in _site_measures(world) if _any_site(world, *c)), None)
    if choice is None:
        return None
    name, task = choice
    shown = ("local", "federated", "centralized", "given")
    regimes = [r for r in shown if r in world.regimes]
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
    return {
        **_head(world, name, task),
        "better": _better(world, name),
        "regimes": regimes,
        "cut": _cut(name, panels),
        "panels": panels,
    }


CUT = 0.3
"""Where the axis of an area under a curve begins: one wide interval must not squeeze the rest."""


def _cut(name: str, panels: Sequence[Json]) -> float | None:
    """Return where the picture cuts intervals off, if it does."""
    cells = [found for panel in panels for row in panel["rows"] for found in row["cells"]]
    lows = [found["low"] for found in cells if found.get("low") is not None]
    return CUT if name in GUESSED and min(lows, default=1.0) < CUT else None


def _speaks(panel: Json) -> bool:
    """A generator that failed has no panel; it is among what has no number."""
    return any(found["status"] != "absent" for row in panel["rows"] for found in row["cells"])


def _site_measures(world: World) -> list[tuple[str, str]]:
    asked = (world.score, world.utility, ("marginals", ""), (world.fidelity, ""))
    return [pair for pair in dict.fromkeys(asked) if pair[0]]


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
        "better": _better(world, name),
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
        if n["name"]
        and n["target"] not in ("gain", "tax")
        and not n["name"].startswith("communication.")
        if not n["name"].endswith(".check")
    ]
    keys = {tuple(n[k] for k in _KEY) for n in found}
    say = cell if label in CONTROLS else _anchored  # a control is an end itself
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
