"""Bundles for leaderboards: packed, verified, ranked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedbench.commands.shell import (
    A_PATH,
    PLAIN,
    QUIET,
    WRONG,
    AsJson,
    DataDir,
    Jobs,
    as_text,
    check_jobs,
    say,
    store_of,
    writable,
)
from fedbench.errors import SpecError

if TYPE_CHECKING:
    from fedbench.leaderboards.board import Board
    from fedbench.leaderboards.bundle import Bundle
    from fedbench.leaderboards.entries import Entry
    from fedbench.leaderboards.verification import Verified

__all__ = ["app", "submit"]

app = typer.Typer(help="Verify bundles, and rank what was submitted.", **PLAIN)


BoardName = Annotated[
    str, typer.Option("--board", help="A board by name, or a TOML file.  [hospitals]", **QUIET)
]
Entries = Annotated[
    Path | None,
    typer.Option(help="The folder of what was added. Default: board.", **A_PATH),
]
Bundled = Annotated[Path, typer.Argument(help="What `fedbench submit` wrote.", **A_PATH)]


def submit(
    run: Annotated[Path, typer.Argument(help="The folder that `fedbench run` made.", **A_PATH)],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The file to write. Default: RUN.zip, here.", **A_PATH),
    ] = None,
    board: BoardName = "hospitals",
    data_dir: DataDir = None,
) -> None:
    """Pack a finished run for a leaderboard: rows and synthetic records, no code, nothing real."""
    from fedbench.leaderboards.board import read_board  # noqa: PLC0415
    from fedbench.leaderboards.submission import submit as pack  # noqa: PLC0415
    from fedbench.results import RunDir  # noqa: PLC0415

    found = RunDir.open(run)
    file = out or Path(f"{run.resolve().name}.zip")
    if file.is_dir():
        raise SpecError(f"--out {str(file)!r} is a folder; expected the name of a file.")
    writable("--out", file.parent)
    pack(found, read_board(board), file, store_of(data_dir))
    typer.echo(file)


@app.command()
def verify(
    bundle: Bundled,
    board: BoardName = "hospitals",
    jobs: Jobs = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Score the records of a bundle again, and name every number that comes out otherwise."""
    from fedbench.leaderboards.board import read_board  # noqa: PLC0415
    from fedbench.leaderboards.bundle import Bundle  # noqa: PLC0415

    asked = read_board(board)
    found = _verified(Bundle.open(bundle), asked, jobs)
    facts = {"bundle": str(bundle), "recomputed": found.recomputed, "attested": found.attested}
    if as_json:
        typer.echo(as_text(facts | {"mismatches": list(found.mismatches)}))
    elif not found.mismatches:
        typer.echo(
            f"{bundle}: {found.recomputed:,} rows come out as submitted; {found.attested:,} are "
            "attested (bytes, as the submitted ledger has them), and so are seconds."
        )
    _refuse(bundle, found.mismatches)


@app.command("add")
def leaderboard_add(
    bundle: Bundled, board: BoardName = "hospitals", entries: Entries = None, jobs: Jobs = None
) -> None:
    """Verify a bundle, and put its rows on a board."""
    from fedbench.leaderboards.board import read_board  # noqa: PLC0415
    from fedbench.leaderboards.bundle import Bundle  # noqa: PLC0415
    from fedbench.leaderboards.entries import ENTRIES, add, check_room  # noqa: PLC0415

    asked, folder = read_board(board), entries or Path(ENTRIES)
    writable("--entries", folder)
    opened = Bundle.open(bundle)
    check_room(opened, asked, folder)
    found = _verified(opened, asked, jobs)
    _refuse(bundle, found.mismatches)
    typer.echo(add(found, asked, folder).path)


@app.command()
def show(
    board: BoardName = "hospitals", entries: Entries = None, *, as_json: AsJson = False
) -> None:
    """Show a board: every generator and regime, each number with its range and rank."""
    from fedbench import terminal  # noqa: PLC0415
    from fedbench.leaderboards import pages, ranking  # noqa: PLC0415

    asked, found = _entries(board, entries)
    if as_json:
        typer.echo(as_text(pages.facts(asked, found)))
        return
    for table in ranking.tables(asked, found):
        typer.echo(f"{table.dataset} · {table.scenario}\n{terminal.table(pages.rows(table))}\n")
    typer.echo(ranking.RULE if found else f"There is nothing on the board {asked.name!r} yet.")


@app.command()
def build(
    board: BoardName = "hospitals",
    entries: Entries = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The file to write. Default: leaderboard.html.", **A_PATH),
    ] = None,
) -> None:
    """Write a board as one page that needs nothing else."""
    from fedbench.leaderboards import pages  # noqa: PLC0415

    file = out or Path("leaderboard.html")
    if file.is_dir():
        raise SpecError(f"--out {str(file)!r} is a folder; expected the name of a file.")
    writable("--out", file.parent)
    pages.write(file, pages.page(*_entries(board, entries)))
    typer.echo(file)


def _verified(bundle: Bundle, board: Board, jobs: int | None) -> Verified:
    from fedbench.doctor import cores  # noqa: PLC0415
    from fedbench.leaderboards.verification import verify as check  # noqa: PLC0415
    from fedbench.progress import watching  # noqa: PLC0415

    check_jobs(jobs)
    with watching(sys.stderr) as observe:
        return check(bundle, board, store_of(None), jobs or cores(), observe)


def _refuse(bundle: Path, mismatches: Sequence[str], most: int = 20) -> None:
    """Name what does not fit, each in a line of its own."""
    if mismatches:
        count = len(mismatches)
        things = f"{count:,} things do" if count > 1 else "one thing does"
        say(f"{bundle} is refused: {things} not come out as submitted:", WRONG)
        for line in mismatches[:most]:
            typer.echo(f"  {line}", err=True)
        if len(mismatches) > most:
            typer.echo(f"  and {len(mismatches) - most:,} more (--json lists all)", err=True)
        raise typer.Exit(WRONG)


def _entries(board: str, folder: Path | None) -> tuple[Board, Sequence[Entry]]:
    from fedbench.leaderboards.board import read_board  # noqa: PLC0415
    from fedbench.leaderboards.entries import ENTRIES, entries  # noqa: PLC0415

    if folder is not None and not folder.is_dir():
        raise SpecError(f"--entries: there is no folder {str(folder)!r}.")
    asked = read_board(board)
    return asked, entries(asked, folder or Path(ENTRIES))
