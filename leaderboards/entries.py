"""What is on a board: the rows of verified bundles, each in a folder of its own."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from fedbench.errors import RunError
from fedbench.leaderboards.board import Board
from fedbench.leaderboards.bundle import Bundle
from fedbench.leaderboards.verification import Verified
from fedbench.plugin import plain
from fedbench.results import portable, read_json, read_parquet, write_json, write_parquet

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ENTRIES", "Entry", "add", "check_room", "entries", "references"]

FACTS, ROWS = "entry.json", "rows.parquet"

ENTRIES = "board"
"""Where entries go that are told no other place."""

COLUMNS = ("dataset", "scenario", "label", "regime", "seed", "target", "family", "name", "task",
           "secret", "level", "group", "better", "least", "most", "value", "low", "high", "n",
           "status", "reason", "verdict")  # fmt: skip
KEPT = 100
"""Replicates of a number that ranks are drawn from."""


@dataclass(frozen=True)
class Entry:
    """One submission: what was trained, on what, and its rows with their replicates."""

    path: Path
    facts: Mapping[str, Any]
    rows: pd.DataFrame

    @property
    def labels(self) -> list[str]:
        """The names of its generators."""
        return [str(each["label"]) for each in self.facts["generators"]]


def references(board: Board) -> Path:
    """Return where the results of the reference generators come with fedbench."""
    return Path(str(files("fedbench.leaderboards") / "references")) / board.name


def entries(board: Board, folder: Path) -> list[Entry]:
    """Return the references of a board and what was added to this folder.

    Raises:
        RunError: one was changed, or belongs to another board.
    """
    places = dict.fromkeys(path.resolve() for path in (references(board), folder))
    return [
        _read(file.parent, board) for path in places for file in sorted(path.glob(f"*/{FACTS}"))
    ]


def add(verified: Verified, board: Board, folder: Path) -> Entry:
    """Put the rows of a verified bundle, not its records, on a board.

    Raises:
        RunError: it does not fit, is on the board already, or has a name that is taken.
    """
    bundle = verified.bundle
    if verified.mismatches:
        raise RunError(f"{bundle.path} does not come out as submitted, so it is not added.")
    check_room(bundle, board, folder)
    name = portable("-".join(choice.label for choice in bundle.suite.generators)[:60])
    place = folder / f"{name}-{bundle.digest[:8]}"
    facts = {
        "board": board.name,
        "frozen": board.digest,
        "bundle": bundle.digest,
        "added": datetime.now(UTC).date().isoformat(),
        "recomputed": verified.recomputed,
        "attested": verified.attested,
        "environment": dict(bundle.environment),
        "generators": list(_generators(bundle)),
    }
    _written(place, facts, _kept(verified.rows, board))
    return _read(place, board)


def check_room(bundle: Bundle, board: Board, folder: Path) -> None:
    """Say whether a bundle can be added, before the work of verifying it.

    Raises:
        RunError: it is on the board already, or has a name that is taken.
    """
    there = entries(board, folder)
    if any(entry.facts["bundle"] == bundle.digest for entry in there):
        raise RunError(f"{bundle.path} is on the board already.")
    taken = {label: entry.path for entry in there for label in entry.labels}
    for choice in bundle.suite.generators:
        if choice.label in taken:
            raise RunError(
                f"The board has a generator called {choice.label!r} already "
                f"({taken[choice.label].name}). Give yours a label of its own in the suite, and "
                "run it without the references: they are on the board."
            )


def _generators(bundle: Bundle) -> Iterable[dict[str, Any]]:
    """Say what was trained, and how hospitals worked together."""
    met = {scenario.name: scenario for _, scenario in bundle.suite.worlds()}
    for choice in bundle.suite.generators:
        mine = bundle.rows[bundle.rows["label"] == choice.label]
        yield {
            "label": choice.label,
            "name": choice.name,
            "settings": plain(choice.settings),
            "version": str(mine["generator_version"].iloc[0]),
            "federation": {
                s.name: {
                    "strategy": plain(asdict(s.strategy)),
                    "codec": plain(asdict(s.codec)),
                    "privacy": plain(asdict(s.privacy)),
                    "rounds": s.rounds,
                    "participation": s.participation,
                    **({"stopping": plain(asdict(s.stopping))} if s.stopping else {}),
                    **({"start": s.start} if s.start != "common" else {}),
                }
                for s in met.values()
            },
            "seconds": sum(bundle.seconds.get(name, 0.0) for name in mine["train_id"].unique()),
        }


def _kept(rows: Sequence[Mapping[str, Any]], board: Board) -> pd.DataFrame:
    """Return what is about all hospitals together, no single column and no single hospital.

    Replicates are kept of what the board ranks.
    """
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    about = [r for r in rows if not (r.get("site") or r.get("model") or r.get("column"))]
    table = pd.DataFrame([{name: row.get(name) for name in COLUMNS} for row in about])
    numbers = ("least", "most", "value", "low", "high")
    texts = [n for n in COLUMNS if n not in ("seed", "n", *numbers)]
    table[texts] = table[texts].fillna("").astype(str)
    ranked = {name for column in board.columns for name in column.names}
    replicates = [row.get("replicates") if row.get("name") in ranked else None for row in about]
    table["replicates"] = pd.Series(
        [None if r is None else np.asarray(r[:KEPT], dtype=np.float32) for r in replicates],
        dtype=object,
    )
    return table.astype({"seed": "int64", "n": "Int64", **dict.fromkeys(numbers, float)})


def _written(place: Path, facts: Mapping[str, Any], rows: pd.DataFrame) -> None:
    """Make the folder, whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(mkdtemp(prefix=".", dir=place.parent))
    try:
        draft.chmod(0o755)
        write_parquet(draft / ROWS, rows)
        write_json(draft / FACTS, {**facts, "rows": _hash(draft / ROWS)})
        draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _read(place: Path, board: Board) -> Entry:
    facts = read_json(place / FACTS)
    if facts.get("board") != board.name or facts.get("frozen") != board.digest:
        raise RunError(
            f"{place} belongs to the board {facts.get('board')!r} as it was when it was added, not "
            f"to {board.name!r} as it is: other datasets, splits, seeds, metrics or attacks. "
            "Numbers of the two are not compared; choose another --board or --entries."
        )
    rows = place / ROWS
    if not rows.is_file() or _hash(rows) != facts.get("rows"):
        raise RunError(
            f"{rows} is not what was added. Remove the folder, and add the bundle again."
        )
    return Entry(place, facts, read_parquet(rows))


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
