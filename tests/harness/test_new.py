"""Plug-ins to start from keep every promise, and run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fedbench.errors import SpecError
from fedbench.new import KINDS, new


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_passes_its_own_test(kind: str, tmp_path: Path) -> None:
    plugin, test = new(kind, f"my_{kind}", tmp_path / "mine")
    assert "Template" not in plugin.read_text() + test.read_text()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        ("strategy", "mine", "There is no kind 'strategy'"),
        ("metric", "My-Metric", "cannot be a file's name"),
        ("metric", "../escape", "cannot be a file's name"),
        ("metric", "numpy", "already means something"),
        ("metric", "class", "already means something"),
        ("metric", "conftest", "already means something"),
        ("metric", "none", "The class would be called 'None'"),
        ("metric", "measure", "The class would be called 'Measure'"),
        ("dataset", "cohort", "The class would be called 'Cohort'"),
        ("attack", "_", "The class would be called ''"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(
    kind: str, name: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=why):
        new(kind, name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("mine")
    with pytest.raises(SpecError, match="already there"):
        new("metric", "mine", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["test_mine.py"]
