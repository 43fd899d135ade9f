"""Training that stops early, from a suite to its results and report."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from fedbench.config import GeneratorChoice, Suite, read_suite
from fedbench.data import DataStore
from fedbench.federation.stopping import Stopping
from fedbench.federation.study import Choice
from fedbench.results import RunDir
from fedbench.runner import run

TINY = Path(__file__).parents[1] / "golden" / "tiny.toml"
QUICKLY = {"passes": 60, "hidden": 64, "batch": 0, "least_steps": 1, "learning_rate": 0.02}


def go(suite: Suite, out: Path, resume: Path | None = None, jobs: int = 1) -> RunDir:
    return run(suite, out=out, resume=resume, jobs=jobs, store=DataStore(), observe=lambda _: None)


@pytest.fixture(scope="module")
def suite() -> Suite:
    tiny = read_suite(str(TINY))
    (scenario,) = tiny.scenarios
    return replace(
        tiny,
        scenarios=(replace(scenario, rounds=12, stopping=Stopping(share=0.3, patience=2)),),
        generators=(
            GeneratorChoice(name="copula"),
            GeneratorChoice(name="ctgan"),
            GeneratorChoice(name="tvae", settings=QUICKLY),
        ),
        metrics=(Choice("marginals"), Choice("communication")),
        attacks=(),
        replicates=10,
    )


@pytest.fixture(scope="module")
def done(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return go(suite, tmp_path_factory.mktemp("stopping"))


def test_every_regime_says_where_it_stopped_and_what_it_kept(done: RunDir) -> None:
    models = {}
    for cell in done.cells():
        facts = cell.facts()
        if facts["row"]["generator"] != "tvae":
            assert "stopping" not in facts
            assert not (cell.path / "judged.parquet").exists()
            continue
        judged = pd.read_parquet(cell.path / "judged.parquet")
        for one in facts["stopping"]:
            mine = judged[judged["model"] == one["model"]]
            assert one["phase"] == "train"
            assert one["rounds"] == len(mine) <= 12
            assert one["kept"] == mine["loss"].idxmin() - mine.index[0] + 1
            assert one["rounds"] in (12, one["kept"] + 2)
        models[facts["row"]["regime"]] = [one["model"] for one in facts["stopping"]]
    assert models == {
        "federated": [""],
        "centralized": [""],
        "local": ["site-1", "site-2"],
        "mixture": ["site-1", "site-2"],
    }


def test_the_same_patients_judge_federated_and_centralized_training(done: RunDir) -> None:
    asked = {
        facts["row"]["regime"]: sum(one["patients"] for one in facts["stopping"])
        for facts in (cell.facts() for cell in done.cells())
        if "stopping" in facts
    }
    assert len(set(asked.values())) == 1
    assert asked["federated"] > 20


def test_what_cannot_be_judged_is_skipped_with_the_reason(done: RunDir) -> None:
    rows = done.results()
    rivals = rows[(rows["generator"] == "ctgan") & (rows["regime"] != "control")]
    assert set(rivals["status"]) == {"skipped"}
    assert rivals["reason"].str.contains("work against each other").all()
    others = rows[rows["generator"].isin(["copula", "tvae"])]
    assert set(others["status"]) == {"done"}
    assert set(others["rounds"]) == {12}


def test_it_is_the_same_in_two_processes_and_scored_again(
    suite: Suite, done: RunDir, tmp_path: Path
) -> None:
    pd.testing.assert_frame_equal(go(suite, tmp_path, jobs=2).results(), done.results())
    shutil.copytree(done.path, tmp_path / "run")
    for file in (tmp_path / "run").glob("cells/*/measures/*.parquet"):
        file.unlink()
    again = go(suite, tmp_path, tmp_path / "run")
    pd.testing.assert_frame_equal(again.results(), done.results())
    for before, after in zip(done.cells(), again.cells(), strict=True):
        assert after.facts().get("stopping") == before.facts().get("stopping")


def test_the_report_says_it(done: RunDir) -> None:
    (world,) = json.loads((done.path / "report.json").read_text())["worlds"]
    rows = world["stopping"]["rows"]
    assert [row["regime"] for row in rows] == ["centralized", "federated", "local", "mixture"]
    assert {row["generator"] for row in rows} == {"tvae"}
    for name in ("report.md", "report.html"):
        text = (done.path / name).read_text()
        assert "When training stopped" in text
        assert "held back to judge rounds" in text
    assert "at most 12 rounds of training" in (done.path / "report.md").read_text()
