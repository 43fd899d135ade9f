"""Does a release know levels that a single training patient has?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd
from scipy.stats import fisher_exact

from fedbench.data import Schema
from fedbench.nouns import few
from fedbench.tabular import Given, as_levels

__all__ = ["rare"]

HINT = 0.05
"""Below this chance levels of single patients are not released alike by luck."""


def rare(released: Given, real: Mapping[str, Given], schema: Schema) -> Iterator[str]:
    """Say where levels that one training patient alone has are released, and others' are not.

    Every generator that learns its levels from the records does so, so that it is no verdict.
    """
    found = {n: _of(n, released, real) for n, c in schema.static.items() if c.kind == "category"}
    counts = pd.DataFrame(found, index=["train", "out", "others", "known"]).T.astype(int)
    train, out, others, known = counts.sum()
    table = [[out, train - out], [known, others - known]]
    if not out or fisher_exact(table, alternative="greater").pvalue >= HINT:
        return
    columns = few([repr(name) for name in counts.index[counts["out"] > 0]])
    yield (
        f"Of {train:,} values that a single training patient has (in compared categories), "
        f"{out:,} are released ({columns}), and of {others:,} that a single other real patient "
        f"has, {known:,}: who knows that a patient has such a value learns that she was trained "
        "on. Every generator does so that learns its levels from the records, and it makes no "
        "verdict; a public list of levels helps, or rare levels joined before training."
    )


def _of(name: str, released: Given, real: Mapping[str, Given]) -> tuple[int, int, int, int]:
    """Return how many levels have one patient, of either side, and how many are released."""
    if any(name not in given.static for given in (released, *real.values())):
        return 0, 0, 0, 0
    said = {part: as_levels(given.static[name]).dropna() for part, given in real.items()}
    alone = pd.concat(list(said.values())).drop_duplicates(keep=False)
    mine, out = alone.isin(said["train"]), alone.isin(as_levels(released.static[name]))
    return int(mine.sum()), int((mine & out).sum()), int((~mine).sum()), int((~mine & out).sum())
