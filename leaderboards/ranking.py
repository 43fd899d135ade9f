"""Who is first at what, and how sure that is; regimes and measures are never added up."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from fedbench.direction import badness
from fedbench.leaderboards.board import Board, Column
from fedbench.leaderboards.entries import Entry
from fedbench.report.numbers import across_seeds, end, within
from fedbench.report.words import REGIMES
from fedbench.seeds import Rng, Seeds

__all__ = ["RULE", "Cell", "Head", "Line", "Table", "ranks", "tables"]

DRAWS = 20_000
LIMITS = (0.025, 0.975)

RULE = (
    "A rank is among all generators under the same regime. Its 95 % interval: seeds are drawn "
    "with replacement (how far their mean moves is scaled to Student's t, since a bootstrap of few "
    "seeds moves too little), and with them one bootstrap replicate of patients, the same for all "
    "generators and not averaged over seeds, because seeds share their patients."
)

# Where a number about all hospitals is looked for: local generators have a mean over them.
_POOLED = (("pooled", ""), ("generalist", "patient-weighted"), ("specialist", "patient-weighted"))

CONTROLS = {"copy": "ceiling"}
"""Real training records, which attacks must catch."""

FLOOR = {"independent": "floor"}
"""Knows single columns only."""


@dataclass(frozen=True)
class Head:
    """A column of a table."""

    title: str
    hint: str
    name: str
    about: str
    better: str


@dataclass(frozen=True)
class Cell:
    """A number over seeds with its rank; without a value, why there is none."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    rank: int | None = None
    best: int | None = None
    worst: int | None = None
    of: int = 0
    note: str = ""


@dataclass(frozen=True)
class Line:
    """One generator under one regime."""

    label: str
    regime: str
    role: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Table:
    """One dataset in one scenario."""

    dataset: str
    scenario: str
    heads: Sequence[Head]
    lines: Sequence[Line]


@dataclass(frozen=True)
class _Series:
    """What one generator reaches under every seed."""

    values: Mapping[int, float]
    rows: pd.DataFrame

    def cell(self, seeds: Sequence[int]) -> Cell:
        if not self.values:
            return Cell(note=_note(self.rows))
        done = self.rows[self.rows["status"] == "done"]
        ends = (list(done[n].astype(float)) for n in ("value", "low", "high"))
        scale = (end(done[n]) if n in done else None for n in ("least", "most"))
        value, low, high = within(across_seeds(*ends), *scale)
        note = "" if len(self.values) == len(seeds) else f"{len(self.values)} of {len(seeds)} seeds"
        return Cell(value, low, high, note=note)

    def draws(
        self, seeds: Sequence[int], picked: NDArray[np.int64], rng: Rng
    ) -> NDArray[np.float64]:
        """Return the mean over drawn seeds, off by what other patients would have changed."""
        values = np.array([self.values[seed] for seed in seeds])
        mean = values.mean()
        found = np.asarray(mean + _student(len(seeds)) * (values[picked].mean(axis=1) - mean))
        where = rng.random(len(picked))
        for place, seed in enumerate(seeds):
            first = picked[:, 0] == place
            kept = self.rows.loc[self.rows["seed"] == seed, "replicates"].iloc[0]
            if kept is not None and len(kept):
                replicates = np.asarray(kept, dtype=np.float64)
                off = replicates[(where[first] * len(replicates)).astype(int)] - values[place]
                found[first] += np.nan_to_num(off)
        return found


def _student(n: int) -> float:
    """How much further than a bootstrap of n seeds Student's t says their mean may lie."""
    if n < 2:
        return 1.0
    high = 1 - LIMITS[0]
    return float(special.stdtrit(n - 1, high) / special.ndtri(high)) * math.sqrt(n / (n - 1))


def tables(board: Board, found: Sequence[Entry]) -> list[Table]:
    """Return one table for every dataset and scenario of a board."""
    if not found:
        return []
    own = [entry.rows[entry.rows["regime"] != "control"] for entry in found]
    controls = found[0].rows  # the same in every entry
    controls = controls[(controls["regime"] == "control") & controls["label"].isin([*CONTROLS])]
    rows = pd.concat([*own, controls], ignore_index=True)
    return [
        _table(board, dataset.name, scenario.name, rows)
        for dataset, scenario in board.suite.worlds()
    ]


def ranks(
    draws: Mapping[str, NDArray[np.float64]], values: Mapping[str, float], better: str
) -> dict[str, tuple[int, int, int]]:
    """Return rank, best and worst of every name, ties sharing the better rank.

    >>> ranks({"a": np.array([1.0, 3.0]), "b": np.array([2.0, 2.0])}, {"a": 1, "b": 2}, "lower")
    {'a': (1, 1, 2), 'b': (2, 1, 2)}
    """
    bad = {name: badness(mine, better) for name, mine in draws.items()}
    told = {name: float(badness(value, better)) for name, value in values.items()}
    found = {}
    for name, mine in bad.items():
        ahead = sum((other < mine).astype(int) for other in bad.values())
        low, high = np.quantile(1 + np.asarray(ahead), LIMITS, method="inverted_cdf")
        rank = 1 + sum(other < told[name] for other in told.values())
        found[name] = (int(rank), int(min(low, rank)), int(max(high, rank)))
    return found


def _table(board: Board, dataset: str, scenario: str, rows: pd.DataFrame) -> Table:
    mine = rows[(rows["dataset"] == dataset) & (rows["scenario"] == scenario)]
    asked = [pair for column in board.columns for pair in _expanded(column, mine)]
    regimes = [regime for regime in REGIMES if regime in board.suite.regimes]
    labels = sorted(mine.loc[mine["regime"] != "control", "label"].unique(), key=_order)
    known: dict[tuple[str, str], list[Cell]] = {}
    for regime in regimes:
        columns = [_ranked(mine, pair, labels, regime, board) for pair in asked]
        known |= {(label, regime): [column[label] for column in columns] for label in labels}
    for control in CONTROLS:
        cells = [_series(mine, pair, control, "control").cell(board.suite.seeds) for pair in asked]
        known[control, "control"] = cells
    lines = [
        Line(label, regime, {**CONTROLS, **FLOOR}.get(label, ""), cells)
        for (label, regime), cells in sorted(
            known.items(), key=lambda i: (i[0][1] == "control", _order(i[0][0]))
        )
    ]
    return Table(dataset, scenario, [_head(mine, *pair) for pair in asked], lines)


_Asked = tuple[Column, str, str, str]


def _expanded(column: Column, rows: pd.DataFrame) -> Iterator[_Asked]:
    """Yield a column for every task and secret that it has here."""
    for name in column.names:
        there = rows[rows["name"] == name]
        if len(there):
            for task, secret in sorted(set(zip(there["task"], there["secret"], strict=True))):
                yield column, name, task, secret
            return


def _head(rows: pd.DataFrame, column: Column, name: str, task: str, secret: str) -> Head:
    better = str(rows.loc[rows["name"] == name, "better"].iloc[0])
    return Head(column.title, column.hint, name, secret or task, _better(column, better))


def _better(column: Column, better: str) -> str:
    return {"gain": "higher", "tax": "lower"}.get(column.target, better)


def _ranked(
    rows: pd.DataFrame, asked: _Asked, labels: Sequence[str], regime: str, board: Board
) -> dict[str, Cell]:
    """Return one column of one regime; who lacks a seed has no rank."""
    seeds = board.suite.seeds
    series = {label: _series(rows, asked, label, regime) for label in labels}
    cells = {label: each.cell(seeds) for label, each in series.items()}
    full = [label for label in labels if set(series[label].values) == set(seeds)]
    stream = Seeds(0).child("ranks", board.name, regime, *asked[1:])
    picked = stream.child("seeds").rng().integers(len(seeds), size=(DRAWS, len(seeds)))
    # Everybody draws the same patients: from the same stream, started anew.
    draws = {n: series[n].draws(seeds, picked, stream.child("patients").rng()) for n in full}
    better = _head(rows, *asked).better
    values = {label: float(cells[label].value or 0.0) for label in full}
    for label, (rank, best, worst) in ranks(draws, values, better).items():
        cell = cells[label]
        cells[label] = Cell(
            cell.value, cell.low, cell.high, rank, best, worst, len(full), cell.note
        )
    return cells


def _series(rows: pd.DataFrame, asked: _Asked, label: str, regime: str) -> _Series:
    column, name, task, secret = asked
    mine = rows[
        (rows["label"] == label) & (rows["regime"] == regime) & (rows["name"] == name)
        & (rows["task"] == task) & (rows["secret"] == secret)
    ]  # fmt: skip
    if column.target == "gain":
        mine = mine[mine["group"].isin(["over local", ""])]
        places: Sequence[tuple[str, str]] = (("gain", "patient-weighted"), ("gain", ""))
    elif column.target == "tax":
        places = (("tax", ""),)
    else:
        places = _POOLED
        mine = mine[mine["group"] == ""]
    for target, level in places:
        there = mine[(mine["target"] == target) & (mine["level"] == level)]
        if len(there):
            there = there.drop_duplicates("seed").sort_values("seed")
            done = there[there["status"] == "done"]
            values = dict(zip(done["seed"].astype(int), done["value"].astype(float), strict=True))
            return _Series(values, there)
    return _Series({}, mine.head(0))


def _note(rows: pd.DataFrame) -> str:
    if not len(rows):
        return ""
    statuses = rows["status"].unique()
    return f"{' or '.join(statuses)}: {str(rows['reason'].iloc[0]).strip()}"


def _order(label: Any) -> tuple[bool, str]:
    """The floor first."""
    return label not in FLOOR, str(label)
