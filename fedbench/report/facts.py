"""What a run was: when, on what data, how large, with which versions."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fedbench.config import suite_of
from fedbench.data import OTHER, Dataset, Feature, Schema
from fedbench.errors import FedbenchError
from fedbench.kinds import DATASETS
from fedbench.nouns import plural
from fedbench.report.differences import differences
from fedbench.report.words import joined
from fedbench.report.world import World
from fedbench.results import GIVEN, CellDir, RunDir, read_json
from fedbench.schemas import read_schema

__all__ = [
    "Counted",
    "counted",
    "data",
    "differing",
    "environment",
    "kinds",
    "run_facts",
    "suite",
    "words",
]

Json = dict[str, Any]


def suite(run: RunDir) -> Json:
    """Return the tables of the run's resolved suite file, or of what an audit was asked."""
    file = run.path / f"{run.given or 'suite'}.toml"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    schema = read_schema(run.path / "schema.toml") if run.given else None
    return {"text": text, "tables": tomllib.loads(text), "schema": schema}


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What counting alone says about a release, before any attack.

    ``named`` says where it names training patients, ``overlap`` that the other patients seem to be
    training patients, too, and ``copied`` how many of its records are real ones.
    """

    named: tuple[str, ...] = ()
    overlap: str = ""
    copied: str = ""

    @property
    def closing(self) -> Sequence[str]:
        """Why no gate may open, whatever the attacks say."""
        return [*self.named, *([self.overlap] if self.overlap else [])]


def counted(found: Json) -> Counted:
    """Return what was counted when records came from outside."""
    head: Json = next((found["tables"][name] for name in GIVEN if name in found["tables"]), {})
    return Counted(
        named=tuple(head.get("named", [])),
        overlap=head.get("overlap", ""),
        copied=head.get("copied", ""),
    )


def run_facts(run: RunDir, found: Json) -> Json:
    """Return what was asked, and when, as the folder's name tells it."""
    head = found["tables"].get(run.given or "suite", {})
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
    """Return ``environment.json`` as one flat table of words; what is empty is left out."""
    found = read_json(run.path / "environment.json") if _has(run, "environment.json") else {}
    pairs = [(key.removeprefix("versions."), text) for key, text in _flat("", found) if text]
    return {re.sub(r"^data\.", "data fingerprint, ", key): text for key, text in sorted(pairs)}


def data(run: RunDir, world: World, found: Json, trains: Mapping[str, int]) -> Json:
    """Return what a reader must know about a dataset: source, licence, size, hospitals.

    Args:
        run: where the partitions are.
        world: the dataset and scenario.
        found: the suite's tables.
        trains: train ids of the world's cells, with their seeds.
    """
    if run.given:
        return _tables(found["tables"], _OF_GIVEN[run.given])
    scenarios = {table["name"]: table for table in found["tables"].get("scenarios", [])}
    partitions = [_partition(run, train) for train in _one_per_seed(run, trains)]
    return {
        **_source(_dataset(world.dataset, found), world.dataset),
        **_sizes(world, partitions),
        "setting": _setting(scenarios.get(world.scenario, {})),
        "split": _split(_asked(world.dataset, found), partitions),
    }


def differing(run: RunDir, world: World, found: Json, trains: Mapping[str, int]) -> Json | None:
    """Return how a world's hospitals differ; None where no finished cell says so.

    Args:
        run: where the cells are.
        world: the dataset and scenario.
        found: the suite's tables.
        trains: train ids of the world's cells, with their seeds.
    """
    known = [_cell(run, train).get("heterogeneity", []) for train in _one_per_seed(run, trains)]
    schema = _schema(found, world.dataset)
    event = schema.outcome.label if schema and schema.outcome else ""
    known = [rows for rows in known if rows]
    return differences(known, event) if known else None


def words(found: Json, name: str) -> dict[str, str]:
    """Return what a dataset's schema calls its tasks and columns.

    Args:
        found: the suite's tables.
        name: the dataset.
    """
    schema = _schema(found, name)
    if schema is None:
        return {}
    columns = {feature.name: _called(feature) for feature in schema.features}
    tasks = {task: about.label for task, about in schema.tasks.items()}
    return {name: said for name, said in (columns | tasks).items() if said}


def kinds(found: Json, name: str) -> dict[str, str]:
    """Return of what kind a dataset's tasks are: survival, classification or regression.

    Args:
        found: the suite's tables.
        name: the dataset.
    """
    schema = _schema(found, name)
    return {task: about.kind for task, about in schema.tasks.items()} if schema else {}


def _schema(found: Json, name: str) -> Schema | None:
    """Return the schema of an audit or a dataset, if it can be had here."""
    schema: Schema | None = found["schema"]
    dataset = None if schema else _dataset(name, found)
    with suppress(FedbenchError):  # a schema file that is not here
        schema = dataset.schema if dataset else schema
    return schema


_OF_GIVEN = {"audit": "What {} gives away", "evaluate": "How good {} is, and what it gives away"}
_OTHERS = ("test", "control", "reference")


def _tables(found: Json, title: str) -> Json:
    """Say which records from outside were compared."""
    tables = {table["part"]: table for table in found["tables"]}
    sizes = {name: f"{table['file']} ({table['records']:,})" for name, table in tables.items()}
    others = "".join(f", {who} patients {sizes[who]}" for who in _OTHERS if who in sizes)
    return {
        "title": title.format(tables["synthetic"]["file"]),
        "licence": "",
        "citation": "",
        "patients": None,
        "hospitals": [],
        "split": "",
        "setting": f"Synthetic records {sizes['synthetic']}, training patients {sizes['train']}"
        f"{others}",
    }


def _called(feature: Feature) -> str:
    label = feature.column.label or (feature.source if feature.window else "")
    if feature.system:
        bare = f"{feature.system} {feature.source}"
        label = f"other codes of {feature.system}" if feature.source == OTHER else label
        label = bare if label == feature.source else label
    within = feature.window.name if feature.window and feature.source != "day" else ""
    return f"{label} ({within})" if label and within else label


def _dataset(name: str, found: Json) -> Dataset | None:
    with suppress(FedbenchError):  # a plug-in of somebody else, not installed here
        for choice in suite_of(found["tables"], "suite.toml").datasets:
            if choice.called == name:
                return DATASETS.build(choice.name, choice.settings)
        return DATASETS.build(name)
    return None


def _asked(name: str, found: Json) -> Mapping[str, Any]:
    """Return what the suite says about a dataset."""
    tables = found["tables"].get("datasets", [])
    return next((table for table in tables if (table.get("label") or table["name"]) == name), {})


def _source(dataset: Dataset | None, name: str) -> Json:
    if dataset is None:
        return {"title": name, "licence": "", "citation": ""}
    return {
        "title": dataset.title,
        "licence": dataset.licence,
        "citation": dataset.citation,
    }


def _setting(scenario: Mapping[str, Any]) -> str:
    parts = [
        f"{kind} {_choice(scenario[kind])}"
        for kind in ("partition", "strategy")
        if kind in scenario
    ]
    if "rounds" in scenario:
        parts.append(f"{plural(scenario['rounds'], 'round')} for generators that train in rounds")
    if scenario.get("budget") == "step-matched":
        parts.append("at every hospital as many steps as with all records in one place")
    if stopping := scenario.get("stopping"):
        parts.append(
            f"{100 * stopping['share']:.0f} % of training patients held back to judge rounds"
        )
    if scenario.get("start") == "site":
        parts.append("every hospital with first parameters of its own")
    return ", ".join(parts)


def _split(asked: Mapping[str, Any], partitions: list[pd.DataFrame]) -> str:
    """Say which patients are trained on, what the others are for, and who decided that."""
    if not partitions:
        return ""
    parts = pd.concat(partitions)["part"]
    shares = {part: float((parts == part).mean()) for part in _PARTS if (parts == part).any()}
    control = min(int((table["part"] == "control").sum()) for table in partitions)
    said = [f"{100 * share:.0f} % {_PARTS[part]}" for part, share in shares.items()]
    by = "as the suite asks (its parts)" if "parts" in asked else "as is usual"
    text = f"Of each hospital's patients {joined(said)}, {by}."
    if "control" not in shares:
        text += " The test patients are also the control, which attacks must tell from the former."
    elif control >= _FOR_ONE_PERCENT and control > (parts == "train").sum() / len(partitions):
        text += (
            " The large control is what allows leaks at 1 % false alarms to be measured: that "
            f"takes {_FOR_ONE_PERCENT:,} patients who were not trained on."
        )
    return text


_PARTS = {
    "train": "are trained on",
    "control": "are kept back for attacks, which must tell them from these (control)",
    "reference": "are known to the attacker (reference)",
    "test": "test what was learnt",
}
_FOR_ONE_PERCENT = 1_000
"""Non-members that TPR at 1 % FPR needs."""


def _choice(found: Any) -> str:
    """Say a plug-in as a suite has it: a name, or a table with a name and settings."""
    if not isinstance(found, Mapping):
        return str(found)
    settings = {k: v for k, v in found.items() if k not in ("name", "settings")}
    inner = ", ".join(f"{k} = {v}" for k, v in {**found.get("settings", {}), **settings}.items())
    return f"{found.get('name', '')}{f' ({inner})' if inner else ''}"


def _sizes(world: World, tables: list[pd.DataFrame]) -> Json:
    """Return the sizes of hospitals: one number, or a range where seeds deal anew."""
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


def _cell(run: RunDir, train: str) -> Json:
    files = sorted((run.path / "cells").glob(f"*-{train}/cell.json"))
    return CellDir(files[0].parent).facts() if files else {}


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
