"""A run is scored again from its records: the same numbers, and nothing is trained."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from fedbench import cli, regimes
from fedbench.config import Suite, read_suite
from fedbench.data import DataStore
from fedbench.errors import RunError
from fedbench.federation.study import Choice
from fedbench.overrides import Overrides
from fedbench.rescoring import Rescored, rescore
from fedbench.results import RunDir, read_json, write_json
from fedbench.runner import run

Again = Callable[..., Rescored]


@pytest.fixture(scope="module")
def suite() -> Suite:
    found = read_suite("smoke", Overrides(generators=("independent",), regimes=("federated",)))
    return replace(
        found,
        metrics=(Choice("marginals"), Choice("communication"), Choice("missingness")),
        attacks=(Choice("dcr"), Choice("attribute")),
        records=100,
        replicates=20,
    )


@pytest.fixture(scope="module")
def first(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return go(suite, tmp_path_factory.mktemp("runs"))


def go(suite: Suite, out: Path) -> RunDir:
    return run(suite, out=out, resume=None, jobs=1, store=DataStore(), observe=lambda _: None)


@pytest.fixture
def done(first: RunDir, tmp_path: Path) -> RunDir:
    """A run of which a test may do what it likes."""
    return RunDir(shutil.copytree(first.path, tmp_path / first.path.name))


@pytest.fixture
def again(done: RunDir, monkeypatch: pytest.MonkeyPatch) -> Again:
    def train(*_: object) -> None:
        raise AssertionError("Nothing may be trained.")

    monkeypatch.setattr(regimes.Trainer, "release", train)

    def call(metrics: tuple[str, ...] = (), attacks: tuple[str, ...] = ()) -> Rescored:
        return rescore(
            done,
            metrics=metrics,
            attacks=attacks,
            jobs=1,
            store=DataStore(),
            observe=lambda _: None,
        )

    return call


def contents(run: RunDir) -> dict[str, bytes]:
    return {
        str(file.relative_to(run.path)): file.read_bytes()
        for file in run.path.rglob("*")
        if file.is_file()
    }


def test_every_file_comes_out_the_same(done: RunDir, again: Again) -> None:
    before = contents(done)
    found = again()
    assert (found.anew, found.new, found.changed) == (True, 0, 0)
    assert contents(done) == before


def test_what_is_scored_later_is_what_would_have_been_scored(
    suite: Suite, first: RunDir, done: RunDir, again: Again
) -> None:
    fewer = replace(suite, metrics=suite.metrics[:2], attacks=suite.attacks[:1])
    (done.path / "suite.toml").write_text(fewer.to_toml())
    again()
    asked = set(done.results()["score_id"])
    forgotten = [f for f in done.path.glob("cells/*/measures/*") if f.stem not in asked]
    for file in forgotten:
        file.unlink()
    found = again(metrics=("missingness",), attacks=("attribute",))
    # The generator and the copy are asked about gaps; they and both controls are attacked.
    assert (found.anew, found.asked) == (False, 2 + 3) == (False, len(forgotten))
    assert found.new > 0
    pd.testing.assert_frame_equal(done.results(), first.results())
    assert (done.path / "suite.toml").read_text() == (first.path / "suite.toml").read_text()


def test_a_control_that_nothing_was_asked_about_can_be_asked_later(
    suite: Suite, done: RunDir, again: Again
) -> None:
    fewer = replace(suite, metrics=(Choice("marginals"),), attacks=())
    (done.path / "suite.toml").write_text(fewer.to_toml())
    again()
    assert not (done.results()["label"] == "real").any()
    again(attacks=("attribute",))
    assert (done.results()["label"] == "real").any()


def test_a_longer_list_in_its_suite_is_enough(suite: Suite, done: RunDir, again: Again) -> None:
    longer = replace(suite, metrics=(*suite.metrics, Choice("associations")))
    (done.path / "suite.toml").write_text(longer.to_toml())
    found = again()
    assert (found.anew, found.asked) == (False, 2)
    assert "associations" in set(done.results()["name"])


def test_a_number_that_comes_out_otherwise_is_named(done: RunDir, again: Again) -> None:
    rows = done.results()
    rows.loc[(rows["name"] == "marginals") & (rows["column"] == ""), "value"] += 1e-9
    rows.to_parquet(done.path / "results.parquet", index=False)
    found = again()
    assert found.changed > 0
    assert found.names == ("marginals",)
    assert len(found.examples) == min(found.changed, 5)
    assert all(text.startswith("marginals · ") and " → " in text for text in found.examples)
    before, after = found.examples[0].rpartition(": ")[2].split(" → ")
    assert float(before) - float(after) == pytest.approx(1e-9, rel=0.01)


def test_a_cell_that_was_not_done_stays_so(done: RunDir, again: Again) -> None:
    cell = next(c for c in done.cells() if "independent" in c.path.name)
    facts = cell.facts()
    facts.pop("files")
    cell.finish({**facts, "status": "failed", "reason": "oh dear"})
    again()
    rows = done.results()
    assert set(rows.loc[rows["label"] == "independent", "reason"]) == {"oh dear"}


def test_nothing_is_said_without_records(done: RunDir, again: Again) -> None:
    cell = next(c for c in done.cells() if "independent" in c.path.name)
    facts = cell.facts()
    facts.pop("files")
    shutil.rmtree(cell.path / "synthetic")
    cell.finish(facts)
    before = contents(done)
    with pytest.raises(RunError, match=r"its synthetic records were not stored"):
        again()
    assert contents(done) == before


def test_other_records_are_not_scored(done: RunDir, again: Again) -> None:
    environment = read_json(done.path / "environment.json")
    write_json(done.path / "environment.json", {**environment, "data": {"opt": "other"}})
    with pytest.raises(RunError, match=r"with the fingerprint other; those here have "):
        again()


def test_patients_who_are_dealt_otherwise_are_not_scored(done: RunDir, again: Again) -> None:
    cell = next(c for c in done.cells() if "independent" in c.path.name)
    facts = cell.facts()
    facts.pop("files")
    file = cell.path / "partition.parquet"
    table = pd.read_parquet(file)
    table.assign(site=table["site"].to_numpy()[::-1]).to_parquet(file, index=False)
    cell.finish(facts)
    with pytest.raises(RunError, match=r"dealt otherwise by this version"):
        again()


def test_what_was_not_trained_is_not_trained_now(suite: Suite, done: RunDir, again: Again) -> None:
    more = replace(suite, regimes=("federated", "local"))
    (done.path / "suite.toml").write_text(more.to_toml())
    with pytest.raises(RunError, match=r"local · 0 is in suite.toml, and was not trained"):
        again()


def test_the_command_tells_mistakes_in_one_line(
    done: RunDir, capfd: pytest.CaptureFixture[str]
) -> None:
    before = contents(done)
    for options, problem in (
        (["--metric", "marginal"], "There is no 'marginal' in fedbench.metrics. Did you mean"),
        (["-j", "0"], "--jobs is 0; expected at least 1."),
    ):
        assert cli.main(["score", str(done.path), *options]) == 2
        said = capfd.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1)
        assert problem in said.err
    assert contents(done) == before
    for command in ("evaluate", "audit"):
        (done.path / f"{command}.toml").touch()
        assert cli.main(["score", str(done.path)]) == 2
        told = capfd.readouterr().err
        assert f"was made by `fedbench {command}`, which keeps no records" in told
        assert f"Do `fedbench {command}` again with the same tables." in told
        assert told.count("\n") == 1
        (done.path / f"{command}.toml").unlink()


def test_the_command_says_what_it_asked(done: RunDir, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["score", str(done.path), "--metric", "associations", "-j", "1"]) == 0
    said = capfd.readouterr()
    assert said.out.startswith("What had no answer was asked: 2 questions to cells; ")
    assert "Report: " in said.out
