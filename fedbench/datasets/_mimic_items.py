"""What is charted and measured in MIMIC-III and MIMIC-IV, by the numbers of its items.

Items are those of ``D_ITEMS`` and ``D_LABITEMS``. Which of them are one quantity is as in the
first-day concepts of https://github.com/MIT-LCP/mimic-code. Numbers below 200,000 are of the
system CareVue, above of MetaVision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedbench.data import Column

__all__ = ["FAHRENHEIT", "LABS", "SPEECH", "VITALS", "Measured"]


@dataclass(frozen=True)
class Measured:
    """A quantity with the items that it is charted under, each with its label.

    Of two values at one time, that of the later item counts. Laboratory values are read in one of
    ``units`` (in lower case) or without any; what is charted has the unit of its item.
    """

    column: Column
    items: Mapping[int, str]
    units: tuple[str, ...] = ()


def _vital(label: str, unit: str, low: float, high: float, items: Mapping[int, str]) -> Measured:
    return Measured(Column(kind="number", label=label, unit=unit, low=low, high=high), items)


def _score(label: str, high: int, items: Mapping[int, str]) -> Measured:
    return Measured(Column(kind="integer", label=label, low=1, high=high), items)


def _lab(  # noqa: PLR0913  (one line per value below)
    label: str, unit: str, low: float, high: float, items: Mapping[int, str], *, log: bool = False
) -> Measured:
    column = Column(kind="number", label=label, unit=unit, low=low, high=high, log=log)
    return Measured(column, items, (unit.lower(), *SPELLED.get(unit, ())))


SPELLED = {
    "mmHg": ("mm hg",), "": ("units",), "mEq/L": ("mmol/l",), "mmol/L": ("meq/l",),
    "IU/L": ("u/l",), "K/uL": ("10*9/l", "10^9/l"),
}  # fmt: skip
"""Other units that are the same number, in lower case."""

FAHRENHEIT = {678: "Temperature F", 223761: "Temperature Fahrenheit"}

SPEECH = {723: "Verbal Response", 223900: "GCS - Verbal Response"}

VITALS: Mapping[str, Measured] = {
    "heart_rate": _vital("heart rate", "1/min", 10, 300, {211: "Heart Rate", 220045: "Heart Rate"}),
    "sbp": _vital(
        "systolic blood pressure", "mmHg", 30, 300,
        {442: "Manual BP [Systolic]", 455: "NBP [Systolic]",
         220179: "Non Invasive Blood Pressure systolic", 6701: "Arterial BP #2 [Systolic]",
         51: "Arterial BP [Systolic]", 225309: "ART BP Systolic",
         220050: "Arterial Blood Pressure systolic"},
    ),
    "dbp": _vital(
        "diastolic blood pressure", "mmHg", 10, 200,
        {8440: "Manual BP [Diastolic]", 8441: "NBP [Diastolic]",
         220180: "Non Invasive Blood Pressure diastolic", 8555: "Arterial BP #2 [Diastolic]",
         8368: "Arterial BP [Diastolic]", 225310: "ART BP Diastolic",
         220051: "Arterial Blood Pressure diastolic"},
    ),
    "mbp": _vital(
        "mean blood pressure", "mmHg", 15, 250,
        {443: "Manual BP Mean(calc)", 456: "NBP Mean",
         220181: "Non Invasive Blood Pressure mean", 6702: "Arterial BP Mean #2",
         52: "Arterial BP Mean", 225312: "ART BP mean", 220052: "Arterial Blood Pressure mean"},
    ),
    "respiration": _vital(
        "respiratory rate", "1/min", 2, 80,
        {615: "Resp Rate (Total)", 224690: "Respiratory Rate (Total)", 618: "Respiratory Rate",
         220210: "Respiratory Rate"},
    ),
    "temperature": _vital(
        "temperature", "degrees C", 25, 45,
        {**FAHRENHEIT, 676: "Temperature C", 223762: "Temperature Celsius"},
    ),
    "spo2": _vital(
        "oxygen saturation by pulse oximetry", "%", 20, 100,
        {646: "SpO2", 220277: "O2 saturation pulseoxymetry"},
    ),
    "gcs_eye": _score(
        "Glasgow coma scale, eyes", 4, {184: "Eye Opening", 220739: "GCS - Eye Opening"}
    ),
    "gcs_verbal": _score(
        "Glasgow coma scale, speech", 5, SPEECH
    ),
    "gcs_motor": _score(
        "Glasgow coma scale, movement", 6, {454: "Motor Response", 223901: "GCS - Motor Response"}
    ),
}  # fmt: skip

LABS: Mapping[str, Measured] = {
    "albumin": _lab("albumin", "g/dL", 0.5, 7, {50862: "Albumin"}),
    "alp": _lab(
        "alkaline phosphatase", "IU/L", 5, 5_000, {50863: "Alkaline Phosphatase"}, log=True
    ),
    "alt": _lab(
        "alanine transaminase", "IU/L", 1, 30_000, {50861: "Alanine Aminotransferase (ALT)"},
        log=True,
    ),
    "ast": _lab(
        "aspartate transaminase", "IU/L", 1, 50_000, {50878: "Asparate Aminotransferase (AST)"},
        log=True,
    ),
    "bicarbonate": _lab("bicarbonate", "mEq/L", 2, 70, {50882: "Bicarbonate"}),
    "bilirubin": _lab("bilirubin", "mg/dL", 0.1, 100, {50885: "Bilirubin, Total"}, log=True),
    "bun": _lab("urea nitrogen", "mg/dL", 1, 300, {51006: "Urea Nitrogen"}, log=True),
    "calcium": _lab("calcium", "mg/dL", 2, 20, {50893: "Calcium, Total"}),
    "chloride": _lab("chloride", "mEq/L", 50, 160, {50902: "Chloride"}),
    "creatinine": _lab("creatinine", "mg/dL", 0.1, 40, {50912: "Creatinine"}, log=True),
    "glucose": _lab("glucose", "mg/dL", 5, 2_000, {50809: "Glucose", 50931: "Glucose"}, log=True),
    "hematocrit": _lab("haematocrit", "%", 5, 75, {51221: "Hematocrit"}),
    "hemoglobin": _lab("haemoglobin", "g/dL", 1, 25, {51222: "Hemoglobin"}),
    "inr": _lab("INR", "", 0.5, 30, {51237: "INR(PT)"}, log=True),
    "lactate": _lab("lactate", "mmol/L", 0.1, 40, {50813: "Lactate"}, log=True),
    "magnesium": _lab("magnesium", "mg/dL", 0.2, 15, {50960: "Magnesium"}),
    "pco2": _lab("carbon dioxide in blood gas", "mmHg", 5, 150, {50818: "pCO2"}),
    "ph": _lab("pH of blood", "", 6.5, 8, {50820: "pH"}),
    "phosphate": _lab("phosphate", "mg/dL", 0.2, 20, {50970: "Phosphate"}),
    "platelets": _lab("platelets", "K/uL", 1, 3_000, {51265: "Platelet Count"}, log=True),
    "po2": _lab("oxygen in blood gas", "mmHg", 10, 700, {50821: "pO2"}),
    "potassium": _lab("potassium", "mEq/L", 1, 15, {50971: "Potassium"}),
    "ptt": _lab("partial thromboplastin time", "sec", 10, 200, {51275: "PTT"}),
    "sodium": _lab("sodium", "mEq/L", 90, 200, {50983: "Sodium"}),
    "troponin_t": _lab("troponin T", "ng/mL", 0.01, 100, {51003: "Troponin T"}, log=True),
    "wbc": _lab(
        "white blood cells", "K/uL", 0.1, 500, {51300: "WBC Count", 51301: "White Blood Cells"},
        log=True,
    ),
}  # fmt: skip
