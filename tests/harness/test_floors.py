"""The floor is what single columns reach, and not what one draw of them does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedbench.config import DatasetChoice, Scenario
from fedbench.data import DataStore
from fedbench.datasets.pbcseq import Pbcseq
from fedbench.federation.study import Choice
from fedbench.floors import DRAWS, FLOOR, Redraws, drawn
from fedbench.given import Asked, Case, prepare
from fedbench.kinds import METRICS
from fedbench.metric import Measure
from fedbench.scoring import Answer, Aside, answers
from fedbench.verdicts import finished
from fedbench.world import World


def made(n: int, seed: int, start: int = 0) -> pd.DataFrame:
    """Patients whose columns hang together."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n)
    ill = (a + rng.normal(size=n) > 0.5).astype(int)
    return pd.DataFrame(
        {"a": a, "b": a + rng.normal(size=n), "ill": ill},
        index=[f"p{start + i}" for i in range(n)],
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    here = tmp_path_factory.mktemp("tables")
    files: dict[str, Path] = {}
    for name, table in (("train", made(150, 0)), ("test", made(300, 1, 1000))):
        files[name] = here / f"{name}.csv"
        table.to_csv(files[name], index_label="patient")
    synthetic = here / "synthetic.csv"
    made(150, 2).to_csv(synthetic, index=False)
    return prepare(Asked(parts=files, synthetic=synthetic, predict=("ill",))).world


def asked(world: World, name: str, seed: int, *, few: bool = False) -> list[Answer]:
    """What a metric says of one draw."""
    place = replace(world, replicates=8, _views={}) if few else world
    view = place.synthetic(drawn(place, np.random.default_rng(seed)))
    return list(answers(place, name, METRICS.build(name), {"": view}, Aside()))


def values(found: list[Answer]) -> Mapping[object, float]:
    return {
        (a.question, a.found.part, a.found.key): a.found.value
        for a in found
        if isinstance(a.found, Measure)
    }


ENDING = [
    name
    for name in METRICS.names()
    if METRICS.find(name).anchors.floor == FLOOR and not METRICS.find(name).needs_replicates
]


@pytest.mark.parametrize("name", ENDING)
def test_a_value_does_not_depend_on_how_many_replicates_are_drawn(world: World, name: str) -> None:
    many, few = (values(asked(world, name, 1, few=few)) for few in (False, True))
    assert many.keys() == few.keys()
    for key, value in many.items():
        assert few[key] == pytest.approx(value, abs=1e-9, nan_ok=True)


def beside(folder: Path, synthetic: pd.DataFrame, called: str = "") -> Case:
    """The same real patients, and this release."""
    files = {name: folder / f"{called}{name}.csv" for name in ("train", "test")}
    made(150, 0).to_csv(files["train"], index_label="patient")
    made(300, 1, 1000).to_csv(files["test"], index_label="patient")
    synthetic.to_csv(folder / "synthetic.csv", index=False)
    return prepare(Asked(parts=files, synthetic=folder / "synthetic.csv", predict=("ill",)))


def test_the_floor_is_the_training_records_with_every_column_shuffled(tmp_path: Path) -> None:
    world = beside(tmp_path, made(150, 2)).world
    floor = drawn(world, np.random.default_rng(0)).table
    assert (floor.to_numpy() != world.train.table.to_numpy()).any()
    for column in floor:
        real = world.train.table[column]
        assert sorted(floor[column].astype(str)) == sorted(real.astype(str)), column
    assert abs(floor["a"].corr(floor["b"])) < 0.25


def test_neither_floor_depends_on_an_outlier_of_the_release(tmp_path: Path) -> None:
    usual = beside(tmp_path, made(150, 2))
    odd = beside(tmp_path, made(150, 2).assign(a=lambda t: [1e6, *t["a"][1:]]))
    assert odd.schema.static["a"].high == 1e6
    for floor in (
        lambda case: drawn(case.world, np.random.default_rng(0)),
        lambda case: case.uniform(np.random.default_rng(0)),
    ):
        pd.testing.assert_frame_equal(floor(usual).table, floor(odd).table)


def test_what_files_are_called_draws_no_lots(tmp_path: Path) -> None:
    one, other = (beside(tmp_path, made(150, 2), called).world for called in ("", "my-"))
    assert one.schema.name != other.schema.name
    assert (one.everyone.weights == other.everyone.weights).all()
    floors = [drawn(world, world.seeds.child("x").rng()).table for world in (one, other)]
    pd.testing.assert_frame_equal(floors[0], floors[1])


def test_the_time_of_an_outcome_stays_with_its_event_and_values_with_a_visit() -> None:
    scenario = Scenario(name="two", partition=Choice("iid", {"sites": 2}))
    world = World(DatasetChoice(name="pbcseq"), scenario, 0, Pbcseq().load(DataStore()), 500, 50)
    floor, real = drawn(world, np.random.default_rng(0)).table, world.train.table
    together = {*zip(real["event"], real["time"], strict=True)}
    assert {*zip(floor["event"], floor["time"], strict=True)} <= together
    needing = [feature for feature in world.schema.features if feature.needs]
    assert needing
    for feature in needing:
        shares = [
            t.loc[t[feature.needs].notna(), feature.name].notna().mean() for t in (real, floor)
        ]
        assert abs(shares[0] - shares[1]) < 0.1, feature.name


def auroc(found: list[Answer]) -> Measure:
    (one,) = (a.found for a in found if a.found.part == "auroc" and not a.question.site)
    assert isinstance(one, Measure)
    return one


def test_the_floors_interval_holds_the_mean_of_all_draws(world: World) -> None:
    alone = [auroc(asked(world, "utility", 100 + i, few=True)).value for i in range(60)]
    truth = float(np.mean(alone))
    metric, hits, missed = METRICS.build("utility"), 0, 0
    for seed in range(20):
        other = replace(world, seed=seed, _views={})
        first = asked(other, "utility", seed)
        found = auroc(list(Redraws(other).steadied("utility", metric, first)))
        hits += found.low <= truth <= found.high
        missed += not auroc(first).low <= truth <= auroc(first).high
    assert hits >= 18
    assert missed > 5


def test_replicates_are_spread_as_the_interval_is_and_others_stay(world: World) -> None:
    first = asked(world, "utility", 3)
    redraws = Redraws(world)
    found = auroc(list(redraws.steadied("utility", METRICS.build("utility"), first)))
    assert found.replicates is not None
    assert found.replicates.mean() == pytest.approx(found.value, abs=1e-6)
    low, high = np.quantile(found.replicates, [0.025, 0.975])
    assert high - low == pytest.approx(found.high - found.low, rel=0.3)
    shares = asked(world, "marginals", 3)
    assert list(redraws.steadied("marginals", METRICS.build("marginals"), shares)) == shares
    assert DRAWS == 5


def test_where_a_number_is_best_stays_with_it(world: World) -> None:
    found = list(
        Redraws(world).steadied("support", METRICS.build("support"), asked(world, "support", 3))
    )
    (density,) = (a.found for a in found if a.found.part == "density" and not a.question.site)
    assert density.facts == {"better": "near 1"}


def row(label: str, regime: str, value: float, spread: float) -> dict[str, object]:
    """A number whose replicates lie so far apart."""
    found = METRICS.find("utility").anchors
    z = np.linspace(-1, 1, 401)
    return {
        "dataset": "d", "scenario": "", "seed": 0, "label": label, "generator": label,
        "regime": regime, "name": "utility.auroc", "family": "utility", "better": "higher",
        "target": "pooled", "site": "", "model": "", "secret": "", "anchors": found,
        "status": "done", "weak": "", "n": 9,
        "value": value, "low": value - spread, "high": value + spread,
        "replicates": value + spread * (z if label != FLOOR else np.roll(z, 100)),
    }  # fmt: skip


@pytest.mark.parametrize(("spread", "is_given"), [(0.02, True), (0.5, False)])
def test_no_scale_begins_at_a_floor_that_may_lie_at_the_ceiling(
    spread: float, *, is_given: bool
) -> None:
    rows = [row("copy", "control", 0.8, 0.02), row(FLOOR, "given", 0.5, spread)]
    found = finished([*rows, row("mine", "given", 0.7, 0.02)])
    (mine,) = (r for r in found if r["label"] == "mine")
    assert ("normalized" in mine) == is_given
    assert mine["floor"] == 0.5


def test_a_scale_begins_at_guessing_where_the_floor_foresees_the_opposite() -> None:
    rows = [row("copy", "control", 0.8, 0.02), row(FLOOR, "given", 0.33, 0.02)]
    found = finished([*rows, row("mine", "given", 0.5, 0.02)])
    mine, floor = (next(r for r in found if r["label"] == label) for label in ("mine", FLOOR))
    assert mine["floor"] == 0.5
    assert mine["normalized"] == pytest.approx(0.0)
    assert floor["value"] == 0.33
    assert floor["normalized"] < 0
