"""What docs/datasets.md says is so, and what it shows works, from CSV to report."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedbench import cli
from fedbench.data import Cohort, DataStore
from fedbench.kinds import DATASETS, PARTITIONERS
from fedbench.results import RunDir
from fedbench.testing import check_dataset

PAGE = (Path(__file__).parents[1] / "docs" / "datasets.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def block_with(language: str, words: str) -> str:
    (found,) = (block for block in blocks(language) if words in block)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    make, plugin = (block for block in blocks("python") if "clinics" in block)
    suite = block_with("toml", 'name = "clinics"')
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


ROOT = os.environ.get("FEDBENCH_DATA")
HERE = ("opt", "nafld", "pbcseq", "simulated")
FOLDERS = {
    "heart4": "uci_heart_disease", "eicu_demo": "eicu_demo", "mimic3": "mimic3_demo",
    "mimic4": "mimic4_demo_partial",
}  # fmt: skip


def row_of(name: str) -> list[str]:
    (line,) = re.findall(rf"^\| `{name}` \|.*$", PAGE, flags=re.MULTILINE)
    return [field.strip() for field in line.strip("|").split("|")]


def number(text: str) -> int:
    return int(re.sub(r"\D", "", text) or 0)


def test_every_dataset_and_partitioner_has_its_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert {*DATASETS.names()} < {*rows}
    assert {*PARTITIONERS.names()} < {*rows}


@pytest.mark.parametrize("name", sorted({*DATASETS.names()} - {"table"}))
def test_tasks_are_as_they_are_said_to_be(name: str) -> None:
    tasks = row_of(name)[6].removesuffix(", and those of `foresee`").split(", ")
    there = list(DATASETS.build(name).schema.tasks)
    assert tasks == there[: len(tasks)]
    assert len(there) - len(tasks) == ("foresee" in row_of(name)[6])


@pytest.mark.parametrize("name", [*HERE, *FOLDERS])
def test_counts_are_as_they_are_said_to_be(name: str) -> None:
    if name in FOLDERS and not (ROOT and (Path(ROOT) / FOLDERS[name]).is_dir()):
        pytest.skip(f"needs the folder {FOLDERS[name]} in FEDBENCH_DATA")
    cohort: Cohort = DATASETS.build(name).load(DataStore(Path(ROOT) if ROOT else None))
    _, _, patients, visits, diagnoses, sites, *_ = row_of(name)
    assert number(patients) == len(cohort)
    assert number(visits) == len(cohort.visits)
    assert number(diagnoses) == len(cohort.codes)
    if number(sites):
        assert cohort.sites is not None
        assert number(sites) == len({*cohort.sites} - {"unknown"})


def test_every_way_to_deal_is_shown_and_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = block_with("toml", "patients = 1200")
    assert all(f'name = "{dealer}"' in suite for dealer in PARTITIONERS.names())
    (tmp_path / "hospitals.toml").write_text(suite)
    (tmp_path / "codes.csv").write_text(*blocks("csv"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "hospitals.toml", "--dry-run"]) == 0
    said = capsys.readouterr().out
    scenarios = re.findall(r'^\[\[scenarios\]\]\nname = "(.*)"', suite, flags=re.MULTILINE)
    assert len(scenarios) == 11
    for scenario in scenarios:
        assert f"simulated · {scenario}\n" in said
    assert "writes its diagnoses in ours: " in said


def test_maps_between_systems_give_what_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "maps.py").write_text(block_with("python", "fedbench.crosswalk"))
    runpy.run_path(str(tmp_path / "maps.py"))
    said = capsys.readouterr().out
    assert [word in said for word in ("E119", "B394", "G02", "E11\n")] == [True] * 4
    assert "2 of 3 codes and 2 of 3 records are mapped" in said


@pytest.mark.skipif(
    not ROOT or not (Path(ROOT) / "mimic4_demo_partial").is_dir(),
    reason="needs the folder mimic4_demo_partial in FEDBENCH_DATA",
)
def test_real_admissions_are_written_in_one_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "systems.toml").write_text(block_with("toml", 'name = "systems"'))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "systems.toml", "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"diagnoses in icd10cm: 99\.\d % of \d+ have a counterpart", said)
