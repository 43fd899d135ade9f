"""Hospitals that do not measure the same things, or not in the same units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
from annotated_types import Gt, Interval

from fedbench.data import Cohort, Column, Schema
from fedbench.errors import SpecError
from fedbench.partition import Place
from fedbench.partitioners._altering import Altering, TestPart, within_bounds
from fedbench.seeds import Rng

Factor = Annotated[float, Gt(0)]


@dataclass(frozen=True, kw_only=True)
class Measurement(Altering):
    """Some sites never measure some of the columns, or write them down in another unit.

    A column that is not measured is missing at every visit (or for every patient, if it is
    static), of all patients of the site: nobody can be tested on what nobody measured. A number in
    another unit is multiplied by its factor and nothing tells so, as where nobody harmonized units.
    The public bounds of such a column hold values in both units, for all hospitals alike.

    Attributes:
        within: the partitioner that deals.
        at: the sites that do so; without any, every second one by size.
        lacking: share of ``columns`` that such a site does not measure; each site draws which.
        columns: what may be lacking; without any, all visit columns, or all static ones that are
            neither known later nor name the site where there are no visits.
        units: factors by column.
        test: ``right``: test patients have the unit that the schema says, as after somebody
            harmonized them, so that scores show what the wrong one does; ``recorded``: they have
            the site's. With ``control = "test"``, membership at such a site can only be judged
            with ``recorded``.

    Raises:
        SpecError: there is no such column, or a factor for one that is no number.
    """

    lacking: Annotated[float, Interval(ge=0, le=1)] = 0.5
    columns: tuple[str, ...] = ()
    units: Mapping[str, Factor] = field(default_factory=dict)
    test: TestPart = "right"

    def agreed(self, schema: Schema) -> Schema:
        schema = super().agreed(schema)
        self._check({**schema.static, **schema.visits})
        return replace(schema, static=self._both(schema.static), visits=self._both(schema.visits))

    def _both(self, columns: Mapping[str, Column]) -> Mapping[str, Column]:
        """Return the columns with bounds for values as they are and in the other unit."""
        found = dict(columns)
        for name in self.units.keys() & columns.keys():
            column, factor = columns[name], self.units[name]
            low = min(column.low, column.low * factor)
            high = max(column.high, column.high * factor)
            if column.kind == "integer":
                low, high = math.floor(low), math.ceil(high)
            found[name] = replace(column, low=low, high=high)
        return found

    def changed(self, records: Cohort, place: Place, rng: Rng) -> Cohort:
        schema = records.schema
        known = {**schema.static, **schema.visits}
        listed = self.columns or _usual(schema)
        lacks = rng.permutation(len(listed))[: round(self.lacking * len(listed))]
        gone = {listed[number] for number in lacks}
        right = place.part == "test" and self.test == "right"
        units = {} if right else self.units
        tables = {}
        for name, columns in (("static", schema.static), ("visits", schema.visits)):
            table = getattr(records, name).copy()
            for column in columns:
                if column in units:
                    moved = table[column].astype(np.float64) * units[column]
                    table[column] = within_bounds(moved, known[column])
                if column in gone:
                    table[column] = None
            tables[name] = table
        return Cohort.of_tables(
            schema,
            tables["static"],
            tables["visits"] if schema.visits else None,
            records.codes if schema.vocabularies else None,
            records.outcome if schema.outcome else None,
        )

    def _check(self, known: Mapping[str, Column]) -> None:
        for name in (*self.columns, *self.units):
            if name not in known:
                raise SpecError(
                    f"There is no column {name!r} to measure. Known: {', '.join(known)}."
                )
        for name in self.units:
            if known[name].kind == "category":
                raise SpecError(f"units: {name!r} is a category and has no unit.")
        for name in self.columns:
            if "site" in known[name].roles:
                raise SpecError(f"columns: {name!r} names the hospital, which is always known.")


def _usual(schema: Schema) -> tuple[str, ...]:
    return tuple(schema.visits) or tuple(
        name
        for name, column in schema.static.items()
        if "site" not in column.roles and not np.isfinite(column.known)
    )
