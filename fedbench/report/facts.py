"""What a run was: when, on what data, how large, with which versions."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pandas as pd

from fedbench.errors import FedbenchError
from fedbench.kinds import DATASETS
from fedbench.report.world import World
from fedbench.results import RunDir, read_json

__all__ = ["data", "environment", "run_facts", "suite"]

Json = dict[str, Any]


def suite(run: RunDir) -> Json:
    """Return the tables of the run's resolved suite file, and its text."""
    file = run.path / "suite.toml"
    text = file.read_text() if file.is_file() else ""
    return {"text": text, "tables": tomllib.loads(text)}


def run_facts(run: RunDir, found: Json) -> Json:
    """Return what was asked, and when, as the folder's name tells it."""
    head = found["tables"].get("suite", {})
    stamp = re.search(r"-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)\d\dZ-", f"{run.path.name}-")
    date = "{}-{}-{} {}:{} UTC".format(*stamp.groups()) if stamp else ""
    return {
        "name": run.path.name,
        "suite": str(head.get("name") or run.path.name.partition("-")[0]),
        "date": date,
        "seeds": list(head.get("seeds", [])),
        "regimes": list(head.get("regimes", [])),
        "records": head.get("records"),
        "suite_toml": found["text"],
    }


def environment(run: RunDir) -> dict[str, str]:
    """Return ``environment.json`` as one flat table of words."""
    found = read_json(run.path / "environment.json") if _has(run, "environment.json") else {}
    return dict(sorted(_flat("", found)))


def data(run: RunDir, world: World, found: Json, trains: Mapping[str, int]) -> Json:
    """Return what a reader must know about a dataset: source, licence, size, hospitals.

    Args:
        run: where the partitions are.
        world: the dataset and scenario.
        found: the suite's tables.
        trains: train ids of the world's cells, with their seeds.
    """
    asked = {table["name"]: table for table in found["tables"].get("datasets", [])}
    settings = asked.get(world.dataset, {}).get("settings", {})
    scenarios = {table["name"]: table for table in found["tables"].get("scenarios", [])}
    return {
        **_source(world.dataset, settings),
        **_sizes(run, world, trains),
        "setting": _setting(scenarios.get(world.scenario, {})),
    }


def _source(name: str, settings: Mapping[str, Any]) -> Json:
    with suppress(FedbenchError):  # a plug-in of somebody else, not installed here
        dataset = DATASETS.build(name, settings)
        return {
            "title": dataset.title,
            "licence": dataset.licence,
            "citation": dataset.citation,
        }
    return {"title": name, "licence": "", "citation": ""}


def _setting(scenario: Mapping[str, Any]) -> str:
    parts = [
        f"{kind} {_choice(scenario[kind])}"
        for kind in ("partition", "strategy")
        if kind in scenario
    ]
    return ", ".join(parts + ([f"{scenario['rounds']} rounds"] if "rounds" in scenario else []))


def _choice(found: Any) -> str:
    """Say a plug-in as a suite has it: a name, or a table with a name and settings."""
    if not isinstance(found, Mapping):
        return str(found)
    settings = {k: v for k, v in found.items() if k not in ("name", "settings")}
    inner = ", ".join(f"{k} = {v}" for k, v in {**found.get("settings", {}), **settings}.items())
    return f"{found.get('name', '')}{f' ({inner})' if inner else ''}"


def _sizes(run: RunDir, world: World, trains: Mapping[str, int]) -> Json:
    """Return the sizes of hospitals: one number, or a range where seeds deal anew."""
    tables = [_partition(run, train) for train in _one_per_seed(run, trains)]
    if not tables:
        return {"patients": None, "hospitals": [{"name": site} for site in world.sites]}
    sites = sorted({site for table in tables for site in table["site"].unique()})
    hospitals = [{"name": str(site), **_hospital(site, tables)} for site in sites]
    return {"patients": max(len(table) for table in tables), "hospitals": hospitals}


def _hospital(site: str, tables: list[pd.DataFrame]) -> Json:
    mine = [table[table["site"] == site] for table in tables]
    parts = {
        "patients": [len(m) for m in mine],
        "train": [int((m["part"] == "train").sum()) for m in mine],
    }
    return {name: [min(values), max(values)] for name, values in parts.items()}


def _one_per_seed(run: RunDir, trains: Mapping[str, int]) -> list[str]:
    """The regime regroups sites, so take, of every seed, the partition with most of them."""
    best: dict[int, tuple[int, str]] = {}
    for train, seed in sorted(trains.items()):
        table = _partition(run, train)
        if not table.empty:
            best[seed] = max(best.get(seed, (0, "")), (int(table["site"].nunique()), train))
    return [train for _, (_, train) in sorted(best.items())]


def _partition(run: RunDir, train: str) -> pd.DataFrame:
    files = sorted((run.path / "cells").glob(f"*-{train}/partition.parquet"))
    nothing = pd.DataFrame({"site": [], "part": []})
    return pd.read_parquet(files[0], columns=["site", "part"]) if files else nothing


def _has(run: RunDir, name: str) -> bool:
    return (run.path / name).is_file()


def _flat(prefix: str, found: Any) -> list[tuple[str, str]]:
    if isinstance(found, Mapping):
        return [
            pair
            for key, value in found.items()
            for pair in _flat(f"{prefix}.{key}" if prefix else str(key), value)
        ]
    text = ", ".join(map(str, found)) if isinstance(found, list) else str(found)
    return [(prefix, text)]
