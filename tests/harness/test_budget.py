"""Step-matched trainings take as many steps as centralized training does."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest

from fedbench import cli
from fedbench.results import RunDir

SUITE = """
[suite]
name = "budgets"
seeds = [0]
records = 60
regimes = ["federated", "centralized", "local"]
metrics = ["marginals"]
attacks = []

[[datasets]]
name = "pbcseq"

[[scenarios]]
name = "passes"
partition = { name = "quantity", shares = [0.6, 0.3, 0.1] }
rounds = 4

[[scenarios]]
name = "steps"
partition = { name = "quantity", shares = [0.6, 0.3, 0.1] }
rounds = 4
budget = "step-matched"

[[generators]]
name = "tvae"
passes = 6
batch = 16
hidden = 4
latent = 2
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    folder = tmp_path_factory.mktemp("budget")
    (folder / "suite.toml").write_text(SUITE)
    asked = ["run", str(folder / "suite.toml"), "--out", str(folder / "runs"), "-j", "1"]
    assert cli.main(asked) == 0
    (found,) = (folder / "runs").iterdir()
    return RunDir.open(found)


def steps(run: RunDir) -> Mapping[tuple[str, str], pd.Series]:
    return {
        (row["scenario"], row["regime"]): pd.read_parquet(cell.path / "history.parquet")
        .query("phase == 'train'")
        .groupby("site")["steps"]
        .sum()
        for cell in run.cells()
        if (row := cell.facts()["row"])["label"] == "tvae"
    }


def test_every_hospital_takes_the_steps_of_centralized_training(run: RunDir) -> None:
    taken = steps(run)
    (centralized,) = {int(taken[scenario, "centralized"].sum()) for scenario in ("passes", "steps")}
    for regime in ("federated", "local"):
        assert (taken["steps", regime] == centralized).all()
        assert taken["passes", regime].min() < taken["passes", regime].max()
        assert taken["passes", regime].max() < centralized


def test_rows_and_report_say_which_budget_it_was(run: RunDir) -> None:
    rows = run.results().query("label == 'tvae' and name == 'marginals'")
    assert set(zip(rows["scenario"], rows["budget"], strict=True)) == {
        ("passes", "pass-matched"),
        ("steps", "step-matched"),
    }
    page = (run.path / "report.html").read_text()
    assert page.count("as many steps as with all records in one place") == 1
