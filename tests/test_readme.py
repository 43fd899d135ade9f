"""What the README shows works."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pandas as pd
import pytest

from fedbench.config import read_suite
from fedbench.kinds import METRICS
from fedbench.leaderboards.board import read_board
from fedbench.leaderboards.entries import entries
from fedbench.leaderboards.ranking import tables
from fedbench.testing import check_metric

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_the_metric_in_the_readme_keeps_its_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = (block for block in blocks("python") if "class MeanAge" in block)
    (tmp_path / "readme_metric.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    check_metric(METRICS.build("readme_metric:MeanAge"))
    sys.modules.pop("readme_metric")


def test_the_rows_in_the_readme_are_one_per_generator_and_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = (block for block in blocks("python") if "results.parquet" in block)
    recorded = pd.read_csv(README.parent / "tests" / "golden" / "tiny.csv", keep_default_na=False)
    recorded.assign(dataset="nafld", seed=0).to_parquet(tmp_path / "results.parquet")
    monkeypatch.chdir(tmp_path)
    exec(code.replace("runs/…/", ""))  # noqa: S102
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["label", "seed", "value", "low", "high"]
    assert [line.split()[:2] for line in lines] == [["copula", "0"], ["independent", "0"]]


def test_ci_runs_the_readmes_test_command() -> None:
    command = next(line for block in blocks("") for line in block.splitlines() if "tox" in line)
    ci = (README.parent / ".ci" / "run").read_text()
    for part in command.split(" && "):
        assert part.replace("python3.11", "python3") in ci


def test_the_suite_in_the_readme_is_one(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    (tmp_path / "mine.toml").write_text(text)
    suite = read_suite(str(tmp_path / "mine.toml"))
    assert [choice.label for choice in suite.generators] == ["copula", "tvae-small"]


def test_what_the_readme_says_generators_reach_is_what_the_board_says(tmp_path: Path) -> None:
    board = read_board("hospitals")
    reached = {
        (table.dataset, line.label, line.regime, head.title): cell.value
        for table in tables(board, entries(board, tmp_path))
        for line in table.lines
        for head, cell in zip(table.heads, line.cells, strict=True)
    }
    head, dataset, compared = "| patients | generator |", "", 0
    (shown,) = (part for part in README.read_text().split("\n\n") if part.startswith(head))
    for row in shown.splitlines()[2:]:
        first, label, regime, *told, sent = (cell.strip() for cell in row.split("|")[1:-1])
        dataset = first or dataset
        who = (label, regime) if regime else ("copy", "control")
        for title, number in zip(("fidelity", "utility", "membership"), told, strict=True):
            assert float(number) == pytest.approx(reached[dataset, *who, title], abs=6e-4)
            compared += 1
        if sent not in ("", "0"):
            amount, unit = sent.split()
            each = (reached[dataset, *who, "bytes"] or 0) / 4
            assert float(amount) * {"kB": 1e3, "MB": 1e6}[unit] == pytest.approx(each, rel=0.04)
    assert compared == 42
