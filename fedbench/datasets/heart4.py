"""Heart disease at four hospitals in three countries, as FLamby and others use it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, get_args

from annotated_types import Len

from fedbench.data import Cohort, Column, DataStore, Download, Outcome, Schema, Task
from fedbench.datasets._reading import FromFolder, Kind
from fedbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Hospital = Literal["cleveland", "hungarian", "switzerland", "va"]
HOSPITALS: tuple[Hospital, ...] = get_args(Hospital)

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
GRADES = range(5)
"""Of the diagnosis: 0 is none."""

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)")

FOLDER = "uci_heart_disease"
SOURCE = "https://archive.ics.uci.edu/ml/machine-learning-databases/heart-disease"
# The same four sums as in FLamby's script, which gets the files from there:
# https://github.com/owkin/FLamby, flamby/datasets/fed_heart_disease.
SHA256 = {
    "cleveland": "a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8",
    "hungarian": "d1ad108f785768cd3d7e82dc522e6f5a61eea93cccfb3a46ee8076f73fc3d796",
    "switzerland": "834a405ccf5b66ab4056bb77794adc8df0b7125186454c0a1d002d33c6c3b314",
    "va": "e7c93d8d0d2acdadfa4c5e8de768e2191e7f618b952e29623f1f0d5949ff6b8f",
}


def _file(hospital: str) -> str:
    return f"processed.{hospital}.data"


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
class Heart4(FromFolder):
    """920 patients of four real hospitals with and without heart disease.

    Needs the folder ``uci_heart_disease`` with the four ``processed.*.data`` files. A
    question mark is a missing value, and so is a blood pressure or cholesterol of 0 (all of
    Switzerland's). The diagnosis belongs to the examination itself; it is dated one day
    later, so that the task looks ahead like any other. Beware of copies on the internet in
    which question marks became zeros.

    Attributes:
        hospitals: Whose patients to take; Cleveland's 303 alone are what many papers use.
    """

    title: ClassVar[str] = "UCI heart disease, four hospitals"
    licence: ClassVar[str] = "CC BY 4.0"
    citation: ClassVar[str] = (
        "Janosi A, Steinbrunn W, Pfisterer M, Detrano R. Heart Disease. UCI Machine Learning "
        "Repository, 1989, https://doi.org/10.24432/C52P4X"
    )
    home: ClassVar[str] = "https://archive.ics.uci.edu/dataset/45/heart+disease"
    downloads: ClassVar[tuple[Download, ...]] = tuple(
        Download(
            url=f"{SOURCE}/{_file(hospital)}",
            path=f"{FOLDER}/{_file(hospital)}",
            sha256=SHA256[hospital],
        )
        for hospital in HOSPITALS
    )
    # The files have no header: what is in which column is the same in all of them.
    tables: ClassVar[Mapping[str, Mapping[str, Kind]]] = {
        _file(hospital): dict.fromkeys(FIELDS, "number") for hospital in HOSPITALS
    }

    folder: str = FOLDER
    hospitals: Annotated[tuple[Hospital, ...], Len(1)] = HOSPITALS

    @property
    def schema(self) -> Schema:
        return SCHEMA

    def lacking(self, folder: Path) -> Sequence[str]:
        return [
            f"There is no {name} in {folder}. Put the four processed.*.data files of the UCI "
            "heart disease data there."
            for name in self.tables
            if not (folder / name).is_file()
        ]

    def load(self, store: DataStore) -> Cohort:
        import pandas as pd  # noqa: PLC0415

        folder = store.folder(self.folder)
        if lacking := self.lacking(folder):
            raise DataError(" ".join(lacking))
        tables = [_read(folder, hospital) for hospital in HOSPITALS if hospital in self.hospitals]
        raw = pd.concat(tables, ignore_index=True)
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

    path = folder / _file(hospital)
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path.name} cannot be read as text: {error}.") from error
    rows = [_row(text, f"{path.name} line {n}") for n, text in enumerate(lines, 1) if text.strip()]
    if not rows:
        raise DataError(f"{path.name} is empty; expected one line per patient.")
    table = pd.DataFrame(rows, columns=list(FIELDS))
    table["patient"] = [f"{hospital}-{number:03d}" for number in range(1, len(table) + 1)]
    return table.assign(hospital=hospital)


def _row(line: str, where: str) -> Sequence[float]:
    """Return the numbers of a line, NaN for question marks."""
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != len(FIELDS):
        raise DataError(
            f"{where}: there are {len(fields)} fields separated by commas; expected {len(FIELDS)}."
        )
    row = []
    for name, text in zip(FIELDS, fields, strict=True):
        if text != "?" and not NUMBER.fullmatch(text):
            raise DataError(f"{where}: {name!r} is {text[:40]!r}; expected a number or '?'.")
        value = float("nan") if text == "?" else float(text)
        if not _has_meaning(name, value):
            raise DataError(f"{where}: {name!r} is {text[:40]!r}, which stands for nothing.")
        row.append(value)
    return row


def _has_meaning(name: str, value: float) -> bool:
    """Whether a number is one of those that the data's description explains."""
    if name == "diagnosis":
        return value in GRADES
    if name not in MEANINGS or math.isnan(value):
        return True
    meanings = dict(enumerate(MEANINGS[name]))
    return value.is_integer() and bool(meanings.get(int(value)))


def _columns(raw: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    yield "patient", raw["patient"]
    for name in SCHEMA.static:
        values = raw[name]
        if name in MEANINGS:
            values = values.map(dict(enumerate(MEANINGS[name])))
        elif name in NEVER_ZERO:
            values = values.mask(values == 0)
        yield name, values
