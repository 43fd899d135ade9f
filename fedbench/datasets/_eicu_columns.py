"""What is measured in eICU, in which units and within which bounds."""

from __future__ import annotations

from collections.abc import Mapping

from fedbench.data import Column

__all__ = [
    "CUFF", "LABS", "MONITOR", "OTHER_SCALES", "SCORED", "UNITED", "number",
]  # fmt: skip


def number(label: str, unit: str, low: float, high: float, *, log: bool = False) -> Column:
    return Column(kind="number", label=label, unit=unit, low=low, high=high, log=log)


def _first_day(label: str, unit: str, low: float, high: float, *, log: bool = False) -> Column:
    return Column(
        kind="number", label=f"{label}, worst of day 1", unit=unit, low=low, high=high, log=log,
        known=1.0,
    )  # fmt: skip


CUFF = {
    "noninvasivesystolic": number("systolic pressure (cuff)", "mmHg", 20, 320),
    "noninvasivediastolic": number("diastolic pressure (cuff)", "mmHg", 5, 250),
    "noninvasivemean": number("mean pressure (cuff)", "mmHg", 5, 300),
}
MONITOR = {
    "heartrate": number("heart rate", "1/min", 10, 300),
    "sao2": number("oxygen saturation", "%", 20, 100),
    "respiration": number("respiratory rate", "1/min", 1, 100),
    "temperature": number("temperature", "degrees C", 25, 45),
    "systemicmean": number("mean pressure (invasive)", "mmHg", 5, 300),
}

LABS: Mapping[str, Column] = {
    "albumin": number("albumin", "g/dl", 0.5, 7),
    "anion gap": number("anion gap", "mmol/l", -10, 60),
    "bicarbonate": number("bicarbonate", "mmol/l", 2, 70),
    "BUN": number("blood urea nitrogen", "mg/dl", 1, 300, log=True),
    "calcium": number("calcium", "mg/dl", 2, 20),
    "chloride": number("chloride", "mmol/l", 50, 180),
    "creatinine": number("creatinine", "mg/dl", 0.1, 40, log=True),
    "glucose": number("glucose", "mg/dl", 5, 2_000, log=True),
    "Hgb": number("haemoglobin", "g/dl", 1, 25),
    "lactate": number("lactate", "mmol/l", 0.1, 40, log=True),
    "magnesium": number("magnesium", "mg/dl", 0.2, 20),
    "pH": number("arterial pH", "", 6.5, 8),
    "platelets x 1000": number("platelets", "10^9/l", 1, 3_000, log=True),
    "potassium": number("potassium", "mmol/l", 1, 15),
    "PT - INR": number("INR", "", 0.5, 30, log=True),
    "sodium": number("sodium", "mmol/l", 90, 200),
    "total bilirubin": number("bilirubin", "mg/dl", 0.1, 100, log=True),
    "WBC x 1000": number("white blood cells", "10^9/l", 0.1, 500, log=True),
}
"""By their name in the table ``lab``, in the unit of its ``labmeasurenamesystem``."""

UNITED = ("labmeasurenamesystem", "labmeasurenameinterface")
OTHER_SCALES: Mapping[str, frozenset[str]] = {
    "mg/dl": frozenset(
        ["g/dl", "g/l", "mcg/dl", "meq/l", "mg/l", "mmol/l", "ug/dl", "umol/l", "mcmol/l"]
    ),
    "g/dl": frozenset(["g/l", "gm/l", "mg/dl", "mmol/l"]),
    "mmol/l": frozenset(["mg/dl"]),
}
"""Units in which some hospitals sent values (magnesium in mEq/l) that are labelled otherwise."""

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
