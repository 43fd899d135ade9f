"""How often 95 % intervals hold what they are about, for every number of every metric.

``python -m fedbench.testing.intervals`` prints a table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from fedbench.config import SETS
from fedbench.data import Cohort
from fedbench.encoding import Encoder, summarize
from fedbench.kinds import METRICS
from fedbench.metric import Evidence, Measure, Metric, View
from fedbench.seeds import Seeds
from fedbench.stats import poisson_weights
from fedbench.testing.damage import DAMAGES, damaged
from fedbench.testing.sensitivity import patients

__all__ = ["covered", "measured"]

TRAIN = 2000


def measured(  # noqa: PLR0913  (what is drawn, and how often)
    metrics: Mapping[str, Metric],
    n: int,
    draws: int,
    *,
    damage: str = "",
    strength: float = 0.0,
    replicates: int = 200,
    fixed: bool = False,
) -> Iterator[dict[str, object]]:
    """Yield every number of every draw: ``draw, metric, value, low, high``.

    Args:
        metrics: by name.
        n: real test patients, and as many synthetic ones, drawn anew each time.
        draws: how often.
        damage: planted in the synthetic ones, if any; see ``fedbench.testing.damage``.
        strength: of the damage.
        replicates: of the bootstrap.
        fixed: whether all draws have the same synthetic patients, as it is with metrics whose
            intervals are about one model.
    """
    train = patients(TRAIN, 0)
    encoder = Encoder(train.schema, summarize(train))
    known = View(train, np.ones((replicates, len(train)), np.uint8))
    for draw in range(draws):
        seeds = Seeds(draw).child("coverage")

        def view(cohort: Cohort, name: str, seeds: Seeds = seeds) -> View:
            return View(cohort, poisson_weights(seeds.child(name).rng(), len(cohort), replicates))

        test, made = (patients(n, s) for s in (1 + draw, 1_000_000 + draw * (not fixed)))
        if damage:
            made = damaged(damage, made, strength, seeds.child("damage").rng())
        sides = view(test, "test"), view(made, "synthetic")
        evidence = Evidence(train.schema, encoder, known, *sides)
        for name, metric in metrics.items():
            for found in metric.measure(evidence, seeds.child("metric", name).rng()):
                if isinstance(found, Measure) and not found.key.column:
                    called = f"{name}.{found.part}" if found.part else name
                    yield {
                        "draw": draw,
                        "metric": f"{called} {found.key.task}" if found.key.task else called,
                        "value": found.value,
                        "low": found.low,
                        "high": found.high,
                    }


def covered(found: pd.DataFrame) -> pd.DataFrame:
    """Return for every number its mean over draws, and how often intervals hold that mean."""
    rows = []
    for metric, mine in found.groupby("metric", sort=False):
        truth = mine["value"].mean()
        rows.append(
            {
                "metric": metric,
                "draws": len(mine),
                "mean": truth,
                "spread": mine["value"].std(),
                "covered": ((mine["low"] <= truth) & (truth <= mine["high"])).mean(),
                "too high": (mine["low"] > truth).mean(),
                "too low": (mine["high"] < truth).mean(),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Print the table."""
    from tabulate import tabulate  # noqa: PLC0415

    asked = argparse.ArgumentParser(description="How often intervals hold what they are about.")
    asked.add_argument("--patients", type=int, default=300)
    asked.add_argument("--draws", type=int, default=100)
    asked.add_argument("--replicates", type=int, default=200)
    asked.add_argument("--damage", choices=list(DAMAGES), default="")
    asked.add_argument("--strength", type=float, default=0.5)
    asked.add_argument("--fixed", action="store_true", help="the same synthetic patients always")
    asked.add_argument("--metric", action="append", choices=SETS["metrics"]["full"])
    given = asked.parse_args()
    metrics = {name: METRICS.build(name) for name in given.metric or SETS["metrics"]["full"]}
    found = measured(
        {n: m for n, m in metrics.items() if m.needs_synthetic and n != "communication"},
        given.patients,
        given.draws,
        damage=given.damage,
        strength=given.strength,
        replicates=given.replicates,
        fixed=given.fixed,
    )
    table = covered(pd.DataFrame(found))
    shown = tabulate(table.round(3).to_dict("records"), headers="keys", tablefmt="github")
    sys.stdout.write(shown + "\n")


if __name__ == "__main__":
    main()
