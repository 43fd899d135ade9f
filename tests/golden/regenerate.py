"""Write the golden results again: python tests/golden/regenerate.py."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

from fedbench.config import read_suite
from fedbench.data import DataStore
from fedbench.runner import run

HERE = Path(__file__).parent
SHOWN = [
    "regime",
    "label",
    "model",
    "site",
    "target",
    "name",
    "task",
    "level",
    "group",
    "value",
    "low",
    "high",
    "n",
    "floor",
    "ceiling",
    "normalized",
    "status",
]


def golden(results: pd.DataFrame) -> pd.DataFrame:
    """Return what is compared: every row that is not about a single column."""
    rows = results[results["column"] == ""][SHOWN]
    return rows.reset_index(drop=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        done = run(
            read_suite(str(HERE / "tiny.toml")),
            out=Path(folder),
            resume=None,
            jobs=1,
            store=DataStore(),
            observe=lambda _: None,
        )
        golden(done.results()).to_csv(HERE / "tiny.csv", index=False, float_format="%.10g")
