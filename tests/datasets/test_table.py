"""A table of one's own in a suite, with nothing but a schema file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedbench import cli, jobs
from fedbench.cells import cells_of
from fedbench.config import read_suite
from fedbench.data import TABLES, Cohort, DataStore, write_cohort
from fedbench.errors import DataError, SpecError
from fedbench.infer import inferred, written
from fedbench.kinds import DATASETS, cohort_of
from fedbench.partitioners.natural import Natural
from fedbench.results import RunDir, read_json
from fedbench.schemas import schema_file
from fedbench.testing import check_dataset
from fedbench.testing.cohorts import made_up

N = 60

SCHEMA = """
[schema]
name = "mine"
clock = ""
[static]
age = { kind = "integer", low = 0, high = 120 }
smoker = { kind = "category", levels = ["no", "yes"] }
"""


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "mrn": [f"m{i}" for i in range(N)],
            "age": rng.integers(20, 90, N),
            "smoker": rng.choice(["no", "yes"], N),
        }
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a schema in it; there is no data folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDBENCH_DATA", raising=False)
    Path("mine.toml").write_text(SCHEMA)
    return tmp_path


Load = Callable[..., Cohort]


@pytest.fixture
def load(folder: Path) -> Load:
    assert Path.cwd() == folder

    def call(path: str = "mine.csv", schema: str = "mine.toml", **more: str) -> Cohort:
        return cohort_of("table", {"path": path, "schema": schema, **more}, DataStore.default())

    return call


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_becomes_a_cohort(load: Load, frame: pd.DataFrame, kind: str) -> None:
    getattr(frame, f"to_{kind}")(f"mine.{kind}", index=False)
    cohort = load(f"mine.{kind}")
    back = cohort.static.set_index("patient").loc[frame["mrn"]]
    assert (back["age"].to_numpy() == frame["age"]).all()
    assert (back["smoker"].to_numpy() == frame["smoker"]).all()


@pytest.mark.usefixtures("folder")
def test_it_keeps_what_every_dataset_promises(frame: pd.DataFrame) -> None:
    frame.to_csv("mine.csv", index=False)
    settings = {"path": "mine.csv", "schema": "mine.toml"}
    check_dataset(DATASETS.build("table", settings), DataStore())


def test_numbered_hospitals_are_called_by_their_numbers(load: Load, frame: pd.DataFrame) -> None:
    frame.assign(clinic=np.arange(N) % 2 + 7).to_csv("mine.csv", index=False)
    site = 'clinic = { kind = "integer", low = 0, high = 100, roles = ["site"] }'
    Path("mine.toml").write_text(SCHEMA.replace("[static]", f"[static]\n{site}"))
    dealt = Natural().deal(load("mine.csv"), np.random.default_rng(0))
    assert set(dealt.patients) == {"7", "8"}


def test_a_folder_comes_back_as_it_was_written(load: Load) -> None:
    cohort = made_up()
    Path("mine.toml").write_text(schema_file(cohort.schema))
    write_cohort(cohort, Path("cohort"))
    assert load("cohort").fingerprint == cohort.fingerprint
    Path("csv").mkdir()
    for name in TABLES:
        getattr(cohort, name).to_csv(f"csv/{name}.csv", index=False)
    found = load("csv")
    for name in TABLES:  # reading digits may be wrong in the last bit
        one, other = getattr(found, name), getattr(cohort, name)
        pd.testing.assert_frame_equal(one, other, rtol=1e-15)


def test_what_is_in_the_file_decides_the_fingerprint(load: Load, frame: pd.DataFrame) -> None:
    frame.to_csv("mine.csv", index=False)
    before = load().fingerprint
    Path("mine.csv").rename("other.csv")
    assert load("other.csv").fingerprint == before
    later = frame["age"].where(frame.index > 0, frame["age"] + 1)
    frame.assign(age=later).to_csv("mine.csv", index=False)
    assert load().fingerprint != before


def test_relative_paths_are_looked_for_here_and_then_in_the_data_folder(
    load: Load, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Path("store")
    store.mkdir()
    frame.to_csv(store / "mine.csv", index=False)
    with pytest.raises(DataError, match=r"There is no 'mine.csv' in .* No data folder is set"):
        load()
    monkeypatch.setenv("FEDBENCH_DATA", str(store.absolute()))
    assert len(load()) == N
    Path("mine.toml").rename(store / "mine.toml")
    assert len(load()) == N
    frame[: N // 2].to_csv("mine.csv", index=False)
    assert len(load()) == N // 2
    absolute = [str((store / name).absolute()) for name in ("mine.csv", "mine.toml")]
    assert len(load(*absolute)) == N


def test_the_identifier_is_named_or_found_or_rows_are_numbered(
    load: Load, frame: pd.DataFrame
) -> None:
    frame.rename(columns={"mrn": "Patient_ID"}).to_csv("mine.csv", index=False)
    assert set(load().patients) == set(frame["mrn"])
    frame.rename(columns={"mrn": "who"}).to_csv("mine.csv", index=False)
    assert set(load(patient="who").patients) == set(frame["mrn"])
    assert load().patients[0] == "row 00"
    with pytest.raises(DataError, match=r"has no column 'wh', which is to say.*mean 'who'"):
        load(patient="wh")


def test_the_row_of_somebody_who_is_there_twice_is_told_and_not_who_it_is(
    load: Load, frame: pd.DataFrame
) -> None:
    frame.loc[5, "mrn"] = "m0"
    frame.to_csv("mine.csv", index=False)
    with pytest.raises(DataError, match=r"mine.csv row 6: 'mrn' is there again, as in") as said:
        load()
    assert "m0" not in str(said.value)


def test_all_that_is_missing_is_said_at_once(load: Load) -> None:
    schema = made_up().schema
    Path("mine.toml").write_text(schema_file(schema))
    Path("mine.csv").write_text("patient,x\na,1\n")
    with pytest.raises(DataError) as told:
        load()
    for words in (*map(repr, schema.static), "describes visits", "codes", "describes outcome"):
        assert words in str(told.value)


def test_a_value_that_does_not_fit_is_told_with_file_and_row(
    load: Load, frame: pd.DataFrame
) -> None:
    frame.loc[3, "age"] = 999
    frame.to_csv("mine.csv", index=False)
    with pytest.raises(DataError, match=r"mine.csv row 4: 'age' is '?999"):
        load()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, r"The dataset 'table' needs `path`.*fedbench data infer mine.csv -o mine.toml"),
        ({"schema": "gone.toml", "path": "mine.csv"}, "There is no 'gone.toml' in"),
        ({"schema": "mine.toml", "path": "gone.csv"}, "There is no 'gone.csv' in"),
        ({"schema": "mine.toml"}, "needs `path`"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_is_not_there_is_told(settings: dict[str, str], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        cohort_of("table", settings, DataStore())


def test_a_setting_that_is_misspelled_is_told_by_the_name_in_a_suite() -> None:
    with pytest.raises(SpecError, match=r"Did you mean 'schema'\?.* path = '', schema = ''"):
        DATASETS.build("table", {"shema": "mine.toml"})


def test_a_schema_that_is_none_is_told(load: Load, frame: pd.DataFrame) -> None:
    frame.to_csv("mine.csv", index=False)
    Path("mine.toml").write_text("[static]\nage = 3\n")
    with pytest.raises(SpecError, match=r"mine.toml needs a table \[schema\]"):
        load()


# A schema is drafted


def test_a_drafted_schema_reads_the_table_it_was_drafted_from(
    load: Load, frame: pd.DataFrame
) -> None:
    frame.to_csv("mine.csv", index=False)
    text = written(inferred(Path("mine.csv")), Path("mine.csv"))
    Path("mine.toml").write_text(text)
    assert set(load().schema.static) == {"age", "smoker"}
    assert "# * 'mrn' is taken for the patient's identifier" in text


def test_a_single_file_may_have_its_outcome_in_two_columns(load: Load, frame: pd.DataFrame) -> None:
    frame = frame.assign(time=np.arange(N) + 1.0, event=np.arange(N) % 2, los=np.arange(N) + 3)
    frame.to_csv("mine.csv", index=False)
    text = written(inferred(Path("mine.csv")), Path("mine.csv"))
    told = " ".join(text.replace("#", "").split())
    assert "'time' and 'event' are taken for the outcome" in told
    assert "'los': is it known only later" in told
    task = 'tasks.stay = { kind = "regression", label = "stay", index = 0, column = "los" }'
    drafted = 'los = { kind = "integer", '
    assert drafted in text
    Path("mine.toml").write_text(f"{task}\n{text.replace(drafted, drafted + 'known = 365, ')}")
    found = load()
    there = frame.set_index("mrn").loc[list(found.patients)]
    assert found.outcome["time"].tolist() == there["time"].tolist()
    assert found.event.tolist() == there["event"].tolist()
    assert {*found.schema.static} == {"age", "smoker", "los"}
    frame.drop(columns="event").to_csv("mine.csv", index=False)
    with pytest.raises(DataError, match=r"describes outcome.*columns time \(days\) and event"):
        load()


def test_columns_called_time_and_event_that_are_none_stay(folder: Path) -> None:
    table = pd.DataFrame({"id": range(40), "time": range(40), "event": ["fall", "burn"] * 20})
    table.to_csv(folder / "mine.csv", index=False)
    assert {*inferred(folder / "mine.csv").schema.static} == {"time", "event"}


def test_a_drafted_schema_reads_the_folder_it_was_drafted_from(load: Load) -> None:
    cohort = made_up()
    write_cohort(cohort, Path("cohort"))
    text = written(inferred(Path("cohort")), Path("cohort"))
    Path("mine.toml").write_text(text)
    found = load("cohort")
    assert found.schema.parts == cohort.schema.parts
    assert len(found.visits) == len(cohort.visits)
    assert "# [tasks]" in text


def test_dates_in_place_of_days_are_told_when_a_schema_is_drafted(folder: Path) -> None:
    (folder / "cohort").mkdir()
    people = pd.DataFrame({"patient": range(N), "age": np.arange(N) % 50 + 20})
    people.to_csv("cohort/static.csv", index=False)
    people.assign(day="2020-01-07", crp=np.arange(N) / 7).to_csv("cohort/visits.csv", index=False)
    with pytest.raises(DataError, match=r"visits row 1: 'day' is '2020-01-07'.*not dates"):
        inferred(Path("cohort"))


def test_a_drafted_task_only_needs_its_signs_taken_away(load: Load) -> None:
    write_cohort(made_up(), Path("cohort"))
    text = written(inferred(Path("cohort")), Path("cohort"))
    place = text.index("# [tasks]")
    Path("mine.toml").write_text(text[:place] + text[place:].replace("# ", ""))
    assert load("cohort").schema.tasks["event"].horizon == 90


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.usefixtures("folder")
def test_drafted_bounds_are_nobodys_own_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-3, 5)
    frame = pd.DataFrame(
        {
            "x": rng.normal(rng.normal(0, scale), scale, N),
            "y": np.exp(rng.normal(0, 3, N)),
            "z": rng.integers(1, 1_000, N),
        }
    )
    frame.to_csv("mine.csv", index=False)
    days = pd.DataFrame(
        {"patient": frame.index, "day": rng.integers(-300, 300, N), "x": frame["x"]}
    )
    Path("cohort").mkdir()
    frame.assign(patient=frame.index).to_csv("cohort/static.csv", index=False)
    days.to_csv("cohort/visits.csv", index=False)
    for path in (Path("mine.csv"), Path("cohort")):
        schema = inferred(path).schema
        for name, column in schema.static.items():
            assert column.low not in set(frame[name])
            assert column.high not in set(frame[name])
            assert column.low < frame[name].min() <= frame[name].max() < column.high
    (window,) = schema.windows
    assert window.start + 1 < days["day"].min() <= days["day"].max() < window.end


@pytest.mark.usefixtures("folder")
def test_a_draft_says_what_to_correct(frame: pd.DataFrame) -> None:
    frame["hospital"] = ["north"] * 57 + ["south"] * 3
    frame.to_csv("mine.csv", index=False)
    notes = " ".join(inferred(Path("mine.csv")).notes)
    for words in ("'hospital': is it", "'age': others may", "fewer than 5 patients have 'south'"):
        assert words in notes


@pytest.mark.usefixtures("folder")
def test_a_number_for_every_row_is_asked_about(frame: pd.DataFrame) -> None:
    frame = frame.rename(columns={"mrn": "Patienten-Nr."}).assign(x=np.arange(N) / 2)
    frame["Patienten-Nr."] = np.arange(N)
    frame.to_csv("mine.csv", index=False)
    notes = " ".join(inferred(Path("mine.csv")).notes)
    assert "'Patienten-Nr.': another whole number in every row" in notes


@pytest.mark.usefixtures("folder")
def test_a_draft_with_repeated_patients_says_so(frame: pd.DataFrame) -> None:
    pd.concat([frame, frame]).to_csv("mine.csv", index=False)
    assert "'mrn' has 60 rows of somebody who is there" in " ".join(
        inferred(Path("mine.csv")).notes
    )
    with pytest.raises(SpecError, match=r"has no column 'mrm'. Did you mean 'mrn'"):
        inferred(Path("mine.csv"), "mrm")


# In a suite

SUITE = """
[suite]
name = "mine"
seeds = [0]
regimes = ["federated"]
records = 50
replicates = 20
metrics = ["marginals"]
device = "cpu"

[[datasets]]
name = "table"
label = "first"
path = "mine.csv"
schema = "mine.toml"

[[datasets]]
name = "table"
label = "second"
path = "other.csv"
schema = "mine.toml"

[[scenarios]]
name = "two"
partition = { name = "iid", sites = 2 }

[[generators]]
name = "independent"
"""


def test_two_tables_in_one_suite_come_to_a_report(folder: Path, frame: pd.DataFrame) -> None:
    frame.to_csv("mine.csv", index=False)
    frame[::-1].assign(age=frame["age"]).to_csv("other.csv", index=False)
    Path("suite.toml").write_text(SUITE)
    assert cli.main(["run", "suite.toml", "-j", "1"]) == 0
    (path,) = (folder / "runs").iterdir()
    run = RunDir.open(path)
    rows = run.results()
    assert set(rows["dataset"]) == {"first", "second"}
    assert not (rows["status"] == "failed").any()
    for suffix in ("md", "html"):
        text = (path / f"report.{suffix}").read_text()
        assert text.count("as their owner says") >= 2, suffix
    told = read_json(path / "report.json")["worlds"]
    assert {world["data"]["licence"] for world in told} == {"as their owner says"}
    Path("mine.toml").unlink()
    assert cli.main(["report", str(path)]) == 0


def test_tables_without_labels_are_one_too_many(folder: Path) -> None:
    (folder / "suite.toml").write_text(SUITE.replace('label = "second"', 'label = "first"'))
    with pytest.raises(SpecError, match=r"not distinct: 'first'. Give one of them a label"):
        read_suite(str(folder / "suite.toml"))
    (folder / "suite.toml").write_text(SUITE.replace('label = "second"', 'label = "a/b"'))
    with pytest.raises(SpecError, match="The dataset label 'a/b' becomes part of a path"):
        read_suite(str(folder / "suite.toml"))


def test_records_and_schema_decide_train_ids(folder: Path, frame: pd.DataFrame) -> None:
    def ids() -> list[str]:
        jobs._COHORTS.clear()  # noqa: SLF001  (as in a new process)
        jobs.FINGERPRINTS.clear()
        suite, run = read_suite(str(folder / "suite.toml")), RunDir(folder)
        return [cell.train_id for cell in cells_of(suite, run, DataStore())]

    Path("suite.toml").write_text(SUITE)
    for name in ("mine.csv", "other.csv"):
        frame.to_csv(name, index=False)
    before = ids()
    Path("mine.csv").rename("moved.csv")
    Path("suite.toml").write_text(SUITE.replace("mine.csv", "moved.csv"))
    assert ids() == before
    Path("mine.toml").write_text(SCHEMA.replace("high = 120", "high = 110"))
    assert not {*ids()} & {*before}
    Path("mine.toml").write_text(SCHEMA)
    frame.assign(age=frame["age"] + 1).to_csv("other.csv", index=False)
    after = ids()
    assert len({*after} & {*before}) == len(before) // 2
