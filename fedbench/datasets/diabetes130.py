"""Hospital stays of people with diabetes, and whether they came back within a month."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from fedbench.coding import backed_off, categories, spelled
from fedbench.data import (
    OTHER,
    Cohort,
    Column,
    DataStore,
    Download,
    Outcome,
    Role,
    Rule,
    Schema,
    Task,
    Vocabulary,
    Window,
)
from fedbench.datasets._reading import FromFolder, Kind, ask
from fedbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Site = Literal["admission_source", "medical_specialty", "payer_code"]

FOLDER = "uci_diabetes130"
MONTH = 30.0
UNKNOWN = "?"

AGES = tuple(f"[{low}-{low + 10})" for low in range(0, 100, 10))
WEIGHTS = (*(f"[{low}-{low + 25})" for low in range(0, 200, 25)), ">200")

TYPES = {
    "emergency": (1,), "urgent": (2,), "elective": (3,), "newborn": (4,), "trauma": (7,),
}  # fmt: skip
SOURCES = {
    "referral": (1, 2, 3),
    "transfer": (4, 5, 6, 10, 18, 19, 22, 25, 26),
    "emergency room": (7,),
}
GONE = {
    "home": (1, 8),
    "home with care": (6,),
    "other hospital": (2, 5, 10, 15, 16, 17, 22, 23, 27, 28, 29, 30),
    "nursing facility": (3, 4, 24),
    "left against advice": (7,),
    "still a patient": (9, 12),
    "hospice": (13, 14),
    "died": (11, 19, 20, 21),
}
"""Where patients went, by the numbers of ``IDs_mapping.csv``; others are not known."""
CANNOT_RETURN = ("still a patient", "hospice", "died")
GROUPED: Mapping[str, tuple[str, Mapping[str, tuple[int, ...]]]] = {
    "admission_type": ("admission_type_id", TYPES),
    "admission_source": ("admission_source_id", SOURCES),
    "discharge": ("discharge_disposition_id", GONE),
}
NOT_KNOWN = {"sex": "Unknown/Invalid", "max_glu_serum": "None", "A1Cresult": "None"}
ANSWERS = ("NO", "<30", ">30")

PAYERS = (
    "BC", "CH", "CM", "CP", "DM", "FR", "HM", "MC", "MD", "MP", "OG", "OT", "PO", "SI", "SP", "UN",
    "WC",
)  # fmt: skip
SPECIALTIES = (
    "Cardiology", "Emergency/Trauma", "Endocrinology", "Family/GeneralPractice",
    "Gastroenterology", "InternalMedicine", "Nephrology", "Neurology",
    "ObstetricsandGynecology", "Oncology", "Orthopedics", "Orthopedics-Reconstructive",
    "PhysicalMedicineandRehabilitation", "Psychiatry", "Pulmonology", "Radiologist",
    "Surgery-Cardiovascular/Thoracic", "Surgery-General", "Surgery-Vascular", "Urology", OTHER,
)  # fmt: skip

DRUGS = (
    "metformin", "repaglinide", "nateglinide", "chlorpropamide", "glimepiride", "acetohexamide",
    "glipizide", "glyburide", "tolbutamide", "pioglitazone", "rosiglitazone", "acarbose",
    "miglitol", "troglitazone", "tolazamide", "insulin", "glyburide-metformin",
    "glipizide-metformin", "glimepiride-pioglitazone", "metformin-rosiglitazone",
    "metformin-pioglitazone",
)  # fmt: skip
"""Without examide and citoglipton, which nobody was given."""

COUNTS: Mapping[str, tuple[str, float]] = {
    "time_in_hospital": ("days in hospital", 14),
    "num_lab_procedures": ("laboratory tests", 200),
    "num_procedures": ("procedures other than laboratory tests", 6),
    "num_medications": ("different medications", 120),
    "number_outpatient": ("outpatient visits in the year before", 100),
    "number_emergency": ("emergency visits in the year before", 100),
    "number_inpatient": ("inpatient stays in the year before", 50),
    "number_diagnoses": ("diagnoses", 16),
}
DIAGNOSES = ("diag_1", "diag_2", "diag_3")

SHOWN = (
    "250", "272", "276", "278", "285", "401", "402", "403", "410", "411", "413", "414", "424",
    "425", "427", "428", "434", "440", "486", "491", "493", "496", "511", "518", "584", "585",
    "599", "682", "707", "715", "780", "786",
)  # fmt: skip
SENSITIVE = frozenset({"042", "303", "304", "305"})
"""HIV, alcohol and drugs."""

STRACK = "https://doi.org/10.1155/2014/781670"
EDITOR = (
    "https://www.cms.gov/medicare/payment/prospective-payment-systems/acute-inpatient-pps/"
    "ms-drg-classifications-and-software"
)


def _levels(label: str, *levels: str, roles: frozenset[Role] = frozenset()) -> Column:
    return Column(kind="category", label=label, levels=levels, roles=roles)


PERSONAL: frozenset[Role] = frozenset(["quasi-identifier"])

STATIC: Mapping[str, Column] = {
    "race": _levels(
        "race", "AfricanAmerican", "Asian", "Caucasian", "Hispanic", "Other", roles=PERSONAL
    ),
    "sex": _levels("sex", "Female", "Male", roles=PERSONAL),
    "age": _levels("age in years", *AGES, roles=PERSONAL),
    "weight": _levels("weight in pounds", *WEIGHTS),
    "admission_type": _levels("type of admission", *TYPES),
    "admission_source": _levels("admitted by", *SOURCES),
    "discharge": _levels("discharged to", *GONE),
    "payer_code": _levels("who pays", *PAYERS, roles=frozenset(["sensitive"])),
    "medical_specialty": _levels("specialty of the admitting physician", *SPECIALTIES),
    **{
        name: Column(kind="integer", label=label, low=0, high=high)
        for name, (label, high) in COUNTS.items()
    },
    "max_glu_serum": _levels("highest serum glucose", "Norm", ">200", ">300"),
    "A1Cresult": _levels("HbA1c", "Norm", ">7", ">8"),
    **{name: _levels(f"dose of {name}", "No", "Down", "Steady", "Up") for name in DRUGS},
    "change": _levels("change of diabetes medication", "No", "Ch"),
    "diabetesMed": _levels("any diabetes medication", "No", "Yes"),
}

PROXIES: Mapping[Site, tuple[str, ...]] = {
    "admission_source": (*SOURCES, "unknown"),
    "medical_specialty": (*SPECIALTIES, "unknown"),
    "payer_code": (*PAYERS, "unknown"),
}

RULES = (
    Rule(
        label="whose diabetes medication was changed had some", holds="diabetesMed = Yes",
        when="change = Ch", source=STRACK,
    ),
    Rule(
        label="hyperplasia of the prostate is a disease of men", holds="sex = Male",
        when="code = 600", source=EDITOR,
    ),
    Rule(
        label="complications of labour are those of women", holds="sex = Female",
        when="code begins 66", source=EDITOR,
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Diabetes130(FromFolder):
    """101,766 stays of 71,518 people with diabetes, three diagnoses each; readmission in a month.

    Needs the folder ``uci_diabetes130`` with ``dataset_diabetes.zip`` or what is in it. A record
    is a stay; the stays of a person are kept together. The task looks ahead from discharge (day 0)
    to day 30: "<30" is the event, dated at day 30, and ">30" is none. Who died cannot come back,
    and who went to a hospice is not meant to (43 of 771 did within a month); as in Strack et al.,
    neither takes part: their follow-up ends at day 0 without an event. Nor do the 24 who had not
    left: admitted as inpatients to the same hospital (disposition 9), or still patients or expected
    back (12), of whom 11 are said to be readmitted within a month. Where patients went, and
    all else in a record, is known at discharge and no earlier.

    The records name no hospital. The sites are a stand-in, from the first stay (the lowest
    encounter number) of every person: how she was admitted, or as ``site`` says.

    ``?`` is missing (97 % of weights), and so are sexes and sources that are not known; glucose
    and HbA1c are missing where they were not measured. Diagnoses are categories of ICD-9-CM,
    their lost leading zeros put back (38 is 038).

    Attributes:
        site: ``admission_source``, ``medical_specialty`` or ``payer_code``.
    """

    title: ClassVar[str] = "Diabetes in 130 US hospitals, 1999 to 2008"
    licence: ClassVar[str] = "CC BY 4.0"
    citation: ClassVar[str] = (
        "Strack B, DeShazo JP, Gennings C, et al. Impact of HbA1c measurement on hospital "
        "readmission rates. Biomed Res Int 2014:781670, https://doi.org/10.1155/2014/781670; UCI "
        "Machine Learning Repository, https://doi.org/10.24432/C5230J"
    )
    home: ClassVar[str] = (
        "https://archive.ics.uci.edu/dataset/296/diabetes+130-us+hospitals+for+years+1999-2008"
    )
    downloads: ClassVar[tuple[Download, ...]] = (
        Download(
            url="https://archive.ics.uci.edu/ml/machine-learning-databases/00296/dataset_diabetes.zip",
            path=f"{FOLDER}/dataset_diabetes.zip",
            sha256="3a17a3b55b6dd4a1926703185c0ad8e2ed30bc8e2f9b927cdd1000b733d1de8e",
        ),
    )
    tables: ClassVar[Mapping[str, Mapping[str, Kind]]] = {
        "diabetic_data": {
            "encounter_id": "whole",
            **dict.fromkeys(
                (
                    "patient_nbr", "race", "gender", "age", "weight", "admission_type_id",
                    "discharge_disposition_id", "admission_source_id", "payer_code",
                    "medical_specialty", *DIAGNOSES, "max_glu_serum", "A1Cresult", *DRUGS,
                    "change", "diabetesMed", "readmitted",
                ),
                "text",
            ),
            **dict.fromkeys(COUNTS, "whole"),
        }
    }  # fmt: skip

    folder: str = FOLDER
    site: Site = "admission_source"

    @property
    def schema(self) -> Schema:
        meanings = categories("icd9cm")
        place = _levels("stand-in for a hospital", *PROXIES[self.site], roles=frozenset(["site"]))
        return Schema(
            name="diabetes130",
            clock="days since discharge",
            static={"place": place, **STATIC},
            vocabularies={
                "icd9cm": Vocabulary(
                    codes={**meanings, OTHER: "any other"}, sensitive=SENSITIVE, shown=SHOWN
                )
            },
            windows=(Window(name="stay", start=-MONTH, end=0),),
            outcome=Outcome(label="readmission within 30 days", low=0, high=MONTH),
            tasks={
                "readmission": Task(
                    kind="classification",
                    label="readmission within 30 days, foreseen at discharge",
                    index=0,
                    horizon=MONTH,
                )
            },
            cluster="person",
            rules=RULES,
        )

    def load(self, store: DataStore) -> Cohort:
        import pandas as pd  # noqa: PLC0415

        table = self.read(store)["diabetic_data"]
        raw = ask("SELECT * FROM stays ORDER BY encounter_id", stays=table).replace(UNKNOWN, None)
        _check_answers(raw["readmitted"], table.origin)
        static = _static(raw)
        # The whole first stay, even if it does not say: no other stands in for it.
        first = static.drop_duplicates("person").set_index("person")[self.site]
        static["place"] = static["person"].map(first).fillna("unknown")
        gone = static["discharge"].isin(CANNOT_RETURN)
        outcome = pd.DataFrame(
            {
                "patient": static["patient"],
                "time": (~gone).astype(float) * MONTH,
                "event": (raw["readmitted"].eq("<30") & ~gone).astype(int),
            }
        )
        return Cohort.of_tables(self.schema, static, codes=_codes(raw), outcome=outcome)


def _check_answers(readmitted: pd.Series, origin: str) -> None:
    strange = ~readmitted.isin(ANSWERS)
    if strange.any():
        raise DataError(
            f"{origin}: 'readmitted' is {readmitted[strange].iloc[0]!r}; "
            f"expected {', '.join(ANSWERS)}."
        )


def _static(raw: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415

    columns = {"patient": raw["encounter_id"], "person": raw["patient_nbr"]}
    for name in STATIC:
        source, groups = GROUPED.get(name, (name, {}))
        values = raw["gender" if name == "sex" else source]
        if groups:
            values = values.map({str(i): level for level, ids in groups.items() for i in ids})
        columns[name] = values.replace(NOT_KNOWN[name], None) if name in NOT_KNOWN else values
    return pd.DataFrame(columns)


def _codes(raw: pd.DataFrame) -> pd.DataFrame:
    rows = raw.melt(id_vars="encounter_id", value_vars=list(DIAGNOSES), value_name="code")
    rows = rows.dropna(subset="code")
    # The file has lost leading zeros: 38 is 038, septicaemia.
    parts = rows["code"].str.partition(".")
    whole = parts[0].where(~parts[0].str.isdigit(), parts[0].str.zfill(3))
    code = backed_off(spelled(whole + parts[2]), "icd9cm", categories("icd9cm"))
    found = rows.assign(code=code.astype(object), patient=rows["encounter_id"], day=0.0)
    return found.assign(system="icd9cm")[["patient", "day", "system", "code"]].drop_duplicates()
