"""What every plug-in is: a frozen dataclass whose fields are its settings."""

from __future__ import annotations

import dataclasses
import inspect
from abc import ABC
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Any, ClassVar

__all__ = ["Plugin", "plain"]


class Plugin(ABC):
    """Base of everything that a suite file can name.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Marginals(Plugin):
    ...     '''How far single columns are apart.'''
    ...     bins: int = 20
    >>> Marginals(bins=5).settings
    {'bins': 5}
    >>> Marginals.describe()
    'How far single columns are apart.'
    """

    # Read by pydantic when a TOML table becomes a plug-in: unknown settings are errors, as is
    # what lies outside the range that a setting's type names: `Annotated[int, Ge(1)]`.
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Settings that belong together, by a name that a suite can give as ``preset``."""

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting by name, defaults included, in values that JSON and TOML know."""
        return {
            field.name: plain(getattr(self, field.name))
            for field in dataclasses.fields(self)  # type: ignore[arg-type]  # subclasses are
            if field.init
        }

    @property
    def contents(self) -> str:
        """A digest of the files that it reads, on which results depend; empty without any."""
        return ""

    @classmethod
    def describe(cls) -> str:
        """Return the first line of the docstring."""
        return (inspect.cleandoc(vars(cls).get("__doc__") or "")).partition("\n")[0]


def plain(value: object) -> object:
    """Return the value as JSON and TOML know it: no tuples, sets, enums, paths or dataclasses."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    match value:
        case Enum():
            return plain(value.value)
        case PurePath():
            return str(value)
        case Mapping():
            return {str(plain(key)): plain(item) for key, item in value.items()}
        case set() | frozenset():
            # Sorted, because the order of a set differs from one process to the next.
            return sorted((plain(item) for item in value), key=repr)
        case Sequence() if not isinstance(value, str | bytes):
            return [plain(item) for item in value]
    return value
