"""A small trial with long follow-up and real laboratory series."""

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
    Window,
    read_cohort,
)

TABLES = Path(__file__).parent / "tables" / "pbcseq"


def _sign(label: str, *levels: str) -> Column:
    return Column(kind="category", label=label, levels=levels or ("no", "yes"))


def _lab(label: str, unit: str, low: float, high: float, *, log: bool = True) -> Column:
    return Column(kind="number", label=label, unit=unit, low=low, high=high, log=log)


SCHEMA = Schema(
    name="pbcseq",
    clock="days since registration in the trial",
    static={
        "age": Column(
            kind="number", label="age at registration", unit="years", low=18, high=100,
            roles=frozenset(["quasi-identifier"]),
        ),
        "sex": Column(
            kind="category", label="sex", levels=("female", "male"),
            roles=frozenset(["quasi-identifier"]),
        ),
        "treatment": Column(
            kind="category", label="treatment", levels=("placebo", "D-penicillamine")
        ),
    },
    visits={
        "ascites": Column(
            kind="category", label="ascites", levels=("no", "yes"), roles=frozenset(["sensitive"])
        ),
        "hepatomegaly": _sign("enlarged liver"),
        "spiders": _sign("spider angiomas"),
        "edema": _sign("edema", "none", "untreated or resolved", "despite diuretics"),
        "bilirubin": _lab("serum bilirubin", "mg/dl", 0.1, 60),
        "cholesterol": _lab("serum cholesterol", "mg/dl", 50, 2_500),
        "albumin": _lab("serum albumin", "g/dl", 1, 9, log=False),
        "alk_phos": _lab("alkaline phosphatase", "U/l", 20, 20_000),
        "ast": _lab("aspartate aminotransferase", "U/ml", 5, 2_000),
        "platelets": _lab("platelets", "10⁹/l", 10, 1_200, log=False),
        "protime": _lab("prothrombin time", "s", 8, 40),
        "stage": _sign("histologic stage", "1", "2", "3", "4"),
    },
    windows=(
        Window(name="baseline", start=-7, end=0),
        Window(name="year1", start=0, end=365),
        Window(name="later", start=365, end=5_500),
    ),
    outcome=Outcome(label="death", low=0, high=5_500),
    tasks={"death": Task(kind="survival", label="time to death from registration", index=0)},
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Pbcseq(Dataset):
    """312 patients with primary biliary cholangitis, 1,945 visits, time to death.

    The event is death; the 29 patients who received a transplant are censored then.
    """

    title: ClassVar[str] = "Mayo Clinic trial in primary biliary cholangitis, sequential data"
    licence: ClassVar[str] = "LGPL (>= 2), as part of the R package survival"
    citation: ClassVar[str] = (
        "Murtaugh PA et al. Primary biliary cirrhosis: prediction of short-term survival based "
        "on repeated patient visits. Hepatology 1994;20:126-34. Therneau TM. A Package for "
        "Survival Analysis in R."
    )
    embedded: ClassVar[bool] = True

    @property
    def schema(self) -> Schema:
        return SCHEMA

    def load(self, store: DataStore) -> Cohort:
        return read_cohort(SCHEMA, TABLES)
