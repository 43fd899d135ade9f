"""A stranger's generator, from a folder of its own to the board."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fedbench import cli


def test_a_third_party_generator_goes_from_run_to_board(
    added: Path,
    their_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(added)

    def fedbench(*arguments: str) -> tuple[int, str, str]:
        status = cli.main([*arguments, "--board", "tiny.toml"])
        return status, *capsys.readouterr()

    (entry,) = (added / "board").iterdir()
    assert sorted(file.name for file in entry.iterdir()) == ["entry.json", "rows.parquet"]

    status, said, _ = fedbench("leaderboard", "verify", str(their_bundle), "-j", "1")
    assert status == 0
    assert re.search(r"[\d,]+ rows come out as submitted; \d+ are attested", said)

    status, _, complaint = fedbench("leaderboard", "add", str(their_bundle))
    assert status == 2
    assert "is on the board already" in complaint

    status, said, _ = fedbench("leaderboard", "show")
    assert status == 0
    assert "shuffled" in said
    assert "rank 1 of 1" in said

    (table,) = json.loads(fedbench("leaderboard", "show", "--json")[1])["tables"]
    numbers = {
        (line["generator"], line["regime"], cell["title"]): cell["value"]
        for line in table["lines"]
        for cell in line["cells"]
    }
    assert numbers["copy", "control", "membership"] > 0.9
    assert numbers["shuffled", "federated", "bytes"] > numbers["shuffled", "local", "bytes"] == 0
    assert numbers["shuffled", "local", "gain"] is None

    assert fedbench("leaderboard", "build")[0] == 0
    page = (added / "leaderboard.html").read_text()
    assert "their_generator:Shuffled" in page
    assert "attested" in page
    assert not re.search(r"(src|href)\s*=|@import|url\(", page), "the page needs nothing else"


def test_a_board_without_entries_says_so(
    tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(tiny)
    assert cli.main(["leaderboard", "show", "--board", "tiny.toml"]) == 0
    assert capsys.readouterr().out == "There is nothing on the board 'tiny' yet.\n"
    assert cli.main(["leaderboard", "show", "--board", "tiny.toml", "--entries", "bord"]) == 2
    assert "there is no folder 'bord'" in capsys.readouterr().err


def test_an_entry_that_was_changed_is_not_shown(
    entry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = entry / "rows.parquet"
    rows.write_bytes(rows.read_bytes()[:-1])
    tiny = str(entry.parents[1] / "tiny.toml")
    asked = ["leaderboard", "show", "--board", tiny, "--entries", str(entry.parent)]
    assert cli.main(asked) == 2
    assert "rows.parquet is not what was added" in capsys.readouterr().err


def test_an_entry_of_another_board_is_not_shown(
    entry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = entry.parents[1] / "tiny.toml"
    tiny.write_text(tiny.read_text().replace("records = 60", "records = 50"))
    asked = ["leaderboard", "build", "--board", str(tiny), "--entries", str(entry.parent)]
    page = entry.parent / "page.html"
    assert cli.main([*asked, "-o", str(page)]) == 2
    assert "belongs to the board 'tiny' as it was" in capsys.readouterr().err
    assert not page.exists()


def test_a_name_that_is_taken_is_refused_before_the_work(
    entry: Path,
    forged: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def touch(files: dict[str, bytes]) -> None:
        files["suite.toml"] += b"\n# another bundle with the same generator\n"

    tiny = ["--board", str(entry.parents[1] / "tiny.toml"), "--entries", str(entry.parent)]
    assert cli.main(["leaderboard", "add", str(forged(touch)), *tiny]) == 2
    assert "The board has a generator called 'shuffled' already" in capsys.readouterr().err
    assert list(entry.parent.iterdir()) == [entry]
