from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fedbench import environment
from fedbench.environment import TRAINING
from fedbench.kinds import CODECS, GENERATORS, PARTITIONERS, STRATEGIES

DECIDE_NOTHING = {
    "attack",
    "codec",
    "config",
    "data",
    "direction",
    "errors",
    "federation",
    "heterogeneity",
    "kinds",
    "metric",
    "nouns",
    "overrides",
    "plugin",
    "registry",
    "stats",
    "tables",
    "wire",
}
"""What is imported where models are trained, and does not change what they learn."""


def test_every_module_that_trains_decides_train_ids() -> None:
    code = (
        "import json, sys, fedbench.regimes\n"
        "from fedbench.kinds import CODECS, GENERATORS, PARTITIONERS, STRATEGIES\n"
        "for kind in (CODECS, GENERATORS, PARTITIONERS, STRATEGIES):\n"
        "    [kind.find(name) for name in kind.names()]\n"
        "ours = {n: m.__file__ for n, m in sys.modules.items() if n.startswith('fedbench.')}\n"
        "print(json.dumps(ours))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kinds = (CODECS, GENERATORS, PARTITIONERS, STRATEGIES)
    found = [kind.find(name) for kind in kinds for name in kind.names()]
    files = [Path(inspect.getfile(plugin)) for plugin in found]
    digested = {path.resolve() for file in files for path in environment.files_of(file)}
    used = {
        name.removeprefix("fedbench.").replace(".", "/")
        for name, file in json.loads(told.stdout).items()
        if name not in {kind.package for kind in kinds} and Path(file).resolve() not in digested
    }
    assert used - {*TRAINING} == DECIDE_NOTHING


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "theirs_a.py").write_text(
        "from fedbench.baselines.independent import Independent\nfrom theirs_b import RATE\n"
    )
    (tmp_path / "theirs_b.py").write_text("import theirs_c\nRATE = 1\n")
    (tmp_path / "theirs_c.py").write_text("")
    (tmp_path / "other.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "theirs_a"


@pytest.mark.parametrize(
    ("name", "decides"),
    [("theirs_a", True), ("theirs_b", True), ("theirs_c", True), ("other", False)],
)
def test_a_plugin_is_made_of_the_files_it_imports(
    plugin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, decides: bool
) -> None:
    __import__(plugin)
    monkeypatch.setattr(environment, "SOURCES", {})
    before = environment.source_digest(plugin)
    assert environment.source_digest(plugin) == before
    with (tmp_path / f"{name}.py").open("a") as file:
        file.write("\n# changed\n")
    monkeypatch.setattr(environment, "SOURCES", {})
    assert (environment.source_digest(plugin) != before) is decides
    for module in ("theirs_a", "theirs_b", "theirs_c"):
        sys.modules.pop(module)


def test_a_plugin_is_made_of_those_of_ours_that_it_extends(plugin: str, tmp_path: Path) -> None:
    used = environment.files_of(tmp_path / f"{plugin}.py")
    assert [file.name for file in used] == [
        "theirs_a.py",
        "independent.py",
        "theirs_b.py",
        "theirs_c.py",
    ]
