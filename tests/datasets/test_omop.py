"""A hospital's own OMOP tables, in every form in which they may lie in a folder."""

from __future__ import annotations

import gzip
import hashlib
import textwrap
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from fedbench.data import OTHER, Cohort, DataStore
from fedbench.datasets.omop import Omop
from fedbench.errors import DataError, SpecError
from fedbench.kinds import DATASETS
from fedbench.rules import kept
from fedbench.tables import literal
from fedbench.task import problem
from fedbench.testing import check_dataset

Tables = dict[str, list[dict[str, Any]]]

DIABETES, SPECIAL_DIABETES, UNKNOWN = 201826, 4193704, 999
GLUCOSE, TEMPERATURE, WEIGHT, CREATININE = 3000483, 3020891, 3025315, 3016723
HEART_RATE, SBP = 3027018, 3004249
MMOL_L, MG_DL, FAHRENHEIT = 8753, 8840, 9289


def made_up() -> Tables:
    """Four people: 1, 2 and 4 were inpatients, 3 was not; 4 died after her observation ended."""
    visit, seen = "visit_occurrence_id", "visit_concept_id"
    return {
        "person": [
            _row(person_id=1, gender_concept_id=8532, year_of_birth=1950, race_concept_id=8527),
            _row(person_id=2, gender_concept_id=8507, year_of_birth=1960, race_concept_id=8516,
                 care_site_id=12),
            _row(person_id=3, gender_concept_id=8507, year_of_birth=1970, race_concept_id=0),
            _row(person_id=4, gender_concept_id=8521, year_of_birth=1800),
        ],
        "visit_occurrence": [
            _visit(**{visit: 9, "person_id": 1, seen: 9202}, on="2019-12-01", to="2019-12-01"),
            _visit(**{visit: 1, "person_id": 1, seen: 9201}, on="2020-01-01", to="2020-01-10",
                   care_site_id=11),
            _visit(**{visit: 2, "person_id": 1, seen: 9201}, on="2020-01-25", to="2020-01-30"),
            _visit(**{visit: 3, "person_id": 2, seen: 262}, on="2020-03-01", to="2020-03-05"),
            _visit(**{visit: 4, "person_id": 2, seen: 9202}, on="2020-05-01", to="2020-05-01"),
            _visit(**{visit: 5, "person_id": 3, seen: 9202}, on="2020-05-01", to="2020-05-01"),
            _visit(**{visit: 6, "person_id": 4, seen: 32037}, on="2021-01-01", to="2021-01-03"),
        ],
        "condition_occurrence": [
            _found(1, DIABETES, "2020-01-01", visit_occurrence_id=1),
            _found(1, UNKNOWN, "2020-01-20"),
            _found(2, SPECIAL_DIABETES, "2020-03-10"),
            _found(2, DIABETES, "2010-01-01"),
            _found(3, DIABETES, "2020-03-10"),
        ],
        "measurement": [
            _measured(1, GLUCOSE, "2020-01-01", 5.5, unit_concept_id=MMOL_L),
            _measured(1, GLUCOSE, "2020-01-01", 101, unit_concept_id=MG_DL),
            _measured(1, TEMPERATURE, "2020-01-01", 98.6, unit_concept_id=FAHRENHEIT),
            _measured(1, WEIGHT, "2020-01-02", 200, unit_concept_id=0, unit_source_value="LBS"),
            _measured(1, CREATININE, "2020-01-02", 1, unit_source_value="furlong"),
            _measured(1, CREATININE, "2020-01-02", 1, unit_concept_id=8748),  # ug/L
            _measured(1, HEART_RATE, "2020-01-02", 900, unit_source_value="/min"),
            _measured(1, SBP, "2020-02-10", 120),
            _measured(1, UNKNOWN, "2020-02-10", 1),
        ],
        "death": [_row(person_id=4, death_date="2021-02-10")],
        "observation_period": [
            _period(1, "2010-01-01", "2020-12-31"),
            _period(1, "2022-01-01", "2030-12-31"),
            _period(2, "2019-01-01", "2029-01-01"),
            _period(3, "2019-01-01", "2029-01-01"),
            _period(4, "2019-01-01", "2021-01-20"),
        ],
        "drug_exposure": [
            _row(person_id=1, drug_concept_id=drug, drug_exposure_start_date=day)
            for drug, day in (
                (5, "2020-01-10"), (5, "2019-02-01"), (6, "2019-01-11"), (7, "2019-01-10"),
                (8, "2020-01-11"), (0, "2020-01-01"),
            )
        ],
        "care_site": [
            _row(care_site_id=11, care_site_name="North General"),
            _row(care_site_id=12, care_site_source_value="S-12"),
        ],
        "concept": [
            _row(concept_id=1001, vocabulary_id="ICD10CM", concept_code="E11.9"),
            _row(concept_id=1002, vocabulary_id="ICD10CM", concept_code="Z99"),
            _row(concept_id=3020460, vocabulary_id="LOINC", concept_code="1988-5"),
            _row(concept_id=201606, vocabulary_id="SNOMED", concept_code="34000006"),
        ],
        "concept_ancestor": [
            _row(ancestor_concept_id=DIABETES, descendant_concept_id=SPECIAL_DIABETES),
            _row(ancestor_concept_id=DIABETES, descendant_concept_id=DIABETES),
        ],
    }  # fmt: skip


def _row(**values: Any) -> dict[str, Any]:
    return values


def _visit(*, on: str, to: str, **values: Any) -> dict[str, Any]:
    return {**values, "visit_start_date": on, "visit_end_date": to}


def _found(person: int, concept: int, on: str, **more: Any) -> dict[str, Any]:
    source = {DIABETES: 1001, UNKNOWN: 1002}.get(concept, 0)
    return {
        "person_id": person, "condition_concept_id": concept, "condition_start_date": on,
        "condition_source_concept_id": source, **more,
    }  # fmt: skip


def _measured(person: int, concept: int, on: str, value: float, **more: Any) -> dict[str, Any]:
    return {
        "person_id": person, "measurement_concept_id": concept, "measurement_date": on,
        "value_as_number": value, **more,
    }  # fmt: skip


def _period(person: int, start: str, end: str) -> dict[str, Any]:
    return {
        "person_id": person, "observation_period_start_date": start,
        "observation_period_end_date": end,
    }  # fmt: skip


def frames(tables: Tables) -> Mapping[str, pd.DataFrame]:
    return {
        name: pd.DataFrame(rows).reindex(columns=list(Omop.tables[name]))
        for name, rows in tables.items()
    }


def as_csv(tables: Tables, folder: Path) -> None:
    """With decimals in whole numbers where a field is empty, as pandas writes them."""
    for name, frame in frames(tables).items():
        frame.to_csv(folder / f"{name}.csv", index=False)


def as_athena(tables: Tables, folder: Path) -> None:
    """With the vocabularies as OHDSI's Athena packs them: tabs, and names with odd quotes."""
    as_csv(tables, folder)
    for name in ("concept", "concept_ancestor"):
        frame = pd.read_csv(folder / f"{name}.csv", dtype=str).assign(
            concept_name='"Bird" 5" dwarf'
        )
        rows = [list(frame), *frame.to_numpy().tolist()]
        text = "".join("\t".join(row) + "\n" for row in rows)
        (folder / f"{name}.csv").write_text(text)


def as_shouted_gz(tables: Tables, folder: Path) -> None:
    for name, frame in frames(tables).items():
        text = frame.rename(columns=str.upper).to_csv(index=False)
        (folder / f"{name.upper()}.CSV.gz").write_bytes(gzip.compress(text.encode()))


def as_parquet(tables: Tables, folder: Path) -> None:
    for name, frame in frames(tables).items():
        typed = frame.apply(
            lambda column: pd.to_datetime(column) if column.name.endswith("_date") else column
        )
        typed.to_parquet(folder / f"{name}.parquet", index=False)


def as_zip(tables: Tables, folder: Path) -> None:
    with zipfile.ZipFile(folder / "cdm.zip", "w") as packed:
        for name, frame in frames(tables).items():
            packed.writestr(f"{name.upper()}.csv", frame.to_csv(index=False))


def as_duckdb(tables: Tables, folder: Path) -> None:
    with duckdb.connect(str(folder / "cdm.duckdb")) as database:
        database.execute("CREATE SCHEMA cdm.cdm")
        for name, frame in frames(tables).items():
            database.register("frame", frame)
            database.execute(f"CREATE TABLE cdm.cdm.{name.upper()} AS FROM frame")


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Cohort]:
    """Return the cohort in tables that are written to an empty folder first."""
    count = iter(range(100))

    def cohort(tables: Tables, write: Callable[..., None] = as_csv, **settings: Any) -> Cohort:
        folder = tmp_path / f"omop{next(count)}"
        folder.mkdir()
        write(tables, folder)
        return Omop(folder=str(folder), **settings).load(DataStore())

    return cohort


@pytest.fixture(scope="module")
def store() -> DataStore:
    store = DataStore.default()
    try:
        store.folder("synthea27nj_omop")
    except DataError:
        pytest.skip("Set FEDBENCH_DATA to a folder with synthea27nj_omop.")
    return store


def test_every_cell_is_where_it_belongs(read: Callable[..., Cohort]) -> None:
    cohort = read(made_up())
    static = cohort.static.set_index("patient")
    assert list(static.index) == ["1", "2", "4"]  # 3 was never an inpatient
    assert list(static["sex"]) == ["female", "male", OTHER]
    assert static["age"].fillna(-1).tolist() == [70, 60, -1]  # nobody is 221
    assert static["race"].isna().tolist() == [False, False, True]
    assert static["drugs"].tolist() == [2, 0, 0]  # 365 days before, and day 0
    assert static["admitted"].fillna("?").tolist() == ["yes", "no", "?"]
    assert static["seen"].fillna("?").tolist() == ["yes", "no", "?"]
    outcome = cohort.outcome.set_index("patient")
    assert outcome["event"].tolist() == [0, 0, 1]
    assert outcome["time"].tolist() == [356, 1825, 38]  # 2020 had 366 days
    codes = [tuple(row) for row in cohort.codes.itertuples(index=False)]
    assert codes == [
        ("1", 0.0, "snomed", "44054006"),  # known when the visit ended
        ("1", 10.0, "snomed", OTHER),
        ("2", 5.0, "snomed", "44054006"),  # a special kind of it
    ]
    visits = cohort.visits.set_index("day")
    assert visits.index.tolist() == [-9, -8, 31]
    assert visits.loc[-9, "glucose"] == pytest.approx((5.5 * 18.016 + 101) / 2)
    assert visits.loc[-9, "temperature"] == pytest.approx(37)
    assert visits.loc[-8, "weight"] == pytest.approx(90.718474)
    assert visits.loc[31, "sbp"] == 120
    assert visits.drop(columns="patient").notna().to_numpy().sum() == 4


@pytest.mark.parametrize("write", [as_athena, as_shouted_gz, as_parquet, as_zip, as_duckdb])
def test_the_form_of_the_files_makes_no_difference(
    read: Callable[..., Cohort], write: Callable[..., None]
) -> None:
    assert read(made_up(), write).fingerprint == read(made_up()).fingerprint


def test_what_is_optional_may_be_absent(read: Callable[..., Cohort]) -> None:
    tables = made_up()
    for name in Omop.optional:
        del tables[name]
    cohort = read(tables, until="2021-03-01")
    assert cohort.static["drugs"].isna().all()
    # Everybody is followed until then, and the special kind of diabetes is any other disease.
    assert cohort.outcome["time"].tolist() == [416, 361, 38]
    assert cohort.codes["code"].tolist() == ["44054006", OTHER, OTHER]
    told = read(tables)  # up to the day on which the last visit began, that of 4
    assert list(told.patients) == ["1", "2"]
    assert told.outcome["time"].tolist() == [357, 302]


@pytest.mark.parametrize(
    ("table", "row", "message"),
    [
        ("person", _row(person_id=2, year_of_birth=1961), "person_id '2' is there more than once"),
        ("death", _row(person_id=4, death_date="2021-02-11"), r"person_id '4' .*\(2 rows that are"),
        (
            "visit_occurrence",
            _visit(visit_occurrence_id=3, person_id=2, visit_concept_id=262, on="2020-03-01",
                   to="2020-03-09"),
            "visit_occurrence_id '3' is there more than once",
        ),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_named(
    read: Callable[..., Cohort], table: str, row: dict[str, Any], message: str
) -> None:
    tables = made_up()
    tables[table].append(row)
    with pytest.raises(DataError, match=rf"{table}.*{message}"):
        read(tables)


def test_of_several_that_contradict_themselves_the_first_is_named(
    read: Callable[..., Cohort],
) -> None:
    tables = made_up()
    tables["person"] += [row | {"year_of_birth": 1900} for row in tables["person"][:2]]
    with pytest.raises(DataError, match=r"'1' .*\(2 rows that are not alike; so it is with 1 more"):
        read(tables)


def test_rows_that_are_there_twice_count_once_and_are_told(read: Callable[..., Cohort]) -> None:
    once, twice = read(made_up()), made_up()
    for name in ("person", "death", "visit_occurrence"):
        twice[name] += twice[name]
    found = read(twice)
    assert found.fingerprint == once.fingerprint
    told = [note.split(": ")[1].split(",")[0] for note in found.notes]
    assert told[:3] == ["4 rows too many", "1 row too many", "6 rows too many"]


def test_years_of_birth_that_cannot_be_are_counted(read: Callable[..., Cohort]) -> None:
    tables = made_up()
    tables["person"][0]["year_of_birth"] = 2070
    assert (
        "2 of 3 persons were born after day 0, or more than 120 years before, the first in 2070"
        in (read(tables).notes[-1])
    )


def test_hospitals_of_the_catalogue_that_nobody_was_at_are_told(
    read: Callable[..., Cohort], tmp_path: Path
) -> None:
    listed = tmp_path / "mine.toml"
    listed.write_text('[sites]\nnorth = ["11"]\nsouth = ["99"]\n')
    assert "Nobody lives at 'south'" in read(made_up(), catalogue=str(listed)).notes[-1]
    listed.write_text('[sites]\nsouth = ["99"]\n')
    with pytest.raises(DataError, match=r"lists under 'sites', such as '99'; found '11', '12'\."):
        read(made_up(), catalogue=str(listed))


def test_persons_of_another_export_are_told(read: Callable[..., Cohort]) -> None:
    tables = made_up()
    tables["person"] = [row | {"person_id": 10 * row["person_id"]} for row in tables["person"]]
    with pytest.raises(DataError, match=r"of 4 with a visit the first is '1', of 4 persons '10'"):
        read(tables)


@pytest.mark.parametrize(
    ("table", "column", "value", "message"),
    [
        ("visit_occurrence", "visit_start_date", "05.01.2020", "expected a date, written 2020-"),
        ("death", "death_date", "2020-13-45", "expected a date, written 2020-"),
    ],
)
def test_dates_in_another_form_are_named(
    read: Callable[..., Cohort], table: str, column: str, value: str, message: str
) -> None:
    tables = made_up()
    tables[table][0][column] = value
    with pytest.raises(DataError, match=f"{table}.csv: '{column}' is '{value}'; {message}"):
        read(tables)


def test_a_date_can_be_day_0(read: Callable[..., Cohort]) -> None:
    cohort = read(made_up(), index="2020-05-01")
    assert list(cohort.patients) == ["1", "2", "3"]  # 4 was not seen before
    assert cohort.static["race"].isna().tolist() == [False, False, True]
    assert cohort.codes.loc[cohort.codes["patient"] == "3", "day"].tolist() == [-52]
    later = read(made_up(), index="2021-02-10")
    assert list(later.patients) == ["2", "3"]  # 1 is not under observation, 4 has died


def test_persons_live_where_they_were(read: Callable[..., Cohort], tmp_path: Path) -> None:
    listed = tmp_path / "mine.toml"
    listed.write_text('[sites]\nnorth = ["North General"]\nsouth = ["99", "12"]\n')
    cohort = read(made_up(), catalogue=str(listed))
    assert cohort.sites is not None
    assert cohort.sites.tolist() == ["north", "south", OTHER]
    assert cohort.schema.static["hospital"].levels == ("north", "south", OTHER)


def test_a_catalogue_adds_to_what_is_read(read: Callable[..., Cohort], tmp_path: Path) -> None:
    listed = tmp_path / "mine.toml"
    example = textwrap.dedent((Omop.__doc__ or "").split("::\n")[1].split("The right-hand")[0])
    listed.write_text(example)
    tables = made_up()
    tables["measurement"].append(
        _measured(2, 3020460, "2020-03-01", 1.5, unit_concept_id=MG_DL)
    )  # fmt: skip
    tables["condition_occurrence"].append(_found(4, 201606, "2021-01-02"))
    cohort = read(tables, catalogue=str(listed), foresee=("Crohn's disease",))
    assert cohort.visits["crp"].dropna().tolist() == [15]
    assert cohort.codes.loc[cohort.codes["patient"] == "4", "code"].tolist() == ["34000006"]
    assert "34000006" in cohort.schema.vocabularies["snomed"].sensitive
    assert cohort.schema.tasks["Crohn's disease"].codes == ("snomed:34000006",)
    only = tmp_path / "only.toml"
    only.write_text("defaults = false\n" + listed.read_text())
    schema = Omop(catalogue=str(only), foresee=()).schema
    assert list(schema.visits) == ["crp"]
    assert list(schema.vocabularies["snomed"].codes) == ["34000006", OTHER]
    assert [rule.label for rule in schema.rules] == ["nothing is measured after death"]
    assert schema.site == "hospital"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("measurement = 1", "Did you mean 'measurements'"),
        ("[measurements]\ncrp = 1", "measurements.crp is 1"),
        ('[measurements]\ncrp = { label = "", unit = "", low = 0, high = 1 }', "needs loinc"),
        (
            '[measurements]\nx = { label = "x", unit = "", low = 2, high = 1, loinc = ["9"] }',
            "low < high",
        ),
        (
            '[measurements]\nx = { label = "x", unit = "", low = 0, high = 1, loinc = ["718-7"] }',
            "'718-7' stands for 'hemoglobin' and 'x'",
        ),
        (
            '[measurements]\nday = { label = "", unit = "", low = 0, high = 1, loinc = ["9"] }',
            "cannot be called 'day'",
        ),
        ("[conditions.icd9cm]\ncodes = {}", "'icd9cm'"),
        ('[sites]\na = "101"', "sites.a is '101'"),
        ('[sites]\na = ["1"]\nb = ["1"]', "'1' stands for 'a' and 'b'"),
        ("defaults = 1", "defaults is 1"),
        ("[", "is not a TOML file"),
    ],
)
def test_a_wrong_catalogue_is_told(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"mine\.toml") as caught:
        _ = Omop(catalogue=str(path)).schema
    assert said in str(caught.value)


def test_wrong_settings_are_told() -> None:
    with pytest.raises(SpecError, match="index is 'birth'; expected 'discharge' or a date"):
        Omop(index="birth")
    with pytest.raises(SpecError, match="index is '20150101'"):
        Omop(index="20150101")
    with pytest.raises(SpecError, match=r"until is '1\.1\.2020'"):
        DATASETS.build("omop", {"until": "1.1.2020"})
    with pytest.raises(SpecError, match="Did you mean 'gout'"):
        _ = Omop(foresee=("gouts",)).schema
    with pytest.raises(SpecError, match="system"):
        DATASETS.build("omop", {"system": "read2"})


def test_who_died_in_the_stay_has_no_time_after_it(read: Callable[..., Cohort]) -> None:
    tables = made_up()
    tables["death"].append(_row(person_id=2, death_date="2020-03-04"))
    cohort = read(tables)
    assert cohort.outcome["time"].tolist() == [356, 0, 38]
    assert cohort.outcome["event"].tolist() == [0, 1, 1]
    assert "2" not in problem(cohort, cohort.schema.tasks["death"]).patients
    tables["death"].append(_row(person_id=1, death_date="2021-02-01"))  # 32 days unobserved
    assert read(tables).outcome["event"].tolist() == [0, 1, 1]


def test_measurements_may_have_any_name(read: Callable[..., Cohort], tmp_path: Path) -> None:
    listed = tmp_path / "mine.toml"
    name = "it's {odd} \""
    listed.write_text(f"""
defaults = false
[measurements.{literal(name)}]
label = "odd"
unit = "mg/L"
low = 0
high = 9000
concepts = [{SBP}]
[conditions.snomed]
codes = {{ "44054006" = "dm" }}
""")
    cohort = read(made_up(), catalogue=str(listed), foresee=("dm",))
    assert cohort.visits[name].tolist() == [120]


def test_icd_codes_are_told_by_category(read: Callable[..., Cohort]) -> None:
    cohort = read(made_up(), system="icd10cm")
    assert cohort.codes["code"].tolist() == ["E11", OTHER, OTHER]
    tables = made_up()
    del tables["concept"]
    with pytest.raises(DataError, match="Put the table 'concept' into the folder"):
        read(tables, system="icd10cm")


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("measurement", "measurement_date", "31/12/2020"),
        ("person", "year_of_birth", "unknown"),
        ("visit_occurrence", "visit_concept_id", "IP"),
        ("death", "death_date", "2021-13-01"),
        ("measurement", "value_as_number", "high"),
    ],
)
def test_a_wrong_value_is_told(
    read: Callable[..., Cohort], table: str, column: str, value: str
) -> None:
    tables = made_up()
    tables[table][0][column] = value
    with pytest.raises(DataError, match=value):
        read(tables)


def test_all_that_is_missing_is_told_at_once(read: Callable[..., Cohort]) -> None:
    tables = made_up()
    del tables["death"], tables["person"]
    with pytest.raises(DataError, match=r"table 'person'.*table 'death'"):
        read(tables)
    with pytest.raises(DataError, match=r"table 'person'.*table 'death'"):
        read(tables, as_duckdb)
    with pytest.raises(
        DataError,
        match=r"nobody in these records had an inpatient stay .* index = …\) to a date.* --dry-run",
    ):
        read({**made_up(), "visit_occurrence": made_up()["visit_occurrence"][:1]})


def test_a_database_can_neither_run_anything_nor_be_changed(
    read: Callable[..., Cohort], tmp_path: Path
) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("person_id,death_date\n1,2020-01-11\n")

    def with_a_view(tables: Tables, folder: Path) -> None:
        as_duckdb(tables, folder)
        with duckdb.connect(str(folder / "cdm.duckdb")) as database:
            database.execute("DROP TABLE cdm.cdm.DEATH")
            database.execute(f"CREATE VIEW death AS FROM read_csv('{secret}')")

    with pytest.raises(DataError, match=r"'death'.*views are not read"):
        read(made_up(), with_a_view)

    def traps(tables: Tables, folder: Path) -> None:
        as_duckdb(tables, folder)
        with duckdb.connect(str(folder / "cdm.duckdb")) as database:
            database.execute("CREATE MACRO date_diff(a, b, c) AS 0")
            database.execute("CREATE MACRO trim(a) AS 'nobody'")

    assert read(made_up(), traps).fingerprint == read(made_up()).fingerprint
    file = next(tmp_path.glob("*/cdm.duckdb"))
    before = hashlib.sha256(file.read_bytes()).digest()
    with pytest.raises(DataError):
        Omop(folder=str(file.parent)).load(DataStore())
    assert hashlib.sha256(file.read_bytes()).digest() == before
    assert sorted(path.name for path in file.parent.iterdir()) == ["cdm.duckdb"]
    file.write_bytes(b"not a database" * 1000)
    with pytest.raises(DataError, match="cannot be opened"):
        Omop(folder=str(file.parent)).load(DataStore())


def test_nothing_after_day_0_can_be_foreseen_from(read: Callable[..., Cohort]) -> None:
    before, tables = read(made_up(), foresee=("gout",)), made_up()
    tables["measurement"] = [
        row for row in tables["measurement"] if row["measurement_date"] <= "2020-01-10"
    ]
    tables["measurement"].append(_measured(2, SBP, "2020-03-06", 250))
    tables["condition_occurrence"][1:3] = [_found(1, 320128, "2020-01-11")]
    tables["visit_occurrence"].append(
        _visit(visit_occurrence_id=20, person_id=2, visit_concept_id=9201, on="2020-03-06",
               to="2020-03-09")
    )  # fmt: skip
    tables["drug_exposure"].append(
        _row(person_id=2, drug_concept_id=1, drug_exposure_start_date="2020-03-06")
    )
    after = read(tables, foresee=("gout",))
    assert after.fingerprint != before.fingerprint
    for name, task in before.schema.tasks.items():
        # Who takes part may change with what happens later; what is known of them may not.
        old, new = (problem(cohort, task).predictors for cohort in (before, after))
        both = old.index.intersection(new.index)
        assert len(both), name
        pd.testing.assert_frame_equal(old.loc[both], new.loc[both], check_exact=True)
        assert {"admitted=yes", "seen=yes"}.isdisjoint(old.columns)


def test_real_records_are_counted_right(store: DataStore) -> None:
    dataset = Omop(folder="synthea27nj_omop")
    cohort = check_dataset(dataset, store)
    with zipfile.ZipFile(next(store.folder("synthea27nj_omop").glob("*.zip"))) as packed:
        raw = {
            name: pd.read_csv(packed.open(f"{name}.csv"))
            for name in ("PERSON", "VISIT_OCCURRENCE", "MEASUREMENT", "DEATH")
        }
    assert [len(raw["PERSON"]), len(raw["VISIT_OCCURRENCE"])] == [28, 1791]
    visits = raw["VISIT_OCCURRENCE"]
    inpatient = visits[visits["visit_concept_id"] == 9201].sort_values("visit_start_date")
    first = inpatient.groupby("person_id")["visit_end_date"].first()
    assert list(cohort.patients) == sorted(first.index.astype(str))
    assert len(cohort) == 7
    measured = raw["MEASUREMENT"].query("measurement_concept_id == 3004249")
    measured = measured.assign(day0=measured["person_id"].map(first)).dropna(subset=["day0"])
    days = (pd.to_datetime(measured["measurement_date"]) - pd.to_datetime(measured["day0"])).dt.days
    mine = measured[days.between(-1824, 1825)].groupby(["person_id", days])["value_as_number"]
    assert cohort.visits["sbp"].notna().sum() == mine.ngroups
    np.testing.assert_allclose(np.sort(cohort.visits["sbp"].dropna()), np.sort(mine.mean()))
    dead = set(raw["DEATH"]["person_id"].astype(str))
    assert set(cohort.patients[cohort.event]) <= dead
    assert not any(kept(cohort, rule).broken.any() for rule in cohort.schema.rules)


def test_whom_the_reader_leaves_out_is_told(store: DataStore) -> None:
    cohort = Omop(folder="synthea27nj_omop").load(store)
    said = "21 of 28 persons are left out: 21 without an inpatient stay that ended."
    assert cohort.notes == (said,)


def test_a_packed_file_stands_for_its_folder(store: DataStore) -> None:
    (packed,) = store.folder("synthea27nj_omop").glob("*.zip")
    plain, alone = (Omop(folder=f).load(store) for f in ("synthea27nj_omop", str(packed)))
    assert alone.fingerprint == plain.fingerprint


def test_real_records_on_a_date(store: DataStore) -> None:
    cohort = Omop(folder="synthea27nj_omop", index="2015-01-01").load(store)
    assert (len(cohort), int(cohort.event.sum())) == (23, 1)
    answered = problem(cohort, cohort.schema.tasks["visit"])
    assert len(answered) == 23
    bounds = replace(cohort.schema.visits["sbp"])
    assert cohort.visits["sbp"].dropna().between(bounds.low, bounds.high).all()
