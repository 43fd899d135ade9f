"""What docs/datasets.md shows works, from CSV to report."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedbench import cli
from fedbench.data import DataStore
from fedbench.kinds import DATASETS
from fedbench.results import RunDir
from fedbench.testing import check_dataset

PAGE = (Path(__file__).parents[1] / "docs" / "datasets.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    make, plugin = blocks("python")
    (suite,) = blocks("toml")
    for name, text in (("make.py", make), ("clinics.py", plugin), ("clinics.toml", suite)):
        (tmp_path / name).write_text(text)
    subprocess.run([sys.executable, "make.py"], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("clinics", None)


def test_the_example_goes_from_csv_to_report(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_dataset(DATASETS.build("clinics:Clinics"), DataStore(folder))
    assert cli.main(["data", "check", "clinics:Clinics", "--data-dir", "."]) == 0
    assert "305 patients, 3 hospitals" in capsys.readouterr().out
    narrow = ["--regime", "federated", "--set", "suite.records=50", "-j", "1"]
    assert cli.main(["run", "clinics.toml", "--data-dir", ".", *narrow]) == 0
    (run,) = (folder / "runs").iterdir()
    results = RunDir.open(run).results()
    assert {"east + south", "north"} <= set(results["site"])
    assert not (results["status"] == "failed").any()


def test_without_merging_the_example_says_what_to_write(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = 'partition = { name = "natural", minimum = 19, merge = true }'
    suite = (folder / "clinics.toml").read_text()
    assert line in suite
    (folder / "clinics.toml").write_text(suite.replace(line, 'partition = { name = "natural" }'))
    assert cli.main(["run", "clinics.toml", "--data-dir", "."]) == 2
    said = capsys.readouterr().err
    for words in ("clinics:Clinics, scenario 'hospitals'", "'east' has 5 patients", "19", line):
        assert words in said
    assert not (folder / "runs").exists()
