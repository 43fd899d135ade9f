"""Pregnant women with periodontal disease at four real hospitals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fedbench.data import (
    Cohort,
    Column,
    Dataset,
    DataStore,
    Outcome,
    Role,
    Schema,
    Task,
    Window,
    read_cohort,
)

TABLES = Path(__file__).parent / "tables" / "opt"


def _category(label: str, *levels: str, role: Role | None = None) -> Column:
    return Column(
        kind="category",
        label=label,
        levels=levels or ("no", "yes"),
        roles=frozenset([role] if role else []),
    )


def _count(label: str, high: float, low: float = 0, unit: str = "", implies: str = "") -> Column:
    return Column(kind="integer", label=label, unit=unit, low=low, high=high, implies=implies)


def _score(label: str, unit: str, high: float) -> Column:
    return Column(kind="number", label=label, unit=unit, low=0, high=high)


def _serum(label: str, low: float, high: float) -> Column:
    # The source gives no units.
    return Column(kind="number", label=label, low=low, high=high, log=True)


STATIC = {
    "clinic": _category("hospital", "KY", "MN", "MS", "NY", role="site"),
    "group": _category("periodontal treatment during pregnancy", "control", "treatment"),
    "age": Column(
        kind="integer", label="age", unit="years", low=14, high=50,
        roles=frozenset(["quasi-identifier"]),
    ),
    "race": _category(
        "race, as she says herself", "Black", "White", "Native American", "Asian", "more than one",
        role="quasi-identifier",
    ),
    "hispanic": _category("Hispanic", role="quasi-identifier"),
    "education": _category("education", "under 8 years", "8-12 years", "over 12 years"),
    "public_assistance": _category("delivery paid by a public agency"),
    "hypertension": _category("chronic hypertension"),
    "diabetes": _category("diabetes", role="sensitive"),
    "bmi": Column(kind="number", label="body mass index", unit="kg/m²", low=12, high=80),
    "tobacco": _category("ever used tobacco", role="sensitive"),
    "cigarettes": _count("cigarettes a day", 60, implies="tobacco"),
    "alcohol": _category("uses alcohol"),
    "drug_addiction": _category("drug addiction", role="sensitive"),
    "pregnancies": _count("previous pregnancies", 15),
    "prior_preterm": _category("previous live preterm birth"),
    "prior_stillbirth": _category("previous stillbirth"),
    "prior_loss_or_preterm": _category("previous preterm birth, stillbirth or abortion"),
    "living_children": _count("living children", 15),
    "qualifying_teeth": _count("teeth with periodontal disease", 28),
    "antiinflammatories": _category("anti-inflammatory drugs in the last six months"),
    "antibiotics": _category("antibiotics in the last six months"),
    "crp": _serum("C-reactive protein in serum", 0.01, 200),
    "mmp9": _serum("gelatinase (MMP-9) in serum", 0.01, 10),
    "fibrinogen": _serum("fibrinogen in serum", 1, 1_000),
}  # fmt: skip

VISITS = {
    "gingival_index": _score("gingival index", "0-3", 3),
    "bleeding": _score("sites that bleed on probing", "%", 100),
    "pocket_depth": _score("mean pocket depth", "mm", 10),
    "pockets_4mm": _score("sites with pockets of 4 mm or more", "%", 100),
    "pockets_5mm": _score("sites with pockets of 5 mm or more", "%", 100),
    "attachment_loss": _score("mean clinical attachment level", "mm", 10),
    "attachment_2mm": _score("sites with attachment level of 2 mm or more", "%", 100),
    "attachment_3mm": _score("sites with attachment level of 3 mm or more", "%", 100),
    "calculus": _score("calculus index", "0-3", 3),
    "plaque": _score("plaque index", "0-3", 3),
}

SCHEMA = Schema(
    name="opt",
    clock="gestational age in days; visits are dated at the middle of their protocol window",
    static=STATIC,
    visits=VISITS,
    windows=(
        Window(name="BL", start=90, end=118),
        Window(name="V3", start=146, end=174),
        Window(name="V5", start=174, end=230),
    ),
    outcome=Outcome(label="birth before 37 weeks", low=90, high=310),
    tasks={
        "preterm": Task(
            kind="classification",
            label="birth before 37 weeks, foreseen at 24 weeks and 6 days",
            index=174,
            horizon=259,
        )
    },
)


@dataclass(frozen=True, kw_only=True)
class Opt(Dataset):
    """823 pregnant women at four hospitals, three dental visits, preterm birth.

    The event is a pregnancy that ended by itself before 37 weeks (live or not); elective
    abortions and women lost to follow-up are censored when last seen, and everyone else at
    birth. The third visit took place at 21 to 24 weeks and the fifth at 29 to 32 weeks, in
    women who were still pregnant then: its mere presence says something about the outcome.
    The task therefore looks back from 24 weeks and 6 days: all of the third visit and nothing
    of the fifth.
    """

    title: ClassVar[str] = "Obstetrics and Periodontal Therapy trial"
    licence: ClassVar[str] = "MIT, as declared by the CRAN package medicaldata"
    citation: ClassVar[str] = (
        "Michalowicz BS et al. Treatment of periodontal disease and the risk of preterm birth. "
        "N Engl J Med 2006;355:1885-94. Hyun M, Hodges JS, Brearley AM. Obstetrics and "
        "Periodontal Therapy Dataset. TSHS Resources Portal, 2019, "
        "https://www.causeweb.org/tshs/obstetrics-and-periodontal-therapy/"
    )
    embedded: ClassVar[bool] = True

    @property
    def schema(self) -> Schema:
        return SCHEMA

    def load(self, store: DataStore) -> Cohort:
        return read_cohort(SCHEMA, TABLES)
