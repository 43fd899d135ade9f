"""What a hospital's SuperNode starts in place of Flower's own commands."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from fedbench.federation.node import write_commands


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_commands(tmp_path_factory.mktemp("commands") / "here")


def called(command: Path, home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command, *options],
        capture_output=True,
        check=False,
        cwd=home,
        env={**os.environ, "FLWR_HOME": str(home), "FLWR_DISABLE_UPDATE_CHECK": "1"},
        text=True,
        timeout=300,
    )


def test_every_command_that_runs_code_is_replaced(commands: Path) -> None:
    from flwr.supercore.constant import TASK_TYPE_TO_COMMAND

    assert {file.name for file in commands.iterdir()} >= set(TASK_TYPE_TO_COMMAND.values())
    assert "flwr-clientapp" in entry_points(group="console_scripts").names


@pytest.mark.parametrize("name", ["flwr-agentapp", "flwr-serverapp"])
def test_other_kinds_of_app_are_refused(name: str, commands: Path, tmp_path: Path) -> None:
    done = called(commands / name, tmp_path, "--token", "x")
    assert done.returncode == 1
    assert done.stderr == f"This site runs no {name}.\n"


def test_a_client_app_is_answered_by_the_installed_one(commands: Path, tmp_path: Path) -> None:
    """Breaks when a new flwr moves or renames what loads an app; see ``node.answer``."""
    done = called(commands / "flwr-clientapp", tmp_path, "--help")
    assert done.returncode == 0, done.stderr
    assert "--runtime-api-address" in done.stdout


def test_a_flower_that_loads_apps_in_another_way_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flwr.supernode.runtime import run_clientapp

    from fedbench.federation.node import answer

    for name in ("install_from_fab", "get_load_client_app_fn", "install_app_dependencies"):
        monkeypatch.setattr(run_clientapp, name, None)  # so that it is put back afterwards
    monkeypatch.delattr(run_clientapp, "get_load_client_app_fn")
    with pytest.raises(RuntimeError, match="flwr has no get_load_client_app_fn any more"):
        answer()
