"""Runs from end to end, on a suite of seconds."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedbench import environment
from fedbench.cells import TRAINING, cells_of
from fedbench.config import Suite, read_suite
from fedbench.data import DataStore
from fedbench.errors import DataError, SpecError
from fedbench.federation.study import Choice
from fedbench.results import ROW, CellDir, RunDir, read_json
from fedbench.runner import failures, plan, run

GOLDEN = Path(__file__).parents[1] / "golden"


def go(suite: Suite, out: Path, jobs: int = 2, resume: Path | None = None) -> RunDir:
    return run(suite, out=out, resume=resume, jobs=jobs, store=DataStore(), observe=lambda _: None)


def regenerate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("regenerate", GOLDEN / "regenerate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tiny() -> Suite:
    return read_suite(str(GOLDEN / "tiny.toml"))


@pytest.fixture(scope="module")
def done(tiny: Suite, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return go(tiny, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Generators of somebody else, in the current folder."""
    (tmp_path / "theirs.py").write_text(
        "from dataclasses import dataclass\n"
        "from fedbench.baselines.independent import Independent\n"
        "from fedbench.data import Part\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Clumsy(Independent):\n"
        "    'Breaks when it writes.'\n"
        "    def sample(self, *args, **kwargs):\n"
        "        raise ZeroDivisionError('oh dear')\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Narrow(Independent):\n"
        "    'Knows static facts alone.'\n"
        "    handles = frozenset([Part.STATIC])\n"
    )
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("theirs", None)


def test_the_golden_run_comes_out_as_recorded(done: RunDir) -> None:
    found = regenerate().golden(done.results())
    recorded = pd.read_csv(GOLDEN / "tiny.csv", keep_default_na=False, na_values=[""])
    texts = [name for name in found if found[name].dtype == object]
    recorded[texts] = recorded[texts].fillna("").astype(str)
    pd.testing.assert_frame_equal(found[texts], recorded[texts])
    numbers = [name for name in found if name not in texts]
    for name in numbers:
        np.testing.assert_allclose(
            found[name].astype(float),
            recorded[name].astype(float),
            rtol=1e-5,
            atol=1e-7,
            err_msg=name,
        )


def test_rows_have_every_column_in_order(done: RunDir) -> None:
    assert tuple(done.results().columns) == ROW


def test_one_worker_and_many_give_the_same_results(
    tiny: Suite, done: RunDir, tmp_path: Path
) -> None:
    again = go(tiny, tmp_path, jobs=1)
    assert (again.path / "results.parquet").read_bytes() == (
        done.path / "results.parquet"
    ).read_bytes()


def test_the_report_says_what_training_and_drawing_took(tiny: Suite, done: RunDir) -> None:
    (world,) = read_json(done.path / "report.json")["worlds"]
    rows = world["compute"]["rows"]
    assert {(row["generator"], row["regime"]) for row in rows} == {
        (choice.label, regime) for choice in tiny.generators for regime in tiny.regimes
    }
    for row in rows:
        (one,) = row["seeds"]
        assert min(one.values()) > 0
        assert row["training"].endswith(" s")
    took = {(row["generator"], row["regime"]): row["seeds"][0] for row in rows}
    for label in {row["generator"] for row in rows}:
        alone, mixed = took[label, "local"], took[label, "mixture"]
        assert mixed["training"] == alone["training"]  # of the same models
    for name in ("report.md", "report.html"):
        text = (done.path / name).read_text()
        assert "Time and memory" in text
        assert "As of the machine" in text


def test_what_training_took_is_kept_when_more_is_asked(
    tiny: Suite, done: RunDir, tmp_path: Path
) -> None:
    shutil.copytree(done.path, tmp_path / "run")
    cell = next(c for c in RunDir(tmp_path / "run").cells() if "copula-local" in c.path.name)
    before = read_json(cell.path / "timings.json")
    next((cell.path / "measures").glob("*.parquet")).unlink()
    go(tiny, tmp_path, resume=tmp_path / "run")
    after = read_json(cell.path / "timings.json")
    assert {name: after[name] for name in TRAINING} == {name: before[name] for name in TRAINING}
    assert after["seconds"] != before["seconds"]


def test_every_number_lies_in_its_interval(done: RunDir) -> None:
    rows = done.results()
    rows = rows[rows["status"] == "done"]
    assert (rows["low"] <= rows["value"] + 1e-12).all()
    assert (rows["value"] <= rows["high"] + 1e-12).all()
    assert (rows["n"] > 0).all()


def test_every_row_that_is_not_done_says_why(done: RunDir) -> None:
    rows = done.results()
    rows = rows[rows["status"] != "done"]
    assert len(rows)
    assert (rows["reason"] != "").all()
    assert rows["value"].isna().all()


def test_the_copy_is_caught_and_the_independent_release_is_not(done: RunDir) -> None:
    rows = done.results()
    auc = rows[(rows["name"] == "dcr.auc") & (rows["site"] == "") & (rows["regime"] == "control")]
    copy, real = (auc[auc["generator"] == name].iloc[0] for name in ("copy", "real"))
    assert copy["low"] > 0.9
    assert real["low"] <= 0.5 <= real["high"]
    checks = rows[rows["name"] == "dcr.check"]
    assert set(checks["generator"]) == {"copy", "real"}
    assert (checks["value"] == 1).all()


def test_gain_and_tax_are_differences_of_rows(done: RunDir) -> None:
    rows = done.results()
    rows = rows[(rows["label"] == "copula") & (rows["name"] == "associations")]

    def value(**where: str) -> float:
        found = rows
        for name, wanted in where.items():
            found = found[found[name] == wanted]
        assert len(found) == 1, where
        return float(found["value"].iloc[0])

    sites = ("site-1", "site-2")
    gains = [
        value(regime="local", site=s, target="specialist")
        - value(regime="federated", site=s, target="specialist")
        for s in sites
    ]
    gain = {"regime": "federated", "target": "gain", "group": "over local", "level": ""}
    for site, expected in zip(sites, gains, strict=True):
        assert value(**gain, site=site) == pytest.approx(expected)
    mean = value(**{**gain, "level": "unweighted"}, site="")
    assert mean == pytest.approx(np.mean(gains))
    tax = value(regime="federated", target="pooled") - value(regime="centralized", target="pooled")
    assert value(regime="federated", target="tax") == pytest.approx(tax, abs=1e-12)


def test_bytes_are_those_of_the_ledger(done: RunDir) -> None:
    rows = done.results()
    for cell in done.cells():
        facts = cell.facts()["row"]
        if facts["regime"] == "control":
            continue
        ledger = pd.read_parquet(cell.path / "ledger.parquet")
        mine = rows[
            (rows["train_id"] == facts["train_id"]) & (rows["name"] == "communication.bytes")
        ]
        total = mine[(mine["site"] == "") & (mine["level"] == "")]["value"].iloc[0]
        assert total == ledger["bytes"].sum()
        if facts["regime"] == "local":
            assert total == 0


def test_real_records_are_not_stored_as_synthetic(done: RunDir) -> None:
    cells = {cell.facts()["row"]["regime"]: cell for cell in done.cells()}
    assert not (cells["control"].path / "synthetic").exists()
    assert (cells["federated"].path / "synthetic" / "static.parquet").is_file()


def test_a_resumed_run_ends_with_the_same_results(
    tiny: Suite, done: RunDir, tmp_path: Path
) -> None:
    first = go(tiny, tmp_path)
    for cell in list(first.cells())[::2]:
        (cell.path / "cell.json").unlink()
    for file in list(first.path.glob("cells/*/measures/*.parquet"))[::3]:
        file.unlink()
    (first.path / "results.parquet").unlink()
    resumed = go(tiny, tmp_path, resume=first.path)
    assert resumed.path == first.path
    pd.testing.assert_frame_equal(resumed.results(), done.results())


@pytest.mark.slow
def test_a_killed_run_resumes(tiny: Suite, done: RunDir, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from fedbench.config import read_suite\n"
        "from fedbench.data import DataStore\n"
        "from fedbench.runner import run\n"
        "if __name__ == '__main__':\n"
        f"    run(read_suite({str(GOLDEN / 'tiny.toml')!r}), out=Path({str(tmp_path)!r}),\n"
        "        resume=None, jobs=1, store=DataStore(), observe=lambda _: None)\n"
    )
    script = tmp_path / "go.py"
    script.write_text(code)
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    while process.poll() is None and len(list(tmp_path.glob("tiny-*/cells/*/cell.json"))) < 2:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (started,) = tmp_path.glob("tiny-*")
    assert not (started / "results.parquet").exists()
    resumed = go(tiny, tmp_path, resume=started)
    pd.testing.assert_frame_equal(resumed.results(), done.results())


def test_a_new_metric_trains_nothing_again(tiny: Suite, tmp_path: Path) -> None:
    first = go(tiny, tmp_path)
    before = {c.path: (c.path / "synthetic").stat().st_mtime_ns for c in _released(first)}
    more = replace(tiny, metrics=(*tiny.metrics, Choice("missingness")))
    (first.path / "suite.toml").write_text(more.to_toml())
    resumed = go(more, tmp_path, resume=first.path)
    assert {c.path: (c.path / "synthetic").stat().st_mtime_ns for c in _released(resumed)} == before
    assert "missingness.rates" in set(resumed.results()["name"])


def _released(done: RunDir) -> list[CellDir]:
    return [cell for cell in done.cells() if (cell.path / "synthetic").exists()]


@pytest.mark.parametrize(
    ("plugin", "same"),
    [
        ("partitioners.iid", set()),
        ("federation.strategies.fedavg", {"control"}),
        ("federation.codecs.identity", {"control"}),
    ],
)
def test_cells_are_done_again_where_the_code_of_a_plugin_changed(
    tiny: Suite, done: RunDir, monkeypatch: pytest.MonkeyPatch, plugin: str, same: set[str]
) -> None:
    def ids() -> dict[tuple[str, str], str]:
        return {
            (cell.generator, cell.regime): cell.train_id
            for cell in cells_of(tiny, done, DataStore())
        }

    before = ids()
    assert f"fedbench.{plugin}" in environment.SOURCES
    monkeypatch.setitem(environment.SOURCES, f"fedbench.{plugin}", "changed")
    assert same == {place[1] for place, train_id in ids().items() if train_id == before[place]}


@pytest.mark.usefixtures("broken")
def test_a_failing_generator_is_stored_and_the_others_go_on(tiny: Suite, tmp_path: Path) -> None:
    theirs = [
        replace(tiny.generators[0], name=f"theirs:{n}", label=n.lower())
        for n in ("Clumsy", "Narrow")
    ]
    suite = replace(tiny, generators=(tiny.generators[0], *theirs), regimes=("federated", "local"))
    found = go(suite, tmp_path)
    rows = found.results()
    failed = rows[rows["label"] == "clumsy"]
    assert set(failed["status"]) == {"failed"}
    assert failed["reason"].str.contains("ZeroDivisionError: oh dear").all()
    assert len(failed) == 2
    narrow = rows[rows["label"] == "narrow"]
    assert set(narrow["status"]) == {"not applicable"}
    assert "does not handle outcome, visits" in narrow["reason"].iloc[0]
    assert (rows[rows["label"] == "independent"]["status"] == "done").any()
    assert len(failures(found)) == 2
    assert "oh dear" in failures(found)[0]


def test_nothing_is_written_when_the_input_is_wrong(tiny: Suite, tmp_path: Path) -> None:
    wrong = replace(tiny.datasets[0], name="heart4")
    out = tmp_path / "runs"
    with pytest.raises(DataError, match="uci_heart_disease"):
        go(replace(tiny, datasets=(wrong,)), out)
    crowded = replace(tiny.scenarios[0], partition=Choice("iid", {"sites": 200}))
    with pytest.raises(SpecError, match="sites"):
        go(replace(tiny, scenarios=(crowded,)), out)
    with pytest.raises(SpecError, match="Did you mean 'copula'"):
        go(replace(tiny, generators=(replace(tiny.generators[0], name="copulla"),)), out)
    assert not out.exists()


def test_a_plan_of_a_run_that_was_begun_counts_what_is_done(tiny: Suite, done: RunDir) -> None:
    fresh, resumed = plan(tiny, DataStore()), plan(tiny, DataStore(), done)
    assert (fresh.done, resumed.done) == (0, len(fresh.cells))
    assert (resumed.cells, resumed.jobs, resumed.bytes, resumed.outdated) == ([], 0, 0, 0)
    assert resumed.seconds < fresh.seconds


def test_a_plan_tells_cells_that_other_code_made(
    tiny: Suite, done: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(environment.SOURCES, "fedbench.baselines.copula", "changed")
    found = plan(tiny, DataStore(), done)
    assert (found.done, found.outdated, found.jobs) == (7, 4, 1)
    assert {name.split("-")[2] for name in found.cells} == {"copula"}


def test_a_plan_costs_what_is_asked(tiny: Suite) -> None:
    def seconds(**changes: Any) -> float:
        return plan(replace(tiny, **changes), DataStore()).seconds

    assert seconds(regimes=("local",)) < seconds()
    assert seconds(metrics=tiny.metrics[:1]) < seconds()
    network = [replace(tiny.generators[0], name="tvae", settings={"passes": n}) for n in (10, 90)]
    short, long = (seconds(generators=(generator,)) for generator in network)
    assert short + 10 < long


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("pass", "returned None; expected a list of Measure and Refusal."),
        ("return [0.5]", "returned a list with 0.5; expected Measure or Refusal."),
        (
            "return [Measure(value=None, low=0, high=1, n=1)]",
            "returned a list with the value None in a Measure; expected a number.",
        ),
    ],
)
def test_a_metric_that_answers_nonsense_is_named(
    tiny: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, problem: str
) -> None:
    (tmp_path / "odd.py").write_text(
        "from dataclasses import dataclass\n"
        "from fedbench.metric import Measure, Metric\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Odd(Metric):\n"
        "    family, better, version = 'fidelity', 'lower', 1\n"
        f"    def measure(self, evidence, rng):\n        {body}\n"
    )
    monkeypatch.chdir(tmp_path)
    metrics = (Choice("odd:Odd"), Choice("marginals"))
    found = go(replace(tiny, metrics=metrics, attacks=(), regimes=("federated",)), tmp_path, jobs=1)
    sys.modules.pop("odd", None)
    rows = found.results()
    odd = rows[rows["name"] == "odd"]
    assert set(odd["status"]) == {"failed"}
    assert set(odd["reason"]) == {f"odd:Odd.measure {problem}"}
    assert (rows[rows["name"] == "marginals"]["status"] == "done").any()
    assert f"odd: odd:Odd.measure {problem}" in failures(found)[0]


def test_a_plan_names_cells_and_licences(tiny: Suite) -> None:
    found = plan(tiny, DataStore())
    assert len(found.cells) == 2 * 4 + 3
    assert found.licences[0][0] == "pbcseq"
    assert found.seconds > 0
    assert found.bytes > 0
