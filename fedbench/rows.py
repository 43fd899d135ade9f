"""What names a row: the question it answers, where it was asked, and by whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["SAID", "SILENT", "Row", "attack_of", "grouped", "is_control", "key_of", "where"]

Row = dict[str, Any]

KEY = ("name", "task", "column", "secret", "level", "group")
"""What makes two rows answers to the same question."""

WHERE = ("dataset", "scenario", "seed")
"""What makes two rows answers about the same world."""

SILENT = ("communication", "compute")
"""Families whose numbers are counted: nothing follows from them, and no scale has them."""

SAID = ("verdict", "by", "covered", "of", "over")
"""What a row says of its own number."""


def where(row: Row) -> tuple[Any, ...]:
    """Return the world that a row is about."""
    return tuple(row[name] for name in WHERE)


def key_of(row: Row) -> tuple[Any, ...]:
    """Return the question that a row answers."""
    return tuple(row.get(name, "") for name in KEY)


def attack_of(row: Row) -> str:
    """Return the attack, or metric, that a row is from."""
    return str(row["name"]).partition(".")[0]


def is_control(row: Row) -> bool:
    """Whether real records were scored as if they were synthetic."""
    return bool(row["regime"] == "control")


def grouped(rows: Iterable[Row], by: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """Return rows in groups, in the order in which these first come."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(by(row), []).append(row)
    return groups
