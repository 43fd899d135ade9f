"""What a run runs on: versions, machine, and the code that trained a model."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fedbench.kinds import KINDS

__all__ = ["SOURCES", "describe", "source_digest", "versions"]

PACKAGES = (
    "torch", "numpy", "flwr", "opacus", "scipy", "scikit-learn", "lifelines", "pandas", "pyarrow",
)  # fmt: skip

TRAINING = [
    "accounting",
    "clipping",
    "coding",
    "crosswalk",
    "data/cohort",
    "data/dataset",
    "data/schema",
    "encoding",
    "generator",
    "partition",
    "planting",
    "privacy",
    "regimes",
    "seeds",
    "sequences",
    "stepping",
    "strategy",
    "summary",
    "training",
    "validation",
    "world",
    "federation/client",
    "federation/door",
    "federation/inprocess",
    "federation/planning",
    "federation/server",
    "federation/sites",
    "federation/stopping",
    "federation/study",
]
"""The modules that decide what a model learns, beside the plug-ins and the files they import."""

PLUGINS = {kind.package for kind in KINDS.values()}

SOURCES: dict[str, str] = {}
"""What ``source_digest`` found, by module."""


def describe() -> dict[str, Any]:
    """Return the machine and the versions, without anything that names a person or path."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "versions": versions(),
        "git": _git(),
    }


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Return the versions of what results depend on."""
    found = {}
    for name in ("fedbench-ehr", *PACKAGES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def source_digest(module: str) -> str:
    """Return a digest of the code that trains, with the plug-in defined in ``module``.

    To a plug-in belong the files beside it that it imports, and plug-ins of ours. Read once per
    run: workers are told what the parent found, so that a file edited while a run is under way
    does not split it in two.
    """
    if module not in SOURCES:
        SOURCES[module] = _digest_of(module)
    return SOURCES[module]


def _digest_of(module: str) -> str:
    here = Path(__file__).parent
    plugin = Path(str(sys.modules[module].__file__))
    files = [*(here / f"{name}.py" for name in TRAINING), *files_of(plugin)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def files_of(plugin: Path) -> list[Path]:
    """Return a plug-in's file and those it imports: beside it, and plug-ins of ours."""
    found, due = [plugin], [plugin]
    while due:
        more = [path for path in _imported(due.pop(), plugin.parent) if path not in found]
        found += more
        due += more
    # By name: the same plug-in has the same digest wherever it lies.
    return [plugin, *sorted(found[1:], key=lambda path: path.name)]


def _imported(file: Path, folder: Path) -> list[Path]:
    if file.suffix != ".py":  # compiled
        return []
    modules: dict[str, None] = {}
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            origin = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules |= dict.fromkeys([*origin, *(alias.name for alias in node.names)])
    beside = [folder / f"{name.rpartition('.')[2]}.py" for name in modules]
    ours = [
        Path(str(spec.origin))
        for name in modules
        if name.rpartition(".")[0] in PLUGINS and (spec := find_spec(name))
    ]
    return [path for path in dict.fromkeys([*beside, *ours]) if path.is_file()]


def _git() -> str:
    """Return the commit of the checkout this package runs from, if it is one."""
    here = Path(__file__).parent
    if not (here.parent / ".git").exists():
        return ""
    asked = ["git", "-C", str(here), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
