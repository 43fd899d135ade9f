from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as some

from fedbench.config import read_suite
from fedbench.direction import badness
from fedbench.leaderboards.board import Board, Column
from fedbench.leaderboards.entries import Entry
from fedbench.leaderboards.pages import page
from fedbench.leaderboards.ranking import Cell, ranks, tables

SEEDS = (0, 1, 2)


def a_board() -> Board:
    suite = replace(read_suite("quick"), regimes=("federated",), seeds=SEEDS)
    (opt,) = (dataset for dataset in suite.datasets if dataset.name == "opt")
    column = Column(title="fidelity", names=("associations",))
    return Board(
        name="made-up",
        title="Made up",
        about="",
        columns=(column,),
        tolerances={"default": 0.0},
        suite=replace(suite, datasets=(opt,)),
    )


def an_entry(label: str, values: Sequence[float | None], spread: float = 0.0) -> Entry:
    """Somebody's numbers under every seed; the patients are the same for everybody."""
    shared = np.random.default_rng(0).normal(size=100)
    rows = [
        {
            "dataset": "opt", "scenario": "clinics", "label": label, "regime": "federated",
            "seed": seed, "target": "pooled", "family": "fidelity", "name": "associations",
            "task": "", "secret": "", "level": "", "group": "", "better": "lower",
            "value": value, "low": value, "high": value, "n": 100,
            "status": "refused" if value is None else "done",
            "reason": "too few: <b>3</b>" if value is None else "", "verdict": "",
            "replicates": None if value is None else list(value + spread * shared),
        }
        for seed, value in zip(SEEDS, values, strict=True)
    ]  # fmt: skip
    choice = {"name": "x", "settings": {}}
    together = {"strategy": choice, "codec": choice, "privacy": choice}
    generator = {
        "label": label, "name": f"<i>{label}</i>", "settings": {}, "version": "0", "seconds": 1.0,
        "federation": {"clinics": {**together, "rounds": 2, "participation": 0.5}},
    }  # fmt: skip
    facts = {
        "generators": [generator], "environment": {}, "added": "2026-01-01", "bundle": "0" * 64,
        "recomputed": 3, "attested": 0,
    }  # fmt: skip
    return Entry(Path(label), facts, pd.DataFrame(rows))


def ranked(*found: Entry) -> Mapping[str, Cell]:
    (table,) = tables(a_board(), found)
    return {line.label: line.cells[0] for line in table.lines}


def rank(cell: Cell) -> tuple[int | None, int | None, int | None]:
    return cell.rank, cell.best, cell.worst


def test_who_is_always_ahead_is_first_for_sure() -> None:
    found = ranked(an_entry("a", [0.1, 0.2, 0.3], 9.0), an_entry("b", [0.2, 0.3, 0.4], 9.0))
    assert (rank(found["a"]), rank(found["b"])) == ((1, 1, 1), (2, 2, 2))


def test_who_is_ahead_under_some_seeds_may_be_second() -> None:
    found = ranked(an_entry("a", [0.1, 0.1, 0.5]), an_entry("b", [0.3, 0.3, 0.3]))
    assert (rank(found["a"]), rank(found["b"])) == ((1, 1, 2), (2, 1, 2))


def test_three_seeds_are_not_as_sure_as_their_bootstrap() -> None:
    # Ahead under every seed, but Student's t of three differences does not exclude 0.
    found = ranked(an_entry("a", [0.1, 0.1, 0.12]), an_entry("b", [0.125] * 3))
    assert (rank(found["a"]), rank(found["b"])) == ((1, 1, 2), (2, 1, 2))


def test_patients_that_matter_to_one_only_widen_its_rank() -> None:
    found = ranked(an_entry("a", [0.1] * 3, spread=1.0), an_entry("b", [0.2] * 3))
    assert rank(found["a"]) == (1, 1, 2)


def test_equals_share_the_better_rank() -> None:
    found = ranked(*(an_entry(name, [0.1] * 3) for name in "abc"))
    assert {rank(found[name]) for name in "abc"} == {(1, 1, 1)}


def test_who_lacks_a_seed_has_no_rank_but_a_reason() -> None:
    found = ranked(an_entry("a", [0.1, None, 0.1]), an_entry("b", [0.2] * 3))
    assert (found["a"].rank, found["a"].note) == (None, "2 of 3 seeds")
    assert (found["b"].rank, found["b"].of) == (1, 1)
    none = ranked(an_entry("a", [None] * 3))["a"]
    assert (none.value, none.note) == (None, "refused: too few: <b>3</b>")


@given(
    some.dictionaries(
        some.text(min_size=1), some.lists(some.floats(-9, 9), min_size=20, max_size=20), min_size=1
    ),
    some.sampled_from(["lower", "higher", "near 0.5"]),
)
def test_a_rank_lies_in_its_range(found: Mapping[str, Sequence[float]], better: str) -> None:
    draws = {name: np.array(values) for name, values in found.items()}
    values = {name: float(mine.mean()) for name, mine in draws.items()}
    ordered = ranks(draws, values, better)
    assert all(1 <= best <= at <= worst <= len(found) for at, best, worst in ordered.values())
    bad = {name: float(badness(value, better)) for name, value in values.items()}
    assert {n for n, (at, _, _) in ordered.items() if at == 1} == {
        name for name in bad if bad[name] == min(bad.values())
    }


def test_what_strangers_wrote_is_text_on_the_page() -> None:
    text = page(a_board(), [an_entry("a", [None] * 3)])
    assert "<b>3</b>" not in text
    assert "<i>a</i>" not in text
    assert "&lt;i&gt;a&lt;/i&gt;" in text


def test_the_page_says_how_hospitals_worked_together() -> None:
    entry = an_entry("a", [0.1, 0.2, 0.3])
    assert "stopped" not in page(a_board(), [entry])
    how = entry.facts["generators"][0]["federation"]["clinics"]
    how |= {"stopping": {"share": 0.2, "patience": 3}, "start": "site"}
    said = "clinics: x, 2 rounds, x codec, privacy x, 50% of hospitals a round, stopped early "
    text = page(a_board(), [entry])
    assert said in text
    assert "patience" in text
    assert "hospitals start apart" in text


def test_an_empty_board_has_a_page() -> None:
    assert "nothing on this board yet" in page(a_board(), [])
