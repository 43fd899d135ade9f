"""A hospital's SuperNode that runs the installed client, whatever app it is sent.

Flower ships an app's code to every SuperNode and runs it there. Here it stays unopened: the
SuperNode finds, before Flower's own, commands that start the installed ClientApp or nothing.

``python -m fedbench.federation.node`` takes the options of ``flower-supernode``.
"""

from __future__ import annotations

import fedbench.federation  # noqa: F401  isort: skip  (switches telemetry off before flwr)

import os
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path

__all__ = ["answer", "start", "write_commands"]

NAME = "fedbench.federation.node"
ANSWERED = "flwr-clientapp"


def start(options: Sequence[str]) -> None:
    """Turn this process into a SuperNode with these options of ``flower-supernode``."""
    from flwr.supercore.utils import get_flwr_home  # noqa: PLC0415

    commands = write_commands(get_flwr_home() / "fedbench-commands")
    own = Path(sys.executable).parent
    os.environ["PATH"] = os.pathsep.join((str(commands), str(own), os.environ.get("PATH", "")))
    os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
    node = str(own / "flower-supernode")
    os.execv(node, [node, *options])  # noqa: S606  (a list of arguments, no shell)


def write_commands(folder: Path) -> Path:
    """Write what a SuperNode starts instead of Flower's commands, and return the folder.

    All commands that Flower installs to run somebody's code are refused, but for the one that
    runs a ClientApp: it becomes the installed one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scripts = distribution("flwr").entry_points.select(group="console_scripts")
    for name in {ANSWERED, *scripts.names}:
        if name.startswith("flwr-"):
            file = folder / name
            file.write_text(_answer() if name == ANSWERED else _refuse(name))
            file.chmod(0o755)
    return folder


def answer() -> None:
    """Work on one message as ``flwr-clientapp`` does, with the installed ClientApp.

    Raises:
        RuntimeError: this Flower loads apps in another way, so that the app which was sent
            might run.
    """
    from flwr.supernode.cli import flwr_clientapp  # noqa: PLC0415

    # Private to flwr: where it unpacks and loads the app that was sent. Touched here only.
    from flwr.supernode.runtime import run_clientapp  # noqa: PLC0415

    from fedbench.federation.client import client  # noqa: PLC0415

    installed = {
        "install_from_fab": lambda *_, **__: None,
        "get_load_client_app_fn": lambda *_, **__: lambda *_: client,
        "install_app_dependencies": lambda *_, **__: None,
    }
    for name, ours in installed.items():
        if not hasattr(run_clientapp, name):
            raise RuntimeError(f"flwr has no {name} any more; this site would run foreign code.")
        setattr(run_clientapp, name, ours)
    flwr_clientapp()


def _answer() -> str:
    # -P: the folder it is started in must not be able to replace a module.
    return f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m {NAME} --answer "$@"\n'


def _refuse(name: str) -> str:
    return f"#!/bin/sh\necho 'This site runs no {name}.' >&2\nexit 1\n"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer"]:
        del sys.argv[1]
        answer()
    else:
        start(sys.argv[1:])
