from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from fedbench import cli
from fedbench.data import TABLES, DataStore
from fedbench.datasets.pbcseq import Pbcseq
from fedbench.results import CellDir, RunDir, read_json, write_json

Refused = Callable[[Path], str]


@pytest.fixture
def run(their_run: Path, tmp_path: Path) -> RunDir:
    """A finished run that may be changed."""
    return RunDir(Path(shutil.copytree(their_run, tmp_path / "run")))


@pytest.fixture
def refused(
    their_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Submit in vain, and return what was said."""

    def call(path: Path, board: str = str(their_folder / "tiny.toml")) -> str:
        asked = ["submit", str(path), "-o", str(tmp_path / "new" / "x.zip"), "--board", board]
        assert cli.main(asked) == 2
        assert not (tmp_path / "new").exists()
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1
        return said

    return call


def again(cell: CellDir, **facts: object) -> None:
    """Finish a cell as if nothing had happened."""
    found = cell.facts()
    cell.finish({**{k: v for k, v in found.items() if k != "files"}, **facts})


def first(run: RunDir) -> CellDir:
    return next(cell for cell in run.cells() if (cell.path / "synthetic").is_dir())


def test_the_same_run_gives_the_same_bundle(
    their_run: Path, their_bundle: Path, their_folder: Path, tmp_path: Path
) -> None:
    tiny = str(their_folder / "tiny.toml")
    out = tmp_path / "again.zip"
    assert cli.main(["submit", str(their_run), "-o", str(out), "--board", tiny]) == 0
    assert out.read_bytes() == their_bundle.read_bytes()


def test_what_is_no_run_is_refused(tmp_path: Path, refused: Refused) -> None:
    assert "is not a run directory" in refused(tmp_path)
    assert "is not a run directory" in refused(tmp_path / "nowhere")


def test_an_unfinished_run_is_refused(run: RunDir, refused: Refused) -> None:
    (run.path / "results.parquet").unlink()
    assert "the run is unfinished" in refused(run.path)


def test_changed_records_are_refused(run: RunDir, refused: Refused) -> None:
    file = first(run).path / "synthetic" / "static.parquet"
    file.write_bytes(file.read_bytes() + b" ")
    assert "static.parquet was changed since it was written" in refused(run.path)


def test_changed_results_are_refused(run: RunDir, refused: Refused) -> None:
    rows = run.results()
    rows.loc[rows.index[rows["status"] == "done"][0], "value"] = 0.0
    rows.to_parquet(run.path / "results.parquet", index=False)
    assert "results.parquet was changed since it was written" in refused(run.path)


def test_a_cell_that_is_gone_is_named(run: RunDir, refused: Refused) -> None:
    shutil.rmtree(first(run).path)
    assert "whose folder is not there" in refused(run.path)


def test_a_run_of_another_version_is_refused(run: RunDir, refused: Refused) -> None:
    environment = read_json(run.path / "environment.json")
    environment["versions"]["fedbench-ehr"] = "0.0.1"
    write_json(run.path / "environment.json", environment)
    assert "was made with fedbench 0.0.1" in refused(run.path)


def test_another_suite_is_refused_by_what_differs(run: RunDir, refused: Callable[..., str]) -> None:
    said = refused(run.path, "hospitals")
    assert "suite.records is 60, and the board asks for 2000" in said
    assert "datasets.opt is absent" in said


def test_a_licence_that_forbids_it_is_named(
    run: RunDir, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pbcseq, "redistributable", False)
    assert "The licence of pbcseq" in refused(run.path)


def test_an_audit_is_nothing_to_rank(run: RunDir, refused: Refused) -> None:
    (run.path / "audit.toml").touch()
    assert "was made by `fedbench audit`" in refused(run.path)


def test_a_generator_that_copies_real_records_is_refused(run: RunDir, refused: Refused) -> None:
    cell = first(run)
    real = Pbcseq().load(DataStore())
    for name in TABLES:
        file = cell.path / "synthetic" / f"{name}.parquet"
        if file.is_file():
            model = pd.read_parquet(file)["model"].iloc[0]
            getattr(real, name).assign(model=model).to_parquet(file, index=False)
    again(cell)
    said = refused(run.path)
    assert f"{len(real)} synthetic records are those of real patients" in said
    assert "shuffled" in said
