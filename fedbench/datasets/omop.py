"""A hospital's own records in the OMOP common data model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fedbench.data import DataStore
from fedbench.datasets._cdm import views_of
from fedbench.datasets._followed import Records
from fedbench.datasets._persons import Persons
from fedbench.datasets._reading import PACKED, Kind, Table
from fedbench.datasets._stored import SUFFIXES, stored, stored_in


def _read(*columns: str) -> Mapping[str, Kind]:
    """Identifiers and dates are text; concepts are numbers, be they written with decimals."""
    numbers = ("_concept_id", "year_of_birth", "value_as_number")
    return {name: "number" if name.endswith(numbers) else "text" for name in columns}


@dataclass(frozen=True, kw_only=True)
class Omop(Persons):
    """Persons of an OMOP common data model, version 5.4 (5.3 does as well), as a hospital has it.

    The folder holds its tables as CSV, gzipped CSV or parquet, or packed in a zip, or as one
    DuckDB file, which is opened for reading only and can neither open other files nor load
    extensions. Needed are ``person``, ``visit_occurrence``, ``condition_occurrence``,
    ``measurement`` and ``death``; ``observation_period``, ``drug_exposure``, ``care_site``,
    ``concept`` and ``concept_ancestor`` are used where they are there, also as Athena offers them
    (CSV separated by tabs).

    Nothing of the schema comes from the records. What is read is a built-in catalogue of common
    vital signs, laboratory values and diagnoses by public identifiers. A file of yours adds to it
    (``defaults = false``: replaces it), and names the hospitals::

        [measurements.crp]
        label = "C-reactive protein"
        loinc = ["1988-5"]
        concepts = [3020460]
        unit = "mg/L"
        units = { "mg/dL" = 10 }
        low = 0.1
        high = 600
        log = true

        [conditions.snomed]
        codes = { "34000006" = "Crohn's disease" }
        sensitive = ["34000006"]

        [sites]
        north = ["101", "North General"]
        south = ["201", "202"]

    The right-hand sides under ``sites`` are ids or names of care sites. A person lives at the
    hospital of the index visit (of the last visit up to the day, if ``index`` is a date), else at
    that of ``person``; whoever is at none of them, at "(other)". Without ``sites`` there are no
    hospitals: deal the patients out with a partitioner.

    Times are whole days, as only dates are never missing in OMOP. A diagnosis counts from the end
    of the visit in which it was recorded, as most sources date it back to the start. With
    ``concept_ancestor``, a more special SNOMED diagnosis counts as every listed one above it;
    ICD-10-CM is read from the source concepts, by category. Values are converted to the unit of
    the catalogue; those in unknown units, or beyond its bounds, are left out, and those of one day
    averaged. Follow-up ends with the observation period around day 0 (a death within 30 days of
    its end still counts), or, without that table, on the day ``until``.
    """

    title: ClassVar[str] = "OMOP common data model"
    licence: ClassVar[str] = "as the hospital says; not to be given away"
    citation: ClassVar[str] = (
        "Records of your own, in the OMOP Common Data Model v5.4 of OHDSI, "
        "https://ohdsi.github.io/CommonDataModel/cdm54.html"
    )
    home: ClassVar[str] = "https://ohdsi.github.io/CommonDataModel/cdm54.html"
    called: ClassVar[str] = "omop"

    tables: ClassVar[Mapping[str, Mapping[str, Kind]]] = {
        "person": _read(
            "person_id", "gender_concept_id", "year_of_birth", "race_concept_id", "care_site_id"
        ),
        "visit_occurrence": _read(
            "visit_occurrence_id", "person_id", "visit_concept_id", "visit_start_date",
            "visit_end_date", "care_site_id",
        ),
        "condition_occurrence": _read(
            "person_id", "condition_concept_id", "condition_source_concept_id",
            "condition_start_date", "visit_occurrence_id",
        ),
        "measurement": _read(
            "person_id", "measurement_concept_id", "measurement_date", "value_as_number",
            "unit_concept_id", "unit_source_value",
        ),
        "death": _read("person_id", "death_date"),
        "observation_period": _read(
            "person_id", "observation_period_start_date", "observation_period_end_date"
        ),
        "drug_exposure": _read("person_id", "drug_concept_id", "drug_exposure_start_date"),
        "care_site": _read("care_site_id", "care_site_name", "care_site_source_value"),
        "concept": {**_read("vocabulary_id", "concept_code"), "concept_id": "number"},
        "concept_ancestor": _read("ancestor_concept_id", "descendant_concept_id"),
    }  # fmt: skip
    optional: ClassVar[frozenset[str]] = frozenset(
        ["observation_period", "drug_exposure", "care_site", "concept", "concept_ancestor"]
    )

    fills: ClassVar[Mapping[str, Sequence[str]]] = {"drug_exposure": ("drugs",)}
    packed: ClassVar[tuple[str, ...]] = (*PACKED, *SUFFIXES)

    folder: str = "omop"

    def records(self, store: DataStore) -> Records:
        tables = self.read(store)
        return views_of(str(store.folder(self.folder)), tables, self)

    def _table(self, folder: Path, name: str) -> Table:
        if (file := stored_in(folder)) is not None:
            return stored(file, name, self.tables[name], optional=name in self.optional)
        return super()._table(folder, name)
