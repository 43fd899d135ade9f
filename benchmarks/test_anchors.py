"""Do adapters and anchors carry what one coding system tells over to another?

Two hospitals of 80 patients write one system, two of 14 another, in which a code always follows a
second one. How often does it in 2,000 patients that are written: with both codes anchored, without
anchors and pull, and with ``latdiff``, to which the systems are unrelated columns? Five seeds, each
with other patients and another start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from fedbench.data import Cohort, Column, Outcome, Schema, Vocabulary, Window
from fedbench.federation.inprocess import train
from fedbench.federation.study import Choice, Study
from fedbench.kinds import GENERATORS
from fedbench.seeds import Seeds

SEEDS, WRITTEN, MOST = range(5), 2000, 8
SIZES = {"w": 80, "x": 80, "y": 14, "z": 14}
FEW = ("y", "z")
SCHEMA = Schema(
    name="planted",
    clock="days",
    static={"sex": Column(kind="category", levels=("female", "male"))},
    visits={"lab": Column(kind="number", low=-6, high=6)},
    vocabularies={
        "icd": Vocabulary(codes={"A": "first", "B": "follows A", "C": "alone"}),
        "local": Vocabulary(codes={"a": "first", "b": "follows a", "c": "alone"}),
    },
    windows=(Window(name="all", start=-1, end=600),),
    outcome=Outcome(label="death", low=0, high=600),
)
SIZE: Mapping[str, Any] = {
    "passes": 30, "time_passes": 8, "batch": 32, "learning_rate": 5e-3, "hidden": 32, "rank": 16,
    "wide": 16, "layers": 1, "latent": 6,
}  # fmt: skip


class Arm(NamedTuple):
    """What is trained with which settings."""

    label: str
    generator: str
    settings: Mapping[str, Any]


ARMS = (
    Arm("align, anchored", "align", {"anchors": [["icd:A", "local:a"], ["icd:B", "local:b"]]}),
    Arm("align, without anchors", "align", {}),
    Arm("align, without anchors and pull", "align", {"anchor": 0.0, "pull": 0.0}),
    Arm("latdiff", "latdiff", {}),
)


def patients(name: str, n: int, rng: np.random.Generator) -> Cohort:
    """Return patients who come every 30 days, whose B follows A and whose lab remembers itself."""
    who = np.array([f"{name}{i:03d}" for i in range(n)], dtype=object)
    row, step = np.nonzero(np.arange(MOST) < rng.integers(2, MOST + 1, n)[:, None])
    day = np.cumsum(rng.integers(25, 36, (n, MOST)), axis=1) - 25.0
    lab = rng.normal(size=(n, MOST))
    for i in range(1, MOST):
        lab[:, i] = 0.9 * lab[:, i - 1] + np.sqrt(1 - 0.81) * lab[:, i]
    lab[rng.random(lab.shape) < 0.2] = np.nan
    first = rng.random((n, MOST)) < 0.3
    second = np.pad(first[:, :-1], ((0, 0), (1, 0)))
    told = {"A": first, "B": second, "C": rng.random((n, MOST)) < 0.2}
    visits = pd.DataFrame({"patient": who[row], "day": day[row, step], "lab": lab[row, step]})
    local = name in FEW
    codes = pd.concat(
        visits.loc[there[row, step], ["patient", "day"]].assign(
            system="local" if local else "icd", code=code.lower() if local else code
        )
        for code, there in told.items()
    )
    static = pd.DataFrame({"patient": who, "sex": rng.choice(["female", "male"], n)})
    outcome = pd.DataFrame({"patient": who, "time": 500.0, "event": rng.integers(0, 2, n)})
    return Cohort.of_tables(SCHEMA, static, visits, codes, outcome)


def followed(arm: Arm, seed: int) -> float:
    """Return how often b is there after a visit with a, in the system that 28 patients have."""
    rng = np.random.default_rng(seed)
    sites = {name: patients(name, n, rng) for name, n in SIZES.items()}
    settings = {**SIZE, **({"adapter": 8} if arm.generator == "align" else {}), **arm.settings}
    study = Study(
        generator=Choice(arm.generator, settings), strategy=Choice("fedavg"),
        sites=tuple(sites), rounds=3, seed=seed,
    )  # fmt: skip
    fitted = train(study, sites)
    generator = GENERATORS.build(arm.generator, settings)
    drawn = Seeds(seed).child("anchors").rng()
    steps = generator.sample(fitted.state, fitted.encoder, WRITTEN, drawn).sequences
    has, names = steps.multi_hot(slice(None)), list(steps.vocabulary)
    first, second = (has[:, names.index(("local", code))] for code in "ab")
    same = steps.owner[1:] == steps.owner[:-1]
    assert first[:-1][same].sum() > 30
    return float(second[1:][same & first[:-1]].mean())


def test_anchors(say: Callable[[str], None]) -> None:
    found = {arm.label: np.array([followed(arm, seed) for seed in SEEDS]) for arm in ARMS}
    with_anchors = found[ARMS[0].label]
    for label, each in found.items():
        less = with_anchors - each
        half = float(stats.t.ppf(0.975, len(less) - 1)) * less.std(ddof=1) / np.sqrt(len(less))
        say(
            f"{label}: the second code follows in {each.mean():.3f} ({each.min():.3f} to "
            f"{each.max():.3f}); anchored ones more by {less.mean():.3f} "
            f"({less.mean() - half:.3f} to {less.mean() + half:.3f})"
        )
