"""A run as far as it is compared, and whether two of them can be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from fedbench.collect import rows_of, table_of
from fedbench.config import Suite
from fedbench.errors import RunError
from fedbench.results import RunDir, read_json, read_parquet
from fedbench.runner import suite_of_run

__all__ = ["About", "Place", "Row", "Run", "comparable"]

Row = dict[str, Any]
World = tuple[str, str]
Place = Literal["pooled", "worst", "gain", "tax"]

FREE = ("suite.seeds", "suite.device", "suite.threads")
"""What two runs of one suite need not share."""

QUESTIONS = ("metrics", "attacks")
"""Of these one may have more than the other; rows that only one has are lost or new."""


class About(NamedTuple):
    """What a row is about: rows that differ only by seed share it."""

    dataset: str
    scenario: str
    label: str
    regime: str
    model: str
    site: str
    target: str
    name: str
    task: str
    column: str
    secret: str
    level: str
    group: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> About:
        """Return what a row is about."""
        return cls(*(str(row.get(name) or "") for name in cls._fields))

    @property
    def place(self) -> Place | None:
        """Which of the kinds of rows that can gate this is, if any."""
        match self.target, self.site, self.level, self.group, self.column:
            case "pooled", "", "", "", "":
                return "pooled"
            case "specialist", "worst", "", "", "":
                return "worst"
            case "gain", "", "patient-weighted", "over local", "":
                return "gain"
            case "tax", "", "", "", "":
                return "tax"
        return None

    @property
    def anywhere(self) -> About:
        """The same of no hospital in particular: gains stay gains, all else is their own."""
        gain = self.target == "gain"
        return self._replace(
            target="gain" if gain else "specialist",
            group=self.group if gain else "",
            model="",
            site="",
            level="",
        )


@dataclass(frozen=True)
class Run:
    """One of the two runs: rows by what they are about and seed, and the facts of its cells."""

    path: Path
    suite: Suite
    rows: Mapping[About, Mapping[int, Row]]
    facts: Sequence[tuple[Path, Mapping[str, Any]]] = ()

    @classmethod
    def open(cls, path: Path) -> Run:
        """Read a finished run, and work its rows out again to have their replicates.

        Raises:
            RunError: it is not a run, not finished, changed, or of another version.
        """
        run = RunDir.open(path)
        suite = suite_of_run(run)
        stored = run.answers()
        run.check()
        asked = {
            str(train): sorted({str(score) for score in scores} - {""})
            for train, scores in stored.groupby("train_id")["score_id"]
        }
        cells = [cell for cell in run.cells() if cell.facts()["train_id"] in asked]
        if lost := sorted(asked.keys() - {"", *(cell.facts()["train_id"] for cell in cells)}):
            raise RunError(
                f"{path} is unfinished: cell {lost[0]} is not there any more. Do it again with "
                f"`fedbench run --resume {path}`."
            )
        rows = rows_of(cells, asked)
        if not _same(table_of(rows), stored):
            raise RunError(
                f"{path / 'results.parquet'} is not what its cells say: it was changed, or "
                "another version of fedbench wrote it. Write it again with "
                f"`fedbench run --resume {path}`."
            )
        return cls(path, suite, _by_seed(rows), [(cell.path, cell.facts()) for cell in cells])

    def done(self, about: About, seed: int) -> bool:
        """Whether there is a number."""
        row = self.rows.get(about, {}).get(seed, {})
        return row.get("status") == "done" and math.isfinite(row.get("value", math.nan))

    @cached_property
    def failed(self) -> Mapping[tuple[About, int], Row]:
        """What failed: cells, whose rows have no name, and measures."""
        return {
            (about, seed): row
            for about, rows in self.rows.items()
            for seed, row in rows.items()
            if row["status"] == "failed"
        }

    def hospitals(self, about: About) -> Sequence[About]:
        """Return the rows that say the same of every single hospital."""
        return self._hospitals.get(about.anywhere, ())

    @cached_property
    def _hospitals(self) -> Mapping[About, Sequence[About]]:
        found: dict[About, list[About]] = {}
        for about in sorted(self.rows):
            single = about.site not in ("", "worst") and not about.level
            if single and about.target in ("specialist", "gain"):
                found.setdefault(about.anywhere, []).append(about)
        return found

    @cached_property
    def overlap(self) -> Mapping[World, float]:
        """How many test patients there are per training patient in each world, at most."""
        found: dict[World, float] = {}
        for _, facts in self.facts:
            world, parts = (facts["row"]["dataset"], facts["row"]["scenario"]), facts["parts"]
            test, train = (sum(site[part] for site in parts.values()) for part in ("test", "train"))
            found[world] = max(found.get(world, 0.0), test / max(train, 1))
        return found

    def spent(self, seeds: Sequence[int]) -> dict[str, float]:
        """Return time and memory of the cells of these seeds."""
        cells = [
            read_json(path / "timings.json")
            for path, facts in self.facts
            if facts["row"]["seed"] in seeds and (path / "timings.json").is_file()
        ]
        return {
            "training_seconds": math.fsum(cell.get("training", 0.0) for cell in cells),
            "seconds": math.fsum(cell.get("seconds", 0.0) for cell in cells),
            "peak_memory_mb": max((cell.get("memory_mb", 0.0) for cell in cells), default=0.0),
        }


def comparable(base: Run, head: Run) -> None:
    """Refuse runs whose numbers do not mean the same.

    Raises:
        RunError: says what differs.
    """
    again = "Run BASE again with the fedbench that ran HEAD."
    versions, newer = _versions(base), _versions(head)
    questions, others = _questions(base), _questions(head)
    for what, advice, one, two in (
        ("version", again, _made_with(base), _made_with(head)),
        ("suite", "Run the same suite twice.", _suite(base), _suite(head)),
        ("data fingerprint", "Run both on the same records.", _data(base), _data(head)),
        # A metric that only one of them has is lost or new, and no other one.
        ("question", "Run the same suite twice.", questions, _shared(questions, others)),
        ("metric version", again, versions, _shared(versions, newer)),
    ):
        if differ := _differences(one, two):
            raise RunError(f"The runs are not comparable, other {what}: {differ}. {advice}")
    theirs = _partitions(head)
    for (dataset, scenario, seed), file in _partitions(base).items():
        other = theirs.get((dataset, scenario, seed), file)
        if not read_parquet(file).equals(read_parquet(other)):
            raise RunError(
                f"The runs are not comparable, other patients: under seed {seed} those of "
                f"{dataset} · {scenario} were dealt or split differently. {again}"
            )


def _by_seed(rows: Sequence[Row]) -> Mapping[About, Mapping[int, Row]]:
    found: dict[About, dict[int, Row]] = {}
    for row in rows:
        found.setdefault(About.of(row), {})[int(row["seed"])] = row
    return found


def _same(found: pd.DataFrame, stored: pd.DataFrame) -> bool:
    """Whether rows are those that were stored, but for rounding."""
    words, numbers = [*About._fields, "seed", "better", "status"], ["value", "low", "high"]
    return (
        len(found) == len(stored)
        and bool((found[words].astype(str) == stored[words].astype(str)).all(axis=None))
        and np.allclose(found[numbers], stored[numbers], rtol=1e-6, atol=1e-9, equal_nan=True)
    )


def _differences(base: Mapping[str, Any], head: Mapping[str, Any]) -> str:
    """Say where two tables differ; of the first three."""
    found = [key for key in sorted({*base, *head}) if base.get(key) != head.get(key)]
    told = [
        f"{key} is "
        + " and ".join(
            f"{table[key]!r} in {name}" if key in table else f"absent in {name}"
            for name, table in (("BASE", base), ("HEAD", head))
        )
        for key in found[:3]
    ]
    return "; ".join([*told, *([f"and {len(found) - 3} more"] if len(found) > 3 else [])])


def _suite(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind, tables in run.suite.tables().items():
        for table in [tables] if kind == "suite" else tables:
            who = kind if kind == "suite" else f"{kind}.{table.get('label') or table['name']}"
            found |= {who: table["name"]}
            found |= {f"{who}.{k}": v for k, v in table.items() if k not in ("label", "name")}
    free = {*FREE, *(f"suite.{kind}" for kind in QUESTIONS)}
    return {key: value for key, value in found.items() if key not in free}


def _questions(run: Run) -> dict[str, Any]:
    """Return the metrics and attacks that were asked, or sets of them, with their settings."""
    head = run.suite.tables()["suite"]
    asked = [(kind, each) for kind in QUESTIONS for each in head.get(kind, [])]
    return {
        f"{kind}.{each['name'] if isinstance(each, Mapping) else each}": each
        for kind, each in asked
    }


def _shared(base: Mapping[str, Any], head: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the base has, with what the head says of it."""
    return {name: head.get(name, found) for name, found in base.items()}


def _data(run: Run) -> dict[str, Any]:
    return dict(read_json(run.path / "environment.json").get("data", {}))


def _made_with(run: Run) -> dict[str, Any]:
    """Return the version of fedbench that made a run."""
    found = read_json(run.path / "environment.json").get("versions", {})
    return {"fedbench": found.get("fedbench-ehr")}


def _versions(run: Run) -> dict[str, Any]:
    """Return the version of every metric that any row has a number of."""
    return {
        about.name.partition(".")[0]: int(row["metric_version"])
        for about, rows in run.rows.items()
        for row in rows.values()
        if row["status"] == "done"
    }


def _partitions(run: Run) -> dict[tuple[str, str, int], Path]:
    """Return where it is written who was dealt to whom, by world and seed."""
    return {
        (facts["row"]["dataset"], facts["row"]["scenario"], facts["row"]["seed"]): file
        for path, facts in run.facts
        if (file := path / "partition.parquet").is_file()
    }
