"""Sources of records: where their files are, and what must be known before using them."""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fedbench.data.cohort import Cohort
from fedbench.data.schema import Schema
from fedbench.errors import DataError
from fedbench.plugin import Plugin

__all__ = ["DataStore", "Dataset", "Download"]


@dataclass(frozen=True)
class DataStore:
    """Where data folders are: given by hand, else by the variable FEDBENCH_DATA."""

    root: Path | None = None

    @classmethod
    def default(cls) -> DataStore:
        """Return the store that the environment names."""
        root = os.environ.get("FEDBENCH_DATA")
        return cls(Path(root) if root else None)

    def folder(self, name: str) -> Path:
        """Return the folder of a dataset, inside the root unless it is an absolute path.

        A packed folder or database is one file.

        Raises:
            DataError: it is not there.
        """
        if Path(name).is_absolute() and Path(name).exists():
            return Path(name)
        if self.root is None:
            raise DataError(
                f"The dataset needs the folder {name!r}, and no data folder is set. "
                "Set FEDBENCH_DATA or give --data-dir."
            )
        if not (folder := self.root / name).exists():
            raise DataError(
                f"There is no folder {name!r} in {self.root}. `fedbench data describe NAME` "
                "says where a dataset is from, `fedbench data get NAME` how to get it."
            )
        return folder


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file that the publisher offers to everyone: where it is, where it goes, what it must be."""

    url: str
    path: str
    sha256: str


class Dataset(Plugin):
    """A source of records, with what a user must know before using them.

    ``home`` is the page where the records and their terms are, ``downloads`` the files there that
    nobody has to ask for. ``made`` says how to make the tables of what the publisher offers, where
    they are not the publisher's own.
    """

    title: ClassVar[str]
    licence: ClassVar[str]
    citation: ClassVar[str]
    home: ClassVar[str] = ""
    made: ClassVar[str] = ""
    downloads: ClassVar[tuple[Download, ...]] = ()
    embedded: ClassVar[bool] = False
    redistributable: ClassVar[bool] = True
    """Whether records derived from the data may be published."""

    @property
    @abstractmethod
    def schema(self) -> Schema:
        """The public description, known before any record is read."""

    @abstractmethod
    def load(self, store: DataStore) -> Cohort:
        """Return the whole cohort.

        Raises:
            DataError: the files are not there or do not fit.
        """
