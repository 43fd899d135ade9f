"""What is measured and diagnosed everywhere: public names, units and bounds.

Identifiers are those of LOINC (https://loinc.org), UCUM (https://ucum.org), SNOMED CT, ICD-10-CM
and the OHDSI standard vocabularies (https://athena.ohdsi.org). Bounds are what is possible in a
living person, wide enough for intensive care.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedbench.data import OTHER, Column, Rule, Vocabulary
from fedbench.errors import DataError

__all__ = ["CONCEPTS", "CONDITIONS", "MEASUREMENTS", "RULES", "UNIT_CONCEPTS", "Measurement"]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A vital sign or laboratory value, and how hospitals write it.

    ``loinc`` are the codes and ``concepts`` the OMOP concept ids by which it goes. ``units`` are
    other units in UCUM, each with the factor that turns it into ``unit``; a value in a unit that
    is not known is not read, one without a unit is taken to be in ``unit``.
    """

    label: str
    unit: str
    low: float
    high: float
    log: bool = False
    loinc: tuple[str, ...] = ()
    concepts: tuple[int, ...] = ()
    units: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.loinc and not self.concepts:
            raise DataError(f"The measurement {self.label!r} needs loinc codes or concepts.")
        if not all(factor > 0 for factor in self.units.values()):
            raise DataError(f"The measurement {self.label!r} has a factor that is not above 0.")
        _ = self.column

    @property
    def column(self) -> Column:
        """What it is in a schema."""
        return Column(
            kind="number", label=self.label, unit=self.unit, low=self.low, high=self.high,
            log=self.log,
        )  # fmt: skip

    @property
    def scale(self) -> Mapping[str, tuple[float, float]]:
        """The factor and what is added then, for every spelling of a unit in lower case."""
        found = {"": (1.0, 0.0), self.unit.lower(): (1.0, 0.0)}
        found |= {unit.lower(): (factor, 0.0) for unit, factor in self.units.items()}
        if self.unit == CELSIUS:
            found[FAHRENHEIT.lower()] = (5 / 9, -160 / 9)
        for spelled, unit in SPELLED.items():
            if unit.lower() in found:
                found.setdefault(spelled, found[unit.lower()])
        return found


CELSIUS, FAHRENHEIT = "Cel", "[degF]"

SPELLED: Mapping[str, str] = {
    "mmhg": "mm[Hg]", "bpm": "/min", "{beats}/min": "/min", "beats/min": "/min",
    "{breaths}/min": "/min", "breaths/min": "/min", "1/min": "/min", "per minute": "/min",
    "c": "Cel", "°c": "Cel", "[degc]": "Cel", "f": "[degF]", "°f": "[degF]",
    "percent": "%", "{percent}": "%", "kgs": "kg", "lb": "[lb_av]", "lbs": "[lb_av]",
    "[lb_us]": "[lb_av]", "in": "[in_i]", "inches": "[in_i]", "[in_us]": "[in_i]",
    "k/ul": "10*3/uL", "10*3/mm3": "10*3/uL", "10^3/ul": "10*3/uL", "x10^3/ul": "10*3/uL",
    "10^9/l": "10*9/L", "x10^9/l": "10*9/L", "meq/l": "mmol/L", "10*-3.eq/l": "mmol/L",
    "[u]/l": "U/L", "iu/l": "U/L", "[iu]/l": "U/L", "µmol/l": "umol/L", "μmol/l": "umol/L",
}  # fmt: skip
"""Other spellings of units, in lower case, that hospitals use and older vocabularies list."""

UNIT_CONCEPTS: Mapping[int, str] = {
    9529: "kg", 8504: "g", 8739: "[lb_av]", 8582: "cm", 9546: "m", 9327: "[in_i]",
    9330: "[in_i]", 8876: "mm[Hg]", 44777602: "kPa", 8541: "/min", 9531: "kg/m2",
    586323: "Cel", 8653: "Cel", 9289: "[degF]", 8554: "%", 9579: "mmol/mol", 8840: "mg/dL",
    8751: "mg/L", 8713: "g/dL", 8636: "g/L", 8753: "mmol/L", 9557: "mmol/L", 8749: "umol/L",
    8645: "U/L", 8923: "U/L", 8848: "10*3/uL", 8961: "10*3/uL", 9444: "10*9/L", 8647: "/uL",
}  # fmt: skip
"""OMOP concept ids of units."""


def _measured(  # noqa: PLR0913  (one line per measurement below)
    label: str,
    unit: str,
    low: float,
    high: float,
    loinc: str,
    *concepts: int,
    log: bool = False,
    units: Mapping[str, float] | None = None,
) -> Measurement:
    return Measurement(
        label=label, unit=unit, low=low, high=high, log=log, loinc=tuple(loinc.split()),
        concepts=concepts, units=units or {},
    )  # fmt: skip


# Grams per mole, divided by 10: mmol/L to mg/dL. For µmol/L, a thousandth of that.
GLUCOSE, CHOLESTEROL, TRIGLYCERIDES, CALCIUM = 18.016, 38.67, 88.57, 4.008
CREATININE, BILIRUBIN, UREA_NITROGEN, HEMOGLOBIN = 11.312, 58.466, 2.801, 1.6114
CELLS = {"10*9/L": 1.0, "/uL": 0.001}

MEASUREMENTS: Mapping[str, Measurement] = {
    "heart_rate": _measured("heart rate", "/min", 10, 300, "8867-4", 3027018),
    "sbp": _measured(
        "systolic blood pressure", "mm[Hg]", 30, 300, "8480-6", 3004249, units={"kPa": 7.50062}
    ),
    "dbp": _measured(
        "diastolic blood pressure", "mm[Hg]", 10, 200, "8462-4", 3012888, units={"kPa": 7.50062}
    ),
    "respiration": _measured("respiratory rate", "/min", 2, 80, "9279-1", 3024171),
    "temperature": _measured(
        "body temperature", "Cel", 25, 45, "8310-5 8331-1", 3020891, 3006322
    ),
    "oxygen_saturation": _measured(
        "oxygen saturation", "%", 20, 100, "59408-5 2708-6", 40762499, 3016502
    ),
    "weight": _measured(
        "body weight", "kg", 0.3, 400, "29463-7", 3025315,
        units={"g": 0.001, "[lb_av]": 0.45359237},
    ),
    "height": _measured(
        "body height", "cm", 25, 250, "8302-2", 3036277, units={"m": 100, "[in_i]": 2.54}
    ),
    "bmi": _measured("body mass index", "kg/m2", 8, 100, "39156-5", 3038553),
    "glucose": _measured(
        "glucose", "mg/dL", 5, 2000, "2339-0 2345-7", 3000483, 3004501, log=True,
        units={"mmol/L": GLUCOSE},
    ),
    "hba1c": _measured("hemoglobin A1c", "%", 2, 25, "4548-4", 3004410),
    "creatinine": _measured(
        "creatinine", "mg/dL", 0.1, 40, "2160-0 38483-4", 3016723, 3051825, log=True,
        units={"umol/L": CREATININE / 1000},
    ),
    "urea_nitrogen": _measured(
        "urea nitrogen", "mg/dL", 1, 300, "3094-0 6299-2", 3013682, 3004295, log=True,
        units={"mmol/L": UREA_NITROGEN},
    ),
    "sodium": _measured("sodium", "mmol/L", 90, 200, "2951-2 2947-0", 3019550, 3000285),
    "potassium": _measured("potassium", "mmol/L", 1, 12, "2823-3 6298-4", 3023103, 3005456),
    "chloride": _measured("chloride", "mmol/L", 60, 160, "2075-0 2069-3", 3014576, 3018572),
    "bicarbonate": _measured(
        "total carbon dioxide", "mmol/L", 2, 60, "2028-9 20565-8", 3015632, 3014094
    ),
    "calcium": _measured(
        "calcium", "mg/dL", 3, 20, "17861-6 49765-1", 3006906, 3032503, units={"mmol/L": CALCIUM}
    ),
    "albumin": _measured(
        "albumin", "g/dL", 0.5, 8, "1751-7", 3024561, units={"g/L": 0.1}
    ),
    "bilirubin": _measured(
        "total bilirubin", "mg/dL", 0.1, 80, "1975-2", 3024128, log=True,
        units={"umol/L": BILIRUBIN / 1000},
    ),
    "alt": _measured("alanine aminotransferase", "U/L", 1, 20000, "1742-6", 3006923, log=True),
    "hemoglobin": _measured(
        "hemoglobin", "g/dL", 1, 26, "718-7", 3000963, units={"g/L": 0.1, "mmol/L": HEMOGLOBIN}
    ),
    "leukocytes": _measured(
        "leukocytes", "10*3/uL", 0.1, 500, "6690-2", 3000905, log=True, units=CELLS
    ),
    "platelets": _measured(
        "platelets", "10*3/uL", 1, 3000, "777-3", 3024929, log=True, units=CELLS
    ),
    "cholesterol": _measured(
        "total cholesterol", "mg/dL", 20, 1000, "2093-3", 3027114, units={"mmol/L": CHOLESTEROL}
    ),
    "hdl": _measured(
        "HDL cholesterol", "mg/dL", 3, 250, "2085-9", 3007070, units={"mmol/L": CHOLESTEROL}
    ),
    "triglycerides": _measured(
        "triglycerides", "mg/dL", 10, 10000, "2571-8", 3022192, log=True,
        units={"mmol/L": TRIGLYCERIDES},
    ),
}  # fmt: skip

_LISTED: tuple[tuple[str, str, int, str], ...] = (
    ("essential hypertension", "59621000", 320128, "I10"),
    ("hypertension", "38341003", 316866, ""),
    ("type 2 diabetes", "44054006", 201826, "E11"),
    ("hyperlipidemia", "55822004", 432867, "E78"),
    ("obesity", "414916001", 433736, "E66"),
    ("hypothyroidism", "40930008", 140673, "E03"),
    ("coronary heart disease", "53741008", 317576, "I25"),
    ("myocardial infarction", "22298006", 4329847, "I21"),
    ("heart failure", "84114007", 316139, "I50"),
    ("atrial fibrillation", "49436004", 313217, "I48"),
    ("stroke", "230690007", 381316, "I63"),
    ("chronic kidney disease", "709044004", 46271022, "N18"),
    ("urinary tract infection", "68566005", 81902, "N39"),
    ("chronic obstructive pulmonary disease", "13645005", 255573, "J44"),
    ("asthma", "195967001", 317009, "J45"),
    ("pneumonia", "233604007", 255848, "J18"),
    ("COVID-19", "840539006", 37311061, "U07"),
    ("sepsis", "91302008", 132797, "A41"),
    ("anemia", "271737000", 439777, "D64"),
    ("cancer", "363346000", 443392, ""),
    ("lung cancer", "", 0, "C34"),
    ("breast cancer", "", 0, "C50"),
    ("gastroesophageal reflux", "235595009", 318800, "K21"),
    ("osteoarthritis", "396275006", 80180, "M19"),
    ("rheumatoid arthritis", "69896004", 80809, "M06"),
    ("osteoporosis", "64859006", 80502, "M81"),
    ("gout", "90560007", 440674, "M10"),
    ("Alzheimer's disease", "26929004", 378419, "G30"),
    ("epilepsy", "84757009", 380378, "G40"),
    ("depression", "35489007", 440383, "F32"),
    ("anxiety", "197480006", 442077, "F41"),
    ("HIV", "86406008", 439727, "B20"),
    ("normal pregnancy", "72892002", 4217975, "Z34"),
)
"""Meaning, SNOMED CT code with its OMOP concept id, and ICD-10-CM category."""

SENSITIVE = frozenset({"depression", "anxiety", "HIV", "epilepsy"})


def _vocabulary(codes: Mapping[str, str]) -> Vocabulary:
    return Vocabulary(
        codes={**codes, OTHER: "any other diagnosis"},
        sensitive=frozenset(code for code, meaning in codes.items() if meaning in SENSITIVE),
        shown=tuple(codes),
    )


CONDITIONS: Mapping[str, Vocabulary] = {
    "snomed": _vocabulary({code: meaning for meaning, code, _, _ in _LISTED if code}),
    "icd10cm": _vocabulary({code: meaning for meaning, _, _, code in _LISTED if code}),
}
"""Diagnoses by coding system; of ICD-10-CM the categories, which have three characters."""

CONCEPTS: Mapping[str, int] = {code: concept for _, code, concept, _ in _LISTED if code}
"""OMOP concept ids of the SNOMED CT codes above."""

_CHECKS = "https://ohdsi.github.io/DataQualityDashboard/articles/checks"

RULES = (
    Rule(
        label="diastolic below systolic blood pressure",
        holds="dbp < sbp",
        source="https://www.heart.org/en/health-topics/high-blood-pressure/understanding-blood-pressure-readings",
    ),
    Rule(
        label="HDL is part of total cholesterol",
        holds="hdl <= cholesterol",
        source="https://doi.org/10.1093/clinchem/18.6.499",
    ),
    Rule(
        label="nothing is measured after death",
        holds="day <= time",
        when="event = 1",
        source=f"{_CHECKS}/plausibleBeforeDeath.html",
    ),
    Rule(
        label="only women are pregnant",
        holds="sex = female",
        when="code = 72892002",
        source=f"{_CHECKS}/plausibleGenderUseDescendants.html",
    ),
    Rule(
        label="only women are pregnant (ICD-10-CM)",
        holds="sex = female",
        when="code = Z34",
        source=f"{_CHECKS}/plausibleGenderUseDescendants.html",
    ),
)
"""What is true of every patient; a schema has those whose columns and codes it has."""
