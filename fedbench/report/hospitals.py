"""One measure, hospital by hospital."""

from __future__ import annotations

from collections.abc import Sequence

from fedbench.direction import GUESSED
from fedbench.report.cells import Json, better_of, cell, head
from fedbench.report.world import FLOOR, World

__all__ = ["hospitals"]


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
        **head(world, name, task),
        "better": better_of(world, name),
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
