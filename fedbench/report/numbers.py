"""From one row per seed to one number: what is averaged, and how far to trust the mean."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from statistics import stdev
from typing import Any

import pandas as pd
from scipy import special

__all__ = [
    "ABOUT",
    "RULE",
    "SOME",
    "Number",
    "Numbers",
    "across_seeds",
    "end",
    "finite",
    "python",
    "within",
]

_WORDS = """
    dataset scenario strategy codec rounds budget generator label settings regime model site
    target family name task column secret level group threat server_sees dp unit epsilon delta
    better
"""
ABOUT: tuple[str, ...] = tuple(_WORDS.split())
"""The columns that say what a number is about: rows that differ only by seed share them all."""

LEVEL = 0.05

SOME = "in some seeds "
"""How begins what not all seeds say."""

RULE = (
    "Each number is the mean over seeds. Its interval adds, in squares, the mean half-width "
    "within a seed, which is not divided by the number of seeds because all seeds share the same "
    "patients, and the spread between seeds (Student's t with one degree of freedom less than "
    "there are seeds). It is therefore rather too wide than too narrow."
)

Limits = tuple[float | None, float | None, float | None]


@dataclass(frozen=True, kw_only=True)
class Number:
    """What all seeds together say about one thing, or why they say nothing.

    ``seeds`` have a value, of ``asked``. ``noticed`` counts seeds with an (adjusted) p below
    .05, ``None`` where nothing was tested, and ``turned`` those that are as sure to lie on the
    other side of chance; ``p_min`` is the smallest raw p. ``n`` is the
    smallest over seeds and ``detectable`` the largest, so that no seed promised more. ``least``
    and ``most`` are the ends of its scale, ``None`` where it has none. ``over`` says over how many
    columns, groups or hospitals a mean is, where it had to leave some out, ``by`` what an attack
    went by.
    """

    about: Mapping[str, Any]
    status: str
    seeds: int
    asked: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    least: float | None = None
    most: float | None = None
    n: int | None = None
    n_members: int | None = None
    n_nonmembers: int | None = None
    noise_floor: float | None = None
    floor: float | None = None
    ceiling: float | None = None
    normalized: float | None = None
    normalized_low: float | None = None
    normalized_high: float | None = None
    detectable: float | None = None
    p_min: float | None = None
    noticed: int | None = None
    turned: int | None = None
    verdicts: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    def __getitem__(self, column: str) -> Any:
        return self.about.get(column, "")

    @property
    def done(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    def plain(self) -> dict[str, Any]:
        """Return it as JSON knows it, empty fields left out."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "about"}
        own = {k: list(v) if isinstance(v, tuple) else v for k, v in own.items()}
        return {**self.about, **{k: v for k, v in own.items() if v not in (None, [])}}


@dataclass(frozen=True)
class Numbers:
    """Numbers that can be asked for by what they are about."""

    all: tuple[Number, ...] = field(default=())

    def __iter__(self) -> Iterator[Number]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    @classmethod
    def of(cls, table: pd.DataFrame) -> Numbers:
        """Summarize the rows of ``results.parquet`` over seeds, in a stable order."""
        groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
        plain = table.astype(object)
        for record in plain.where(plain.notna(), None).to_dict("records"):
            row = {str(name): value for name, value in record.items()}
            groups[tuple(row.get(name) or "" for name in ABOUT)].append(row)
        ordered = sorted(groups.items(), key=lambda item: [str(part) for part in item[0]])
        return cls(tuple(_summary(key, rows) for key, rows in ordered))

    def where(self, **wanted: Any) -> Numbers:
        """Return those for which every column has the wanted value, or is among several."""
        found: Iterable[Number] = self.all
        for column, value in wanted.items():
            several = value if isinstance(value, tuple) else (value,)
            found = [n for n in found if n[column] in several]
        return Numbers(tuple(found))

    def best(self, column: str, order: Sequence[str]) -> Number | None:
        """Return the first of them by ``order`` of a column, one with a value if there is any."""
        rank = {value: place for place, value in enumerate(order)}
        found = [n for n in self.all if n[column] in rank]
        return min(found, key=lambda n: (not n.done, rank[n[column]]), default=None)

    def values(self, column: str) -> list[str]:
        """Return the distinct values of a column that are not empty, sorted."""
        return sorted({str(n[column]) for n in self.all if n[column] != ""})


def across_seeds(values: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> Limits:
    """Return the mean over seeds with a conservative interval.

    The half-width within a seed (its mean over seeds) is *not* divided by the number of seeds:
    seeds re-deal and re-split the same patients, so their errors go together. The spread
    between seeds is added in squares as t(.975, S - 1) s / sqrt(S). Where no seed has an
    interval there is none: the spread alone would leave out the patients.
    """
    there = [i for i, value in enumerate(values) if math.isfinite(value)]
    if not there:
        return None, None, None
    mean = math.fsum(values[i] for i in there) / len(there)
    known = [i for i in there if math.isfinite(lows[i]) and math.isfinite(highs[i])]
    if not known:
        return mean, None, None
    between = _between([values[i] for i in there])
    down = math.fsum(values[i] - lows[i] for i in known) / len(known)
    up = math.fsum(highs[i] - values[i] for i in known) / len(known)
    return mean, mean - math.hypot(down, between), mean + math.hypot(up, between)


def _between(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    error = stdev(values) / math.sqrt(len(values))
    return float(special.stdtrit(len(values) - 1, 0.975)) * error


def _summary(key: tuple[Any, ...], rows: Sequence[Mapping[str, Any]]) -> Number:
    about = {name: value for name, value in zip(ABOUT, key, strict=True) if value != ""}
    done = [row for row in rows if row.get("status") in ("done", "", None)]
    value, low, high = across_seeds(
        *([_float(row.get(name)) for row in done] for name in ("value", "low", "high"))
    )
    least, most = (end(_column(done, name)) for name in ("least", "most"))
    value, low, high = within((value, low, high), least, most)
    return Number(
        about=about,
        status=_status(rows) if value is None else "done",
        seeds=sum(math.isfinite(_float(row.get("value"))) for row in done),
        asked=len({row.get("seed") for row in rows}),
        value=value,
        low=low,
        high=high,
        least=least,
        most=most,
        **_counts(done),
        **_means(done),
        **_tests(done),
        verdicts=_said(done, "verdict"),
        over=_said(done, "over"),
        by=_texts(done, "by"),
        reasons=_texts(rows, "reason"),
    )


def _status(rows: Sequence[Mapping[str, Any]]) -> str:
    """The gravest, as a failure must not hide behind a refusal."""
    found = {row.get("status") for row in rows}
    order = ("failed", "refused", "skipped", "not applicable")
    return next((status for status in order if status in found), "refused")


def within(found: Limits, least: float | None, most: float | None) -> Limits:
    """Return a value with its interval cut to what its scale allows."""
    value, low, high = found
    if value is None or low is None or high is None:
        return found
    low = low if least is None else max(low, min(least, value))
    return value, low, high if most is None else min(high, max(most, value))


def end(told: Iterable[float]) -> float | None:
    """Return an end of the scale as all rows tell it; None where it has none or they differ."""
    ends = set(told)
    return ends.pop() if len(ends) == 1 and all(map(math.isfinite, ends)) else None


def _counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = ("n", "n_members", "n_nonmembers")
    found = {name: [int(row[name]) for row in rows if row.get(name) is not None] for name in names}
    return {name: min(values, default=None) for name, values in found.items()}


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Anchors come from other cells of the same seed; their means belong to the mean."""
    found = {}
    for name in ("noise_floor", "floor", "ceiling"):
        found[name] = across_seeds(_column(rows, name), *[[math.nan] * len(rows)] * 2)[0]
    names = ("normalized", "normalized_low", "normalized_high")
    return {
        **found,
        **dict(zip(names, across_seeds(*(_column(rows, n) for n in names)), strict=True)),
    }


def _tests(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    raw = [p for p in _column(rows, "p_value") if math.isfinite(p)]
    adjusted = [p for p in _column(rows, "p_adjusted") if math.isfinite(p)] or raw
    turned = [p for p in _column(rows, "p_turned_adjusted") if math.isfinite(p)]
    seen = [value for value in _column(rows, "detectable") if math.isfinite(value)]
    return {
        "p_min": min(raw, default=None),
        "noticed": sum(p < LEVEL for p in adjusted) if adjusted else None,
        "turned": sum(p < LEVEL for p in turned) if turned else None,
        "detectable": max(seen, default=None),
    }


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [_float(row.get(name)) for row in rows]


def _texts(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[str, ...]:
    return tuple(sorted({str(row[name]) for row in rows if row.get(name)}))


def _said(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[str, ...]:
    """Return what rows say of themselves, and whether only some seeds say it."""
    texts = _texts(rows, name)
    if len(texts) == 1 and all(row.get(name) for row in rows):
        return texts
    return tuple(f"{SOME}{text}" for text in texts)


def python(value: Any) -> Any:
    """Return what pandas holds as Python knows it, None for nothing."""
    return None if value is None or pd.isna(value) else getattr(value, "item", lambda: value)()


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def finite(value: Any) -> Any:
    """Return a copy in which every number that JSON does not know is None."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): finite(item) for key, item in value.items()}
        case list() | tuple():
            return [finite(item) for item in value]
    return value
