"""After how many rounds training stopped, and which of them was kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedbench.report.world import World
from fedbench.results import RunDir

__all__ = ["stopping"]

Json = dict[str, Any]

_HOW = (
    "Patients of each hospital's train part were held back from training, and after each round the "
    "hospitals added up what the model cost them. Training stopped when that did not fall any "
    "more, and the round with the least is the one that wrote the records. Over seeds and "
    "hospitals trained alone: the fewest, the median and the most. What is missing here has no "
    "rounds to choose from."
)


def stopping(run: RunDir, world: World) -> Json | None:
    """Return rounds trained and kept of every generator, regime and phase; None without any."""
    found: dict[tuple[str, str, str], list[Json]] = {}
    for cell in run.cells():
        facts = cell.facts()
        base = facts["row"]
        if (base["dataset"], base["scenario"]) == (world.dataset, world.scenario):
            for one in facts.get("stopping", []):
                key = (base["label"], base["regime"], one["phase"])
                found.setdefault(key, []).append(one)
    if not found:
        return None
    return {
        "title": "When training stopped",
        "text": _HOW,
        "rows": [
            {
                "generator": label,
                "regime": regime,
                "phase": phase,
                "rounds": _spread([one["rounds"] for one in mine]),
                "kept": _spread([one["kept"] for one in mine]),
            }
            for (label, regime, phase), mine in sorted(found.items())
        ],
    }


def _spread(counts: Sequence[int]) -> str:
    """Return the fewest, the (lower) median and the most.

    >>> _spread([7, 3, 9]), _spread([4, 4])
    ('3, 7, 9', '4')
    """
    ordered = sorted(counts)
    if ordered[0] == ordered[-1]:
        return str(ordered[0])
    return f"{ordered[0]}, {ordered[(len(ordered) - 1) // 2]}, {ordered[-1]}"
