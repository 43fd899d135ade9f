"""A tiny board, and a stranger's generator that goes the whole way to it."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedbench import cli
from fedbench.data import DataStore
from fedbench.leaderboards.board import Board, read_board
from fedbench.leaderboards.bundle import Bundle
from fedbench.leaderboards.entries import add
from fedbench.leaderboards.verification import Verified, verify

PARTS = """
[suite]
{name}
seeds = [0, 1]
regimes = ["federated", "local"]
records = 60
replicates = 30
metrics = ["marginals", "associations", "communication"]
attacks = ["dcr"]

[[datasets]]
name = "pbcseq"
parts = {{ train = 0.4, control = 0.2, reference = 0.1 }}

[[scenarios]]
name = "two"
partition = {{ name = "iid", sites = 2 }}
"""

BOARD = """
[board]
name = "tiny"
title = "A board for tests"

[[columns]]
title = "fidelity"
names = ["associations"]

[[columns]]
title = "gain"
names = ["associations"]
target = "gain"

[[columns]]
title = "membership"
names = ["dcr.auc"]

[[columns]]
title = "bytes"
names = ["communication.bytes"]
"""

THEIRS = '''
from dataclasses import dataclass

from fedbench.baselines.independent import Independent


@dataclass(frozen=True, kw_only=True)
class Shuffled(Independent):
    """Every column on its own, by somebody else."""

    noise: float = 0.0
'''

SUITE = (
    PARTS.format(name='name = "theirs"')
    + """
rounds = 2
strategy = { name = "fedavg" }

[[generators]]
name = "their_generator:Shuffled"
label = "shuffled"
"""
)

Files = dict[str, bytes]


@dataclass(frozen=True)
class Theirs:
    """A folder outside of the package, with a run and its bundle."""

    folder: Path
    run: Path
    bundle: Path


@pytest.fixture(scope="session")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theirs]:
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "their_generator.py").write_text(THEIRS)
    (folder / "suite.toml").write_text(SUITE)
    (folder / "tiny.toml").write_text(BOARD + PARTS.format(name=""))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main(["run", "suite.toml", "--out", "runs", "-j", "2"]) == 0
        (run,) = (folder / "runs").iterdir()
        assert cli.main(["submit", str(run), "-o", "theirs.zip", "--board", "tiny.toml"]) == 0
    sys.modules.pop("their_generator", None)
    yield Theirs(folder, run, folder / "theirs.zip")


@pytest.fixture(scope="session")
def tiny() -> str:
    return BOARD + PARTS.format(name="")


@pytest.fixture(scope="session")
def board(theirs: Theirs) -> Board:
    return read_board(str(theirs.folder / "tiny.toml"))


@pytest.fixture(scope="session")
def verified(theirs: Theirs, board: Board) -> Verified:
    return verify(Bundle.open(theirs.bundle), board, DataStore(), 1, lambda _: None)


@pytest.fixture
def entry(verified: Verified, board: Board, tmp_path: Path, tiny: str) -> Path:
    """The folder of an entry, two above it the board."""
    (tmp_path / "tiny.toml").write_text(tiny)
    return add(verified, board, tmp_path / "board").path


@pytest.fixture
def forged(theirs: Theirs, tmp_path: Path) -> Callable[[Callable[[Files], None]], Path]:
    """Change the files of a bundle, and list the hashes of what is there then."""

    def forge(change: Callable[[Files], None], *, hashes: bool = True) -> Path:
        with zipfile.ZipFile(theirs.bundle) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        change(files)
        if hashes:
            manifest = json.loads(files.pop("manifest.json"))
            manifest["files"] = {n: hashlib.sha256(d).hexdigest() for n, d in files.items()}
            files = {"manifest.json": json.dumps(manifest).encode(), **files}
        path = tmp_path / "forged.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path

    return forge
