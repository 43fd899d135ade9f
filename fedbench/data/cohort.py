"""Patients with their tables, what they look like, and the folder they are written to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedbench.data.schema import Schema
from fedbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from fedbench.sequences import Sequences

__all__ = [
    "TABLES",
    "Cohort",
    "by_content",
    "cohort_from_table",
    "looks_of",
    "read_cohort",
    "write_cohort",
]

TABLES = ("static", "visits", "codes", "outcome")

_ODD = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio's digits: sums seldom meet


@dataclass(frozen=True)
class Cohort:
    """Patients with their schema.

    Tables (every one has a ``patient`` column of text):

    * ``static``: one row per patient.
    * ``visits``: one row per visit, with its ``day``; empty fields are not measured.
    * ``codes``: one row per diagnosis: ``day``, ``system``, ``code``.
    * ``outcome``: one row per patient: ``time`` in days, ``event`` 0 or 1.

    ``notes`` says, a sentence each, whom and what the reader of the records left out.

    Build with ``Cohort.of_tables``, which validates.
    """

    schema: Schema
    static: pd.DataFrame
    visits: pd.DataFrame
    codes: pd.DataFrame
    outcome: pd.DataFrame
    notes: tuple[str, ...] = field(default=(), kw_only=True)

    @classmethod
    def of_tables(
        cls,
        schema: Schema,
        static: pd.DataFrame,
        visits: pd.DataFrame | None = None,
        codes: pd.DataFrame | None = None,
        outcome: pd.DataFrame | None = None,
    ) -> Cohort:
        """Check every table against the schema and put it in a stable order.

        Raises:
            DataError: names the table, row, column and value that do not fit.
        """
        from fedbench import validation  # noqa: PLC0415  (validation needs the types above)

        return validation.checked(schema, static, visits, codes, outcome)

    def __len__(self) -> int:
        return len(self.static)

    @property
    def patients(self) -> NDArray[np.object_]:
        """Every patient once, sorted."""
        return self.static["patient"].to_numpy(dtype=object)

    @property
    def sites(self) -> NDArray[np.object_] | None:
        """The hospital of every patient, where the data say so."""
        site = self.schema.site
        if site is None:
            return None
        names = self.static[site]
        if self.schema.static[site].kind != "category":
            names = names.map("{:.15g}".format, na_action="ignore")  # 7, not 7.0
        return names.astype(object).to_numpy()

    @property
    def clusters(self) -> NDArray[np.object_]:
        """What must not be torn apart, for every patient; by default the patient alone."""
        cluster = self.schema.cluster
        return self.patients if cluster is None else self.static[cluster].to_numpy(dtype=object)

    @property
    def event(self) -> NDArray[np.bool_]:
        """Whether the event was seen, for every patient; empty without an outcome."""
        return np.asarray(self.outcome["event"].to_numpy() == 1)

    @cached_property
    def keys(self) -> NDArray[np.uint64]:
        """A number for every patient that is the same wherever the patient is."""
        import pandas as pd  # noqa: PLC0415

        return pd.util.hash_array(self.patients, categorize=False)

    def take(self, patients: NDArray[np.object_]) -> Cohort:
        """Return these patients only, with their rows of the patient table if it was made."""
        import pandas as pd  # noqa: PLC0415

        wanted = pd.Index(patients)

        def mine(table: pd.DataFrame) -> pd.DataFrame:
            return table[table["patient"].isin(wanted)].reset_index(drop=True)

        found = Cohort(self.schema, *(mine(getattr(self, name)) for name in TABLES))
        if "table" in self.__dict__:
            found.__dict__["table"] = self.table[self.table.index.isin(wanted)]
        return found

    @staticmethod
    def union(cohorts: Sequence[Cohort]) -> Cohort:
        """Return everyone in these cohorts, which share a schema and no patient."""
        import pandas as pd  # noqa: PLC0415

        def together(name: str) -> pd.DataFrame:
            tables = [getattr(cohort, name) for cohort in cohorts]
            full = [table for table in tables if len(table)] or tables[:1]
            by = ["patient", "day"] if "day" in full[0] else ["patient"]
            stacked: pd.DataFrame = pd.concat(full, ignore_index=True)
            return stacked.sort_values(by, kind="stable", ignore_index=True)

        found = Cohort(cohorts[0].schema, *(together(name) for name in TABLES))
        if all("table" in cohort.__dict__ for cohort in cohorts):
            table = pd.concat([cohort.table for cohort in cohorts])
            found.__dict__["table"] = table.loc[pd.Index(found.patients, name="patient")]
        return found

    @cached_property
    def table(self) -> pd.DataFrame:
        """The patient table: one row per patient, one column per ``schema.features``.

        Visits become, per window, the day of the last visit and the last value measured;
        codes become whether they were ever recorded in the window. Numbers are ``float64``
        with NaN for missing, categories are pandas categoricals with the schema's levels.
        """
        from fedbench import summary  # noqa: PLC0415

        return summary.patient_table(self)

    @cached_property
    def looks(self) -> NDArray[np.uint64]:
        """A number for every patient that is the same for those who look alike in ``table``."""
        return looks_of(self.table)

    @cached_property
    def whole_looks(self) -> NDArray[np.uint64]:
        """The same for those who are alike in every visit and code, too, in whatever order."""
        import pandas as pd  # noqa: PLC0415

        found, names = self.looks, pd.Index(self.patients)
        for table in (self.visits, self.codes):
            place = names.get_indexer(pd.Index(table["patient"]))
            rows = np.zeros(len(self), np.uint64)
            np.add.at(rows, place, looks_of(table.drop(columns="patient")))
            found = found * _ODD + rows
        return found

    @cached_property
    def sequences(self) -> Sequences:
        """Visits and codes as arrays, see ``fedbench.sequences``."""
        from fedbench import sequences  # noqa: PLC0415

        return sequences.Sequences.of(self)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all records, so that two runs can prove they saw the same data."""
        digest = hashlib.sha256()
        for name in TABLES:
            table = getattr(self, name)
            digest.update(f"{name}:{','.join(table.columns)}:{len(table)};".encode())
            digest.update(looks_of(table).tobytes())
        return digest.hexdigest()[:16]


def cohort_from_table(schema: Schema, table: pd.DataFrame) -> Cohort:
    """Write a patient table back as a cohort: one visit per window that has a day."""
    from fedbench import summary  # noqa: PLC0415

    return summary.cohort_from_table(schema, table)


def looks_of(table: pd.DataFrame) -> NDArray[np.uint64]:
    """Return a number for each row ``(n,)`` that is the same for rows that are alike."""
    import pandas as pd  # noqa: PLC0415

    return np.asarray(pd.util.hash_pandas_object(table, index=False), dtype=np.uint64)


def by_content(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows by patient and day, those of one day in an order that their content makes."""
    keys = [table["patient"].to_numpy(dtype=str)]
    if "day" in table:
        keys = [looks_of(table.drop(columns="patient")), table["day"].to_numpy(), *keys]
    order = np.lexsort(keys)
    return table.iloc[order].reset_index(drop=True)


def write_cohort(cohort: Cohort, folder: Path, **extra: NDArray[np.object_]) -> None:
    """Write the tables of a cohort as parquet; ``extra`` columns go to the static table."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        table = getattr(cohort, name)
        if name == "static" or len(table):
            table = table.assign(**extra) if name == "static" else table
            table.to_parquet(folder / f"{name}.parquet", index=False)


def read_cohort(schema: Schema, folder: Path) -> Cohort:
    """Read and check a cohort written by ``write_cohort``.

    Raises:
        DataError: a table is missing or does not fit the schema.
    """
    import pandas as pd  # noqa: PLC0415

    if not (folder / "static.parquet").is_file():
        raise DataError(f"There is no static.parquet in {folder}; a cohort folder needs one.")
    tables = {
        name: pd.read_parquet(folder / f"{name}.parquet")
        for name in TABLES
        if (folder / f"{name}.parquet").is_file()
    }
    return Cohort.of_tables(schema, **tables)
