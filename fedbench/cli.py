"""The command ``fedbench``.

At the top stand typer and the standard library only: ``fedbench --help`` answers at once.
Results go to stdout, everything else to stderr. The exit status is told by `fedbench --help`.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from fedbench.commands import board, data, examining, running
from fedbench.commands.shell import (
    A_PATH,
    DATA,
    DONE,
    FAILED,
    INTERRUPTED,
    PLAIN,
    QUIET,
    RUNS,
    WRONG,
    AsJson,
    DataDir,
    Names,
    Out,
    as_text,
    one_of,
    path_of,
    say,
    store_of,
    writable,
)
from fedbench.errors import FedbenchError

__all__ = ["app", "main"]

THE_SYSTEMS = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
"""What a file system refuses is no mistake of ours."""

ROOM = " Make room; an unfinished run goes on with `fedbench run --resume RUN`."

app = typer.Typer(
    help="What hospitals gain, give away and pay when they train a generator of synthetic "
    "health records together without sharing records.",
    epilog="Exit status: 0 done; 1 a cell failed, a gate was not passed, or fedbench itself broke; "
    "2 the input is wrong; 130 interrupted.",
    **PLAIN,
)
app.add_typer(data.app, name="data")
app.add_typer(board.app, name="leaderboard")

# The base of all of click's usage errors; click itself is typer's own business.
UsageError: type[Any] = typer.BadParameter.__bases__[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    command = typer.main.get_command(app)
    try:
        with _kept(DATA):
            status = command.main(args=given, prog_name="fedbench", standalone_mode=False)
    except UsageError as error:
        return say(f"{error.format_message()} See `{_path(error)} --help`.", WRONG)
    except typer.Abort:  # what click makes of Ctrl-C
        return say("interrupted.", INTERRUPTED)
    except Exception as error:  # noqa: BLE001  (nothing goes on after this)
        if (words := _told(error)) is None:
            return _crashed(error, debug=debug)
        if debug:
            traceback.print_exc()
        return say(words, WRONG)
    return status if isinstance(status, int) else DONE


@contextmanager
def _kept(variable: str) -> Iterator[None]:
    """Leave a variable of the environment as it was found."""
    before = os.environ.get(variable)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[  # noqa: ARG001  (taken out by `main`, so that it may stand anywhere)
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    if version:
        from importlib.metadata import version as version_of  # noqa: PLC0415

        typer.echo(f"fedbench {version_of('fedbench-ehr')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command()(running.run)


@app.command("list")
def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="datasets, partitioners, generators, strategies, codecs, metrics, attacks or "
            "suites. Default: all."
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say which plug-ins and suites there are."""
    from fedbench import terminal  # noqa: PLC0415

    kinds = terminal.kinds()
    if kind is not None:
        kind = next((name for name in kinds if kind in _numbers(name)), kind)
        one_of("KIND", kind, list(kinds))
        kinds = {kind: kinds[kind]}
    found = {name: summaries() for name, summaries in kinds.items()}
    typer.echo(as_text(found) if as_json else terminal.named_lists(found))


def _numbers(plural: str) -> Sequence[str]:
    return plural, plural.removesuffix("s"), plural.removesuffix("ies") + "y"


app.command()(running.report)
app.command()(running.score)
app.command()(examining.evaluate)
app.command()(examining.audit)


@app.command()
def compare(  # noqa: PLR0913  (a command's options are its arguments)
    base: Annotated[
        Path, typer.Argument(help="The run that was good.", parser=path_of, metavar="BASE")
    ],
    head: Annotated[
        Path, typer.Argument(help="The run that may be worse.", parser=path_of, metavar="HEAD")
    ],
    *,
    generator: Annotated[
        Names, typer.Option("-g", "--generator", help="Judge only this, by label. Repeatable.")
    ] = None,
    dataset: Annotated[
        Names, typer.Option("-d", "--dataset", help="Judge only this. Repeatable.")
    ] = None,
    tolerance: Annotated[
        Names,
        typer.Option(help="How much worse a measure may be: marginals=0.02. Repeatable."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where compare.md, .json and .xml (JUnit) are written.", **A_PATH),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a run became worse than an earlier one of the same suite; exit 1 if so."""
    from fedbench import compare as comparing  # noqa: PLC0415
    from fedbench.report import comparison, files  # noqa: PLC0415

    asked = comparing.Asked(
        tolerance=comparing.tolerances(tolerance or ()),
        generators=tuple(generator or ()),
        datasets=tuple(dataset or ()),
    )
    if out is not None:
        writable("--out", out)
    found = comparing.plain(comparing.compare(base, head, asked))
    written = files.write_comparison(found, out) if out is not None else None
    typer.echo(as_text(found) if as_json else comparison.terminal(found))
    if written and not as_json:
        typer.echo(f"\nWritten: {written}")
    if found["regressed"]:
        raise typer.Exit(FAILED)


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="generator, metric, attack or dataset.")],
    name: Annotated[str, typer.Argument(help="The file's name without .py.")],
    out: Annotated[
        Path, typer.Option("--out", help="Where to write. Default: here.", **A_PATH, **QUIET)
    ] = Path(),
) -> None:
    """Write a plug-in that works, in one file, and its test."""
    from fedbench.new import new as write  # noqa: PLC0415

    plugin, test = write(kind, name, out)
    typer.echo(f"{plugin}\n{test}")
    typer.echo(f"Check it (pip install pytest): python -m pytest {test}", err=True)


@app.command()
def doctor(
    data_dir: DataDir = None,
    out: Out = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say what fedbench would run on: versions, threads, memory, data."""
    from fedbench import terminal  # noqa: PLC0415
    from fedbench.doctor import examine  # noqa: PLC0415

    found = examine(store_of(data_dir), out or RUNS)
    typer.echo(as_text(found) if as_json else terminal.examined(found))


app.command()(board.submit)


def _told(error: Exception) -> str | None:
    """Return what to say of an error that is no mistake of ours."""
    if isinstance(error, OSError) and error.errno in THE_SYSTEMS:
        where = error.filename or "what was found could not be written"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return f"{where}: {error.strerror}.{ROOM if full else ''}"
    return str(error) if isinstance(error, FedbenchError) else None


def _path(error: Any) -> str:
    return error.ctx.command_path if error.ctx else "fedbench"


def _crashed(error: Exception, *, debug: bool) -> int:
    """Tell of a mistake of ours, and keep the traceback for whoever mends it."""
    if debug:
        traceback.print_exception(error)
        where = "above"
    else:
        with tempfile.NamedTemporaryFile(
            "w", prefix="fedbench-", suffix=".log", delete=False, encoding="utf-8"
        ) as file:
            traceback.print_exception(error, file=file)
        where = f"in {file.name}"
    what = f"{type(error).__name__}: {error}"
    return say(f"this should not happen: {what}. The traceback is {where}.", FAILED)
