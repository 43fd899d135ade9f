from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedbench.config import read_suite
from fedbench.errors import RunError, SpecError
from fedbench.federation.stopping import Stopping
from fedbench.federation.study import Choice
from fedbench.leaderboards.board import boards, frozen, read_board
from fedbench.leaderboards.entries import entries


def test_the_main_job_can_be_submitted_as_it_is() -> None:
    assert frozen(read_board("hospitals").suite) == frozen(read_suite("quick"))


@pytest.mark.parametrize("name", boards())
def test_every_board_that_comes_along_is_one_and_its_references_fit(
    name: str, tmp_path: Path
) -> None:
    board = read_board(name)
    assert board.name == name
    found = entries(board, tmp_path)
    assert found
    for entry in found:
        assert {*entry.rows["dataset"]} == {choice.name for choice in board.suite.datasets}


def test_generators_and_what_federation_does_are_left_open() -> None:
    suite = read_suite("quick")
    other = replace(
        suite,
        name="mine",
        threads=2,
        generators=suite.generators[:1],
        scenarios=tuple(
            replace(
                s,
                strategy=Choice("fedprox"),
                rounds=7,
                participation=0.5,
                stopping=Stopping(),
                start="site",
            )
            for s in suite.scenarios
        ),
    )
    read_board("hospitals").check(other, "mine")


def test_every_difference_is_named() -> None:
    suite = read_suite("quick")
    other = replace(suite, records=500, seeds=(0, 1), attacks=suite.attacks[:1])
    with pytest.raises(RunError) as error:
        read_board("hospitals").check(other, "mine")
    for words in ("suite.seeds is [0, 1],", "suite.records is 500,", "attacks.attribute is absent"):
        assert words in str(error.value)
    assert "suite.regimes" not in str(error.value)


def test_an_unknown_board_is_told_with_what_there_is() -> None:
    with pytest.raises(SpecError, match="Did you mean 'hospitals'"):
        read_board("hospital")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "tiny"', "", "'name' is missing"),
        ('title = "fidelity"', 'titel = "fidelity"', "titel"),
        ('target = "gain"', 'target = "win"', "'win'"),
        ("[suite]", "[tolerances]\ndcr = -1\n[suite]", "tolerance 'dcr' is -1"),
        ('attacks = ["dcr"]', 'attacks = ["drc"]', "Did you mean 'dcr'"),
        ("[board]", "board = 3\n[more]", "must be a table"),
        ("[board]", "[board", "not a TOML file"),
    ],
)
def test_a_board_that_does_not_fit_is_told(
    old: str, new: str, words: str, tmp_path: Path, tiny: str
) -> None:
    assert old in tiny
    (tmp_path / "board.toml").write_text(tiny.replace(old, new, 1))
    with pytest.raises(SpecError, match=words.replace("[", r"\[")):
        read_board(str(tmp_path / "board.toml"))


def test_a_tolerance_goes_by_the_first_word(tmp_path: Path, tiny: str) -> None:
    (tmp_path / "board.toml").write_text(tiny + "\n[tolerances]\ndcr = 0.5\n")
    found = read_board(str(tmp_path / "board.toml"))
    assert (found.tolerance("dcr.auc"), found.tolerance("marginals")) == (0.5, 1e-6)
