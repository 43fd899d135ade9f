"""Four hospitals of which two write the same diagnoses in another system: what helps?

One code in ten has a known counterpart. What is done about the others: nothing; a map of the
known ones, then the same with every other code given the known one of its kind (as codes of a
category are); adapters brought together (``align``); and, as what could be reached, a whole map.
``VOCABULARIES`` is how many seeds (3).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedbench.config import suite_of
from fedbench.data import DataStore
from fedbench.datasets.simulated import Simulated
from fedbench.runner import run

SEEDS = int(os.environ.get("VOCABULARIES", "3"))
WORLD: Mapping[str, Any] = {"patients": 2400, "labs": 1, "codes": 40, "visits": 8.0}
EVERY, KNOWN = 40, 4
RECORDS = Simulated(**WORLD)
MINE, THEIRS = RECORDS.names("icd10"), RECORDS.names("icd9")
SYSTEMS = {"source": "simulated-icd10", "target": "simulated-icd9", "level": "code"}
BACK = {"source": "simulated-icd9", "target": "simulated-icd10", "level": "code"}
ANCHORS = [
    [f"simulated-icd10:{a}", f"simulated-icd9:{b}"]
    for a, b in zip(MINE[:KNOWN], THEIRS, strict=False)
]


def written(path: Path, targets: Sequence[str], sources: Sequence[str]) -> str:
    path.write_text(
        "source,target\n" + "".join(f"{a},{b}\n" for a, b in zip(sources, targets, strict=True))
    )
    return str(path)


def scenarios(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return how hospitals write diagnoses, by what is done about it."""
    two = {"name": "coding", "map": written(folder / "all.csv", THEIRS, MINE), **SYSTEMS}
    apart = {**two, "within": {"name": "natural"}}
    # Diagnoses belong to four diseases in turn, and so do the first four.
    kind = [MINE[i % KNOWN] for i in range(EVERY)]
    known = written(folder / "known.csv", MINE[:KNOWN], THEIRS[:KNOWN])
    return {
        "apart": apart,
        "known": {"name": "coding", "map": known, "within": apart, **BACK},
        "category": {
            "name": "coding", "map": written(folder / "kind.csv", kind, THEIRS),
            "within": apart, **BACK,
        },
        "whole": {
            "name": "coding", "map": written(folder / "back.csv", MINE, THEIRS),
            "within": apart, **BACK,
        },
    }  # fmt: skip


def tables(folder: Path) -> Mapping[str, Any]:
    """Return the suite."""
    dealt = scenarios(folder)
    everybody = [{"name": "tvae"}, {"name": "latdiff"}]
    ours = [
        {"name": "align", "anchors": ANCHORS},
        {"name": "align", "label": "align-apart", "anchor": 0.0, "pull": 0.0},
    ]
    return {
        "suite": {
            "name": "vocabularies", "seeds": list(range(SEEDS)), "regimes": ["federated"],
            "records": 2000, "metrics": ["utility", "associations", "codes"], "attacks": [],
            "device": "cpu",
        },
        "datasets": [
            {
                "name": "simulated", "scenarios": list(dealt), **WORLD,
                "parts": {"train": 0.5, "control": "test"},
            },
        ],
        "scenarios": [
            {"name": name, "partition": partition, "rounds": 10}
            for name, partition in dealt.items()
        ],
        "generators": [*everybody, *ours],
    }  # fmt: skip


def test_two_vocabularies(tmp_path: Path, say: Callable[[str], None]) -> None:
    suite = suite_of(tables(tmp_path), "vocabularies")
    found = run(suite, DataStore(), tmp_path / "runs").results()
    rows = found[(found["status"] == "done") & (found["target"] == "pooled")]
    say(str(rows.groupby(["scenario", "label", "name"])["value"].mean()))
