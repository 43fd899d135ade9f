"""Tables that somebody else wrote: read, described, and refused with one clear message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.data import Cohort, Column, Schema
from fedbench.draft import MOST_LEVELS, drafted, unlike, widened
from fedbench.errors import DataError, SpecError
from fedbench.kinds import DATASETS
from fedbench.rules import kept
from fedbench.schemas import read_schema, schema_file
from fedbench.tabular import COLUMNS, Given, read


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Given]:
    """Write a CSV file with these columns and read it back."""

    def make(name: str = "train.csv", /, **columns: Sequence[object]) -> Given:
        pd.DataFrame(columns).to_csv(tmp_path / name, index=False)
        return read(tmp_path / name, "--train")

    return make


# Reading


def test_csv_and_parquet_are_the_same_table(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.5, None], "b": ["x", None], "c": [True, False]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    one, other = (read(tmp_path / f"t.{kind}", "--train").static for kind in ("csv", "parquet"))
    assert other["b"].to_list() == one["b"].to_list() == ["x", None]
    assert one["c"].to_list() == other["c"].to_list() == ["True", "False"]
    assert one["a"].to_list() == ["1.5", None]
    assert other["a"].iloc[0] == 1.5


def test_the_many_ways_to_say_nothing_are_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,NA\nNaN,x\n,null\n")
    found = read(tmp_path / "t.csv", "--train").static
    assert found["a"].to_list() == ["1", None, None]
    assert found["b"].to_list() == [None, "x", None]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("t.pkl", b"\x80\x04N.", "is a pickle file, which can run any program"),
        ("t.xlsx", b"PK", "expected a .csv or .parquet file, or a cohort folder"),
        ("t.csv", b"", "is empty; expected a line of column names"),
        ("t.csv", b"a,b\n", "has no rows"),
        ("t.csv", b"\x80\x04\x95\xff", "is no UTF-8 text"),
        ("t.csv", b"a;b\n1;2\n", "is separated by semicolons. Save it with commas"),
        ("t.csv", b"a\tb\n1\t2\n", "is separated by tabs"),
        ("t.csv", b"a,a\n1,2\n", "has several columns called 'a'"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "line 3: there are 3 fields; expected 2"),
        ("t.csv", b"a,b\n1,2,3\n4,5,6\n", "line 2: there are 3 fields; expected 2"),
        ("t.parquet", b"PAR1", "is no parquet file that can be read"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"^--control .*{name}'.*{problem}"):
        read(tmp_path / name, "--control")


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--train .*gone.csv': there is no such file or folder"):
        read(tmp_path / "gone.csv", "--train")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"needs static.csv or static.parquet; found notes.txt"):
        read(tmp_path, "--train")


def test_lists_in_a_field_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"a": [[1, 2], [3]]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"row 1: 'a' holds .*expected one number or text"):
        read(tmp_path / "t.parquet", "--train")


# Describing


def test_kinds_follow_from_the_values(table: Callable[..., Given]) -> None:
    n = 60
    one = table(
        weight=np.linspace(40.5, 90.25, n), age=range(20, 20 + n), sex=["f", "m"] * (n // 2),
        smoker=[0, 1] * (n // 2), stage=["I", "II", None] * (n // 3),
        marker=np.geomspace(0.01, 1000, n),
    )  # fmt: skip
    found = drafted([one], one, "t", (), ()).schema.static
    kinds = {name: column.kind for name, column in found.items()}
    assert kinds == {
        "weight": "number", "age": "integer", "sex": "category", "smoker": "category",
        "stage": "category", "marker": "number",
    }  # fmt: skip
    assert found["smoker"].levels == ("0", "1")
    assert [name for name in found if found[name].log] == ["marker"]
    one.named([f"p{i}" for i in range(n)]).cohort(Schema(name="t", clock="", static=found))


@given(values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=30, unique=True))
@settings(max_examples=60, deadline=None)
def test_bounds_hold_all_values_and_are_nobodys_own(values: list[float]) -> None:
    one = Given(Path("t.csv"), {"static": pd.DataFrame({"x": values})})
    found = drafted([one], one, "t", (), ()).schema.static["x"]
    assert found.low <= min(values)
    assert found.high >= max(values)
    assert found.low not in values or found.low == 0
    assert found.high not in values


def test_a_number_that_all_have_is_written_as_one(tmp_path: Path) -> None:
    pd.DataFrame({"age": range(30), "one": 1.0}).to_parquet(tmp_path / "t.parquet")
    one = read(tmp_path / "t.parquet", "--train")
    (note,) = drafted([one], one, "t", (), ()).notes
    assert note == "'one' is left out: all real records have 1.0."


def test_what_cannot_be_compared_is_left_out_aloud(table: Callable[..., Given]) -> None:
    n = MOST_LEVELS + 10
    one = table(
        age=range(n), name=[f"n{i}" for i in range(n)], same=["x"] * n, empty=[None] * n,
        seen=pd.date_range("2020-01-01", periods=n).astype(str),
    )  # fmt: skip
    found = drafted([one], one, "t", (), ())
    assert list(found.schema.static) == ["age"]
    notes = "\n".join(found.notes)
    assert f"'name' is left out: it has {n} different texts" in notes
    assert "'same' is left out: all real records have 'x'." in notes
    assert "'empty' is left out: it is empty in all real records." in notes
    assert "'seen' is left out" in notes
    assert "turn dates into days" in notes


def test_a_table_of_which_nothing_is_left_is_refused(table: Callable[..., Given]) -> None:
    one = table(same=[1, 1], empty=[None, None])
    with pytest.raises(DataError, match=r"No column of train.csv can be compared. 'same' is left"):
        drafted([one], one, "t", (), ())


def test_text_among_numbers_is_found(table: Callable[..., Given]) -> None:
    one = table(sodium=[1, 2, "n/a", 4])
    with pytest.raises(
        DataError, match=r"train.csv row 3: 'sodium' is 'n/a'; expected a number or an empty field"
    ):
        drafted([one], one, "t", (), ())


@pytest.mark.parametrize("others", [[1, 2, 3, 1], ["1", "North", "2", "South"]])
def test_hospitals_of_which_most_are_numbers_are_categories(
    table: Callable[..., Given], others: list[Any]
) -> None:
    one = table(hospital=[1, 2, "North", 3, 1, 2, "North", 3])
    other = table("c.csv", hospital=[*others, *others])
    column = drafted([one, other], one, "t", (), ()).schema.static["hospital"]
    assert column.kind == "category"
    assert {*column.levels} == {"1", "2", "3", "North"} | ({"South"} & {*others})


def test_tables_must_agree(table: Callable[..., Given]) -> None:
    train = table(age=[1, 2, 3], sex=["f", "m", "f"])
    with pytest.raises(DataError, match=r"c.csv has no column 'sex', train.csv has. Give all"):
        drafted([train, table("c.csv", age=[4, 5])], train, "t", (), ())
    with pytest.raises(DataError, match=r"train.csv has no column 'bmi', s.csv has"):
        drafted([train], table("s.csv", age=[4, 5], sex=["f", "m"], bmi=[1, 2]), "t", (), ())
    with pytest.raises(DataError, match=r"'sex' holds numbers in c.csv and text in train.csv"):
        drafted([train, table("c.csv", age=[4, 5], sex=[0, 1])], train, "t", (), ())


def test_one_and_one_point_zero_are_one_level(table: Callable[..., Given]) -> None:
    one, other = table(x=[0, 1, 1, 0]), table("s.csv", x=[0.0, 1.0, 1.0, 0.0])
    assert drafted([one], other, "t", (), ()).schema.static["x"].levels == ("0", "1")


def test_synthetic_values_beyond_all_bounds_are_made_room_for(table: Callable[..., Given]) -> None:
    real = table(age=range(20, 40), sex=["f", "m"] * 10)
    released = table("s.csv", age=[-5.5, 200, None], sex=["f", "x", None])
    found = widened(drafted([real], real, "t", (), ()).schema, released)
    assert found.schema.static["age"] == Column(kind="number", low=-5.5, high=200)
    assert found.schema.static["sex"].levels == ("f", "m", "x")
    assert found.notes == (
        "s.csv goes beyond the 2 levels of 'sex': 'x'; compared as 3 levels.",
        "s.csv goes beyond the bounds of 'age' (18 to 41: compared as -5.5 to 200).",
    )
    assert len(released.named(["a", "b", "c"]).cohort(found.schema)) == 3


def test_a_cohort_folder_is_described_whole(
    tmp_path: Path, made_up: Callable[[int, int], Cohort]
) -> None:
    cohort = made_up(80, 0)
    for name in ("static", "visits", "codes", "outcome"):
        getattr(cohort, name).to_csv(tmp_path / f"{name}.csv", index=False)
    one = read(tmp_path, "--train")
    schema = drafted([one], one, "t", {"household", "hospital"}, ()).schema
    assert schema.parts == cohort.schema.parts
    found = one.cohort(schema)
    assert len(found.visits) == len(cohort.visits)
    assert len(found.codes) == len(cohort.codes)
    assert {f.name for f in schema.features} >= {"age", "sodium@ever", "A10@ever", "event", "time"}


# Schema files


# `table` has the schema that its user writes.
@pytest.mark.parametrize("name", sorted({*DATASETS.names()} - {"table"}))
def test_a_schema_is_read_back_as_it_was_written(tmp_path: Path, name: str) -> None:
    schema = DATASETS.build(name).schema
    (tmp_path / "s.toml").write_text(schema_file(schema), encoding="utf-8")
    assert read_schema(tmp_path / "s.toml") == schema


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[schema", "is not a TOML file that can be read"),
        ("[static]", r"needs a table \[schema\] with a name"),
        ("[schema]\nname='x'\n[sttic]\n", "no table 'sttic'. Did you mean 'static'"),
        ("[schema]\nname='x'\ntitle='y'\n[static]\n", r"\[schema\] has no 'title'"),
        ("[schema]\nname='x'\n[static]\na = 3", "static.a is 3; expected a table"),
        ("[schema]\nname='x'\n[static]\na = {kind='numbr'}", "static.a: 'kind' is 'numbr'"),
        ("[schema]\nname='x'\n[static]\na = {kind='number'}", "static.a: A number column needs"),
        ("[schema]\nname='x'\n[static]\na = {kind='number', hihg=1}", "Did you mean 'high'"),
        ("[schema]\nclock=''\n[static]\n", "'name' is missing"),
        ("[schema]\nname='x'\n[static]\n[[rules]]\nlabel=''", r"stand in \[schema\]: rules = \["),
        ("[schema]\nname='x'\n[static]\n[rules]\nx=1", r"rules are no table of their own"),
    ],
)
def test_a_schema_with_a_mistake_says_where(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(SpecError, match=problem):
        read_schema(tmp_path / "s.toml")


def test_a_schema_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="There is no file"):
        read_schema(tmp_path / "gone.toml")


@pytest.mark.parametrize("other", ["static.parquet", "Static.CSV", "static.csv.gz"])
def test_a_cohort_folder_has_every_table_once(tmp_path: Path, other: str) -> None:
    (tmp_path / "static.csv").write_text("patient,age\na,1\nb,2\n")
    (tmp_path / other).write_bytes(b"")
    with pytest.raises(DataError, match=r"there are .*static.* expected only one of them"):
        read(tmp_path, "--train")


@pytest.mark.parametrize("other", ["Static.CSV", "static.csv.gz"])
def test_a_table_in_another_form_is_named(tmp_path: Path, other: str) -> None:
    (tmp_path / other).write_text("patient,age\na,1\n")
    with pytest.raises(DataError, match=rf"there is {other}; expected static.csv or static.parq"):
        read(tmp_path, "--train")


def test_vertical_bars_are_named(tmp_path: Path) -> None:
    (path := tmp_path / "t.csv").write_text("patient|age\na|1\n")
    with pytest.raises(DataError, match="separated by vertical bars"):
        read(path, "--train")


def test_categories_that_are_spelled_otherwise_are_told(table: Callable[..., Given]) -> None:
    train = table(sex=["f", "m"], smoker=["no", "yes"])
    release = table("release.csv", sex=["Female", "Male"], smoker=["yes", "maybe"])
    schema = drafted([train], release, "mine", set(), []).schema
    (note,) = unlike(schema, [train], release)
    assert "'sex' in release.csv" in note
    assert "'Female' there, 'f' here" in note
    assert not [*unlike(schema, [train], train)]


def test_what_is_new_in_a_release_is_named_shortly(table: Callable[..., Given]) -> None:
    names = [f"x{i}" for i in range(9)]
    real = table(sex=["f", "m"] * 10, **{name: range(20) for name in names})
    new = [*"abcdeg", "f", "m"]
    released = table("s.csv", sex=new, **{name: range(95, 103) for name in names})
    levels, bounds = widened(drafted([real], real, "t", (), ()).schema, released).notes
    assert "levels of 'sex': 'a', 'b', 'c', 'd', 'e' and 1 more; compared as 8 levels" in levels
    assert "'x4' (0 to 21: compared as 0 to 102) and 4 more." in bounds


def test_whole_numbers_that_a_release_breaks_are_told(table: Callable[..., Given]) -> None:
    train = table(age=[40, 50, None, 61], crp=[1.5, 2, 3, 4])
    release = table("release.csv", age=[40.2, 50, None, 60.5], crp=[1.1, 2, 3, 4])
    for schema in (
        drafted([train], release, "mine", set(), []).schema,
        drafted([train], train, "mine", set(), []).schema,
    ):
        (note,) = unlike(schema, [train], release)
        assert "whole numbers where synthetic ones are not: 'age' (2 of 3)." in note


def test_gaps_that_no_real_record_has_are_told(table: Callable[..., Given]) -> None:
    train = table(age=range(60), bmi=range(60), crp=range(60), hb=[None, *range(59)])
    gap = [None] * 30
    one = table("s.csv", age=range(60), bmi=[*gap, *range(30)], crp=range(60), hb=range(60))
    two = table("s.csv", age=range(60), bmi=[*gap, *range(30)], crp=gap + gap, hb=gap + gap)
    schema = drafted([train], one, "mine", set(), []).schema
    told = "'bmi' is empty in 50 % of synthetic records, and in none of the real ones."
    assert [*unlike(schema, [train], one)] == [told]
    assert [*unlike(schema, [train], two)] == [
        "Empty in synthetic records, and in none of the real ones: 'crp' (100 %), 'bmi' (50 %)."
    ]
    few = table("few.csv", **{name: range(40) for name in ("age", "bmi", "crp", "hb")})
    assert not [*unlike(schema, [few], one)]


def test_numbers_with_a_unit_are_told_where_they_are_left_out(table: Callable[..., Given]) -> None:
    one = table(age=range(99), crp=[f"{i / 10} mg/l" for i in range(99)])
    (note,) = drafted([one], one, "t", (), ()).notes
    assert "look like numbers with a unit ('0.0 mg/l')" in note
    assert note.endswith("write the number alone.")


PAGE = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cohort folder that the guide writes."""
    monkeypatch.chdir(tmp_path)
    (example,) = (b for b in PAGE.split("```python\n") if b.startswith("from pathlib import Path"))
    exec(example.partition("```")[0], {})  # noqa: S102  (the guide's own words)
    return tmp_path / "train"


def test_the_guides_folder_is_read_and_its_table_names_what_is_needed(folder: Path) -> None:
    found = read(folder, "--train")
    assert set(found.tables) == set(COLUMNS)
    for name, needed in COLUMNS.items():
        (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
        assert all(f"`{column}`" in row for column in needed)


@pytest.mark.parametrize(
    ("table", "column"), [(name, column) for name, needed in COLUMNS.items() for column in needed]
)
def test_a_folders_file_that_lacks_a_column_is_named(folder: Path, table: str, column: str) -> None:
    file = folder / f"{table}.csv"
    pd.read_csv(file).drop(columns=column).to_csv(file, index=False)
    with pytest.raises(DataError) as found:
        read(folder, "--train")
    said = str(found.value)
    assert said.startswith(f"--train {str(file)!r} has no column {column!r}; found ")
    assert f"In a cohort folder, {table} needs 'patient' (who)" in said
    assert f"{column!r} ({COLUMNS[table][column]})" in said


def test_the_guides_rules_are_read_and_broken(folder: Path) -> None:
    (text,) = (b.partition("```")[0] for b in PAGE.split("```toml\n") if b.startswith("[schema]"))
    (folder / "s.toml").write_text(text, encoding="utf-8")
    schema = read_schema(folder / "s.toml")
    people = {
        "patient": ["a", "b", "c"], "sex": ["female", "male", "male"],
        "pregnant": ["yes", "yes", "no"], "systolic": [120, 140, 70], "diastolic": [80, 90, 75],
    }  # fmt: skip
    cohort = Cohort.of_tables(schema, pd.DataFrame(people))
    found = [list(kept(cohort, rule).broken) for rule in schema.rules]
    assert found == [[False, False, True], [False, True, False]]
