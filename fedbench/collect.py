"""From the cells' measures to one table of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fedbench.metric import Anchors
from fedbench.results import (
    ASKED,
    CONTRADICTED,
    ROW,
    CellDir,
    RunDir,
    frame,
    read_json,
    read_parquet,
    sorted_rows,
    write_parquet,
)
from fedbench.summaries import derived
from fedbench.verdicts import finished

__all__ = ["collect", "rows_of", "table_of"]

Row = dict[str, Any]


def collect(run: RunDir, cells: Sequence[CellDir], score_ids: Mapping[str, Sequence[str]]) -> None:
    """Write ``results.parquet`` and ``timings.parquet`` from these cells.

    Only measures of this suite (``score_ids`` per train id) are taken, so that a run resumed
    with fewer metrics does not show old ones.
    """
    rows = rows_of(cells, score_ids)
    _accuse(cells, rows)
    timings = [{"cell": cell.path.name, **read_json(cell.path / "timings.json")} for cell in cells]
    table = table_of(rows)
    table.attrs[ASKED] = run.asked
    write_parquet(run.path / "results.parquet", table)
    write_parquet(run.path / "timings.parquet", pd.DataFrame(timings))


def rows_of(cells: Sequence[CellDir], score_ids: Mapping[str, Sequence[str]]) -> list[Row]:
    """Return every row of these cells, those that follow from others too, with replicates."""
    raw: list[Row] = []
    patients: dict[tuple[Any, ...], Mapping[str, int]] = {}
    for cell in cells:
        facts = cell.facts()
        base = facts["row"]
        patients[base["dataset"], base["scenario"], base["seed"]] = facts["patients"]
        if cell.scored:
            for score_id in score_ids[facts["train_id"]]:
                raw += _rows(cell, score_id)
        else:
            raw.append({**base, "status": facts["status"], "reason": facts["reason"]})
    measured = [row for row in raw if "name" in row]
    return finished([*raw, *derived(measured, patients)])


def _accuse(cells: Sequence[CellDir], rows: Sequence[Row]) -> None:
    """Write into cells whether an audit contradicts their promise, as all audits of the run say."""
    why = {
        str(row["train_id"]): str(row["reason"])
        for row in rows
        if str(row["reason"]).startswith(CONTRADICTED)
    }
    for cell in cells:
        facts = cell.facts()
        reason = why.get(facts["train_id"], "")
        if cell.scored and reason != facts["reason"]:
            facts.pop("files")
            cell.finish({**facts, "status": "failed" if reason else "done", "reason": reason})


def table_of(rows: Sequence[Row]) -> pd.DataFrame:
    """Return rows as they are stored."""
    return sorted_rows(frame([{k: v for k, v in row.items() if k in ROW} for row in rows]))


def _rows(cell: CellDir, score_id: str) -> list[Row]:
    table = read_parquet(cell.path / "measures" / f"{score_id}.parquet")
    rows = []
    for record in table.to_dict("records"):
        row = {str(k): v for k, v in record.items() if not _empty(v)}
        floor, ceiling = row.pop("anchor_floor", ""), row.pop("anchor_ceiling", "")
        row["anchors"] = Anchors(floor or None, ceiling or None)
        for name in ("task", "column", "secret", "level", "group", "model", "site", "weak"):
            row.setdefault(name, "")
        rows.append(row)
    return rows


def _empty(value: Any) -> bool:
    if isinstance(value, np.ndarray | list):
        return False
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))
