"""A dataset: a public description, and records that follow it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
from annotated_types import Ge

from fedbench.data import Cohort, Column, Dataset, DataStore, Outcome, Schema, Task

SCHEMA = Schema(
    name="template",
    clock="days since admission",
    static={
        "hospital": Column(
            kind="category", levels=("north", "south"), roles=frozenset(["site"]), label="hospital"
        ),
        "age": Column(
            kind="integer", label="age", unit="years", low=18, high=100,
            roles=frozenset(["quasi-identifier"]),
        ),
        "smoker": Column(
            kind="category", levels=("no", "yes"), roles=frozenset(["sensitive"]), label="smokes"
        ),
        "creatinine": Column(
            kind="number", label="creatinine", unit="mg/dl", low=0.2, high=20, log=True
        ),
    },
    outcome=Outcome(label="death", low=0, high=90),
    tasks={
        "death": Task(
            kind="classification", label="death within 30 days", index=0, horizon=30
        )
    },
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Template(Dataset):
    """Invented patients; read yours in ``load``, from a folder that ``store`` finds.

    Attributes:
        patients: how many.
    """

    title: ClassVar[str] = "Invented patients"
    licence: ClassVar[str] = "none needed: nobody is real"
    citation: ClassVar[str] = "say here whom to cite, with a link"
    embedded: ClassVar[bool] = True

    patients: Annotated[int, Ge(1)] = 400

    @property
    def schema(self) -> Schema:
        """What everybody may know: columns, units, plausible bounds, tasks. No record is used."""
        return SCHEMA

    def load(self, store: DataStore) -> Cohort:
        """Return the records; the same ones every time.

        Yours come from files, as docs/datasets.md explains:
        ``static = pd.read_csv(store.folder("template") / "static.csv", dtype={"patient": str})``
        """
        rng = np.random.default_rng(0)
        names = [f"p{number}" for number in range(self.patients)]
        age = rng.integers(18, 90, self.patients)
        dies = rng.random(self.patients) < age / 200
        static = pd.DataFrame(
            {
                "patient": names,
                "hospital": rng.choice(["north", "south"], self.patients, p=[0.7, 0.3]),
                "age": age,
                "smoker": rng.choice(["no", "yes"], self.patients),
                "creatinine": np.exp(0.01 * age + rng.normal(0, 0.2, self.patients)).round(2),
            }
        )
        ends = np.where(dies, rng.integers(1, 31, self.patients), 90.0)
        outcome = pd.DataFrame({"patient": names, "time": ends, "event": dies.astype(np.int64)})
        return Cohort.of_tables(SCHEMA, static, outcome=outcome)
