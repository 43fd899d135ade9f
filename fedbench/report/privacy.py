"""What was promised to patients, and what of it was spent where."""

from __future__ import annotations

from typing import Any

from fedbench.planting import PLANTED
from fedbench.report.words import number
from fedbench.report.world import World
from fedbench.results import RunDir

__all__ = ["privacy"]

Json = dict[str, Any]

_HOW = (
    "The noise came from the suite's seed, so that the run can be repeated: this measures what "
    "privacy costs, and protects nobody."
)

_THERE = {"patient": "who is there or not", "hospital": "that says something or nothing"}

_FEW = (
    " Noise that hides a hospital shrinks with the number of hospitals only: with fewer than 50 of "
    "them it drowns what they say, and these synthetic records are good for little."
)


def privacy(run: RunDir, world: World) -> Json | None:
    """Return the epsilon of every hospital, generator and regime, the largest over seeds.

    None where nothing was promised.
    """
    rows: dict[tuple[str, str], dict[str, Json]] = {}
    promise: Json = {}
    for cell in run.cells():
        facts = cell.facts()
        base = facts["row"]
        if (base["dataset"], base["scenario"]) != (world.dataset, world.scenario):
            continue
        if not (found := facts.get("privacy")) or base["label"].endswith(PLANTED):
            continue
        promise = base
        mine = rows.setdefault((base["label"], base["regime"]), {})
        for site, spent in found.items():
            before = mine.get(site, spent)
            mine[site] = {name: max(value, before[name]) for name, value in spent.items()}
    if not rows:
        return None
    return {
        "title": f"Differential privacy of every {promise['unit']}",
        "text": (
            f"Promised: epsilon at most {number(promise['epsilon'])} at delta "
            f"{promise['delta']:g} for all that a hospital sends in one training, agreeing on the "
            "encoder included; neighbours differ by one "
            f"{promise['unit']} {_THERE[promise['unit']]}. {_HOW}"
            f"{_FEW if promise['unit'] == 'hospital' else ''}"
        ),
        "rows": [
            {
                "generator": label,
                "regime": regime,
                "most": max(spent["epsilon"] for spent in sites.values()),
                "sites": [{"site": site, **spent} for site, spent in sorted(sites.items())],
            }
            for (label, regime), sites in sorted(rows.items())
        ],
    }
