"""The command ``fedbench``.

At the top stand typer and the standard library only: ``fedbench --help`` answers at once.
Results go to stdout, everything else to stderr. The exit status is told by `fedbench --help`.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from fedbench.errors import DataError, FedbenchError, SpecError

if TYPE_CHECKING:
    from fedbench.config import Suite
    from fedbench.data import DataStore
    from fedbench.examine import Examination
    from fedbench.given import Asked
    from fedbench.leaderboards.board import Board
    from fedbench.leaderboards.bundle import Bundle
    from fedbench.leaderboards.entries import Entry
    from fedbench.leaderboards.verification import Verified
    from fedbench.results import RunDir
    from fedbench.runner import Event
    from fedbench.subject import Subject

__all__ = ["app", "main"]

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

DATA = "FEDBENCH_DATA"
"""The variable that names the data folder."""

RUNS = Path("runs")
"""Where runs go that are told no other place."""

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

PLAIN: Mapping[str, Any] = {
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "suggest_commands": False,  # click does
}
# Where typer shows that something is needed, a default or a range, it would import rich, which is
# slow, and escape brackets for it, whatever the markup mode.
typer.core.HAS_RICH = False
QUIET: Mapping[str, Any] = {"show_default": False}
app = typer.Typer(
    help="What hospitals gain, give away and pay when they train a generator of synthetic "
    "health records together without sharing records.",
    epilog="Exit status: 0 done; 1 a cell failed, a gate was not passed, or fedbench itself broke; "
    "2 the input is wrong; 130 interrupted.",
    **PLAIN,
)
data = typer.Typer(help="What is known about the datasets, and whether they are here.", **PLAIN)
app.add_typer(data, name="data")
leaderboard = typer.Typer(help="Verify bundles, and rank what was submitted.", **PLAIN)
app.add_typer(leaderboard, name="leaderboard")

# The base of all of click's usage errors; click itself is typer's own business.
UsageError: type[Any] = typer.BadParameter.__bases__[0]


def _path_of(text: str) -> Path:
    if not text:
        raise typer.BadParameter("expected a path, found an empty text.")
    return Path(text)


A_PATH: Mapping[str, Any] = {"parser": _path_of, "metavar": "PATH"}
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
        return _say(f"{error.format_message()} See `{_path(error)} --help`.", WRONG)
    except typer.Abort:  # what click makes of Ctrl-C
        return _say("interrupted.", INTERRUPTED)
    except Exception as error:  # noqa: BLE001  (nothing goes on after this)
        if (words := _told(error)) is None:
            return _crashed(error, debug=debug)
        if debug:
            traceback.print_exc()
        return _say(words, WRONG)
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


@app.command()
def run(  # noqa: PLR0913  (a command's options are its arguments)
    suite: Annotated[
        str | None,
        typer.Argument(help="A suite by name (`fedbench list suites`) or a TOML file.  [quick]"),
    ] = None,
    *,
    dataset: Annotated[
        Names,
        typer.Option(
            "-d", "--dataset", help="Only this. One that the suite lacks is added. Repeatable."
        ),
    ] = None,
    generator: Annotated[
        Names,
        typer.Option(
            "-g",
            "--generator",
            help="Only this, by name, label or module:Class. One that the suite lacks is added. "
            "Repeatable.",
        ),
    ] = None,
    scenario: Annotated[Names, typer.Option(help="Only this of the suite. Repeatable.")] = None,
    regime: Annotated[
        Names,
        typer.Option(help="Only federated, centralized, local or mixture. Repeatable."),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Only these: 0,1,2 or 0-4.")] = None,
    settings: Annotated[
        Names,
        typer.Option(
            "--set", help="Change a setting: suite.records=500, tvae.latent=8. Repeatable."
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", help="Jobs at a time. Default: all cores.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda. Default: as the suite says.")
    ] = None,
    out: Out = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Finish this run; what is done is not done again.", **A_PATH),
    ] = None,
    data_dir: DataDir = None,
    engine: Annotated[
        str, typer.Option(help="What federations run on: inprocess.", **QUIET)
    ] = "inprocess",
    executor: Annotated[str, typer.Option(help="What jobs run on: local.", **QUIET)] = "local",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, or is left.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train and score all that a suite asks for; write a report."""
    _one_of("--engine", engine, ["inprocess"])
    _one_of("--executor", executor, ["local"])
    if jobs is not None and jobs < 1:
        raise SpecError(f"--jobs is {jobs}; expected at least 1.")
    from fedbench.config import (  # noqa: PLC0415
        DEVICES,
        REGIMES,
        Overrides,
        additions,
        read_suite,
    )
    from fedbench.overrides import seeds_of  # noqa: PLC0415

    for name in regime or ():
        _one_of("--regime", name, REGIMES)
    if device is not None:
        _one_of("--device", device, DEVICES)
    asked = Overrides(
        datasets=tuple(dataset or ()),
        generators=tuple(generator or ()),
        scenarios=tuple(scenario or ()),
        regimes=tuple(dict.fromkeys(regime or ())),
        seeds=() if seeds is None else seeds_of(seeds),
        device=device or "",
        settings=tuple(settings or ()),
    )
    if resume:
        found, more = _suite_of(resume), ""
        _nothing_beside_resume(suite, out, as_written=asked == Overrides())
    else:
        name = "quick" if suite is None else suite
        found, more = read_suite(name, asked), ", ".join(additions(name, asked))
    added = f"added to what is in the suite {found.name!r}: {more}." if more else ""
    store = _store(data_dir)
    if dry_run:
        return _plan(found, store, resume, added, as_json=as_json)
    from fedbench import runner  # noqa: PLC0415
    from fedbench.doctor import cores  # noqa: PLC0415

    out = out or RUNS
    _writable("--resume" if resume else "--out", resume or out)
    start = partial(runner.run, found, out=out, resume=resume, jobs=jobs or cores(), store=store)
    done = _watched(start, resume, added)
    return _ended(done, runner.failures(done), as_json=as_json)


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
        _one_of("KIND", kind, list(kinds))
        kinds = {kind: kinds[kind]}
    found = {name: summaries() for name, summaries in kinds.items()}
    typer.echo(_json(found) if as_json else terminal.named_lists(found))


def _numbers(plural: str) -> Sequence[str]:
    return plural, plural.removesuffix("s"), plural.removesuffix("ies") + "y"


@data.command("list")
def data_list(*, as_json: AsJson = False) -> None:
    """Say which datasets there are, and under which licences."""
    from fedbench import terminal  # noqa: PLC0415

    found = terminal.datasets()
    typer.echo(_json(found) if as_json else terminal.table(found))


@data.command()
def describe(
    name: Annotated[str, typer.Argument(help="A dataset (`fedbench data list`).")],
    data_dir: DataDir = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say what is publicly known about a dataset: licence, columns, tasks."""
    from fedbench import terminal  # noqa: PLC0415

    found = terminal.description(name, _store(data_dir))
    typer.echo(_json(found) if as_json else terminal.described(found))


@data.command()
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

    store, dataset = _store(data_dir, new=True), DATASETS.build(name)
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
        raise typer.Exit(_say("nothing was fetched.", FAILED))


@data.command()
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

    store = _store(data_dir)
    asked = subject(what, store, known_as=known_as, schema=schema)
    if asked.lacking:
        _lacking(asked, as_json=as_json)
    found = checkup.check(asked, store)
    typer.echo(_json(found) if as_json else checkup.shown(found))


def _lacking(asked: Subject, *, as_json: bool) -> None:
    """Say all that is missing, each in a line of its own."""
    if as_json:
        typer.echo(_json({"dataset": asked.name, "path": asked.path, "missing": asked.lacking}))
    where = f"{asked.path}, read as {asked.name}" if asked.path else asked.name
    _say(f"{where}: {len(asked.lacking)} missing:", WRONG)
    for line in asked.lacking:
        typer.echo(f"  {line}", err=True)
    raise typer.Exit(WRONG)


@data.command("infer")
def infer_(
    table: Annotated[
        Path,
        typer.Argument(
            parser=_path_of, metavar="TABLE", help="A CSV or parquet file, or a cohort folder."
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
        _writable("--out", out.parent)
    text = infer.written(infer.inferred(table, patient, category or ()), table)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        text = f"{out}\n"
    typer.echo(text, nl=False)
    file = out or "mine.toml"
    kept = "" if out else f"keep this as a file (-o {file}), "
    _say(f"{kept}correct it, then: `fedbench data check {table} --schema {file}`.", DONE)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="The folder that `fedbench run` made.", **A_PATH)],
) -> None:
    """Render the report of a run again."""
    from fedbench.report import write  # noqa: PLC0415
    from fedbench.results import RunDir  # noqa: PLC0415
    from fedbench.runner import suite_of_run  # noqa: PLC0415

    found = RunDir.open(run)
    if not found.given:
        suite_of_run(found)
    found.answers()
    found.check()
    typer.echo(write(found))


@app.command()
def score(  # noqa: PLR0913  (a command's options are its arguments)
    run: Annotated[Path, typer.Argument(help="The folder that `fedbench run` made.", **A_PATH)],
    *,
    metric: Annotated[
        Names, typer.Option(help="Ask this metric as well, and nothing else. Repeatable.")
    ] = None,
    attack: Annotated[
        Names, typer.Option(help="Play this attack as well, and nothing else. Repeatable.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", help="Jobs at a time. Default: all cores.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Score a run again from its stored records; nothing is trained."""
    if jobs is not None and jobs < 1:
        raise SpecError(f"--jobs is {jobs}; expected at least 1.")
    from dataclasses import asdict  # noqa: PLC0415

    from fedbench import runner, terminal  # noqa: PLC0415
    from fedbench.doctor import cores  # noqa: PLC0415
    from fedbench.progress import watching  # noqa: PLC0415
    from fedbench.rescoring import rescore  # noqa: PLC0415
    from fedbench.results import RunDir  # noqa: PLC0415

    done = RunDir.open(run)
    _writable("RUN", run)
    try:
        with watching(sys.stderr) as observe:
            found = rescore(
                done,
                metrics=tuple(metric or ()),
                attacks=tuple(attack or ()),
                jobs=jobs or cores(),
                store=_store(data_dir),
                observe=observe,
            )
    except KeyboardInterrupt:
        raise typer.Exit(
            _say(f"interrupted. Begin again with `fedbench score {run}`.", INTERRUPTED)
        ) from None
    failures = runner.failures(done)
    if as_json:
        typer.echo(_json({**_where(done), **asdict(found), "failures": failures}))
    else:
        typer.echo(f"{terminal.rescored(found)}\n\nReport: {done.path / 'report.html'}")
    for line in failures:
        _say(line, FAILED)
    if failures:
        raise typer.Exit(FAILED)


Trained = Annotated[
    Path | None,
    typer.Option("--train", help="Needed: who was trained on; CSV, parquet or a folder.", **A_PATH),
]
MadeUp = Annotated[
    Path | None,
    typer.Option("--synthetic", help="Needed: the records to be examined.", **A_PATH),
]
OfColumns = Annotated[
    Path | None,
    typer.Option("--schema", help="What the columns mean. Default: it is drafted.", **A_PATH),
]
Secret = Annotated[
    Names,
    typer.Option("--sensitive", help="A column that the attacker tries to guess. Repeatable."),
]
WhoIsWho = Annotated[
    str, typer.Option("--id", help="The column that says who a patient is.", **QUIET)
]


@app.command()
def evaluate(  # noqa: PLR0913  (a command's options are its arguments)
    *,
    train: Trained = None,
    test: Annotated[
        Path | None, typer.Option(help="Needed: like patients, not trained on.", **A_PATH)
    ] = None,
    synthetic: MadeUp = None,
    schema: OfColumns = None,
    predict: Annotated[
        Names,
        typer.Option(help="A column that models are to foresee from the others. Repeatable."),
    ] = None,
    sensitive: Secret = None,
    patient: WhoIsWho = "",
    records: Annotated[
        int | None,
        typer.Option(help="Score at most so many synthetic records.  [10000]", **QUIET),
    ] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Say how good synthetic records are, whoever made them: fidelity, utility, leaks."""
    paths = {"train": train, "test": test, "synthetic": synthetic}
    real, release = _parts(paths, "evaluate")
    from fedbench import given, terminal  # noqa: PLC0415
    from fedbench.examine import EVALUATION  # noqa: PLC0415

    if records is not None and records < given.FEWEST:
        raise SpecError(f"--records is {records}; expected at least {given.FEWEST}.")
    asked = given.Asked(
        parts=real,
        synthetic=release,
        schema=schema,
        sensitive=tuple(sensitive or ()),
        patient=patient,
        predict=tuple(predict or ()),
        records=records or given.MOST,
    )
    done, failures = _examined(EVALUATION, asked, out)
    if as_json:
        typer.echo(_json({**_where(done), **terminal.answers(done), "failures": failures}))
    else:
        typer.echo(terminal.evaluated(done))
    for line in failures:
        _say(line, FAILED)
    if failures:
        raise typer.Exit(FAILED)


@app.command()
def audit(  # noqa: PLR0913  (a command's options are its arguments)
    *,
    train: Trained = None,
    control: Annotated[
        Path | None, typer.Option(help="Needed: like patients, not trained on.", **A_PATH)
    ] = None,
    synthetic: MadeUp = None,
    reference: Annotated[
        Path | None, typer.Option(help="Other such patients, for the attacker.", **A_PATH)
    ] = None,
    schema: OfColumns = None,
    sensitive: Secret = None,
    patient: WhoIsWho = "",
    fail_over: Annotated[
        float | None,
        typer.Option(
            "--fail-over",
            metavar="RISK",
            help="Exit with 1 if a larger share than this, such as 0.05, is shown to be given away "
            "(of patients, and by `singling` of descriptions), or if nothing can be said.",
        ),
    ] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Say what synthetic records give away about the patients they were made from."""
    paths = {"train": train, "control": control, "synthetic": synthetic}
    real, release = _parts(paths, "audit")
    if fail_over is not None and not 0 <= fail_over < 1:
        raise SpecError(
            f"--fail-over is {fail_over:g}; expected a share from 0 to below 1, such as 0.05 for "
            "one patient in twenty."
        )
    from fedbench import terminal  # noqa: PLC0415
    from fedbench.audit import gate  # noqa: PLC0415
    from fedbench.examine import AUDIT  # noqa: PLC0415
    from fedbench.given import Asked  # noqa: PLC0415
    from fedbench.report import facts  # noqa: PLC0415

    asked = Asked(
        parts=real | ({"reference": reference} if reference else {}),
        synthetic=release,
        schema=schema,
        sensitive=tuple(sensitive or ()),
        patient=patient,
    )
    done, failures = _examined(AUDIT, asked, out)
    named = facts.named(facts.suite(done))
    checked = None if fail_over is None else gate(done.results(), fail_over, named)
    if as_json:
        passed = {} if checked is None else {"passed": checked.passed}
        told = {**_where(done), **terminal.verdict(done), "failures": failures, **passed}
        typer.echo(_json(told))
    else:
        typer.echo(terminal.audited(done))
    for line in failures:
        _say(line, FAILED)
    if checked is not None:
        _say(checked.text, DONE)
    if failures or (checked is not None and not checked.passed):
        raise typer.Exit(FAILED)


def _parts(paths: Mapping[str, Path | None], command: str) -> tuple[dict[str, Path], Path]:
    """Return the tables of real patients, and the synthetic one; all of them are needed."""
    there = {name: path for name, path in paths.items() if path is not None}
    # Where typer itself asks for an option it imports rich.
    if lacking := [name for name in paths if name not in there]:
        raise SpecError(f"Missing option '--{lacking[0]}'. See `fedbench {command} --help`.")
    return {name: path for name, path in there.items() if name != "synthetic"}, there["synthetic"]


def _examined(what: Examination, asked: Asked, out: Path | None) -> tuple[RunDir, Sequence[str]]:
    """Examine records from outside; say first what is compared."""
    from fedbench import runner, terminal  # noqa: PLC0415
    from fedbench.examine import perform  # noqa: PLC0415
    from fedbench.given import prepare  # noqa: PLC0415

    say = partial(typer.echo, err=True)
    folder = out or RUNS
    _writable("--out", folder)
    case = prepare(asked)
    say(terminal.compared(case))
    done = perform(what, case, folder, say)
    return done, runner.failures(done)


def _where(done: RunDir) -> Mapping[str, str]:
    return {"run": str(done.path), "report": str(done.path / "report.html")}


@app.command()
def compare(  # noqa: PLR0913  (a command's options are its arguments)
    base: Annotated[
        Path, typer.Argument(help="The run that was good.", parser=_path_of, metavar="BASE")
    ],
    head: Annotated[
        Path, typer.Argument(help="The run that may be worse.", parser=_path_of, metavar="HEAD")
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
        _writable("--out", out)
    found = comparing.plain(comparing.compare(base, head, asked))
    written = files.write_comparison(found, out) if out is not None else None
    typer.echo(_json(found) if as_json else comparison.terminal(found))
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

    found = examine(_store(data_dir), out or RUNS)
    typer.echo(_json(found) if as_json else terminal.examined(found))


# The leaderboard


BoardName = Annotated[
    str, typer.Option("--board", help="A board by name, or a TOML file.  [hospitals]", **QUIET)
]
Entries = Annotated[
    Path | None,
    typer.Option(help="The folder of what was added. Default: board.", **A_PATH),
]
Bundled = Annotated[Path, typer.Argument(help="What `fedbench submit` wrote.", **A_PATH)]
Jobs = Annotated[
    int | None, typer.Option("-j", "--jobs", help="Jobs at a time. Default: all cores.")
]


@app.command()
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
    _writable("--out", file.parent)
    pack(found, read_board(board), file, _store(data_dir))
    typer.echo(file)


@leaderboard.command()
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
        typer.echo(_json(facts | {"mismatches": list(found.mismatches)}))
    elif not found.mismatches:
        typer.echo(
            f"{bundle}: {found.recomputed:,} rows come out as submitted; {found.attested:,} are "
            "attested (bytes, as the submitted ledger has them), and so are seconds."
        )
    _refuse(bundle, found.mismatches)


@leaderboard.command("add")
def leaderboard_add(
    bundle: Bundled, board: BoardName = "hospitals", entries: Entries = None, jobs: Jobs = None
) -> None:
    """Verify a bundle, and put its rows on a board."""
    from fedbench.leaderboards.board import read_board  # noqa: PLC0415
    from fedbench.leaderboards.bundle import Bundle  # noqa: PLC0415
    from fedbench.leaderboards.entries import ENTRIES, add, check_room  # noqa: PLC0415

    asked, folder = read_board(board), entries or Path(ENTRIES)
    _writable("--entries", folder)
    opened = Bundle.open(bundle)
    check_room(opened, asked, folder)
    found = _verified(opened, asked, jobs)
    _refuse(bundle, found.mismatches)
    typer.echo(add(found, asked, folder).path)


@leaderboard.command()
def show(
    board: BoardName = "hospitals", entries: Entries = None, *, as_json: AsJson = False
) -> None:
    """Show a board: every generator and regime, each number with its range and rank."""
    from fedbench import terminal  # noqa: PLC0415
    from fedbench.leaderboards import pages, ranking  # noqa: PLC0415

    asked, found = _entries(board, entries)
    if as_json:
        typer.echo(_json(pages.facts(asked, found)))
        return
    for table in ranking.tables(asked, found):
        typer.echo(f"{table.dataset} · {table.scenario}\n{terminal.table(pages.rows(table))}\n")
    typer.echo(ranking.RULE if found else f"There is nothing on the board {asked.name!r} yet.")


@leaderboard.command()
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
    _writable("--out", file.parent)
    pages.write(file, pages.page(*_entries(board, entries)))
    typer.echo(file)


def _verified(bundle: Bundle, board: Board, jobs: int | None) -> Verified:
    from fedbench.doctor import cores  # noqa: PLC0415
    from fedbench.leaderboards.verification import verify as check  # noqa: PLC0415
    from fedbench.progress import watching  # noqa: PLC0415

    if jobs is not None and jobs < 1:
        raise SpecError(f"--jobs is {jobs}; expected at least 1.")
    with watching(sys.stderr) as observe:
        return check(bundle, board, _store(None), jobs or cores(), observe)


def _refuse(bundle: Path, mismatches: Sequence[str], most: int = 20) -> None:
    """Name what does not fit, each in a line of its own."""
    if mismatches:
        count = len(mismatches)
        things = f"{count:,} things do" if count > 1 else "one thing does"
        _say(f"{bundle} is refused: {things} not come out as submitted:", WRONG)
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


def _watched(start: Callable[..., RunDir], resume: Path | None, added: str) -> RunDir:
    """Start a run and show what it does; say how to go on when it is interrupted."""
    from fedbench.progress import watching  # noqa: PLC0415

    place = [str(resume)] if resume else []
    try:
        with watching(sys.stderr) as show:

            def observe(event: Event) -> None:
                if event.kind == "plan":
                    place[:] = [event.note]
                    if added:
                        _say(added, DONE)
                show(event)

            return start(observe=observe)
    except KeyboardInterrupt:
        advice = f" Go on with `fedbench run --resume {place[0]}`." if place else ""
        raise typer.Exit(_say(f"interrupted.{advice}", INTERRUPTED)) from None


def _ended(done: RunDir, failures: Sequence[str], *, as_json: bool) -> None:
    from fedbench import terminal  # noqa: PLC0415

    page = done.path / "report.html"
    if as_json:
        facts = {"run": str(done.path), "report": str(page), "failures": list(failures)}
        typer.echo(_json(facts))
    else:
        typer.echo(f"{terminal.primary(done)}\n\nReport: {page}")
    if failures:
        listed = "".join(f"\n  {line}" for line in failures)
        typer.echo(f"fedbench: {len(failures)} failed:{listed}", err=True)
        raise typer.Exit(FAILED)


def _plan(
    suite: Suite, store: DataStore, resume: Path | None, added: str, *, as_json: bool
) -> None:
    from dataclasses import asdict  # noqa: PLC0415

    from fedbench import runner, terminal  # noqa: PLC0415
    from fedbench.results import RunDir  # noqa: PLC0415

    plan = runner.plan(suite, store, RunDir.open(resume) if resume else None)
    if added:
        _say(added, DONE)
    typer.echo(_json(asdict(plan)) if as_json else terminal.planned(plan))


def _suite_of(resume: Path) -> Suite:
    from fedbench.results import RunDir  # noqa: PLC0415
    from fedbench.runner import suite_of_run  # noqa: PLC0415

    return suite_of_run(RunDir.open(resume))


def _nothing_beside_resume(suite: str | None, out: Path | None, *, as_written: bool) -> None:
    if suite is not None or not as_written:
        raise SpecError(
            "--resume finishes a run as it was started: leave out the suite and all that "
            "narrows or changes it."
        )
    if out is not None:
        raise SpecError("--resume finishes a run in its own folder: leave out --out.")


def _store(data_dir: Path | None, *, new: bool = False) -> DataStore:
    from fedbench.data import DataStore  # noqa: PLC0415

    if data_dir is not None and not data_dir.is_dir() and (data_dir.exists() or not new):
        raise SpecError(f"--data-dir: there is no folder {str(data_dir)!r}.")
    if data_dir:
        os.environ[DATA] = str(data_dir.absolute())  # for what this command starts, too
    return DataStore(data_dir) if data_dir else DataStore.default()


def _one_of(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        from fedbench.tables import hint  # noqa: PLC0415

        raise SpecError(
            f"{what} {name!r} does not exist.{hint(name, known)} There is: {', '.join(known)}."
        )


def _writable(option: str, folder: Path) -> None:
    """Find out before hours of work whether there is a place for its results."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise SpecError(f"{option} {str(folder)!r}: {str(there)!r} cannot be written into.")


def _json(found: object) -> str:
    return json.dumps(found, indent=2, ensure_ascii=False)


def _say(message: str, status: int) -> int:
    """Say one thing in one line and return the status."""
    typer.echo(f"fedbench: {' '.join(message.split())}", err=True)
    return status


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
    return _say(f"this should not happen: {what}. The traceback is {where}.", FAILED)
