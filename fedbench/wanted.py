"""What the columns of tables from outside are wanted for: to be guessed, or to be foreseen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from fedbench.data import OTHER, Column, Role, Schema, Task
from fedbench.draft import Draft
from fedbench.errors import DataError, SpecError
from fedbench.nouns import few, plural
from fedbench.tables import hint
from fedbench.tabular import ENDS, Given, as_levels

__all__ = ["check_levels", "with_sensitive", "with_survival", "with_tasks"]

LATER = 1.0
"""Day from which a column is known that is foreseen at day 0."""


def with_sensitive(described: Draft, names: Sequence[str]) -> Schema:
    """Let columns be what attackers must not guess.

    Raises:
        SpecError: there is no such column, or it is a number.
    """
    schema = described.schema
    columns = {"static": dict(schema.static), "visits": dict(schema.visits)}
    for name in names:
        table = next((t for t, found in columns.items() if name in found), None)
        if table is None and schema.outcome and name in ENDS:
            raise SpecError(f"--sensitive {name!r}: it is half of the outcome, not to be guessed.")
        if table is None:
            known = [*schema.static, *schema.visits]
            said = (note for note in described.notes if note.startswith(f"{name!r} is "))
            raise SpecError(
                f"--sensitive {name!r}: {next(said, _unknown('--sensitive', name, known))}"
            )
        columns[table][name] = _sensitive(name, columns[table][name])
    return replace(schema, static=columns["static"], visits=columns["visits"])


def with_survival(schema: Schema) -> Schema:
    """Let the outcome be foreseen from day 0, unless a task of the schema is about it."""
    if schema.outcome is None or _is_foreseen(schema):
        return schema
    task = Task(kind="survival", label=schema.outcome.label, index=0.0)
    return replace(schema, tasks={**schema.tasks, "survival": task})


def _is_foreseen(schema: Schema) -> bool:
    return any(not (task.column or task.codes) for task in schema.tasks.values())


def with_tasks(schema: Schema, names: Sequence[str], real: Sequence[Given]) -> Schema:
    """Let columns be foreseen from all others, and from what is dated up to day 0.

    Raises:
        SpecError: there is no such column, it has not two levels, or the outcome says it already.
    """
    static, tasks = dict(schema.static), dict(schema.tasks)
    for name in names:
        column = static.get(name)
        if column is None and name in ENDS and _is_foreseen(schema):
            raise SpecError(
                f"--predict {name!r}: it is half of the outcome, 'time' and 'event', which models "
                "foresee already: whom it happens to, and when, but never from how long somebody "
                "was followed. Leave the option out."
            )
        if column is None:
            raise SpecError(f"--predict {name!r}: {_unknown('--predict', name, list(static))}")
        if column.kind == "category" and len(column.levels) != 2:
            raise SpecError(f"--predict {name!r}: {_not_two(name, column, real)}")
        kind: Literal["classification", "regression"] = (
            "classification" if column.kind == "category" else "regression"
        )
        static[name] = replace(column, known=max(column.known, LATER))
        tasks[name] = Task(kind=kind, label=column.label or name, index=0.0, column=name)
    return replace(schema, static=static, tasks=tasks)


def check_levels(schema: Schema, tables: Sequence[Given]) -> None:
    """See to it that what is foreseen has the same two levels everywhere.

    Raises:
        DataError: a table has others; says which table has which.
    """
    for name in (task.column for task in schema.tasks.values()):
        levels = schema.static[name].levels if name else ()
        if not levels or OTHER in levels:
            continue
        columns = [given.static[name] for given in tables if name in given.static]
        strange = [as_levels(values[~values.isin(levels)]).dropna() for values in columns]
        if not all(values.isin(levels).all() for values in strange):
            raise DataError(
                f"{name!r} is to be foreseen and needs two levels, the same in all tables: "
                f"{_spelled(name, tables)}. Write them alike."
            )


def _levels(given: Given, name: str) -> list[str]:
    return sorted({*as_levels(given.static[name]).dropna()}) if name in given.static else []


def _spelled(name: str, tables: Sequence[Given]) -> str:
    """Say which file has which values of a column."""
    has = [(given.told("static"), _levels(given, name)) for given in tables]
    return "; ".join(f"{file} has {few([*map(repr, levels)])}" for file, levels in has)


def _not_two(name: str, column: Column, real: Sequence[Given]) -> str:
    """Say what to do with a category that has not two levels."""
    found = f"it has {plural(len(column.levels), 'level')}; expected two, or a number."
    if len(column.levels) > 2 >= max(len(_levels(given, name)) for given in real):
        return f"{found} {_spelled(name, real)}. Write them alike."
    return (
        f"{found} Make a column of two levels of it (one of them, or any other: no and yes), or "
        "write levels that are in order as numbers. As it stands it is compared like all columns, "
        "and attackers may guess it (--sensitive)."
    )


def _unknown(option: str, name: str, known: Sequence[str]) -> str:
    """Say that a column is not there; that an option takes one at a time, where several are."""
    parts = [part.strip() for part in name.split(",")]
    if len(parts) > 1 and {*parts} <= {*known}:
        return f"give one column at a time: {' '.join(f'{option} {part}' for part in parts)}."
    return f"no such column is compared.{hint(name, known)} There is: {', '.join(known)}."


def _sensitive(name: str, column: Column) -> Column:
    if column.kind != "category":
        raise SpecError(
            f"--sensitive {name!r}: it is a number, and only categories are guessed. Cut it into "
            "levels first."
        )
    role: Role = "sensitive"
    return replace(column, roles=column.roles | {role})
