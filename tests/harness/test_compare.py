"""Two runs of one suite: what is a regression, what is chance, and what cannot be compared."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from fedbench import cli
from fedbench.cells import perform
from fedbench.compare import (
    PRIMARY,
    TOLERANCE,
    About,
    Asked,
    Comparison,
    Run,
    judge,
    plain,
)
from fedbench.compare.change import Worsening
from fedbench.compare.primary import MOST
from fedbench.compare.runs import comparable
from fedbench.config import Suite, read_suite
from fedbench.data import DataStore
from fedbench.errors import RunError, SpecError
from fedbench.federation.study import Choice
from fedbench.jobs import Job
from fedbench.report import comparison
from fedbench.results import ASKED, RunDir, write_parquet
from fedbench.runner import run
from fedbench.workers import Task

Row = dict[str, Any]
Draw = Callable[[Row], float]
SITES = ("north", "south", "west")
MEASURES = {"marginals": "lower", "associations": "lower", "utility.auroc": "higher"}
THEIRS = """
import os
from dataclasses import dataclass, replace
from fedbench.baselines.copula import Copula

@dataclass(frozen=True, kw_only=True)
class Mine(Copula):
    "A copula that mixes its patients up when it is told to."
    def sample(self, *args, **kwargs):
        found = super().sample(*args, **kwargs)
        if os.environ.get("FLAW") != "mixes":
            return found
        rng = args[3]
        mixed = {}
        for part in ("static", "visits"):
            table = getattr(found, part).copy()
            for name in table.columns.difference(["patient", "day", "clinic"]):
                table[name] = table[name].to_numpy()[rng.permutation(len(table))]
            mixed[part] = table
        return replace(found, **mixed)
"""


def suite_of(seeds: Sequence[int]) -> Suite:
    return replace(read_suite("smoke"), seeds=tuple(seeds))


def made_up(
    seeds: Sequence[int] = range(5), draw: Draw = lambda _: 0.0, labels: Sequence[str] = ("copula",)
) -> Run:
    """Rows as the runner writes them: patients move all runs of a seed alike, ``draw`` one."""
    rows: dict[About, dict[int, Row]] = {}
    for seed in seeds:
        patients = np.random.default_rng([7, seed]).normal(0, 0.02, (len(SITES), 60))
        for label in labels:
            for name, better in MEASURES.items():
                base: Row = {
                    "dataset": "opt", "scenario": "clinics", "label": label, "name": name,
                    "regime": "federated", "better": better, "seed": seed, "status": "done",
                    "metric_version": 1,
                }  # fmt: skip
                found: list[Row] = []
                for site, spread in zip(SITES, patients, strict=True):
                    row = base | {"target": "specialist", "site": site}
                    found.append(row | numbers(0.3 + draw(row), spread))
                values = [row["value"] for row in found]
                pick = np.max if better == "lower" else np.min
                worst = numbers(float(pick(values)), patients.mean(axis=0))
                pooled = numbers(float(np.mean(values)), patients.mean(axis=0))
                found.append(base | {"target": "pooled", "site": ""} | pooled)
                found.append(
                    base
                    | {"target": "specialist", "site": "worst"}
                    | {k: v for k, v in worst.items() if k != "replicates"}
                )
                for row in found:
                    rows.setdefault(About.of(row), {})[seed] = row
    parts = {site: {"test": 30, "train": 50} for site in SITES}
    facts = {"row": {"dataset": "opt", "scenario": "clinics", "seed": 0}, "parts": parts}
    return Run(Path("made-up"), suite_of(seeds), rows, [(Path("cell"), facts)])


def numbers(value: float, spread: NDArray[np.float64]) -> Row:
    return {
        "value": value,
        "low": value - 0.04,
        "high": value + 0.04,
        "replicates": value + spread - spread.mean(),
    }


def by_chance(seed: int, spread: float = 0.01) -> Draw:
    rng = np.random.default_rng(seed)
    return lambda _: float(rng.normal(0, spread))


def worse_at(site: str, by: float, name: str = "associations") -> Draw:
    return lambda row: by * (row["site"] == site and row["name"] == name)


def relabelled(one: Run, other: Run, seeds: set[int]) -> tuple[Run, Run]:
    """Call BASE what was HEAD under these seeds, and the other way round."""

    def mixed(mine: Run, theirs: Run) -> Run:
        return replace(
            mine,
            rows={
                about: {s: (theirs if s in seeds else mine).rows[about][s] for s in rows}
                for about, rows in mine.rows.items()
            },
        )

    return mixed(one, other), mixed(other, one)


def gate(found: Comparison, name: str, place: str = "pooled") -> Any:
    return next(g for g in found.gates if (g.about.name, g.about.place) == (name, place))


def test_a_fall_below_what_is_best_is_no_improvement() -> None:
    """An area under the curve of .45 tells as much as .55."""

    def told_apart(value: float) -> Run:
        run = made_up()
        for about, rows in run.rows.items():
            if about.name == "associations":
                for seed, row in rows.items():
                    spread = np.random.default_rng([7, seed]).normal(0, 0.02, 60)
                    row |= {"better": "near 0.5", **numbers(value, spread)}
        return run

    asked = Asked(tolerance={"associations": 0.02})
    for base, head, worse in ((0.5, 0.3, 0.2), (0.7, 0.3, 0.0), (0.3, 0.5, -0.2)):
        found = judge(told_apart(base), told_apart(head), asked)
        assert gate(found, "associations").worse == pytest.approx(worse)
        assert gate(found, "associations").regressed == (worse > 0.02)


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [(0.50, 0.45, 0), (0.45, 0.50, 0), (0.30, 0.45, 0), (0.45, 0.60, 0.1), (0.50, 0.60, 0.1)],
)
def test_an_attack_below_guessing_has_guessed(before: float, after: float, worse: float) -> None:
    def attacked(value: float) -> Run:
        found, spread = made_up(), np.random.default_rng(1).normal(0, 0.005, 60)
        told = {"name": "dcr.auc", "better": "down to 0.5", **numbers(value, spread)}
        rows = {
            about._replace(name="dcr.auc"): {seed: row | told for seed, row in rows.items()}
            for about, rows in found.rows.items()
            if about.name == "marginals"
        }
        return replace(found, rows=rows)

    found = gate(judge(attacked(before), attacked(after), Asked()), "dcr.auc")
    assert found.worse == pytest.approx(worse)
    assert found.regressed == (worse > 0)


def test_a_run_against_itself_passes() -> None:
    found = judge(made_up(), made_up(), Asked())
    assert not found.regressed
    assert {g.verdict for g in found.gates} == {"identical"}


def test_a_regression_names_measure_and_hospital() -> None:
    found = judge(made_up(), made_up(draw=worse_at("south", 0.5)), Asked())
    assert found.regressed
    assert {(g.about.name, g.worst_at) for g in found.gates if g.regressed} == {
        ("associations", "south")
    }
    assert "associations of opt · clinics · copula is worse by 0.167" in comparison.terminal(
        plain(found)
    )


def test_what_is_better_is_no_regression() -> None:
    draw = worse_at("south", 0.5, "utility.auroc")  # there, higher is better
    assert not judge(made_up(), made_up(draw=draw), Asked()).regressed
    assert judge(made_up(draw=draw), made_up(), Asked()).regressed


def test_what_is_tolerated_is_no_regression() -> None:
    head = made_up(draw=worse_at("south", 0.5))
    found = judge(made_up(), head, Asked(tolerance={"associations": 0.6}))
    assert gate(found, "associations").worse == pytest.approx(0.5 / 3)
    assert not found.regressed


def test_chance_raises_few_alarms_however_runs_are_relabelled() -> None:
    """Also where nothing at all is tolerated, so that only the limits can hold."""
    rng = np.random.default_rng(0)
    strict = Asked(tolerance=dict.fromkeys(MEASURES, 0.0))
    alarms = 0
    for world in range(20):
        pair = [made_up(draw=by_chance(2 * world + i, 0.05)) for i in (0, 1)]
        for _ in range(20):
            seeds = {seed for seed in range(5) if rng.random() < 0.5}
            alarms += judge(*relabelled(pair[0], pair[1], seeds), strict).regressed
    assert alarms / 400 <= 0.07


@pytest.mark.parametrize(("shared", "training"), [(0.4, 1.0), (1.0, 0.0), (1.0, 1.0), (0.0, 10.0)])
def test_a_family_of_gates_alarms_in_one_comparison_of_twenty_at_most(
    shared: float, training: float
) -> None:
    """Whatever part of their test patients seeds have in common."""
    rng, k, alarms = np.random.default_rng(1), 5, 0
    for _ in range(300):
        common = rng.normal(0, np.sqrt(shared), (MOST, 1))
        own = rng.normal(0, np.sqrt(1 - shared + training), (MOST, k))
        gates = [
            Worsening(np.zeros(k), np.zeros(k), worse, np.ones(k), overlap=0.65)
            for worse in common + own
        ]
        alarms += any(g.mean > g.half(0.05 / MOST) for g in gates)
    assert alarms / 300 <= 0.07


def test_what_would_have_been_seen_is_seen_four_times_out_of_five() -> None:
    rng, overlap, k = np.random.default_rng(2), 0.6, 8
    shared = overlap / (1 + overlap)
    seen, promised = [], []
    draws = [
        Worsening(np.zeros(k), np.zeros(k), worse, np.full(k, 1e-4), overlap)
        for worse in rng.normal(0, np.sqrt(shared), (400, 1))
        + rng.normal(0, np.sqrt(1 - shared), (400, k))
    ]
    promised = [found.half(0.05) + found.half(0.2) for found in draws]
    shift = float(np.mean(promised))
    seen = [found.mean + shift > found.half(0.05) for found in draws]
    assert 0.72 <= np.mean(seen) <= 0.9


def test_five_seeds_are_needed() -> None:
    with pytest.raises(RunError, match="too few seeds to judge: BASE has 5, HEAD 4, both 4"):
        judge(made_up(), made_up(range(4)), Asked())


def test_seeds_that_only_one_run_has_are_left_out() -> None:
    assert judge(made_up(range(7)), made_up(range(1, 6)), Asked()).seeds == (1, 2, 3, 4, 5)


def test_what_is_lost_is_a_regression_of_its_own() -> None:
    head = made_up()
    about = next(about for about in head.rows if about.place == "pooled")
    rows = {k: dict(v) for k, v in head.rows.items()}
    rows[about][2] = {**rows[about][2], "status": "refused", "value": np.nan, "reason": "Few."}
    found = judge(made_up(), replace(head, rows=rows), Asked())
    assert found.regressed
    (lost,) = found.lost
    assert (lost.names, lost.seeds, lost.reason) == ((about.name,), (2,), "Few.")
    assert gate(found, about.name).verdict == "too few seeds to judge: both have a number under 4"


def test_a_cell_that_fails_is_named_once() -> None:
    head = made_up()
    rows = {
        about: {s: row for s, row in rows.items() if s != 3} for about, rows in head.rows.items()
    }
    where = {"dataset": "opt", "scenario": "clinics", "label": "copula", "regime": "federated"}
    failed = where | {"seed": 3, "status": "failed", "reason": "Traceback\nOSError: out of ink"}
    found = judge(made_up(), replace(head, rows={**rows, About.of(failed): {3: failed}}), Asked())
    (lost,) = found.lost
    assert (lost.names, lost.seeds, lost.reason) == ((), (3,), "OSError: out of ink")
    assert "the whole cell of opt · clinics · copula: failed under seed 3" in comparison.junit(
        plain(found)
    )


def test_there_are_twenty_gates_at_most() -> None:
    labels = [f"g{i}" for i in range(9)]
    suite = read_suite("smoke")
    named = [replace(suite.generators[1], label=label) for label in labels]
    crowd = made_up(labels=labels)
    crowd = replace(crowd, suite=replace(crowd.suite, generators=tuple(named)))
    found = judge(crowd, crowd, Asked())
    assert len(found.gates) == 18
    assert found.left_out == ("associations (pooled)", "marginals (worst)",
                              "associations (worst)", "utility.auroc (worst)")  # fmt: skip
    assert len(judge(crowd, crowd, Asked(generators=("g1", "g2"))).gates) == 12
    others = {other.about for other in found.others}
    assert others | {g.about for g in found.gates} == set(crowd.rows)
    many = [f"g{i}" for i in range(MOST + 1)]
    named = [replace(suite.generators[1], label=label) for label in many]
    crowd = replace(
        made_up(labels=many), suite=replace(suite_of(range(5)), generators=tuple(named))
    )
    with pytest.raises(SpecError, match="more than 20 gates"):
        judge(crowd, crowd, Asked())


def test_the_floor_does_not_gate_unless_it_is_asked_for() -> None:
    both = made_up(labels=("independent", "copula"))
    assert {g.about.label for g in judge(both, both, Asked()).gates} == {"copula"}
    asked = Asked(generators=("independent",))
    assert {g.about.label for g in judge(both, both, asked).gates} == {"independent"}


def test_metrics_of_other_versions_are_not_compared(tmp_path: Path) -> None:
    (tmp_path / "environment.json").write_text("{}")
    base, head = (replace(made_up(), path=tmp_path, facts=()) for _ in range(2))
    for rows in head.rows.values():
        for row in rows.values():
            row["metric_version"] = 2
    with pytest.raises(RunError, match="other metric version: associations is 1 in BASE and 2 in"):
        comparable(base, head)


@pytest.mark.parametrize(
    ("asked", "refused"),
    [
        (["standard", "m:Mine"], False),
        (["standard", {"name": "codes", "patients": 50}], False),
        ([{"name": "standard", "x": 1}], True),
    ],
)
def test_a_run_that_was_asked_more_is_compared_by_what_both_were_asked(
    tmp_path: Path, asked: list[Any], *, refused: bool
) -> None:
    def of(metrics: list[Any]) -> Any:
        tables = {"suite": {"name": "tiny", "metrics": metrics}}
        (tmp_path / "environment.json").write_text("{}")
        return SimpleNamespace(
            suite=SimpleNamespace(tables=lambda: tables), path=tmp_path, rows={}, facts=[]
        )

    base, head = of(["standard"]), of(asked)
    if refused:
        with pytest.raises(RunError, match=r"other question: metrics\.standard is 'standard' in"):
            comparable(base, head)
    else:
        comparable(base, head)


@pytest.fixture(scope="module")
def tiny() -> Suite:
    suite = replace(suite_of(range(5)), metrics=(Choice("associations"), Choice("communication")))
    mine = replace(suite.generators[1], name="theirs_compared:Mine", label="mine")
    return replace(
        suite, generators=(mine,), regimes=("federated",), records=150, attacks=(), replicates=20
    )


def in_this_process(jobs: Sequence[Job], _count: int, task: Task, *_: object) -> None:
    """Work that needs no new process, which would take most of the time."""
    for job in jobs:
        perform(job, task.suite, task.run, task.store, lambda _: None)


@pytest.fixture(scope="module")
def runs(tiny: Suite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A run that is good, and one whose generator mixes patients up."""
    out, store = tmp_path_factory.mktemp("runs"), DataStore()
    (out / "theirs_compared.py").write_text(THEIRS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out)
        patch.setattr("fedbench.runner.work", in_this_process)
        done = {}
        for flaw in ("none", "mixes"):
            patch.setenv("FLAW", flaw)
            found = run(tiny, out=out, resume=None, jobs=1, store=store, observe=lambda _: None)
            done[flaw] = found.path
        yield done
    sys.modules.pop("theirs_compared", None)


def test_the_command_passes_a_run_against_itself(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    good = str(runs["none"])
    assert cli.main(["compare", good, good]) == 0
    said = capsys.readouterr().out
    assert "would have" in said
    assert "No regression was shown in 3 measures over 5 seeds." in said


def test_the_command_fails_a_damaged_generator(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = [str(runs["none"]), str(runs["mixes"])]
    assert cli.main(["compare", *pair, "--out", str(tmp_path / "out"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "out" / "compare.json").read_text())
    assert {g["name"] for g in found["gates"] if g["regressed"]} == {"associations"}
    sites = {g["worst_at"] for g in found["gates"] if g["regressed"]}
    assert sites <= {"KY", "MN", "MS", "NY"}
    page = (tmp_path / "out" / "compare.md").read_text()
    assert "**HEAD is worse than BASE" in page
    assert f"most at {sites.pop()}" in page
    tests = ET.fromstring((tmp_path / "out" / "compare.xml").read_text())  # noqa: S314  (ours)
    failed = [case.get("name") for case in tests if case.find("failure") is not None]
    assert "associations" in failed
    assert tests.get("failures") == str(len(failed))


def unfinished(run: Path) -> None:
    (run / "results.parquet").unlink()


def with_another_value(run: Path) -> None:
    rows = pd.read_parquet(run / "results.parquet")
    rows["value"] += 0.01
    write_parquet(run / "results.parquet", rows)


def of_another_version(run: Path) -> None:
    rows = pd.read_parquet(run / "results.parquet")
    write_parquet(run / "results.parquet", rows.drop(columns="verdict"))


def with_a_changed_cell(run: Path) -> None:
    file = next(run.glob("cells/*/ledger.parquet"))
    file.write_bytes(file.read_bytes() + b" ")


def with_an_edited_suite(run: Path) -> None:
    text = (run / "suite.toml").read_text()
    (run / "suite.toml").write_text(text.replace("records = 150", "records = 151"))


def without_a_cell(run: Path) -> None:
    shutil.rmtree(min(run.glob("cells/*")))


def with_another_fedbench(run: Path) -> None:
    facts = json.loads((run / "environment.json").read_text())
    facts["versions"]["fedbench-ehr"] = "0.0.1"
    (run / "environment.json").write_text(json.dumps(facts))


def of_another_suite(run: Path) -> None:
    with_an_edited_suite(run)
    rows = pd.read_parquet(run / "results.parquet")
    rows.attrs[ASKED] = RunDir(run).asked
    write_parquet(run / "results.parquet", rows)


def on_other_records(run: Path) -> None:
    facts = json.loads((run / "environment.json").read_text())
    facts["data"]["opt"] = "0" * 16
    (run / "environment.json").write_text(json.dumps(facts))


def no_run(run: Path) -> None:
    shutil.rmtree(run)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (unfinished, "the run is unfinished"),
        (with_another_value, "is not what its cells say"),
        (of_another_version, "does not have the columns of a row"),
        (with_a_changed_cell, "was changed since it was written"),
        (without_a_cell, "is unfinished: cell"),
        (with_another_fedbench, "other version: fedbench is"),
        (with_an_edited_suite, "was changed after the results were written"),
        (of_another_suite, "other suite: suite.records is 150 in BASE and 151 in HEAD"),
        (on_other_records, "other data fingerprint: opt is"),
        (no_run, "is not a run directory"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused_in_one_line(
    harm: Callable[[Path], None],
    told: str,
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    head = Path(shutil.copytree(runs["none"], tmp_path / "head"))
    harm(head)
    assert cli.main(["compare", str(runs["none"]), str(head), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert len(said.err.splitlines()) == 1
    assert not said.out
    assert not (tmp_path / "out").exists()


def test_the_page_about_ci_names_every_gate_with_what_is_tolerated() -> None:
    page = (Path(__file__).parents[2] / "docs" / "ci.md").read_text(encoding="utf-8")
    table = [line for line in page.splitlines() if line.startswith("| `")]
    for name, place in PRIMARY:
        where = {"worst": "worst hospital", "gain": "gain over", "tax": "cost against"}.get(
            place, ""
        )
        assert any(f"`{name}`" in line and where in line for line in table), (name, place)
    for name, tolerated in TOLERANCE.items():
        line = next(line for line in table if f"`{name}`" in line)
        assert f"{tolerated:g}" in line or f"{100 * tolerated:g} %" in line, name


@pytest.mark.parametrize("text", ["marginals", "marginals=-1", "marginals=nan", "=1x"])
def test_a_tolerance_is_a_name_and_a_number(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "base", "head", "--tolerance", text]) == 2
    assert f"--tolerance '{text}': expected name=number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Asked(tolerance={"marginal": 0.1}), "Did you mean 'marginals'?"),
        (Asked(generators=("nobody",)), "There is: independent, copula."),
        (Asked(datasets=("nafld",)), "There is: opt."),
    ],
)
def test_what_does_not_exist_is_told(asked: Asked, told: str) -> None:
    with pytest.raises(SpecError, match=re.escape(told)):
        judge(made_up(), made_up(), asked)
