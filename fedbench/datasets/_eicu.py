"""What the eICU database and its demo have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

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
from fedbench.datasets._eicu_columns import (
    CUFF,
    LABS,
    MONITOR,
    OTHER_SCALES,
    SCORED,
    UNITED,
    number,
)
from fedbench.datasets._eicu_visits import Grid, Named, Source, Wide, visits_of
from fedbench.datasets._left_out import orphans, repeated, strange
from fedbench.datasets._reading import FromFolder, Kind, Table, ask
from fedbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NUMBERS", "TEXT", "Eicu", "believed"]

MINUTES = 24 * 60
HORIZON = 365.0
"""Days. Who left the hospital alive has this time and no event."""
WEEK = 7
STAY = "patientunitstayid"
OLDER, OLDEST = "> 89", 90
FROM = -1
"""Days: laboratory values from the day before the unit count."""

PERSONAL: frozenset[Role] = frozenset(["quasi-identifier"])
REGIONS = ("Midwest", "Northeast", "South", "West", "unknown")
REGION = Column(
    kind="category", label="region of the US", levels=REGIONS, roles=frozenset(["region"])
)


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
        hours: of every so many hours the last vital signs and laboratory values are kept.

    Raises:
        DataError: a table is missing or damaged, names a stay twice, is about other stays, or
            counts time in something else than minutes; there is no such hospital.
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
        "lab": {
            **_offsets("labresultoffset", "labresult"), "labname": "text",
            **dict.fromkeys(UNITED, "text"),
        },
    }  # fmt: skip
    optional: ClassVar[frozenset[str]] = frozenset({"vitalPeriodic", "lab"})
    fills: ClassVar[Mapping[str, Sequence[str]]] = {
        "vitalPeriodic": tuple(MONITOR), "lab": tuple(LABS)
    }  # fmt: skip
    called: ClassVar[str]

    hospitals: tuple[str, ...] = ()
    hours: Literal[1, 2, 3, 4, 6, 8, 12, 24] = 1

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
                    kind="integer", label="age, over 89 is 90", unit="years", low=0, high=OLDEST,
                    roles=PERSONAL,
                ),
                "sex": Column(kind="category", levels=("Female", "Male"), roles=PERSONAL),
                "ethnicity": Column(kind="category", levels=ETHNICITIES, roles=PERSONAL),
                "height": number("height", "cm", 50, 250),
                "weight": number("weight on admission", "kg", 2, 400),
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
        keys = {"patient": STAY, "hospital": "hospitalid", "apacheApsVar": STAY}
        notes = [note for name, key in keys.items() for note in repeated(tables[name], key)]
        raw = self._joined(tables)
        sources = (
            Source(tables["vitalAperiodic"], "observationoffset", Wide(CUFF)),
            Source(tables["vitalPeriodic"], "observationoffset", Wide(MONITOR)),
            Source(
                tables["lab"], "labresultoffset",
                Named(LABS, name="labname", value="labresult", units=UNITED, other=OTHER_SCALES),
            ),
        )  # fmt: skip
        grid = Grid(start=FROM, end=WEEK, every=self.hours)
        stays, ends = raw["patientunitstayid"], raw["hospitaldischargeoffset"]
        codes = ask(
            "select distinct patientunitstayid, diagnosisoffset, icd9code from diagnosis "
            "where trim(icd9code) <> ''",
            diagnosis=tables["diagnosis"],
        )
        cohort = Cohort.of_tables(
            self.schema,
            self._static(raw),
            visits_of(stays, ends, sources, grid),
            _codes(_of_stays(codes, stays, tables["diagnosis"])),
            _outcome(raw),
        )
        return replace(cohort, notes=(*notes, *_doubts(tables["patient"], raw)))

    def _joined(self, tables: Mapping[str, Table]) -> pd.DataFrame:
        """Return a row for every stay, ordered by person and time."""
        import pandas as pd  # noqa: PLC0415

        stays = _once(tables["patient"])
        homes = _once(tables["hospital"]).assign(listed=True)
        scored = _once(tables["apacheApsVar"])
        if strange := sorted({*self.hospitals} - {*stays["hospitalid"]}):
            raise DataError(
                f"{tables['patient'].origin}: nobody was in the hospital {strange[0]!r}, which is "
                "to be a site; look for its hospitalid."
            )
        scored = _of_stays(scored, stays["patientunitstayid"], tables["apacheApsVar"])
        scored = scored.rename(columns={name: f"aps_{name}" for name in SCORED})
        raw = stays.merge(homes, on="hospitalid", how="left")
        raw = raw.merge(scored, on="patientunitstayid", how="left")
        number = pd.to_numeric(raw["patienthealthsystemstayid"], errors="coerce")
        order = ["uniquepid", "hospitaldischargeyear", "number", "unitvisitnumber"]
        raw = raw.assign(number=number).sort_values([*order, "patientunitstayid"], kind="stable")
        return raw.reset_index(drop=True)

    def _static(self, raw: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd  # noqa: PLC0415

        region = raw["region"].where(raw["region"].isin(REGIONS), "unknown")
        place = raw["hospitalid"].where(raw["hospitalid"].isin(self.hospitals), OTHER)
        site = place if self.hospitals else region
        leave = (raw["unitdischargeoffset"] - MINUTES) / MINUTES
        static = pd.DataFrame(
            {
                "patient": raw["patientunitstayid"],
                "person": raw["uniquepid"],
                # Everybody is at the site of her first stay.
                "site": site.groupby(raw["uniquepid"]).transform("first"),
                "region": region,
                "age": _years(raw["age"]),
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
        return static


def _once(table: Table) -> pd.DataFrame:
    """Return the rows of a table, each once."""
    return ask("select distinct * from rows", rows=table)


def _doubts(table: Table, raw: pd.DataFrame) -> Iterator[str]:
    """Say what of the stays cannot be, or is told nowhere."""
    homeless = raw.loc[raw["listed"].isna(), "hospitalid"]
    yield from orphans(table, "hospitalid", homeless, "hospital", "their region is unknown")
    yield from strange(
        table, "age", raw["age"], _years(raw["age"]).between(0, OLDEST),
        f"expected whole years up to 89, or {OLDER!r}, and it is missing",
    )  # fmt: skip


def _years(age: pd.Series) -> pd.Series:
    import pandas as pd  # noqa: PLC0415

    return pd.to_numeric(age, errors="coerce").mask(age.str.strip().eq(OLDER), OLDEST)


def _of_stays(rows: pd.DataFrame, stays: pd.Series, table: Table) -> pd.DataFrame:
    """Return the rows about these stays; some must be."""
    mine = rows["patientunitstayid"].isin(stays)
    if len(rows) and not mine.any():
        raise DataError(
            f"{table.origin}: no row is about a stay of the table patient; the first has the "
            f"patientunitstayid {rows['patientunitstayid'].iloc[0]!r}. Take both from the same "
            "release."
        )
    return rows[mine]


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
