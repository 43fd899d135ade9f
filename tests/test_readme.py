"""What the README shows works."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from fedbench.config import read_suite
from fedbench.kinds import METRICS
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
