"""What is read from records in a common data model: the built-in list, or a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedbench.data import OTHER, DataStore, Vocabulary
from fedbench.datasets._clinical import CONDITIONS, MEASUREMENTS, Measurement
from fedbench.errors import DataError, SpecError
from fedbench.tables import build, hint, read

__all__ = ["Catalogue", "catalogue"]

KNOWN = ("defaults", "measurements", "conditions", "sites")
TAKEN = frozenset(
    ["patient", "day", "code", "system", "time", "event", "hospital", "sex", "age", "race",
     "drugs", "admitted", "seen"]
)  # fmt: skip
"""Columns that are there in any case."""


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Measurements by name, diagnoses by coding system, and what belongs to each hospital."""

    measurements: Mapping[str, Measurement]
    conditions: Mapping[str, Vocabulary]
    sites: Mapping[str, tuple[str, ...]]

    @property
    def homes(self) -> Mapping[str, str]:
        """The hospital of every id or name of a care site."""
        return {each: name for name, parts in self.sites.items() for each in parts}

    def of_loinc(self) -> Mapping[str, str]:
        """The measurement that every LOINC code stands for."""
        return {code: name for name, what in self.measurements.items() for code in what.loinc}


BUILT_IN = Catalogue(measurements=MEASUREMENTS, conditions=CONDITIONS, sites={})


def catalogue(path: str) -> Catalogue:
    """Return the built-in catalogue, with what is written in a TOML file.

    Relative paths are looked for in the working folder, and then in the data folder.

    Raises:
        SpecError: the file does not fit; the message starts with its path.
    """
    if not path:
        return BUILT_IN
    tables, where = read(_found(path)), path
    if unknown := sorted(set(tables) - set(KNOWN)):
        raise SpecError(
            f"{where}: there is no {unknown[0]!r}.{hint(unknown[0], KNOWN)} "
            f"A catalogue has: {', '.join(KNOWN)}."
        )
    kept = tables.get("defaults", True)
    if not isinstance(kept, bool):
        raise SpecError(f"{where}: defaults is {kept!r}; expected true or false.")
    measured = _each(Measurement, tables, "measurements", where)
    if taken := sorted(TAKEN & set(measured)):
        raise SpecError(f"{where}: a measurement cannot be called {taken[0]!r}; choose another.")
    found = Catalogue(
        measurements={**(MEASUREMENTS if kept else {}), **measured},
        conditions=_conditions(tables, where, CONDITIONS if kept else {}),
        sites=_sites(tables, where),
    )
    _once(where, "loinc", [(n, c) for n, m in found.measurements.items() for c in m.loinc])
    _once(
        where, "concepts", [(n, str(c)) for n, m in found.measurements.items() for c in m.concepts]
    )
    return found


def _found(path: str) -> Path:
    root = DataStore.default().root
    places = [Path(path), *([root / path] if root else [])]
    return next((place for place in places if place.is_file()), places[0])


def _each(kind: type[Any], tables: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    found = {}
    for key, table in _table(tables, name, where).items():
        if not isinstance(table, Mapping):
            raise SpecError(f"{where}: {name}.{key} is {table!r}; expected a table, {{ … }}.")
        try:
            found[key] = build(kind, table, f"{where}: {name}.{key}")
        except DataError as error:
            raise SpecError(f"{where}: {name}.{key}: {error}") from None
    return found


def _conditions(
    tables: Mapping[str, Any], where: str, known: Mapping[str, Vocabulary]
) -> Mapping[str, Vocabulary]:
    found = _each(Vocabulary, tables, "conditions", where)
    if strange := sorted(set(found) - set(CONDITIONS)):
        raise SpecError(
            f"{where}: conditions are listed for {strange[0]!r}; "
            f"expected {' or '.join(CONDITIONS)}."
        )
    return {
        system: _joined(known.get(system), found.get(system))
        for system in CONDITIONS
        if system in known or system in found
    }


def _joined(known: Vocabulary | None, more: Vocabulary | None) -> Vocabulary:
    """Return both lists as one; whatever is listed is shown."""
    given = [each for each in (known, more) if each is not None]
    codes = {_spelled(code): what for each in given for code, what in each.codes.items()}
    codes[OTHER] = codes.pop(OTHER, "any other diagnosis")
    return Vocabulary(
        codes=codes,
        sensitive=frozenset(_spelled(code) for each in given for code in each.sensitive),
        shown=tuple(code for code in codes if code != OTHER),
    )


def _spelled(code: str) -> str:
    return code if code == OTHER else code.strip().upper().replace(".", "")


def _sites(tables: Mapping[str, Any], where: str) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, parts in _table(tables, "sites", where).items():
        if not isinstance(parts, list) or not parts:
            raise SpecError(
                f"{where}: sites.{name} is {parts!r}; expected the ids or names of its care "
                'sites, such as ["101", "North General"].'
            )
        found[name] = tuple(str(part) for part in parts)
    _once(where, "sites", [(name, part) for name, parts in found.items() for part in parts])
    return found


def _table(tables: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    found = tables.get(name, {})
    if not isinstance(found, Mapping):
        raise SpecError(f"{where}: {name!r} must be a table.")
    return found


def _once(where: str, what: str, listed: list[tuple[str, str]]) -> None:
    seen: dict[str, str] = {}
    for name, part in listed:
        if seen.setdefault(part, name) != name:
            raise SpecError(f"{where}: {what} {part!r} stands for {seen[part]!r} and {name!r}.")
