"""What all commands share: their options, their places, and how they speak.

At the top stand typer and the standard library only: ``fedbench --help`` answers at once.
Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from fedbench.errors import SpecError

if TYPE_CHECKING:
    from fedbench.data import DataStore
    from fedbench.results import RunDir

__all__ = [
    "A_PATH",
    "DATA",
    "DONE",
    "FAILED",
    "INTERRUPTED",
    "PLAIN",
    "QUIET",
    "RUNS",
    "WRONG",
    "AsJson",
    "DataDir",
    "Jobs",
    "Names",
    "Out",
    "as_text",
    "check_jobs",
    "one_of",
    "path_of",
    "say",
    "store_of",
    "where",
    "writable",
]

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

DATA = "FEDBENCH_DATA"
"""The variable that names the data folder."""

RUNS = Path("runs")
"""Where runs go that are told no other place."""

PLAIN: Mapping[str, Any] = {
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "suggest_commands": False,  # click does
}
# Where typer shows that something is needed, a default or a range, it would import rich, which is
# slow, and escape brackets for it, whatever the markup mode.
typer.core.HAS_RICH = False
QUIET: Mapping[str, Any] = {"show_default": False}


def path_of(text: str) -> Path:
    """Return the path that an option names, which is not empty."""
    if not text:
        raise typer.BadParameter("expected a path, found an empty text.")
    return Path(text)


A_PATH: Mapping[str, Any] = {"parser": path_of, "metavar": "PATH"}
"""``Path("")`` is the current folder, which nobody means who writes ``--out "$FORGOTTEN"``."""

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Where data folders are. Default: the variable FEDBENCH_DATA.",
        **A_PATH,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(help="Where the run's folder is made. Default: runs.", **A_PATH),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Names = list[str] | None
Jobs = Annotated[
    int | None, typer.Option("-j", "--jobs", help="Jobs at a time. Default: all cores.")
]


def check_jobs(jobs: int | None) -> None:
    """Refuse fewer than one job at a time.

    Raises:
        SpecError: there are fewer.
    """
    if jobs is not None and jobs < 1:
        raise SpecError(f"--jobs is {jobs}; expected at least 1.")


def store_of(data_dir: Path | None, *, new: bool = False) -> DataStore:
    """Return where datasets are, for this command and what it starts; ``new`` may be made.

    Raises:
        SpecError: there is no such folder.
    """
    from fedbench.data import DataStore  # noqa: PLC0415

    if data_dir is not None and not data_dir.is_dir() and (data_dir.exists() or not new):
        raise SpecError(f"--data-dir: there is no folder {str(data_dir)!r}.")
    if data_dir:
        os.environ[DATA] = str(data_dir.absolute())  # for what this command starts, too
    return DataStore(data_dir) if data_dir else DataStore.default()


def one_of(what: str, name: str, known: Sequence[str]) -> None:
    """Refuse a name that is not known, and say which ones are.

    Raises:
        SpecError: it is not known.
    """
    if name not in known:
        from fedbench.tables import hint  # noqa: PLC0415

        raise SpecError(
            f"{what} {name!r} does not exist.{hint(name, known)} There is: {', '.join(known)}."
        )


def writable(option: str, folder: Path) -> None:
    """Find out before hours of work whether there is a place for its results.

    Raises:
        SpecError: there is none.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise SpecError(f"{option} {str(folder)!r}: {str(there)!r} cannot be written into.")


def as_text(found: object) -> str:
    """Return JSON for people and scripts."""
    return json.dumps(found, indent=2, ensure_ascii=False)


def say(message: str, status: int) -> int:
    """Say one thing in one line and return the status."""
    typer.echo(f"fedbench: {' '.join(message.split())}", err=True)
    return status


def where(done: RunDir) -> Mapping[str, str]:
    """Return the folder of a run and its report, for scripts."""
    return {"run": str(done.path), "report": str(done.path / "report.html")}
