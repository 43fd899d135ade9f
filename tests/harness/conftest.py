"""Small made-up hospitals with every part that a cohort can have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from fedbench.data import (
    OTHER,
    Cohort,
    Column,
    Outcome,
    Schema,
    Task,
    Vocabulary,
    Window,
)

SCHEMA = Schema(
    name="made-up",
    clock="days since enrolment",
    cluster="household",
    static={
        "hospital": Column(kind="category", levels=("north", "south"), roles=frozenset(["site"])),
        "age": Column(kind="integer", low=18, high=100),
        "weight": Column(kind="number", low=30, high=200),
        "stage": Column(kind="category", levels=("I", "II", "III")),
        "town": Column(kind="category", levels=("Ulm", OTHER)),
    },
    visits={
        "sodium": Column(kind="number", low=100, high=170, unit="mmol/l"),
        "smoker": Column(kind="category", levels=("no", "yes")),
    },
    vocabularies={
        "icd": Vocabulary(codes={"K74": "cirrhosis", "E11": "diabetes", OTHER: "any other"}),
        "atc": Vocabulary(codes={"A10": "drugs for diabetes"}),
    },
    windows=(Window(name="early", start=-100, end=0), Window(name="late", start=0, end=200)),
    outcome=Outcome(label="death", low=0, high=1_000),
    tasks={
        "survival": Task(kind="survival", label="death", index=0),
        "year": Task(kind="classification", label="death in a year", index=50, horizon=365),
    },
)


@dataclass(frozen=True)
class Tables:
    """What a hospital would hand in."""

    static: pd.DataFrame
    visits: pd.DataFrame
    codes: pd.DataFrame
    outcome: pd.DataFrame

    def cohort(self, schema: Schema = SCHEMA) -> Cohort:
        return Cohort.of_tables(schema, self.static, self.visits, self.codes, self.outcome)


def tables_of(n: int, seed: int) -> Tables:
    rng = np.random.default_rng(seed)
    patients = np.array([f"p{number}" for number in rng.permutation(n)], dtype=object)

    def gaps(values: np.ndarray) -> pd.Series:
        return pd.Series(values.astype(object)).mask(rng.random(len(values)) < 0.2, None)

    visits, codes = rng.choice(patients, 3 * n), rng.choice(patients, 2 * n)
    system = rng.choice(["icd", "atc"], 2 * n, p=[0.8, 0.2])
    icd = rng.choice(["K74", "E11", "Z99"], 2 * n)
    return Tables(
        static=pd.DataFrame(
            {
                "patient": patients,
                "household": rng.integers(0, max(n // 2, 1), n),
                "hospital": rng.choice(["north", "south"], n),
                "age": gaps(rng.integers(18, 101, n)),
                "weight": gaps(rng.uniform(30, 200, n)),
                "stage": gaps(rng.choice(["I", "II", "III"], n)),
                "town": gaps(rng.choice(["Ulm", "Bonn"], n)),
            }
        ),
        visits=pd.DataFrame(
            {
                "patient": visits,
                "day": rng.integers(-120, 250, 3 * n),
                "sodium": gaps(rng.uniform(100, 170, 3 * n)),
                "smoker": gaps(rng.choice(["no", "yes"], 3 * n)),
            }
        ),
        codes=pd.DataFrame(
            {
                "patient": codes,
                "day": rng.integers(-120, 250, 2 * n),
                "system": system,
                "code": np.where(system == "icd", icd, "A10"),
            }
        ),
        outcome=pd.DataFrame(
            {
                "patient": rng.permutation(patients),
                "time": rng.uniform(0, 1_000, n),
                "event": rng.integers(0, 2, n),
            }
        ),
    )


@pytest.fixture(scope="session")
def hospital_tables() -> Callable[[int, int], Tables]:
    """Draw the tables of ``n`` patients from a seed."""
    return tables_of


@pytest.fixture(scope="session")
def made_up() -> Callable[[int, int], Cohort]:
    """Draw a cohort of ``n`` patients from a seed."""
    return lambda n, seed: tables_of(n, seed).cohort()
