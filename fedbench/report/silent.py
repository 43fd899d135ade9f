"""Everything that has no number, with its reason, so that nothing is dropped."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
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


def groups(table: pd.DataFrame, words: Callable[[str], Mapping[str, str]]) -> list[Json]:
    """Return rows without a number, grouped by status, family and reason.

    Reasons that differ only in their numbers go together; each is kept. ``words`` says what a
    dataset calls its columns.
    """
    found: dict[tuple[str, ...], list[Json]] = defaultdict(list)
    for record in table[table["status"].isin(ORDER)].to_dict("records"):
        row = {str(key): python(value) for key, value in record.items()}
        masked = re.sub(r"-?\d([\d,.]*\d)?", "…", row["reason"])
        key = (row["status"], row["dataset"], row["scenario"], row["family"], masked)
        found[key].append(row)
    ordered = sorted(found, key=lambda key: (ORDER.index(key[0]), key[1:]))
    return [_group(found[key], words(found[key][0]["dataset"])) for key in ordered]


def _group(rows: Sequence[Json], words: Mapping[str, str]) -> Json:
    first = rows[0]
    names = sorted({row["name"] for row in rows})
    secrets = sorted({row["secret"] for row in rows} - {""})
    return {
        "status": first["status"],
        "dataset": first["dataset"],
        "scenario": first["scenario"],
        "what": "; ".join(measure(name) if name else "the whole cell" for name in names),
        "names": names,
        "secrets": [words.get(secret, secret) for secret in secrets],
        "count": len(rows),
        "why": short(first["reason"]) or "no reason was recorded",
        "reasons": sorted({row["reason"] or "no reason was recorded" for row in rows}),
        "generators": sorted({row["label"] or row["generator"] for row in rows} - {""}),
        "regimes": sorted({row["regime"] for row in rows} - {""}),
        "sites": sorted({row["site"] or row["model"] for row in rows} - {""}),
        "seeds": sorted({int(row["seed"]) for row in rows if row["seed"] is not None}),
    }
