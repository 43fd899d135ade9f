"""How to make the same numbers again, and what that takes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from fedbench.kinds import KINDS
from fedbench.report.words import joined
from fedbench.results import RunDir

__all__ = ["again"]

Json = dict[str, Any]

_IN_SCENARIOS = {"partition": "partitioners", "strategy": "strategies", "codec": "codecs"}
_TABLES = (
    "The tables are not stored in the run's folder: lay the same files there, or write their paths "
    "into the command. The data fingerprints below tell whether they are the same."
)


def again(run: RunDir, suite: Json, table: pd.DataFrame) -> Json:
    """Return a command for a shell in the run's folder, and what must be there first."""
    tables = suite["tables"]
    if run.given:
        return {"command": _given(run.given, tables), "needs": [_TABLES]}
    outside = sorted(set(_outside(tables)))
    return {"command": "fedbench run suite.toml", "needs": [_needed(n, table) for n in outside]}


def _given(command: str, found: Mapping[str, Any]) -> str:
    words = ["fedbench", command, "--schema", "schema.toml"]
    for table in found["tables"]:
        words += [f"--{table['part']}", str(table["file"])]
    for option in ("id", "records", "fail-over"):
        words += [f"--{option}", str(found[command][option])] if option in found[command] else []
    return shlex.join(words)


def _outside(tables: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of plug-ins that do not come with fedbench."""
    head = tables.get("suite", {})
    asked = [(kind, found) for kind in ("metrics", "attacks") for found in head.get(kind, [])]
    asked += [(kind, t) for kind in ("datasets", "generators") for t in tables.get(kind, [])]
    for scenario in tables.get("scenarios", []):
        asked += [(kind, scenario[k]) for k, kind in _IN_SCENARIOS.items() if k in scenario]
    for kind, found in asked:
        name = str(found.get("name", "")) if isinstance(found, Mapping) else str(found)
        target = KINDS[kind].names().get(name, "")
        if ":" in name or (target and not target.startswith("fedbench.")):
            yield name


def _needed(name: str, table: pd.DataFrame) -> str:
    """Say how Python finds a plug-in, and by what to know that it is still the same."""
    module, _, plugin = name.partition(":")
    file = module.partition(".")[0]
    how = (
        f"install the package {file}, or name the folder that holds {file}.py (or {file}/) in "
        "front of the command: PYTHONPATH=FOLDER fedbench run suite.toml"
        if plugin
        else "install the package that brings it"
    )
    found = table.loc[table["generator"] == name, "generator_version"]
    digests = sorted({str(digest) for digest in found if digest})
    same = (
        f" Its source, together with fedbench's training modules, had the digest {joined(digests)} "
        "(generator_version in results.parquet); with another one the numbers may differ."
        if digests
        else ""
    )
    return f"{name} does not come with fedbench, and this folder holds no copy of it: {how}.{same}"
