"""What a drafted schema would take for something else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Schema
from fedbench.datasets.table import Table
from fedbench.doubts import sentinels
from fedbench.draft import Draft
from fedbench.errors import DataError
from fedbench.infer import inferred, written

N = 200
RNG = np.random.default_rng(0)

Infer = Callable[..., Draft]


@pytest.fixture
def infer(tmp_path: Path) -> Infer:
    def call(kind: str = "csv", **columns: Any) -> Draft:
        frame = pd.DataFrame({"id": [f"p{i}" for i in range(N)], **columns})
        path = tmp_path / f"t.{kind}"
        getattr(frame, f"to_{kind}")(path, index=False)
        return inferred(path)

    return call


def said(draft: Draft, words: str) -> str:
    """Return the one note that has these words."""
    (found,) = (note for note in draft.notes if words in note)
    return found


@pytest.mark.parametrize("some", [["3,5", "12,25", "4"], ["1.234,5", "-2,0"], ["0,5", "1"]])
def test_decimal_commas_are_recognized_and_said(infer: Infer, some: list[str]) -> None:
    x, age = RNG.choice(some, N), RNG.integers(20, 90, N)
    draft = infer(x=x, age=age)
    assert list(draft.schema.static) == ["age"]
    assert "written with a comma" in said(draft, "'x' is left out")


@pytest.mark.parametrize("odd", ["3,5", "> 89", "V57"])
def test_a_text_among_numbers_is_said_with_its_row(infer: Infer, odd: str) -> None:
    draft = infer(x=["1", "2", odd, *map(str, range(3, N))], age=np.arange(N) % 50)
    assert list(draft.schema.static) == ["age"]
    note = said(draft, "'x' is left out: t.csv row 3")
    assert f"'x' is '{odd}'; expected a number" in note
    assert ("with a decimal point" in note) == (odd == "3,5")
    assert ("`fedbench data infer TABLE --category x -o schema.toml`" in note) == (odd != "3,5")
    with pytest.raises(DataError, match=r"No column of t\.csv can be compared"):
        infer(x=["1", "2", odd, *map(str, range(3, N))])


def test_lists_of_codes_are_no_numbers(infer: Infer) -> None:
    draft = infer(x=RNG.choice(["I10,E11", "I10", "3,5"], N))
    assert draft.schema.static["x"].levels == ("3,5", "I10", "I10,E11")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([*range(40), -99, -9], [-99, -9]),
        ([*range(40), 999], [999]),
        ([0.5, 1.25, 99.9, 0.75], [99.9]),
        ([0, 1, -9], [-9]),
        ([0, 1, 2, -1], [-1]),
        ([-1, 1], []),  # no and yes
        ([*range(60, 100)], []),  # people are 99 years old
        ([*range(60, 96), *[99] * 20], [99]),
        ([-9.5, -9, -8, 3], []),  # nothing strange about it
        ([-9, -8, 5], []),
        ([7.0] * 5, []),
        ([np.inf, 1, 2, 999], [999]),
    ],
)
def test_codes_for_missing_are_told_from_values(values: list[float], found: list[float]) -> None:
    assert list(sentinels(pd.Series(values, dtype="float64"))) == found


@pytest.mark.parametrize("code", [-9, -99, 999, 9999])
def test_a_code_for_missing_is_no_bound_in_silence(infer: Infer, code: int) -> None:
    x = np.where(np.arange(N) % 10 == 0, code, np.arange(N) % 40)
    note = said(infer(x=x), "code for missing")
    assert note.startswith(f"{code} stands in 'x' (20 rows, 1 to 39 elsewhere): is it")
    few = np.where(np.arange(N) == 0, code, 1)
    note = said(infer(x=few, y=np.roll(few, 3) * 1.0), "code for missing")
    assert note.startswith(f"{code} stands in 'x' (1 row, 1 elsewhere), 'y' (1 row, 1 elsewhere):")


def test_a_code_for_missing_in_visits_is_said(tmp_path: Path) -> None:
    people = [f"p{i}" for i in range(N)]
    pd.DataFrame({"patient": people, "age": np.arange(N) % 60 + 20}).to_csv(
        tmp_path / "static.csv", index=False
    )
    crp = np.where(np.arange(N) == 7, -9, np.arange(N) / 10)
    visits = pd.DataFrame({"patient": people, "day": 0, "crp": crp})
    visits.to_csv(tmp_path / "visits.csv", index=False)
    assert said(inferred(tmp_path), "code for missing").startswith("-9 stands in 'crp' (1 row, ")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_numbers_too_long_to_be_told_apart_are_left_out(infer: Infer, kind: str) -> None:
    draft = infer(kind, x=10**18 + np.arange(N), age=np.arange(N) % 50)
    assert list(draft.schema.static) == ["age"]
    assert "more than 15 digits" in said(draft, "'x' is left out")


def test_patients_whose_numbers_are_long_stay_who_they_are(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": 10**18 + np.arange(N), "age": np.arange(N) % 50})
    frame.to_parquet(tmp_path / "t.parquet")
    draft = inferred(tmp_path / "t.parquet")
    assert not any("is there already" in note for note in draft.notes)
    (tmp_path / "t.toml").write_text(written(draft, tmp_path / "t.parquet"))
    cohort = _loaded(tmp_path / "t.parquet", tmp_path / "t.toml")
    assert set(cohort.patients) == {str(10**18 + i) for i in range(N)}


def test_what_is_infinite_is_said_and_refused(infer: Infer, tmp_path: Path) -> None:
    draft = infer(x=np.where(np.arange(N) == 4, np.inf, np.arange(N) / 7))
    assert said(draft, "infinite").startswith("'x' is infinite in 1 row (first: row 5)")
    (tmp_path / "t.toml").write_text(written(draft, tmp_path / "t.csv"))
    with pytest.raises(DataError, match=r"t.csv row 5: 'x' is 'inf'"):
        _loaded(tmp_path / "t.csv", tmp_path / "t.toml")
    nowhere = infer(x=[np.inf, -np.inf] * (N // 2), age=np.arange(N) % 50)
    assert "it has no finite number" in said(nowhere, "'x' is left out")


@pytest.mark.parametrize(
    "words", [("North", "north", "South"), ("Yes", "yes", "YES", "no"), ("a b", "A  B", "c")]
)
def test_the_same_word_in_other_letters_is_said(infer: Infer, words: tuple[str, ...]) -> None:
    draft = infer(x=np.resize(words, N))
    note = said(draft, "the same word")
    assert [repr(word) in note for word in words] == [True] * (len(words) - 1) + [False]


def test_a_code_keeps_its_zeros(infer: Infer, tmp_path: Path) -> None:
    draft = infer(ward=np.resize(["007", "7", "12"], N))
    assert draft.schema.static["ward"].levels == ("007", "12", "7")
    assert "'007' and '7' are two levels" in said(draft, "begins with a zero")
    (tmp_path / "t.toml").write_text(written(draft, tmp_path / "t.csv"))
    cohort = _loaded(tmp_path / "t.csv", tmp_path / "t.toml")
    assert cohort.static["ward"].value_counts().to_dict() == {"007": 67, "7": 67, "12": 66}


def test_patients_and_diagnoses_keep_their_zeros(tmp_path: Path) -> None:
    pd.DataFrame({"patient": ["007", "7"], "age": [30, 40]}).to_csv(
        tmp_path / "static.csv", index=False
    )
    codes = pd.DataFrame({"patient": ["007", "7"], "day": 0, "system": "s", "code": ["038", "38"]})
    codes.to_csv(tmp_path / "codes.csv", index=False)
    draft = inferred(tmp_path)
    assert {"038", "38"} <= set(draft.schema.vocabularies["s"].codes)
    (tmp_path / "t.toml").write_text(written(draft, tmp_path))
    cohort = _loaded(tmp_path, tmp_path / "t.toml")
    assert dict(zip(cohort.codes["patient"], cohort.codes["code"], strict=True)) == {
        "007": "038", "7": "38",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_blanks_around_names_are_said_and_left_out(infer: Infer, tmp_path: Path, kind: str) -> None:
    draft = infer(kind, **{" age ": np.arange(N) % 50, "x ": np.arange(N) / 3})
    assert set(draft.schema.static) == {"age", "x"}
    assert "blanks before or after" in said(draft, "The header")
    (tmp_path / "t.toml").write_text(written(draft, tmp_path / f"t.{kind}"))
    assert len(_loaded(tmp_path / f"t.{kind}", tmp_path / "t.toml")) == N
    with pytest.raises(DataError, match="several columns called 'age'"):
        infer(kind, **{" age": np.arange(N), "age": np.arange(N)})


@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.parametrize("name", ["hospital", "Hospital_ID", "centre"])
def test_a_hundred_hospitals_are_kept(infer: Infer, name: str, *, numbered: bool) -> None:
    hospitals = [i % 100 if numbered else f"H{i % 100}" for i in range(N)]
    draft = infer(**{name: hospitals, "age": np.arange(N) % 50})
    assert set(draft.schema.static[name].levels) == set(map(str, hospitals))
    assert name in said(draft, "is it the hospital?")


def test_hospitals_become_sites(infer: Infer, tmp_path: Path) -> None:
    draft = infer(hospital=[i % 100 for i in range(N)], age=np.arange(N) % 50)
    text = written(draft, tmp_path / "t.csv")
    corrected = re.sub(r"(hospital = .*?) \}", r'\1, roles = ["site"] }', text)
    (tmp_path / "t.toml").write_text(corrected)
    sites = _loaded(tmp_path / "t.csv", tmp_path / "t.toml").sites
    assert sites is not None
    assert set(sites) == {str(i) for i in range(100)}


def test_files_that_write_zeros_otherwise_are_told(tmp_path: Path) -> None:
    from fedbench.draft import drafted
    from fedbench.tabular import read

    for name, ward in (("a", ["007", "12", "3"]), ("b", ["7", "12", "3"])):
        pd.DataFrame({"ward": ward}).to_csv(tmp_path / f"{name}.csv", index=False)
    given = [read(tmp_path / f"{name}.csv", "--train") for name in "ab"]
    with pytest.raises(DataError, match=r"such as '007' in a.csv and none.* in b.csv"):
        drafted(given, None, "x", (), ())


def _loaded(path: Path, schema: Path) -> Any:
    from fedbench.data import DataStore

    found = Table(path=str(path), schema_file=str(schema)).load(DataStore())
    assert isinstance(found.schema, Schema)
    return found


def test_words_that_vanish_and_words_that_stay_are_said(infer: Infer) -> None:
    word = np.resize(["a", "b", "NA", "null", "N/A", "?", "None"], N)
    draft = infer(word=word)
    assert "'NA', 'null' in 'word' is read as a missing value" in said(draft, "is read as")
    note = said(draft, "may stand for a missing value")
    assert all(repr(each) in note for each in ("N/A", "?", "None"))
    assert set(draft.schema.static["word"].levels) == {"a", "b", "N/A", "?", "None"}


def test_spellings_that_are_merged_are_said(infer: Infer) -> None:
    draft = infer(group=np.resize(["1", "1.0", "+1", "2"], N))
    assert "'+1', '1', '1.0' are taken for one level, '1'" in said(draft, "one level")


def test_free_text_stays_out_of_the_schema(infer: Infer) -> None:
    draft = infer(note=np.resize(["short", "x" * 10_000], N), age=np.arange(N) % 50)
    assert list(draft.schema.static) == ["age"]
    assert "free text (up to 10,000 characters)" in said(draft, "'note' is left out")
    assert not any("xxx" in note for note in draft.notes)


def test_units_and_joined_codes_are_said(infer: Infer) -> None:
    draft = infer(
        sodium=np.resize(["129 mmol/l", "140 mmol/l", "151 mmol/l"], N),
        codes=np.resize(["E11.9;I10", "I10", "E11.9"], N),
    )
    assert "'129 mmol/l'" in said(draft, "numbers with a unit")
    assert "'E11.9;I10'" in said(draft, "several codes in one field")


def test_plain_words_raise_no_doubts(infer: Infer) -> None:
    draft = infer(sex=np.resize(["female", "male"], N), stage=np.resize(["I", "II", "3a"], N))
    told = ("missing value", "one level", "with a unit", "several codes")
    assert not [note for note in draft.notes if any(word in note for word in told)]
