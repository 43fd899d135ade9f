"""What is said of tables from outside, and what is to be foreseen, before anything is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedbench.data import OTHER, Schema
from fedbench.draft import MOST_LEVELS
from fedbench.errors import DataError, FedbenchError, SpecError
from fedbench.given import Asked, Case, prepare
from fedbench.infer import inferred, written
from fedbench.schemas import schema_file

N = 40
NAMES = ("train", "test", "synthetic")


def followed(seed: int, **other: object) -> pd.DataFrame:
    """Patients who were followed until an event, or until nobody looked any more."""
    rng = np.random.default_rng(seed)
    table = {
        "age": rng.permutation(np.arange(30, 30 + N)),
        "sex": rng.choice(["f", "m"], N),
        "time": rng.permutation(np.linspace(1, 900, N).round()),
        "event": rng.integers(0, 2, N),
    }
    return pd.DataFrame({**table, **other})


Prepare = Callable[..., Case]


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Tables of followed patients as `evaluate` sees them, or others in their place."""
    monkeypatch.chdir(tmp_path)

    def call(schema: str = "", predict: tuple[str, ...] | None = (), **other: pd.DataFrame) -> Case:
        for seed, name in enumerate(NAMES):
            other.get(name, followed(seed)).to_csv(f"{name}.csv", index=False)
        parts = {name: Path(f"{name}.csv") for name in ("train", "test")}
        if schema:
            Path("s.toml").write_text(schema, encoding="utf-8")
        asked = Asked(parts=parts, synthetic=Path("synthetic.csv"), predict=predict)
        return prepare(replace(asked, schema=Path("s.toml") if schema else None))

    return call


def survival(schema: Schema) -> dict[str, tuple[str, float]]:
    return {name: (task.kind, task.index) for name, task in schema.tasks.items()}


def test_the_outcome_of_a_single_table_is_foreseen_and_foresees_nothing(case: Prepare) -> None:
    found = case()
    assert {*found.schema.static} == {"age", "sex"}
    assert survival(found.schema) == {"survival": ("survival", 0)}
    there = pd.read_csv("train.csv")
    assert sorted(found.parts["train"].outcome["time"]) == sorted(there["time"])
    assert found.parts["train"].event.sum() == there["event"].sum()
    assert "'time' and 'event' are taken for the outcome" in " ".join(found.notes)
    assert case(predict=("sex",)).schema.tasks.keys() == {"sex", "survival"}
    assert not case(predict=None).schema.tasks
    with pytest.raises(SpecError, match="--predict 'event': it is half of the outcome"):
        case(predict=("event",))


def test_a_schema_that_was_drafted_from_a_table_fits_it(case: Prepare) -> None:
    case()
    drafted = written(inferred(Path("train.csv")), Path("train.csv"))
    wide = drafted.replace("high = 1000.0", "high = 1500")
    assert wide != drafted
    found = case(wide)
    assert survival(found.schema) == {"survival": ("survival", 0)}
    assert found.schema.outcome is not None
    assert (found.schema.outcome.high, len(found.release)) == (1500, N)
    assert not any("are taken for" in note for note in found.notes)
    one = "[tasks]\nyear = { kind = 'classification', label = '', index = 0, horizon = 365 }"
    assert survival(case(f"{wide}\n{one}").schema) == {"year": ("classification", 0)}
    with pytest.raises(DataError, match=r"test.csv.*of a single table, two columns: time and ev"):
        case(wide, test=followed(1).drop(columns="event"))


def test_a_release_may_follow_longer(case: Prepare) -> None:
    later = np.arange(N) * 100
    found = case(synthetic=followed(2, time=later))
    assert found.schema.outcome is not None
    assert found.schema.outcome.high == later.max()
    assert "bounds of 'time' (0 to 1000: compared as 0 to 3900)" in " ".join(found.notes)
    for wrong, problem in (
        ({"time": -later - 1}, "'time' is '-1'; expected days between 0 and 1000"),
        ({"event": "yes"}, "'event' is 'yes'; expected 0 or 1"),
    ):
        with pytest.raises(DataError, match=f"synthetic.csv row 1: {problem}"):
            case(synthetic=followed(2, **wrong))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"time": [None, *range(N - 1)]}, "'time' is empty, and not a number"),
        ({"event": ["no", "yes"] * (N // 2)}, "'event' is 'no', and not 0 or 1"),
    ],
)
def test_what_is_no_outcome_is_told_and_does_not_foresee_the_event(
    case: Prepare, wrong: dict[str, object], said: str
) -> None:
    tables = {name: followed(i, **wrong) for i, name in enumerate(NAMES)}
    found = case(**tables)
    assert {*found.schema.static} == {"age", "sex", "time", "event"}
    note = f"'time' and 'event' are ordinary columns here, as train.csv row 1: {said}."
    assert note in found.notes
    with pytest.raises(SpecError, match=f"never from 'time'; yet train.csv row 1: {said}"):
        case(predict=("event",), **tables)


def test_the_outcome_of_a_folder_is_foreseen_where_nobody_wrote_a_schema(tmp_path: Path) -> None:
    parts = {name: tmp_path / name for name in ("train", "test", "synthetic")}
    for seed, (name, folder) in enumerate(parts.items()):
        folder.mkdir()
        table = followed(seed).assign(patient=[f"{name}{i}" for i in range(N)])
        table.drop(columns=["time", "event"]).to_csv(folder / "static.csv", index=False)
        table[["patient", "time", "event"]].to_csv(folder / "outcome.csv", index=False)
    asked = Asked(parts=parts, synthetic=parts.pop("synthetic"), predict=("sex",))
    schema = prepare(asked).schema
    assert schema.tasks.keys() == {"sex", "survival"}
    with pytest.raises(SpecError, match="--predict 'time': it is half of the outcome"):
        prepare(replace(asked, predict=("time",)))
    (tmp_path / "s.toml").write_text(schema_file(replace(schema, tasks={})))
    assert not prepare(replace(asked, predict=(), schema=tmp_path / "s.toml")).schema.tasks


def test_a_table_that_one_folder_lacks_is_a_mistake(tmp_path: Path) -> None:
    parts = {name: tmp_path / name for name in ("train", "test", "synthetic")}
    for seed, (name, folder) in enumerate(parts.items()):
        folder.mkdir()
        table = followed(seed).assign(patient=[f"{name}{i}" for i in range(N)])
        table.drop(columns=["time", "event"]).to_csv(folder / "static.csv", index=False)
        coded = table[["patient"]].assign(day=0, system="icd", code="I10")
        coded.to_csv(folder / "codes.csv", index=False)
    asked = Asked(parts=parts, synthetic=parts.pop("synthetic"))
    schema = prepare(asked).schema
    assert schema.vocabularies
    (asked.synthetic / "codes.csv").unlink()
    said = r"synthetic has no codes.csv or codes.parquet, train has one. Give all folders the same"
    (tmp_path / "s.toml").write_text(schema_file(schema))
    for wrong in (asked, replace(asked, schema=tmp_path / "s.toml")):
        with pytest.raises(DataError, match=said):
            prepare(wrong)
    (asked.parts["train"] / "codes.csv").unlink()
    with pytest.raises(DataError, match=r"train has no codes.csv or codes.parquet, test has one"):
        prepare(asked)


def test_what_real_tables_may_mean_otherwise_is_told(case: Prepare) -> None:
    odd = np.where(np.arange(N) < 6, -99, np.arange(N))
    words = np.resize(["f", "m", "N/A"], N)
    real = {name: followed(i, bmi=odd) for i, name in enumerate(NAMES)}
    real["test"] = real["test"].assign(sex=words)
    notes = " ".join(case(**real).notes)
    assert "-99 stands in 'bmi' (12 rows, 6 to 39 elsewhere)" in notes
    assert "'sex' has 'N/A', which may stand for a missing value" in notes
    schema = schema_file(case(**real).public)
    assert "-99" not in " ".join(case(schema, **real).notes)


def test_many_doubts_are_told_shortly(case: Prepare) -> None:
    words = {f"x{i}": np.resize(["?", "a", "b"], N) for i in range(8)}
    notes = case(**{name: followed(i, **words) for i, name in enumerate(NAMES)}).notes
    assert sum("may stand for a missing value" in note for note in notes) == 5
    assert "3 more such things are told by `fedbench data infer`." in notes


def test_a_release_that_repeats_itself_is_told_first(case: Prepare) -> None:
    said = "The 40 synthetic records are 4 different ones; 40 training records are 40."
    collapsed = followed(2).iloc[np.arange(N) % 4]
    assert case(synthetic=collapsed).notes[0].startswith(said)
    thrice = pd.concat([followed(2)] * 3)
    (found,) = (note for note in case(synthetic=thrice).notes if "different ones" in note)
    assert found.startswith("The 120 synthetic records are 40 different ones (28 of 40 drawn at ")
    assert "different ones" not in " ".join(case().notes)


def test_few_possible_records_repeat_themselves_anyway(case: Prepare) -> None:
    rng = np.random.default_rng(0)

    def rough(seed: int, ages: int) -> pd.DataFrame:
        return followed(seed, age=rng.integers(0, ages, N), time=1.0)

    tables = {
        name: rough(i, ages) for i, (name, ages) in enumerate(zip(NAMES, (5, 5, 3), strict=True))
    }
    assert "different ones" not in " ".join(case(**tables).notes)


def test_hospitals_that_a_release_lacks_are_told(case: Prepare) -> None:
    homes = ["north"] * 20 + ["south"] * 12 + ["west"] * 8
    schema = """
[schema]
name = "mine"
clock = ""
[static]
age = { kind = "integer", low = 0, high = 120 }
time = { kind = "integer", low = 0, high = 1000 }
ward = { kind = "category", levels = ["north", "south", "west"], roles = ["site"] }
"""
    real = {name: followed(i, ward=homes) for i, name in enumerate(("train", "test"))}
    without = followed(2).drop(columns="event")
    for released, lacking in (
        (without, ""),
        (without.assign(ward=homes[::-1]), ""),
        (without.assign(ward=["north"] * 28 + ["south"] * 12), "No synthetic patient is of 'west'"),
        (without.assign(ward="south"), "'north' (50% of the training patients), 'west' (20%"),
    ):
        notes = " ".join(case(schema, synthetic=released, **real).notes)
        assert "Which hospital ('ward') a synthetic record names is not looked at" in notes
        assert ("No synthetic patient is of" in notes) == bool(lacking)
        assert lacking in notes
    assert "70% of the synthetic patients would have to be of another hospital" in notes
    alone = {name: table.assign(ward="north") for name, table in real.items()}
    assert "hospital" not in " ".join(case(schema, synthetic=without, **alone).notes)


def test_levels_that_one_table_spells_otherwise_are_told_with_their_file(case: Prepare) -> None:
    words = {"f": "False", "m": "True"}
    spelled = {i: followed(i).assign(sex=lambda t: t["sex"].map(words)) for i in (1, 2)}
    for predict, other in ((("sex",), {"synthetic": spelled[2]}), (("sex",), {"test": spelled[1]})):
        (name,) = other
        problem = rf"'sex'.*train.csv has 'f', 'm'; .*{name}.csv has 'False', 'True'. Write them"
        with pytest.raises(FedbenchError, match=problem):
            case(predict=predict, **other)
        assert case(**other).schema.static["sex"].levels
    three = {name: followed(i).assign(sex=[*"fmx", *"f" * (N - 3)]) for i, name in enumerate(NAMES)}
    with pytest.raises(SpecError, match=r"'sex': it has 3 levels; expected two, or a number. Make"):
        case(predict=("sex",), **three)


@pytest.mark.parametrize("predict", [None, ()])
def test_codes_that_look_like_numbers_go_by_the_schema_that_is_named(
    case: Prepare, predict: tuple[str, ...] | None
) -> None:
    codes = [*map(str, range(250, 310)), "V58", "E11.9"] * 2
    tables = {
        name: pd.DataFrame({"age": np.arange(len(codes)) % 50 + i, "diag 1": np.roll(codes, i)})
        for i, name in enumerate(NAMES)
    }
    with pytest.raises(DataError, match=r"'diag 1' is 'V58'.*--category 'diag 1' -o schema.toml"):
        case(predict=predict, **tables)
    text = written(inferred(Path("train.csv"), categories=["diag 1"]), Path("train.csv"))
    found = case(text, predict=predict, **tables)
    levels = found.schema.static["diag 1"].levels
    assert (len(levels), levels[-1]) == (MOST_LEVELS + 1, OTHER)
    assert found.release.static["diag 1"].isin(levels).all()
    with pytest.raises(SpecError, match=r"--category: train.csv has no column 'diag'. Did you"):
        inferred(Path("train.csv"), categories=["diag"])


def test_who_is_in_two_tables_is_told_by_row_and_not_by_name(case: Prepare) -> None:
    names = np.array([f"Person {row}" for row in range(3 * N)])
    with pytest.raises(DataError, match="by 'name', there in row 3") as said:
        case(
            train=followed(0, name=names[:N]),
            test=followed(1, name=np.where(np.arange(N) == 2, names[5], names[N : 2 * N])),
            synthetic=followed(2, name=names[2 * N :]),
        )
    assert "Person" not in str(said.value)
    assert "name another column (--id) if 'name' does not say who a patient is" in str(said.value)


def test_columns_that_a_schema_leaves_out_are_listed(case: Prepare) -> None:
    schema = (
        "[schema]\nname = 's'\nclock = ''\n[static]\n"
        "age = { kind = 'number', low = 0, high = 120 }\n"
    )

    def patients(seed: int, **other: object) -> pd.DataFrame:
        age = 50 + np.random.default_rng(seed).normal(size=N)
        return pd.DataFrame({"age": age, "sex": "f", **other})

    tables = {
        "train": patients(0, ward=range(N)),
        "test": patients(1, ward=2),
        "synthetic": patients(2, note="told"),
    }
    told = [note for note in case(schema, **tables).notes if "does not describe them" in note]
    assert len(told) == 1
    assert "them: 'sex' (all), 'ward' (train, test), 'note' (synthetic)." in told[0]
    plain = {name: table[["age"]] for name, table in tables.items()}
    assert not any("does not describe" in note for note in case(schema, **plain).notes)
