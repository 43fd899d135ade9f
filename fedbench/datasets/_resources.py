"""What FHIR resources say about persons, as rows of a few tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from fedbench.data import OTHER
from fedbench.datasets._bundles import Resource
from fedbench.datasets._catalogue import Catalogue
from fedbench.datasets._followed import Records
from fedbench.datasets._reading import KINDS, Kind, Table
from fedbench.errors import DataError

__all__ = ["gathered"]

LOINC = "http://loinc.org"
SYSTEMS = {"snomed": "http://snomed.info/sct", "icd10cm": "http://hl7.org/fhir/sid/icd-10-cm"}
UNSAID = frozenset(
    ["entered-in-error", "cancelled", "planned", "refuted", "draft", "not-done", "proposal", "plan"]
)
"""What is said to be wrong, or has not happened."""

INPATIENT = frozenset(["IMP", "ACUTE", "NONACUTE"])
SEXES = {"male": "male", "female": "female", "other": OTHER, "unknown": None}
RACE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
RACES = {
    "2106-3": "white", "2054-5": "black", "2028-9": "asian", "2076-8": "pacific islander",
    "1002-5": "american indian", "2131-1": OTHER,
}  # fmt: skip
ROWS = 50_000

TABLES: Mapping[str, Mapping[str, Kind]] = {
    "patients": {
        "patient": "text", "sex": "text", "born": "whole", "race": "text", "died": "text",
        "dead": "whole",
    },
    "encounters": {
        "encounter": "text", "patient": "text", "first": "text", "last": "text",
        "inpatient": "whole", "site": "text",
    },
    "conditions": {
        "patient": "text", "recorded": "text", "onset": "text", "encounter": "text",
        "code": "text",
    },
    "observations": {"patient": "text", "date": "text", "name": "text", "value": "number"},
    "requests": {"patient": "text", "date": "text", "drug": "text"},
    "organizations": {"site": "text", "name": "text"},
}  # fmt: skip

VIEWS: Mapping[str, str] = {
    "persons": """
        SELECT patient, sex, born, race, CAST(died AS DATE) AS died,
            CASE WHEN dead = 1 AND died IS NULL THEN seen END AS lost
        FROM patients LEFT JOIN (
            SELECT patient, max(CAST(coalesce(last, first) AS DATE)) AS seen
            FROM encounters GROUP BY ALL
        ) USING (patient)""",
    "stays": """
        SELECT patient, CAST(first AS DATE) AS first, CAST(last AS DATE) AS last,
            inpatient = 1 AS inpatient, site
        FROM encounters WHERE first IS NOT NULL""",
    # Known when it was recorded; if nobody says when, not before its encounter ended.
    "diagnoses": """
        SELECT patient, code, coalesce(
            CAST(recorded AS DATE), greatest(CAST(onset AS DATE), ended)
        ) AS date
        FROM conditions LEFT JOIN (
            SELECT encounter, max(CAST(last AS DATE)) AS ended FROM encounters GROUP BY ALL
        ) USING (encounter)""",
    "measures": "SELECT patient, CAST(date AS DATE) AS date, name, value FROM observations",
    "drugs": "SELECT patient, CAST(date AS DATE) AS date, drug FROM requests",
    "places": "SELECT site, name FROM organizations",
}


def gathered(origin: str, found: Iterable[Resource], listed: Catalogue, system: str) -> Records:
    """Read all resources once and return what they say, kept in memory column by column.

    Raises:
        DataError: a resource does not fit, is about somebody who is in no file, or contradicts
            another.
    """
    rows = _Gathering(listed, system)
    for resource in found:
        if (read := rows.readers.get(resource.kind)) is not None:
            read(resource)
    rows.check()
    return Records(origin, {name: each.table(name) for name, each in rows.tables.items()}, VIEWS)


@dataclass
class _Rows:
    """Rows of a table; full batches are packed away."""

    columns: Mapping[str, Kind]
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    batches: list[pa.RecordBatch] = field(default_factory=list)

    def add(self, *row: Any) -> None:
        self.rows.append(row)
        if len(self.rows) >= ROWS:
            self.pack()

    def pack(self) -> None:
        if self.rows:
            arrays = [
                pa.array(values, KINDS[kind])
                for values, kind in zip(
                    zip(*self.rows, strict=True), self.columns.values(), strict=True
                )
            ]
            self.batches.append(pa.RecordBatch.from_arrays(arrays, names=list(self.columns)))
            self.rows = []

    def table(self, name: str) -> Table:
        self.pack()
        return Table(name, self.columns, lambda: iter(self.batches))


class _Gathering:
    """The rows of all tables, and who was spoken of."""

    def __init__(self, listed: Catalogue, system: str) -> None:
        self.tables = {name: _Rows(columns) for name, columns in TABLES.items()}
        self.known: dict[str, tuple[Any, ...]] = {}
        self.spoken_of: dict[str, str] = {}
        self.system = system
        self.codes = frozenset(listed.conditions[system].codes)
        self.loinc = listed.of_loinc()
        self.scales = {name: what.scale for name, what in listed.measurements.items()}
        self.bounds = {name: (m.low, m.high) for name, m in listed.measurements.items()}
        self.readers: Mapping[str, Callable[[Resource], None]] = {
            "Patient": self.patient,
            "Encounter": self.encounter,
            "Condition": self.condition,
            "Observation": self.observation,
            "MedicationRequest": self.request,
            "Organization": self.organization,
        }

    def check(self) -> None:
        """See that there are patients, and that nobody else is spoken of."""
        if not self.known:
            raise DataError("There is no resource Patient in any file; expected one per person.")
        if strange := self.spoken_of.keys() - self.known.keys():
            first = min(strange)
            raise DataError(
                f"{self.spoken_of[first]} is about Patient/{first}, who is in no file "
                f"({len(strange)} such patients). Put the files with the patients there as well."
            )

    def patient(self, found: Resource) -> None:
        if not found.id:
            found.wrong("it has no id; expected one.")
        gender, birth = found.text("gender"), found.date("birthDate")
        if gender and gender not in SEXES:
            found.wrong(f"'gender' is {gender[:40]!r}; expected {', '.join(SEXES)}.")
        dead, died = found.at("deceasedBoolean"), found.date("deceasedDateTime")
        if dead is not None and not isinstance(dead, bool):
            found.wrong(f"'deceasedBoolean' is {str(dead)[:40]!r}; expected true or false.")
        row = (
            SEXES.get(gender),
            int(birth[:4]) if birth else None,
            _race(found),
            died,
            int(bool(dead)),
        )
        if (other := self.known.setdefault(found.id, row)) is not row:
            if other != row:
                found.wrong("another file says other things about this patient.")
            return
        self.tables["patients"].add(found.id, *row)

    def encounter(self, found: Resource) -> None:
        patient = self._patient(found)
        if not patient or found.text("status") in UNSAID:
            return
        if not (kind := found.text("class", "code")):
            found.wrong("it has no 'class' with a code, as FHIR R4 has it.")
        site = found.reference("serviceProvider", "Organization")
        name = found.text("serviceProvider", "display")
        if site and name:
            self.tables["organizations"].add(site, name)
        self.tables["encounters"].add(
            found.id, patient, found.date("period", "start"), found.date("period", "end"),
            int(kind in INPATIENT), site or name or None,
        )  # fmt: skip

    def condition(self, found: Resource) -> None:
        patient = self._patient(found)
        status = {code for _, code in found.codings("verificationStatus")}
        if not patient or status & UNSAID:
            return
        codes = [code for system, code in found.codings("code") if system == SYSTEMS[self.system]]
        onset = found.first_date("onsetDateTime", "onsetPeriod.start")
        self.tables["conditions"].add(
            patient, found.date("recordedDate"), onset,
            found.reference("encounter", "Encounter") or None,
            self._code(codes[0]) if codes else OTHER,
        )  # fmt: skip

    def observation(self, found: Resource) -> None:
        patient = self._patient(found)
        if not patient or found.text("status") in UNSAID:
            return
        day = found.first_date(
            "effectiveDateTime", "effectiveInstant", "effectivePeriod.end", "effectivePeriod.start",
            "issued",
        )  # fmt: skip
        parts = found.each(found.at("component"), "component")
        for part in [found.content, *parts]:
            self._measured(patient, day, Resource(found.file, {**part, **_who(found)}))

    def request(self, found: Resource) -> None:
        patient = self._patient(found)
        if not patient or UNSAID & {found.text("status"), found.text("intent")}:
            return
        codes = [f"{system}|{code}" for system, code in found.codings("medicationCodeableConcept")]
        names = [
            *codes, found.text("medicationCodeableConcept", "text"),
            found.text("medicationReference", "reference"),
        ]  # fmt: skip
        drug = next((name for name in names if name), None)
        self.tables["requests"].add(patient, found.date("authoredOn"), drug)

    def organization(self, found: Resource) -> None:
        identifiers = found.each(found.at("identifier"), "identifier")
        given = [found.text("name"), *(str(each.get("value") or "") for each in identifiers)]
        for name in given:
            if found.id and name:
                self.tables["organizations"].add(found.id, name)

    def _patient(self, found: Resource) -> str:
        """Return whom it is about; empty if it is about no patient."""
        patient = found.reference("subject", "Patient")
        if patient:
            self.spoken_of.setdefault(patient, f"{found.file}: {found.kind}/{found.id}")
        elif not found.text("subject", "reference"):
            found.wrong("it has no 'subject' with a reference to a patient.")
        return patient

    def _code(self, code: str) -> str:
        """Return the listed code that it is; of ICD-10-CM, the longest that it begins with."""
        code = code.upper().replace(".", "")
        shortest = 3 if self.system == "icd10cm" else len(code)
        tried = (code[:length] for length in range(len(code), shortest - 1, -1))
        return next((each for each in tried if each in self.codes), OTHER)

    def _measured(self, patient: str, day: str | None, found: Resource) -> None:
        codes = (code for system, code in found.codings("code") if system == LOINC)
        name = next((self.loinc[code] for code in codes if code in self.loinc), None)
        if name is None or day is None:
            return
        value, units = _quantity(found)
        scale = next((self.scales[name][unit] for unit in units if unit in self.scales[name]), None)
        if value is None or scale is None:
            return
        value = value * scale[0] + scale[1]
        low, high = self.bounds[name]
        if low <= value <= high:
            self.tables["observations"].add(patient, day, name, value)


def _who(found: Resource) -> Mapping[str, Any]:
    return {"resourceType": found.kind, "id": found.id}


def _quantity(found: Resource) -> tuple[float | None, tuple[str, ...]]:
    """Return a number, and the ways in which its unit is written, in lower case."""
    value: Any = found.at("valueQuantity", "value")
    units: tuple[str, ...] = ("",)
    if value is None:
        value = found.at("valueInteger")
    else:
        written = (found.text("valueQuantity", name) for name in ("code", "unit"))
        units = tuple(unit.strip().lower() for unit in written if unit.strip()) or ("",)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        found.wrong(f"its value is {str(value)[:40]!r}; expected a number.")
    return (None if value is None else float(value)), units


def _race(found: Resource) -> str | None:
    """Return the race that the US Core profile tells; several are another one."""
    told = [
        RACES.get(str(found.object(inner.get("valueCoding", {}), "valueCoding").get("code")))
        for outer in found.each(found.at("extension"), "extension")
        if outer.get("url") == RACE
        for inner in found.each(outer.get("extension"), "extension")
        if inner.get("url") == "ombCategory"
    ]
    return OTHER if len(told) > 1 else next(iter(told), None)
