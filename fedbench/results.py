"""Run directories: what is written, what a row is, and how a finished cell is recognized."""

from __future__ import annotations

import hashlib
import json
import os
import re
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
    "ASKED",
    "CONTRADICTED",
    "LACKING",
    "LATER",
    "ROW",
    "CellDir",
    "RunDir",
    "digest",
    "frame",
    "portable",
    "read_json",
    "read_parquet",
    "row_schema",
    "unheard_of",
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

REWRITTEN = ("timings", "guesses-")
"""Files of a cell that scoring it again writes anew, and that nothing is computed from."""

GIVEN = ("audit", "evaluate")
_STARTED = ("suite.toml", *(f"{name}.toml" for name in GIVEN))
"""Commands that are given the records; each writes down what it was asked in ``NAME.toml``."""

ASKED = "asked"
"""Where a table of results says which suite it answers."""

CONTRADICTED = "DP claim contradicted"
"""How the reason of a failed cell begins whose scores are kept: an audit broke its promise."""

LONGEST = 150
"""Letters of a name that become part of a path."""

KINDS: Mapping[str, type] = {
    "train_id": str,
    "score_id": str,
    "suite": str,
    "dataset": str,
    "task": str,
    "scenario": str,
    "strategy": str,
    "codec": str,
    "rounds": int,
    "regime": str,
    "budget": str,
    "generator": str,
    "label": str,
    "generator_version": str,
    "settings": str,
    "seed": int,
    "model": str,
    "site": str,
    "target": str,
    "family": str,
    "name": str,
    "metric_version": int,
    "column": str,
    "secret": str,
    "level": str,
    "group": str,
    "threat": str,
    "server_sees": str,
    "dp": str,
    "unit": str,
    "epsilon": float,
    "epsilon_site": float,
    "epsilon_max": float,
    "epsilon_cohort": float,
    "epsilon_empirical": float,
    "delta": float,
    "anonymity_set": int,
    "better": str,
    "least": float,
    "most": float,
    "value": float,
    "low": float,
    "high": float,
    "n": int,
    "n_members": int,
    "n_nonmembers": int,
    "twins_removed": int,
    "noise_floor": float,
    "floor": float,
    "ceiling": float,
    "normalized": float,
    "normalized_low": float,
    "normalized_high": float,
    "p_value": float,
    "p_adjusted": float,
    "p_turned_adjusted": float,
    "covered": int,
    "of": int,
    "over": str,
    "by": str,
    "equivalence": str,
    "detectable": float,
    "verdict": str,
    "status": str,
    "reason": str,
}
"""The columns of every row in order, and what they hold; one without use is empty, not absent."""

ROW = tuple(KINDS)

LATER = ("by", "covered", "of", "over", "p_turned_adjusted", "least", "most")
"""Columns that rows of earlier versions do not have, the latest first; they are read as empty."""
LACKING = ((), LATER[:4], LATER[:5], LATER)
"""Which of them rows of this version and of earlier ones do without."""
TEXT = [name for name, kind in KINDS.items() if kind is str]


def row_schema(without: Sequence[str] = ()) -> pa.Schema:
    """Return the Arrow types of a row."""
    import pyarrow as pa  # noqa: PLC0415

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    return pa.schema([(name, kinds[k]) for name, k in KINDS.items() if name not in without])


def unheard_of(rows: pd.DataFrame) -> list[str]:
    """Return the columns that the version which wrote these rows did not know."""
    return [name for name in LATER if rows[name].isna().all()]


def frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a table with all columns and their types; unknown columns are an error."""
    import pandas as pd  # noqa: PLC0415

    if unknown := sorted({name for row in rows for name in row} - set(ROW)):
        raise RunError(f"Rows have no columns called {', '.join(unknown)}.")
    table = pd.DataFrame(list(rows), columns=list(ROW))
    table[TEXT] = table[TEXT].fillna("").astype(str)
    kinds = {int: "Int64", float: "float64"}
    return table.astype({name: kinds[kind] for name, kind in KINDS.items() if kind in kinds})


def digest(*things: Any, length: int = 12) -> str:
    """Return a name for these things: equal things, equal names."""
    text = json.dumps(things, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def portable(name: str) -> str:
    """Return a name as every file system takes it; it need not be the only one of its kind.

    >>> portable("theirs:Größe-s0")
    'theirs-Gr-e-s0'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:LONGEST]


def write_json(path: Path, thing: Any) -> None:
    """Write a JSON file so that it is either whole or absent."""
    _whole(path, (json.dumps(thing, indent=2, sort_keys=True, default=str) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a run.

    Raises:
        RunError: it is not there or not whole.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"There is no {path.name} in {path.parent}.") from None
    except (ValueError, OSError) as error:
        raise RunError(f"{path} cannot be read: {error}.") from None
    if not isinstance(found, dict):
        raise RunError(f"{path} holds {found!r}; expected a JSON object.")
    return found


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a table of a run.

    Raises:
        RunError: it is not there or not whole.
    """
    import pandas as pd  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415

    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise RunError(f"There is no {path.name} in {path.parent}.") from None
    except (pa.ArrowException, ValueError, OSError) as error:
        raise RunError(f"{path} cannot be read: {str(error).rstrip('.')}.") from None


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

    @property
    def scored(self) -> bool:
        """Whether a finished cell has scores: all went well, but a promise may have been broken."""
        facts = self.facts()
        return facts["status"] == "done" or str(facts["reason"]).startswith(CONTRADICTED)

    def facts(self) -> dict[str, Any]:
        """Return what ``cell.json`` says.

        Raises:
            RunError: it is not there, not whole, or was changed.
        """
        try:
            found = read_json(self.path / "cell.json")
        except RunError as error:
            raise RunError(f"{error} {self._again}") from None
        if found.pop("digest", "") != digest(found):
            raise self._damaged("cell.json", "was changed since it was written")
        return found

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Record the end of the cell, with the digests of the files beside it."""
        files = sorted(p for p in self.path.rglob("*") if p.is_file() and p.name != "cell.json")
        hashes = {
            p.relative_to(self.path).as_posix(): _hash(p)
            for p in files
            if not p.name.startswith((".", *REWRITTEN))
        }
        whole = json.loads(json.dumps({**facts, "files": hashes}, default=str))
        write_json(self.path / "cell.json", {**whole, "digest": digest(whole)})

    def check(self) -> None:
        """Compare the files of a finished cell with their digests.

        Raises:
            RunError: one is not there, or was changed since it was written.
        """
        for name, expected in self.facts()["files"].items():
            file = self.path / name
            if file.is_file():
                if _hash(file) != expected:
                    raise self._damaged(name, "was changed since it was written")
            elif not name.startswith("measures/"):  # those are simply done again
                raise self._damaged(name, "is not there any more")

    def _damaged(self, name: str, what: str) -> RunError:
        return RunError(f"{self.path / name} {what}. {self._again}")

    @property
    def _again(self) -> str:
        return (
            f"Delete the folder {self.path}; then `fedbench run --resume {self.path.parents[1]}` "
            "does this cell again."
        )


@dataclass(frozen=True)
class RunDir:
    """A run directory."""

    path: Path

    @classmethod
    def create(cls, out: Path, suite: str) -> RunDir:
        """Make a new, empty run directory under ``out``.

        Raises:
            RunError: there is no place for one.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        path = out / f"{portable(suite)}-{stamp}-{os.urandom(3).hex()}"
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise RunError(
                f"No folder can be made in {str(out)!r}: {error.strerror}. Choose another --out."
            ) from None
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """Open an existing run.

        Raises:
            RunError: it is not a run directory.
        """
        if not (path / "suite.toml").is_file() and not cls(path).given:
            raise RunError(
                f"{path} is not a run directory: there is no {' or '.join(_STARTED)} in it. "
                f"{_instead(path)}"
            )
        return cls(path)

    @property
    def given(self) -> str:
        """The command that was given the records: nothing was trained, and nothing can be resumed.

        Empty where a suite was run.
        """
        return next((name for name in GIVEN if (self.path / f"{name}.toml").is_file()), "")

    def cell(self, label: str, train_id: str) -> CellDir:
        """Return the folder of a cell."""
        return CellDir(self.path / "cells" / f"{portable(label)}-{train_id}")

    def cells(self) -> Iterator[CellDir]:
        """Yield every finished cell, sorted."""
        for file in sorted((self.path / "cells").glob("*/cell.json")):
            yield CellDir(file.parent)

    def check(self) -> None:
        """Compare all finished cells with what was written.

        Raises:
            RunError: a file was changed or is not there any more; says what to do.
        """
        for cell in self.cells():
            cell.check()

    @property
    def asked(self) -> str:
        """The digest of ``suite.toml`` as it is now; empty where no suite was run."""
        file = self.path / "suite.toml"
        return _hash(file) if file.is_file() else ""

    def answers(self) -> pd.DataFrame:
        """Return every row of a run whose ``suite.toml`` is still the one that they answer.

        Raises:
            RunError: the run is unfinished, its results are damaged, or its suite was changed.
        """
        rows = self.results()
        if rows.attrs.get(ASKED, "") != self.asked:
            raise RunError(
                f"{self.path / 'suite.toml'} was changed after the results were written: they "
                "answer another suite. Put it back, or bring the run up to it with "
                f"`fedbench run --resume {self.path}`."
            )
        return rows

    def results(self) -> pd.DataFrame:
        """Return every row.

        Raises:
            RunError: the run is unfinished, or its results are damaged.
        """
        file = self.path / "results.parquet"
        if not file.is_file():
            raise RunError(
                f"{self.path} has no results.parquet: the run is unfinished. "
                f"Finish it with `fedbench run --resume {self.path}`."
            )
        advice = f"Write it again with `fedbench run --resume {self.path}`."
        try:
            rows = read_parquet(file)
        except RunError as error:
            raise RunError(f"{error} {advice}") from None
        known = [tuple(name for name in ROW if name not in without) for without in LACKING]
        if tuple(rows.columns) not in known:
            raise RunError(f"{file} does not have the columns of a row. {advice}")
        return rows.reindex(columns=list(ROW))


def _instead(path: Path) -> str:
    """Say which folder to give: the latest runs that lie in this one."""
    inside = {file.parent for name in _STARTED for file in path.glob(f"*/{name}")}
    if not inside:
        return "Give the folder that `fedbench run` or `fedbench audit` printed."
    latest = sorted(inside, key=lambda run: run.stat().st_mtime, reverse=True)[:3]
    return f"Give one of the runs in it, such as {', '.join(map(str, latest))}."


def sorted_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows in the one order in which they are stored, whoever finished first."""
    return table.sort_values(list(ORDER), kind="stable", ignore_index=True)


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)
