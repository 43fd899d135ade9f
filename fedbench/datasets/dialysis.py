"""Haemodialysis in 67 real centres, the largest number of natural sites here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from fedbench.data import Cohort, Column, DataStore, Outcome, Schema, Task
from fedbench.datasets._reading import Kind, ask
from fedbench.datasets._survset import Unpacked

MONTH = 365.25 / 12
"""Days; the records count whole months."""
END = 44
"""The last month of the study, counted from January 1998."""

DISEASES = {
    "congen": "congenital",
    "diabetes": "diabetes",
    "hypert": "hypertension",
    "renal": "renal",
    "other": "other",
}
NUMBERS = (
    120, 128, 184, 217, 344, 561, 562, 641, 741, 743, 917, 918, 936, 954, 983, 984, 1029, 1039,
    1048, 1051, 1053, 1061, 1064, 1070, 1071, 1072, 1093, 1100, 1159, 1372, 1437, 1654, 1692,
    1699, 2026, 2210, 2211, 2242, 2320, 2351, 2611, 2632, 2811, 2844, 2987, 3064, 3596, 3675,
    4122, 4157, 4163, 4779, 4825, 5089, 5135, 5419, 5423, 5432, 5481, 5495, 5513, 5514, 5543,
    5653, 5681, 5692, 5768,
)  # fmt: skip
CENTRES = tuple(map(str, NUMBERS))

SCHEMA = Schema(
    name="dialysis",
    clock="days since the month in which dialysis began, in whole months of 30.44 days",
    static={
        "center": Column(
            kind="category", label="dialysis centre", levels=CENTRES, roles=frozenset(["site"])
        ),
        "age": Column(
            kind="integer", label="age", unit="years", low=0, high=110,
            roles=frozenset(["quasi-identifier"]),
        ),
        "begin": Column(
            kind="integer", label="month in which dialysis began, 1 is January 1998", low=1,
            high=END, roles=frozenset(["quasi-identifier"]),
        ),
        "disease": Column(
            kind="category", label="disease that led to dialysis",
            levels=tuple(DISEASES.values()), roles=frozenset(["sensitive"]),
        ),
    },
    outcome=Outcome(label="death", low=0, high=1_400),
    tasks={
        "death": Task(kind="survival", label="time to death from the start of dialysis", index=0)
    },
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Dialysis(Unpacked):
    """6,805 patients of all 67 federally funded dialysis centres of Rio de Janeiro State.

    Needs the folder ``survset`` with ``dialysis.csv``, which ``tools/unpack_survset.py`` writes.
    The centres have 4 to 241 patients, 32 of them at least 100: deal with ``partition = { name =
    "natural", minimum = 100, merge = true }`` or so. Time is counted in whole months, from 1 to 44.
    Who lived when the study ended (August 2000) is censored then: followed the shorter the later
    she came; so no task asks who is dead by some day, which leaves out the living who came late and
    keeps the dead. ``disease`` is what led to dialysis.
    """

    title: ClassVar[str] = "Haemodialysis in Rio de Janeiro State, 1998 to 2000"
    licence: ClassVar[str] = (
        "GPL (>= 2), as part of the R package RcmdrPlugin.survival; GPL-3 as part of SurvSet"
    )
    citation: ClassVar[str] = (
        "Sa Carvalho M, Henderson R, Shimakura S, Sousa IPSC. Survival of hemodialysis patients: "
        "modeling differences in risk of dialysis centers. Int J Qual Health Care 2003;15:189-96. "
        "Fox J, Carvalho MS. The RcmdrPlugin.survival package. J Stat Softw 2012;49(7):1-32, "
        "https://doi.org/10.18637/jss.v049.i07. Drysdale E. SurvSet, 2022, "
        "https://arxiv.org/abs/2203.03094"
    )
    tables: ClassVar[Mapping[str, Mapping[str, Kind]]] = {
        "dialysis": {
            "pid": "text", "center": "text", "age": "number", "begin": "number",
            "disease": "text", "time": "number", "event": "whole",
        }
    }  # fmt: skip

    @property
    def schema(self) -> Schema:
        return SCHEMA

    def load(self, store: DataStore) -> Cohort:
        raw = ask("SELECT * FROM rows", rows=self.read(store)["dialysis"])
        raw = raw.rename(columns={"pid": "patient"}).assign(time=raw["time"] * MONTH)
        raw["disease"] = raw["disease"].replace(DISEASES)
        return Cohort.of_tables(SCHEMA, raw, outcome=raw)
