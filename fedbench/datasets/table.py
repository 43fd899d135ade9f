"""Records of your own, without a line of Python: a table, or a folder of them, with a schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from fedbench.data import Cohort, Dataset, DataStore, Part, Schema
from fedbench.errors import DataError
from fedbench.schemas import read_schema
from fedbench.tables import hint
from fedbench.tabular import PATIENT, Given, read

HOW = (
    "needs `path`, your CSV or parquet file or cohort folder, and `schema`, what its columns mean: "
    'name = "table", path = "mine.csv", schema = "mine.toml". To have the schema drafted: '
    "`fedbench data infer mine.csv -o mine.toml`."
)


@dataclass(frozen=True, kw_only=True)
class Table(Dataset):
    """Your own CSV or parquet file, or cohort folder, with a schema file.

    Relative paths are looked for in the working folder, and then in the data folder. A cohort
    folder holds ``static`` and, where the schema has them, ``visits``, ``codes`` and ``outcome``,
    each as ``.csv`` or ``.parquet``.

    Attributes:
        path: the file or folder.
        schema_file: the schema, a TOML file; in a suite, ``schema``.
        patient: the column of a single file that says who a patient is. Default: one that the
            schema does not describe and that is called ``patient``, ``id`` and the like; without
            one, rows are numbered.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {
        **Dataset.__pydantic_config__,
        "populate_by_name": True,
    }

    title: ClassVar[str] = "Records of your own"
    licence: ClassVar[str] = "as their owner says"
    citation: ClassVar[str] = "as their owner says"
    redistributable: ClassVar[bool] = False

    path: str = ""
    # `schema` itself is what is in the file, as for every dataset. Pydantic reads the alias.
    schema_file: str = field(default="", metadata={"alias": "schema"})
    patient: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        found = super().settings
        return {("schema" if name == "schema_file" else name): found[name] for name in found}

    @property
    def schema(self) -> Schema:
        return read_schema(_found(self.schema_file, DataStore.default()))

    def load(self, store: DataStore) -> Cohort:
        schema, given = self.schema, read(_found(self.path, store), "path")
        given = given.by_patient(self._identifier(given, schema), "row ").as_in(schema)
        if lacking := [*_lacking(given, schema)]:
            raise DataError(" ".join(lacking))
        return given.cohort(schema)

    def _identifier(self, given: Given, schema: Schema) -> str:
        """Return the column that says who a patient is; empty where there is none."""
        columns = [name for name, _ in given.columns()]
        if self.patient and self.patient not in columns:
            near = hint(self.patient, columns)
            raise DataError(
                f"{given.path.name} has no column {self.patient!r}, which is to say who a patient "
                f"is.{near}"
            )
        known = {*schema.static, schema.cluster}
        named = [n for n in columns if n.strip().casefold() in PATIENT and n not in known]
        return self.patient or next(iter(named), "")


def _found(path: str, store: DataStore) -> Path:
    if not path:
        raise DataError(f"The dataset 'table' {HOW}")
    folders = [Path.cwd(), *([store.root] if store.root else [])]
    places = [folder / path for folder in folders]  # an absolute path stays what it is
    if found := next((place for place in places if place.exists()), None):
        return found
    looked = "" if Path(path).is_absolute() else f" in {' or '.join(map(str, folders))}"
    more = "" if store.root else " No data folder is set (FEDBENCH_DATA or --data-dir)."
    raise DataError(f"There is no {path!r}{looked}.{more}")


def _lacking(given: Given, schema: Schema) -> Iterator[str]:
    """Say all that the schema describes and the tables do not have."""
    for table, columns in _wanted(schema, single=given.single).items():
        if table not in given.tables:
            what = f"The schema describes {table}, and there is no such table"
            if not given.single:
                advice = f"Put {table}.csv or {table}.parquet into {given.path}."
            elif table == "outcome":
                advice = "A single file has the columns time (days) and event (0 or 1) for it."
            else:
                advice = (
                    "A single file has one row per patient: put it into a folder as static.csv, "
                    f"beside {table}.csv."
                )
            yield f"{what}. {advice}"
            continue
        there = [str(name) for name in given.tables[table]]
        missing = [name for name in columns if name not in there]
        if missing:
            near = hint(missing[0], there) if len(missing) == 1 else ""
            yield (
                f"{given.told(table)} has no column {', '.join(map(repr, missing))}.{near} It has: "
                f"{', '.join(there)}."
            )


def _wanted(schema: Schema, *, single: bool) -> Mapping[str, Sequence[str]]:
    patient, cluster = [] if single else ["patient"], [schema.cluster] if schema.cluster else []
    wanted = {
        Part.STATIC: [*patient, *schema.static, *cluster],
        Part.VISITS: ["patient", "day", *schema.visits],
        Part.CODES: ["patient", "day", "system", "code"],
        Part.OUTCOME: ["patient", "time", "event"],
    }
    return {str(part): wanted[part] for part in Part if part in {*schema.parts, Part.STATIC}}
