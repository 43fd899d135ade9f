"""Metrics and distances that others have too: equal numbers, and how much sooner.

The adversarial accuracy is held against SynthEval where the variable PEERS names a folder with an
environment ``syntheval`` that has it; without it ours is shown alone.
"""

from __future__ import annotations

import os
import subprocess
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sdmetrics.reports import QualityReport
from sdmetrics.single_table.privacy.dcr_utils import calculate_dcr

from fedbench.attacks._neighbours import closest
from fedbench.data import Column, Schema
from fedbench.metrics.adversarial import own_kind
from fedbench.metrics.quality import Related, Side, shapes, trends

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
MANY, BLOCK = 20_000, 256
WIDE, RECORDS = 30, 100_000
PEERS = Path(os.environ.get("PEERS", "no peers"))
HERE = Path(__file__).parent / "peers"


def people(n: int, seed: int) -> pd.DataFrame:
    """Return records with one gap in twenty."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        name: rng.normal(size=n) if column.kind == "number" else rng.choice(LEVELS, n)
        for name, column in SCHEMA.static.items()
    }
    return pd.DataFrame(columns).mask(rng.random((n, len(columns))) < 0.05)


def ranges(released: pd.DataFrame) -> dict[str, float]:
    numbers = [f"n{i}" for i in range(NUMBERS)]
    return {name: float(released[name].max() - released[name].min()) for name in numbers}


def ours(targets: pd.DataFrame, released: pd.DataFrame) -> np.ndarray:
    return closest(SCHEMA, targets, released, ranges(released))


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


def places(table: pd.DataFrame, scale: dict[str, float]) -> list[np.ndarray]:
    """Return a column each, so that what counts is a difference of 1 at most."""
    found = []
    for name in SCHEMA.static:
        if name in scale:
            found.append((table[name] / scale[name]).fillna(1e6).to_numpy(np.float32))
        else:
            found.append(pd.Categorical(table[name], LEVELS).codes.astype(np.float32))
    return found


def plain(targets: pd.DataFrame, released: pd.DataFrame) -> np.ndarray:
    """The same distances by NumPy in blocks, as one would write it at first."""
    scale = ranges(released)
    mine, theirs = places(targets, scale), places(released, scale)
    nearest = np.empty(len(targets))
    for start in range(0, len(targets), BLOCK):
        rows = slice(start, start + BLOCK)
        total = np.zeros((len(mine[0][rows]), len(released)), np.float32)
        for a, b in zip(mine, theirs, strict=True):
            total += np.minimum(np.abs(a[rows, None] - b), 1)
        nearest[rows] = total.min(axis=1) / len(mine)
    return nearest


def test_many_are_compared_sooner_than_by_numpy_and_in_little_memory(duel: Any) -> None:
    targets, released = people(MANY, 0), people(MANY, 1)
    some = targets[:SUBSET]
    duel.benchmark.pedantic(lambda: ours(some, released), rounds=TURNS)
    start = time.process_time()
    found = ours(targets, released)
    between = time.process_time()
    np.testing.assert_allclose(found, plain(targets, released), atol=1e-5)
    our, their = between - start, time.process_time() - between
    tracemalloc.start()
    ours(targets, released)
    memory = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    duel.say(
        f"DCR, {MANY:,} x {MANY:,} records, once: ours {our:.3g} CPU-s, {memory:.0f} MB beside "
        f"the tables; NumPy in blocks of {BLOCK} {their:.3g} CPU-s; theirs / ours {their / our:.3g}"
    )
    assert their > our
    assert memory < 500


def test_the_score_of_the_quality_report_comes_sooner(duel: Any) -> None:
    rng = np.random.default_rng(0)
    names = [f"n{i}" for i in range(WIDE // 2)] + [f"c{i}" for i in range(WIDE // 2)]
    common = rng.normal(size=(2 * RECORDS, 1))
    values = common + rng.normal(size=(2 * RECORDS, WIDE))
    table = pd.DataFrame(values, columns=names)
    for name in names[WIDE // 2 :]:
        table[name] = pd.cut(table[name], [-np.inf, -1, 0, 1, np.inf], labels=list(LEVELS))
    real, fake = table[:RECORDS], table[RECORDS:].reset_index(drop=True)

    def score() -> float:
        sides = [Side.of(t, np.ones((1, len(t)), np.uint8)) for t in (real, fake)]
        chosen = Related.of(sides[0], 0.5, 0.3)
        return float((shapes(*sides)[0] + trends(*sides, chosen)[0]) / 2)

    def reported() -> float:
        report = QualityReport()
        report.num_rows_subsample = None
        kinds = {n: {"sdtype": "numerical" if n[0] == "n" else "categorical"} for n in names}
        texts = [
            {"patients": t.astype(dict.fromkeys(names[WIDE // 2 :], object))} for t in (real, fake)
        ]
        report.generate(*texts, {"tables": {"patients": {"columns": kinds}}}, verbose=False)
        return float(report.get_score())

    assert score() == pytest.approx(reported(), abs=1e-9)
    pairs = duel.fight(score, reported, TURNS)
    duel.say(f"QualityReport, {RECORDS:,} x {WIDE}, the score alone: {pairs}")
    assert pairs.share < 1


def test_adversarial_accuracy_comes_sooner(duel: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(SUBSET, 14)), rng.normal(0.1, 1, size=(SUBSET, 14))

    def accuracy() -> float:
        return float((own_kind(real, fake).mean() + own_kind(fake, real).mean()) / 2)

    duel.benchmark.pedantic(accuracy, rounds=TURNS)
    start = time.process_time()
    found = accuracy()
    our = time.process_time() - start
    what = f"nearest-neighbour adversarial accuracy, {SUBSET:,} x {SUBSET:,} records"
    if not (PEERS / "syntheval").is_dir():
        duel.say(f"{what}: ours {our:.3g} CPU-s; {PEERS / 'syntheval'} is not there")
        return
    for name, side in (("real", real), ("fake", fake)):
        pd.DataFrame(side).to_csv(tmp_path / f"{name}.csv", index=False)
    python, script = PEERS / "syntheval" / "bin" / "python", HERE / "by_syntheval.py"
    files = [tmp_path / "real.csv", tmp_path / "fake.csv"]
    said = subprocess.run(  # noqa: S603  (an environment that the user named)
        [str(word) for word in (python, script, *files)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    ).stdout
    theirs_found, their = (float(word) for word in said.split()[-2:])
    assert found == pytest.approx(theirs_found)
    duel.say(f"{what}: ours {our:.3g} CPU-s, theirs {their:.3g}; theirs / ours {their / our:.3g}")
