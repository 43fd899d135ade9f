"""A run as one file that a stranger sent: read with care, believed only where it can be checked.

::

    manifest.json               format, board, version of fedbench, sha256 of every other file
    suite.toml                  what was asked, every default spelled out
    environment.json            what it ran on
    results.parquet             the rows
    timings.parquet             seconds per cell
    cells/<train id>/
        synthetic/*.parquet     the records that the generator wrote
        ledger.parquet          every message with its size
        guesses-*.parquet       what attacks answered, by number of the challenge

There is no code in it, no pickle, no real record and no name of a real patient.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedbench.config import Suite, suite_of
from fedbench.errors import FedbenchError, RunError
from fedbench.leaderboards.archive import CELL, MANIFEST, check_table, members, table_in
from fedbench.leaderboards.board import listed
from fedbench.plugin import plain
from fedbench.results import LACKING, ROW, TEXT, row_schema

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["FORMAT", "Bundle", "Filed", "Place", "filed", "here"]

FORMAT = 1


@dataclass(frozen=True)
class Place:
    """One cell, by what it is about."""

    dataset: str
    scenario: str
    label: str
    regime: str
    seed: int

    def __str__(self) -> str:
        names = (self.dataset, self.scenario, self.label, self.regime, f"seed {self.seed}")
        return " · ".join(names)


@dataclass(frozen=True)
class Filed:
    """What the rows say of a cell: the folder of its records, and how it ended."""

    train_id: str
    status: str
    reason: str


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are what its manifest says, and whose rows are those of its suite."""

    path: Path
    digest: str
    board: str
    suite: Suite
    environment: Mapping[str, Any]
    rows: pd.DataFrame
    seconds: Mapping[str, float]
    cells: Mapping[Place, Filed]
    files: Mapping[str, bytes]

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Read a bundle and check all that can be checked without the data.

        Raises:
            RunError: it is not a bundle, of another version, or not whole.
        """
        try:
            content = members(path)
            manifest = _manifest(content)
            for name, data in content.items():
                if name.endswith(".parquet"):
                    check_table(name, data)
            suite = suite_of(_toml(content["suite.toml"]), "suite.toml")
            environment = _environment(_json(content, "environment.json"))
            rows = _rows(table_in("results.parquet", content["results.parquet"]))
            seconds = _seconds(table_in("timings.parquet", content["timings.parquet"]))
            cells = filed(suite, rows)
            _check_settings(suite, rows)
            _check_cells(cells, content)
        except FedbenchError as error:
            raise RunError(f"{path} is refused: {error}") from None
        return cls(
            path=path,
            digest=hashlib.sha256(path.read_bytes()).hexdigest(),
            board=str(manifest["board"]),
            suite=suite,
            environment=environment,
            rows=rows,
            seconds=seconds,
            cells=cells,
            files=content,
        )

    def of(self, train_id: str) -> dict[str, bytes]:
        """Return the files of one cell, by their names inside its folder."""
        found = ((CELL.fullmatch(name), content) for name, content in self.files.items())
        return {match["file"]: c for match, c in found if match and match["cell"] == train_id}


def here() -> str:
    """Return the version of fedbench, which a bundle shares with whoever checks it."""
    return version("fedbench-ehr")


def filed(suite: Suite, rows: pd.DataFrame) -> dict[Place, Filed]:
    """Return every cell of a suite as these rows have it.

    Raises:
        RunError: a cell is missing, too many, not finished or failed.
    """
    found: dict[Place, Filed] = {}
    own = rows[rows["regime"] != "control"]
    names = ["dataset", "scenario", "label", "regime", "seed", "train_id"]
    for cell in own[names].drop_duplicates().to_dict("records"):
        train_id, about = str(cell.pop("train_id")), {str(k): v for k, v in cell.items()}
        place = Place(**{**about, "seed": int(about["seed"])})
        mine = own[own["train_id"] == train_id]
        if place in found:
            raise RunError(f"{place} has rows of two trainings.")
        status, reason = _ended(mine)
        if status == "failed":
            raise RunError(f"{place} failed: {reason}")
        found[place] = Filed(train_id, status, reason)
    asked = [
        Place(dataset.called, scenario.name, generator.label, regime, seed)
        for dataset, scenario in suite.worlds()
        for generator in suite.generators
        for regime in suite.regimes
        for seed in suite.seeds
    ]
    if missing := [place for place in asked if place not in found]:
        raise RunError(f"cells are missing: {listed(map(str, missing))}.")
    if strange := [place for place in found if place not in asked]:
        raise RunError(f"the suite has no such cells: {listed(map(str, strange))}.")
    _same_over_seeds(found)
    return {place: found[place] for place in asked}


def _ended(rows: pd.DataFrame) -> tuple[str, str]:
    """Return how a cell ended; a measure that failed counts as if the cell had."""
    failed = rows[rows["status"] == "failed"]
    whole = rows[rows["name"] == ""]
    for found in (failed, whole):
        if len(found):
            lines = str(found["reason"].iloc[0]).strip().splitlines()
            return str(found["status"].iloc[0]), lines[-1] if lines else ""
    return "done", ""


def _same_over_seeds(cells: Mapping[Place, Filed]) -> None:
    """What a generator cannot do it can do under no seed: none may be left out."""
    ended: dict[tuple[str, ...], str] = {}
    for place, found in cells.items():
        key = (place.dataset, place.scenario, place.label, place.regime)
        if ended.setdefault(key, found.status) != found.status:
            raise RunError(f"{place} is {found.status}, and under other seeds {ended[key]}.")


def _manifest(content: Mapping[str, bytes]) -> dict[str, Any]:
    found = _json(content, MANIFEST)
    if found.get("format") != FORMAT:
        raise RunError(f"it is of format {found.get('format')!r}; this fedbench reads {FORMAT}.")
    if found.get("fedbench") != here():
        raise RunError(
            f"it was made with fedbench {found.get('fedbench')}, and this is {here()}; numbers of "
            "two versions are not compared."
        )
    hashes = found.get("files")
    if not isinstance(hashes, dict) or set(hashes) != set(content) - {MANIFEST}:
        raise RunError("the manifest does not list the files that are there.")
    for name, expected in hashes.items():
        if hashlib.sha256(content[name]).hexdigest() != expected:
            raise RunError(f"{name} is not the file that the manifest lists: its hash differs.")
    return found


def _json(content: Mapping[str, bytes], name: str) -> dict[str, Any]:
    try:
        found = json.loads(content[name])
    except (ValueError, RecursionError) as error:
        raise RunError(f"{name} cannot be read: {error}.") from None
    if not isinstance(found, dict):
        raise RunError(f"{name} is not a JSON object.")
    return found


def _toml(content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RunError(f"suite.toml cannot be read: {error}.") from None


def _environment(found: dict[str, Any]) -> dict[str, Any]:
    for name in ("versions", "data"):
        texts = found.get(name)
        if not (isinstance(texts, dict) and all(isinstance(v, str) for v in texts.values())):
            raise RunError(f"environment.json: {name!r} is {texts!r}; expected names with texts.")
    return found


def _rows(table: pa.Table) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415

    if not any(table.schema.equals(row_schema(without)) for without in LACKING):
        raise RunError("results.parquet does not have the columns of a row.")
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        raise RunError(f"results.parquet cannot be read: {error}.") from None
    rows: pd.DataFrame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    if rows["seed"].isna().any() or rows[rows.columns.intersection(TEXT)].isna().any(axis=None):
        raise RunError("results.parquet has rows without a seed, or texts that are not there.")
    return rows.reindex(columns=list(ROW))


def _seconds(table: pa.Table) -> dict[str, float]:
    """Return the seconds that training took, by train id."""
    try:
        cells, seconds = (table.column(name).to_pylist() for name in ("cell", "training"))
        told = {
            str(cell)[-12:]: float(found or 0.0) for cell, found in zip(cells, seconds, strict=True)
        }
    except (KeyError, TypeError, ValueError):
        raise RunError("timings.parquet does not have the seconds of every cell.") from None
    for cell, found in told.items():
        if not 0 <= found < math.inf:
            raise RunError(f"timings.parquet: cell {cell} took {found} seconds to train.")
    return told


def _check_settings(suite: Suite, rows: pd.DataFrame) -> None:
    """What was trained, by its rows, is what the suite asks."""
    own = rows[rows["regime"] != "control"]
    asked = {choice.label: choice for choice in suite.generators}
    for label, name, text in own[["label", "generator", "settings"]].drop_duplicates().to_numpy():
        try:
            found = json.loads(text or "{}")
        except (ValueError, RecursionError):
            raise RunError(f"results.parquet: the settings of {label} cannot be read.") from None
        settings = json.loads(json.dumps(plain(asked[label].settings), default=str))
        if name != asked[label].name:
            raise RunError(f"{label} is {asked[label].name} in the suite, and {name} in its rows.")
        for setting, value in settings.items():
            if not isinstance(found, dict) or found.get(setting) != value:
                raise RunError(
                    f"{label}: the suite asks for {setting} = {value}, and its rows do not say so."
                )


def _check_cells(cells: Mapping[Place, Filed], content: Mapping[str, bytes]) -> None:
    """Every cell that was done has its records and its ledger, and nothing else is there."""
    done = {found.train_id: place for place, found in cells.items() if found.status == "done"}
    for place, found in cells.items():
        for name in ("synthetic/static.parquet", "ledger.parquet"):
            if found.status == "done" and f"cells/{found.train_id}/{name}" not in content:
                raise RunError(f"{place}: there is no {name}.")
    for match in filter(None, map(CELL.fullmatch, content)):
        if match["cell"] not in done:
            raise RunError(f"{match[0]} belongs to no cell that was done.")
