"""Attacks on the training itself, from a suite to its results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedbench import report
from fedbench.config import Suite, read_suite
from fedbench.data import DataStore
from fedbench.federation.study import Choice
from fedbench.overhearing import Overheard
from fedbench.rescoring import rescore
from fedbench.results import RunDir
from fedbench.runner import run
from fedbench.wire import chosen

TINY = Path(__file__).parents[1] / "golden" / "tiny.toml"
ALIKE = {"covariance": "identity", "rounds": 1}


@pytest.fixture(scope="module")
def suite() -> Suite:
    tiny = read_suite(str(TINY))
    return replace(
        tiny,
        regimes=("federated", "local"),
        generators=tuple(each for each in tiny.generators if each.name == "copula"),
        metrics=(Choice("marginals"),),
        attacks=(Choice("gradient", ALIKE), Choice("aggregate")),
        replicates=10,
    )


@pytest.fixture(scope="module")
def done(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    out = tmp_path_factory.mktemp("overheard")
    return run(suite, out=out, resume=None, jobs=1, store=DataStore(), observe=lambda _: None)


def test_a_run_attacks_what_crossed(done: RunDir) -> None:
    rows = done.results()
    whole = rows["site"].eq("") | rows["model"].ne("")
    mine = rows[rows["name"].eq("gradient.auc") & whole]
    by_regime = mine.drop_duplicates("regime").set_index("regime")
    assert by_regime.loc["federated", "status"] == "done"
    assert "identity" in str(by_regime.loc["federated", "threat"])
    assert by_regime.loc["local", "status"] == "not applicable"
    assert by_regime.loc["control", "status"] == "not applicable"
    few = rows[rows["name"].str.startswith("aggregate") & rows["regime"].eq("federated")]
    assert set(few["status"]) == {"refused"}
    assert few["reason"].str.contains("1,000").all()


def test_who_is_found_is_told_of_what_the_report_is_about(done: RunDir) -> None:
    seen = {
        (row["regime"], path.name)
        for cell in done.cells()
        for row in [cell.facts()["row"]]
        for path in cell.path.glob("exposure-*")
    }
    assert {regime for regime, _ in seen} == {"federated"}
    (world,) = report.build(done)["worlds"]
    assert [curve["attack"] for curve in world["exposed"]["curves"]] == ["gradient"]


def test_nothing_that_crossed_is_stored(done: RunDir) -> None:
    cell = next(c for c in done.cells() if c.facts()["row"]["regime"] == "federated")
    files = {path.relative_to(cell.path).parts[0] for path in cell.path.rglob("*")}
    assert files == {
        "cell.json",
        "exposure-gradient.parquet",
        "guesses-gradient.parquet",
        "history.parquet",
        "ledger.parquet",
        "measures",
        "partition.parquet",
        "synthetic",
        "timings.json",
    }


def test_what_was_not_heard_cannot_be_asked_later(done: RunDir) -> None:
    store = DataStore()
    rescore(done, metrics=[], attacks=["cosine"], jobs=1, store=store, observe=lambda _: None)
    rows = done.results()
    late = rows[rows["name"].str.startswith("cosine") & rows["regime"].eq("federated")]
    assert set(late["status"]) == {"skipped"}
    assert late["reason"].str.contains("Start a new run").all()
    kept = rows[rows["name"].eq("gradient.auc") & rows["regime"].eq("federated")]
    assert set(kept["status"]) == {"done"}


def test_rounds_are_chosen_evenly() -> None:
    assert chosen(20, 3) == [0, 10, 19]
    assert chosen(2, 5) == [0, 1]


def test_where_nothing_crosses_there_is_a_reason() -> None:
    for regime in ("centralized", "local", "mixture"):
        assert Overheard.of(None, regime, alone=True).why.status == "not applicable"
    assert Overheard.of(None, "federated", alone=True).why.status == "skipped"
