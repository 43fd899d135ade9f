"""What each metric sees: planted damage of growing strength, and what every number makes of it.

``python -m fedbench.testing.sensitivity`` prints the table of ``docs/sensitivity.md``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from fedbench.config import SETS
from fedbench.data import Cohort, DataStore, Rule
from fedbench.datasets.simulated import Simulated
from fedbench.direction import badness
from fedbench.encoding import Encoder, summarize
from fedbench.kinds import METRICS
from fedbench.metric import Evidence, Measure, Metric, View
from fedbench.seeds import Seeds
from fedbench.stats import poisson_weights
from fedbench.testing.damage import DAMAGES, damaged

__all__ = ["DECLARED", "STRENGTHS", "Declared", "judged", "measured", "patients", "shown"]

STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
MONOTONE = 0.9
"""Rank correlation of strength and number from which a metric is said to see a damage."""

Verdict = Literal["falls", "leans", "stays", "moves"]


@dataclass(frozen=True)
class Declared:
    """What was declared about a damage before any of it was measured."""

    falls: tuple[str, ...]
    stays: tuple[str, ...]


DECLARED: Mapping[str, Declared] = {
    "shuffled column": Declared(
        falls=("associations", "agreement.importance"),
        stays=("visits.count", "visits.gaps", "codes.prevalence", "missingness.rates", "rules"),
    ),
    "swapped labels": Declared(
        falls=(
            "associations",
            "detection",
            "utility.auroc",
            "utility.c_index",
            "agreement.importance",
        ),
        stays=(
            "survival.events",
            "visits.count",
            "visits.gaps",
            "codes.prevalence",
            "missingness.rates",
        ),
    ),
    "broken correlation": Declared(
        falls=(
            "associations",
            "visits.persistence",
            "forecast",
            "utility.auroc",
            "detection",
            "agreement.importance",
        ),
        stays=("visits.count", "visits.gaps", "visits.together", "codes.prevalence", "rules"),
    ),
    "wrong visit order": Declared(
        falls=("visits.persistence", "forecast"),
        stays=("visits.count", "visits.gaps", "visits.together", "codes.prevalence", "rules"),
    ),
    "stretched gaps": Declared(
        falls=("visits.gaps", "visits.length", "rules"),
        stays=(
            "visits.count",
            "visits.first",
            "visits.together",
            "codes.prevalence",
            "agreement.importance",
        ),
    ),
    "dropped rare codes": Declared(
        falls=("codes.recall", "codes.per_patient", "codes.rank"),
        stays=("visits.count", "visits.gaps", "visits.persistence", "rules"),
    ),
    "mode collapse": Declared(
        falls=("marginals", "detection", "codes.prevalence", "support.coverage"),
        stays=("rules",),
    ),
    "wrong missingness": Declared(
        falls=("missingness.rates", "visits.together", "marginals", "detection", "joint.energy"),
        stays=("visits.count", "visits.gaps", "codes.prevalence", "rules"),
    ),
    "impossible values": Declared(
        falls=("rules",),
        stays=(
            "visits.count",
            "visits.first",
            "visits.together",
            "codes.prevalence",
            "agreement.importance",
        ),
    ),
    "missing site": Declared(
        falls=("marginals", "visits.values", "detection", "joint.energy", "joint.mmd"),
        stays=("rules",),
    ),
}


def patients(n: int, seed: int) -> Cohort:
    """Return simulated patients whose laboratories wander, so that the order of visits matters."""
    dataset = Simulated(
        patients=n,
        seed=seed,
        hospitals=3,
        unequal=0.5,
        labs=4,
        codes=40,
        effect=1.5,
        shift=1.0,
        informative=1.0,
        event_rate=0.3,
    )
    cohort = dataset.load(DataStore())
    rng = Seeds(seed).child("sensitivity").rng()
    visits = cohort.visits.copy()
    for name, column in cohort.schema.visits.items():
        step = pd.Series(rng.normal(scale=0.3, size=len(visits)))
        path = step.groupby(visits["patient"].to_numpy()).cumsum()
        visits[name] = (visits[name] * np.exp(path)).clip(column.low, column.high)
    ended = Rule(label="nothing is measured after the end", holds="day <= time", source="made so")
    schema = replace(cohort.schema, rules=(ended,))
    return Cohort.of_tables(schema, cohort.static, visits, cohort.codes, cohort.outcome)


def measured(
    damages: Iterable[str],
    metrics: Mapping[str, Metric],
    n: int,
    replicates: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Return ``damage, metric, strength, value, low, high, better`` for every strength."""
    seeds = Seeds(seed).child("damage")
    train, test, clean = (patients(n, 3 * seed + part) for part in range(3))

    def view(cohort: Cohort, name: str) -> View:
        return View(cohort, poisson_weights(seeds.child(name).rng(), len(cohort), replicates))

    encoder = Encoder(train.schema, summarize(train))
    known, asked = view(train, "train"), view(test, "test")

    def rows(damage: str, strength: float, cohort: Cohort) -> Iterator[dict[str, object]]:
        evidence = Evidence(test.schema, encoder, known, asked, view(cohort, "synthetic"))
        for name, metric in metrics.items():
            for found in metric.measure(evidence, seeds.child("metric", name).rng()):
                if isinstance(found, Measure) and not found.key.column and not found.key.level:
                    called = f"{name}.{found.part}" if found.part else name
                    yield {
                        "damage": damage,
                        "metric": f"{called} {found.key.task}" if found.key.task else called,
                        "strength": strength,
                        "value": found.value,
                        "low": found.low,
                        "high": found.high,
                        "better": found.facts.get("better", metric.better),
                    }

    whole = list(rows("", 0.0, clean))
    found: list[dict[str, object]] = []
    for damage in damages:
        found += [{**row, "damage": damage} for row in whole]
        for strength in STRENGTHS[1:]:
            broken = damaged(damage, clean, strength, seeds.child(damage).rng())
            found += rows(damage, strength, broken)
    return pd.DataFrame(found)


def judged(found: pd.DataFrame) -> pd.DataFrame:
    """Return for every damage and metric what it does, and whether that is what was declared.

    A metric *falls* if strength and number are in one order (rank correlation of at least .9
    towards worse), and *leans* if no number leaves the interval of no damage for all that. It
    *stays* if none leaves it, in whatever order; else it *moves*. One that was declared to fall
    must fall or lean, one that was to stay must not leave the interval.
    """
    rows = []
    for (damage, metric), mine in found.groupby(["damage", "metric"], sort=False):
        verdict, rank = _verdict(mine.sort_values("strength", ignore_index=True))
        asked, name = DECLARED[str(damage)], str(metric)
        falls, stays = _among(name, asked.falls), _among(name, asked.stays)
        kept = verdict in ("falls", "leans") if falls else verdict in ("stays", "leans")
        rows.append(
            {
                "damage": damage,
                "metric": metric,
                "declared": "falls" if falls else "stays" if stays else "",
                "kept": kept or not (falls or stays),
                "found": verdict,
                "rank": rank,
            }
        )
    return pd.DataFrame(rows)


def _among(metric: str, names: Sequence[str]) -> bool:
    return metric in names or metric.split(" ", maxsplit=1)[0] in names


def _verdict(mine: pd.DataFrame) -> tuple[Verdict, float]:
    value, clean = mine["value"].to_numpy(float), mine.iloc[0]
    worse = pd.Series(badness(value, clean["better"]))
    rank = worse.corr(mine["strength"], method="spearman") if np.ptp(value) > 0 else 0.0
    inside = (value >= clean["low"] - 1e-12) & (value <= clean["high"] + 1e-12)
    if rank >= MONOTONE - 1e-9:
        return ("leans" if inside.all() else "falls"), float(rank)
    return ("stays" if inside.all() else "moves"), float(rank)


SIGNS: Mapping[str, str] = {"falls": "↓", "leans": "↘", "stays": "·", "moves": "~"}


def shown(table: pd.DataFrame) -> str:
    """Return a Markdown table *metric x damage*; declared cells are bold, with a ! if not so."""
    from tabulate import tabulate  # noqa: PLC0415

    cells: dict[str, dict[str, str]] = {}
    for row in table.itertuples():
        sign = SIGNS[str(row.found)]
        if row.declared:
            sign = f"**{sign}**" if row.kept else f"**{sign}**!"
        cells.setdefault(str(row.metric), {})[str(row.damage)] = sign
    heads = list(dict.fromkeys(table["damage"]))
    rows = [[name, *(mine.get(head, "") for head in heads)] for name, mine in cells.items()]
    return tabulate(rows, ["metric", *heads], tablefmt="github")


def main() -> None:
    """Print the table."""
    asked = argparse.ArgumentParser(description="What each metric sees of planted damage.")
    asked.add_argument("--patients", type=int, default=2000)
    asked.add_argument("--replicates", type=int, default=200)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--damage", action="append", choices=list(DAMAGES))
    asked.add_argument("--metric", action="append", choices=SETS["metrics"]["full"])
    asked.add_argument("--csv", help="where to write every number")
    given = asked.parse_args()
    metrics = {name: METRICS.build(name) for name in given.metric or SETS["metrics"]["full"]}
    metrics = {n: m for n, m in metrics.items() if m.needs_synthetic and n != "communication"}
    found = measured(given.damage or DAMAGES, metrics, given.patients, given.replicates, given.seed)
    if given.csv:
        found.to_csv(given.csv, index=False)
    sys.stdout.write(shown(judged(found)) + "\n")


if __name__ == "__main__":
    main()
