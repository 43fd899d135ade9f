"""Everything that has no number, with its reason, so that nothing is dropped."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import pandas as pd

from fedbench.report.numbers import python
from fedbench.report.words import measure, short

__all__ = ["counts", "groups"]

ORDER = ("failed", "refused", "skipped", "not applicable")

Json = dict[str, Any]


def counts(table: pd.DataFrame) -> dict[str, int]:
    """Return how many rows have which status."""
    found = Counter(str(status) or "done" for status in table["status"])
    return {status: found[status] for status in ("done", *ORDER) if found[status]}


def groups(table: pd.DataFrame) -> list[Json]:
    """Return rows without a number, grouped by status, measure and reason.

    Reasons that differ only in their numbers go together; each is kept.
    """
    found: dict[tuple[str, ...], list[Json]] = defaultdict(list)
    for record in table[table["status"].isin(ORDER)].to_dict("records"):
        row = {str(key): python(value) for key, value in record.items()}
        masked = re.sub(r"\d+(\.\d+)?", "…", row["reason"])
        key = (row["status"], row["dataset"], row["scenario"], row["family"], row["name"], masked)
        found[key].append(row)
    ordered = sorted(found, key=lambda key: (ORDER.index(key[0]), key[1:]))
    return [_group(found[key]) for key in ordered]


def _group(rows: Sequence[Json]) -> Json:
    first = rows[0]
    return {
        "status": first["status"],
        "dataset": first["dataset"],
        "scenario": first["scenario"],
        "what": measure(first["name"]) if first["name"] else "the whole cell",
        "name": first["name"],
        "count": len(rows),
        "why": short(first["reason"]) or "no reason was recorded",
        "reasons": sorted({row["reason"] or "no reason was recorded" for row in rows}),
        "generators": sorted({row["label"] or row["generator"] for row in rows} - {""}),
        "regimes": sorted({row["regime"] for row in rows} - {""}),
        "sites": sorted({row["site"] or row["model"] for row in rows} - {""}),
        "seeds": sorted({int(row["seed"]) for row in rows if row["seed"] is not None}),
    }
