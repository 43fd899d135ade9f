"""Which dataset is meant by a name, or by the path of a folder or file, and what it lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fedbench.data import Dataset, DataStore
from fedbench.datasets._reading import PACKED, FromFolder
from fedbench.datasets._stored import SUFFIXES as DATABASES
from fedbench.errors import DataError, SpecError
from fedbench.kinds import DATASETS

__all__ = ["Subject", "subject"]

TABLE = "table"
"""The dataset of whoever brings a schema."""
PLACES = ("folder", "path")
"""Settings by which a dataset is told where its files are."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A dataset that is to be checked, and all that keeps it from being read, a sentence each."""

    name: str
    path: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    lacking: Sequence[str] = ()


@dataclass(frozen=True, order=True)
class _Fit:
    """How well a folder fits a dataset: first by the tables it has, then by those it lacks."""

    present: int
    missing: int  # negative: the fewer, the better
    name: str = field(compare=False)


def subject(
    what: str, store: DataStore, *, known_as: str = "", schema: Path | None = None
) -> Subject:
    """Find out what is meant.

    Args:
        what: the name of a dataset, or the path of a folder or file.
        store: where folders of datasets by name are.
        known_as: the dataset whose files a folder holds. Default: the one most of whose tables
            are there.
        schema: describes a table, or a cohort folder, of the user's own.

    Raises:
        SpecError: nothing is called so, or it cannot be said which dataset it is.
    """
    path = Path(what)
    if known_as and schema:
        raise SpecError("--as names a dataset, which has its own schema: leave one of the two out.")
    if schema or known_as or (what not in DATASETS.names() and path.exists()):
        if not path.exists():
            raise SpecError(f"There is no file or folder {what!r}.")
        return _described(path, schema) if schema else _at(path, known_as or _guessed(path))
    if "/" in what and ":" not in what:
        raise SpecError(f"There is no file or folder {what!r}.")
    dataset = DATASETS.build(what)
    if isinstance(dataset, FromFolder):
        with suppress(DataError):  # that the folder is not there is told when it is read
            return Subject(name=what, lacking=dataset.lacking(store.folder(dataset.folder)))
    return Subject(name=what)


def _described(path: Path, schema: Path) -> Subject:
    settings = {"path": str(path.absolute()), "schema": str(schema.absolute())}
    return Subject(name=TABLE, path=str(path), settings=settings)


def _at(path: Path, name: str) -> Subject:
    """Return a dataset whose files are here."""
    settings = {_place_of(DATASETS.find(name), name): str(path.absolute())}
    dataset = DATASETS.build(name, settings)
    lacking = dataset.lacking(path) if isinstance(dataset, FromFolder) else ()
    return Subject(name=name, path=str(path), settings=settings, lacking=lacking)


def _place_of(dataset: type[Dataset], name: str) -> str:
    if name == TABLE:
        raise SpecError("A table of your own needs its --schema.")
    settings = [f.name for f in fields(dataset)]  # type: ignore[arg-type]  # `find` made sure
    if found := next((place for place in PLACES if place in settings), None):
        return found
    raise SpecError(
        f"{name} comes with fedbench and reads no folder: `fedbench data check {name}`."
    )


def _guessed(path: Path) -> str:
    """Return the dataset most of whose tables are in a folder.

    Raises:
        SpecError: none are, or as many of several datasets.
    """
    if path.is_file() and not path.name.lower().endswith((*PACKED, *DATABASES)):
        raise SpecError(_needs_schema(path, "is a file"))
    fits = sorted(_fits(path), reverse=True)
    best = [fit.name for fit in fits if fit == fits[0]]
    if len(best) == 1:
        return best[0]
    if best:
        # Whoever holds a full database knows that; in doubt it is the one that anybody may have.
        best.sort(key=lambda name: (not DATASETS.find(name).downloads, name))
        raise SpecError(
            f"{path} fits {' and '.join(sorted(best))} alike: say which, --as {best[0]}."
        )
    if any(path.glob("static.*")):
        raise SpecError(_needs_schema(path, "is a cohort folder"))
    inside = [path] if path.is_file() else path.iterdir()
    there = ", ".join(sorted(inner.name for inner in inside)[:8]) or "nothing"
    known = ", ".join(name for name, _ in _from_folders())
    raise SpecError(
        f"{path} holds {there}: of no dataset there is a whole table. Say which it should be, "
        f"--as NAME, to be told what is missing. There are: {known}."
    )


def _needs_schema(path: Path, what: str) -> str:
    return (
        f"{path} {what} of your own: say what its columns mean, --schema mine.toml. To have that "
        f"drafted: `fedbench data infer {path} -o mine.toml`."
    )


def _fits(path: Path) -> Iterator[_Fit]:
    with TemporaryDirectory() as empty:
        for name, _ in _from_folders():
            dataset = DATASETS.build(name, {"folder": str(path.absolute())})
            assert isinstance(dataset, FromFolder)  # noqa: S101  (for the type checker)
            missing, needed = (len(dataset.lacking(each)) for each in (path, Path(empty)))
            if present := max(needed - missing, 0):
                yield _Fit(present, -missing, name)


def _from_folders() -> Iterator[tuple[str, type[FromFolder]]]:
    for name in DATASETS.names():
        kind = DATASETS.find(name)
        if issubclass(kind, FromFolder):
            yield name, kind
