"""Drafting a schema from tables of which nobody wrote one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fedbench.data import OTHER, Column, Outcome, Schema, Vocabulary, Window
from fedbench.errors import DataError
from fedbench.looks import Side, kind_of, unfit, with_comma, with_unit
from fedbench.nouns import few, plural
from fedbench.tabular import Given, as_levels, as_numbers, names_hospital

__all__ = ["MOST_LEVELS", "Draft", "drafted", "unlike", "widened"]

MOST_LEVELS = 50
"""Levels that a category may have; text with more is not compared."""

LONGEST = 80
"""Characters that the name of a level may have."""
MOST_HOSPITALS = 1_000
"""The same for a column that by its name is the hospital."""

MOST_CODES = 200
_FEW_NUMBERS = 10  # distinct numbers that may be the levels of a sensitive category
_ENOUGH = 50  # real records without a gap, so that gaps are not those of rare luck
_GAPS = 0.01  # of synthetic records, that are worth a word
_DECADES = 100  # from the 5th to the 95th percentile: beyond it differences are taken in logs
_MARGIN = 0.1  # of the range of the data, on both sides

LOOSE = ("static", "visits")
"""Tables whose columns are for a schema to name."""


@dataclass(frozen=True)
class Draft:
    """A schema, and what had to be decided on the way."""

    schema: Schema
    notes: tuple[str, ...] = ()


def drafted(  # noqa: PLR0913  (all that decides a draft)
    real: Sequence[Given],
    synthetic: Given | None,
    name: str,
    without: Iterable[str],
    secret: Iterable[str],
    *,
    coded: Iterable[str] = (),
    strict: bool = True,
) -> Draft:
    """Describe these tables.

    Kinds are decided on all tables; bounds and levels on the real ones, with a margin.

    Args:
        real: tables of real patients.
        synthetic: what is compared with them, if anything is.
        name: of the schema.
        without: columns that are none, such as the patient's name.
        secret: columns to be guessed; a few numbers are taken as levels there.
        coded: columns that are categories whatever they hold; rarer levels are "(other)".
        strict: whether a few texts among numbers are an error; if not, the column is left out.

    Raises:
        DataError: the tables do not fit each other, or nothing is left to compare.
    """
    notes: list[str] = []
    said = [
        (
            table,
            _columns(table, real, synthetic, {*without}, {*secret}, coded={*coded}, strict=strict),
        )
        for table in LOOSE
    ]
    found: dict[str, dict[str, Column]] = {}
    for table, columns in said:
        found[table] = {n: one for n, one in columns.items() if isinstance(one, Column)}
        left_out = {n: why for n, why in columns.items() if isinstance(why, str)}
        notes += [f"{name!r} is left out: {why}." for name, why in left_out.items()]
    if not any(found.values()):
        raise DataError(
            f"No column of {real[0].path.name} can be compared. {' '.join(notes)} "
            "Give a table with numbers or categories, or describe the columns in a --schema."
        )
    windows = _windows(real, synthetic)
    schema = Schema(
        name=name,
        clock="",
        static=found["static"],
        visits=found["visits"] if windows else {},
        vocabularies=_vocabularies(real) if windows else {},
        windows=windows,
        outcome=_outcome(real),
    )
    return Draft(schema, tuple(notes))


def widened(schema: Schema, synthetic: Given) -> Draft:
    """Make room for what the synthetic records hold, so that they can be compared at all."""
    notes: list[str] = []

    def wider(table: str, columns: Mapping[str, Column]) -> dict[str, Column]:
        there = _of(synthetic, table)
        found = {n: _wider(c, there[n]) if n in there else c for n, c in columns.items()}
        notes.extend(
            f"{synthetic.told(table)} goes beyond {what}." for what in _beyond(columns, found)
        )
        return found

    static, visits = wider("static", schema.static), wider("visits", schema.visits)
    outcome = schema.outcome and _longer(schema.outcome, synthetic)
    if outcome and schema.outcome and outcome != schema.outcome:
        notes.append(
            f"{synthetic.told('outcome')} goes beyond the bounds of 'time' "
            f"({schema.outcome.low:g} to {schema.outcome.high:g}: compared as {outcome.low:g} to "
            f"{outcome.high:g})."
        )
    return Draft(replace(schema, static=static, visits=visits, outcome=outcome), tuple(notes))


def unlike(schema: Schema, real: Sequence[Given], synthetic: Given) -> Iterator[str]:
    """Say what by itself tells synthetic records from real ones, or hides that they are copies."""
    fractional, gaps = [], dict[str, float]()
    for table, columns in (("static", schema.static), ("visits", schema.visits)):
        for name, column in columns.items():
            given = [g.tables[table][name] for g in _all(real, synthetic) if name in _of(g, table)]
            if len(given) <= len(real):
                continue
            theirs, mine = pd.concat(given[:-1]), given[-1]
            if len(theirs) >= _ENOUGH and theirs.notna().all() and mine.isna().mean() >= _GAPS:
                gaps[name] = float(mine.isna().mean())
            if column.kind == "category":
                yield from _unmet(name, theirs, mine, synthetic.told(table))
            elif count := _fractions(theirs, mine):
                fractional.append(f"{name!r} ({count:,} of {mine.notna().sum():,})")
    worst = sorted(gaps, key=lambda name: -gaps[name])
    if len(worst) == 1:
        yield (
            f"{worst[0]!r} is empty in {100 * gaps[worst[0]]:.0f} % of synthetic records, and in "
            "none of the real ones."
        )
    elif worst:
        told = few([f"{name!r} ({100 * gaps[name]:.0f} %)" for name in worst])
        yield f"Empty in synthetic records, and in none of the real ones: {told}."
    if fractional:
        yield (
            "Real values are whole numbers where synthetic ones are not: "
            f"{few(fractional)}. If whole numbers are meant, round them before they are released."
        )


def _of(given: Given, table: str) -> pd.DataFrame:
    return given.tables.get(table, pd.DataFrame())


def _unmet(name: str, real: pd.Series, synthetic: pd.Series, told: str) -> Iterator[str]:
    """Say that real and synthetic records have no value of a category in common."""
    there, here = ({*map(str, as_levels(side).dropna())} for side in (synthetic, real))
    if there and here and not there & here:
        yield (
            f"No value of {name!r} in {told} is met in the others: {min(there)!r} there, "
            f"{min(here)!r} here. If they mean the same, write them alike and ask again: as they "
            "are, no record counts as a copy."
        )


def _fractions(real: pd.Series, synthetic: pd.Series) -> int:
    """Return how many synthetic values are no whole numbers, where all real ones are."""
    theirs, mine = as_numbers(real), as_numbers(synthetic)
    return 0 if (theirs[np.isfinite(theirs)] % 1 > 0).any() else int((mine % 1 > 0).sum())


def _beyond(columns: Mapping[str, Column], wider: Mapping[str, Column]) -> Iterator[str]:
    """Say which levels are new, column by column, and which bounds are, all at once."""
    bounds = []
    for name, column in columns.items():
        now = wider[name]
        if column.kind != "category":
            if (now.low, now.high) != (column.low, column.high):
                ends = f"{column.low:g} to {column.high:g}"
                bounds.append(f"{name!r} ({ends}: compared as {now.low:g} to {now.high:g})")
        elif new := now.levels[len(column.levels) :]:
            yield (
                f"the {plural(len(column.levels), 'level')} of {name!r}: "
                f"{few([f'{level!r:.80}' for level in new])}; compared as "
                f"{plural(len(now.levels), 'level')}"
            )
    if bounds:
        yield f"the bounds of {few(bounds)}"


def _wider(column: Column, values: pd.Series) -> Column:
    if column.kind == "category":
        if OTHER in column.levels or "site" in column.roles:
            return column
        texts = values[~values.isin(column.levels)]
        new = sorted(set(as_levels(texts).dropna()) - set(column.levels))
        return replace(column, levels=(*column.levels, *new))
    numbers = as_numbers(values)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return column
    kind = "number" if (numbers % 1 > 0).any() else column.kind
    low, high = min(column.low, float(numbers.min())), max(column.high, float(numbers.max()))
    return replace(column, kind=kind, low=low, high=high, log=column.log and low > 0)


def _longer(outcome: Outcome, synthetic: Given) -> Outcome:
    times = _times(synthetic) if "outcome" in synthetic.tables else pd.Series(dtype=float)
    if not len(times):
        return outcome
    low, high = min(outcome.low, float(times.min())), max(outcome.high, float(times.max()))
    return replace(outcome, low=low, high=high)


# --- Columns ----------------------------------------------------------------------------------


def _columns(  # noqa: PLR0913  (all that decides a draft)
    table: str,
    real: Sequence[Given],
    synthetic: Given | None,
    without: set[str],
    secret: set[str],
    *,
    coded: set[str],
    strict: bool,
) -> dict[str, Column | str]:
    """Describe every column of a table, or say why it is left out."""
    there = [given for given in _all(real, synthetic) if table in given.tables]
    apart = {*without, "patient", *(["day"] if table == "visits" else [])}
    _same_columns(table, there, apart)
    found: dict[str, Column | str] = {}
    for name in map(str, there[0].tables[table] if there else ()):
        if name in apart:
            continue
        sides = [(given.told(table), given.tables[table][name]) for given in there]
        last = any(given is synthetic for given in there)
        try:
            found[name] = (
                _coded(sides[: len(sides) - last])
                if name in coded
                else _column(name, sides, synthetic=last, secret=name in secret)
            )
        except DataError as error:
            if strict:
                raise
            found[name] = str(error).removesuffix(".")
    return found


def _all(real: Sequence[Given], synthetic: Given | None) -> Sequence[Given]:
    return [*real, *([] if synthetic is None else [synthetic])]


def _same_columns(table: str, there: Sequence[Given], apart: set[str]) -> None:
    if not there:
        return
    first = there[0]
    mine = {str(c) for c in first.tables[table]} - apart
    for other in there[1:]:
        theirs = {str(c) for c in other.tables[table]} - apart
        for one, columns in ((other, mine - theirs), (first, theirs - mine)):
            if columns:
                has = first if one is other else other
                raise DataError(
                    f"{one.told(table)} has no column {min(columns)!r}, {has.told(table)} has"
                    f"{f' (and {len(columns) - 1} more)' if len(columns) > 1 else ''}. Give all "
                    "tables the same columns, or name the ones to compare in a --schema."
                )


def _column(name: str, sides: Side, *, synthetic: bool, secret: bool) -> Column | str:
    """Describe a column, or say why it is left out."""
    kind = kind_of(name, sides)
    every = pd.concat([values for _, values in sides], ignore_index=True)
    real = pd.concat([values for _, values in sides[: len(sides) - synthetic]], ignore_index=True)
    there = real.dropna()
    if there.empty:
        return "it is empty in all real records"
    constant = (there == there.iloc[0]).all()
    if constant and not real.isna().any():
        return f"all real records have {there.tolist()[0]!r:.80}"
    hospital = names_hospital(name)
    if kind == "text":
        return _category(there, MOST_HOSPITALS if hospital else MOST_LEVELS)
    numbers = as_numbers(there)
    if why := unfit(numbers):
        return why
    most = _FEW_NUMBERS if secret else 2
    if hospital and (numbers % 1 == 0).all():
        most = min(MOST_HOSPITALS, len(numbers) // 2)  # a number of its own for everybody is none
    if as_numbers(every).nunique() <= most or constant:
        ordered = as_levels(pd.Series(np.sort(numbers.unique())))
        return Column(kind="category", levels=tuple(ordered))
    return _number(numbers, as_numbers(every))


def _coded(sides: Side) -> Column | str:
    """Describe a column by its commonest levels, whatever they look like."""
    counts = as_levels(pd.concat([values for _, values in sides], ignore_index=True)).value_counts()
    if counts.empty:
        return "it is empty in all real records"
    rest = (OTHER,) if len(counts) > MOST_LEVELS else ()
    return Column(kind="category", levels=(*sorted(counts.index[:MOST_LEVELS]), *rest))


def _category(there: pd.Series, most: int) -> Column | str:
    if comma := with_comma(there):
        return (
            f"its numbers are written with a comma ({comma!r}); write them with a decimal point, "
            "and without points or commas between thousands"
        )
    levels = sorted(as_levels(there).unique())
    if (longest := max(map(len, levels))) > LONGEST:
        return (
            f"it is free text (up to {longest:,} characters), which a public schema must not "
            "repeat; name its levels in a --schema if it has any"
        )
    if len(levels) > most or (len(levels) == len(there) and len(levels) > 2):
        if unit := with_unit(there):
            return (
                f"it has {len(levels)} different texts, which look like numbers with a unit "
                f"({unit!r}); to have it compared, write the number alone"
            )
        dates = pd.to_datetime(there, errors="coerce", format="ISO8601").notna().all()
        advice = "turn dates into days" if dates else "group it, or name its levels in a --schema"
        return f"it has {len(levels)} different texts; to have it compared, {advice}"
    return Column(kind="category", levels=tuple(levels))


def _number(numbers: pd.Series, every: pd.Series) -> Column:
    finite = numbers[np.isfinite(numbers)]
    low, high = float(finite.min()), float(finite.max())
    some, most = np.percentile(finite, (5, 95))
    if low > 0 and most > _DECADES * some:
        ends = (
            _round(low * (1 - _MARGIN), low, up=False),
            _round(high * (1 + _MARGIN), high, up=True),
        )
        log = True
    else:
        span = high - low or abs(high) or 1.0
        ends = (
            _round(low - _MARGIN * span, span, up=False),
            _round(high + _MARGIN * span, span, up=True),
        )
        ends = (max(ends[0], 0.0) if low >= 0 else ends[0], ends[1])
        log = False
    if (every[np.isfinite(every)] % 1 > 0).any():
        return Column(kind="number", low=ends[0], high=ends[1], log=log)
    low = max(math.floor(ends[0]), 1) if log else math.floor(ends[0])
    return Column(kind="integer", low=float(low), high=float(math.ceil(ends[1])), log=log)


def _round(value: float, size: float, *, up: bool) -> float:
    """Round away from the data, so that a schema does not hold anybody's own value."""
    step = 10.0 ** (math.floor(math.log10(size)) - 1)
    return float(f"{(math.ceil if up else math.floor)(value / step) * step:.12g}")


# --- What a cohort folder has beside the static table -------------------------------------------


def _windows(real: Sequence[Given], synthetic: Given | None) -> tuple[Window, ...]:
    days = [
        _days(given.told(name), table["day"])
        for given in _all(real, synthetic)
        for name, table in given.tables.items()
        if name in ("visits", "codes") and "day" in table
    ]
    if not days:
        return ()
    every = pd.concat(days)
    every = every[np.isfinite(every)]
    if every.empty:
        return ()
    low, high = float(every.min()), float(every.max())
    span = max(high - low, 1.0)
    start = math.floor(_round(low - _MARGIN * span, span, up=False))
    end = math.ceil(_round(high + _MARGIN * span, span, up=True))
    return (Window(name="ever", start=float(start), end=float(end)),)


def _days(said: str, values: pd.Series) -> pd.Series:
    days = as_numbers(values)
    odd = values[values.notna() & days.isna()]
    if len(odd):
        raise DataError(
            f"{said} row {odd.index[0] + 1}: 'day' is {odd.iloc[0]!r}; expected a number. Write "
            "days since each patient's day 0 (admission, enrolment), not dates."
        )
    return days


def _vocabularies(real: Sequence[Given]) -> dict[str, Vocabulary]:
    tables = [given.tables["codes"] for given in real if "codes" in given.tables]
    tables = [table for table in tables if {"system", "code"} <= set(table)]
    if not tables:
        return {}
    codes = pd.concat(tables)
    found = {}
    for system, mine in codes.groupby("system"):
        common = mine["code"].value_counts().index[:MOST_CODES].astype(str)
        found[str(system)] = Vocabulary(codes={c: c for c in [*sorted(common), OTHER]})
    return found


def _outcome(real: Sequence[Given]) -> Outcome | None:
    if not (found := [_times(given) for given in real if "outcome" in given.tables]):
        return None
    times = pd.concat(found)
    high = float(times.max()) if len(times) else 1.0
    return Outcome(label="event", low=0.0, high=_round(high * (1 + _MARGIN), max(high, 1), up=True))


def _times(given: Given) -> pd.Series:
    """Return the times of an outcome that can be any, from 0."""
    times = as_numbers(_of(given, "outcome")["time"])
    found: pd.Series = times[np.isfinite(times) & (times >= 0)]
    return found
