"""How the tables of the OMOP common data model answer what is asked about persons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from fedbench.data import OTHER
from fedbench.datasets._clinical import CONCEPTS, UNIT_CONCEPTS
from fedbench.datasets._followed import Records, asked
from fedbench.datasets._left_out import contents, repeated
from fedbench.datasets._persons import Persons
from fedbench.datasets._reading import Table
from fedbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["views_of"]

INPATIENT = (9201, 262, 8717, 32037)
"""Inpatient visit, emergency room and inpatient visit, inpatient hospital, intensive care."""

SEXES = {8507: "male", 8532: "female"}
RACES = {
    8527: "white", 8516: "black", 8515: "asian", 8557: "pacific islander", 8657: "american indian",
}  # fmt: skip

LOINC, SNOMED, UCUM = "LOINC", "SNOMED", "UCUM"
CONCEPT_OF = {"snomed": "condition_concept_id", "icd10cm": "condition_source_concept_id"}


def views_of(origin: str, tables: Mapping[str, Table], wanted: Persons) -> Records:
    """Return the records of persons, as these tables have them.

    Raises:
        DataError: a person is there twice, or an identifier is wanted that only the table
            ``concept`` could explain.
    """
    there = frozenset(n for n, t in tables.items() if t.there)
    known = {"person": "person_id", "death": "person_id"}
    notes = [
        note
        for name, column in known.items()
        for note in repeated(tables[name], column, WORDS["id"][column], partial(asked, origin))
    ]
    maps = _Maps(origin, tables, there, wanted)
    given = {
        "codes": maps.codes, "wanted": maps.wanted, "scale": maps.scale, "units": maps.units,
    }  # fmt: skip
    views = {name: view for name, view in VIEWS.items() if NEEDS.get(name, name) in {name, *there}}
    views["diagnoses"] = views["diagnoses"].replace("$concept", CONCEPT_OF[wanted.system])
    views["visits"] = views["visits"].replace("$content", contents(tables[VISITS].columns))
    return Records(origin, {**tables, **given}, views, tuple(notes))


@dataclass(frozen=True)
class _Of:
    """SQL about a column, written into a question as ``{name[column]}``."""

    sql: str

    def __getitem__(self, column: str) -> str:
        return self.sql.replace("COLUMN", column)


def _of_concepts(levels: Mapping[int, str]) -> _Of:
    """Return the level of a concept; other concepts are OTHER, none (0) is missing."""
    whole = WORDS["whole"].sql
    cases = " ".join(f"WHEN {concept} THEN '{level}'" for concept, level in levels.items())
    return _Of(
        f"CASE WHEN nullif({whole}, 0) IS NULL THEN NULL ELSE "
        f"CASE {whole} {cases} ELSE '{OTHER}' END END"
    )


WORDS: dict[str, _Of] = {
    # Identifiers that a spreadsheet made numbers with decimals stay what they were.
    "id": _Of(
        "CASE WHEN COLUMN LIKE '%.0' THEN left(COLUMN, length(COLUMN) - 2) ELSE trim(COLUMN) END"
    ),
    "whole": _Of("CAST(COLUMN AS BIGINT)"),
    "date": _Of("CAST(left(trim(COLUMN), 10) AS DATE)"),
}
WORDS |= {"sex": _of_concepts(SEXES), "race": _of_concepts(RACES)}


def _written(question: str) -> str:
    return question.format(**WORDS, OTHER=OTHER, INPATIENT=INPATIENT)


ASKED: Mapping[str, str] = {
    "persons": """
        SELECT DISTINCT {id[person_id]} AS patient, {sex[gender_concept_id]} AS sex,
            {whole[year_of_birth]} AS born, {race[race_concept_id]} AS race,
            died, CAST(NULL AS DATE) AS lost
        FROM person LEFT JOIN (
            SELECT {id[person_id]} AS dead, min({date[death_date]}) AS died
            FROM death GROUP BY ALL
        ) ON dead = {id[person_id]}""",
    "stays": """
        SELECT {id[v.person_id]} AS patient, {date[visit_start_date]} AS first,
            {date[visit_end_date]} AS last,
            coalesce({whole[visit_concept_id]} IN {INPATIENT}, false) AS inpatient,
            coalesce(nullif({id[v.care_site_id]}, '0'), nullif({id[p.care_site_id]}, '0'))
                AS site
        FROM visit_occurrence v LEFT JOIN person p ON {id[p.person_id]} = {id[v.person_id]}
        WHERE visit_start_date IS NOT NULL""",
    "diagnoses": """
        SELECT {id[person_id]} AS patient, coalesce(code, '{OTHER}') AS code,
            greatest({date[condition_start_date]}, ended) AS date
        FROM condition_occurrence c
        LEFT JOIN codes ON codes.concept = {whole[$concept]}
        LEFT JOIN (
            SELECT {id[visit_occurrence_id]} AS visit, {date[visit_end_date]} AS ended
            FROM visit_occurrence WHERE {id[person_id]} IN (SELECT patient FROM index)
        ) ON visit = {id[c.visit_occurrence_id]}""",
    "measures": """
        SELECT {id[person_id]} AS patient, {date[measurement_date]} AS date, wanted.name,
            value_as_number * factor + shift AS value
        FROM measurement
        JOIN wanted ON wanted.concept = {whole[measurement_concept_id]}
        LEFT JOIN units ON units.concept = {whole[unit_concept_id]}
        JOIN scale ON scale.name = wanted.name
            -- A unit that is not known is no unit of the scale.
            AND scale.unit = coalesce(
                units.unit, nullif(lower(trim(unit_source_value)), ''),
                CASE WHEN coalesce({whole[unit_concept_id]}, 0) = 0 THEN '' END
            )
        WHERE value_as_number * factor + shift BETWEEN low AND high""",
    "periods": """
        SELECT {id[person_id]} AS patient, {date[observation_period_start_date]} AS first,
            {date[observation_period_end_date]} AS last
        FROM observation_period""",
    "drugs": """
        SELECT {id[person_id]} AS patient, {date[drug_exposure_start_date]} AS date,
            {whole[drug_concept_id]} AS drug
        FROM drug_exposure WHERE {whole[drug_concept_id]} <> 0""",
    "visits": """
        SELECT {id[person_id]} AS patient,
            {id[visit_occurrence_id]} AS key, $content AS content
        FROM visit_occurrence""",
    "places": """
        SELECT {id[care_site_id]} AS site,
            unnest([care_site_name, care_site_source_value]) AS name
        FROM care_site""",
}  # fmt: skip
VIEWS: Mapping[str, str] = {name: _written(view) for name, view in ASKED.items()}
VISITS = "visit_occurrence"
NEEDS = {
    "visits": VISITS,
    "periods": "observation_period",
    "drugs": "drug_exposure",
    "places": "care_site",
}


DESCENDANTS = """
    SELECT DISTINCT {whole[descendant_concept_id]} AS concept, code
    FROM concept_ancestor JOIN found ON found.concept = {whole[ancestor_concept_id]}
    UNION SELECT concept, code FROM found ORDER BY ALL"""

CATEGORIES = """
    SELECT {whole[concept_id]} AS concept, arg_max(code, length(code)) AS code
    FROM concept JOIN listed ON starts_with(replace(upper(concept_code), '.', ''), listed.code)
    WHERE vocabulary_id = 'ICD10CM' GROUP BY ALL ORDER BY ALL"""

EXPLAINED = """
    SELECT vocabulary_id AS vocabulary, {whole[concept_id]} AS concept, concept_code AS code
    FROM concept LEFT JOIN wanted ON vocabulary = vocabulary_id AND code = concept_code
    WHERE vocabulary IS NOT NULL OR vocabulary_id = 'UCUM' ORDER BY ALL"""


@dataclass(frozen=True)
class _Maps:
    """What concept ids stand for: built in, and as the vocabulary tables say."""

    origin: str
    tables: Mapping[str, Table]
    there: frozenset[str]
    wanted_by: Persons

    @cached_property
    def codes(self) -> pd.DataFrame:
        """The listed code, or codes, of every concept of a diagnosis: concept, code."""
        import pandas as pd  # noqa: PLC0415

        listed = [code for code in self.wanted_by.diagnoses.codes if code != OTHER]
        if self.wanted_by.system == "icd10cm":
            return self._categories(listed)
        built_in = {code: CONCEPTS[code] for code in listed if code in CONCEPTS}
        known = {id_: code for code, id_ in built_in.items()} | dict(self._explained(SNOMED))
        found = pd.DataFrame({"concept": list(known), "code": list(known.values())})
        self._need_concepts("conditions.snomed", [c for c in listed if c not in built_in])
        if "concept_ancestor" not in self.there:
            return found
        return asked(
            self.origin, _written(DESCENDANTS),
            concept_ancestor=self.tables["concept_ancestor"], found=found,
        )  # fmt: skip

    @cached_property
    def wanted(self) -> pd.DataFrame:
        """The measurement that a concept is: concept, name."""
        import pandas as pd  # noqa: PLC0415

        listed = self.wanted_by.listed
        known = [(id_, n) for n, m in listed.measurements.items() for id_ in m.concepts]
        loinc = listed.of_loinc()
        self._need_concepts(
            "measurements", [n for n, m in listed.measurements.items() if not m.concepts]
        )
        more = [(id_, loinc[code]) for id_, code in self._explained(LOINC)]
        rows = dict([*more, *known])
        return pd.DataFrame({"concept": list(rows), "name": list(rows.values())})

    @cached_property
    def scale(self) -> pd.DataFrame:
        """How a value in a unit becomes one of the catalogue, and between which bounds."""
        import pandas as pd  # noqa: PLC0415

        rows = [
            (name, unit, factor, shift, measured.low, measured.high)
            for name, measured in self.wanted_by.listed.measurements.items()
            for unit, (factor, shift) in measured.scale.items()
        ]
        return pd.DataFrame(rows, columns=["name", "unit", "factor", "shift", "low", "high"])

    @cached_property
    def units(self) -> pd.DataFrame:
        """The unit of a concept, in lower case: concept, unit."""
        import pandas as pd  # noqa: PLC0415

        known = {id_: unit.lower() for id_, unit in UNIT_CONCEPTS.items()}
        known = {**{id_: code.lower() for id_, code in self._explained(UCUM)}, **known}
        return pd.DataFrame({"concept": list(known), "unit": list(known.values())})

    @cached_property
    def vocabulary(self) -> pd.DataFrame:
        """Listed codes and all units in the table of concepts: vocabulary, concept, code."""
        import pandas as pd  # noqa: PLC0415

        listed = [(SNOMED, code) for code in self.wanted_by.diagnoses.codes]
        listed += [(LOINC, code) for code in self.wanted_by.listed.of_loinc()]
        wanted = pd.DataFrame(listed, columns=["vocabulary", "code"])
        concept = self.tables["concept"]
        return asked(self.origin, _written(EXPLAINED), concept=concept, wanted=wanted)

    def _explained(self, vocabulary: str) -> Iterator[tuple[int, str]]:
        """Yield concept and code; nothing without the table of concepts."""
        mine = self.vocabulary[self.vocabulary["vocabulary"] == vocabulary]
        yield from mine[["concept", "code"]].itertuples(index=False, name=None)

    def _categories(self, listed: list[str]) -> pd.DataFrame:
        """Return, for every concept of ICD-10-CM, the longest listed code that it begins with."""
        import pandas as pd  # noqa: PLC0415

        self._need_concepts("conditions.icd10cm", listed)
        return asked(
            self.origin, _written(CATEGORIES),
            concept=self.tables["concept"], listed=pd.DataFrame({"code": listed}),
        )  # fmt: skip

    def _need_concepts(self, what: str, names: list[str]) -> None:
        if names and "concept" not in self.there:
            raise DataError(
                f"{what}: no OMOP concept id is known for {', '.join(map(repr, names[:5]))}. "
                "Put the table 'concept' into the folder, or give concepts in the catalogue."
            )
