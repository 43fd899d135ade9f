"""The table of generators and regimes by the primary measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fedbench.report.cells import CONTROLS, Json, amount, anchored, cell, fewer, head, role_of
from fedbench.report.notes import meaning
from fedbench.report.numbers import Number
from fedbench.report.traffic import traffic
from fedbench.report.words import (
    NONE,
    REGIMES,
    joined,
    measure,
    shown,
    told,
)
from fedbench.report.world import World

__all__ = ["baseline", "primary"]

MOST_SHARES = 2


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


def primary(world: World) -> Json:
    """Return generators and regimes by the primary measures, with floors and ceilings."""
    columns = _columns(world)
    rows: list[Json] = [
        {"generator": label, "regime": regime, "role": role}
        for label, regime, role in [
            *((label, r, role_of(label)) for label in world.labels for r in world.regimes),
            *((name, "control", role) for name, role in CONTROLS.items()),
        ]
    ]
    full = [{**row, "cells": _row(world, row["generator"], row["regime"], columns)} for row in rows]
    full = [row for row in full if any(c["status"] != "absent" for c in row["cells"])]
    return {
        "columns": [head(world, *column) for column in columns],
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
    return f" ({fewer(found)})" if fewer(found) else ""


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


def _row(world: World, label: str, regime: str, columns: Sequence[tuple[str, str]]) -> list[Json]:
    return [
        amount(traffic(world, label, regime).each)
        if name == "communication.bytes"
        else (anchored if (name, task) in world.foreign else cell)(
            world.pooled(label, regime, name, task)
        )
        for name, task in columns
    ]
