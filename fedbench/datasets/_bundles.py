"""FHIR resources in files: found, parsed one file at a time, and told apart when they are wrong."""

from __future__ import annotations

import calendar
import datetime as dt
import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from fedbench.datasets._reading import BROKEN
from fedbench.errors import DataError

__all__ = ["SUFFIXES", "Resource", "files", "resources"]

SUFFIXES = (".json", ".json.gz", ".ndjson", ".ndjson.gz")

LIMIT = 64 << 20
"""Bytes, unpacked, of a JSON file or of a line of an NDJSON file, which are in memory at once."""

DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T\S+)?)?)?")
URN = re.compile(r"urn:(?:uuid|oid):(.+)")


@dataclass(frozen=True)
class Resource:
    """A resource, with the file it is in and what the bundle around it calls its members."""

    file: str
    content: Mapping[str, Any]
    urls: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Its type, such as Patient."""
        return str(self.content["resourceType"])

    @property
    def id(self) -> str:
        """Its id, which is empty where it has none."""
        return str(self.content.get("id") or "")

    def wrong(self, said: str) -> NoReturn:
        """Say what is wrong with it.

        Raises:
            DataError: always.
        """
        raise DataError(f"{self.file}: {self.kind}/{self.id or '(no id)'}: {said}")

    def at(self, *path: str) -> Any:
        """Return what is at the end of a path of objects, None where any of it is missing."""
        found: Any = self.content
        for name in path:
            found = self.object(found, name).get(name)
            if found is None:
                return None
        return found

    def object(self, found: Any, name: str) -> Mapping[str, Any]:
        """Return this if it is an object."""
        if not isinstance(found, Mapping):
            self.wrong(f"found {_shown(found)}; expected an object of FHIR R4, with {name!r}.")
        return found

    def each(self, found: Any, name: str) -> Sequence[Mapping[str, Any]]:
        """Return this if it is a list of objects; nothing is an empty list."""
        if found is None:
            return []
        if not isinstance(found, list):
            self.wrong(f"{name!r} is {_shown(found)}; expected a list of objects.")
        for place, item in enumerate(found):
            if not isinstance(item, Mapping):
                self.wrong(f"'{name}[{place}]' is {_shown(item)}; expected an object.")
        return cast("list[Mapping[str, Any]]", found)

    def text(self, *path: str) -> str:
        """Return a text, empty where there is none."""
        found = self.at(*path)
        if found is not None and not isinstance(found, str):
            self.wrong(f"{'.'.join(path)!r} is {_shown(found)}; expected text.")
        return found or ""

    def codings(self, *path: str) -> Iterator[tuple[str, str]]:
        """Yield system and code of a CodeableConcept."""
        for coding in self.each(self.at(*path, "coding"), ".".join((*path, "coding"))):
            yield str(coding.get("system") or ""), str(coding.get("code") or "")

    def date(self, *path: str) -> str | None:
        """Return a day as YYYY-MM-DD, as it is written, in the time zone it is written in.

        Without a day or month it is the last one possible, so that nothing is known too early.
        """
        if not (found := self.text(*path)):
            return None
        parts = DATE.fullmatch(found)
        day = parts and _last_possible(parts[1], parts[2], parts[3])
        if not day:
            self.wrong(f"{'.'.join(path)!r} is {found[:40]!r}; expected a date, YYYY-MM-DD.")
        return day

    def first_date(self, *paths: str) -> str | None:
        """Return the first of these dates that is there; a dot goes into an object."""
        return next((day for path in paths if (day := self.date(*path.split(".")))), None)

    def reference(self, name: str, kind: str) -> str:
        """Return the id of the resource of this kind that is referred to, empty if there is none.

        It may be written ``Patient/ID``, as an address that ends so, ``urn:uuid:ID``, as the
        bundle calls it, or as a search that ends in an identifier.
        """
        written = self.text(name, "reference")
        target = self.urls.get(written, written)
        if found := URN.fullmatch(target):
            return found[1]
        if target.startswith(f"{kind}?"):
            return target.rpartition("|")[2].rpartition("=")[2]
        parts = target.partition("/_history/")[0].split("/")
        return parts[-1] if parts[-2:-1] == [kind] else ""


def files(folder: Path) -> Sequence[Path]:
    """Return the files of a folder, and of those in it, that may hold resources."""
    found = (path for path in folder.rglob("*") if path.name.lower().endswith(SUFFIXES))
    return sorted(path for path in found if path.is_file())


def resources(folder: Path) -> Iterator[Resource]:
    """Yield every resource: those in bundles, those alone in a file, and those on a line.

    Raises:
        DataError: a file is damaged, too large, no JSON, or no resource.
    """
    for path in files(folder):
        name = str(path.relative_to(folder))
        try:
            with _opened(path) as file:
                for content in _contents(name, file):
                    yield from _inside(name, content)
        except BROKEN as error:
            if isinstance(error, DataError):
                raise
            said = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"{name} is damaged or cut off ({said[:200]}).") from None


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb"))


def _contents(name: str, file: IO[bytes]) -> Iterator[Any]:
    if ".ndjson" not in name.lower():
        yield _parsed(name, file.read(LIMIT + 1))
        return
    number = 0
    while line := file.readline(LIMIT + 1):
        number += 1
        if line.strip():
            yield _parsed(f"{name} line {number}", line)


def _parsed(where: str, text: bytes) -> Any:
    if len(text) > LIMIT:
        raise DataError(
            f"{where} has more than {LIMIT >> 20} MB; expected a bundle of a few patients. Export "
            "smaller bundles, or NDJSON with a resource per line."
        )
    try:
        found = json.loads(text.decode("utf-8-sig"), parse_constant=_no_number)
        if b"\\ud" in text.lower():  # half a character, which JSON can write, is no text
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {str(error)[:200]}.") from None
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _inside(name: str, content: Any) -> Iterator[Resource]:
    kind = content.get("resourceType") if isinstance(content, Mapping) else None
    if not isinstance(kind, str):
        raise DataError(
            f"{name}: found {_shown(content)}; expected a FHIR R4 resource, such as a Bundle, with "
            "a resourceType."
        )
    if kind != "Bundle":
        yield Resource(name, content)
        return
    bundle = Resource(name, content)
    members = [
        (str(entry.get("fullUrl") or ""), bundle.object(entry["resource"], "resource"))
        for entry in bundle.each(content.get("entry"), "entry")
        if entry.get("resource") is not None
    ]
    known = [(url, _named(name, url, resource)) for url, resource in members]
    urls = {url: f"{each['resourceType']}/{each['id']}" for url, each in known if each["id"]}
    for _, resource in known:
        yield Resource(name, resource, urls)


def _named(name: str, url: str, resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a resource with its id, which may be in the address only."""
    if not isinstance(resource.get("resourceType"), str):
        raise DataError(f"{name}: the entry {url!r} of the bundle has no resourceType.")
    found = URN.fullmatch(url)
    return {**resource, "id": resource.get("id") or (found[1] if found else "")}


def _last_possible(year: str, month: str | None, day: str | None) -> str | None:
    try:
        last = calendar.monthrange(int(year), int(month or 12))[1]
        return dt.date(int(year), int(month or 12), int(day or last)).isoformat()
    except ValueError:
        return None


def _shown(found: Any) -> str:
    if isinstance(found, Mapping | list):
        return "a list" if isinstance(found, list) else "an object"
    return repr(found)[:60]
