"""A small invented cohort with every part that a cohort can have."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.data import Cohort, Column, Outcome, Schema, Task, Vocabulary, Window
from fedbench.seeds import Seeds

__all__ = ["SCHEMA", "made_up", "made_up_sites"]

SCHEMA = Schema(
    name="made-up",
    clock="days since enrolment",
    static={
        "hospital": Column(
            kind="category", levels=("north", "south", "west"), roles=frozenset(["site"])
        ),
        "age": Column(
            kind="integer", low=18, high=100, unit="years", roles=frozenset(["quasi-identifier"])
        ),
        "weight": Column(kind="number", low=30, high=200, unit="kg"),
        "blood group": Column(kind="category", levels=("0", "A", "AB", "B")),
        "smoker": Column(kind="category", levels=("no", "yes"), roles=frozenset(["sensitive"])),
    },
    visits={
        "sodium": Column(kind="number", low=100, high=170, unit="mmol/l"),
        "crp": Column(kind="number", low=0.1, high=500, unit="mg/l", log=True),
    },
    vocabularies={
        "made-up": Vocabulary(
            codes={"D1": "diabetes", "H1": "hypertension"}, sensitive=frozenset(["D1"])
        )
    },
    windows=(
        Window(name="before", start=-400, end=0),
        Window(name="after", start=0, end=1000),
    ),
    outcome=Outcome(label="death", low=0, high=1000),
    tasks={
        "survival": Task(kind="survival", label="death", index=0),
        "year": Task(kind="classification", label="death in a year", index=0, horizon=365),
    },
)


def made_up(n: int = 400, seed: int = 0) -> Cohort:
    """Return ``n`` invented patients; risk rises with age, CRP and diabetes.

    >>> len(made_up(50))
    50
    """
    rng = Seeds(seed).child("made-up").rng()
    patients = np.array([f"p{i:06d}" for i in range(n)], dtype=object)
    age = np.clip(rng.normal(60, 15, n).round(), 18, 100)
    diabetes = rng.random(n) < 1 / (1 + np.exp(-(age - 75) / 10))
    frailty = (age - 60) / 15 + diabetes + rng.normal(0, 0.5, n)
    static = pd.DataFrame(
        {
            "patient": patients,
            "hospital": rng.choice(["north", "south", "west"], n, p=[0.5, 0.3, 0.2]),
            "age": age,
            "weight": _gappy(rng, np.clip(rng.normal(75, 15, n), 30, 200), 0.1),
            "blood group": rng.choice(["0", "A", "AB", "B"], n, p=[0.4, 0.4, 0.05, 0.15]),
            "smoker": rng.choice(["no", "yes"], n, p=[0.7, 0.3]),
        }
    )
    event = rng.random(n) < 1 / (1 + np.exp(-frailty))
    time = np.where(event, rng.uniform(1, 900, n) / (1 + np.exp(frailty) / 4), 900.0)
    outcome = pd.DataFrame(
        {"patient": patients, "time": np.clip(time, 1, 1000), "event": event.astype(int)}
    )
    return Cohort.of_tables(
        SCHEMA, static, _visits(rng, patients, frailty), _codes(rng, patients, diabetes), outcome
    )


def made_up_sites(n: int = 400, seed: int = 0) -> Mapping[str, Cohort]:
    """Return the invented patients by hospital."""
    cohort = made_up(n, seed)
    where = cohort.static["hospital"].astype(str).to_numpy()
    return {site: cohort.take(cohort.patients[where == site]) for site in sorted(set(where))}


def _visits(
    rng: np.random.Generator, patients: NDArray[np.object_], frailty: NDArray[np.float64]
) -> pd.DataFrame:
    counts = rng.poisson(3, len(patients))
    owner = np.repeat(np.arange(len(patients)), counts)
    n = len(owner)
    crp = np.exp(rng.normal(1 + frailty[owner] / 2, 0.8, n))
    return pd.DataFrame(
        {
            "patient": patients[owner],
            "day": rng.integers(-300, 200, n).astype(float),
            "sodium": _gappy(rng, np.clip(rng.normal(140, 4, n), 100, 170), 0.3),
            "crp": _gappy(rng, np.clip(crp, 0.1, 500), 0.2),
        }
    )


def _codes(
    rng: np.random.Generator, patients: NDArray[np.object_], diabetes: NDArray[np.bool_]
) -> pd.DataFrame:
    tense = rng.random(len(patients)) < 0.4
    return pd.DataFrame(
        {
            "patient": np.concatenate([patients[diabetes], patients[tense]]),
            "day": rng.integers(-300, 300, int(diabetes.sum() + tense.sum())).astype(float),
            "system": "made-up",
            "code": ["D1"] * int(diabetes.sum()) + ["H1"] * int(tense.sum()),
        }
    )


def _gappy(
    rng: np.random.Generator, values: NDArray[np.float64], share: float
) -> NDArray[np.float64]:
    return np.where(rng.random(len(values)) < share, np.nan, values)
