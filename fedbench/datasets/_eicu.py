"""What the eICU database and its demo have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
from fedbench.datasets._reading import FromFolder, Kind, Table, ask

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LABS", "VITALS", "Eicu"]

MINUTES = 24 * 60
HORIZON = 365.0
"""Days. Who left the hospital alive has this time and no event."""
WEEK = 7
FROM = -1
"""Days: laboratory values from the day before the unit count."""

PERSONAL: frozenset[Role] = frozenset(["quasi-identifier"])
REGIONS = ("Midwest", "Northeast", "South", "West", "unknown")
REGION = Column(
    kind="category", label="region of the US", levels=REGIONS, roles=frozenset(["region"])
)


def _number(label: str, unit: str, low: float, high: float, *, log: bool = False) -> Column:
    return Column(kind="number", label=label, unit=unit, low=low, high=high, log=log)


def _first_day(label: str, unit: str, low: float, high: float, *, log: bool = False) -> Column:
    return Column(
        kind="number", label=f"{label}, worst of day 1", unit=unit, low=low, high=high, log=log,
        known=1.0,
    )  # fmt: skip


CUFF = {
    "noninvasivesystolic": _number("systolic pressure (cuff)", "mmHg", 20, 320),
    "noninvasivediastolic": _number("diastolic pressure (cuff)", "mmHg", 5, 250),
    "noninvasivemean": _number("mean pressure (cuff)", "mmHg", 5, 300),
}
MONITOR = {
    "heartrate": _number("heart rate", "1/min", 10, 300),
    "sao2": _number("oxygen saturation", "%", 20, 100),
    "respiration": _number("respiratory rate", "1/min", 1, 100),
    "temperature": _number("temperature", "degrees C", 25, 45),
    "systemicmean": _number("mean pressure (invasive)", "mmHg", 5, 300),
}
VITALS: Mapping[str, Mapping[str, Column]] = {"vitalAperiodic": CUFF, "vitalPeriodic": MONITOR}

LABS: Mapping[str, Column] = {
    "albumin": _number("albumin", "g/dl", 0.5, 7),
    "anion gap": _number("anion gap", "mmol/l", -10, 60),
    "bicarbonate": _number("bicarbonate", "mmol/l", 2, 70),
    "BUN": _number("blood urea nitrogen", "mg/dl", 1, 300, log=True),
    "calcium": _number("calcium", "mg/dl", 2, 20),
    "chloride": _number("chloride", "mmol/l", 50, 180),
    "creatinine": _number("creatinine", "mg/dl", 0.1, 40, log=True),
    "glucose": _number("glucose", "mg/dl", 5, 2_000, log=True),
    "Hgb": _number("haemoglobin", "g/dl", 1, 25),
    "lactate": _number("lactate", "mmol/l", 0.1, 40, log=True),
    "magnesium": _number("magnesium", "mg/dl", 0.2, 20),
    "pH": _number("arterial pH", "", 6.5, 8),
    "platelets x 1000": _number("platelets", "10^9/l", 1, 3_000, log=True),
    "potassium": _number("potassium", "mmol/l", 1, 15),
    "PT - INR": _number("INR", "", 0.5, 30, log=True),
    "sodium": _number("sodium", "mmol/l", 90, 200),
    "total bilirubin": _number("bilirubin", "mg/dl", 0.1, 100, log=True),
    "WBC x 1000": _number("white blood cells", "10^9/l", 0.1, 500, log=True),
}
"""By their name in the table ``lab``, where all hospitals use these units."""

SCORED: Mapping[str, Column] = {
    "intubated": Column(kind="category", label="intubated", levels=("no", "yes"), known=1.0),
    "vent": Column(kind="category", label="ventilated", levels=("no", "yes"), known=1.0),
    "eyes": Column(kind="integer", label="Glasgow coma scale, eyes", low=1, high=4, known=1.0),
    "motor": Column(kind="integer", label="Glasgow coma scale, motor", low=1, high=6, known=1.0),
    "verbal": Column(kind="integer", label="Glasgow coma scale, verbal", low=1, high=5, known=1.0),
    "urine": _first_day("urine output", "ml", 0, 20_000),
    "wbc": _first_day("white blood cells", "10^9/l", 0.1, 500, log=True),
    "temperature": _first_day("temperature", "degrees C", 20, 45),
    "respiratoryrate": _first_day("respiratory rate", "1/min", 1, 100),
    "sodium": _first_day("sodium", "mmol/l", 90, 200),
    "heartrate": _first_day("heart rate", "1/min", 10, 300),
    "meanbp": _first_day("mean pressure", "mmHg", 5, 300),
    "hematocrit": _first_day("haematocrit", "%", 5, 75),
    "creatinine": _first_day("creatinine", "mg/dl", 0.1, 40, log=True),
    "albumin": _first_day("albumin", "g/dl", 0.5, 7),
    "bun": _first_day("blood urea nitrogen", "mg/dl", 1, 300, log=True),
    "glucose": _first_day("glucose", "mg/dl", 5, 2_000, log=True),
    "bilirubin": _first_day("bilirubin", "mg/dl", 0.1, 100, log=True),
}
"""What APACHE is reckoned from; -1 is missing. Static columns are called ``aps_NAME``."""

UNITS = (
    "CCU-CTICU", "CSICU", "CTICU", "Cardiac ICU", "MICU", "Med-Surg ICU", "Neuro ICU", "SICU",
)  # fmt: skip
STAYS = ("admit", "readmit", "stepdown/other", "transfer")
SOURCES = (
    "Direct Admit", "Emergency Department", "Floor", "Operating Room", "Other Hospital",
    "Recovery Room", OTHER,
)  # fmt: skip
ETHNICITIES = (
    "African American", "Asian", "Caucasian", "Hispanic", "Native American", "Other/Unknown",
)  # fmt: skip

SHOWN: Mapping[str, tuple[str, ...]] = {
    "icd9cm": (
        "038", "250", "276", "285", "401", "410", "427", "428", "434", "486", "491", "518", "571",
        "578", "584", "585", "785", "995",
    ),
    "icd10cm": (
        "A41", "D64", "E11", "E87", "I10", "I21", "I48", "I50", "I63", "J18", "J44", "J96", "K92",
        "N17", "N18", "R57", "R65",
    ),
}  # fmt: skip
SENSITIVE: Mapping[str, frozenset[str]] = {
    "icd9cm": frozenset({"042", "295", "296", "303", "304", "305"}),
    "icd10cm": frozenset({"B20", "F10", "F11", "F20", "F31", "F32"}),
}
"""HIV, mental illness, alcohol and drugs."""

RULES = (
    Rule(
        label="diastolic is below systolic pressure",
        holds="noninvasivediastolic < noninvasivesystolic",
        source="https://www.ncbi.nlm.nih.gov/books/NBK538226/",
    ),
    Rule(
        label="mean pressure is not above systolic pressure",
        holds="noninvasivemean <= noninvasivesystolic",
        source="https://www.ncbi.nlm.nih.gov/books/NBK538226/",
    ),
    Rule(
        label="nothing is measured after death", holds="day <= time", when="event = 1 and day > 0",
        source="https://ohdsi.github.io/DataQualityDashboard/articles/checks/plausibleBeforeDeath.html",
    ),
)  # fmt: skip

TEXT: tuple[str, ...] = (
    "patientunitstayid", "patienthealthsystemstayid", "uniquepid", "gender", "age", "ethnicity",
    "hospitalid", "hospitaladmitsource", "hospitaldischargestatus", "unittype", "unitstaytype",
)  # fmt: skip
NUMBERS: tuple[str, ...] = (
    "admissionheight", "admissionweight", "hospitaldischargeyear", "hospitaldischargeoffset",
    "unitdischargeoffset", "unitvisitnumber",
)  # fmt: skip


def _offsets(name: str, *numbers: str) -> Mapping[str, Kind]:
    return {"patientunitstayid": "text", name: "number", **dict.fromkeys(numbers, "number")}


@dataclass(frozen=True, kw_only=True)
class Eicu(FromFolder):
    """Unit stays of eICU; see ``eicu`` and ``eicu_demo``.

    Attributes:
        hospitals: ``hospitalid`` of hospitals that are sites of their own, all others being
            "(other)"; without any, the sites are the regions.
    """

    tables: ClassVar[Mapping[str, Mapping[str, Kind]]] = {
        "patient": {**dict.fromkeys(TEXT, "text"), **dict.fromkeys(NUMBERS, "number")},
        "hospital": {"hospitalid": "text", "region": "text"},
        "apacheApsVar": {"patientunitstayid": "text", **dict.fromkeys(SCORED, "number")},
        "diagnosis": {
            "patientunitstayid": "text", "diagnosisoffset": "number", "icd9code": "text"
        },
        "vitalAperiodic": _offsets("observationoffset", *CUFF),
        "vitalPeriodic": _offsets("observationoffset", *MONITOR),
        "lab": {**_offsets("labresultoffset", "labresult"), "labname": "text"},
    }  # fmt: skip
    optional: ClassVar[frozenset[str]] = frozenset({"vitalPeriodic", "lab"})
    called: ClassVar[str]

    hospitals: tuple[str, ...] = ()

    @property
    def schema(self) -> Schema:
        site = (*self.hospitals, OTHER) if self.hospitals else REGIONS
        return Schema(
            name=self.called,
            clock="days since admission to the unit",
            static={
                "site": Column(
                    kind="category", label="hospital" if self.hospitals else "region of the US",
                    levels=site, roles=frozenset(["site"]),
                ),
                **({"region": REGION} if self.hospitals else {}),
                "age": Column(
                    kind="integer", label="age, over 89 is 90", unit="years", low=0, high=90,
                    roles=PERSONAL,
                ),
                "sex": Column(kind="category", levels=("Female", "Male"), roles=PERSONAL),
                "ethnicity": Column(kind="category", levels=ETHNICITIES, roles=PERSONAL),
                "height": _number("height", "cm", 50, 250),
                "weight": _number("weight on admission", "kg", 2, 400),
                "unit": Column(kind="category", label="type of unit", levels=UNITS),
                "kind": Column(kind="category", label="kind of unit stay", levels=STAYS),
                "source": Column(kind="category", label="admitted from", levels=SOURCES),
                **{f"aps_{name}": column for name, column in SCORED.items()},
                "days_left": Column(
                    kind="number", label="days in the unit after the first", unit="days",
                    low=1 / MINUTES, high=HORIZON, log=True, known=HORIZON,
                ),
            },
            visits={**CUFF, **MONITOR, **LABS},
            vocabularies={
                system: Vocabulary(
                    codes={**categories(system), OTHER: "any other"},
                    sensitive=SENSITIVE[system], shown=SHOWN[system],
                )
                for system in SHOWN
            },
            windows=(
                Window(name="day 1", start=FROM, end=1), Window(name="week", start=1, end=WEEK),
            ),
            outcome=Outcome(label="death in hospital", low=0, high=HORIZON),
            tasks={
                "mortality": Task(
                    kind="classification", label="death in hospital, foreseen after 24 hours",
                    index=1, horizon=HORIZON,
                ),
                "stay": Task(
                    kind="regression", label="days left in the unit, foreseen after 24 hours",
                    index=1, column="days_left",
                ),
                "kidneys": Task(
                    kind="classification", label="acute kidney failure, foreseen after 24 hours",
                    index=1, codes=("icd9cm:584", "icd10cm:N17"),
                ),
            },
            cluster="person",
            rules=RULES,
        )  # fmt: skip

    def load(self, store: DataStore) -> Cohort:
        tables = self.read(store)
        static, outcome = self._stays(tables)
        known = static["patient"]
        visits = _visits(tables)
        codes = _codes(ask("select * from diagnosis", diagnosis=tables["diagnosis"]))
        return Cohort.of_tables(
            self.schema,
            static,
            visits[visits["patient"].isin(known)],
            codes[codes["patient"].isin(known)],
            outcome,
        )

    def _stays(self, tables: Mapping[str, Table]) -> tuple[pd.DataFrame, pd.DataFrame]:
        import pandas as pd  # noqa: PLC0415

        raw = ask(
            "select * from patient left join hospital using (hospitalid) "
            "left join aps using (patientunitstayid)",
            patient=tables["patient"],
            hospital=tables["hospital"],
            aps=ask(_renamed(), aps=tables["apacheApsVar"]),
        )
        order = ["hospitaldischargeyear", "patienthealthsystemstayid", "unitvisitnumber"]
        raw = raw.sort_values(["uniquepid", *order], kind="stable", ignore_index=True)
        region = raw["region"].where(raw["region"].isin(REGIONS), "unknown")
        place = raw["hospitalid"].where(raw["hospitalid"].isin(self.hospitals), OTHER)
        site = place if self.hospitals else region
        leave = (raw["unitdischargeoffset"] - MINUTES) / MINUTES
        old = raw["age"].str.strip().eq("> 89")
        static = pd.DataFrame(
            {
                "patient": raw["patientunitstayid"],
                "person": raw["uniquepid"],
                # Everybody is at the site of her first stay.
                "site": site.groupby(raw["uniquepid"]).transform("first"),
                "region": region,
                "age": pd.to_numeric(raw["age"], errors="coerce").mask(old, 90),
                "sex": _listed(raw["gender"], ("Female", "Male")),
                "ethnicity": _listed(raw["ethnicity"], ETHNICITIES),
                "height": raw["admissionheight"],
                "weight": raw["admissionweight"],
                "unit": _listed(raw["unittype"], UNITS),
                "kind": _listed(raw["unitstaytype"], STAYS),
                "source": _listed(raw["hospitaladmitsource"], SOURCES),
                **{f"aps_{name}": raw[f"aps_{name}"] for name in SCORED},
                "days_left": leave.where(leave > 0),
            }
        )
        for name in ("aps_intubated", "aps_vent"):
            static[name] = static[name].map({0.0: "no", 1.0: "yes"})
        for name, column in self.schema.static.items():
            if column.kind != "category":
                static[name] = believed(static[name], column)
        return static, _outcome(raw)


def _renamed() -> str:
    names = ", ".join(f'"{name}" as "aps_{name}"' for name in SCORED)
    return f"select patientunitstayid, {names} from aps"  # noqa: S608  (names of our own)


def _outcome(raw: pd.DataFrame) -> pd.DataFrame:
    """Return who died in hospital and when; nobody follows those of unknown status."""
    import pandas as pd  # noqa: PLC0415

    end = (raw["hospitaldischargeoffset"] / MINUTES).clip(0, HORIZON)
    died = raw["hospitaldischargestatus"].eq("Expired")
    alive = raw["hospitaldischargestatus"].eq("Alive")
    # Who left within the first day takes part in no task; for others death there is over.
    time = end.where(died | (end <= 1), HORIZON).where(died | alive, 0.0).fillna(0.0)
    return pd.DataFrame(
        {"patient": raw["patientunitstayid"], "time": time, "event": died.astype(int)}
    )


def _visits(tables: Mapping[str, Table]) -> pd.DataFrame:
    """Return the last value of every hour of measuring, dated by its last minute."""
    import pandas as pd  # noqa: PLC0415

    parts = []
    for name, columns in VITALS.items():
        last = ", ".join(f'arg_max("{c}", observationoffset) as "{c}"' for c in columns)
        parts.append(ask(_hourly(last, "observationoffset"), events=tables[name]))
    last = ", ".join(
        f"arg_max(labresult, labresultoffset) filter (labname = '{c}') as \"{c}\"" for c in LABS
    )
    parts.append(ask(_hourly(last, "labresultoffset"), events=tables["lab"]))
    found = parts[0]
    for part in parts[1:]:
        found = found.merge(part, on=["patient", "hour"], how="outer", suffixes=("", "_"))
        found["minute"] = found[["minute", "minute_"]].max(axis=1)
        found = found.drop(columns="minute_")
    for name, column in (pair for c in (CUFF, MONITOR, LABS) for pair in c.items()):
        found[name] = believed(found[name], column)
    values = [name for name in found if name not in ("patient", "hour", "minute")]
    found = found[found[values].notna().any(axis=1)]
    day = found["minute"] / MINUTES
    return pd.DataFrame(found.assign(day=day).drop(columns=["hour", "minute"]))


def _hourly(values: str, offset: str) -> str:
    return (
        f"select patientunitstayid as patient, floor({offset} / 60) as hour, "  # noqa: S608
        f"max({offset}) as minute, {values} from events "
        f"where {offset} >= {FROM * MINUTES} and {offset} < {WEEK * MINUTES} "
        "group by all order by all"
    )


def _codes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per diagnosis and system; lists are "ICD-9, ICD-10", either may be absent."""
    import pandas as pd  # noqa: PLC0415

    rows = rows.dropna(subset="icd9code")
    rows = rows.assign(code=rows["icd9code"].str.split(",")).explode("code")
    first = rows.groupby(level=0).cumcount() == 0
    text = rows["code"].str.strip().str.upper()
    # E and V begin codes of both: with three digits an E is of ICD-9, the first of two V is too.
    ninth = text.str.match(r"\d|E\d{3}") | (text.str.startswith("V") & first)
    rows, ninth = rows.assign(code=spelled(text)), ninth.fillna(value=False).astype(bool)
    # Two digits are a procedure: 31.1 is a tracheostomy, and not 311, depression.
    whole = (rows["code"].str.len() >= 3) & ~text.str.match(r"\d{1,2}(\.|$)")
    rows, ninth = rows[whole], ninth[whole]
    found = []
    for system, mine in (("icd9cm", rows[ninth]), ("icd10cm", rows[~ninth])):
        code = backed_off(mine["code"], system, categories(system)).astype(object)
        found.append(
            pd.DataFrame(
                {
                    "patient": mine["patientunitstayid"],
                    "day": mine["diagnosisoffset"] / MINUTES,
                    "system": system,
                    "code": code,
                }
            )
        )
    return pd.concat(found).drop_duplicates(ignore_index=True)


def _listed(values: pd.Series, levels: tuple[str, ...]) -> pd.Series:
    """Return the values; one that is not listed is ``OTHER``, where that is, else missing."""
    other = values.where(values.isna(), OTHER) if OTHER in levels else None
    return values.where(values.isin(levels), other)


def believed(values: pd.Series, column: Column) -> pd.Series:
    """Return the values that are possible, whole where they must be; others are missing."""
    values = values.astype(np.float64)
    values = values.round() if column.kind == "integer" else values
    return values.where(values.between(column.low, column.high))
