"""TOML tables: made into dataclasses, with precise messages, and written as a file."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_type_hints

from fedbench.errors import SpecError
from fedbench.registry import expected

__all__ = ["build", "document", "hint", "literal", "named", "read"]

T = TypeVar("T")


def hint(name: object, known: Iterable[object]) -> str:
    """Return " Did you mean …?" where something similar is known."""
    near = get_close_matches(str(name), list(map(str, known)))
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def named(name: str, known: Mapping[str, Path], kind: str) -> Path:
    """Return the file that comes with fedbench under this name, or the one at this path.

    Raises:
        SpecError: there is neither.
    """
    path = known.get(name) or Path(name)
    if name and path.is_dir():
        begun = kind == "suite" and (path / "cells").is_dir()
        advice = f" To go on with this run: `fedbench run --resume {path}`." if begun else ""
        raise SpecError(
            f"{name!r} is a folder; expected a TOML file, or a {kind} by name: "
            f"{', '.join(known)}.{advice}"
        )
    if not path.is_file():
        raise SpecError(
            f"There is no {kind} {name!r}.{hint(name, known)} It is neither a file nor one of "
            f"{', '.join(known)}."
        )
    return path


def read(path: Path) -> dict[str, Any]:
    """Read a TOML file that somebody wrote.

    Raises:
        SpecError: it is not there, or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SpecError(f"There is no file {str(path)!r}.") from None
    except (ValueError, RecursionError, OSError) as error:
        raise SpecError(f"{path} is not a TOML file that can be read: {error}.") from None


def build(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Return the dataclass that these tables describe, taken as TOML means them.

    Raises:
        SpecError: they do not fit; the message starts with ``where`` and names every problem.
    """
    from pydantic import ValidationError  # noqa: PLC0415  (slow to import)

    if unknown := sorted(set(values) - set(_fields_at(kind, ()))):  # not all kinds forbid them
        problem = _problem(kind, values, "unexpected_keyword_argument", unknown[:1], "")
        raise SpecError(f"{where}: {problem}")
    # Through JSON: there, strict still lets a list become a tuple and a whole number a float.
    text = json.dumps(values, default=str)
    try:
        built: T = _adapter(cast(Any, kind)).validate_json(text, strict=True)
    except ValidationError as error:
        problems = " ".join(
            _problem(kind, values, detail["type"], detail["loc"], detail["msg"])
            for detail in error.errors()
        )
        raise SpecError(f"{where}: {problems}") from None
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None
    return built


def document(
    tables: Mapping[str, Mapping[str, Any]], arrays: Mapping[str, Sequence[Mapping[str, Any]]]
) -> str:
    """Return a file of ``[tables]`` and, after them, ``[[arrays]]`` of tables.

    >>> print(document({"suite": {"seeds": [0]}}, {"generators": [{"name": "tvae"}]}), end="")
    [suite]
    seeds = [0]
    <BLANKLINE>
    [[generators]]
    name = "tvae"
    """
    blocks = [_block(f"[{name}]", table) for name, table in tables.items()]
    blocks += [_block(f"[[{name}]]", table) for name, found in arrays.items() for table in found]
    return "\n".join(blocks)


def literal(value: Any) -> str:
    """Return a value as TOML writes it; what is None inside a table is left out.

    >>> literal({"alpha": 0.5, "by": "outcome", "cap": None})
    '{ alpha = 0.5, by = "outcome" }'
    """
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            # TOML knows JSON's escapes, except surrogate pairs, and wants DEL escaped as well.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Mapping():
            inner = ", ".join(
                f"{_key(str(key))} = {literal(item)}"
                for key, item in value.items()
                if item is not None
            )
            return f"{{ {inner} }}" if inner else "{}"
        case Sequence():
            return f"[{', '.join(map(literal, value))}]"
    return repr(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else literal(name)


def _block(head: str, table: Mapping[str, Any]) -> str:
    return "".join(
        [f"{head}\n", *(f"{_key(key)} = {literal(item)}\n" for key, item in table.items())]
    )


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter  # noqa: PLC0415

    return TypeAdapter(kind)


def _problem(
    kind: type, values: Mapping[str, Any], problem: str, loc: Sequence[int | str], message: str
) -> str:
    place, found = _place(values, loc), _at(values, loc)
    if problem == "missing":
        return f"{place} is missing."
    if problem == "unexpected_keyword_argument":
        known = _fields_at(kind, loc[:-1])
        return f"{place} is not known.{hint(loc[-1], known)} Known are: {', '.join(known)}."
    wanted = expected(message)
    # 'a', 'b' or 'c': what a literal allows is told in quotes.
    near = hint(found, wanted.split("'")[1::2]) if problem == "literal_error" else ""
    return f"{place} is {found!r}; expected {wanted}.{near}"


def _at(values: Any, loc: Sequence[int | str]) -> Any:
    """Return what is at this place; pydantic's places go beyond the tables for unions."""
    for step in loc:
        if isinstance(values, Mapping):
            values = values.get(str(step))
        elif isinstance(values, Sequence) and isinstance(step, int):
            values = values[step]
    return values


def _fields_at(kind: Any, loc: Sequence[int | str]) -> Sequence[str]:
    for step in loc:
        kind = get_args(kind)[0] if isinstance(step, int) else get_type_hints(kind)[step]
        if isinstance(kind, UnionType):  # a table that may be left out
            kind = get_args(kind)[0]
    return [entry.name for entry in fields(kind)]


def _place(values: Mapping[str, Any], loc: Sequence[int | str]) -> str:
    """Name a place by the names of its tables: ``'scenarios.clinics.rounds'``."""
    words = []
    for length, step in enumerate(loc, start=1):
        here = _at(values, loc[:length])
        named = isinstance(step, int) and isinstance(here, Mapping) and "name" in here
        words.append(str(here["name"] if named else step))
    return repr(".".join(words))
