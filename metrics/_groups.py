"""Patients by what everybody may know of them: sex, age, ethnicity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
        yield f"{self.column} up to {self.ends[0]:g}"
        for low, high in zip(self.ends[:-1], self.ends[1:], strict=True):
            yield f"{self.column} {low:g} to {high:g}"
        yield f"{self.column} above {self.ends[-1]:g}"


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
        ends = np.quantile(known, np.arange(1, bands) / bands) if len(known) else []
        if ends := np.unique([end for end in ends if end < known.max()]).tolist():
            yield Attribute(name, (), tuple(ends))
