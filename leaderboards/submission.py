"""Packing a finished run into a bundle."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from fedbench.collect import rows_of, table_of
from fedbench.config import Suite
from fedbench.data import Cohort, DataStore
from fedbench.errors import RunError
from fedbench.kinds import DATASETS, cohort_of
from fedbench.leaderboards.archive import MANIFEST
from fedbench.leaderboards.board import Board
from fedbench.leaderboards.bundle import FORMAT, Place, filed, here
from fedbench.nouns import plural
from fedbench.releases import written
from fedbench.results import CellDir, RunDir, read_json, read_parquet, unheard_of
from fedbench.runner import suite_of_run

__all__ = ["submit"]

OLD = (1980, 1, 1, 0, 0, 0)
"""The same run gives the same bundle."""


def submit(run: RunDir, board: Board, out: Path, store: DataStore) -> None:
    """Write a finished run as a bundle; nothing is written where something does not fit.

    Synthetic patients get names of the bundle's own, in the same order, so that none can be
    that of a real one.

    Raises:
        RunError: the run is unfinished, failed, changed, of another version, or does not fit
            the board; or records derived from its data may not be passed on.
    """
    if run.given:
        raise RunError(
            f"{run.path} was made by `fedbench {run.given}`: nothing was trained, so there is "
            "nothing to rank."
        )
    suite = suite_of_run(run)
    rows = run.answers()
    run.check()
    _check_version(run)
    _check_licences(suite)
    try:
        board.check(suite, "its suite")
        cells = filed(suite, rows)
    except RunError as error:
        raise RunError(f"{run.path} cannot be submitted: {error}") from None
    folders = _check_rows(run, rows)
    cohorts = {d.called: cohort_of(d.name, d.settings, store) for d in suite.datasets}
    content = {
        "suite.toml": suite.to_toml().encode(),
        "environment.json": (run.path / "environment.json").read_bytes(),
        "results.parquet": (run.path / "results.parquet").read_bytes(),
        "timings.parquet": (run.path / "timings.parquet").read_bytes(),
    }
    for place, found in cells.items():
        if found.status == "done":
            records = _records(place, folders[found.train_id], cohorts[place.dataset])
            content |= {f"cells/{found.train_id}/{name}": data for name, data in records}
    _write(out, board, content)


def _check_version(run: RunDir) -> None:
    found = read_json(run.path / "environment.json").get("versions", {}).get("fedbench-ehr")
    if found != here():
        raise RunError(
            f"{run.path} was made with fedbench {found}, and this is {here()}; numbers of two "
            "versions are not compared. Run it again, or submit it with the version it was made "
            "with."
        )


def _check_licences(suite: Suite) -> None:
    for choice in suite.datasets:
        dataset = DATASETS.find(choice.name)
        if not dataset.redistributable:
            raise RunError(
                f"The licence of {choice.name} ({dataset.licence}) does not allow records derived "
                "from it to be passed on, and a bundle holds synthetic records. Nothing was "
                "written."
            )


def _check_rows(run: RunDir, rows: pd.DataFrame) -> dict[str, CellDir]:
    """Compute the rows again from the stored measures, and return their cells by train id."""
    there = {str(cell.facts()["train_id"]): cell for cell in run.cells()}
    ids = {str(name): list(found.unique()) for name, found in rows.groupby("train_id")["score_id"]}
    if lost := sorted(set(ids) - set(there)):
        raise RunError(f"{run.path} has rows of the cell {lost[0]}, whose folder is not there.")
    cells = {name: there[name] for name in ids}
    again, aside = table_of(rows_of(list(cells.values()), ids)), unheard_of(rows)
    if not again.drop(columns=aside).equals(rows.drop(columns=aside)):
        raise RunError(
            f"{run.path / 'results.parquet'} was changed since it was written. Write it again with "
            f"`fedbench run --resume {run.path}`."
        )
    return cells


def _records(place: Place, cell: CellDir, real: Cohort) -> Iterator[tuple[str, bytes]]:
    """Return what is passed on of a cell, under names that no real patient can have."""
    _check_copies(place, cell, real)
    files = sorted((cell.path / "synthetic").glob("*.parquet"))
    tables = {file.stem: read_parquet(file) for file in files}
    for column in ("patient", *([real.schema.cluster] if real.schema.cluster else [])):
        names = np.unique(tables["static"][column].astype(str))
        ours = {old: f"{column[0]}{i:0{len(str(len(names)))}d}" for i, old in enumerate(names)}
        for name, table in tables.items():
            if column in table:
                tables[name] = table.assign(**{column: table[column].astype(str).map(ours)})
    for name, table in tables.items():
        yield f"synthetic/{name}.parquet", _parquet(table)
    for file in (cell.path / "ledger.parquet", *sorted(cell.path.glob("guesses-*.parquet"))):
        yield file.name, file.read_bytes()


def _check_copies(place: Place, cell: CellDir, real: Cohort) -> None:
    """No real record is passed on, whoever wrote it."""
    known = real.looks
    models = written(cell.path / "synthetic", real.schema).values()
    copies = sum(int(np.isin(cohort.looks, known).sum()) for cohort in models)
    if copies:
        those = plural(copies, "synthetic record is that", "synthetic records are those")
        raise RunError(
            f"{place}: {those} of real patients, value by value. No real record goes into a bundle."
        )


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


def _write(out: Path, board: Board, content: Mapping[str, bytes]) -> None:
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    manifest = {"format": FORMAT, "board": board.name, "fedbench": here(), "files": hashes}
    files = {MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode(), **content}
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, OLD), data, zipfile.ZIP_DEFLATED)
    draft.replace(out)
