"""Do 95 % intervals hold the expected value at these numbers of patients 95 times in 100?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Cohort, Column, Schema
from fedbench.encoding import Encoder, summarize
from fedbench.metric import Evidence, Measure, Metric, View
from fedbench.metrics.associations import Associations
from fedbench.metrics.columns import Columns
from fedbench.metrics.marginals import Marginals
from fedbench.metrics.missingness import Missingness
from fedbench.metrics.quality import Quality
from fedbench.stats import poisson_weights

LEVELS = tuple("abcde")
NUMBERS = ("x", "y", "z")
SCHEMA = Schema(
    name="known",
    clock="",
    static={
        "c": Column(kind="category", levels=LEVELS),
        **{name: Column(kind="number", low=-6, high=6) for name in NUMBERS},
    },
)
NOBODY = pd.DataFrame({"patient": []})
DRAWS = 100
CONDITIONAL = ("outside", "uncovered")
"""Shares beyond a range that is taken as it is: their limits are Clopper and Pearson's."""


def known(rng: np.random.Generator, n: int, away: float) -> Cohort:
    """Patients whose shift, correlation and gaps grow with ``away``."""
    common = rng.normal(size=(n, 1)) * np.sqrt(0.2 + 0.5 * away)
    values = common + rng.normal(size=(n, 3)) * np.sqrt(0.8 - 0.5 * away) + away
    gone = rng.random((n, 1)) + 0.2 * rng.normal(size=(n, 3)) < 0.2 + 0.5 * away
    chances = np.array([0.4, 0.3, 0.15, 0.1, 0.05]) * (1 - away) + away * 0.2
    static = pd.DataFrame(np.where(gone, np.nan, values.clip(-6, 6)), columns=list(NUMBERS))
    static["c"] = pd.Categorical(rng.choice(LEVELS, n, p=chances), list(LEVELS))
    static["patient"] = np.arange(n).astype(str).astype(object)
    return Cohort(SCHEMA, static, NOBODY, NOBODY, NOBODY)


@pytest.mark.parametrize("away", [0.0, 0.6])
def test_intervals_cover(away: float) -> None:
    rng = np.random.default_rng(7)
    train = known(rng, 2000, 0)
    encoder = Encoder(SCHEMA, summarize(train))
    metrics: list[Metric] = [
        Marginals(bins=10),
        Associations(),
        Missingness(),
        Columns(bins=10),
        Quality(correlation=0, association=0),
    ]
    found: dict[str, list[Measure]] = {}
    for _ in range(DRAWS):
        test, fake = (
            View(c, poisson_weights(rng, len(c), 100))
            for c in (known(rng, 150, 0), known(rng, 250, away))
        )
        evidence = Evidence(SCHEMA, encoder, View(train, test.weights[:, :0]), test, fake)
        for metric in metrics:
            for m in metric.measure(evidence, np.random.default_rng(0)):
                assert isinstance(m, Measure)
                if m.part in CONDITIONAL:
                    continue
                found.setdefault(f"{metric.describe()} {m.part} {m.key.column}", []).append(m)
    for name, measures in found.items():
        truth = np.mean([m.value for m in measures])
        share = np.mean([m.low <= truth <= m.high for m in measures])
        # 100 draws, three standard errors below .95.
        assert share > 0.88, (name, share)
