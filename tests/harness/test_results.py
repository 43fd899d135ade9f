"""Run folders that were damaged or changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedbench import cli
from fedbench.compare.runs import Run
from fedbench.config import read_suite
from fedbench.data import DataStore
from fedbench.errors import RunError
from fedbench.federation.study import Choice
from fedbench.results import LACKING, RunDir
from fedbench.runner import run

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of few cells."""
    suite = replace(
        read_suite(str(GOLDEN / "tiny.toml")), metrics=(Choice("marginals"),), attacks=()
    )
    suite = replace(suite, generators=suite.generators[:1], regimes=("federated",))
    out = tmp_path_factory.mktemp("runs")
    return run(suite, out=out, resume=None, jobs=2, store=DataStore(), observe=lambda _: None).path


@pytest.fixture
def damaged(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, for every test to damage."""
    return Path(shutil.copytree(whole, tmp_path / whole.name))


def torn(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def edited(old: str, new: str) -> Callable[[Path], None]:
    def edit(file: Path) -> None:
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new, 1))

    return edit


def same_results(one: Path, other: Path) -> None:
    rows, others = (pd.read_parquet(run / "results.parquet") for run in (one, other))
    pd.testing.assert_frame_equal(rows, others)


CELL = "cells/*-federated-*"
AGAIN = "does this cell again"


@pytest.mark.parametrize(
    ("pattern", "damage", "problem"),
    [
        (f"{CELL}/measures/*.parquet", torn, AGAIN),
        (f"{CELL}/synthetic/static.parquet", torn, AGAIN),
        (f"{CELL}/synthetic/static.parquet", Path.unlink, "is not there any more. Delete"),
        (f"{CELL}/partition.parquet", torn, AGAIN),
        (f"{CELL}/cell.json", torn, AGAIN),
        (f"{CELL}/cell.json", edited('"status": "done"', '"status": "failed"'), AGAIN),
        (f"{CELL}/cell.json", edited('"label": "independent"', '"label": "tvae"'), AGAIN),
        ("suite.toml", edited("seeds = [0]", "seeds = [0"), "is not the suite that was started"),
        ("suite.toml", edited("seeds = [0]", "seeds = 0"), "'seeds' is 0; expected"),
        ("suite.toml", lambda file: file.write_bytes(b"\xff"), "is not the suite that was started"),
        ("suite.toml", Path.unlink, "is not a run directory"),
    ],
)
def test_damage_is_told_in_one_line(
    damaged: Path,
    capfd: pytest.CaptureFixture[str],
    pattern: str,
    damage: Callable[[Path], None],
    problem: str,
) -> None:
    file = next(damaged.glob(pattern))
    damage(file)
    for command in (["report"], ["run", "--resume"]):
        assert cli.main([*command, str(damaged)]) == 2
        said = capfd.readouterr().err
        assert said.count("\n") == 1
        assert str(damaged) in said
        assert problem in said


def test_a_suite_edited_after_its_results_is_told_of_until_the_run_is_brought_up_to_it(
    damaged: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edited("seeds = [0]", "seeds = [0, 1]")(damaged / "suite.toml")
    assert cli.main(["report", str(damaged)]) == 2
    assert "answer another suite. Put it back, or bring the run up to it" in capfd.readouterr().err
    assert cli.main(["run", "--resume", str(damaged), "-j", "1"]) == 0
    assert {*RunDir.open(damaged).answers()["seed"]} == {0, 1}


def test_damaged_results_are_written_again(
    whole: Path, damaged: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torn(damaged / "results.parquet")
    assert cli.main(["report", str(damaged)]) == 2
    assert "Write it again with `fedbench run --resume" in capfd.readouterr().err
    assert cli.main(["run", "--resume", str(damaged), "-j", "1"]) == 0
    same_results(whole, damaged)


def test_a_deleted_cell_is_done_again(whole: Path, damaged: Path) -> None:
    shutil.rmtree(next(damaged.glob(CELL)))
    assert cli.main(["run", "--resume", str(damaged), "-j", "1"]) == 0
    same_results(whole, damaged)


def test_rows_of_another_kind_are_no_results(
    damaged: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(damaged / "results.parquet")
    assert cli.main(["report", str(damaged)]) == 2
    assert "does not have the columns of a row" in capfd.readouterr().err


def test_rows_say_where_their_scale_ends(whole: Path) -> None:
    rows = RunDir.open(whole).results()
    asked = rows[(rows["name"] == "marginals") & (rows["status"] == "done")]
    alone = asked["target"].isin(["pooled", "specialist"])
    assert set(zip(asked["least"][alone], asked["most"][alone], strict=True)) == {(0.0, 1.0)}


@pytest.mark.parametrize("unknown", LACKING[1:])
def test_rows_of_a_version_that_did_not_know_a_column_are_read(
    damaged: Path, capfd: pytest.CaptureFixture[str], unknown: tuple[str, ...]
) -> None:
    file = damaged / "results.parquet"
    rows = pd.read_parquet(file)
    rows.drop(columns=list(unknown)).to_parquet(file)
    found = RunDir.open(damaged).answers()
    pd.testing.assert_frame_equal(found, rows.assign(**dict.fromkeys(unknown, np.nan)))
    assert cli.main(["report", str(damaged)]) == 0
    assert Run.open(damaged).rows
    assert cli.main(["score", str(damaged)]) == 0
    assert "came out otherwise" not in capfd.readouterr().out
    pd.testing.assert_frame_equal(RunDir.open(damaged).results(), rows)


def test_a_cell_knows_its_measures(whole: Path) -> None:
    facts = json.loads(next(whole.glob(f"{CELL}/cell.json")).read_text())
    assert any(name.startswith("measures/") for name in facts["files"])


def test_a_long_name_still_makes_a_folder(tmp_path: Path) -> None:
    assert RunDir.create(tmp_path, "x" * 1_000).path.is_dir()


def test_no_place_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(RunError, match=r"No folder can be made in '.*taken': .* another --out"):
        RunDir.create(tmp_path / "taken", "x")
