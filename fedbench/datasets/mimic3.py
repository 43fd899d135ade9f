"""Hospital admissions with intensive care in Boston, 2001 to 2012."""

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
from fedbench.datasets._mimic_visits import CHART
from fedbench.datasets._reading import Kind, Table, ask

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "mimic3_demo"
DEMO = "https://physionet.org/files/mimiciii-demo/1.4"
# Those of SHA256SUMS.txt in the same folder at PhysioNet.
SHA256 = {
    "ADMISSIONS.csv": "487e0b87cc81472cc2eb9ee911b3493c39e15d32e8230cec559907060c009b1c",
    "CHARTEVENTS.csv": "734387d583daa9c339f9744ce6e58ed7387b99672898139c910f9aa3e40c31ec",
    "DIAGNOSES_ICD.csv": "74dc979906bc2172f0cf025271dcd44c7cd52506b297e4b36e63dd40dce923da",
    "ICUSTAYS.csv": "455cd8fd014bd75d9d26ddf8cb116c77ecccee2fe35fea342801a631d94b387b",
    "LABEVENTS.csv": "bca32a7242e739c0cbf1690270db83c10e38a27dbfa915eeb14f5a31a1e898fa",
    "PATIENTS.csv": "f65803a46bcb88127574bfd0b70d78d4123783d05bb411e70d4c9629edd7b703",
}

UNITS = ("CCU", "CSRU", "MICU", "NICU", "SICU", "TSICU")

SHOWN = (
    "038", "070", "250", "272", "276", "280", "285", "287", "293", "305", "348", "401", "403",
    "410", "414", "424", "427", "428", "431", "434", "482", "486", "496", "507", "511", "518",
    "560", "570", "571", "584", "585", "599", "707", "785", "995",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Mimic3(Mimic):
    """Hospital admissions of MIMIC-III 1.4: vital signs, laboratory values, diagnoses, outcomes.

    The folder holds ``admissions``, ``patients``, ``icustays``, ``diagnoses_icd``, ``chartevents``
    and ``labevents``. The default is the open demo, 100 people who all have died since; give the
    folder of the full data, for which PhysioNet asks for training and a signed agreement.

    A record is an admission, and those of a person are kept together. The sites are care units of
    one hospital, no hospitals: the one in which the person's first stay in intensive care began.

    Day 0 is admission. Of every hour the last value counts, from a day before (the emergency
    department) to the end of the stay, and is dated at the end of the hour; laboratory values by
    when the blood was drawn. Items of the older system (CareVue) and the newer (MetaVision) are
    one column, Fahrenheit is turned into Celsius. Values marked as errors, in another unit or
    beyond the bounds of the schema are missing, and so is the speech of those with a tube.
    Laboratory values that the source assigns to no admission are not read.

    Ages over 89, which the source puts at 300, are 90. Diagnoses are coded for billing when a
    stay ends, and dated then, by category. Who left the hospital alive cannot die in that stay any
    more: she has the time 365 and no event, or, if she left within a day, the day on which she
    left, which leaves her out of the tasks. Admitted again within 30 days (``readmitted``) are all
    admissions in the data, planned ones too; it is missing for those who died. The source has
    hardly any admission without intensive care, so that most readmissions are not in it.

    Records are not to be published, as nothing tells the demo from the full data but the name of
    a folder.

    Attributes:
        vitals: whether vital signs are read; without, ``chartevents`` may be absent.
        labs: whether laboratory values are read; without, ``labevents`` may be absent.
    """

    title: ClassVar[str] = "MIMIC-III v1.4, or its open demo"
    licence: ClassVar[str] = (
        "PhysioNet Credentialed Health Data License 1.5.0; the demo: Open Data Commons Open "
        "Database License v1.0 (attribution, share-alike)"
    )
    citation: ClassVar[str] = (
        "Johnson AEW, Pollard TJ, Shen L, et al. MIMIC-III, a freely accessible critical care "
        "database. Sci Data 2016;3:160035, https://doi.org/10.1038/sdata.2016.35; "
        "https://doi.org/10.13026/C2XW26 (demo: https://physionet.org/content/mimiciii-demo/1.4/)"
    )
    home: ClassVar[str] = "https://physionet.org/content/mimiciii/1.4/"
    downloads: ClassVar[tuple[Download, ...]] = tuple(
        Download(url=f"{DEMO}/{name}", path=f"{FOLDER}/{name}", sha256=sha256)
        for name, sha256 in SHA256.items()
    )
    tables: ClassVar[Mapping[str, Mapping[str, Kind]]] = {
        "admissions": {**ADMISSIONS, "ethnicity": "text"},
        "patients": texts("subject_id", "gender", "dob"),
        "icustays": texts(*ICUSTAYS, "icustay_id"),
        "diagnoses_icd": texts("hadm_id", "icd9_code"),
        "labevents": LABEVENTS,
        "chartevents": {**CHARTEVENTS, "error": "number"},
    }

    called: ClassVar[str] = "mimic3"
    units: ClassVar[Mapping[str, str]] = dict(zip(UNITS, UNITS, strict=True))
    types: ClassVar[tuple[str, ...]] = ("ELECTIVE", "EMERGENCY", "NEWBORN", "URGENT")
    payers: ClassVar[tuple[str, ...]] = (
        "Government", "Medicaid", "Medicare", "Private", "Self Pay",
    )  # fmt: skip
    shown: ClassVar[Mapping[str, tuple[str, ...]]] = {"icd9cm": SHOWN}
    sensitive: ClassVar[frozenset[str]] = frozenset({"042", "303", "304", "305"})
    phenotypes: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = {
        "kidney": ("acute kidney failure", ("icd9cm:584",)),
        "sepsis": ("septicemia", ("icd9cm:038",)),
    }
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            label="complications of labour are those of women", holds="sex = female",
            when="code begins 66", source=EDITOR,
        ),
    )  # fmt: skip
    age: ClassVar[str] = "datesub('year', CAST(dob AS TIMESTAMP), entered)"
    race: ClassVar[str] = "ethnicity"
    believed: ClassVar[str] = f"(error IS NULL OR error <> 1) AND {CHART}"

    unit_stay: ClassVar[str] = "icustay_id"

    folder: str = FOLDER

    def _diagnoses(self, table: Table) -> pd.DataFrame:
        return ask(
            "SELECT hadm_id AS patient, 'icd9cm' AS system, icd9_code AS code FROM diagnoses",
            diagnoses=table,
        )
