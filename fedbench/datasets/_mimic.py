"""What MIMIC-III and MIMIC-IV have in common: hospital admissions at one hospital in Boston."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fedbench.coding import backed_off, categories, spelled
from fedbench.data import (
    OTHER,
    Cohort,
    Column,
    DataStore,
    Outcome,
    Role,
    Rule,
    Schema,
    Task,
    Vocabulary,
    Window,
)
from fedbench.datasets._followed import asked
from fedbench.datasets._left_out import orphans, repeated, strange
from fedbench.datasets._mimic_items import LABS, VITALS, Measured
from fedbench.datasets._mimic_visits import CHART, UNIT, Source, visits_of
from fedbench.datasets._reading import FromFolder, Kind, Table
from fedbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

HORIZON = 365.0
"""Days; hardly any stay is longer."""
MONTH = 30.0
INDEX = 1.0
OLDEST = 90
"""Stands for everybody older than 89, whose age is not told."""
EARLIER = 50
NOWHERE = "no intensive care"


def texts(*names: str) -> Mapping[str, Kind]:
    """Identifiers, times and codes are read as text."""
    return dict.fromkeys(names, "text")


ADMISSIONS: Mapping[str, Kind] = {
    **texts(
        "subject_id", "hadm_id", "admittime", "dischtime", "deathtime", "admission_type",
        "admission_location", "discharge_location", "insurance", "marital_status", "edregtime",
    ),
    "hospital_expire_flag": "number",
}  # fmt: skip
ICUSTAYS = ("subject_id", "hadm_id", "first_careunit", "intime")
LABEVENTS: Mapping[str, Kind] = {
    **texts("hadm_id", "charttime", "valueuom"), "itemid": "whole", "valuenum": "number",
}  # fmt: skip
CHARTEVENTS: Mapping[str, Kind] = {
    **texts("hadm_id", "charttime", "value"), "itemid": "whole", "valuenum": "number",
}  # fmt: skip

CAME: Mapping[str, tuple[str, ...]] = {
    "emergency room": ("EMERGENCY ROOM ADMIT", "EMERGENCY ROOM"),
    "referral": (
        "CLINIC REFERRAL/PREMATURE", "PHYS REFERRAL/NORMAL DELI", "HMO REFERRAL/SICK",
        "PHYSICIAN REFERRAL", "CLINIC REFERRAL", "WALK-IN/SELF REFERRAL",
    ),
    "transfer": (
        "TRANSFER FROM HOSP/EXTRAM", "TRANSFER FROM SKILLED NUR", "TRANSFER FROM OTHER HEALT",
        "TRSF WITHIN THIS FACILITY", "TRANSFER FROM HOSPITAL",
        "TRANSFER FROM SKILLED NURSING FACILITY", "INTERNAL TRANSFER TO OR FROM PSYCH",
        "AMBULATORY SURGERY TRANSFER",
    ),
}  # fmt: skip
WENT: Mapping[str, tuple[str, ...]] = {
    "home": ("HOME",),
    "home with care": ("HOME HEALTH CARE", "HOME WITH HOME IV PROVIDR"),
    "nursing or rehabilitation": (
        "SNF", "SNF-MEDICAID ONLY CERTIF", "SKILLED NURSING FACILITY", "ICF", "REHAB",
        "REHAB/DISTINCT PART HOSP", "LONG TERM CARE HOSPITAL", "CHRONIC/LONG TERM ACUTE CARE",
        "ASSISTED LIVING",
    ),
    "other hospital": (
        "SHORT TERM HOSPITAL", "ACUTE HOSPITAL", "DISCH-TRAN TO PSYCH HOSP", "PSYCH FACILITY",
        "DISC-TRAN CANCER/CHLDRN H", "DISC-TRAN TO FEDERAL HC",
    ),
    "hospice": ("HOSPICE-HOME", "HOSPICE-MEDICAL FACILITY", "HOSPICE"),
    "against advice": ("LEFT AGAINST MEDICAL ADVI", "AGAINST ADVICE"),
    "died": ("DEAD/EXPIRED", "DIED"),
}  # fmt: skip
RACES = {
    "asian": ("ASIAN",),
    "black": ("BLACK",),
    "hispanic": ("HISPANIC", "SOUTH AMERICAN"),
    "native american": ("AMERICAN INDIAN",),
    "white": ("WHITE",),
}
"""By the words that the source's names begin with."""
MARRIED = ("divorced", "married", "separated", "single", "widowed")
UNKNOWN = (
    "UNKNOWN/NOT SPECIFIED", "UNKNOWN", "UNABLE TO OBTAIN", "PATIENT DECLINED TO ANSWER",
    "UNKNOWN (DEFAULT)", "** INFO NOT AVAILABLE **", "INFORMATION NOT AVAILABLE", "?",
)  # fmt: skip

PRESSURE = "https://www.ncbi.nlm.nih.gov/books/NBK538226/"
FLAG = "https://mimic.mit.edu/docs/iii/tables/admissions/"
EDITOR = (
    "https://www.cms.gov/medicare/payment/prospective-payment-systems/acute-inpatient-pps/"
    "ms-drg-classifications-and-software"
)
MEASURING = (
    Rule(label="diastolic is below systolic pressure", holds="dbp < sbp", source=PRESSURE),
    Rule(
        label="mean pressure is between diastolic and systolic", holds="dbp <= mbp and mbp <= sbp",
        source=PRESSURE,
    ),
    Rule(
        label="nothing is measured after death", holds="day <= time", when="event = 1", source=FLAG
    ),
)  # fmt: skip
RULES = (
    Rule(
        label="who died in hospital was discharged nowhere", holds="discharge = died",
        when="event = 1", source=FLAG,
    ),
    Rule(
        label="who was discharged alive did not die in hospital", holds="event = 0",
        when="discharge != died", source=FLAG,
    ),
    Rule(
        label="cancer of the prostate is a disease of men", holds="sex = male",
        when="system = icd9cm and code = 185", source=EDITOR,
    ),
)  # fmt: skip

STAYS = """
    WITH dated AS MATERIALIZED (
        SELECT *, CAST(admittime AS TIMESTAMP) AS entered,
            CASE WHEN hospital_expire_flag = 1
                THEN coalesce(CAST(deathtime AS TIMESTAMP), CAST(dischtime AS TIMESTAMP))
                ELSE CAST(dischtime AS TIMESTAMP) END AS ended
        FROM (SELECT DISTINCT * FROM admissions)
    ), known AS (
        SELECT DISTINCT * FROM patients
    ), first_units AS (
        SELECT subject_id, min_by(first_careunit, CAST(intime AS TIMESTAMP)) AS unit
        FROM icustays GROUP BY subject_id
    ), returns AS (
        SELECT stay.hadm_id, min(other.entered) AS back
        FROM dated AS stay JOIN dated AS other
            ON other.subject_id = stay.subject_id AND other.hadm_id <> stay.hadm_id
                AND other.entered >= stay.ended
        GROUP BY stay.hadm_id
    )
    SELECT dated.hadm_id AS patient, dated.subject_id AS person, unit,
        lower(left(gender, 1)) AS sex, {age} AS age, {race} AS race, insurance, marital_status,
        admission_type, admission_location, discharge_location, edregtime IS NOT NULL AS emergency,
        coalesce(hospital_expire_flag = 1, false) AS died, hospital_expire_flag AS flag,
        known.subject_id IS NOT NULL AS described, epoch(entered) AS entered,
        CAST(ended AS VARCHAR) AS "left",
        (epoch(ended) - epoch(entered)) / 86400 AS los,
        (epoch(back) - epoch(ended)) / 86400 AS away,
        row_number() OVER stays - 1 AS earlier
    FROM dated LEFT JOIN known ON known.subject_id = dated.subject_id
        LEFT JOIN first_units ON first_units.subject_id = dated.subject_id
        LEFT JOIN returns ON returns.hadm_id = dated.hadm_id
    WINDOW stays AS (PARTITION BY dated.subject_id ORDER BY entered, dated.hadm_id)
"""


def level(label: str, *levels: str, role: Role | None = None, known: float = -np.inf) -> Column:
    """Return the description of a category."""
    roles: frozenset[Role] = frozenset() if role is None else frozenset([role])
    return Column(kind="category", label=label, levels=levels, roles=roles, known=known)


@dataclass(frozen=True, kw_only=True)
class Mimic(FromFolder):
    """Hospital admissions in the tables of MIMIC; what versions differ in is said by a subclass.

    Attributes:
        vitals: whether ``chartevents`` is read.
        labs: whether ``labevents`` is read.
    """

    redistributable: ClassVar[bool] = False

    called: ClassVar[str]
    units: ClassVar[Mapping[str, str]]
    types: ClassVar[tuple[str, ...]]
    payers: ClassVar[tuple[str, ...]]
    shown: ClassVar[Mapping[str, tuple[str, ...]]]
    sensitive: ClassVar[frozenset[str]]
    phenotypes: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]]
    rules: ClassVar[tuple[Rule, ...]] = ()
    age: ClassVar[str]
    race: ClassVar[str]
    believed: ClassVar[str] = CHART
    unit_stay: ClassVar[str]
    """The column that numbers stays in intensive care."""

    vitals: bool = True
    labs: bool = True

    @property
    def _measured(self) -> Mapping[str, Measured]:
        """Every column of the visits."""
        return {**(VITALS if self.vitals else {}), **(LABS if self.labs else {})}

    @property
    def schema(self) -> Schema:
        return Schema(
            name=self.called,
            clock="days since admission to hospital",
            static=self._static,
            visits={name: each.column for name, each in self._measured.items()},
            vocabularies={
                system: Vocabulary(
                    codes={**categories(system), OTHER: "any other"}, shown=shown,
                    sensitive=self.sensitive & {*categories(system)},
                )
                for system, shown in self.shown.items()
            },
            windows=(
                Window(name="first day", start=-1, end=INDEX),
                Window(name="later", start=INDEX, end=HORIZON),
            ),
            outcome=Outcome(label="death in hospital", low=0, high=HORIZON),
            tasks=self._tasks,
            cluster="person",
            rules=(*RULES, *(MEASURING if self.vitals else ()), *self.rules),
        )  # fmt: skip

    @property
    def _static(self) -> Mapping[str, Column]:
        units = tuple(dict.fromkeys(self.units.values()))
        return {
            "unit": level("first intensive care unit", *units, NOWHERE, OTHER, role="site"),
            "age": Column(
                kind="integer", label="age (90: older than 89)", unit="years", low=0, high=OLDEST,
                roles=frozenset(["quasi-identifier"]),
            ),
            "sex": level("sex", "female", "male", role="quasi-identifier"),
            "race": level("race", *RACES, OTHER, role="quasi-identifier"),
            "marital_status": level("marital status", *MARRIED, OTHER, role="quasi-identifier"),
            "insurance": level("insurance", *self.payers, OTHER, role="sensitive"),
            "admission_type": level("type of admission", *self.types, OTHER),
            "admission_source": level("admitted from", *CAME, OTHER),
            "emergency": level("came through the emergency department", "no", "yes"),
            "earlier": Column(
                kind="integer", label="earlier admissions in the data", low=0, high=EARLIER
            ),
            "discharge": level("discharged to", *WENT, OTHER, known=HORIZON),
            "los": Column(
                kind="number", label="length of stay in hospital", unit="days", low=0.01,
                high=HORIZON, log=True, known=HORIZON,
            ),
            "readmitted": level(
                "admitted again within 30 days of discharge", "no", "yes", known=HORIZON + MONTH
            ),
        }  # fmt: skip

    @property
    def _tasks(self) -> Mapping[str, Task]:
        kinds = {
            name: Task(
                kind="classification", label=f"{label}, foreseen after a day", index=INDEX,
                horizon=HORIZON, codes=codes,
            )
            for name, (label, codes) in self.phenotypes.items()
        }  # fmt: skip
        return {
            "mortality": Task(
                kind="classification", label="death in hospital, foreseen after a day",
                index=INDEX, horizon=HORIZON,
            ),
            "stay": Task(
                kind="regression", label="length of stay, foreseen after a day", index=INDEX,
                column="los",
            ),
            "readmission": Task(
                kind="classification", label="readmission within 30 days, foreseen after a day",
                index=INDEX, column="readmitted",
            ),
            **kinds,
        }  # fmt: skip

    def load(self, store: DataStore) -> Cohort:
        origin, tables = str(store.folder(self.folder)), self.read(store)
        names = ("admissions", "patients", "icustays")
        keys = zip(names, ("hadm_id", "subject_id", self.unit_stay), strict=True)
        notes = [note for name, key in keys for note in repeated(tables[name], key)]
        stays = asked(
            origin,
            STAYS.format(age=self.age, race=self.race),
            **{name: tables[name] for name in names},
        )
        if (undated := stays["entered"].isna() | stays["los"].isna()).any():
            lost = stays.loc[undated, "patient"].iloc[0]
            raise DataError(
                f"{origin}: the admission {lost!r} has no admittime or no dischtime; expected both."
            )
        rows = self._diagnoses(tables["diagnoses_icd"])
        notes += [*_doubts(tables, stays), *self._unread_codes(tables["diagnoses_icd"], rows)]
        cohort = Cohort.of_tables(
            self.schema,
            self._described(stays),
            self._visits(origin, tables, stays),
            self._codes(rows, stays),
            _outcome(stays),
        )
        return replace(cohort, notes=tuple(notes))

    def _table(self, folder: Path, name: str) -> Table:
        if name in self._unread:
            return Table(f"{name} (not read)", self.tables[name], lambda: iter(()))
        return super()._table(folder, name)

    @property
    def _unread(self) -> Sequence[str]:
        wanted = {"chartevents": self.vitals, "labevents": self.labs}
        return [name for name, read in wanted.items() if not read]

    def _visits(
        self, origin: str, tables: Mapping[str, Table], stays: pd.DataFrame
    ) -> pd.DataFrame | None:
        asked_of = []
        if self.vitals:
            asked_of.append(Source(tables["chartevents"], VITALS, self.believed))
        if self.labs:
            asked_of.append(Source(tables["labevents"], LABS, UNIT))
        return visits_of(origin, stays, asked_of) if asked_of else None

    def _described(self, stays: pd.DataFrame) -> pd.DataFrame:
        alive = ~stays["died"].astype(bool)
        columns, los = self._static, stays["los"]
        known = stays.mask(stays.isin(UNKNOWN))
        yes = {False: "no", True: "yes"}
        return known[["patient", "person", "race", "insurance", "admission_type"]].assign(
            unit=stays["unit"].map(self.units).fillna(stays["unit"]).fillna(NOWHERE),
            age=stays["age"].clip(upper=OLDEST).where(stays["age"] >= 0),
            sex=stays["sex"].map({"f": "female", "m": "male"}),
            race=_begins(known["race"], RACES),
            marital_status=known["marital_status"].str.lower(),
            admission_source=_grouped(known["admission_location"], CAME),
            emergency=stays["emergency"].map(yes),
            earlier=stays["earlier"].clip(upper=EARLIER),
            discharge=_grouped(known["discharge_location"], WENT),
            los=los.where(los.between(columns["los"].low, columns["los"].high)),
            readmitted=(stays["away"] <= MONTH).map(yes).where(alive),
        )

    def _codes(self, rows: pd.DataFrame, stays: pd.DataFrame) -> pd.DataFrame:
        """Return every diagnosis of a stay once, dated at its end: it is coded for billing then."""
        import pandas as pd  # noqa: PLC0415

        ends = stays.set_index("patient")["los"].clip(lower=0)
        rows = rows[rows["patient"].isin(ends.index)].dropna(subset="code")
        parts = []
        for system, mine in rows.groupby("system"):
            code = backed_off(spelled(mine["code"]), str(system), categories(str(system)))
            parts.append(mine.assign(code=code.astype(object), day=mine["patient"].map(ends)))
        return pd.concat(parts).drop_duplicates() if parts else rows.assign(day=0.0)

    def _diagnoses(self, table: Table) -> pd.DataFrame:
        """Return patient, system and code of every diagnosis; ``version`` is its system's."""
        raise NotImplementedError

    def _unread_codes(self, table: Table, rows: pd.DataFrame) -> Iterator[str]:
        if "version" in rows:
            yield from strange(
                table, "icd_version", rows["version"], rows["system"].notna(),
                "expected 9 or 10, and these diagnoses are left out",
            )  # fmt: skip


def _doubts(tables: Mapping[str, Table], stays: pd.DataFrame) -> Iterator[str]:
    """Say what of the stays cannot be.

    Raises:
        DataError: an admission is of nobody in the table patients.
    """
    admissions, icustays = tables["admissions"], tables["icustays"]
    nobody = stays.loc[~stays["described"].astype(bool), "person"]
    if len(nobody):
        raise DataError(
            f"{tables['patients'].origin}: {len(nobody):,} of {len(stays):,} admissions have no "
            f"row there, the first of subject_id {nobody.iloc[0]!r}; expected one of every "
            "subject_id in admissions. Take both tables from the same release."
        )
    flag = stays["flag"].astype(object).where(stays["flag"].notna(), "")
    yield from strange(
        admissions, "hospital_expire_flag", flag, flag.isin((0, 1)),
        "expected 0 or 1, and these count as survivors",
    )  # fmt: skip
    yield from strange(
        admissions, "dischtime or deathtime", stays["left"], stays["los"] >= 0,
        "the stay ends before it begins: its length is missing, and its follow-up ends on day 0",
    )  # fmt: skip
    found = asked(
        icustays.origin,
        "SELECT hadm_id FROM icustays ANTI JOIN stays ON patient = hadm_id",
        icustays=icustays, stays=stays[["patient"]],
    )  # fmt: skip
    yield from orphans(
        icustays, "hadm_id", found["hadm_id"], "admissions",
        "they tell the first unit of a person all the same",
    )  # fmt: skip


def _outcome(stays: pd.DataFrame) -> pd.DataFrame:
    """Survivors cannot die in that stay any more; who left before the index ends there."""
    los, died = stays["los"].clip(lower=0), stays["died"].astype(bool) & (stays["los"] <= HORIZON)
    return stays[["patient"]].assign(
        time=los.where(died | (los <= INDEX), HORIZON), event=died.astype(int)
    )


def _grouped(values: pd.Series, groups: Mapping[str, tuple[str, ...]]) -> pd.Series:
    names = {name: group for group, those in groups.items() for name in those}
    return values.map(names).where(values.isna() | values.isin(list(names)), OTHER)


def _begins(values: pd.Series, groups: Mapping[str, tuple[str, ...]]) -> pd.Series:
    found = values.where(values.isna(), OTHER)
    for group, beginnings in groups.items():
        found = found.mask(values.str.startswith(beginnings, na=False), group)
    return found
