"""What a dataset is told before anything is trained on it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedbench import cli
from fedbench.checkup import Needs, check, columns, places, shown
from fedbench.data import (
    OTHER,
    Cohort,
    Column,
    DataStore,
    Download,
    Outcome,
    Schema,
    Task,
    Vocabulary,
    Window,
)
from fedbench.datasets._reading import FromFolder
from fedbench.datasets.omop import Omop
from fedbench.download import strangers
from fedbench.new import new
from fedbench.partition import Parts
from fedbench.subject import subject

N = 100
NUMBER = Column(kind="number", low=0, high=10)


def found(values: Any, column: Column = NUMBER) -> dict[str, str]:
    """What is said of a static column with these values."""
    schema = Schema(name="mine", clock="", static={"it": column})
    static = pd.DataFrame({"patient": [f"p{i}" for i in range(N)], "it": values})
    cohort = Cohort.of_tables(schema, static)
    return {said.column: f"{said.found}: {said.advice}" for said in columns(cohort)}


def test_a_constant_number_is_named_with_what_generators_see_of_it() -> None:
    said = found(3.0)["it"]
    assert said.startswith("is 3.0 for every patient: Generators see only its bin (2.969 to 3.125)")
    assert said.endswith('Leave it out, or declare it a category: levels = ["3"].')


@pytest.mark.parametrize(
    ("values", "column"),
    [
        (0.0, NUMBER),
        (10.0, NUMBER),
        (3, Column(kind="integer", low=0, high=20)),
        ("a", Column(kind="category", levels=("a", "b"))),
    ],
)
def test_what_comes_back_exactly_tells_nothing_but_does_no_harm(
    values: Any, column: Column
) -> None:
    assert found(values, column)["it"].endswith("It tells nothing: leave it out.")


def test_an_empty_column_is_named() -> None:
    assert found(np.nan)["it"].startswith("is empty for every patient: Leave it out")


def test_a_value_of_many_patients_is_named() -> None:
    rng = np.random.default_rng(0)
    many = np.where(np.arange(N) < 40, 5.0, rng.uniform(0, 10, N))
    assert found(many)["it"].startswith("is 5 in 40 % of patients: Generators see only its bin")
    assert "two columns" in found(many)["it"]
    lowest = np.where(np.arange(N) < 40, 5.0, rng.uniform(6, 10, N))
    assert found(lowest)["it"].endswith("Set low = 5: bounds are seen as they are.")
    atom_at_bound = np.where(np.arange(N) < 40, 0.0, rng.uniform(1, 10, N))
    assert not found(atom_at_bound)


def test_bounds_far_too_wide_are_named() -> None:
    values = np.random.default_rng(0).uniform(1, 9, N)
    wide = Column(kind="number", low=0.01, high=10_000)
    said = found(values, wide)["it"]
    assert "100 % of its values lie from 0.01 to 156, one of the 64 bins" in said
    assert said.endswith("Narrow its bounds or set log = true.")
    assert not found(values)


def test_visits_and_codes_are_looked_at_once_and_not_in_every_window() -> None:
    names = [f"p{i}" for i in range(N)]
    schema = Schema(
        name="mine",
        clock="",
        static={"it": NUMBER},
        visits={"crp": NUMBER, "sodium": NUMBER},
        vocabularies={"icd": Vocabulary(codes={"E11": "", "Z99": "", OTHER: ""})},
        windows=(Window(name="now", start=-1, end=1), Window(name="never", start=1, end=9)),
    )
    rng = np.random.default_rng(0)
    cohort = Cohort.of_tables(
        schema,
        pd.DataFrame({"patient": names, "it": rng.uniform(0, 10, N)}),
        pd.DataFrame({"patient": names, "day": 0, "crp": None, "sodium": rng.uniform(0, 10, N)}),
        pd.DataFrame({"patient": names, "day": 0, "system": "icd", "code": "E11"}),
    )
    said = {each.column: each.found for each in columns(cohort)}
    assert said == {
        "crp": "is empty for every visit",
        "window 'never'": "no visit lies after day 1 and up to day 9",
        "codes 'icd'": "nobody has 1 of 3: Z99",
    }


@pytest.mark.parametrize(
    ("book", "said"),
    [
        (Vocabulary(codes={"E11": "", "Z99": ""}, shown=("E11",)), {}),
        (Vocabulary(codes={"E11": ""}), {}),
        (Vocabulary(codes={"e11": "", OTHER: ""}, shown=("e11",)),
         {"codes 'icd'": "100 % of 30 are none of those listed"}),
    ],
)  # fmt: skip
def test_a_public_list_may_have_codes_that_nobody_has(
    book: Vocabulary, said: dict[str, str]
) -> None:
    names = [f"p{i}" for i in range(N)]
    schema = Schema(
        name="mine", clock="", static={"it": NUMBER}, vocabularies={"icd": book},
        windows=(Window(name="now", start=-1, end=1),),
    )  # fmt: skip
    static = pd.DataFrame({"patient": names, "it": np.random.default_rng(0).uniform(0, 10, N)})
    codes = pd.DataFrame({"patient": names[:30], "day": 0, "system": "icd", "code": "E11"})
    cohort = Cohort.of_tables(schema, static, codes=codes)
    assert {each.column: each.found for each in columns(cohort)} == said


def test_a_system_that_nobody_writes_is_named() -> None:
    names = [f"p{i}" for i in range(N)]
    schema = Schema(
        name="mine", clock="", static={"it": NUMBER},
        vocabularies={"icd": Vocabulary(codes={"E11": ""})},
        windows=(Window(name="now", start=-1, end=1),),
    )  # fmt: skip
    static = pd.DataFrame({"patient": names, "it": np.random.default_rng(0).uniform(0, 10, N)})
    (found,) = columns(Cohort.of_tables(schema, static))
    assert (found.column, found.found) == ("codes 'icd'", "nobody has any")


def test_an_event_that_nobody_had_is_named() -> None:
    names = [f"p{i}" for i in range(N)]
    rng = np.random.default_rng(0)
    schema = Schema(
        name="mine",
        clock="",
        static={"it": NUMBER},
        outcome=Outcome(label="death", low=0, high=9),
    )
    static = pd.DataFrame({"patient": names, "it": rng.uniform(0, 10, N)})
    outcome = pd.DataFrame({"patient": names, "time": 9, "event": 0})
    (said,) = columns(Cohort.of_tables(schema, static, outcome=outcome))
    assert (said.column, said.found) == ("event", "is 'no' for every patient")
    assert "Nothing can be foreseen" in said.advice


@pytest.mark.parametrize("log", [False, True])
def test_a_number_to_be_foreseen_has_mean_and_spread(*, log: bool) -> None:
    days = Column(kind="number", low=0.1, high=20, known=9, log=log)
    schema = Schema(
        name="mine",
        clock="",
        static={
            "clinic": Column(kind="category", levels=("a", "b"), roles=frozenset(["site"])),
            "days": days,
        },
        tasks={"stay": Task(kind="regression", label="days", index=0, column="days")},
    )
    names = [f"p{i}" for i in range(N)]
    stay = np.where(np.arange(N) % 4 == 0, np.nan, np.arange(N) % 2 * 4 + 2)
    clinic = np.where(np.arange(N) % 4 == 0, "a", "b")
    static = pd.DataFrame({"patient": names, "clinic": clinic, "days": stay})
    everybody, nobody, some = places(
        Cohort.of_tables(schema, static), Needs(Parts(train=0.5, control=0.2))
    )
    assert nobody.tasks == {"stay": {"patients": 0}}
    for place in (everybody, some):
        told = {"patients": 75, "mean": 2 / 3 * 6 + 1 / 3 * 2, "spread": np.sqrt(2 / 9) * 4}
        assert place.tasks["stay"] == pytest.approx(told)
    found = {"hospitals": [asdict(everybody), asdict(nobody)], "counts": {}, "path": ""}
    said = shown({**found, "dataset": "mine", "notes": [], "columns": []})
    assert "stay: mean ± SD" in said
    assert "4.67 ± 1.89 of 75" in said
    assert "nobody" in said
    assert "0 of" not in said


# Through the command


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fedbench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """The command, in a folder with the dataset ``mine``, changed as asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDBENCH_DATA", raising=False)
    plugin, _ = new("dataset", "mine_checked", tmp_path)

    def call(*arguments: str, change: tuple[str, str] = ("", "")) -> tuple[int, str, str]:
        code = plugin.read_text()
        assert change[0] in code
        plugin.write_text(code.replace(*change) if change[0] else code)
        return cli.main(arguments), *capfd.readouterr()

    yield call
    sys.modules.pop("mine_checked", None)


MINE = "mine_checked:MineChecked"


def test_columns_of_a_table_that_is_absent_are_told_in_one_line(tmp_path: Path) -> None:
    days = ["2020-01-01"] * 4
    tables = {
        "person": {"person_id": [1, 2, 3, 4], "year_of_birth": 1950},
        "visit_occurrence": {
            "visit_occurrence_id": [1, 2, 3, 4], "person_id": [1, 2, 3, 4],
            "visit_concept_id": 9201, "visit_start_date": days, "visit_end_date": days,
        },
    }  # fmt: skip
    for name in ("person", "visit_occurrence", "condition_occurrence", "measurement", "death"):
        frame = pd.DataFrame(tables.get(name, {})).reindex(columns=list(Omop.tables[name]))
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    said = check(subject(str(tmp_path), DataStore(), known_as="omop"), DataStore())
    assert "The folder has no drug_exposure: 1 column is empty." in said["notes"]
    assert "drugs" not in {each["column"] for each in said["columns"]}


def test_a_file_that_is_not_what_its_publisher_offers_is_told(tmp_path: Path) -> None:
    """In its own place, in a folder by another name, and as the one packed file."""
    right, wrong = b"right", b"wrong"
    offered = tuple(
        Download(url=f"https://here/{name}", path=f"home/{name}", sha256=sha256(right).hexdigest())
        for name in ("one.csv", "two/three.csv", "all.zip")
    )

    class Offered(FromFolder):
        folder = "home"
        downloads = offered
        schema = load = None  # type: ignore[assignment]

    mine = Offered(folder="home")

    (tmp_path / "two").mkdir()
    (tmp_path / "one.csv").write_bytes(right)
    (tmp_path / "two" / "three.csv").write_bytes(right)
    assert strangers(mine, tmp_path) == ""
    (tmp_path / "two" / "three.csv").write_bytes(wrong)
    said = strangers(mine, tmp_path)
    assert said.startswith(f"two/three.csv in {tmp_path} is not the file that https://here/two/")
    (tmp_path / "one.csv").write_bytes(wrong)
    assert strangers(mine, tmp_path).startswith("one.csv, two/three.csv")
    packed = tmp_path / "all.zip"
    packed.write_bytes(right)
    assert strangers(mine, packed) == ""
    packed.write_bytes(wrong)
    assert strangers(mine, packed).startswith("all.zip")


def test_hospitals_and_tasks_are_shown_with_what_they_are_too_small_for(fedbench: Command) -> None:
    status, out, err = fedbench("data", "check", MINE)
    assert (status, err) == (0, "")
    assert out.startswith(f"{MINE}: 400 patients, 2 hospitals")
    (north,) = (line for line in out.splitlines() if line.startswith("north"))
    assert north.split()[-5:] == ["membership", "at", "1", "%", "FPR"]
    assert "1,000" not in out
    assert "5,000 in all" in " ".join(out.split())


def test_a_hospital_too_small_to_train_is_told_the_way_out(fedbench: Command) -> None:
    few = ("p=[0.7, 0.3]", "p=[0.99, 0.01]")
    status, out, _ = fedbench("data", "check", MINE, "--json", change=few)
    told = json.loads(out)
    south = told["hospitals"][-1]
    assert status == 0
    assert south["hospital"] == "south"
    assert south["patients"] < 19
    assert {"training", "membership", "utility of death"} <= set(south["too_small_for"])
    assert 'partition = { name = "natural", minimum = 19, merge = true }' in told["notes"][-1]


@pytest.mark.parametrize(
    ("path", "where"), [("gone.csv", "(looked for in "), ("/nowhere/gone.csv", "Put it there;")]
)
def test_a_missing_file_is_told_in_one_line(fedbench: Command, path: str, where: str) -> None:
    rng = "rng = np.random.default_rng(0)"
    status, out, err = fedbench(
        "data", "check", MINE, change=(rng, f'pd.read_csv("{path}")\n        {rng}')
    )
    assert (status, out) == (2, "")
    assert err.startswith(f"fedbench: {MINE}: load found no file {path!r}")
    assert where in err
    assert "--data-dir or FEDBENCH_DATA (none is set)" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("outcome=outcome)", "outcome=outcome[:-3])"), "outcome: 3 patients of the static table"),
        ((", outcome=outcome)", ")"), "outcome: no such table is given, but the schema has the"),
    ],
)
def test_an_outcome_that_lacks_is_told(
    fedbench: Command, change: tuple[str, str], problem: str
) -> None:
    status, _, err = fedbench("data", "check", MINE, change=change)
    assert status == 2
    assert err.startswith(f"fedbench: {MINE}: {problem}")
