"""Distance to closest record: ours against that of SDMetrics."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sdmetrics.single_table.privacy.dcr_utils import calculate_dcr

from fedbench.attacks._neighbours import closest
from fedbench.data import Column, Schema

# SDMetrics warns about the columns it has just been given.
pytestmark = pytest.mark.filterwarnings("ignore")

NUMBERS, CATEGORIES, LEVELS = 8, 6, ("a", "b", "c", "d")
SCHEMA = Schema(
    name="synthetic",
    clock="",
    static={f"n{i}": Column(kind="number", low=-10, high=10) for i in range(NUMBERS)}
    | {f"c{i}": Column(kind="category", levels=LEVELS) for i in range(CATEGORIES)},
)
FULL, SUBSET, TURNS = 4_000, 1_000, 3


def people(n: int, seed: int) -> pd.DataFrame:
    """Return records with one gap in twenty."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        name: rng.normal(size=n) if column.kind == "number" else rng.choice(LEVELS, n)
        for name, column in SCHEMA.static.items()
    }
    return pd.DataFrame(columns).mask(rng.random((n, len(columns))) < 0.05)


def ours(targets: pd.DataFrame, released: pd.DataFrame) -> np.ndarray:
    ranges = {f"n{i}": float(released[f"n{i}"].max() - released[f"n{i}"].min()) for i in range(8)}
    return closest(SCHEMA, targets, released, ranges)


def theirs(targets: pd.DataFrame, released: pd.DataFrame) -> np.ndarray:
    kinds = {"number": "numerical", "category": "categorical"}
    columns = {name: {"sdtype": kinds[column.kind]} for name, column in SCHEMA.static.items()}
    return calculate_dcr(targets, released, {"columns": columns}).to_numpy(float)


def test_the_closest_records_are_found_sooner(duel: Any) -> None:
    targets, released = people(FULL, 0), people(FULL, 1)
    some, of_them = targets[:SUBSET], released[:SUBSET]
    np.testing.assert_allclose(ours(some, of_them), theirs(some, of_them), atol=1e-5)
    pairs = duel.fight(lambda: ours(some, of_them), lambda: theirs(some, of_them), TURNS)
    duel.say(f"DCR, {SUBSET} x {SUBSET} records, {len(SCHEMA.static)} columns: {pairs}")
    # The whole once: what takes this long is not moved by a moment's noise.
    start = time.perf_counter()
    found = ours(targets, released)
    between = time.perf_counter()
    np.testing.assert_allclose(found, theirs(targets, released), atol=1e-5)
    our, their = between - start, time.perf_counter() - between
    duel.say(
        f"DCR, {FULL} x {FULL} records, once: ours {our:.3g} s, theirs {their:.3g} s, "
        f"theirs / ours {their / our:.3g}"
    )
    assert their > our
