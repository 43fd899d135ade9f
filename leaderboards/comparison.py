"""Two tables of results, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.errors import RunError
from fedbench.leaderboards.archive import table_in
from fedbench.leaderboards.board import Board

__all__ = ["different", "same_guesses"]

Row = dict[str, Any]

ABOUT = ("dataset", "scenario", "label", "regime", "seed", "site", "model", "target", "name",
         "task", "column", "secret", "level", "group")  # fmt: skip
"""What a row is about; no two rows share it all."""

SAME = ("family", "metric_version", "threat", "better", "budget", "status", "strategy", "codec",
        "dp", "unit")  # fmt: skip

NUMBERS = ("value", "low", "high", "rounds", "epsilon", "delta", "n", "n_members", "n_nonmembers",
           "twins_removed", "noise_floor", "floor", "ceiling", "normalized", "normalized_low",
           "normalized_high", "p_value", "p_adjusted", "detectable")  # fmt: skip

RELATIVE = 1e-9


def different(theirs: pd.DataFrame, ours: pd.DataFrame, board: Board) -> Iterator[str]:
    """Name every row that only one side has, or that says something else."""
    for word, table in (("submitted", theirs), ("recomputed", ours)):
        if len(twice := table[table.duplicated([*ABOUT])]):
            yield f"{_said(twice.to_dict('records')[0])}: this row is {word} twice"
            return
    both = theirs.merge(ours, on=[*ABOUT], how="outer", suffixes=("", "_ours"), indicator=True)
    for side, words in (("left_only", "no such row comes out"), ("right_only", "it is missing")):
        yield from (f"{_said(row)}: {words}" for row in _records(both[both["_merge"] == side]))
    both = both[both["_merge"] == "both"]
    for name in SAME:
        yield from _changed(both, name, (both[name] != both[f"{name}_ours"]).fillna(value=True))
    tolerance = both["name"].map(board.tolerance).to_numpy(dtype=float)
    for name in NUMBERS:
        found, expected = _floats(both[name]), _floats(both[f"{name}_ours"])
        # A normalized number is a ratio, in which the same error counts for more.
        scale = np.abs(_floats(both["ceiling"]) - _floats(both["floor"])) / 4
        allowed = tolerance / scale if name.startswith("normalized") else tolerance
        near = np.abs(found - expected) <= allowed + RELATIVE * np.abs(expected)
        yield from _changed(both, name, ~(near | (np.isnan(found) & np.isnan(expected))))


def same_guesses(ours: pd.DataFrame, content: bytes, tolerance: float) -> bool:
    """Say whether an attack answered the same."""
    try:
        theirs = table_in("guesses", content).to_pandas()
        found, expected = (table["score"].to_numpy(dtype=float) for table in (theirs, ours))
    except (RunError, KeyError, TypeError, ValueError):
        return False
    names = [name for name in ours if name != "score"]
    return (
        [*ours] == [*theirs]
        and ours[names].equals(theirs[names])
        and np.allclose(found, expected, rtol=RELATIVE, atol=tolerance)
    )


def _changed(both: pd.DataFrame, name: str, where: Any) -> Iterator[str]:
    for row in _records(both[np.asarray(where, dtype=bool)]):
        yield f"{_said(row)}: {name} is {row[name]}, recomputed {row[f'{name}_ours']}"


def _records(table: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _floats(column: pd.Series[Any]) -> NDArray[np.float64]:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _said(row: Mapping[Any, Any]) -> str:
    words = [f"seed {row[name]}" if name == "seed" else row[name] for name in ABOUT]
    return " · ".join(str(word) for word in words if word)
