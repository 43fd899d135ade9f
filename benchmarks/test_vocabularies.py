"""Four hospitals of which two write the same diagnoses in another system: what helps?

One diagnosis in ten has a known counterpart. What is done about it: nothing (``apart``); the known
ones are mapped (``known``); every other one gets the known one of its kind besides, as codes do
that fall back to their category (``category``); adapters are brought together (``align``); and, as
what could be reached, all are mapped (``whole``). Patients are simulated, with one laboratory
value. Models that foresee the event are trained on synthetic records and tested on as many other
patients as there are. ``VOCABULARIES`` names the seeds (0,1,2).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fedbench.crosswalk import Crosswalk
from fedbench.data import Cohort, DataStore
from fedbench.datasets.simulated import Simulated
from fedbench.federation.inprocess import train
from fedbench.federation.study import Choice, Study
from fedbench.kinds import GENERATORS
from fedbench.seeds import Seeds

SEEDS = [int(seed) for seed in os.environ.get("VOCABULARIES", "0,1,2").split(",")]
EVERY, KNOWN, PATIENTS, WRITTEN = 40, 4, 600, 2000
SYSTEMS = ("icd10", "icd9")
SHORT = {"passes": 16, "time_passes": 16, "learning_rate": 5e-3}


class Arm(NamedTuple):
    """What is done about the two systems, and what is trained with which settings."""

    mapped: str
    generator: str
    settings: Mapping[str, Any]
    label: str = ""


def anchors() -> list[list[str]]:
    names = [Simulated(codes=EVERY, systems=SYSTEMS).names(system) for system in SYSTEMS]
    sides = [[f"simulated-{s}:{c}" for c in n] for s, n in zip(SYSTEMS, names, strict=True)]
    return [list(pair) for pair in zip(*sides, strict=True)][:KNOWN]


NOTHING = {"anchor": 0.0, "pull": 0.0}
ARMS = (
    Arm("apart", "latdiff", SHORT),
    Arm("apart", "align", {**SHORT, "anchors": anchors()}),
    Arm("apart", "align", {**SHORT, **NOTHING}, "align, without anchors and pull"),
    Arm("known", "latdiff", SHORT),
    Arm("category", "latdiff", SHORT),
    Arm("whole", "latdiff", SHORT),
    *(Arm(mapped, "tvae", {"passes": 60}) for mapped in ("apart", "known", "category", "whole")),
)


def records(seed: int) -> tuple[Simulated, Cohort]:
    # Patients of one truth, of whom half are kept back for the test.
    asked = Simulated(
        patients=2 * PATIENTS, labs=1, codes=EVERY, visits=5.0, systems=SYSTEMS, seed=seed
    )
    return asked, asked.load(DataStore())


def maps(asked: Simulated) -> Mapping[str, Crosswalk | None]:
    """Return what brings the second system to the first."""
    mine, theirs = (list(asked.names(system)) for system in SYSTEMS)
    # A diagnosis belongs to one of four diseases in turn, and so do the first four.
    kind = [mine[i % KNOWN] for i in range(EVERY)]
    pairs = {"known": (theirs[:KNOWN], mine[:KNOWN]), "category": (theirs, kind)}
    pairs["whole"] = (theirs, mine)
    found = {
        name: Crosswalk(
            "simulated-icd9",
            "simulated-icd10",
            pd.DataFrame({"source": source, "target": target, "part": ""}, dtype="string"),
        )
        for name, (source, target) in pairs.items()
    }
    return {"apart": None, **found}


def known(cohort: Cohort) -> pd.DataFrame:
    """Return what is known on the index day, a column per number and level."""
    table = cohort.table
    names = [name for name in table if str(name).endswith("@before") or name in ("age", "sex")]
    return pd.get_dummies(table[names], dtype=float).fillna(0.0)


def happened(cohort: Cohort) -> np.ndarray:
    """Return who has the event within a year."""
    event = (cohort.outcome["event"] == 1) & (cohort.outcome["time"] <= 365)
    return event.to_numpy()


def foreseen(learned: Cohort, test: Cohort) -> float:
    rows = known(learned)
    # Of a level that nobody has here or there is no column.
    others = known(test).reindex(columns=rows.columns, fill_value=0.0)
    spread = rows.to_numpy().std(axis=0)
    spread[spread == 0] = 1.0  # a level that nobody has, or everybody
    model = LogisticRegression(C=0.1, max_iter=1000)
    model.fit(rows.to_numpy() / spread, happened(learned))
    chances = model.predict_proba(others.to_numpy() / spread)[:, 1]
    return float(roc_auc_score(happened(test), chances))


def reached(arm: Arm, seed: int) -> tuple[float, float]:
    """Return the AUROC of models trained on synthetic, and on the real, records."""
    asked, cohort = records(seed)
    crosswalk = maps(asked)[arm.mapped]
    if crosswalk:
        cohort, _ = crosswalk.applied(cohort)
    learned, test = cohort.take(cohort.patients[::2]), cohort.take(cohort.patients[1::2])
    at = learned.static["hospital"]
    sites = {str(name): learned.take(learned.patients[at == name]) for name in at.unique()}
    study = Study(
        generator=Choice(arm.generator, arm.settings), strategy=Choice("fedavg"),
        sites=tuple(sorted(sites)), rounds=4, seed=seed,
    )  # fmt: skip
    fitted = train(study, sites)
    generator = GENERATORS.build(arm.generator, arm.settings)
    rng = Seeds(seed).child("vocabularies").rng()
    written = generator.sample(fitted.state, fitted.encoder, WRITTEN, rng)
    return foreseen(written, test), foreseen(learned, test)


def told(arm: Arm, found: Sequence[float], base: Sequence[float], real: Sequence[float]) -> str:
    apart = np.array(found) - np.array(base)
    half = float(stats.t.ppf(0.975, len(apart) - 1)) * apart.std(ddof=1) / np.sqrt(len(apart))
    return (
        f"{arm.mapped}, {arm.label or arm.generator}: AUROC {np.mean(found):.3f} (real records "
        f"{np.mean(real):.3f}), less latdiff apart {apart.mean():.3f} "
        f"({apart.mean() - half:.3f} to {apart.mean() + half:.3f})"
    )


def test_two_vocabularies(say: Callable[[str], None]) -> None:
    base: list[float] = []
    for arm in ARMS:
        found, real = zip(*(reached(arm, seed) for seed in SEEDS), strict=True)
        base = base or list(found)
        say(told(arm, found, base, real))
        assert min(real) > 0.6
