"""A hospital's own records as FHIR resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fedbench.data import DataStore
from fedbench.datasets._bundles import SUFFIXES, files, resources
from fedbench.datasets._followed import Records
from fedbench.datasets._persons import Persons
from fedbench.datasets._reading import Kind
from fedbench.datasets._resources import gathered
from fedbench.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Fhir(Persons):
    """Persons as FHIR R4 resources: bundles, single resources, or NDJSON of a bulk export.

    The folder, with those in it, holds ``.json``, ``.json.gz``, ``.ndjson`` and ``.ndjson.gz``
    files; a person's resources may lie in several. Read are Patient, Encounter, Condition,
    Observation, MedicationRequest and Organization; all other kinds are passed over, and so is
    what was entered in error, cancelled, refuted or only planned, and what has no date. A JSON
    file is parsed at a time (up to 64 MB), NDJSON line by line; of what is read only the columns
    that are needed are kept.

    Nothing of the schema comes from the records: what is read is a built-in catalogue of common
    vital signs, laboratory values (LOINC) and diagnoses (SNOMED CT or ICD-10-CM), and a file of
    yours adds to it, in which ``sites`` lists the ids, names or identifiers of organizations of
    each hospital (``omop`` shows such a file). A person lives at the hospital that was
    ``serviceProvider`` of the index visit (of the last visit up to the day, if ``index`` is a
    date), or at "(other)". Without ``sites`` there are no hospitals: deal the patients out with a
    partitioner.

    Times are whole days, in the time zone they are written in; a date without day or month is the
    last one possible. A diagnosis counts from its ``recordedDate``, else from its onset or the end
    of its encounter, whichever is later. Values are converted to the unit of the catalogue; those
    in unknown units, or beyond its bounds, are left out, and those of one day averaged. Everybody
    is taken to be followed until the day ``until``; whoever died nobody knows when, until her
    last encounter.
    """

    title: ClassVar[str] = "FHIR R4 resources"
    licence: ClassVar[str] = "as the hospital says; not to be given away"
    citation: ClassVar[str] = "Records of your own, in HL7 FHIR Release 4, https://hl7.org/fhir/R4/"
    home: ClassVar[str] = "https://hl7.org/fhir/R4/"
    called: ClassVar[str] = "fhir"
    tables: ClassVar[Mapping[str, Mapping[str, Kind]]] = {}

    packed: ClassVar[tuple[str, ...]] = ()

    folder: str = "fhir"

    def lacking(self, folder: Path) -> Sequence[str]:
        if folder.is_file():
            return super().lacking(folder)
        if files(folder):
            return []
        return [f"There is no file {', '.join(SUFFIXES)} in {folder}. Put FHIR R4 bundles there."]

    def records(self, store: DataStore) -> Records:
        folder = store.folder(self.folder)
        if lacking := self.lacking(folder):
            raise DataError(" ".join(lacking))
        return gathered(str(folder), resources(folder), self.listed, self.system)
