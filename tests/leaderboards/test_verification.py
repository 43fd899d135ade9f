"""What a forger could try, with hashes that fit."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from fedbench import cli

Files = dict[str, bytes]
Said = tuple[int, str]

OTHER_GUESSES = "the guesses of dcr are not what this attack answers"


def table(content: bytes) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(content))


def content(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


@pytest.fixture
def verify(
    their_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[Path], Said]:
    """Verify a bundle, which leaves nothing behind."""

    def call(bundle: Path) -> Said:
        before = sorted(bundle.parent.iterdir())
        tiny = str(their_folder / "tiny.toml")
        status = cli.main(["leaderboard", "verify", str(bundle), "--board", tiny, "-j", "1"])
        assert sorted(bundle.parent.iterdir()) == before
        return status, capsys.readouterr().err

    return call


def rows(files: Files, where: Callable[[pd.DataFrame], pd.Series], **values: object) -> None:
    found = table(files["results.parquet"])
    at = where(found)
    assert at.any()
    for name, value in values.items():
        found[name] = found[name].mask(at, value)
    files["results.parquet"] = content(found)


def cell(files: Files, regime: str, seed: int) -> str:
    """The train id of a cell."""
    found = table(files["results.parquet"])
    return str(found[(found["regime"] == regime) & (found["seed"] == seed)]["train_id"].iloc[0])


def one(name: str) -> Callable[[pd.DataFrame], pd.Series]:
    def where(found: pd.DataFrame) -> pd.Series:
        return (
            (found["name"] == name)
            & (found["regime"] == "federated")
            & (found["seed"] == 1)
            & (found["target"] == "pooled")
            & (found["column"] == "")
        )

    return where


def test_a_changed_score_a_changed_record_and_other_guesses_are_each_named(
    their_folder: Path, forged: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def change(files: Files) -> None:
        rows(files, one("associations"), value=0.01)
        guesses = f"cells/{cell(files, 'federated', 0)}/guesses-dcr.parquet"
        files[guesses] = content(table(files[guesses]).assign(score=0.0))
        static = f"cells/{cell(files, 'local', 0)}/synthetic/static.parquet"
        records = table(files[static])
        files[static] = content(records.assign(age=[70.0, *records["age"][1:]]))

    tiny = str(their_folder / "tiny.toml")
    asked = ["leaderboard", "verify", str(forged(change)), "--board", tiny, "-j", "1"]
    assert cli.main([*asked, "--json"]) == 2
    found = capsys.readouterr()
    named = json.loads(found.out)["mismatches"]
    mine = "pbcseq · two · shuffled"
    score = [line for line in named if line.startswith(f"{mine} · federated · seed 1")]
    assert score == [line for line in named if "value is 0.01, recomputed" in line]
    assert len(score) == 1
    guesses = [line for line in named if line.startswith(f"{mine} · federated · seed 0:")]
    assert guesses == [f"{mine} · federated · seed 0: {OTHER_GUESSES}"]
    record = [line for line in named if line.startswith(f"{mine} · local · seed 0 · ")]
    assert any("associations: value is" in line for line in record)
    assert f"{len(named)} things do not come out as submitted" in found.err


def test_too_few_records_are_refused_by_name(
    forged: Callable[..., Path], verify: Callable[[Path], Said]
) -> None:
    def change(files: Files) -> None:
        mine = cell(files, "federated", 0)
        for kind in ("static", "visits", "outcome"):
            name = f"cells/{mine}/synthetic/{kind}.parquet"
            records = table(files[name])
            files[name] = content(records[records["patient"] < "p080"])

    status, said = verify(forged(change))
    assert status == 2
    assert "shuffled · federated · seed 0: it has 80 records, expected" in said


def test_how_hospitals_worked_together_is_what_the_rows_say(
    forged: Callable[..., Path], verify: Callable[[Path], Said]
) -> None:
    def change(files: Files) -> None:
        files["suite.toml"] = files["suite.toml"].replace(b"rounds = 2", b"rounds = 3")

    status, said = verify(forged(change))
    assert status == 2
    assert re.search(r"shuffled · federated · .*: rounds is 2, recomputed 3", said)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda files: files.update(
                {"suite.toml": files["suite.toml"].replace(b"records = 60", b"records = 61")}
            ),
            "suite.records is 61, and the board asks for 60",
        ),
        (
            lambda files: files.update(
                {"suite.toml": files["suite.toml"].replace(b"sites = 2", b"sites = 3")}
            ),
            "datasets.pbcseq in two is",
        ),
        (
            lambda files: rows(
                files, lambda r: (r["regime"] == "local") & (r["seed"] == 1), regime="control"
            ),
            "cells are missing: pbcseq · two · shuffled · local · seed 1",
        ),
        (
            lambda files: [files.pop(n) for n in list(files) if n.endswith("static.parquet")][:1],
            "there is no synthetic/static.parquet",
        ),
        (
            lambda files: rows(files, lambda r: r["regime"] == "local", label="other"),
            "cells are missing",
        ),
        (
            lambda files: rows(files, one("dcr.auc"), status="failed", reason="oh dear"),
            "shuffled · federated · seed 1 failed: oh dear",
        ),
        (
            lambda files: rows(
                files,
                lambda r: (r["regime"] == "local") & (r["seed"] == 1),
                status="skipped",
                name="",
            ),
            "seed 1 is skipped, and under other seeds done",
        ),
        (
            lambda files: files.update(
                {
                    "environment.json": files["environment.json"].replace(
                        b'"pbcseq": "', b'"pbcseq": "0'
                    )
                }
            ),
            "its records of pbcseq have the fingerprint 0",
        ),
    ],
)
def test_what_is_frozen_or_missing_is_refused_by_name_without_work(
    change: Callable[[Files], None],
    words: str,
    forged: Callable[..., Path],
    verify: Callable[[Path], Said],
) -> None:
    status, said = verify(forged(change))
    assert status == 2
    assert len(said.splitlines()) == 1
    assert words in said


def test_a_bundle_of_another_board_is_refused(
    their_bundle: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["leaderboard", "verify", str(their_bundle)]) == 2
    assert "it was made for the board 'tiny', and this is 'hospitals'" in capsys.readouterr().err
