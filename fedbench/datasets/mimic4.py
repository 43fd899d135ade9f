"""Hospital admissions in Boston, 2008 to 2019."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fedbench.data import Download, Rule
from fedbench.datasets._mimic import (
    ADMISSIONS,
    CHARTEVENTS,
    EDITOR,
    ICUSTAYS,
    LABEVENTS,
    Mimic,
    texts,
)
from fedbench.datasets._reading import Kind, Table, ask

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "mimic4_demo_partial"
DEMO = "https://physionet.org/files/mimic-iv-demo/2.2"
# Those of SHA256SUMS.txt in the same folder at PhysioNet.
SHA256 = {
    "hosp/admissions.csv.gz": "910b9f160ffdf1e08ea673585393f347c773ccc87d66875c627584a903ae8493",
    "hosp/diagnoses_icd.csv.gz": "958565670c0b3903c0c12825366dc2bae8561d2d55f16feac0c949dd630ed3e4",
    "hosp/labevents.csv.gz": "d51a4cf1ea63245abe7d544b0d50a928e9ee2ec5eb9a5ce85500aed0bd6c6dfc",
    "hosp/patients.csv.gz": "59dcc6cd8450ddf03ad32cc7d76e41caa4c9633541715987f590c74835cf6fae",
    "icu/chartevents.csv.gz": "90f096ad3db847ed1aaec073f8d86053c51fea7b616d3b046410e030f083d560",
    "icu/icustays.csv.gz": "e05e81aa52a3022e522b6832a898101a69b84e64c17bb344d819e458d5bc21b3",
}

UNITS = {
    "Cardiac Vascular Intensive Care Unit (CVICU)": "CVICU",
    "Coronary Care Unit (CCU)": "CCU",
    "Medical Intensive Care Unit (MICU)": "MICU",
    "Medical/Surgical Intensive Care Unit (MICU/SICU)": "MICU/SICU",
    "Neuro Intermediate": "neurology",
    "Neuro Stepdown": "neurology",
    "Neuro Surgical Intensive Care Unit (Neuro SICU)": "neurology",
    "Surgical Intensive Care Unit (SICU)": "SICU",
    "Trauma SICU (TSICU)": "TSICU",
}

SHOWN = {
    "icd9cm": (
        "038", "250", "272", "276", "285", "287", "305", "311", "401", "403", "410", "414", "427",
        "428", "431", "434", "486", "496", "511", "518", "530", "571", "584", "585", "599", "785",
        "995", "V58",
    ),
    "icd10cm": (
        "A41", "B20", "D62", "D64", "D69", "E03", "E11", "E78", "E87", "F10", "F17", "F32", "I10",
        "I11", "I13", "I21", "I25", "I48", "I50", "I61", "I63", "J18", "J44", "J90", "J96", "K21",
        "K70", "K72", "K74", "L89", "N17", "N18", "N39", "R57", "R65", "Z79",
    ),
}  # fmt: skip

SUBSTANCES = ("F10", "F11", "F12", "F13", "F14", "F15", "F16", "F18", "F19")


@dataclass(frozen=True, kw_only=True)
class Mimic4(Mimic):
    """Hospital admissions of MIMIC-IV 2.x: vital signs, laboratory values, diagnoses, outcomes.

    The folder holds ``admissions``, ``patients``, ``diagnoses_icd`` (in ``hosp/``) and ``icustays``
    (in ``icu/``). Vital signs and laboratory values are read only with ``vitals = true, labs =
    true``, from ``chartevents`` (in ``icu/``) and ``labevents`` (in ``hosp/``); without, there are
    no visits. The default is the open demo, 100 people, which may lack these two tables; give the
    folder of the full data, for which PhysioNet asks for training and a signed agreement.

    A record is an admission, and those of a person are kept together. The sites are care units of
    one hospital, no hospitals: the one in which the person's first stay in intensive care began;
    units for neurology are one. In the full data most people have no such stay.

    Day 0 is admission. Of every hour the last value counts, from a day before (the emergency
    department) to the end of the stay, and is dated at the end of the hour; laboratory values by
    when the blood was drawn. Fahrenheit is turned into Celsius. Values in another unit or beyond
    the bounds of the schema are missing, and so is the speech of those with a tube.

    Age is that of the anchor year, moved by the years between. The source puts ages over 89 at 91:
    here they are 90, and missing at admissions before the anchor year. Diagnoses, in ICD-9-CM up
    to 2015 and in ICD-10-CM then, are coded for billing when a stay ends, and dated then, by
    category. Stays that ended in death end then: the source has midnight as the time of discharge
    of some. Who left the hospital alive cannot die in that stay any more: she has the time 365 and
    no event, or, if she left within a day, the day on which she left, which leaves her out of the
    tasks. Admitted again within 30 days (``readmitted``) are all admissions in the data, planned
    ones and those for observation too; it is missing for those who died.

    Records are not to be published, as nothing tells the demo from the full data but the name of
    a folder.

    Attributes:
        vitals: whether vital signs are read, from ``chartevents``.
        labs: whether laboratory values are read, from ``labevents``.
    """

    title: ClassVar[str] = "MIMIC-IV v2.2, or its open demo"
    licence: ClassVar[str] = (
        "PhysioNet Credentialed Health Data License 1.5.0; the demo: Open Data Commons Open "
        "Database License v1.0 (attribution, share-alike)"
    )
    citation: ClassVar[str] = (
        "Johnson AEW, Bulgarelli L, Shen L, et al. MIMIC-IV, a freely accessible electronic health "
        "record dataset. Sci Data 2023;10:1, https://doi.org/10.1038/s41597-022-01899-x "
        "(demo: https://physionet.org/content/mimic-iv-demo/2.2/)"
    )
    home: ClassVar[str] = "https://physionet.org/content/mimiciv/2.2/"
    downloads: ClassVar[tuple[Download, ...]] = tuple(
        Download(url=f"{DEMO}/{name}", path=f"{FOLDER}/{name}", sha256=sha256)
        for name, sha256 in SHA256.items()
    )
    tables: ClassVar[Mapping[str, Mapping[str, Kind]]] = {
        "admissions": {**ADMISSIONS, "race": "text"},
        "patients": {
            **texts("subject_id", "gender"), "anchor_age": "number", "anchor_year": "number",
        },
        "icustays": texts(*ICUSTAYS, "stay_id"),
        "diagnoses_icd": texts("hadm_id", "icd_code", "icd_version"),
        "labevents": LABEVENTS,
        "chartevents": CHARTEVENTS,
    }  # fmt: skip

    called: ClassVar[str] = "mimic4"
    units: ClassVar[Mapping[str, str]] = UNITS
    types: ClassVar[tuple[str, ...]] = (
        "AMBULATORY OBSERVATION", "DIRECT EMER.", "DIRECT OBSERVATION", "ELECTIVE",
        "EU OBSERVATION", "EW EMER.", "OBSERVATION ADMIT", "SURGICAL SAME DAY ADMISSION", "URGENT",
    )  # fmt: skip
    payers: ClassVar[tuple[str, ...]] = ("Medicaid", "Medicare", "Private", "No charge")
    shown: ClassVar[Mapping[str, tuple[str, ...]]] = SHOWN
    sensitive: ClassVar[frozenset[str]] = frozenset(
        {"042", "303", "304", "305", "B20", *SUBSTANCES}
    )
    phenotypes: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = {
        "kidney": ("acute kidney failure", ("icd9cm:584", "icd10cm:N17")),
        "sepsis": ("septicemia", ("icd9cm:038", "icd10cm:A40", "icd10cm:A41")),
    }
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            label="pregnancy and childbirth are those of women", holds="sex = female",
            when="system = icd10cm and code begins O", source=EDITOR,
        ),
        Rule(
            label="hyperplasia of the prostate is a disease of men", holds="sex = male",
            when="system = icd10cm and code = N40", source=EDITOR,
        ),
    )  # fmt: skip
    age: ClassVar[str] = (
        "CASE WHEN anchor_age > 89 AND year(entered) < anchor_year THEN NULL "
        "ELSE anchor_age + year(entered) - anchor_year END"
    )
    race: ClassVar[str] = "race"

    unit_stay: ClassVar[str] = "stay_id"

    folder: str = FOLDER
    vitals: bool = False
    labs: bool = False

    def _diagnoses(self, table: Table) -> pd.DataFrame:
        return ask(
            "SELECT hadm_id AS patient, icd_code AS code, icd_version AS version, "
            "CASE trim(icd_version) WHEN '9' THEN 'icd9cm' WHEN '10' THEN 'icd10cm' END AS system "
            "FROM diagnoses",
            diagnoses=table,
        )
