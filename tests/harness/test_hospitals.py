"""What is asked across hospitals, from a suite to its rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from fedbench.config import DatasetChoice, GeneratorChoice, Scenario, Suite, read_suite
from fedbench.data import DataStore
from fedbench.federation.study import Choice
from fedbench.rescoring import rescore
from fedbench.results import CellDir, RunDir
from fedbench.runner import run

TINY = Path(__file__).parents[1] / "golden" / "tiny.toml"


def go(suite: Suite, out: Path) -> RunDir:
    return run(suite, out=out, resume=None, jobs=1, store=DataStore(), observe=lambda _: None)


@pytest.fixture(scope="module")
def suite() -> Suite:
    tiny = read_suite(str(TINY))
    settings = {"patients": 400, "hospitals": 3, "shift": 2.0}
    network = {"passes": 4, "hidden": 8, "latent": 4}
    return replace(
        tiny,
        datasets=(
            DatasetChoice(
                name="simulated", settings=settings, parts={"train": 0.5, "control": "test"}
            ),
        ),
        scenarios=(
            Scenario(name="all", partition=Choice("natural"), strategy=Choice("fedavg"), rounds=2),
        ),
        generators=(
            GeneratorChoice(name="tvae", settings=network),
            GeneratorChoice(name="independent"),
        ),
        metrics=(Choice("marginals"), Choice("latent_site", {"shuffles": 19})),
        attacks=(Choice("dcr"),),
        replicates=20,
    )


@pytest.fixture(scope="module")
def done(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return go(suite, tmp_path_factory.mktemp("hospitals"))


def of(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[(rows["name"] == name) & (rows["column"] == "")]


def test_every_model_with_hidden_numbers_is_asked(done: RunDir) -> None:
    rows = done.results()
    mine = of(rows[rows["label"] == "tvae"], "latent_site")
    numbers = mine[(mine["status"] == "done") & (mine["target"] != "tax")]
    assert set(numbers["regime"]) == {"federated", "centralized", "local"}
    assert (numbers["floor"] - 0.5).abs().max() < 0.1
    assert numbers.loc[numbers["level"] == "", "p_value"].notna().all()
    others = mine[mine["regime"] == "mixture"]
    assert set(others["status"]) == {"not applicable"}
    plain = of(rows[rows["label"] == "independent"], "latent_site")
    assert set(plain["status"]) == {"not applicable"}
    assert "independent has no hidden numbers" in plain["reason"].iloc[0]
    assert "control" not in set(of(rows, "latent_site")["regime"])


def test_what_only_a_trained_model_tells_is_kept(done: RunDir, suite: Suite) -> None:
    before = done.results()
    again = rescore(done, metrics=(), attacks=(), jobs=1, store=DataStore(), observe=lambda _: None)
    assert (again.anew, again.changed) == (True, 0)
    pd.testing.assert_frame_equal(done.results(), before)
    (done.path / "suite.toml").write_text(
        replace(
            suite, metrics=(Choice("marginals"), Choice("latent_site", {"shuffles": 20}))
        ).to_toml()
    )
    rescore(done, metrics=(), attacks=(), jobs=1, store=DataStore(), observe=lambda _: None)
    mine = of(done.results(), "latent_site")
    late = mine[(mine["label"] == "tvae") & (mine["regime"] != "mixture")]
    assert set(late["status"]) == {"skipped"}
    assert late["reason"].str.contains("was not kept").all()


TURNS = {"each": 2}


@pytest.fixture(scope="module")
def arriving(suite: Suite) -> Suite:
    def scenario(name: str, rounds: int, strategy: Choice, participation: float = 1.0) -> Scenario:
        return Scenario(
            name=name,
            partition=Choice("natural"),
            strategy=strategy,
            rounds=rounds,
            participation=participation,
        )

    tvae, _ = suite.generators
    return replace(
        suite,
        regimes=("federated",),
        scenarios=(
            scenario("turns", 6, Choice("turns", TURNS)),
            scenario("never", 4, Choice("turns", TURNS)),
            scenario("some", 6, Choice("turns", TURNS), 0.5),
            scenario("all", 2, Choice("fedavg")),
        ),
        generators=(
            GeneratorChoice(name="tvae", settings={**tvae.settings, "passes": 60}),
            GeneratorChoice(name="copula"),
        ),
        metrics=(Choice("marginals"), Choice("forgetting")),
    )


def test_who_came_first_is_forgotten_where_hospitals_arrive(
    arriving: Suite, tmp_path: Path
) -> None:
    done = go(arriving, tmp_path)
    rows = done.results()
    mine = rows[rows["name"].fillna("").str.startswith("forgetting")]
    mine = mine[(mine["column"] == "") & (mine["target"] == "pooled")]
    turns = (mine["scenario"] == "turns") & (mine["label"] == "tvae")
    (low,) = mine.loc[turns & (mine["name"] == "forgetting"), "low"]
    assert low > 0
    others = mine[~turns]
    assert len(others)
    assert set(others["status"]) == {"not applicable"}
    kept = {cell.path.name.rpartition("-")[0] for cell in done.cells() if _earlier(cell)}
    assert kept == {"simulated-turns-tvae-federated-s0"}
    again = rescore(done, metrics=(), attacks=(), jobs=1, store=DataStore(), observe=lambda _: None)
    assert (again.anew, again.changed) == (True, 0)


def _earlier(cell: CellDir) -> bool:
    return (cell.path / "before").is_dir()


def test_sums_that_no_strategy_weighs_are_skipped_together_and_not_in_one_place(
    suite: Suite, tmp_path: Path
) -> None:
    aware = replace(suite.scenarios[0], strategy=Choice("daw"))
    asked = replace(
        suite,
        regimes=("federated", "centralized", "local"),
        scenarios=(aware,),
        generators=(GeneratorChoice(name="copula"), GeneratorChoice(name="independent")),
        metrics=(Choice("marginals"),),
        attacks=(),
    )
    rows = go(asked, tmp_path).results()
    mine = rows[(rows["label"] == "copula") & (rows["target"] != "tax")]
    found = {regime: set(rows["status"]) for regime, rows in mine.groupby("regime")}
    assert found["federated"] == {"skipped"}
    assert "done" in found["centralized"]
    assert "done" in found["local"]
    reason = mine.loc[mine["regime"] == "federated", "reason"].iloc[0]
    assert "whatever their weights" in reason
    floor = rows[(rows["label"] == "independent") & (rows["regime"] == "federated")]
    assert "done" in set(floor["status"])
