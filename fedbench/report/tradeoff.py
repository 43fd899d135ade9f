"""The points of the picture of usefulness against leakage."""

from __future__ import annotations

from fedbench.report.cells import Json, better_of, cell, head
from fedbench.report.world import World

__all__ = ["tradeoff"]


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
        "x": head(world, risk, ""),
        "y": head(world, name, task),
        "better": better_of(world, name),
        "ceiling": real.get("value"),
        "points": points,
    }
