"""Audits with canaries inside runs: cells of their own, broken promises, controls."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fedbench.cells import Cell
from fedbench.config import Suite, suite_of
from fedbench.data import DataStore
from fedbench.errors import SpecError
from fedbench.federation.study import Choice
from fedbench.jobs import Work, jobs_of
from fedbench.results import CONTRADICTED, RunDir, read_json
from fedbench.runner import failures, run

WEAKENED = "fedbench.testing.weakened:Weakened"
CANARIES = 1000


def audits(canaries: int = CANARIES) -> list[Any]:
    updates = {"name": "canary_updates", "canaries": canaries, "reference": 500}
    return ["dcr", {"name": "canary", "canaries": canaries}, updates]


def asked(attacks: list[Any]) -> Suite:
    return suite_of(
        {
            "suite": {
                "name": "planted",
                "seeds": [0],
                "regimes": ["federated"],
                "records": 50,
                "metrics": ["marginals"],
                "attacks": attacks,
                "device": "cpu",
                "replicates": 10,
            },
            "datasets": [
                {
                    "name": "simulated",
                    "patients": 1000,
                    "hospitals": 5,
                    "unequal": 0.0,
                    "labs": 8,
                    "codes": 8,
                    "parts": {"train": 0.1, "control": 0.2, "reference": 0.6},
                }
            ],
            "scenarios": [
                {
                    "name": "epsilon-1",
                    "partition": "natural",
                    "rounds": 1,
                    "privacy": {"name": "patient", "epsilon": 1.0, "delta": 1e-5},
                }
            ],
            "generators": [
                {"name": WEAKENED, "noise": 1.0, "label": "kept"},
                {"name": WEAKENED, "noise": 0.1, "label": "broken"},
            ],
        },
        where="test",
    )


def go(suite: Suite, out: Path, resume: Path | None = None) -> RunDir:
    return run(suite, out=out, resume=resume, jobs=1, store=DataStore(), observe=lambda _: None)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return go(asked(audits()), tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def rows(done: RunDir) -> pd.DataFrame:
    return done.results()


def bound(rows: pd.DataFrame, label: str, attack: str) -> Any:
    found = rows[(rows["label"] == label) & (rows["name"] == f"{attack}.epsilon")]
    assert len(found) == 1
    return found.iloc[0]


def test_canaries_are_in_cells_of_their_own(rows: pd.DataFrame) -> None:
    planted = rows["label"].str.endswith("+canaries")
    assert set(rows.loc[planted, "name"].str.partition(".")[0]) == {"canary", "canary_updates"}
    assert set(rows.loc[~planted, "name"].str.partition(".")[0]) == {"dcr", "marginals"}
    ours = rows[planted & (rows["regime"] != "control")]
    assert set(ours["label"]) == {"kept+canaries", "broken+canaries"}
    assert set(ours["generator"]) == {WEAKENED}


def test_audits_change_nothing_in_other_cells() -> None:
    with_audits, without = asked(audits()), asked(["dcr"])
    ids = [
        {
            cell.train_id
            for job in jobs_of(suite)
            for cell in (Cell.of(Work(job, suite, RunDir(Path()), DataStore(), print), *each)
                         for each in job.cells(suite))
        }
        for suite in (with_audits, without)
    ]  # fmt: skip
    assert ids[1] < ids[0]


def test_a_broken_promise_fails_its_cell_and_keeps_its_scores(
    done: RunDir, rows: pd.DataFrame
) -> None:
    broken = bound(rows, "broken+canaries", "canary_updates")
    assert broken["status"] == "failed"
    assert broken["reason"].startswith(CONTRADICTED)
    assert broken["epsilon_empirical"] == broken["value"] > broken["epsilon"] == 1.0
    assert broken["p_adjusted"] < 0.05
    assert broken["n"] == broken["n_members"] + broken["n_nonmembers"] == CANARIES
    assert broken["delta"] == 1e-5
    (cell,) = [c for c in done.cells() if c.facts()["train_id"] == broken["train_id"]]
    assert cell.facts()["status"] == "failed"
    (told,) = failures(done)
    assert "the promise of epsilon 1 is broken" in told


def test_a_kept_promise_is_not_contradicted(rows: pd.DataFrame) -> None:
    for attack in ("canary", "canary_updates"):
        kept = bound(rows, "kept+canaries", attack)
        assert kept["status"] == "done"
        assert kept["epsilon_empirical"] <= 1.0
        assert kept["p_adjusted"] == 1.0
        assert "could have been shown" in kept["verdict"]


def test_all_canaries_of_a_copy_are_found_and_none_elsewhere(rows: pd.DataFrame) -> None:
    copy = bound(rows, "copy+canaries", "canary")
    assert copy["value"] >= 0.9 * copy["high"] > 4.0
    assert bound(rows, "real+canaries", "canary")["value"] < 0.5
    checks = rows[(rows["name"] == "canary.check") & (rows["level"] == "")]
    assert checks["value"].tolist() == [1.0, 1.0]


def test_the_report_tells_audits_apart(done: RunDir) -> None:
    (world,) = read_json(done.path / "report.json")["worlds"]
    told = world["audits"]
    assert "The promise of broken is broken" in told["text"]
    assert [row["status"] for row in told["rows"]].count("failed") >= 1
    assert len(told["rows"]) == 4
    assert not [n for n in world["numbers"] if "canaries" in n["label"]]
    assert "+canaries" not in str(world["main"])
    page = (done.path / "report.md").read_text()
    assert "Was the promise kept?" in page
    assert "what hospitals send" in page


def test_the_first_answers_say_whether_promises_were_kept(done: RunDir) -> None:
    (world,) = read_json(done.path / "report.json")["worlds"]
    (leak,) = [said for said in world["headline"] if said["topic"] == "leak"]
    first, second, *_ = leak["text"].split("\n")
    assert re.match(
        r"The promise of broken is broken: epsilon is at least \d\.\d\d, 95 % sure, where 1 is",
        first,
    )
    assert re.match(
        r"The promise of kept is not contradicted, .*: epsilon is at least \d\.\d\d, 95 % sure, "
        r"where 1 is promised; up to 5\.1\d could have been shown\.",
        second,
    )
    assert leak["details"][0] == (
        "Controls first: audits with canaries have 6 controls, all were passed."
    )
    told = [check["text"] for check in world["checked"] if "canary" in check["text"]]
    assert len(told) == 6
    assert any(text.startswith("canary, a copy of the training records, seed 0") for text in told)
    for name in ("report.md", "report.html"):
        page = (done.path / name).read_text()
        assert page.count("a copy of the training records, seed 0") == 1


def test_a_finished_run_stays_as_it_is(done: RunDir, rows: pd.DataFrame) -> None:
    before = {cell.path: cell.facts() for cell in done.cells()}
    again = go(asked(audits()), done.path.parent, done.path)
    assert {cell.path: cell.facts() for cell in again.cells()} == before
    pd.testing.assert_frame_equal(again.results(), rows)


def test_audits_of_a_suite_plant_alike() -> None:
    suite = asked(audits())
    uneven = replace(suite, attacks=(*suite.attacks[:2], Choice("canary_updates")))
    uneven = replace(uneven, attacks=(Choice("canary", {"canaries": 30}), uneven.attacks[2]))
    with pytest.raises(SpecError, match="do not plant the same"):
        uneven.check()
    with pytest.raises(SpecError, match="kept for"):
        replace(suite.generators[0], label="mine+canaries")
