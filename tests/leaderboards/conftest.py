"""A tiny board, and a stranger's generator that goes the whole way to it."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fedbench import cli

PARTS = """
[suite]
{name}
seeds = [0, 1]
regimes = ["federated", "local"]
records = 60
replicates = 30
metrics = ["associations", "communication"]
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


@pytest.fixture(scope="session")
def their_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside of the package, with a generator, a run of it, and its bundle."""
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
    return folder


@pytest.fixture(scope="session")
def their_run(their_folder: Path) -> Path:
    (run,) = (their_folder / "runs").iterdir()
    return run


@pytest.fixture(scope="session")
def their_bundle(their_folder: Path) -> Path:
    return their_folder / "theirs.zip"


@pytest.fixture(scope="session")
def tiny() -> str:
    return BOARD + PARTS.format(name="")


@pytest.fixture(scope="session")
def added(their_bundle: Path, tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which nobody can import their generator, with a board that has their rows."""
    folder = tmp_path_factory.mktemp("board")
    (folder / "tiny.toml").write_text(tiny)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        add = ["leaderboard", "add", str(their_bundle), "--board", "tiny.toml", "-j", "2"]
        assert cli.main(add) == 0
    assert "their_generator" not in sys.modules
    return folder


@pytest.fixture
def entry(added: Path, tmp_path: Path) -> Path:
    """The folder of an entry that may be changed, two below that of the board."""
    shutil.copytree(added, tmp_path, dirs_exist_ok=True)
    (found,) = (tmp_path / "board").iterdir()
    return found


@pytest.fixture
def forged(their_bundle: Path, tmp_path: Path) -> Callable[..., Path]:
    """Change the files of a bundle, and list the hashes of what is there then."""

    def forge(change: Callable[[Files], None], *, hashes: bool = True) -> Path:
        with zipfile.ZipFile(their_bundle) as archive:
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
