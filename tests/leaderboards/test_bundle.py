"""What strangers may send: every one is refused in one line, and nothing is written."""

from __future__ import annotations

import io
import json
import math
import stat
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedbench import cli
from fedbench.data import DataStore
from fedbench.datasets.pbcseq import Pbcseq
from fedbench.errors import RunError
from fedbench.leaderboards.bundle import Bundle
from fedbench.results import LACKING

Files = dict[str, bytes]


def files_of(bundle: Path) -> Files:
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@cache
def huge() -> bytes:
    """A table of a hundred million equal values, in some kilobytes."""
    buffer = io.BytesIO()
    column = pa.DictionaryArray.from_arrays(np.zeros(1_000_000, np.int32), ["x"])
    pq.write_table(pa.table({f"c{i}": column for i in range(100)}), buffer)
    return buffer.getvalue()


def test_no_real_record_and_no_real_name_is_in_a_bundle(their_bundle: Path) -> None:
    real = set(Pbcseq().load(DataStore()).patients)
    files = files_of(their_bundle)
    kinds = {name.rpartition("/")[2].partition(".")[0] for name in files if "cells" in name}
    assert kinds == {"static", "visits", "outcome", "ledger", "guesses-dcr"}
    opened = Bundle.open(their_bundle)
    assert {place.regime for place in opened.cells} == {"federated", "local"}  # no control
    assert {name.split("/")[1] for name in files if "cells" in name} == {
        filed.train_id for filed in opened.cells.values()
    }
    for name in files:
        columns = set(pq.read_schema(io.BytesIO(files[name])).names) if "parquet" in name else set()
        if "synthetic" in name:
            patients = pd.read_parquet(io.BytesIO(files[name]))["patient"]
            assert patients.str.fullmatch(r"p\d+").all()
            assert not set(patients) & real
        else:
            assert "patient" not in columns


def test_a_bundle_says_nothing_about_where_it_was_made(their_bundle: Path) -> None:
    everything = b"".join(files_of(their_bundle).values())
    assert str(their_bundle.parent).encode() not in everything
    assert b"pickle" not in everything


def spent(files: Files, seconds: float) -> bytes:
    out = io.BytesIO()
    pd.read_parquet(io.BytesIO(files["timings.parquet"])).assign(training=seconds).to_parquet(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.update({"../evil": b""}), "no bundle has a file called '../evil'"),
        (lambda f: f.update({"/etc/evil": b""}), "no bundle has a file called '/etc/evil'"),
        (
            lambda f: f.update({"cells/../../x.parquet": b""}),
            "no bundle has a file called 'cells/../../x.parquet'",
        ),
        (lambda f: f.update({"cells/a.pkl": b""}), "no bundle has a file called 'cells/a.pkl'"),
        (lambda f: f.update({"mine.py": b""}), "no bundle has a file called 'mine.py'"),
        (lambda f: f.pop("suite.toml"), "there is no suite.toml in it"),
        (lambda f: f.update({"suite.toml": b"[[["}), "suite.toml cannot be read"),
        (lambda f: f.update({"suite.toml": b"\xff"}), "suite.toml cannot be read"),
        (lambda f: f.update({"suite.toml": b"x = 1"}), "there is no table 'x'"),
        (lambda f: f.update({"environment.json": b"[]"}), "environment.json is not a JSON object"),
        (lambda f: f.update({"environment.json": b"{}"}), "'versions' is None"),
        (lambda f: f.update({"environment.json": b"[" * 99_999}), "would unpack to"),
        (lambda f: f.update({"results.parquet": b"PAR1"}), "results.parquet is not a table"),
        (lambda f: f.update({"results.parquet": f["timings.parquet"]}), "the columns of a row"),
        (lambda f: f.update({"timings.parquet": f["results.parquet"]}), "the seconds of every"),
        (lambda f: f.update({"timings.parquet": spent(f, -1.0)}), "took -1.0 seconds to train"),
        (lambda f: f.update({"timings.parquet": spent(f, math.inf)}), "took inf seconds to train"),
        (
            lambda f: f.update(
                {"suite.toml": f["suite.toml"].replace(b"their_generator:Shuffled", b"copula")}
            ),
            "in its rows",
        ),
        (lambda f: f.update({"timings.parquet": huge()}), "would unpack to 1,000,000 rows of 100"),
        (lambda f: f.update({"cells/0123456789ab/ledger.parquet": huge()}), "would unpack to"),
        (
            lambda f: f.update({"cells/0123456789ab/ledger.parquet": f["timings.parquet"]}),
            "belongs to no cell",
        ),
    ],
)
def test_what_no_bundle_holds_is_refused(
    change: Callable[[Files], object],
    words: str,
    forged: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = forged(change)
    before = sorted(path.parent.rglob("*"))
    assert cli.main(["leaderboard", "verify", str(path)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
    assert sorted(path.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.update({"suite.toml": f["suite.toml"] + b"#"}), "suite.toml is not the file"),
        (lambda f: f.update({"manifest.json": b"{}"}), "it is of format None"),
        (lambda f: f.update({"manifest.json": b'{"format": 1}'}), "made with fedbench None"),
        (lambda f: f.update({"manifest.json": b"\x00"}), "manifest.json cannot be read"),
        (lambda f: f.pop("manifest.json"), "there is no manifest.json"),
        (lambda f: f.update({"manifest.json": b"0" * 9_999_999}), "would unpack to 9,999,999"),
    ],
)
def test_what_the_manifest_does_not_list_is_refused(
    change: Callable[[Files], object], words: str, forged: Callable[..., Path]
) -> None:
    with pytest.raises(RunError, match="is refused: .*" + words):
        Bundle.open(forged(change, hashes=False))


def test_a_bundle_of_another_version_is_refused(forged: Callable[..., Path]) -> None:
    def older(files: Files) -> None:
        manifest = json.loads(files["manifest.json"])
        files["manifest.json"] = json.dumps({**manifest, "fedbench": "0.0.1"}).encode()

    with pytest.raises(RunError, match=r"made with fedbench 0\.0\.1, and this is"):
        Bundle.open(forged(older, hashes=False))


@pytest.mark.parametrize("unknown", LACKING[1:])
def test_rows_of_a_version_that_did_not_know_a_column_are_read(
    their_bundle: Path, forged: Callable[..., Path], unknown: tuple[str, ...]
) -> None:
    def without(files: Files) -> None:
        table, out = pq.read_table(io.BytesIO(files["results.parquet"])), io.BytesIO()
        pq.write_table(table.drop_columns(list(unknown)), out)
        files["results.parquet"] = out.getvalue()

    rows = Bundle.open(forged(without)).rows
    assert rows[list(unknown)].isna().all(axis=None)
    whole = Bundle.open(their_bundle).rows
    pd.testing.assert_frame_equal(rows, whole.assign(**dict.fromkeys(unknown, np.nan)))


def test_links_are_refused(their_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "link.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files_of(their_bundle).items():
            member = zipfile.ZipInfo(name)
            if name == "suite.toml":
                member.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(member, data)
    with pytest.raises(RunError, match=r"suite\.toml is a link"):
        Bundle.open(path)


def test_a_file_that_is_there_twice_is_refused(their_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "twice.zip"
    path.write_bytes(their_bundle.read_bytes())
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("suite.toml", "")
    with pytest.raises(RunError, match="1 of them twice"):
        Bundle.open(path)


@pytest.mark.parametrize("content", [b"", b"no zip file", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_zip_file_of_ours_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(RunError, match="is refused"):
        Bundle.open(tmp_path / "x.zip")
    with pytest.raises(RunError, match=r"it is a folder; give the \.zip file"):
        Bundle.open(tmp_path)


def test_whatever_is_broken_on_the_way_is_noticed(their_bundle: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = np.frombuffer(their_bundle.read_bytes(), np.uint8)
    for _ in range(100):
        broken = whole.copy()
        at = int(rng.integers(len(whole)))
        broken[at : at + int(rng.integers(1, 4))] ^= np.uint8(rng.integers(1, 256))
        path = tmp_path / "broken.zip"
        path.write_bytes(broken[: int(rng.integers(at, len(whole) + 1))].tobytes())
        try:
            opened = Bundle.open(path)
        except RunError:
            continue
        # A date, a comment: nothing that is read.
        assert opened.files == Bundle.open(their_bundle).files
