"""Codes of diagnoses: spelling, hierarchy, and maps between systems."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from fedbench.coding import backed_off, categories, category, chapters, spelled
from fedbench.crosswalk import Crosswalk, ccsr, disease_ontology, gems, own_map
from fedbench.data import OTHER, Cohort, Column, Schema, Vocabulary
from fedbench.errors import DataError, SpecError

ROOT = os.environ.get("FEDBENCH_DATA")
needs_ontology = pytest.mark.skipif(
    not ROOT or not (Path(ROOT) / "disease_ontology_xrefs").is_dir(),
    reason="needs the folder disease_ontology_xrefs in FEDBENCH_DATA",
)


def series(*codes: str) -> pd.Series:
    return pd.Series(codes, dtype="string")


def walk(*pairs: tuple[str, str, str], which: str = "first") -> Crosswalk:
    table = pd.DataFrame(pairs, columns=["source", "target", "part"], dtype="string")
    return Crosswalk("icd9cm", "icd10cm", table, which)  # type: ignore[arg-type]


def test_the_lists_are_whole() -> None:
    ninth, tenth = categories("icd9cm"), categories("icd10cm")
    assert (len(ninth), len(tenth)) == (1_234, 1_918)
    assert ninth["250"] == "Diabetes mellitus"
    assert tenth["I10"] == "Essential (primary) hypertension"
    assert {len(code) for code in tenth} == {3}
    assert {len(code) for code in ninth if not code.startswith("E")} == {3}
    assert {len(code) for code in ninth if code.startswith("E")} == {4}
    with pytest.raises(SpecError, match="no list of categories of 'snomed'"):
        categories("snomed")


def test_codes_know_what_is_above_them() -> None:
    assert list(spelled(series(" i50.9 ", "E11.65"))) == ["I509", "E1165"]
    assert list(category(series("I509", "I50"), "icd10cm")) == ["I50", "I50"]
    assert list(category(series("38341003"), "snomed")) == ["38341003"]
    titles = chapters(series("I509", "nothing"), "icd10cm")
    assert titles[0] == "Diseases of the circulatory system"
    assert pd.isna(titles[1])
    known = {"I50": "", "E1165": "", OTHER: ""}
    assert list(backed_off(series("E1165", "E119", "I509"), "icd10cm", known)) == [
        "E1165", OTHER, "I50",
    ]  # fmt: skip


def test_a_choice_is_one_and_a_combination_is_all_its_parts() -> None:
    pairs = (("A", "X", "1"), ("A", "Y", "1"), ("A", "Z", "2"))
    assert list(walk(*pairs).mapped(series("a"))["target"]) == ["X", "Z"]
    assert list(walk(*pairs, which="all").mapped(series("a"))["target"]) == ["X", "Y", "Z"]


def test_what_comes_first_is_asked_first() -> None:
    both = walk(("A", "X", "")).or_else(walk(("A", "Y", ""), ("B", "Z", "")))
    assert list(both.mapped(series("a", "b", "c"))["target"]) == ["X", "Z"]
    with pytest.raises(SpecError, match="cannot go on as one from icd10cm to icd9cm"):
        both.or_else(Crosswalk("icd10cm", "icd9cm", both.pairs))


def test_categories_map_to_what_most_of_their_codes_map_to() -> None:
    pairs = (("2500", "E119", ""), ("2501", "E101", ""), ("2502", "E116", ""))
    assert list(walk(*pairs).by_category().mapped(series("250"))["target"]) == ["E11"]


def test_a_code_may_be_written_with_dots_on_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    path.write_text("source,target\n401.9,I10\n250.00,e11.9\n")
    found = own_map(path, "icd9cm", "icd10cm", "first")
    dotted = {"401.9": "", "250.00": "", "799": ""}
    schema = replace(
        SCHEMA,
        vocabularies={
            "icd9cm": Vocabulary(codes=dotted), "icd10cm": Vocabulary(codes={"E11.9": "listed"})
        },
    )  # fmt: skip
    codes = pd.DataFrame(
        {"patient": "a", "day": 0, "system": "icd9cm", "code": ["4019", "250.00", " 799"]}
    )
    cohort = Cohort.of_tables(schema, COHORT.static, codes=codes)
    assert list(cohort.codes["code"]) == ["250.00", "401.9", "799"]
    assert found.coverage(cohort.codes["code"]).codes_mapped == 2
    agreed = found.schema(schema)
    assert set(agreed.vocabularies["icd10cm"].codes) == {"E11.9", "I10"}
    moved, _ = found.applied(replace(cohort, schema=agreed))
    assert list(moved.codes["code"]) == ["E11.9", "I10", "799"]


def test_a_full_code_is_looked_up_by_its_category() -> None:
    found = walk(("2500", "E119", ""), ("4019", "I10", "")).by_category()
    asked = series("250.00", "401", "79999")
    assert list(found.mapped(asked)["target"]) == ["E11", "I10"]
    assert found.coverage(asked).records_mapped == 2


def test_of_categories_with_as_many_codes_the_first_code_decides() -> None:
    pairs = (
        ("25001", "E109", ""),
        ("25000", "E119", ""),
        ("25002", "E116", ""),
        ("25003", "E101", ""),
    )
    assert list(walk(*pairs).by_category().mapped(series("250"))["target"]) == ["E11"]


def test_gems_are_those_of_cms() -> None:
    there = gems("icd9cm", "icd10cm")
    assert list(there.mapped(series("25000", "4019", "E9503"))["target"]) == ["E119", "I10"]
    # Meningitis in histoplasmosis takes two codes.
    assert set(there.mapped(series("11501"))["target"]) == {"B394", "G02"}
    back = gems("icd10cm", "icd9cm")
    assert list(back.mapped(series("E119"))["target"]) == ["25000"]
    found = there.by_category().mapped(series("428", "584", "410"))
    assert list(found["target"]) == ["I50", "N17", "I21"]
    # An exact equivalent comes first, a single code before a combination.
    assert list(back.mapped(series("K5649", "A1801"))["target"]) == ["56039", "01500"]
    with pytest.raises(SpecError, match="no GEMs from icd9cm to snomed"):
        gems("icd9cm", "snomed")


def test_the_flags_of_gems_are_respected() -> None:
    exact = gems("icd9cm", "icd10cm", approximate=False)
    assert len(exact.pairs) == exact.pairs["source"].nunique() == 3_533
    no_map = series("36570")
    assert gems("icd9cm", "icd10cm").mapped(no_map).empty
    assert set(gems("icd9cm", "icd10cm").pairs["target"]).isdisjoint({"NoDx", "NoPCS"})
    every = gems("icd10cm", "icd9cm", "all").mapped(series("A1801"))["target"]
    assert set(every) == {"01500", "71148", "72081", "73088", "73740"}


def test_ccsr_groups_the_tenth_revision() -> None:
    found = ccsr(series("E119", "nothing"))
    assert found[0] == "END002"
    assert pd.isna(found[1])


@needs_ontology
def test_the_disease_ontology_pairs_what_it_says() -> None:
    folder = Path(str(ROOT)) / "disease_ontology_xrefs"
    tenth, ninth = (disease_ontology(folder, s, "snomed") for s in ("icd10cm", "icd9cm"))
    table = pd.read_csv(folder / "allXREFinDO.tsv.gz", sep="\t", dtype="string")
    of = {s: table[table["xref"].str.startswith(s)] for s in ("ICD10CM", "ICD9CM", "SNOMED")}
    joined = of["ICD10CM"].merge(of["SNOMED"], on="id")
    assert (len(joined), joined["xref_x"].nunique(), joined["xref_y"].nunique()) == (
        3_149, 2_309, 2_660,
    )  # fmt: skip
    assert len(of["ICD9CM"].merge(of["SNOMED"], on="id")) == 2_864
    # Some pairs are of several diseases, and one concept is cited from two releases of SNOMED.
    assert (len(tenth.pairs), len(ninth.pairs)) == (3_128, 2_846)
    assert tenth.pairs["source"].nunique() == 2_309
    assert tenth.pairs["target"].nunique() == 2_659
    assert ninth.pairs["source"].nunique() == 2_126
    with pytest.raises(SpecError, match="has no 'icd11'"):
        disease_ontology(folder, "icd11", "snomed")


def test_a_map_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    path.write_text("source,target,comment\n401.9,I10,\n250.0,E11.9,x\n250.0,E11.9,y\n")
    found = own_map(str(path), "icd9cm", "icd10cm")
    assert list(found.mapped(series("4019", "2500"))["target"]) == ["I10", "E119"]
    path.write_text("from,to\n1,2\n")
    with pytest.raises(DataError, match="there is no column 'source'; found from, to"):
        own_map(path, "icd9cm", "icd10cm")
    with pytest.raises(DataError, match="There is no file"):
        own_map(tmp_path / "nowhere.csv", "icd9cm", "icd10cm")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        own_map(path, "icd9cm", "icd10cm")


SCHEMA = Schema(
    name="ward",
    clock="days",
    static={"age": Column(kind="integer", low=0, high=120)},
    vocabularies={
        "icd9cm": Vocabulary(
            codes={"401": "hypertension", "250": "diabetes", "799": "vague"},
            sensitive=frozenset({"250"}),
            shown=("250", "799"),
        )
    },
)

COHORT = Cohort.of_tables(
    SCHEMA,
    pd.DataFrame({"patient": ["a", "b"], "age": [1, 2]}),
    codes=pd.DataFrame(
        {"patient": ["a", "a", "b"], "day": [0, 1, 2], "system": "icd9cm",
         "code": ["401", "250", "799"]}
    ),
)  # fmt: skip


def test_a_cohort_is_mapped_and_what_has_no_counterpart_stays() -> None:
    pairs = (("401", "I10", ""), ("250", "E11", "1"), ("250", "E78", "2"))
    new, coverage = walk(*pairs).applied(COHORT)
    rows = list(new.codes.itertuples(index=False, name=None))
    assert rows == [
        ("a", 0.0, "icd10cm", "I10"),
        ("a", 1.0, "icd10cm", "E11"),
        ("a", 1.0, "icd10cm", "E78"),
        ("b", 2.0, "icd9cm", "799"),
    ]
    assert str(coverage).startswith("2 of 3 codes and 2 of 3 records are mapped")
    target = new.schema.vocabularies["icd10cm"]
    assert set(target.codes) == {"I10", "E11", "E78"}
    assert target.sensitive == {"E11", "E78"}
    assert target.shown == ("E11", "E78")
    assert new.schema.vocabularies["icd9cm"] == SCHEMA.vocabularies["icd9cm"]


def test_a_system_that_is_not_there_is_named() -> None:
    with pytest.raises(SpecError, match="has no codes of 'icd10cm' to map"):
        Crosswalk("icd10cm", "icd9cm", walk(("a", "b", "")).pairs).applied(COHORT)
    with pytest.raises(SpecError, match="to itself says nothing"):
        Crosswalk("icd9cm", "icd9cm", walk(("a", "b", "")).pairs)
