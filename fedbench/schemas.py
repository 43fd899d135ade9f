"""Schema files: the public description of a table as TOML, to be read, corrected and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from fedbench.data import Column, Outcome, Schema, Task, Vocabulary, Window
from fedbench.errors import DataError, SpecError
from fedbench.plugin import plain
from fedbench.tables import build, document, hint, read

__all__ = ["read_schema", "schema_file"]

T = TypeVar("T")

HEAD = ("name", "clock", "cluster", "rules")
MANY: Mapping[str, type] = {
    "static": Column,
    "visits": Column,
    "vocabularies": Vocabulary,
    "tasks": Task,
}
"""Tables with one line per name."""
KNOWN = ("schema", *MANY, "outcome", "windows")


def schema_file(schema: Schema) -> str:
    """Return a schema as a TOML file, one line per column; defaults are left out.

    >>> print(schema_file(Schema(name="mine", clock="", static={
    ...     "age": Column(kind="integer", low=18, high=110)})), end="")
    [schema]
    name = "mine"
    clock = ""
    <BLANKLINE>
    [static]
    age = { kind = "integer", low = 18, high = 110 }
    """
    head = _told(schema)
    blocks: dict[str, Mapping[str, Any]] = {"schema": {k: head[k] for k in HEAD if k in head}}
    if schema.rules:
        blocks["schema"] = {**blocks["schema"], "rules": [_told(rule) for rule in schema.rules]}
    for name in MANY:
        if found := getattr(schema, name):
            blocks[name] = {key: _told(item) for key, item in found.items()}
    if schema.outcome:
        blocks["outcome"] = _told(schema.outcome)
    return document(blocks, {"windows": [_told(window) for window in schema.windows]})


def read_schema(path: Path) -> Schema:
    """Read what ``schema_file`` writes.

    Raises:
        SpecError: it is not there, or does not fit; the message starts with the path.
    """
    tables = read(path)
    where = str(path)
    _shaped(tables, where)
    many: dict[str, Any] = {
        name: {
            key: _built(kind, table, f"{where}: {name}.{key}")
            for key, table in tables.get(name, {}).items()
        }
        for name, kind in MANY.items()
    }
    head = tables["schema"]
    if unknown := sorted(set(head) - set(HEAD)):
        known = ", ".join(HEAD)
        raise SpecError(f"{where}: [schema] has no {unknown[0]!r}. Known are: {known}.")
    many["windows"] = [
        _built(Window, table, f"{where}: windows") for table in tables.get("windows", [])
    ]
    if "outcome" in tables:
        many["outcome"] = _built(Outcome, tables["outcome"], f"{where}: outcome")
    # What all of it has to do with each other is checked by Schema itself.
    shell = _built(Schema, {"clock": "", **head, "static": {}}, f"{where}: [schema]")
    own = {name: getattr(shell, name) for name in HEAD}
    try:
        return Schema(**own, **{**many, "windows": tuple(many["windows"])})
    except DataError as error:
        raise SpecError(f"{where}: {error}") from None


def _built(kind: type[T], table: Any, where: str) -> T:
    if not isinstance(table, Mapping):
        raise SpecError(f"{where} is {table!r}; expected a table, {{ kind = … }}.")
    try:
        return build(kind, table, where)
    except DataError as error:
        raise SpecError(f"{where}: {error}") from None


def _shaped(tables: Mapping[str, Any], where: str) -> None:
    for name, found in tables.items():
        if name == "rules":
            raise SpecError(
                f"{where}: rules are no table of their own; they stand in [schema]: "
                "rules = [{ label = …, holds = …, source = … }]."
            )
        if name not in KNOWN:
            raise SpecError(
                f"{where}: there is no table {name!r}.{hint(name, KNOWN)} "
                f"A schema has: {', '.join(KNOWN)}."
            )
        wanted = list if name == "windows" else Mapping
        if not isinstance(found, wanted):
            raise SpecError(f"{where}: {name!r} must be a {'list' if wanted is list else 'table'}.")
    if "schema" not in tables or not ({"static", "visits"} & set(tables)):
        raise SpecError(f"{where} needs a table [schema] with a name, and one [static] of columns.")


def _told(thing: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that are not at their default."""
    found = {}
    for field in fields(thing):
        value = getattr(thing, field.name)
        # NaN, the bound of a category, is a default that does not equal itself.
        if value != field.default and value == value and value not in ((), frozenset()):  # noqa: PLR0124
            found[field.name] = plain(value)
    return found
