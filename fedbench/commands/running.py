"""Commands that train, score again and render."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedbench.commands.shell import (
    A_PATH,
    DONE,
    FAILED,
    INTERRUPTED,
    QUIET,
    RUNS,
    AsJson,
    DataDir,
    Jobs,
    Names,
    Out,
    as_text,
    check_jobs,
    one_of,
    say,
    store_of,
    where,
    writable,
)
from fedbench.errors import SpecError

if TYPE_CHECKING:
    from fedbench.config import Suite
    from fedbench.data import DataStore
    from fedbench.results import RunDir
    from fedbench.runner import Event

__all__ = ["report", "run", "score"]


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
    jobs: Jobs = None,
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
    one_of("--engine", engine, ["inprocess"])
    one_of("--executor", executor, ["local"])
    check_jobs(jobs)
    from fedbench.config import (  # noqa: PLC0415
        DEVICES,
        REGIMES,
        Overrides,
        additions,
        read_suite,
    )
    from fedbench.overrides import seeds_of  # noqa: PLC0415

    for name in regime or ():
        one_of("--regime", name, REGIMES)
    if device is not None:
        one_of("--device", device, DEVICES)
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
    store = store_of(data_dir)
    if dry_run:
        return _plan(found, store, resume, added, as_json=as_json)
    from fedbench import runner  # noqa: PLC0415
    from fedbench.doctor import cores  # noqa: PLC0415

    out = out or RUNS
    writable("--resume" if resume else "--out", resume or out)
    start = partial(runner.run, found, out=out, resume=resume, jobs=jobs or cores(), store=store)
    done = _watched(start, resume, added)
    return _ended(done, runner.failures(done), as_json=as_json)


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


def score(  # noqa: PLR0913  (a command's options are its arguments)
    run: Annotated[Path, typer.Argument(help="The folder that `fedbench run` made.", **A_PATH)],
    *,
    metric: Annotated[
        Names, typer.Option(help="Ask this metric as well, and nothing else. Repeatable.")
    ] = None,
    attack: Annotated[
        Names, typer.Option(help="Play this attack as well, and nothing else. Repeatable.")
    ] = None,
    jobs: Jobs = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Score a run again from its stored records; nothing is trained."""
    check_jobs(jobs)
    from dataclasses import asdict  # noqa: PLC0415

    from fedbench import runner, terminal  # noqa: PLC0415
    from fedbench.doctor import cores  # noqa: PLC0415
    from fedbench.progress import watching  # noqa: PLC0415
    from fedbench.rescoring import rescore  # noqa: PLC0415
    from fedbench.results import RunDir  # noqa: PLC0415

    done = RunDir.open(run)
    writable("RUN", run)
    try:
        with watching(sys.stderr) as observe:
            found = rescore(
                done,
                metrics=tuple(metric or ()),
                attacks=tuple(attack or ()),
                jobs=jobs or cores(),
                store=store_of(data_dir),
                observe=observe,
            )
    except KeyboardInterrupt:
        raise typer.Exit(
            say(f"interrupted. Begin again with `fedbench score {run}`.", INTERRUPTED)
        ) from None
    failures = runner.failures(done)
    if as_json:
        typer.echo(as_text({**where(done), **asdict(found), "failures": failures}))
    else:
        typer.echo(f"{terminal.rescored(found)}\n\nReport: {done.path / 'report.html'}")
    for line in failures:
        say(line, FAILED)
    if failures:
        raise typer.Exit(FAILED)


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
                        say(added, DONE)
                show(event)

            return start(observe=observe)
    except KeyboardInterrupt:
        advice = f" Go on with `fedbench run --resume {place[0]}`." if place else ""
        raise typer.Exit(say(f"interrupted.{advice}", INTERRUPTED)) from None


def _ended(done: RunDir, failures: Sequence[str], *, as_json: bool) -> None:
    from fedbench import terminal  # noqa: PLC0415

    page = done.path / "report.html"
    if as_json:
        facts = {"run": str(done.path), "report": str(page), "failures": list(failures)}
        typer.echo(as_text(facts))
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
        say(added, DONE)
    typer.echo(as_text(asdict(plan)) if as_json else terminal.planned(plan))


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
