"""How long training and drawing records took, and how much memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fedbench.report.words import human_bytes, number
from fedbench.report.world import World
from fedbench.results import RunDir, read_json

__all__ = ["compute"]

Json = dict[str, Any]

_TIMES = ("trained_seconds", "sampled_seconds", "sampled_records")
_HOW = (
    "As of the machine and the load on it; no number of this report and no comparison is decided "
    "by it. Training: of all models that the records rest on, those of a mixture being the local "
    "ones, also where another regime had trained them before. Sampling: drawing records, for every "
    "1,000. Memory: the most that the process had in use while it trained, drew and scored, with "
    "libraries and dataset. Over seeds: the least, the median and the most."
)


def compute(run: RunDir, world: World) -> Json | None:
    """Return seconds and memory of every generator and regime; None where no cell says so."""
    found: dict[tuple[str, str], list[Json]] = {}
    for cell in run.cells():
        base = cell.facts()["row"]
        if (base["dataset"], base["scenario"]) != (world.dataset, world.scenario):
            continue
        if base.get("label") not in world.labels or not (cell.path / "timings.json").is_file():
            continue
        took = read_json(cell.path / "timings.json")
        if all(name in took for name in _TIMES):
            key = (base["label"], base["regime"])
            found.setdefault(key, []).append({"seed": base["seed"]} | _of_one(took))
    places = [(label, regime) for label in world.labels for regime in world.regimes]
    rows = [_row(*place, found[place]) for place in places if place in found]
    return {"title": "Time and memory", "text": _HOW, "rows": rows} if rows else None


def _of_one(took: Json) -> Json:
    return {
        "training": took["trained_seconds"],
        "sampling": 1000 * took["sampled_seconds"] / took["sampled_records"],
        "memory_mb": took["memory_mb"],
    }


def _row(label: str, regime: str, mine: Sequence[Json]) -> Json:
    seeds = sorted(mine, key=lambda one: int(one["seed"]))
    return {
        "generator": label,
        "regime": regime,
        "training": _spread([one["training"] for one in seeds], _seconds),
        "sampling": _spread([one["sampling"] for one in seeds], _seconds),
        "memory": _spread([one["memory_mb"] for one in seeds], _memory),
        "seeds": [{k: v for k, v in one.items() if k != "seed"} for one in seeds],
    }


def _seconds(found: float) -> str:
    return f"{number(found, 2 if found < 1 else 1)} s"


def _memory(found: float) -> str:
    return human_bytes(found * 2**20)


def _spread(found: Sequence[float], say: Callable[[float], str]) -> str:
    """Return the least, the (lower) median and the most, in words; once where they are the same.

    >>> _spread([3.0, 1.0, 2.0], lambda found: f"{found:g} s"), _spread([4.0], str)
    ('1 s, 2 s, 3 s', '4.0')
    """
    ordered = sorted(found)
    said = [say(each) for each in (ordered[0], ordered[(len(ordered) - 1) // 2], ordered[-1])]
    return said[0] if len(set(said)) == 1 else ", ".join(said)
