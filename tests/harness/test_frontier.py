"""What privacy costs is told in percent, paired by seed, beside the same training without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedbench import report
from fedbench.config import read_suite
from fedbench.results import RunDir, frame, write_json, write_parquet

SUITE = """
[suite]
name = "made-up"
seeds = [0, 1, 2]
regimes = ["federated"]
records = 2000
metrics = []
attacks = []

[[datasets]]
name = "opt"

[[scenarios]]
name = "open"
partition = "natural"

[[scenarios]]
name = "closed"
partition = "natural"
privacy = { name = "patient", epsilon = 2.0, noise = "distributed" }

[[scenarios]]
name = "elsewhere"
partition = "iid"
privacy = { name = "patient", epsilon = 4.0 }

[[generators]]
name = "copula"
"""
WITHOUT, LOST = (0.8, 0.7, 0.6), (0.10, 0.20, 0.30)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run in which a tenth, a fifth and three tenths of usefulness were lost."""
    rows: list[dict[str, Any]] = []
    for scenario in ("open", "closed", "elsewhere"):
        for seed, (before, share) in enumerate(zip(WITHOUT, LOST, strict=True)):
            value = before if scenario == "open" else before * (1 - share)
            rows.append(
                {
                    "suite": "made-up", "dataset": "opt", "scenario": scenario, "seed": seed,
                    "generator": "copula", "label": "copula", "regime": "federated",
                    "train_id": f"{scenario}-{seed}", "family": "utility", "target": "pooled",
                    "name": "utility.auroc", "task": "preterm", "better": "higher",
                    "status": "done", "n": 300, "value": value, "low": value - 0.02,
                    "high": value + 0.02,
                }
            )  # fmt: skip
    (tmp_path / "suite.toml").write_text(SUITE)
    write_json(tmp_path / "environment.json", {"python": "3.11"})
    write_parquet(tmp_path / "results.parquet", frame(rows))
    return RunDir(tmp_path)


def test_the_loss_is_a_share_of_what_was_reached_without(run: RunDir) -> None:
    (found,) = report.build(run)["frontier"]
    assert found["heads"] == ["epsilon 2, noise in the sum"]
    (row,) = found["rows"]
    (cell,) = row["cells"]
    assert row["without"] == "0.700"
    half = 4.302652729911275 * 10 / 3**0.5
    assert [cell["value"], cell["low"], cell["high"]] == pytest.approx([20, 20 - half, 20 + half])


def test_both_pages_tell_it(run: RunDir) -> None:
    page = report.write(run).read_text()
    for text in (page, (run.path / "report.md").read_text()):
        assert "What privacy costs: AUROC, opt" in text
        assert "20.0 %" in text


def test_what_was_run_only_with_a_promise_is_not_compared(run: RunDir) -> None:
    (run.path / "suite.toml").write_text(SUITE.replace('"open"', '"open"\nrounds = 3'))
    assert report.build(run)["frontier"] == []


def test_the_bundled_suite_has_every_promise_beside_none() -> None:
    suite = read_suite("privacy")
    asked = {s.name: s.privacy.settings.get("epsilon") for s in suite.scenarios}
    assert {0.5, 1.0, 2.0, 4.0, 8.0, None} == {asked[name] for name in suite.datasets[0].scenarios}
    assert len(suite.check().seeds) == 5
