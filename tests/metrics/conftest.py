"""A small made-up cohort of every part, whose laws are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Cohort, Column, Outcome, Schema, Task, Vocabulary, Window
from fedbench.encoding import Encoder, summarize
from fedbench.metric import Evidence, View
from fedbench.stats import poisson_weights

STAGES = ("I", "II", "III", "IV")

SCHEMA = Schema(
    name="made-up",
    clock="days since enrolment",
    static={
        "age": Column(kind="integer", low=18, high=100),
        "sex": Column(kind="category", levels=("female", "male")),
        "stage": Column(kind="category", levels=STAGES),
        "bilirubin": Column(kind="number", low=0.1, high=60, log=True),
        "albumin": Column(kind="number", low=1, high=6),
        "copper": Column(kind="number", low=0, high=600),
    },
    visits={
        "sodium": Column(kind="number", low=100, high=170),
        "weight": Column(kind="number", low=30, high=200),
    },
    vocabularies={"icd": Vocabulary(codes={"K74": "cirrhosis", "E11": "diabetes", "I10": "bp"})},
    windows=(Window(name="early", start=-1, end=90), Window(name="late", start=90, end=365)),
    outcome=Outcome(label="death", low=0, high=5000),
    tasks={
        "three-year death": Task(kind="classification", label="death", index=90, horizon=1095),
        "survival": Task(kind="survival", label="death", index=90),
    },
)

Draw = Callable[[int, int], Cohort]
Judge = Callable[..., Evidence]


def _cohort(n: int, seed: int) -> Cohort:
    rng = np.random.default_rng(seed)
    ill = rng.normal(size=n)
    patients = np.array([f"p{seed}-{i:06d}" for i in range(n)], dtype=object)
    stage = np.digitize(ill + rng.normal(scale=0.5, size=n), [-1, 0, 1])
    tested = rng.random(n) < 0.75
    static = pd.DataFrame(
        {
            "patient": patients,
            "age": np.clip(np.round(60 + 5 * ill + rng.normal(scale=10, size=n)), 18, 100),
            "sex": np.where(rng.random(n) < 0.6, "female", "male"),
            "stage": pd.Series(np.array(STAGES, dtype=object)[stage]).mask(
                rng.random(n) < 0.1, None
            ),
            "bilirubin": np.clip(np.exp(0.5 + ill + rng.normal(scale=0.4, size=n)), 0.1, 60),
            "albumin": np.clip(3.5 - 0.3 * ill + rng.normal(scale=0.3, size=n), 1, 6),
            "copper": np.clip(100 + 40 * ill + rng.normal(scale=40, size=n), 0, 600),
        }
    )
    # Gaps come together, as tests that are ordered together do.
    static.loc[~tested, "copper"] = np.nan
    static.loc[~tested & (rng.random(n) < 0.8), "albumin"] = np.nan
    time = np.clip(np.ceil(rng.exponential(1500 * np.exp(-0.9 * ill))), 1, 4000)
    end = rng.uniform(1100, 4000, size=n).round()
    outcome = pd.DataFrame(
        {
            "patient": patients,
            "time": np.minimum(time, end),
            "event": (time <= end).astype(np.int64),
        }
    )
    visits = pd.concat([_visits(rng, patients, ill, day, share) for day, share in DAYS])
    codes = pd.concat([_codes(rng, patients, ill, code) for code in ("K74", "E11", "I10")])
    return Cohort.of_tables(SCHEMA, static, visits, codes, outcome)


DAYS = ((0, 1.0), (60, 0.8), (200, 0.6))


def _visits(
    rng: np.random.Generator, patients: np.ndarray, ill: np.ndarray, day: int, share: float
) -> pd.DataFrame:
    came = rng.random(len(patients)) < share
    n = int(came.sum())
    sodium = np.clip(140 - 2 * ill[came] + rng.normal(scale=3, size=n), 100, 170)
    return pd.DataFrame(
        {
            "patient": patients[came],
            "day": float(day) + rng.integers(0, 20, size=n),
            "sodium": np.where(rng.random(n) < 0.2, np.nan, sodium),
            "weight": np.clip(rng.normal(75, 12, size=n), 30, 200),
        }
    )


def _codes(
    rng: np.random.Generator, patients: np.ndarray, ill: np.ndarray, code: str
) -> pd.DataFrame:
    has = rng.random(len(patients)) < 1 / (1 + np.exp(1 - ill))
    return pd.DataFrame({"patient": patients[has], "day": 30.0, "system": "icd", "code": code})


@pytest.fixture
def draw() -> Draw:
    """Draws a cohort of ``n`` patients with a seed."""
    return _cohort


@pytest.fixture
def judge() -> Judge:
    """Puts cohorts in front of a metric: ``judge(test, synthetic, train=None, b=100, seed=0)``."""

    def evidence(
        test: Cohort, synthetic: Cohort, train: Cohort | None = None, b: int = 100, seed: int = 0
    ) -> Evidence:
        rng = np.random.default_rng(seed)
        known = test if train is None else train
        views = [View(c, poisson_weights(rng, len(c), b)) for c in (known, test, synthetic)]
        encoder = Encoder(known.schema, summarize(known))
        return Evidence(known.schema, encoder, views[0], views[1], views[2])

    return evidence


@pytest.fixture
def changed() -> Callable[..., Cohort]:
    """Returns a cohort with new columns in its static table or another."""

    def change(cohort: Cohort, name: str = "static", **columns: object) -> Cohort:
        return replace(cohort, **{name: getattr(cohort, name).assign(**columns)})

    return change
