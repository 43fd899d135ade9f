"""Two days in intensive care: the PhysioNet/Computing in Cardiology Challenge 2012."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedbench.data import (
    Cohort,
    Column,
    DataStore,
    Download,
    Outcome,
    Rule,
    Schema,
    Task,
    Window,
)
from fedbench.datasets._challenge import Lines, lines
from fedbench.datasets._reading import PACKED, FromFolder, Kind, stream
from fedbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

FOLDER = "physionet2012"
PUBLISHED = "https://physionet.org/files/challenge-2012/1.0.0"
# PhysioNet lists none for this project. Those of the sets are what several public projects that
# fetched them pin alike; those of the outcomes were also computed here.
SHA256 = {
    "set-a.tar.gz": "8cb250f179cd0952b4b9ebcf8954b63d70383131670fac1cfee13deaa13ca920",
    "set-b.tar.gz": "b1637a2a423a8e76f8f087896cfc5fdf28f88519e1f4e874fbda69b2a64dac30",
    "Outcomes-a.txt": "2613ea60ccda29f87571a7d6b09ad130858a8ccd66325bd073365925026883c2",
    "Outcomes-b.txt": "1305f29734da374a809483229a99f33a9230aa8d4fa74b1a2d6ad788136423d5",
}

SETS = ("set-a", "set-b")
TYPES = ("coronary care", "cardiac surgery recovery", "medical", "surgical")
"""ICU types 1 to 4."""

DESCRIBES = ("RecordID", "Age", "Gender", "Height", "ICUType")
UNKNOWN = -1
"""How the files say that a descriptor or an outcome is not known."""

HORIZON = 365.0
"""Days; the longest stay is shorter. Who left the hospital alive has this time and no event."""
EARLIEST = 2.5
"""Days; nobody of the Challenge left intensive care within 48 hours, dead or alive."""


def _measured(label: str, unit: str, low: float, high: float, *, log: bool = False) -> Column:
    return Column(kind="number", label=label, unit=unit, low=low, high=high, log=log)


VARIABLES: Mapping[str, Column] = {
    "Albumin": _measured("serum albumin", "g/dl", 0.5, 7),
    "ALP": _measured("alkaline phosphatase", "IU/l", 5, 5_000, log=True),
    "ALT": _measured("alanine transaminase", "IU/l", 1, 30_000, log=True),
    "AST": _measured("aspartate transaminase", "IU/l", 1, 50_000, log=True),
    "Bilirubin": _measured("bilirubin", "mg/dl", 0.1, 100, log=True),
    "BUN": _measured("blood urea nitrogen", "mg/dl", 1, 300, log=True),
    "Cholesterol": _measured("cholesterol", "mg/dl", 20, 1_000),
    "Creatinine": _measured("serum creatinine", "mg/dl", 0.1, 40, log=True),
    "DiasABP": _measured("invasive diastolic pressure", "mmHg", 5, 250),
    "FiO2": _measured("fraction of inspired oxygen", "", 0.2, 1),
    "GCS": Column(kind="integer", label="Glasgow coma scale", low=3, high=15),
    "Glucose": _measured("serum glucose", "mg/dl", 5, 2_000, log=True),
    "HCO3": _measured("serum bicarbonate", "mmol/l", 2, 70),
    "HCT": _measured("haematocrit", "%", 5, 75),
    "HR": _measured("heart rate", "1/min", 10, 300),
    "K": _measured("serum potassium", "mmol/l", 1, 15),
    "Lactate": _measured("lactate", "mmol/l", 0.1, 40, log=True),
    "Mg": _measured("serum magnesium", "mmol/l", 0.2, 15),
    "MAP": _measured("invasive mean arterial pressure", "mmHg", 5, 300),
    "MechVent": Column(kind="category", label="mechanical ventilation", levels=("yes",)),
    "Na": _measured("serum sodium", "mmol/l", 90, 200),
    "NIDiasABP": _measured("non-invasive diastolic pressure", "mmHg", 5, 250),
    "NIMAP": _measured("non-invasive mean arterial pressure", "mmHg", 5, 300),
    "NISysABP": _measured("non-invasive systolic pressure", "mmHg", 20, 320),
    "PaCO2": _measured("arterial carbon dioxide", "mmHg", 5, 150),
    "PaO2": _measured("arterial oxygen", "mmHg", 10, 700),
    "pH": _measured("arterial pH", "", 6.5, 8),
    "Platelets": _measured("platelets", "10^9/l", 1, 3_000, log=True),
    "RespRate": _measured("respiratory rate", "1/min", 1, 100),
    "SaO2": _measured("oxygen saturation", "%", 20, 100),
    "SysABP": _measured("invasive systolic pressure", "mmHg", 20, 320),
    "Temp": _measured("temperature", "degrees C", 25, 45),
    "TroponinI": _measured("troponin I", "ug/l", 0.01, 500, log=True),
    "TroponinT": _measured("troponin T", "ug/l", 0.01, 100, log=True),
    "Urine": _measured("urine output", "ml", 0, 10_000),
    "WBC": _measured("white blood cells", "10^9/l", 0.1, 500, log=True),
    "Weight": _measured("weight", "kg", 20, 400),
}

PRESSURE = "https://www.ncbi.nlm.nih.gov/books/NBK538226/"

SCHEMA = Schema(
    name="p12",
    clock="days since admission to intensive care",
    static={
        "icu_type": Column(
            kind="category", label="type of intensive care unit", levels=TYPES,
            roles=frozenset(["site"]),
        ),
        "age": Column(
            kind="integer", label="age", unit="years", low=15, high=120,
            roles=frozenset(["quasi-identifier"]),
        ),
        "sex": Column(
            kind="category", label="sex", levels=("female", "male"),
            roles=frozenset(["quasi-identifier"]),
        ),
        "height": _measured("height", "cm", 100, 230),
        "los": Column(
            kind="integer", label="length of stay in hospital", unit="days", low=1, high=365,
            log=True, known=HORIZON,
        ),
    },
    visits=VARIABLES,
    windows=(Window(name="day 1", start=-1, end=1), Window(name="day 2", start=1, end=2)),
    outcome=Outcome(label="death in hospital", low=0, high=HORIZON),
    tasks={
        "mortality": Task(
            kind="classification", label="death in hospital, foreseen after 48 hours", index=2,
            horizon=HORIZON,
        ),
        "stay": Task(
            kind="regression", label="length of stay, foreseen after 48 hours", index=2,
            column="los",
        ),
    },
    rules=(
        Rule(
            label="diastolic is below systolic pressure (invasive)", holds="DiasABP < SysABP",
            source=PRESSURE,
        ),
        Rule(
            label="diastolic is below systolic pressure (cuff)", holds="NIDiasABP < NISysABP",
            source=PRESSURE,
        ),
        Rule(
            label="mean pressure is not above systolic pressure", holds="MAP <= SysABP",
            source=PRESSURE,
        ),
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class P12(FromFolder):
    """8,000 intensive care stays, 37 variables at irregular times over 48 hours, death in hospital.

    Needs the folder ``physionet2012`` with the sets a and b, as folders or packed (``set-a.zip``,
    ``.tar.xz`` and so on), and ``Outcomes-a.txt``, ``Outcomes-b.txt``. The sites are the four
    types of unit, which are no hospitals: their patients differ more than those of hospitals do.

    -1 is missing, and so is what lies outside the bounds of the schema (a temperature of -17.8, a
    pH of 735). Measurements of one minute are one visit; of several values the last counts.
    Mechanical ventilation is written down only while it lasts. The scores SAPS-I and SOFA of the
    outcome files are left out. Everybody who left the hospital alive has the time 365 and no
    event: death in hospital cannot happen to her any more. Deaths are dated in whole days, 166 of
    them at day 1 or 2; since the Challenge took nobody who left the unit within 48 hours (and 163
    of these were measured in the last six of them), they are dated at 2.5, after the index time.
    Lengths of stay are kept as they are written, 1 or 2 days of 107 stays among them.
    Survival after the stay is left out, since nobody says until when it was followed.

    Beware of copies in which unit types or ages were changed.
    """

    title: ClassVar[str] = "PhysioNet/CinC Challenge 2012, sets a and b"
    licence: ClassVar[str] = "Open Data Commons Attribution License v1.0"
    citation: ClassVar[str] = (
        "Silva I, Moody G, Scott DJ, Celi LA, Mark RG. Predicting in-hospital mortality of ICU "
        "patients: the PhysioNet/Computing in Cardiology Challenge 2012. Comput Cardiol "
        "2012;39:245-248, https://physionet.org/content/challenge-2012/1.0.0/"
    )
    home: ClassVar[str] = "https://physionet.org/content/challenge-2012/1.0.0/"
    downloads: ClassVar[tuple[Download, ...]] = tuple(
        Download(url=f"{PUBLISHED}/{name}", path=f"{FOLDER}/{name}", sha256=sha256)
        for name, sha256 in SHA256.items()
    )
    made: ClassVar[str] = "The sets may also be folders (set-a), or packed otherwise."
    tables: ClassVar[Mapping[str, Mapping[str, Kind]]] = {
        f"Outcomes-{name[-1]}.txt": {
            "RecordID": "text",
            "Length_of_stay": "number",
            "Survival": "number",
            "In-hospital_death": "number",
        }
        for name in SETS
    }

    folder: str = FOLDER

    @property
    def schema(self) -> Schema:
        return SCHEMA

    def lacking(self, folder: Path) -> Sequence[str]:
        there = {
            **{name: [name] for name in self.tables},
            **{name: [name + ending for ending in ("", *PACKED)] for name in SETS},
        }
        return [
            f"There is no {name} in {folder}. Put the files of the Challenge there: {self.home}."
            for name, spellings in there.items()
            if not any((folder / spelling).exists() for spelling in spellings)
        ]

    def load(self, store: DataStore) -> Cohort:
        import pandas as pd  # noqa: PLC0415

        folder = store.folder(self.folder)
        if lacking := self.lacking(folder):
            raise DataError(" ".join(lacking))
        sets = [lines(folder, name) for name in SETS]
        ends = pd.concat([self._ends(folder / name) for name in self.tables], ignore_index=True)
        static = pd.concat([_static(rows) for rows in sets]).merge(
            ends, on="patient", how="left", validate="1:1"
        )
        if static["died"].isna().any():
            lost = static.loc[static["died"].isna(), "patient"].iloc[0]
            raise DataError(f"{folder}: the outcome files have no row for the record {lost!r}.")
        died = static["died"] == 1
        # Deaths whose day is not known are dated by the end of the stay.
        day = static["survived"].fillna(static["los"]).clip(lower=EARLIEST, upper=HORIZON)
        time = day.where(died, HORIZON)
        outcome = pd.DataFrame(
            {"patient": static["patient"], "time": time, "event": died.astype(int)}
        )
        visits = pd.concat([_visits(rows) for rows in sets])
        return Cohort.of_tables(SCHEMA, static, visits, outcome=outcome)

    def _ends(self, path: Path) -> pd.DataFrame:
        table = stream(str(path), lambda: path.open("rb"), self.tables[path.name])
        found: pd.DataFrame = table.reader().read_all().to_pandas()
        found.columns = ["patient", "los", "survived", "died"]
        numbers = found[["los", "survived"]]
        return found.assign(**numbers.where(numbers > 0))


def _static(rows: Lines) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415

    record, _, found = rows.of(DESCRIBES, until=0)
    number, age, sex, height, kind = np.where(found == UNKNOWN, np.nan, found).T
    names = rows.records[record]
    if len(names) < len(rows.records) or not (names == [f"{n:.0f}" for n in number]).all():
        raise DataError("p12: a file has no RecordID at 00:00, or is not named after it.")
    columns = SCHEMA.static
    return pd.DataFrame(
        {
            "patient": names,
            "icu_type": pd.Series(kind).map(dict(enumerate(TYPES, start=1))),
            "age": _believed(age, columns["age"]),
            "sex": pd.Series(sex).map({0.0: "female", 1.0: "male"}),
            "height": _believed(height, columns["height"]),
        }
    )


def _visits(rows: Lines) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415

    record, minute, found = rows.of(list(VARIABLES))
    columns: dict[str, object] = {
        "patient": rows.records[record], "day": minute / (24 * 60)
    }  # fmt: skip
    for (name, column), values in zip(VARIABLES.items(), found.T, strict=True):
        if column.kind == "category":
            columns[name] = pd.Series(values).map({1.0: column.levels[0]})
        else:
            columns[name] = _believed(values, column)
    visits = pd.DataFrame(columns)
    return visits[visits[list(VARIABLES)].notna().any(axis=1)]


def _believed(values: Floats, column: Column) -> Floats:
    """Return the values that are possible, whole where they must be; others are missing."""
    values = np.round(values) if column.kind == "integer" else values
    return np.where((values >= column.low) & (values <= column.high), values, np.nan)
