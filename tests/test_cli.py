from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from rich.console import Console

from fedbench import cli
from fedbench.config import bundled
from fedbench.datasets.eicu_demo import EicuDemo
from fedbench.errors import ContractError, RunError
from fedbench.kinds import KINDS
from fedbench.progress import MOST_LINES, SILENCE, Bars, Lines
from fedbench.runner import Event

HEAVY = {"flwr", "numpy", "pandas", "pyarrow", "pydantic", "rich", "scipy", "sklearn", "torch"}


class Said(NamedTuple):
    status: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def fedbench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """The command, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDBENCH_DATA", raising=False)

    def call(*arguments: str) -> Said:
        return Said(cli.main(arguments), *capfd.readouterr())

    return call


def imported_by(*arguments: str) -> set[str]:
    """The packages that a command has imported when it ends."""
    code = (
        "import sys; from fedbench.cli import main; main(sys.argv[1:]);"
        "print('\\n' + ' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}


# Quick answers


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["run", "--help"], ["audit", "--help"], ["doctor", "--help"], []],
)
def test_help_imports_nothing_slow(arguments: Sequence[str]) -> None:
    assert not imported_by(*arguments) & HEAVY


@pytest.mark.parametrize(
    ("command", "explained"),
    [
        ("run", "[SUITE]  A suite by name"),
        ("report", "PATH  The folder that `fedbench run` made.  [required]"),
        ("compare", "HEAD  The run that may be worse.  [required]"),
    ],
)
def test_help_says_what_an_argument_means(fedbench: Command, command: str, explained: str) -> None:
    assert explained in fedbench(command, "--help").out


def test_every_command_explains_itself(fedbench: Command) -> None:
    def walk(command: Any, path: tuple[str, ...]) -> None:
        assert command.help, path
        for parameter in command.params:
            assert parameter.name == "help" or parameter.help, (path, parameter.name)
        said = fedbench(*path, "--help")
        assert (said.status, said.err) == (0, "")
        assert "\\[" not in said.out, path
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*path, name))

    walk(typer.main.get_command(cli.app), ())


def test_help_tells_the_exit_status(fedbench: Command) -> None:
    assert "130 interrupted" in " ".join(fedbench("--help").out.split())


def test_a_list_imports_no_torch() -> None:
    assert not imported_by("list") & {"torch", "flwr", "sklearn", "pydantic"}


def test_it_can_be_started_as_a_module() -> None:
    command = [sys.executable, "-m", "fedbench", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("fedbench ")


def test_without_a_command_it_explains_itself(fedbench: Command) -> None:
    said = fedbench()
    assert said.status == 0
    assert "Usage: fedbench" in said.out


# What there is


def test_every_kind_is_listed(fedbench: Command) -> None:
    said = fedbench("list")
    assert (said.status, said.err) == (0, "")
    kinds = [line for line in said.out.splitlines() if line and not line.startswith(" ")]
    assert kinds == [*KINDS, "suites"]


def test_a_list_says_what_names_mean(fedbench: Command) -> None:
    assert json.loads(fedbench("list", "suites", "--json").out)["suites"]["quick"].startswith("The")
    said = fedbench("list", "generators")
    assert "independent" in said.out
    assert "quick" not in said.out
    assert fedbench("list", "generator") == said
    assert "fedavg" in fedbench("list", "strategy").out


def test_the_datasets_are_listed_with_their_licences(fedbench: Command) -> None:
    found = json.loads(fedbench("data", "list", "--json").out)
    assert {"opt", "nafld", "heart4"} <= {row["name"] for row in found}
    assert all(row["licence"] for row in found)
    assert "CC BY 4.0" in fedbench("data", "list").out


def test_a_dataset_is_described(fedbench: Command) -> None:
    said = fedbench("data", "describe", "opt")
    assert said.status == 0
    for words in ("823 patients", "4 hospitals", "kg/m²", "12 to 80", "task preterm", "N Engl J"):
        assert words in said.out
    found = json.loads(fedbench("data", "describe", "opt", "--json").out)
    assert found["size"]["patients"] == 823


def test_a_dataset_that_is_not_here_is_described_too(fedbench: Command) -> None:
    said = fedbench("data", "describe", "heart4")
    assert said.status == 0
    assert "Set FEDBENCH_DATA or give --data-dir." in " ".join(said.out.split())


def test_a_dataset_is_checked(fedbench: Command) -> None:
    assert fedbench("data", "check", "opt").out.startswith(
        "opt: 823 patients, 4 hospitals, 2,166 visits, 101 events; all fit the schema.\n"
    )


def test_what_a_task_foresees_and_who_may_know_what_is_described(fedbench: Command) -> None:
    said = " ".join(fedbench("data", "describe", "heart4").out.split())
    for words in (
        "licence CC BY 4.0",
        "home https://archive.ics.uci.edu/dataset/45/heart+disease",
        "to be had `fedbench data get heart4`",
        "sites 4: cleveland, hungarian, switzerland, va",
        "sensitive fasting_sugar",
        "quasi-identifiers 2: age, sex",
        "index time: day 0, horizon: up to day 1",
        "50 to 260 mmHg",
    ):
        assert words in said
    told = json.loads(fedbench("data", "describe", "simulated", "--json").out, parse_constant=_not)
    assert {"index", "horizon"} <= set(next(iter(told["tasks"].values())))


def _not(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def test_rules_are_described_with_their_sources(fedbench: Command) -> None:
    Path("ruled.py").write_text(RULED)
    try:
        said = " ".join(fedbench("data", "describe", "ruled:Ruled").out.split())
    finally:
        sys.modules.pop("ruled", None)
    assert "rule nobody is born old: age < 90 where born = yes (https://example.org)" in said
    assert "known from day 3" in said


RULED = """
from dataclasses import dataclass
from fedbench.data import Column, Dataset, Rule, Schema
from fedbench.errors import DataError

@dataclass(frozen=True, kw_only=True)
class Ruled(Dataset):
    '''One rule.'''

    title = licence = citation = "-"

    @property
    def schema(self):
        age = Column(kind="integer", low=0, high=120, known=3)
        rule = Rule(label="nobody is born old", holds="age < 90", when="born = yes",
                    source="https://example.org")
        return Schema(name="ruled", clock="", static={"age": age}, rules=(rule,))

    def load(self, store):
        raise DataError("There is none.")
"""


def test_a_table_of_ones_own_is_described_by_how_to_name_it(fedbench: Command) -> None:
    said = fedbench("data", "describe", "table")
    assert said.status == 0
    assert 'name = "table", path = "mine.csv"' in " ".join(said.out.split())


# Getting data


def test_what_comes_along_need_not_be_fetched(fedbench: Command) -> None:
    said = fedbench("data", "get", "opt")
    assert (said.status, said.err) == (0, "")
    assert "there is nothing to get" in said.out


def test_nothing_is_fetched_before_the_licence_is_accepted(fedbench: Command) -> None:
    said = fedbench("data", "get", "heart4", "--data-dir", ".")
    assert (said.status, said.out) == (2, "")
    assert "Licence: CC BY 4.0" in said.err
    assert said.err.endswith(
        "Nobody is here to accept the licence: give --yes, or use a terminal.\n"
    )
    assert not list(Path().iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
def test_who_declines_gets_nothing(tmp_path: Path) -> None:
    keyboard, terminal = os.openpty()
    os.write(keyboard, b"n\n")
    command = [sys.executable, "-m", "fedbench", "data", "get", "heart4", "--data-dir", "."]
    done = subprocess.run(
        command, cwd=tmp_path, stdin=terminal, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "nothing was fetched" in done.stderr
    assert not list(tmp_path.iterdir())
    os.close(keyboard)
    os.close(terminal)


def test_without_a_network_the_way_by_hand_is_told(
    fedbench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # where nobody listens
    files = {
        "heart4": ("dataset/45", "processed.va.data"),
        "diabetes130": ("dataset/296", "dataset_diabetes.zip as uci_diabetes130/"),
        "mimic3": ("mimiciii-demo/1.4/PATIENTS.csv", "PATIENTS.csv as mimic3_demo/"),
        "mimic4": ("mimic-iv-demo/2.2/icu/icustays.csv.gz", "as mimic4_demo_partial/icu/"),
        "p12": ("challenge-2012/1.0.0/set-b.tar.gz", "Outcomes-b.txt as physionet2012/"),
        "eicu_demo": ("eicu-crd-demo/eicu-collaborative", "demo-2.0.1.zip as eicu_demo/"),
    }
    for name, words in files.items():
        said = fedbench("data", "get", name, "--yes", "--data-dir", "new")
        assert said.status == 2
        told = said.err.splitlines()[-1]
        for word in ("refused", "By hand", *words, f"data check {name}"):
            assert word in told
    assert not Path("new").exists()
    Path("file").write_text("")
    said = fedbench("data", "get", "heart4", "--yes", "--data-dir", "file")
    assert said.err == "fedbench: --data-dir: there is no folder 'file'.\n"


def test_what_is_not_offered_is_told_at_once(fedbench: Command) -> None:
    said = fedbench("data", "get", "table")
    assert (said.status, said.out) == (2, "")
    assert "table cannot be fetched from here. Its files are yours to bring" in said.err
    said = fedbench("data", "get", "eicu", "--data-dir", "new")
    for words in ("cannot be fetched", "content/eicu-crd/2.0", "the tables patient, hospital"):
        assert words in said.err


def test_what_is_here_in_another_form_is_not_fetched(fedbench: Command) -> None:
    folder = Path("data/eicu_demo")
    folder.mkdir(parents=True)
    for name, columns in EicuDemo.tables.items():
        (folder / f"{name}.csv").write_text(",".join(columns) + "\n")
    said = fedbench("data", "get", "eicu_demo", "--data-dir", "data")
    assert (said.status, said.err) == (0, "")
    assert "data/eicu_demo has all that eicu_demo needs, in another form: nothing" in said.out
    (folder / "patient.csv").unlink()
    said = fedbench("data", "get", "eicu_demo", "--data-dir", "data")
    assert said.status == 2
    assert "demo-2.0.1.zip" in said.err


# A folder of one's own


def test_a_schema_is_drafted_corrected_and_checked(fedbench: Command) -> None:
    lines = [f"m{i},{20 + i},{'yes' if i % 3 else 'no'}" for i in range(60)]
    Path("mine.csv").write_text("\n".join(["mrn,age,smoker", *lines]))
    said = fedbench("data", "infer", "mine.csv", "-o", "schemas/mine.toml")
    assert (said.status, said.out) == (0, "schemas/mine.toml\n")
    assert "`fedbench data check mine.csv --schema schemas/mine.toml`" in said.err
    assert fedbench("data", "infer", "mine.csv").out == Path("schemas/mine.toml").read_text()
    checked = fedbench("data", "check", "mine.csv", "--schema", "schemas/mine.toml")
    assert checked.status == 0
    assert checked.out.startswith("mine.csv, read as table: 60 patients; all fit the schema.\n")
    again = fedbench("data", "infer", "mine.csv", "-o", "schemas/mine.toml")
    assert again.status == 2
    assert "is there already; what you corrected is not replaced" in again.err


HEART = "63.0,1.0,1.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,0.0,6.0,0\n"


def test_a_folder_is_known_by_its_tables(fedbench: Command) -> None:
    folder = Path("hearts")
    folder.mkdir()
    for hospital in ("cleveland", "hungarian", "va"):
        (folder / f"processed.{hospital}.data").write_text(HEART)
    said = fedbench("data", "check", "hearts")
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("fedbench: hearts, read as heart4: 1 missing:\n")
    assert "  There is no processed.switzerland.data in hearts." in said.err
    (folder / "processed.switzerland.data").write_text(HEART)
    assert fedbench("data", "check", "hearts").out.startswith(
        "hearts, read as heart4: 4 patients, 4 hospitals; all fit the schema.\n"
    )


def test_in_doubt_it_is_what_anybody_may_have(fedbench: Command) -> None:
    folder = Path("units")
    folder.mkdir()
    for name, columns in EicuDemo.tables.items():
        (folder / f"{name}.csv").write_text(",".join(columns))
    said = fedbench("data", "check", "units")
    assert (said.status, said.out) == (2, "")
    assert "fits eicu and eicu_demo alike: say which, --as eicu_demo." in said.err


def test_all_that_a_folder_lacks_is_told_at_once(fedbench: Command) -> None:
    Path("empty").mkdir()
    said = fedbench("data", "check", "empty", "--as", "heart4")
    assert said.status == 2
    assert said.err.count("There is no processed.") == 4
    told = json.loads(fedbench("data", "check", "empty", "--as", "heart4", "--json").out)
    assert len(told["missing"]) == 4


def test_the_data_folder_holds_a_schema_too(fedbench: Command) -> None:
    Path("store").mkdir()
    Path("store/mine.csv").write_text("age\n" + "\n".join(map(str, range(20, 80))))
    fedbench("data", "infer", "store/mine.csv", "-o", "store/mine.toml")
    suite = bundled()["smoke"].read_text().replace('name = "opt"', TABLE)
    suite = suite.replace('{ name = "natural" }', '{ name = "iid", sites = 2 }')
    Path("suite.toml").write_text(suite)
    said = fedbench("run", "suite.toml", "--data-dir", "store", "--dry-run")
    assert (said.status, said.err) == (0, "")
    assert "FEDBENCH_DATA" not in os.environ


TABLE = 'name = "table"\npath = "mine.csv"\nschema = "mine.toml"'


def test_the_doctor_looks_at_everything(fedbench: Command) -> None:
    found = json.loads(fedbench("doctor", "--json").out)
    assert found["data"]["ready"]["opt"] == 823
    assert "heart4" in found["data"]["not ready"]
    assert found["packages"]["torch"] != "not installed"
    assert "cuda" in fedbench("doctor").out


# Wrong input: one message, no traceback, nothing created


def test_a_message_is_one_line(fedbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "store_of", _raising(ContractError("a\n  b")))
    assert fedbench("doctor") == (2, "", "fedbench: a b\n")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("lst", "No such command 'lst'."),
        ("run --bogus", "No such option"),
        ("run smoke extra", "Got unexpected extra argument (extra)"),
        ("run smoke -j 0", "--jobs is 0; expected at least 1."),
        ("run smoke -j x", "Invalid value for '-j' / '--jobs'"),
        ("data describe", "Missing argument 'NAME'. See `fedbench data describe --help`."),
        ("list metrcs", "KIND 'metrcs' does not exist. Did you mean 'metrics'?"),
        ("data check hart4", "There is no 'hart4' in fedbench.datasets. Did you mean 'heart4'?"),
        ("data check heart4", "The dataset needs the folder 'uci_heart_disease', and no data fol"),
        ("data check heart4 --data-dir gone", "--data-dir: there is no folder 'gone'."),
        ("data check heart4 --data-dir .", "There is no folder 'uci_heart_disease' in ."),
        ("data check ./gone", "There is no file or folder './gone'."),
        ("data check gone --as heart4", "There is no file or folder 'gone'."),
        ("data check taken", "taken is a file of your own: say what its columns mean, --schema"),
        ("data check . --as opt", "opt comes with fedbench and reads no folder"),
        ("data check . --as table", "A table of your own needs its --schema."),
        ("data check .", ". holds taken: of no dataset there is a whole table. Say which it"),
        ("data check . --as heart4 --schema taken", "leave one of the two out."),
        ("data get hart4", "There is no 'hart4' in fedbench.datasets. Did you mean 'heart4'?"),
        ("data get heart4", "Where to? Set FEDBENCH_DATA or give --data-dir"),
        ("data infer gone.csv", "TABLE 'gone.csv': there is no such file or folder."),
        ("data infer taken", "TABLE 'taken': expected a .csv or .parquet file, or a cohort fold"),
        ("data infer taken -o taken", "--out 'taken' is there already"),
        ("report gone", "gone is not a run directory: there is no suite.toml or audit.toml or "),
        ("run .", "'.' is a folder; expected a TOML file, or a suite by name: "),
        ("run smok", "There is no suite 'smok'. Did you mean 'smoke'?"),
        ("run smoke --engine ray", "--engine 'ray' does not exist. There is: inprocess."),
        ("run smoke --executor ray", "--executor 'ray' does not exist. There is: local."),
        ("run smoke --seeds x", "--seeds 'x' is not of the form 0,1,2 or 0-4."),
        (
            "run smoke --set copula.shrinkage=-1",
            "'copula' in fedbench.baselines: 'shrinkage' is -1",
        ),
        ("run smoke --set suite.seeds=[18446744073709551616]", "A seed is 18446744073709551616;"),
        ("run smoke --seeds=", "--seeds '' is not of the form 0,1,2 or 0-4."),
        ("run smoke --seeds 0-2,1", "--seeds '0-2,1' names 1 more than once."),
        ("run smoke --regime alone", "--regime 'alone' does not exist. There is: federated, cen"),
        ("run smoke --device gpu", "--device 'gpu' does not exist. Did you mean 'cpu'?"),
        ("run smoke --device=", "--device '' does not exist. There is: auto, cpu, cuda."),
        ("run smoke --out=", "Invalid value for '--out': expected a path, found an empty text."),
        ("run smoke --out /proc/x", "No folder can be made in '/proc/x'"),
        ("run smoke --scenario clinic", "There is no scenario 'clinic' in the suite. Did you mean"),
        ("run smoke -g tvea", "There is no generator 'tvea' in the suite. Did you mean 'tvae'?"),
        (
            "run smoke -g tvea",
            "What can be added: align, ctgan, halo, latdiff, renewal, tabdiff, tree, tvae, or",
        ),
        ("run smoke -d heart4", "The dataset needs the folder 'uci_heart_disease', and no data"),
        ("run smoke --set suite.records=abc", "'records' is 'abc'; expected a valid integer."),
        ("run smoke --set opt.parts.train=2", "The shares of train, control and reference must"),
        ("run smoke --out taken", "--out 'taken': "),
        ("run smoke --out taken/deeper", "--out 'taken/deeper': "),
        ("run --resume gone", "gone is not a run directory"),
        ("run smoke --resume gone", "gone is not a run directory"),
        ("run smoke --dry-run -g tvea", "There is no generator 'tvea' in the suite."),
    ],
)
def test_a_mistake_is_told_in_one_line(fedbench: Command, arguments: str, problem: str) -> None:
    Path("taken").touch()
    said = fedbench(*arguments.split())
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("fedbench: ")
    assert problem in said.err
    assert said.err.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("smoke", "--resume finishes a run as it was started: leave out the suite"),
        ("--seeds 1", "--resume finishes a run as it was started: leave out the suite"),
        ("--out x", "--resume finishes a run in its own folder: leave out --out"),
    ],
)
def test_a_resumed_run_is_not_changed(fedbench: Command, arguments: str, problem: str) -> None:
    Path("run").mkdir()
    Path("run/suite.toml").write_text(bundled()["smoke"].read_text())
    said = fedbench("run", "--resume", "run", *arguments.split())
    assert said.status == 2
    assert problem in said.err


def test_an_empty_name_is_no_suite(fedbench: Command) -> None:
    said = fedbench("run", "")
    assert said.status == 2
    assert "There is no suite ''." in said.err


def test_what_the_system_refuses_is_no_mistake_of_ours(
    fedbench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut = OSError(errno.EROFS, "Read-only file system", "runs/x")
    monkeypatch.setattr(cli, "store_of", _raising(shut))
    assert fedbench("doctor") == (2, "", "fedbench: runs/x: Read-only file system.\n")


def test_a_full_disk_is_told_with_what_to_do_even_where_no_file_is_named(
    fedbench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(cli, "store_of", _raising(full))
    status, _, said = fedbench("doctor")
    assert status == 2
    assert said.startswith("fedbench: what was found could not be written: No space left on device")
    assert "`fedbench run --resume RUN`" in said


def _raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def test_a_mistake_of_ours_leaves_its_traceback(
    fedbench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "store_of", _raising(KeyError("lost")))
    said = fedbench("doctor")
    assert said.status == 1
    assert said.err.startswith("fedbench: this should not happen: KeyError: 'lost'.")
    log = Path(said.err.split(" in ")[-1].strip().rstrip("."))
    assert "in _raising" in log.read_text() or "in fail" in log.read_text()
    log.unlink()
    assert "Traceback" in fedbench("doctor", "--debug").err


@pytest.mark.parametrize("arguments", [["--debug", "report", "x"], ["report", "x", "--debug"]])
def test_debug_shows_where_a_message_came_from(fedbench: Command, arguments: list[str]) -> None:
    said = fedbench(*arguments)
    assert said.status == 2
    assert f"{RunError.__name__}: x is not a run directory" in said.err


# Runs


def test_a_dry_run_says_what_would_be_done(fedbench: Command) -> None:
    said = fedbench("run", "smoke", "--dry-run", "-g", "copula", "--regime", "local")
    assert said.status == 0
    assert "opt-clinics-copula-local-s0" in said.out
    assert "To expect: about " in said.out
    assert "medicaldata" in said.out
    assert "How the hospitals differ: opt · clinics\n" in said.out
    assert "4 hospitals: from 173 patients (NY) to 247 (MN): 1.4 times as many." in said.out
    assert said.err == ""
    assert not list(Path().iterdir())


def test_a_dry_run_for_scripts(fedbench: Command) -> None:
    found = json.loads(fedbench("run", "smoke", "--dry-run", "--json", "--seeds", "0-2").out)
    assert found["jobs"] == 9
    assert found["licences"][0][0] == "opt"
    assert [row["site"] for row in found["differences"][0]["rows"]] == ["KY", "MN", "MS", "NY"]


def test_a_dry_run_says_what_the_suite_lacks(fedbench: Command) -> None:
    said = fedbench("run", "smoke", "--dry-run", "-g", "copula", "-g", "tvae")
    assert said.err == "fedbench: added to what is in the suite 'smoke': generator 'tvae'.\n"
    assert "opt-clinics-tvae-local-s0" in said.out


NARROW = ("run", "smoke", "-g", "independent", "--regime", "federated", "-j", "2", "--out", "out")


@pytest.mark.slow
def test_a_run_ends_with_its_table_and_its_report(fedbench: Command) -> None:
    said = fedbench(*NARROW)
    assert said.status == 0, said.err
    (run,) = Path("out").iterdir()
    assert said.out.endswith(f"Report: {run / 'report.html'}\n")
    assert (run / "report.html").is_file()
    assert "independent" in said.out
    assert "2 jobs, written to" in said.err
    assert "\x1b" not in said.err

    (next(run.glob("cells/*independent*")) / "cell.json").unlink()
    left = fedbench("run", "--resume", str(run), "--dry-run").out
    assert left.startswith("3 of 4 cells are done, 1 cell in 1 job is left\n  opt-clinics-indep")
    again = fedbench("run", "--resume", str(run), "--json")
    assert json.loads(again.out) == {
        "run": str(run),
        "report": str(run / "report.html"),
        "failures": [],
    }
    assert fedbench("report", str(run)).out == f"{run / 'report.html'}\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "interrupt",
    [
        pytest.param(lambda pid: os.killpg(pid, signal.SIGINT), id="a terminal"),
        pytest.param(lambda pid: os.kill(pid, signal.SIGTERM), id="a scheduler"),
    ],
)
def test_an_interrupted_run_says_how_to_go_on(
    tmp_path: Path, interrupt: Callable[[int], None]
) -> None:
    command = [sys.executable, "-m", "fedbench", *NARROW]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "jobs, written to" in line
        interrupt(process.pid)
        said = process.stderr.read()
    assert process.returncode == 130
    run = line.split()[-1]
    assert f"fedbench: interrupted. Go on with `fedbench run --resume {run}`.\n" in said
    assert "Traceback" not in said


# Progress


def _events(count: int) -> list[Event]:
    jobs = [f"job {place}" for place in range(count)]
    return [
        Event("plan", total=count, note="runs/x"),
        *(event for job in jobs for event in (Event("start", job), Event("stage", job, "scoring"))),
        *(Event("end", job, status="done") for job in jobs),
        Event("stage", note="collecting results"),
    ]


@pytest.mark.parametrize("count", [1, 3, MOST_LINES, 1000])
def test_a_log_has_few_lines_whatever_the_number_of_jobs(count: int) -> None:
    stream = StringIO()
    show = Lines(stream)
    for event in _events(count):
        show(event)
    lines = stream.getvalue().splitlines()
    assert lines[0] == f"{count} jobs, written to runs/x"
    assert lines[-1] == "collecting results"
    assert len(lines) == 2 + min(count, MOST_LINES)
    more = " and 9 before it" if count > MOST_LINES else ""
    assert lines[-2].startswith(f"[{count}/{count}] job {count - 1}{more} (")


def test_a_log_tells_of_every_failure() -> None:
    stream = StringIO()
    show = Lines(stream)
    for event in [
        Event("plan", total=1000),
        Event("end", "one", note="Traceback\nValueError: no", status="failed"),
        Event("end", "two", status="done"),
    ]:
        show(event)
    assert "[1/1000] one: failed (ValueError: no) (0 s)\n" in stream.getvalue()
    assert "two" not in stream.getvalue()


def test_a_log_is_not_silent_for_long() -> None:
    stream = StringIO()
    show = Lines(stream)
    for event in _events(1)[:3]:
        show(event)
    assert stream.getvalue().count("\n") == 1
    show.last -= SILENCE
    for _ in range(2):
        show(Event("stage", "job 0", "scoring"))
    assert stream.getvalue().splitlines()[1:] == ["[0/1] at job 0: scoring (0 s)"]


def test_a_terminal_shows_who_is_at_work() -> None:
    console = Console(file=StringIO(), force_terminal=True, width=100)
    bars = Bars(console)
    for event in _events(2)[:4]:
        bars(event)
    assert [task.description for task in bars.jobs.tasks] == ["job 0 · scoring", "job 1"]
    for event in _events(2)[4:]:
        bars(event)
    assert not bars.jobs.tasks
    (total,) = bars.total.tasks
    assert (total.completed, total.total, total.description) == (2, 2, "collecting results")
