"""Seriously ill adults in five US hospitals, without the columns that give the death away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fedbench.data import Cohort, Column, DataStore, Outcome, Role, Rule, Schema, Task
from fedbench.datasets._reading import Kind, ask
from fedbench.datasets._survset import Unpacked

if TYPE_CHECKING:
    import pandas as pd

ENTERED = "https://doi.org/10.7326/0003-4819-122-3-199502010-00007"
"""Who was entered into the study, and with which disease."""

DAY = 3.0
"""Of the study: physiology is that of this day."""
LAST = 2_200
"""Days; the last follow-up was 2,029 days after entry."""

PERSONAL: frozenset[Role] = frozenset(["quasi-identifier"])


def _third_day(label: str, unit: str, low: float, high: float, *, log: bool = False) -> Column:
    return Column(
        kind="number", label=f"{label}, day 3", unit=unit, low=low, high=high, log=log, known=DAY
    )


MEASURED = {
    "meanbp": _third_day("mean arterial pressure", "mmHg", 5, 250),
    "wblc": _third_day("white blood cells", "10^9/l", 0.02, 250, log=True),
    "hrt": _third_day("heart rate", "1/min", 1, 300),
    "resp": _third_day("respiratory rate", "1/min", 1, 100),
    "temp": _third_day("temperature", "degrees C", 30, 43),
    "pafi": _third_day("PaO2/FiO2", "mmHg", 10, 1_000),
    "alb": _third_day("serum albumin", "g/dl", 0.3, 8),
    "bili": _third_day("bilirubin", "mg/dl", 0.09, 80, log=True),
    "crea": _third_day("serum creatinine", "mg/dl", 0.09, 30, log=True),
    "sod": _third_day("serum sodium", "mmol/l", 90, 200),
    "ph": _third_day("arterial pH", "", 6.5, 8),
    "glucose": _third_day("glucose", "mg/dl", 1, 1_500, log=True),
    "bun": _third_day("blood urea nitrogen", "mg/dl", 1, 300, log=True),
    "urine": _third_day("urine output", "ml", 0, 10_000),
}
LEVELS: Mapping[str, tuple[str, ...]] = {
    "sex": ("female", "male"),
    "race": ("asian", "black", "hispanic", "other", "white"),
    "income": ("under $11k", "$11-$25k", "$25-$50k", ">$50k"),
    "dzgroup": (
        "ARF/MOSF w/Sepsis", "CHF", "COPD", "Cirrhosis", "Colon Cancer", "Coma", "Lung Cancer",
        "MOSF w/Malig",
    ),
    "ca": ("no", "yes", "metastatic"),
}  # fmt: skip
SAID = ("diabetes", "dementia")

SCHEMA = Schema(
    name="support2",
    clock="days since entry into the study",
    static={
        "age": Column(kind="number", label="age", unit="years", low=18, high=110, roles=PERSONAL),
        "sex": Column(kind="category", label="sex", levels=LEVELS["sex"], roles=PERSONAL),
        "race": Column(kind="category", label="race", levels=LEVELS["race"], roles=PERSONAL),
        "edu": Column(
            kind="integer", label="education", unit="years", low=0, high=35, roles=PERSONAL
        ),
        "income": Column(
            kind="category", label="income", levels=LEVELS["income"],
            roles=frozenset(["sensitive"]),
        ),
        "dzgroup": Column(
            kind="category", label="disease for which she was entered", levels=LEVELS["dzgroup"]
        ),
        "num_co": Column(kind="integer", label="other diseases", low=0, high=20),
        "ca": Column(kind="category", label="cancer", levels=LEVELS["ca"]),
        "diabetes": Column(
            kind="category", label="diabetes", levels=("no", "yes"), roles=frozenset(["sensitive"])
        ),
        "dementia": Column(
            kind="category", label="dementia", levels=("no", "yes"), roles=frozenset(["sensitive"])
        ),
        "hday": Column(
            kind="integer", label="day in hospital on entry", unit="days", low=1, high=400,
            log=True,
        ),
        "scoma": Column(
            kind="integer", label="coma score, 0 to 100, day 3", low=0, high=100, known=DAY
        ),
        **MEASURED,
    },
    outcome=Outcome(label="death", low=0, high=LAST),
    tasks={
        "death": Task(kind="survival", label="time to death, foreseen on day 3", index=DAY),
        "six months": Task(
            kind="classification", label="death within 180 days, foreseen on day 3", index=DAY,
            horizon=180,
        ),
    },
    rules=(
        Rule(
            label="colon cancer is entered with metastases", holds="ca = metastatic",
            when="dzgroup = Colon Cancer", source=ENTERED,
        ),
        Rule(
            label="organ failure with malignancy is with cancer", holds="ca != no",
            when="dzgroup = MOSF w/Malig", source=ENTERED,
        ),
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Support2(Unpacked):
    """9,105 seriously ill adults of SUPPORT phases I and II: who dies, and when?

    Needs the folder ``survset`` with ``support2.csv``, which ``tools/unpack_survset.py`` writes.
    The five hospitals are not in it: deal patients with ``iid``, ``quantity``, ``dirichlet`` or
    ``covariate``.

    Left out is what was written down when it was known who had died (``sfdm2`` has the level
    "<2 mo. follow-up") or depends on it (``dnr``, and ``adlp`` and ``adls``, which were asked of
    who could still answer), and what another model foresaw (``sps``, ``surv2m``, ``surv6m``);
    ``dzclass`` only sums up ``dzgroup``. Physiology is that of day 3, and so is the index time:
    who died earlier takes part in no task. A field that says "missing" is missing, as is a number
    that is not possible (a heart rate of 0, an albumin of 29); numbers are rounded to hundredths.
    """

    title: ClassVar[str] = "SUPPORT: prognoses of seriously ill hospitalized adults"
    licence: ClassVar[str] = (
        "as its publisher offers it (https://hbiostat.org/data, courtesy of the Department of "
        "Biostatistics, Vanderbilt University); GPL-3 as part of SurvSet"
    )
    citation: ClassVar[str] = (
        "Knaus WA, Harrell FE, Lynn J, et al. The SUPPORT prognostic model. Objective estimates "
        "of survival for seriously ill hospitalized adults. Ann Intern Med 1995;122:191-203, "
        f"{ENTERED}. Data: https://hbiostat.org/data, "
        "Department of Biostatistics, Vanderbilt University. Drysdale E. SurvSet, 2022, "
        "https://arxiv.org/abs/2203.03094"
    )
    tables: ClassVar[Mapping[str, Mapping[str, Kind]]] = {
        "support2": {
            "pid": "text",
            **dict.fromkeys(LEVELS, "text"),
            **dict.fromkeys(SAID, "whole"),
            **dict.fromkeys(("age", "edu", "num_co", "hday", "scoma", *MEASURED), "number"),
            "time": "number",
            "event": "whole",
        }
    }

    @property
    def schema(self) -> Schema:
        return SCHEMA

    def load(self, store: DataStore) -> Cohort:
        raw = ask("SELECT * FROM rows", rows=self.read(store)["support2"])
        raw = raw.rename(columns={"pid": "patient"})
        for name in LEVELS:
            raw[name] = raw[name].replace("missing", None)
        for name in SAID:
            raw[name] = raw[name].map({0: "no", 1: "yes"})
        for name, column in SCHEMA.static.items():
            if column.kind != "category":
                raw[name] = _possible(raw[name], column)
        return Cohort.of_tables(SCHEMA, raw, outcome=raw)


def _possible(values: pd.Series, column: Column) -> pd.Series:
    """Return hundredths, as they were before they were packed; the impossible is missing."""
    values = values.round(2)
    return values.where(values.between(column.low, column.high))
