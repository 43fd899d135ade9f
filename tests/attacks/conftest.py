from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Cohort, Column, Schema

SCHEMA = Schema(
    name="toy",
    clock="none",
    static={
        **{f"lab{i}": Column(kind="number", low=-8, high=8) for i in range(4)},
        "dose": Column(kind="number", low=0.001, high=1000, log=True),
        "ward": Column(kind="category", levels=("a", "b", "c")),
        "hiv": Column(kind="category", levels=("no", "yes"), roles=frozenset(["sensitive"])),
    },
)


def people(n: int, seed: int, prefix: str = "p") -> Cohort:
    """Patients with correlated laboratory values, some of them missing."""
    rng = np.random.default_rng(seed)
    health = rng.normal(size=n)
    labs = {f"lab{i}": 0.5 * health + rng.normal(size=n) for i in range(4)}
    for values in labs.values():
        values[rng.random(n) < 0.1] = np.nan
    ward = rng.choice(np.array(["a", "b", "c", None], dtype=object), n)
    hiv = np.where(health + rng.normal(size=n) > 1, "yes", "no").astype(object)
    hiv[rng.random(n) < 0.05] = None
    columns = {"patient": [f"{prefix}{i}" for i in range(n)], **labs}
    columns |= {"dose": np.exp(rng.normal(size=n)), "ward": ward, "hiv": hiv}
    return Cohort.of_tables(SCHEMA, pd.DataFrame(columns))


@pytest.fixture(name="people", scope="session")
def _people() -> Callable[..., Cohort]:
    return people
