"""Patients by what everybody may know of them: sex, age, ethnicity."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.data import Cohort, Schema

__all__ = ["Attribute", "attributes"]

Bools = NDArray[np.bool_]

MOST = 12
"""Levels of a column beyond which its groups are too many to be told apart."""


@dataclass(frozen=True)
class Attribute:
    """A column and the groups that it makes: levels, or numbers up to each of ``ends``."""

    column: str
    levels: tuple[str, ...]
    ends: tuple[float, ...] = ()

    def groups(self, cohort: Cohort) -> Mapping[str, Bools]:
        """Return who belongs to each group, by its name; who has no value to none."""
        values = cohort.static[self.column]
        if self.levels:
            return {f"{self.column}={v}": (values == v).to_numpy(bool) for v in self.levels}
        place = np.searchsorted(self.ends, values.to_numpy(float), side="left")
        known = values.notna().to_numpy()
        return {name: known & (place == j) for j, name in enumerate(self._bands())}

    def _bands(self) -> Iterator[str]:
        ends = _readable(self.ends)
        yield f"{self.column} up to {ends[0]}"
        for low, high in itertools.pairwise(ends):
            yield f"{self.column} {low} to {high}"
        yield f"{self.column} above {ends[-1]}"


def _readable(ends: Sequence[float]) -> list[str]:
    """Return numbers in words: three digits, or as many as it takes to tell them apart."""
    for digits in range(3, 17):
        found = [f"{end:.{digits}g}" for end in ends]
        if len({float(text) for text in found}) == len(ends):
            break
    return found


def attributes(schema: Schema, train: pd.DataFrame, bands: int) -> Iterator[Attribute]:
    """Yield the quasi-identifiers of a schema, numbers cut into bands of equally many patients.

    Args:
        schema: says which columns everybody may know.
        train: the static table of the training patients.
        bands: how many; fewer where many patients share a number.
    """
    for name, column in schema.static.items():
        if "quasi-identifier" not in column.roles:
            continue
        if column.kind == "category":
            if len(column.levels) <= MOST:
                yield Attribute(name, column.levels)
            continue
        known = train[name].dropna().to_numpy(float)
        ends = np.quantile(known, np.arange(1, bands) / bands) if len(known) else np.array([])
        if column.kind == "integer":
            ends = np.floor(ends)  # which parts the patients as the number itself
        if ends := np.unique([end for end in ends if end < known.max()]).tolist():
            yield Attribute(name, (), tuple(ends))
