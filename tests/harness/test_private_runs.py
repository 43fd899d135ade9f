"""Differential privacy from a suite to its results and report."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from fedbench.config import Suite, read_suite
from fedbench.data import DataStore
from fedbench.federation.study import Choice
from fedbench.results import RunDir
from fedbench.runner import run

TINY = Path(__file__).parents[1] / "golden" / "tiny.toml"
PROMISE = {"epsilon": 2.0, "delta": 1e-4}


def go(suite: Suite, out: Path, resume: Path | None = None) -> RunDir:
    return run(suite, out=out, resume=resume, jobs=1, store=DataStore(), observe=lambda _: None)


@pytest.fixture(scope="module")
def suite() -> Suite:
    tiny = read_suite(str(TINY))
    (scenario,) = tiny.scenarios
    promised = replace(scenario, privacy=Choice("patient", PROMISE))
    return replace(
        tiny,
        scenarios=(promised,),
        metrics=(Choice("marginals"),),
        attacks=(),
        replicates=10,
    )


@pytest.fixture(scope="module")
def done(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return go(suite, tmp_path_factory.mktemp("private"))


def test_every_row_says_what_was_promised_and_spent(done: RunDir) -> None:
    rows = done.results()
    controls = rows["regime"] == "control"
    assert set(rows["status"]) == {"done"}
    assert rows.loc[controls, "dp"].eq("none").all()
    assert (
        rows.loc[controls, ["epsilon", "epsilon_max", "epsilon_site", "delta"]]
        .isna()
        .all(axis=None)
    )
    ours = rows[~controls]
    assert ours["dp"].eq("simulated").all()
    assert ours["unit"].eq("patient").all()
    assert ours["epsilon"].eq(2.0).all()
    assert ours["delta"].eq(1e-4).all()
    assert ours["epsilon_max"].between(1.999, 2.0).all()
    own = ours["site"].str.startswith("site") | ours["model"].ne("")
    assert own.any()
    assert ours.loc[own, "epsilon_site"].between(1.999, 2.0).all()
    assert ours.loc[~own, "epsilon_site"].isna().all()


def test_every_regime_is_charged_for_its_own_training(done: RunDir) -> None:
    regimes = set()
    for cell in done.cells():
        facts = cell.facts()
        if facts["row"]["regime"] == "control":
            assert "privacy" not in facts
            continue
        regimes.add(facts["row"]["regime"])
        charges = pd.read_parquet(cell.path / "charges.parquet")
        assert sorted(facts["privacy"]) == sorted(set(charges["site"])) == ["site-1", "site-2"]
        releases = 2 if facts["row"]["generator"] == "copula" else 1
        assert charges.groupby("site").size().eq(releases).all()
    assert regimes == {"federated", "centralized", "local", "mixture"}


def test_pooled_records_are_noised_once(done: RunDir) -> None:
    rows = done.results()
    marginals = rows[(rows["name"] == "marginals") & (rows["target"] == "pooled")]
    off = marginals.groupby(["generator", "regime"])["value"].mean()
    for generator in ("independent", "copula"):
        assert off[generator, "centralized"] < off[generator, "federated"]


def test_scoring_a_finished_cell_again_keeps_what_was_spent(
    suite: Suite, done: RunDir, tmp_path: Path
) -> None:
    shutil.copytree(done.path, tmp_path / "run")
    answers = list((tmp_path / "run").glob("cells/*/measures/*.parquet"))
    for file in answers:
        file.unlink()
    assert answers
    pd.testing.assert_frame_equal(go(suite, tmp_path, tmp_path / "run").results(), done.results())


def test_the_report_has_the_epsilon_of_every_hospital(done: RunDir) -> None:
    (world,) = json.loads((done.path / "report.json").read_text())["worlds"]
    found = world["privacy"]
    assert len(found["rows"]) == 8
    for row in found["rows"]:
        assert 1.999 < row["most"] <= 2.0
        assert [one["site"] for one in row["sites"]] == ["site-1", "site-2"]
    for name in ("report.md", "report.html"):
        text = (done.path / name).read_text()
        assert "Differential privacy of every patient" in text
        assert "protects nobody" in text
        assert "2 (2." in text
