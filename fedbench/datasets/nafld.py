"""Real health records, enough of them for attacks to have power."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fedbench.data import (
    Cohort,
    Column,
    Dataset,
    DataStore,
    Outcome,
    Schema,
    Task,
    Vocabulary,
    Window,
    read_cohort,
)

TABLES = Path(__file__).parent / "tables" / "nafld"

DIAGNOSES = Vocabulary(
    codes={
        "nafld": "non-alcoholic fatty liver disease",
        "diabetes": "diabetes",
        "htn": "hypertension",
        "dyslipidemia": "dyslipidemia",
        "angina": "angina or ischemic heart disease",
        "mi": "myocardial infarction",
        "afib": "atrial fibrillation",
        "heart_failure": "heart failure",
        "stroke": "stroke",
        "cardiac_arrest": "cardiac arrest",
    },
    sensitive=frozenset(["diabetes"]),
)

SCHEMA = Schema(
    name="nafld",
    clock="days since the index date, on which the case of each matched set was diagnosed",
    cluster="matched_set",
    static={
        "age": Column(
            kind="integer", label="age at the index date", unit="years", low=18, high=110,
            roles=frozenset(["quasi-identifier"]),
        ),
        "sex": Column(
            kind="category", label="sex", levels=("female", "male"),
            roles=frozenset(["quasi-identifier"]),
        ),
        "weight": Column(kind="number", label="weight", unit="kg", low=25, high=300),
        "height": Column(kind="number", label="height", unit="cm", low=100, high=230),
    },
    visits={
        "hdl": Column(kind="number", label="HDL cholesterol", unit="mg/dl", low=5, high=250),
        "sbp": Column(
            kind="number", label="systolic blood pressure", unit="mmHg", low=50, high=300
        ),
        # The source holds only scores above 2.67, the usual cut-off for advanced fibrosis.
        "fib4": Column(kind="number", label="FIB-4 fibrosis score", low=2.67, high=50, log=True),
        "smoker": Column(
            kind="category", label="smokes", levels=("no", "yes"), roles=frozenset(["sensitive"])
        ),
    },
    vocabularies={"rochester": DIAGNOSES},
    windows=(Window(name="before", start=-8_000, end=0), Window(name="after", start=0, end=7_500)),
    outcome=Outcome(label="death", low=0, high=7_500),
    tasks={"death": Task(kind="survival", label="time to death from the index date", index=0)},
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Nafld(Dataset):
    """17,549 people of Olmsted County, their measurements, diagnoses and time to death.

    Cases with fatty liver disease and up to four controls each, of the same age and sex,
    make a matched set that is never torn apart. Every case has the code ``nafld`` on day 0;
    350 controls were diagnosed as well, most of them later. There are no hospitals in the
    data: deal the patients out with a partitioner.
    """

    title: ClassVar[str] = "Non-alcoholic fatty liver disease, Rochester Epidemiology Project"
    licence: ClassVar[str] = "LGPL (>= 2), as part of the R package survival"
    citation: ClassVar[str] = (
        "Allen AM et al. Nonalcoholic fatty liver disease incidence and impact on metabolic "
        "burden and death: a 20 year-community study. Hepatology 2018;67:1726-36. "
        "Therneau TM. A Package for Survival Analysis in R."
    )
    embedded: ClassVar[bool] = True

    @property
    def schema(self) -> Schema:
        return SCHEMA

    def load(self, store: DataStore) -> Cohort:
        return read_cohort(SCHEMA, TABLES)
