"""A board as plain rows for a terminal or a script, and as one page that needs nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedbench.leaderboards.board import Board
from fedbench.leaderboards.entries import Entry
from fedbench.leaderboards.ranking import FLOOR, RULE, Cell, Head, Line, Table, tables
from fedbench.nouns import plural
from fedbench.report.words import NONE, human_bytes, number

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["facts", "page", "rows", "write"]


def rows(table: Table) -> list[dict[str, str]]:
    """Return one line per generator and regime, each number with its range and rank."""
    return [
        {
            "generator": line.label,
            "regime": line.regime,
            **{_title(head): _stacked(head, cell) for head, cell in _pairs(table, line)},
        }
        for line in table.lines
    ]


def facts(board: Board, found: Sequence[Entry]) -> dict[str, Any]:
    """Return everything as values that JSON knows."""
    return {
        "board": board.name,
        "rule": RULE,
        "entries": [_entry(entry) for entry in found],
        "tables": [_facts(table) for table in tables(board, found)],
    }


def page(board: Board, found: Sequence[Entry]) -> str:
    """Return the page."""
    return _template().render(
        board=board,
        entries=[_entry(entry) for entry in found],
        tables=tables(board, found),
        rule=RULE,
        has_floor=any(label in FLOOR for entry in found for label in entry.labels),
    )


def write(file: Path, text: str) -> None:
    """Write the page, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)


def shown(head: Head, cell: Cell) -> str:
    """Return a value."""
    return _word(head, cell.value)


def ranged(head: Head, cell: Cell) -> str:
    """Return a range, or nothing where there is none."""
    if cell.low is None or cell.high is None or cell.low == cell.high:
        return ""
    return f"{_word(head, cell.low)} to {_word(head, cell.high)}"


def ranked(cell: Cell) -> str:
    """Return a rank with its range.

    >>> ranked(Cell(value=0.1, rank=1, best=1, worst=2, of=3))
    'rank 1 (1 to 2) of 3'
    """
    if cell.rank is None:
        return ""
    spread = f" ({cell.best} to {cell.worst})" if cell.best != cell.worst else ""
    return f"rank {cell.rank}{spread} of {cell.of}"


def _word(head: Head, value: float | None) -> str:
    return human_bytes(value) if head.name == "communication.bytes" else number(value)


def _stacked(head: Head, cell: Cell) -> str:
    if cell.value is None:
        return cell.note.partition(":")[0] or NONE
    parts = (shown(head, cell), ranged(head, cell), ranked(cell), cell.note)
    return "\n".join(part for part in parts if part)


def _title(head: Head) -> str:
    return f"{head.title}\n{head.about}" if head.about else head.title


def _pairs(table: Table, line: Line) -> list[tuple[Head, Cell]]:
    return list(zip(table.heads, line.cells, strict=True))


def _facts(table: Table) -> dict[str, Any]:
    lines = [
        {
            "generator": line.label,
            "regime": line.regime,
            "cells": [{**vars(head), **vars(cell)} for head, cell in _pairs(table, line)],
        }
        for line in table.lines
    ]
    return {"dataset": table.dataset, "scenario": table.scenario, "lines": lines}


def _entry(entry: Entry) -> dict[str, Any]:
    """Return what a reader wants to know of a submission, in words."""
    about = entry.facts
    environment: Mapping[str, Any] = about["environment"]
    return {
        "generators": [
            {
                **g,
                "settings": _words(g["settings"]),
                "federation": list(map(_together, g["federation"].items())),
            }
            for g in about["generators"]
        ],
        "added": about["added"],
        "bundle": about["bundle"],
        "recomputed": about["recomputed"],
        "attested": about["attested"],
        "versions": _words(environment.get("versions", {})),
        "machine": f"{environment.get('platform', '')}, {environment.get('device', '')}",
    }


def _together(pair: tuple[str, Mapping[str, Any]]) -> str:
    scenario, how = pair
    kinds = [_choice(how[kind]) for kind in ("strategy", "codec", "privacy")]
    strategy, codec, privacy = kinds
    parts = [f"{scenario}: {strategy}, {plural(how['rounds'], 'round')}"]
    parts += [f"{codec} codec"] if codec != "identity" else []
    parts += [f"privacy {privacy}"] if privacy != "none" else []
    parts += (
        [f"{how['participation']:.0%} of hospitals a round"] if how["participation"] < 1 else []
    )
    parts += [f"stopped early ({_words(how['stopping'])})"] if "stopping" in how else []
    parts += ["hospitals start apart"] if how.get("start") == "site" else []
    return ", ".join(parts)


def _choice(found: Mapping[str, Any]) -> str:
    settings = _words(found["settings"])
    return f"{found['name']} ({settings})" if settings else str(found["name"])


def _words(found: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in found.items()
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"shown": shown, "ranged": ranged, "ranked": ranked}
    text = (files("fedbench.leaderboards") / "page.html").read_text(encoding="utf-8")
    return environment.from_string(text)
