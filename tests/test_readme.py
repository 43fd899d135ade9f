"""What the README shows works."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from fedbench.kinds import METRICS
from fedbench.testing import check_metric

README = Path(__file__).parents[1] / "README.md"

IMPORTS = """
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from fedbench import Evidence, Measure, Metric, Rng
from fedbench.stats import percentile, recentre
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_the_metric_in_the_readme_keeps_its_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = (block for block in blocks("python") if "class MeanAge" in block)
    (tmp_path / "readme_metric.py").write_text(IMPORTS + code)
    monkeypatch.chdir(tmp_path)
    check_metric(METRICS.build("readme_metric:MeanAge"))
    sys.modules.pop("readme_metric")


def test_ci_runs_the_readmes_test_command() -> None:
    command = next(line for block in blocks("") for line in block.splitlines() if "tox" in line)
    ci = (README.parent / ".ci" / "run").read_text()
    for part in command.split(" && "):
        assert part.replace("python3.11", "python3") in ci
