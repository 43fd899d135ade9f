"""Do released values hold, whole or in part, the identifiers of training patients?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from fedbench.data import Schema
from fedbench.naming import (
    HINT,
    MOST_SHARED,
    NAMED,
    Naming,
    are_of_one_each,
    luck_of,
    met_as_by_luck,
    number_rows,
)
from fedbench.tabular import Given, as_levels, as_numbers, names_patient

__all__ = ["carried"]

SHORTEST = 5
"""Signs that an identifier has at least, to be looked for as a part of a value."""

LONGEST = 1_000
"""Of longer texts only so many signs are looked at."""


def carried(
    released: Given,
    real: Mapping[str, Given],
    patient: str,
    schema: Schema,
    told: Collection[Naming] = (),
) -> Iterator[Naming]:
    """Yield the columns of a release, in any of its tables, that hold identifiers of patients.

    An identifier is met where a value is equal to it, and one of five signs or more also where it
    is part of a value; capitals and what stands between letters and digits do not count. Those of
    other patients are met by the same luck. The more columns meet any, the less luck is allowed.

    Args:
        released: the synthetic tables.
        real: those of real patients, by part; one is ``train``.
        patient: the column that says who a patient is, empty where none does.
        schema: what is compared.
        told: what is known to name patients already, and is not said again.
    """
    every = [
        _Met(values, known)
        for known in _identifiers(real, patient, schema)
        for values in _values(released, schema)
    ]
    met = [one for one in every if one.ids["train"] + one.ids["others"]]
    shown = {one.column for one in told if one.shown}
    hinted = {one.column for one in told}
    for found in (one.naming(NAMED / len(met)) for one in met):
        if found.column not in (shown if found.shown else hinted) and (found.shown or found.hinted):
            yield found


@dataclass(frozen=True)
class _Known:
    """The identifiers in one column of real patients, by side; ``share`` of them are training's."""

    column: str
    sides: Mapping[str, pd.Index]
    share: float

    @cached_property
    def every(self) -> pd.Index:
        return self.sides["train"].union(self.sides["others"])

    @cached_property
    def are_numbers(self) -> bool:
        return bool(self.every.str.isdecimal().all())


@dataclass(frozen=True)
class _Values:
    """A released column: the different ``texts``, and which of them each record has.

    ``records`` are the rows of a static table, and otherwise the patients whose rows they are.
    """

    column: str
    texts: pd.Series
    place: pd.Series
    records: int
    compared: bool

    def of(self, texts: pd.Index) -> int:
        """Return how many records have one of these."""
        return int(self.place.index[self.place.isin(texts)].nunique())


@dataclass(frozen=True)
class _Met:
    """The identifiers of one column that are met in one released column."""

    values: _Values
    known: _Known

    @cached_property
    def _looked(self) -> tuple[pd.Series, int]:
        """Return what was met, by text, and in how many numbers it was looked for."""
        here, every = self.values.texts, self.known.every
        size, sizes = here.str.len(), every.str.len()
        short = here[size < SHORTEST] if not self.values.compared else here[:0]
        met, tries = [short[short.isin(every)]], len(short)
        for length in sorted({*sizes[sizes >= SHORTEST]}):
            wanted = every[sizes == length]
            for start in range(int(size.max()) - length + 1 if len(here) else 0):
                part = here[size >= start + length].str.slice(start, start + length)
                met.append(part[part.isin(wanted)])
                if self.known.are_numbers:
                    tries += part[part.str.isdecimal()].nunique()
        return pd.concat(met), tries

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """How many different patients are named, by side."""
        met = self._looked[0]
        return {name: met[met.isin(ids)].nunique() for name, ids in self.known.sides.items()}

    @cached_property
    def records(self) -> Mapping[str, int]:
        """How many released records name somebody, by side."""
        met = self._looked[0]
        sides = self.known.sides.items()
        return {name: self.values.of(met.index[met.isin(ids)]) for name, ids in sides}

    @property
    def _is_by_luck(self) -> bool:
        """Whether any numbers would meet as many, and these are not one for every record."""
        if not self.known.are_numbers:
            return False
        mine, tries = self.known.sides["train"], self._looked[1]
        if not met_as_by_luck(self.ids["train"], tries, mine.to_series()):
            return False
        n = self.records["train"]
        is_copy = 2 * n >= self.values.records and self.ids["train"] >= (1 - MOST_SHARED) * n
        padded = mine.str.startswith("0") | (mine.str.len() < SHORTEST)
        return self.values.compared or not is_copy or bool(padded.any())

    @property
    def _are_parts(self) -> bool:
        met = self._looked[0]
        mine = met[met.isin(self.known.sides["train"])]
        return not (mine == self.values.texts.reindex(mine.index)).all()

    def naming(self, level: float) -> Naming:
        """Say how many are named, and whether that takes more than this much luck."""
        share, by_luck = self.known.share, self._is_by_luck
        train, others = self.records["train"], self.records["others"]
        luck = luck_of(self.ids["train"], self.ids["others"], share)
        more = train * (1 - share) > others * share
        return Naming(
            column=self.values.column,
            known=self.known.column,
            in_part=self._are_parts,
            kind="identifier",
            records=self.values.records,
            train=train,
            others=others,
            share=share,
            luck=luck,
            level=level,
            shown=luck < level and not by_luck,
            hinted=more and not by_luck and (not others or luck < HINT),
        )


def _identifiers(real: Mapping[str, Given], patient: str, schema: Schema) -> Iterator[_Known]:
    """Yield what says who real patients are: by its name, or a number of their own."""
    size = {part: len(given) for part, given in real.items()}
    for name, _ in real["train"].columns():
        compared = {*schema.static, schema.site, schema.cluster}
        if name in compared or any(name not in given.static for given in real.values()):
            continue
        every = {part: given.static[name] for part, given in real.items()}
        called = name == patient or names_patient(name)
        if not called and not are_of_one_each(pd.concat(list(every.values()))):
            continue
        texts = {part: _signs(values.drop_duplicates()) for part, values in every.items()}
        alone = pd.concat(list(texts.values())).drop_duplicates(keep=False)
        mine = alone.isin(texts["train"])
        sides = {"train": pd.Index(alone[mine]), "others": pd.Index(alone[~mine])}
        if len(sides["train"]):
            yield _Known(name, sides, size["train"] / sum(size.values()))


def _values(released: Given, schema: Schema) -> Iterator[_Values]:
    """Yield every column of a release but those that count its rows."""
    for table, rows in released.tables.items():
        if table == "outcome":
            continue
        static = table == "static"
        for name in rows:
            if not static and name in {"patient", "day"}:
                continue
            if number_rows(rows[name]):
                continue
            place, different = pd.factorize(rows[name])
            who = rows.index if static else rows["patient"]
            compared = name in schema.static if static else True
            yield _Values(
                column=str(name),
                texts=_signs(pd.Series(different, dtype=rows[name].dtype)),
                place=pd.Series(place, index=pd.Index(who)),
                records=len(released),
                compared=compared,
            )


def _signs(values: pd.Series) -> pd.Series:
    """Return the letters and digits of whole numbers and texts, in small letters."""
    numbers = as_numbers(values)
    there = as_levels(values[values.notna() & (numbers.isna() | (numbers % 1 == 0))])
    signs = there.astype(str).str.casefold().str.replace(r"[\W_]+", "", regex=True)
    return signs[signs != ""].str.slice(0, LONGEST)
