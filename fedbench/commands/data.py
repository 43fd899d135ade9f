"""What is known about the datasets, and whether they are here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedbench.commands.shell import (
    A_PATH,
    DONE,
    FAILED,
    PLAIN,
    QUIET,
    WRONG,
    AsJson,
    DataDir,
    Names,
    as_text,
    path_of,
    say,
    store_of,
    writable,
)
from fedbench.errors import DataError, SpecError

if TYPE_CHECKING:
    from fedbench.subject import Subject

__all__ = ["app"]

app = typer.Typer(help="What is known about the datasets, and whether they are here.", **PLAIN)


@app.command("list")
def data_list(*, as_json: AsJson = False) -> None:
    """Say which datasets there are, and under which licences."""
    from fedbench import terminal  # noqa: PLC0415

    found = terminal.datasets()
    typer.echo(as_text(found) if as_json else terminal.table(found))


@app.command()
def describe(
    name: Annotated[str, typer.Argument(help="A dataset (`fedbench data list`).")],
    data_dir: DataDir = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say what is publicly known about a dataset: licence, columns, tasks."""
    from fedbench import terminal  # noqa: PLC0415

    found = terminal.description(name, store_of(data_dir))
    typer.echo(as_text(found) if as_json else terminal.described(found))


@app.command()
def get(
    name: Annotated[str, typer.Argument(help="A dataset (`fedbench data list`).")],
    data_dir: DataDir = None,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Accept the licence, for scripts.")
    ] = False,
) -> None:
    """Download a dataset from its publisher into the data folder; go on with what was begun."""
    from fedbench import download  # noqa: PLC0415
    from fedbench.kinds import DATASETS  # noqa: PLC0415

    store, dataset = store_of(data_dir, new=True), DATASETS.build(name)
    if dataset.embedded:
        typer.echo(f"{name} comes with fedbench: there is nothing to get.")
        return
    advice = download.by_hand(name, dataset, store)
    if not dataset.downloads:
        raise SpecError(f"{name} cannot be fetched from here. {advice}")
    due = download.due(dataset.downloads, store)
    if due and (folder := download.complete(dataset, store)):
        typer.echo(
            f"{folder} has all that {name} needs, in another form: nothing is fetched. For the "
            "publisher's own files, give another --data-dir."
        )
        return
    if due:
        _accepted(download.terms(name, dataset, [download.place(store, one) for one in due]), yes)
    try:
        with download.watching(sys.stderr) as observe:
            for wanted in due:
                download.Fetcher().fetch(wanted, download.place(store, wanted), observe)
    except DataError as error:
        raise DataError(f"{error} {advice}") from error
    typer.echo(f"{name} is in {store.root}. Next: `fedbench data check {name}`.")


def _accepted(terms: str, yes: bool) -> None:  # noqa: FBT001  (it is what the option says)
    """Show the licence, and ask once."""
    typer.echo(terms, err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise SpecError("Nobody is here to accept the licence: give --yes, or use a terminal.")
    if not typer.confirm("Do you accept the licence, and is all of it to be fetched?", err=True):
        raise typer.Exit(say("nothing was fetched.", FAILED))


@app.command()
def check(
    what: Annotated[
        str,
        typer.Argument(
            metavar="NAME|PATH",
            help="A dataset (`fedbench data list`), or a folder or file of yours.",
        ),
    ],
    data_dir: DataDir = None,
    *,
    known_as: Annotated[
        str,
        typer.Option(
            "--as",
            help="The dataset that the folder holds. Default: the one most of whose tables are "
            "there.",
            **QUIET,
        ),
    ] = "",
    schema: Annotated[
        Path | None, typer.Option(help="What the columns of a table of yours mean.", **A_PATH)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load records, compare each with the schema, and say what is missing or to look at again."""
    from fedbench import checkup  # noqa: PLC0415
    from fedbench.subject import subject  # noqa: PLC0415

    store = store_of(data_dir)
    asked = subject(what, store, known_as=known_as, schema=schema)
    if asked.lacking:
        _lacking(asked, as_json=as_json)
    found = checkup.check(asked, store)
    typer.echo(as_text(found) if as_json else checkup.shown(found))


def _lacking(asked: Subject, *, as_json: bool) -> None:
    """Say all that is missing, each in a line of its own."""
    if as_json:
        typer.echo(as_text({"dataset": asked.name, "path": asked.path, "missing": asked.lacking}))
    where = f"{asked.path}, read as {asked.name}" if asked.path else asked.name
    say(f"{where}: {len(asked.lacking)} missing:", WRONG)
    for line in asked.lacking:
        typer.echo(f"  {line}", err=True)
    raise typer.Exit(WRONG)


@app.command("infer")
def infer_(
    table: Annotated[
        Path,
        typer.Argument(
            parser=path_of, metavar="TABLE", help="A CSV or parquet file, or a cohort folder."
        ),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The schema file to write. Default: print it.", **A_PATH),
    ] = None,
    patient: Annotated[
        str, typer.Option("--id", help="The column that says who a patient is.", **QUIET)
    ] = "",
    category: Annotated[
        Names, typer.Option(help="A column of codes or categories, not of numbers. Repeatable.")
    ] = None,
) -> None:
    """Draft a schema from a table of yours, for you to correct."""
    from fedbench import infer  # noqa: PLC0415

    if out and out.exists():
        raise SpecError(f"--out {str(out)!r} is there already; what you corrected is not replaced.")
    if out:
        writable("--out", out.parent)
    text = infer.written(infer.inferred(table, patient, category or ()), table)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        text = f"{out}\n"
    typer.echo(text, nl=False)
    file = out or "mine.toml"
    kept = "" if out else f"keep this as a file (-o {file}), "
    say(f"{kept}correct it, then: `fedbench data check {table} --schema {file}`.", DONE)
