"""How hospitals differ, as it is told before a run and in its report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedbench import report
from fedbench.config import DatasetChoice, Scenario
from fedbench.data import DataStore
from fedbench.datasets.simulated import Simulated
from fedbench.federation.study import Choice
from fedbench.heterogeneity import indices
from fedbench.partition import Partition
from fedbench.partitioners.coding import Coding
from fedbench.partitioners.iid import Iid
from fedbench.report.differences import differences
from fedbench.results import CellDir, RunDir, frame, write_parquet
from fedbench.world import World

RECORDS = Simulated(patients=300, systems=("icd10", "icd9"), hospitals=2, codes=6)
SUITE = """
[suite]
name = "s"
records = 10

[[datasets]]
name = "simulated"

[[scenarios]]
name = "two"
partition = "natural"

[[generators]]
name = "copula"
"""


def _rows(dealt: Partition, simulated: Simulated = RECORDS) -> list[Mapping[str, Any]]:
    return [vars(row) for row in indices(simulated.load(DataStore()), dealt)]


def _dealt(sites: int, seed: int = 0, simulated: Simulated = RECORDS) -> Partition:
    cohort = simulated.load(DataStore())
    return Iid(sites=sites).deal(cohort, np.random.default_rng(seed))


def _text(*seeds: Sequence[Mapping[str, Any]], event: str = "death") -> str:
    return "\n".join(differences(seeds, event)["sentences"])


def test_the_extremes_are_named_with_their_numbers() -> None:
    cohort = RECORDS.load(DataStore())
    dead, alive = cohort.patients[cohort.event], cohort.patients[~cohort.event]
    said = _text(_rows(Partition({"east": dead, "west": alive})))
    times = max(len(alive), len(dead)) / min(len(alive), len(dead))
    assert f": {times:.1f} times as many." in said
    assert "Death: 0.0 % of patients (west) to 100.0 % (east)." in said
    assert "times as unlike." in said


def test_hospitals_that_chance_made_are_said_to_be_alike() -> None:
    many = replace(RECORDS, patients=4_000)
    said = _text(_rows(_dealt(2, simulated=many), many))
    assert said.startswith("2 hospitals with 2,000 patients each.\n")
    assert "So they are alike" in said
    assert "unlike." not in said


def test_one_hospital_differs_from_nobody() -> None:
    found = differences([_rows(_dealt(1))], "death")
    assert found["sentences"] == ["There is one hospital, so none that could differ from it."]
    assert [row["site"] for row in found["rows"]] == ["site-1"]


def test_seeds_that_deal_anew_give_ranges() -> None:
    seeds = [_rows(_dealt(3, seed)) for seed in range(3)]
    found = differences(seeds, "death")
    rates = [row["value"] for rows in seeds for row in rows
             if (row["site"], row["name"]) == ("site-2", "event rate")]  # fmt: skip
    (number,) = [n for n in found["numbers"] if (n["site"], n["name"]) == ("site-2", "event rate")]
    assert (number["low"], number["high"]) == (min(rates), max(rates))
    heads = [column["title"] for column in found["columns"]]
    shown = found["rows"][1]["cells"][heads.index("death")]
    assert shown == f"{100 * min(rates):.1f} % to {100 * max(rates):.1f} %"


def test_what_was_merged_is_told() -> None:
    dealt = _dealt(2)
    merged = Partition(dealt.patients, {"site-1": {"a": 3, "b": 12}})
    assert "“site-1” stands for 2 hospitals of the records, with 3 to 12 patients each." in _text(
        _rows(merged)
    )


def test_what_a_map_between_systems_covers_is_told(tmp_path: Path) -> None:
    pairs = list(zip(RECORDS.names("icd10"), RECORDS.names("icd9"), strict=True))[:2]
    path = tmp_path / "map.csv"
    path.write_text("source,target\n" + "".join(f"{a},{b}\n" for a, b in pairs))
    dealer = Coding(
        at=("site-2",), within={"name": "iid", "sites": 2}, map=str(path), level="code",
        source="simulated-icd10", target="simulated-icd9",
    )  # fmt: skip
    settings = {**dealer.settings, "within": dict(dealer.within)}
    scenario = Scenario(name="words", partition=Choice("coding", settings))
    cohort = RECORDS.load(DataStore())
    world = World(DatasetChoice(name="simulated"), scenario, 0, cohort, 100, 20)
    codes = cohort.codes[cohort.codes["patient"].isin(world.partition.patients["site-2"])]
    mine = codes.loc[codes["system"] == "simulated-icd10", "code"]
    share = mine.isin([source for source, _ in pairs]).mean()
    assert (
        f"site-2 writes its diagnoses in simulated-icd9: {100 * share:.1f} % of {len(mine)} have a "
        f"counterpart, and of the different codes {100 * 2 / mine.nunique():.1f} % of "
        f"{mine.nunique()}; the others stay as they are."
    ) in _text(world.heterogeneity)


def test_a_report_has_them_in_every_form(tmp_path: Path) -> None:
    known = _rows(_dealt(2))
    (tmp_path / "suite.toml").write_text(SUITE)
    row = {"suite": "s", "dataset": "simulated", "scenario": "two", "seed": 0, "name": "marginals",
           "status": "done", "target": "pooled", "value": 0.1, "n": 9, "family": "fidelity",
           "better": "lower", "generator": "copula", "regime": "federated",
           "train_id": "abc"}  # fmt: skip
    write_parquet(tmp_path / "results.parquet", frame([row]))
    cell = tmp_path / "cells" / "simulated-two-abc"
    cell.mkdir(parents=True)
    parts = pd.DataFrame({"patient": ["a", "b"], "site": ["site-1", "site-2"], "part": "train"})
    write_parquet(cell / "partition.parquet", parts)
    CellDir(cell).finish({"row": row, "heterogeneity": known})
    page = report.write(RunDir(tmp_path)).read_text()
    (world,) = json.loads((tmp_path / "report.json").read_text())["worlds"]
    event = RECORDS.schema.outcome
    assert event is not None
    found = differences([known], event.label)
    assert world["differences"] == json.loads(json.dumps(found))
    markdown = (tmp_path / "report.md").read_text()
    for sentence in found["sentences"]:
        assert sentence in markdown
    assert markdown.count("### How the hospitals differ") == 1
    assert page.count("<h3>How the hospitals differ</h3>") == 1
    for each in found["rows"]:
        assert f'<th scope="row">{each["site"]}</th><td>{each["cells"][0]}</td>' in page


def test_what_a_scenario_changed_is_told_by_hospital() -> None:
    rows = [
        {"site": "a", "name": "lost crp", "value": 1.0},
        {"site": "a", "name": "lost sodium", "value": 0.25},
        {"site": "a", "name": "changed age", "value": 0.5},
        *({"site": "b", "name": f"changed lab{i}", "value": 0.9 + i / 100} for i in range(7)),
        *({"site": site, "name": "patients", "value": 5.0} for site in "ab"),
        {"site": "a", "name": "missing", "value": 0.0},
        {"site": "b", "name": "missing", "value": 0.0},
        *({"site": s, "name": n, "value": 0.1} for s in "ab" for n in DIVERGENCES),
    ]
    said = differences([rows], "")["sentences"]
    assert (
        "As the scenario says, a never writes down crp, loses 25.0 % of what is known of sodium "
        "and writes age (50.0 % of values) otherwise (of training patients)."
    ) in said
    assert (
        "As the scenario says, b writes 7 columns (90.0 % of values or more) otherwise "
        "(of training patients)."
    ) in said


DIVERGENCES = ("divergence", "divergence by chance")
