"""What a leaderboard asks of everybody, and what it shows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from fedbench.config import Suite, suite_of
from fedbench.errors import RunError, SpecError
from fedbench.kinds import ATTACKS, METRICS
from fedbench.plugin import plain
from fedbench.results import digest
from fedbench.tables import build, named, read

__all__ = ["Board", "Column", "boards", "frozen", "read_board"]

STAND_IN = [{"name": "independent"}]
"""A suite needs a generator; a board leaves them open."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One measure that a board shows: the first of ``names`` that a dataset has."""

    title: str
    names: tuple[str, ...]
    target: Literal["pooled", "gain", "tax"] = "pooled"
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class _Head:
    name: str
    title: str
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class Board:
    """A leaderboard; of its suite, only what ``frozen`` returns is asked of a submission.

    ``tolerances`` say by how much a recomputed number may be off, by the first word of a
    row's name.
    """

    name: str
    title: str
    about: str
    columns: tuple[Column, ...]
    tolerances: Mapping[str, float]
    suite: Suite

    @property
    def digest(self) -> str:
        """A name for the frozen parts and for what their measures mean."""
        versions = [METRICS.find(choice.name).version for choice in self.suite.metrics]
        versions += [ATTACKS.find(choice.name).version for choice in self.suite.attacks]
        return digest(frozen(self.suite), versions)

    def tolerance(self, name: str) -> float:
        """Return by how much a number of this name may be off."""
        return self.tolerances.get(name.partition(".")[0], self.tolerances["default"])

    def check(self, suite: Suite, what: str) -> None:
        """Compare a suite with what is frozen.

        Raises:
            RunError: names every difference.
        """
        ours, theirs = frozen(self.suite), frozen(suite)
        if different := [
            f"{name} is {_said(theirs, name)}, and the board asks for {_said(ours, name)}"
            for name in dict.fromkeys([*ours, *theirs])
            if _said(theirs, name) != _said(ours, name)
        ]:
            raise RunError(f"{what} does not fit the board {self.name!r}: {'; '.join(different)}.")


def frozen(suite: Suite) -> dict[str, Any]:
    """Return the parts of a suite that are the same for everybody, by name.

    Generators are left open, and so is what federation does (strategy, codec, rounds,
    participation, privacy): that is what competes.
    """
    found: dict[str, Any] = {
        "suite.seeds": sorted(suite.seeds),
        "suite.regimes": sorted(suite.regimes),
        "suite.records": suite.records,
        "suite.replicates": suite.replicates,
    }
    for kind, choices in (("metrics", suite.metrics), ("attacks", suite.attacks)):
        found |= {f"{kind}.{choice.name}": plain(choice.settings) for choice in choices}
    for dataset, scenario in suite.worlds():
        found |= {
            f"datasets.{dataset.name}": plain(dataset.settings),
            f"datasets.{dataset.name}.parts": plain(dataset.parts),
            f"datasets.{dataset.name} in {scenario.name}": plain(asdict(scenario.partition)),
        }
    return found


def boards() -> dict[str, Path]:
    """Return the boards that come with fedbench."""
    folder = Path(str(files("fedbench.leaderboards") / "boards"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_board(name: str) -> Board:
    """Read a board that comes with fedbench by name, or a TOML file by path.

    Raises:
        SpecError: there is none, or it does not fit.
    """
    path = named(name, boards(), "board")
    return _board(read(path), str(path))


def _board(tables: Mapping[str, Any], where: str) -> Board:
    own = {name: tables.get(name) for name in ("board", "columns", "tolerances")}
    head = build(_Head, _table(own["board"], "board", where), f"{where}: [board]")
    if not isinstance(own["columns"], list) or not own["columns"]:
        raise SpecError(f"{where}: a board shows at least one of [[columns]].")
    columns = [build(Column, _table(c, "columns", where), where) for c in own["columns"]]
    asked = {name: found for name, found in tables.items() if name not in own}
    asked["suite"] = {**_table(tables.get("suite", {}), "suite", where), "name": head.name}
    return Board(
        **asdict(head),
        columns=tuple(columns),
        tolerances=_tolerances(_table(own["tolerances"] or {}, "tolerances", where), where),
        suite=suite_of({**asked, "generators": STAND_IN}, where).check(),
    )


def _tolerances(found: Mapping[str, Any], where: str) -> Mapping[str, float]:
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise SpecError(f"{where}: the tolerance {name!r} is {value!r}; expected at least 0.")
    return {"default": 1e-6, **found}


def _table(found: Any, name: str, where: str) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise SpecError(f"{where}: {name!r} must be a table, found {found!r}.")
    return found


def _said(parts: Mapping[str, Any], name: str) -> str:
    return json.dumps(parts[name], sort_keys=True) if name in parts else "absent"


def listed(problems: Iterable[str], most: int = 10) -> str:
    """Return the first problems, and how many more there are.

    >>> listed(["a", "b", "c"], most=2)
    'a; b; and 1 more'
    """
    found: Sequence[str] = list(problems)
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return "; ".join([*found[:most], *more])
