"""Commands that look at records from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedbench.commands.shell import (
    A_PATH,
    DONE,
    FAILED,
    QUIET,
    RUNS,
    AsJson,
    Names,
    Out,
    as_text,
    say,
    where,
    writable,
)
from fedbench.errors import SpecError

if TYPE_CHECKING:
    from fedbench.examine import Examination
    from fedbench.given import Asked
    from fedbench.results import RunDir

__all__ = ["audit", "evaluate"]


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
        typer.Option(
            help="A column that models are to foresee from those that are not foreseen. Repeatable."
        ),
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
        typer.echo(as_text({**where(done), **terminal.answers(done), "failures": failures}))
    else:
        typer.echo(terminal.evaluated(done))
    for line in failures:
        say(line, FAILED)
    if failures:
        raise typer.Exit(FAILED)


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
        str | None,
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
    risk = _risk(fail_over)
    from fedbench import terminal  # noqa: PLC0415
    from fedbench.examine import AUDIT  # noqa: PLC0415
    from fedbench.given import Asked  # noqa: PLC0415

    asked = Asked(
        parts=real | ({"reference": reference} if reference else {}),
        synthetic=release,
        schema=schema,
        sensitive=tuple(sensitive or ()),
        patient=patient,
        fail_over=risk,
    )
    done, failures = _examined(AUDIT, asked, out)
    gate = terminal.gate(done)
    if as_json:
        passed = {"passed": gate["passed"], "gate": gate} if gate else {}
        said = {**terminal.verdict(done), "notes": terminal.read(done)}
        typer.echo(as_text({**where(done), **said, "failures": failures, **passed}))
    else:
        typer.echo(terminal.audited(done))
    for line in failures:
        say(line, FAILED)
    if gate:
        say(f"the gate is {'open' if gate['passed'] else 'closed'}: {gate['reason']}", DONE)
    if failures or (gate and not gate["passed"]):
        raise typer.Exit(FAILED)


def _risk(text: str | None) -> float | None:
    """Return the share that may be given away."""
    if text is None:
        return None
    with suppress(ValueError):
        if 0 <= (share := float(text)) < 1:
            return share
    raise SpecError(
        f"--fail-over is {text}; expected a share from 0 to below 1, such as 0.05 for one patient "
        "in twenty."
    )


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
    writable("--out", folder)
    case = prepare(asked)
    say(terminal.compared(case))
    done = perform(what, case, folder, say)
    return done, runner.failures(done)
