"""What a cell releases: drawn from real records for a control, written, and read again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from fedbench.attacking import Arena
from fedbench.data import TABLES, Cohort, Schema
from fedbench.regimes import Release
from fedbench.results import read_parquet, write_parquet
from fedbench.seeds import Rng
from fedbench.world import World, renamed, uniform

__all__ = ["control", "read", "shuffled", "write", "written"]


def control(name: str, world: World, arena: Arena) -> Cohort:
    """Return the records of a control."""
    seeds = world.seeds.child("control", name)
    if name == "copy":
        return shuffled(world.train, seeds.rng())
    if name == "real":
        return Cohort.union(list(arena.null.release.values()))
    return uniform(world.encoder, world.m, seeds.rng())


def shuffled(cohort: Cohort, rng: Rng) -> Cohort:
    """Return the same records under other names, in random order: a prefix is a fair sample."""
    order = rng.permutation(len(cohort))
    names = np.array([f"c{i:0{len(str(len(order)))}d}" for i in order], dtype=object)
    return renamed(cohort, names)


def write(release: Release, folder: Path) -> None:
    """Write what a training released into the folder of its cell."""
    _write_records(folder / "synthetic", release.records)
    if release.before is not None:
        _write_records(folder / "before", {"": release.before})
    assert release.ledger is not None  # noqa: S101  (only controls have none)
    write_parquet(folder / "ledger.parquet", release.ledger)
    write_parquet(folder / "history.parquet", release.history)
    for name in ("remarks", "charges", "judged"):
        if len(table := getattr(release, name)):
            write_parquet(folder / f"{name}.parquet", table)


def read(folder: Path, schema: Schema) -> Release:
    """Return what was written into the folder of a cell, as far as scores need it."""
    earlier = folder / "before"
    return Release(
        written(folder / "synthetic", schema),
        read_parquet(folder / "ledger.parquet"),
        charges=_stored(folder / "charges.parquet"),
        judged=_stored(folder / "judged.parquet"),
        before=written(earlier, schema).get("") if _holds_records(earlier) else None,
    )


def _holds_records(folder: Path) -> bool:
    return (folder / "static.parquet").is_file()


def _stored(file: Path) -> pd.DataFrame:
    """Return a table that not every cell has."""
    return read_parquet(file) if file.is_file() else pd.DataFrame()


def _write_records(folder: Path, models: Mapping[str, Cohort]) -> None:
    for name in TABLES:
        tables = [getattr(c, name).assign(model=model) for model, c in models.items()]
        if any(len(table) for table in tables):
            write_parquet(folder / f"{name}.parquet", pd.concat(tables, ignore_index=True))


def written(folder: Path, schema: Schema) -> dict[str, Cohort]:
    """Return the records that lie in a folder of synthetic ones, by model."""
    tables = {
        name: read_parquet(folder / f"{name}.parquet")
        for name in TABLES
        if name == "static" or (folder / f"{name}.parquet").is_file()
    }
    return {
        model: Cohort.of_tables(
            schema,
            **{
                name: table[table["model"] == model].drop(columns="model")
                for name, table in tables.items()
            },
        )
        for model in tables["static"]["model"].drop_duplicates()
    }
