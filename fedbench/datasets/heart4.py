"""Heart disease at four hospitals in three countries, as FLamby and others use it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from fedbench.data import Cohort, Column, Dataset, DataStore, Outcome, Schema, Task
from fedbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")

FIELDS = (
    "age", "sex", "chest_pain", "resting_bp", "cholesterol", "fasting_sugar", "resting_ecg",
    "max_heart_rate", "exercise_angina", "st_depression", "st_slope", "vessels", "thallium",
    "diagnosis",
)  # fmt: skip

MEANINGS = {
    "sex": ("female", "male"),
    "chest_pain": ("", "typical angina", "atypical angina", "non-anginal", "none"),
    "fasting_sugar": ("no", "yes"),
    "resting_ecg": ("normal", "ST-T abnormality", "ventricular hypertrophy"),
    "exercise_angina": ("no", "yes"),
    "st_slope": ("", "up", "flat", "down"),
    "thallium": ("", "", "", "normal", "", "", "fixed defect", "reversible defect"),
}
"""What the numbers in the files mean, by position."""

LABELS = {
    "chest_pain": "chest pain",
    "fasting_sugar": "fasting blood sugar above 120 mg/dl",
    "resting_ecg": "resting electrocardiogram",
    "exercise_angina": "angina on exercise",
    "st_slope": "slope of the ST segment at peak exercise",
    "thallium": "thallium scan",
}

NEVER_ZERO = ("resting_bp", "cholesterol")


def _category(name: str) -> Column:
    levels = tuple(level for level in MEANINGS[name] if level)
    return Column(kind="category", label=LABELS[name], levels=levels)


SCHEMA = Schema(
    name="heart4",
    clock="days since the examination; the diagnosis is dated one day later",
    static={
        "hospital": Column(
            kind="category", label="hospital", levels=HOSPITALS, roles=frozenset(["site"])
        ),
        "age": Column(
            kind="integer", label="age", unit="years", low=18, high=100,
            roles=frozenset(["quasi-identifier"]),
        ),
        "sex": Column(
            kind="category", label="sex", levels=MEANINGS["sex"],
            roles=frozenset(["quasi-identifier"]),
        ),
        "chest_pain": _category("chest_pain"),
        "resting_bp": Column(
            kind="integer", label="resting blood pressure", unit="mmHg", low=50, high=260
        ),
        "cholesterol": Column(
            kind="integer", label="serum cholesterol", unit="mg/dl", low=50, high=700
        ),
        "fasting_sugar": Column(
            kind="category", label=LABELS["fasting_sugar"], levels=MEANINGS["fasting_sugar"],
            roles=frozenset(["sensitive"]),
        ),
        "resting_ecg": _category("resting_ecg"),
        "max_heart_rate": Column(
            kind="integer", label="maximum heart rate", unit="1/min", low=40, high=230
        ),
        "exercise_angina": _category("exercise_angina"),
        "st_depression": Column(
            kind="number", label="ST depression on exercise", unit="mm", low=-5, high=10
        ),
        "st_slope": _category("st_slope"),
        "vessels": Column(kind="integer", label="vessels seen in fluoroscopy", low=0, high=3),
        "thallium": _category("thallium"),
    },
    outcome=Outcome(label="heart disease", low=0, high=1),
    tasks={
        "disease": Task(
            kind="classification", label="narrowed coronary arteries", index=0, horizon=1
        )
    },
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Heart4(Dataset):
    """920 patients of four real hospitals with and without heart disease.

    Needs the folder ``uci_heart_disease`` with the four ``processed.*.data`` files. A
    question mark is a missing value, and so is a blood pressure or cholesterol of 0 (all of
    Switzerland's). The diagnosis belongs to the examination itself; it is dated one day
    later, so that the task looks ahead like any other. Beware of copies on the internet in
    which question marks became zeros.
    """

    title: ClassVar[str] = "UCI heart disease, four hospitals"
    licence: ClassVar[str] = "CC BY 4.0"
    citation: ClassVar[str] = (
        "Janosi A, Steinbrunn W, Pfisterer M, Detrano R. Heart Disease. UCI Machine Learning "
        "Repository, 1989, https://doi.org/10.24432/C52P4X"
    )

    @property
    def schema(self) -> Schema:
        return SCHEMA

    def load(self, store: DataStore) -> Cohort:
        import pandas as pd  # noqa: PLC0415

        folder = store.folder("uci_heart_disease")
        raw = pd.concat([_read(folder, hospital) for hospital in HOSPITALS], ignore_index=True)
        outcome = pd.DataFrame(
            {
                "patient": raw["patient"],
                "time": 1.0,
                "event": (raw["diagnosis"] > 0).astype(int),
            }
        )
        static = pd.DataFrame(dict(_columns(raw)))
        return Cohort.of_tables(SCHEMA, static, outcome=outcome)


def _read(folder: Path, hospital: str) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415

    path = folder / f"processed.{hospital}.data"
    if not path.is_file():
        raise DataError(
            f"There is no {path.name} in {folder}. Put the four processed.*.data files of the "
            "UCI heart disease data there."
        )
    try:
        table = pd.read_csv(path, header=None, names=FIELDS, na_values="?", dtype=float)
    except ValueError as error:
        raise DataError(f"{path.name}: {error}; expected numbers and question marks.") from error
    if table["diagnosis"].isna().any():
        raise DataError(f"{path.name}: a row has no diagnosis; expected {len(FIELDS)} fields.")
    table["patient"] = [f"{hospital}-{number:03d}" for number in range(1, len(table) + 1)]
    return table.assign(hospital=hospital)


def _columns(raw: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    yield "patient", raw["patient"]
    for name in SCHEMA.static:
        values = raw[name]
        if name in MEANINGS:
            values = values.map(dict(enumerate(MEANINGS[name])))
        elif name in NEVER_ZERO:
            values = values.mask(values == 0)
        yield name, values
