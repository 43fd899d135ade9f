"""What the command line narrows or changes in a suite file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedbench.errors import SpecError
from fedbench.kinds import KINDS
from fedbench.tables import hint

__all__ = ["NAMED", "Overrides", "added", "changed", "narrowed", "seeds_of", "word"]

Tables = dict[str, Any]
"""A suite file as TOML gives it."""

NAMED = ("datasets", "scenarios", "generators")
MOST_SEEDS = 10_000
LONGEST = 40
"""Letters of a range of seeds."""


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What the command line narrows or changes; empty means as the file says."""

    datasets: tuple[str, ...] = ()
    generators: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    regimes: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    device: str = ""
    settings: tuple[str, ...] = ()
    """``a.b=1``: ``suite.records=500``, or ``tvae.latent=8`` by name or label."""


def seeds_of(text: str) -> tuple[int, ...]:
    """Return the seeds that a text such as ``0,1,2`` or ``0-4`` names.

    >>> seeds_of("0-2, 7")
    (0, 1, 2, 7)

    Raises:
        SpecError: it names none or one twice, or is of another form.
    """
    found: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not (low.isdecimal() and (high.isdecimal() or not dash)) or len(part) > LONGEST:
            raise SpecError(f"--seeds {text!r} is not of the form 0,1,2 or 0-4.")
        first, last = int(low), int(high or low)
        if not 0 <= last - first < MOST_SEEDS:
            raise SpecError(f"--seeds {text!r}: {part.strip()!r} is no range of seeds.")
        found += range(first, last + 1)
    if twice := sorted({seed for seed in found if found.count(seed) > 1}):
        raise SpecError(f"--seeds {text!r} names {', '.join(map(str, twice))} more than once.")
    return tuple(found)


def narrowed(tables: Mapping[str, Any], asked: Overrides) -> Tables:
    """Keep what was asked for; datasets and generators that the file lacks are added.

    The tables have the right shape: ``suite`` is a table, the others are lists of tables.

    Raises:
        SpecError: nothing is called so, or no dataset is run in a scenario.
    """
    head = dict(tables.get("suite", {}))
    for name in ("regimes", "seeds"):
        if value := getattr(asked, name):
            head[name] = list(value)
    if asked.device:
        head["device"] = asked.device
    found = {**tables, "suite": head}
    for kind in NAMED:
        if wanted := getattr(asked, kind):
            found[kind] = _distinct(
                table for name in wanted for table in _called(tables, name, kind)
            )
    if asked.scenarios:
        found["datasets"] = _run_in(found.get("datasets", []), asked)
    return found


def added(tables: Mapping[str, Any], asked: Overrides) -> Sequence[str]:
    """Return what ``narrowed`` adds, in words: whoever narrows may not mean to.

    >>> added({"generators": [{"name": "tvae"}]}, Overrides(generators=("tvae", "copula")))
    ["generator 'copula'"]
    """
    return [
        f"{kind.removesuffix('s')} {name!r}"
        for kind in NAMED
        for name in dict.fromkeys(getattr(asked, kind))
        if not _places(tables, name, kind)
    ]


def changed(tables: Mapping[str, Any], setting: str) -> Tables:
    """Return the tables with one ``a.b=value`` carried out.

    Raises:
        SpecError: it is not of that form, or nothing is called ``a``.
    """
    path, sign, text = setting.partition("=")
    head, dot, rest = path.strip().partition(".")
    if not (sign and head and dot and all(rest.split("."))):
        raise SpecError(f"--set {setting!r} is not of the form a.b=value.")
    value, steps = _value(text.strip()), rest.split(".")
    if head == "suite":
        return {**tables, "suite": _with(tables["suite"], steps, value, setting)}
    hits = {kind: _places(tables, head, kind) for kind in NAMED}
    if not any(hits.values()):
        names = [_names(table)[-1] for kind in NAMED for table in tables[kind]]
        raise SpecError(
            f"--set {setting!r}: nothing in the suite is called {head!r}.{hint(head, names)} "
            f"It has: suite, {', '.join(names)}."
        )
    return {
        **tables,
        **{
            kind: [
                _with(table, steps, value, setting) if place in places else table
                for place, table in enumerate(tables[kind])
            ]
            for kind, places in hits.items()
        },
    }


def _called(tables: Mapping[str, Any], name: str, kind: str) -> Sequence[Any]:
    if places := _places(tables, name, kind):
        return [tables[kind][place] for place in places]
    own = [_names(table)[-1] for table in tables.get(kind, [])]
    more = [] if kind == "scenarios" else [n for n in KINDS[kind].names() if n not in own]
    if name in more or (kind != "scenarios" and ":" in name):
        return [{"name": name}]
    advice = f" What can be added: {', '.join(more)}, or yours as module:Class." if more else ""
    raise SpecError(
        f"There is no {kind.removesuffix('s')} {name!r} in the suite.{hint(name, [*own, *more])} "
        f"It has: {', '.join(own) or 'none'}.{advice}"
    )


def _places(tables: Mapping[str, Any], name: str, kind: str) -> Sequence[int]:
    """Return where this label is, or else everything of this name, or of this class."""
    found = [_names(table) for table in tables.get(kind, [])]
    by_label = [place for place, names in enumerate(found) if name == names[-1]]
    return by_label or [place for place, names in enumerate(found) if name in names]


def word(name: str) -> str:
    """Return what a plug-in is called in results: ``theirs:Metric`` is ``metric``."""
    return name.rpartition(":")[2].lower()


def _names(table: Mapping[str, Any]) -> Sequence[str]:
    """Return what a table may be called: its name, the class in it and, last, its label."""
    name = str(table.get("name", ""))
    label = str(table.get("label") or (word(name) if ":" in name else name))
    return name, *([name.rpartition(":")[2], word(name)] if ":" in name else []), label


def _distinct(tables: Iterable[Any]) -> Sequence[Any]:
    """Return every table once: two names may mean the same one."""
    found: list[Any] = []
    for table in tables:
        if table not in found:
            found.append(table)
    return found


def _run_in(datasets: Sequence[Mapping[str, Any]], asked: Overrides) -> Sequence[Any]:
    """Leave the datasets the scenarios that were asked for, and those without any out."""
    kept = []
    for table in datasets:
        own = table.get("scenarios")
        if not isinstance(own, list) or not own:
            kept.append(table)
        elif left := [name for name in own if name in asked.scenarios]:
            kept.append({**table, "scenarios": left})
        elif asked.datasets:
            raise SpecError(
                f"In this suite {table.get('name')!r} is not run in "
                f"{' or '.join(asked.scenarios)}, but in {', '.join(map(str, own))}."
            )
    if datasets and not kept:
        raise SpecError(f"No dataset of this suite is run in {' or '.join(asked.scenarios)}.")
    return kept


def _value(text: str) -> Any:
    """Return what TOML makes of a text, or the text itself: quotes are a nuisance in a shell."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:  # no TOML, or a number of thousands of digits
        return text


def _with(
    table: Mapping[str, Any], steps: Sequence[str], value: Any, setting: str
) -> Mapping[str, Any]:
    step, *further = steps
    if not further:
        return {**table, step: value}
    inner = table.get(step, {})
    if not isinstance(inner, Mapping):
        raise SpecError(f"--set {setting!r}: {step!r} is {inner!r} and has nothing in it.")
    return {**table, step: _with(inner, further, value, setting)}
