"""Run directories: what is written, what a row is, and how a finished cell is recognized."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedbench.errors import RunError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "ROW",
    "CellDir",
    "RunDir",
    "digest",
    "frame",
    "read_json",
    "row_schema",
    "write_json",
    "write_parquet",
]

ORDER = (
    "dataset",
    "scenario",
    "label",
    "regime",
    "budget",
    "seed",
    "model",
    "site",
    "target",
    "family",
    "name",
    "task",
    "column",
    "secret",
    "level",
    "group",
    "train_id",
)
"""What rows are sorted by."""

TEXT = [
    "train_id",
    "score_id",
    "suite",
    "dataset",
    "task",
    "scenario",
    "strategy",
    "codec",
    "regime",
    "budget",
    "generator",
    "label",
    "generator_version",
    "settings",
    "model",
    "site",
    "target",
    "family",
    "name",
    "column",
    "secret",
    "level",
    "group",
    "threat",
    "server_sees",
    "dp",
    "unit",
    "better",
    "equivalence",
    "verdict",
    "status",
    "reason",
]
WHOLE = [
    "rounds",
    "seed",
    "metric_version",
    "n",
    "n_members",
    "n_nonmembers",
    "twins_removed",
    "anonymity_set",
]
NUMBERS = [
    "epsilon",
    "epsilon_site",
    "epsilon_max",
    "epsilon_cohort",
    "epsilon_empirical",
    "delta",
    "value",
    "low",
    "high",
    "noise_floor",
    "floor",
    "ceiling",
    "normalized",
    "normalized_low",
    "normalized_high",
    "p_value",
    "p_adjusted",
    "detectable",
]

ROW: tuple[str, ...] = (
    "train_id",
    "score_id",
    "suite",
    "dataset",
    "task",
    "scenario",
    "strategy",
    "codec",
    "rounds",
    "regime",
    "budget",
    "generator",
    "label",
    "generator_version",
    "settings",
    "seed",
    "model",
    "site",
    "target",
    "family",
    "name",
    "metric_version",
    "column",
    "secret",
    "level",
    "group",
    "threat",
    "server_sees",
    "dp",
    "unit",
    "epsilon",
    "epsilon_site",
    "epsilon_max",
    "epsilon_cohort",
    "epsilon_empirical",
    "delta",
    "anonymity_set",
    "better",
    "value",
    "low",
    "high",
    "n",
    "n_members",
    "n_nonmembers",
    "twins_removed",
    "noise_floor",
    "floor",
    "ceiling",
    "normalized",
    "normalized_low",
    "normalized_high",
    "p_value",
    "p_adjusted",
    "equivalence",
    "detectable",
    "verdict",
    "status",
    "reason",
)
"""The columns of every row, in order; a column a run has no use for is empty, not absent."""


def row_schema() -> pa.Schema:
    """Return the Arrow types of a row."""
    import pyarrow as pa  # noqa: PLC0415

    kinds = dict.fromkeys(TEXT, pa.string()) | dict.fromkeys(WHOLE, pa.int64())
    kinds |= dict.fromkeys(NUMBERS, pa.float64())
    return pa.schema([(name, kinds[name]) for name in ROW])


def frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a table with all columns and their types; unknown columns are an error."""
    import pandas as pd  # noqa: PLC0415

    if unknown := sorted({name for row in rows for name in row} - set(ROW)):
        raise RunError(f"Rows have no columns called {', '.join(unknown)}.")
    table = pd.DataFrame(list(rows), columns=list(ROW))
    for name in TEXT:
        table[name] = table[name].fillna("").astype(str)
    for name in WHOLE:
        table[name] = table[name].astype("Int64")
    for name in NUMBERS:
        table[name] = table[name].astype("float64")
    return table


def digest(*things: Any, length: int = 12) -> str:
    """Return a name for these things: equal things, equal names."""
    text = json.dumps(things, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def write_json(path: Path, thing: Any) -> None:
    """Write a JSON file so that it is either whole or absent."""
    _whole(path, (json.dumps(thing, indent=2, sort_keys=True, default=str) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file of a run.

    Raises:
        RunError: it is not there or not whole.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise RunError(f"There is no {path.name} in {path.parent}.") from None
    except (ValueError, OSError) as error:
        raise RunError(f"{path} cannot be read: {error}.") from None


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table so that it is either whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    table.to_parquet(draft, index=False, compression="zstd")
    draft.replace(path)


@dataclass(frozen=True)
class CellDir:
    """One cell's folder: written by one process, whole once ``cell.json`` is there."""

    path: Path

    @property
    def finished(self) -> bool:
        """Whether the cell got to its end."""
        return (self.path / "cell.json").is_file()

    def facts(self) -> dict[str, Any]:
        """Return what ``cell.json`` says."""
        found: dict[str, Any] = read_json(self.path / "cell.json")
        return found

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Record the end of the cell, with the digests of the files beside it."""
        files = sorted(p for p in self.path.rglob("*") if p.is_file() and p.name != "cell.json")
        hashes = {
            str(p.relative_to(self.path)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in files
            if "measures" not in p.parts and not p.name.startswith(".")
        }
        write_json(self.path / "cell.json", {**facts, "files": hashes})


@dataclass(frozen=True)
class RunDir:
    """A run directory."""

    path: Path

    @classmethod
    def create(cls, out: Path, suite: str) -> RunDir:
        """Make a new, empty run directory under ``out``."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        path = out / f"{suite}-{stamp}-{os.urandom(3).hex()}"
        path.mkdir(parents=True)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """Open an existing run.

        Raises:
            RunError: it is not a run directory.
        """
        if not (path / "suite.toml").is_file():
            raise RunError(
                f"{path} is not a run directory: there is no suite.toml in it. "
                "Give the folder that `fedbench run` printed."
            )
        return cls(path)

    def cell(self, label: str, train_id: str) -> CellDir:
        """Return the folder of a cell."""
        return CellDir(self.path / "cells" / f"{label}-{train_id}")

    def cells(self) -> Iterator[CellDir]:
        """Yield every finished cell, sorted."""
        for file in sorted((self.path / "cells").glob("*/cell.json")):
            yield CellDir(file.parent)

    def results(self) -> pd.DataFrame:
        """Return every row.

        Raises:
            RunError: the run is unfinished.
        """
        import pandas as pd  # noqa: PLC0415

        file = self.path / "results.parquet"
        if not file.is_file():
            raise RunError(
                f"{self.path} has no results.parquet: the run is unfinished. "
                f"Finish it with `fedbench run --resume {self.path}`."
            )
        return pd.read_parquet(file)


def sorted_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows in the one order in which they are stored, whoever finished first."""
    return table.sort_values(list(ORDER), kind="stable", ignore_index=True)


def _whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)
