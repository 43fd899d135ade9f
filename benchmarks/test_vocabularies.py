"""Four hospitals of which two write the same diagnoses in another system: what helps?

One diagnosis in ten has a known counterpart. What is done about it: nothing (``apart``); the known
ones are mapped (``known``); every other one gets the known one of its kind besides, as codes do
that fall back to their category (``category``); adapters are brought together (``align``); and, as
what could be reached, all are mapped (``whole``). Patients are simulated, and a laboratory value
alone says little. ``VOCABULARIES`` names the seeds (0,1,2).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from fedbench.config import suite_of
from fedbench.data import DataStore
from fedbench.datasets.simulated import Simulated
from fedbench.runner import run

SEEDS = [int(seed) for seed in os.environ.get("VOCABULARIES", "0,1,2").split(",")]
EVERY, KNOWN = 40, 4
WORLD: Mapping[str, Any] = {"patients": 1200, "labs": 1, "codes": EVERY, "visits": 5.0}
MINE, THEIRS = Simulated(**WORLD).names("icd10"), Simulated(**WORLD).names("icd9")
THERE = {"source": "simulated-icd10", "target": "simulated-icd9", "level": "code"}
BACK = {"source": "simulated-icd9", "target": "simulated-icd10", "level": "code"}
ANCHORS = [
    [f"simulated-icd10:{a}", f"simulated-icd9:{b}"]
    for a, b in zip(MINE[:KNOWN], THEIRS[:KNOWN], strict=True)
]
SHORT = {"passes": 20, "time_passes": 30, "learning_rate": 5e-3}
GENERATORS: Mapping[str, Mapping[str, Any]] = {
    "tvae": {"name": "tvae"},
    "latdiff": {"name": "latdiff", **SHORT},
    "align": {"name": "align", "anchors": ANCHORS, **SHORT},
    "align-apart": {"name": "align", "label": "align-apart", "anchor": 0.0, "pull": 0.0, **SHORT},
}


def written(path: Path, targets: Sequence[str], sources: Sequence[str]) -> str:
    pairs = zip(sources, targets, strict=True)
    path.write_text("source,target\n" + "".join(f"{a},{b}\n" for a, b in pairs))
    return str(path)


def scenarios(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return how hospitals write diagnoses, by what is done about it."""
    there = {"name": "coding", "map": written(folder / "there.csv", THEIRS, MINE), **THERE}
    apart = {**there, "within": {"name": "natural"}}
    # A diagnosis belongs to one of four diseases in turn, and so do the first four.
    kind = [MINE[i % KNOWN] for i in range(EVERY)]
    maps = {
        "known": (MINE[:KNOWN], THEIRS[:KNOWN]),
        "category": (kind, THEIRS),
        "whole": (MINE, THEIRS),
    }
    back = {
        name: {"name": "coding", "map": written(folder / f"{name}.csv", *pairs), **BACK}
        for name, pairs in maps.items()
    }
    return {"apart": apart, **{name: {**each, "within": apart} for name, each in back.items()}}


def tables(
    folder: Path, seeds: Sequence[int], dealt: Sequence[str], generators: Sequence[str]
) -> Mapping[str, Any]:
    """Return a suite."""
    every = scenarios(folder)
    return {
        "suite": {
            "name": "vocabularies", "seeds": list(seeds), "regimes": ["federated"],
            "records": 2000, "metrics": ["utility", "associations"], "attacks": [],
            "device": "cpu",
        },
        "datasets": [{"name": "simulated", **WORLD, "parts": {"train": 0.5, "control": "test"}}],
        "scenarios": [{"name": n, "partition": every[n], "rounds": 6} for n in dealt],
        "generators": [GENERATORS[name] for name in generators],
    }  # fmt: skip


def of(results: pd.DataFrame) -> pd.DataFrame:
    """Return a row per seed and a column per scenario, generator and number."""
    rows = results[(results["status"] == "done") & (results["target"] == "pooled")]
    rows = rows[rows["column"].fillna("").eq("") & rows["site"].fillna("").eq("")]
    rows = rows[rows["name"].isin(["utility.auroc", "associations"])]
    return rows.pivot_table(index="seed", columns=["name", "scenario", "label"], values="value")


def told(found: pd.DataFrame, name: str) -> Sequence[str]:
    """Return what each does, and its difference from plain latdiff in two systems, by seed."""
    base, lines = found[name, "apart", "latdiff"], []
    for scenario, label in found[name].columns:
        mine = found[name, scenario, label]
        apart = mine - base
        half = stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / np.sqrt(len(apart))
        lines.append(
            f"{name}, {scenario}, {label}: {mine.mean():.3f}, less latdiff apart "
            f"{apart.mean():.3f} ({apart.mean() - half:.3f} to {apart.mean() + half:.3f})"
        )
    return lines


def test_two_vocabularies(tmp_path: Path, say: Callable[[str], None]) -> None:
    asked = [(["apart"], [*GENERATORS]), (["known", "category", "whole"], ["tvae", "latdiff"])]
    found = []
    for dealt, generators in asked:
        suite = suite_of(tables(tmp_path, SEEDS, dealt, generators), "vocabularies")
        here = run(
            suite, out=tmp_path, resume=None, jobs=1, store=DataStore(), observe=lambda _: None
        )
        found.append(of(here.results()))
    for name in ("utility.auroc", "associations"):
        for line in told(pd.concat(found, axis=1), name):
            say(line)
