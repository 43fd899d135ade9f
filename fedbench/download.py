"""Files that a publisher offers to everyone: fetched, resumed, checked, and put in place."""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TextIO
from urllib.parse import urlsplit

from fedbench.data import Dataset, DataStore, Download
from fedbench.datasets._reading import FromFolder
from fedbench.errors import ContractError, DataError, SpecError

__all__ = [
    "Fetcher",
    "Observer",
    "by_hand",
    "complete",
    "due",
    "place",
    "strangers",
    "terms",
    "watching",
]

Observer = Callable[[str, int, int | None], None]
"""Told a file's name, how many bytes of it are here, and how many there are, if that is known."""

MOST = 20 << 30
"""Bytes that one file may have."""
HASHED = 1 << 30
"""Bytes that a file may have to be compared with a download: those of full databases have more."""
CHUNK = 1 << 18
PART = ".part"
TRIES = 3  # in a row that bring nothing new


class _Again(Exception):
    """The connection was lost, and the same question can be asked again."""


@dataclass(frozen=True, kw_only=True)
class Fetcher:
    """Gets files over https; over http only from this very machine, and only if that is allowed.

    What has arrived stays in a ``.part`` file beside the place, and the next call goes on there.
    """

    timeout: float = 30.0
    most: int = MOST
    loopback: bool = False

    def fetch(self, wanted: Download, target: Path, observe: Observer) -> None:
        """Download a file, check it, and move it into place.

        Raises:
            DataError: the publisher cannot be reached, answers something else, or offers another
                file than the one that is known. Nothing is put in place then.
        """
        self._check_address(wanted.url)
        part = target.with_name(target.name + PART)
        self._complete(wanted, part, observe)
        if (found := _digest(part)) != wanted.sha256:
            part.unlink()
            raise DataError(
                f"{wanted.url} is not the file that is known: its sha256 is {found}, expected "
                f"{wanted.sha256}. It was thrown away. If it is so again, the publisher has "
                "changed it."
            )
        part.replace(target)

    def _complete(self, wanted: Download, part: Path, observe: Observer) -> None:
        """Ask for what is lacking, as long as every few answers bring something new."""
        idle = 0
        while True:
            before = _size(part)
            try:
                return self._ask(wanted, part, observe)
            except _Again as lost:
                idle = idle + 1 if _size(part) <= before else 0
                if idle == TRIES:
                    here = _size(part)
                    kept = f" {here:,} bytes are here; the next call goes on." if here else ""
                    raise DataError(f"{wanted.url}: {lost}.{kept}") from lost

    def _ask(self, wanted: Download, part: Path, observe: Observer) -> None:
        try:
            answer = self._opened(wanted.url, _size(part))
        except urllib.error.HTTPError as error:
            with error:
                beyond = error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE
            if not (beyond and part.is_file()):
                raise DataError(f"{wanted.url}: the server answers {error}.") from error
            if _digest(part) != wanted.sha256:  # as long as the file, or longer: no part of it
                part.unlink()
                raise _Again(str(error)) from error
            return
        except (OSError, http.client.HTTPException) as error:
            raise _Again(_said(error)) from error
        with answer:
            self._write(answer, part, wanted, observe)

    def _opened(self, url: str, here: int) -> Any:
        headers = {"User-Agent": "fedbench", "Accept-Encoding": "identity"}
        if here:
            headers["Range"] = f"bytes={here}-"
        asked = urllib.request.Request(url, headers=headers)  # noqa: S310  (was checked)
        return _opener(self._check_address).open(asked, timeout=self.timeout)

    def _write(self, answer: Any, part: Path, wanted: Download, observe: Observer) -> None:
        here = _start(answer, part)
        left = answer.headers.get("Content-Length", "")
        total = here + int(left) if left.isdecimal() else None
        self._check_size(wanted, total or 0)
        name = PurePosixPath(wanted.path).name
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab" if here else "wb") as file:
            observe(name, here, total)
            for chunk in _chunks(answer):
                here += len(chunk)
                self._check_size(wanted, here)
                file.write(chunk)
                observe(name, here, total)
        if total is not None and here < total:
            raise _Again(f"the connection was cut after {here:,} of {total:,} bytes")

    def _check_size(self, wanted: Download, size: int) -> None:
        if size > self.most:
            raise DataError(
                f"{wanted.url} has more than {self.most:,} bytes, and no file of that size is "
                "fetched."
            )

    def _check_address(self, url: str) -> None:
        parts = urlsplit(url)
        here = self.loopback and parts.scheme == "http" and _is_here(parts.hostname or "")
        if not here and not (parts.scheme == "https" and parts.hostname):
            raise DataError(f"{url} is not asked for: files are fetched over https only.")


def due(downloads: Sequence[Download], store: DataStore) -> Sequence[Download]:
    """Return what is not here yet.

    Raises:
        SpecError: there is no data folder.
        DataError: something else lies in a file's place.
    """
    found = []
    for wanted in downloads:
        target = place(store, wanted)
        if not target.exists():
            found.append(wanted)
        elif not target.is_file() or _digest(target) != wanted.sha256:
            raise DataError(
                f"{target} is there, and it is not the file that {wanted.url} is known to be. "
                "Move it away."
            )
    return found


def strangers(dataset: Dataset, folder: Path) -> str:
    """Name the files in the places of downloads that are not what their publisher offers.

    Args:
        dataset: what is read there.
        folder: what stands for the dataset's folder, or the one packed file in it.
    """
    found = []
    for wanted in dataset.downloads:
        home, *inner = PurePosixPath(wanted.path).parts
        alone = folder.is_file() and [folder.name] == inner
        here = folder if alone else folder.joinpath(*inner)
        known = home == getattr(type(dataset), "folder", None) and here.is_file()
        if known and _size(here) <= HASHED and _digest(here) != wanted.sha256:
            found.append((str(PurePosixPath(*inner)), wanted.url))
    if not found:
        return ""
    names, urls = zip(*found, strict=True)
    one = len(found) == 1
    return (
        f"{', '.join(names)} in {folder} {'is not the file' if one else 'are not the files'} that "
        f"{urls[0]}{'' if one else f' (and {len(found) - 1} more)'} publishes, by "
        f"{'its' if one else 'their'} sha256. If "
        f"{'it is' if one else 'they are'} meant to be, get {'it' if one else 'them'} again."
    )


def complete(dataset: Dataset, store: DataStore) -> Path | None:
    """Return the folder that has all a dataset needs, in whatever form; none if it does not."""
    if not isinstance(dataset, FromFolder):
        return None
    try:
        folder = store.folder(dataset.folder)
    except DataError:
        return None
    return None if dataset.lacking(folder) else folder


def place(store: DataStore, wanted: Download) -> Path:
    """Return where in the data folder a file goes.

    Raises:
        SpecError: there is no data folder.
        ContractError: the dataset would put it somewhere else.
    """
    if store.root is None:
        raise SpecError("Where to? Set FEDBENCH_DATA or give --data-dir: a folder for such data.")
    path = PurePosixPath(wanted.path)
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise ContractError(f"A download must go into the data folder, not to {wanted.path!r}.")
    return store.root / path


def by_hand(name: str, dataset: Dataset, store: DataStore) -> str:
    """Say how to get the data of a dataset without us."""
    if not (dataset.home or dataset.downloads):
        return f"Its files are yours to bring: see `fedbench data describe {name}`."
    folder, tables = getattr(dataset, "folder", ""), list(getattr(dataset, "tables", {}))
    root = store.root or "the data folder (FEDBENCH_DATA or --data-dir)"
    if dataset.downloads:
        files = ", ".join(f"{wanted.url} as {wanted.path}" for wanted in dataset.downloads)
        into = str(root)
    else:
        files = f"the tables {', '.join(tables)}" if tables else "its files"
        into = f"the folder {str(folder)!r} of {root}" if folder else str(root)
    where = dataset.home or dataset.citation
    return (
        f"By hand, on the terms of its publisher ({where}): put {files} into {into}. "
        f"{dataset.made}{' ' * bool(dataset.made)}Then `fedbench data check {name}`."
    )


def terms(name: str, dataset: Dataset, places: Sequence[Path]) -> str:
    """Say under which licence a dataset is, and what would be fetched."""
    files = "\n".join(f"  {path}" for path in places)
    return (
        f"{name}: {dataset.title}\nLicence: {dataset.licence}\nCite: {dataset.citation}\n"
        f"Terms: {dataset.home or dataset.citation}\nTo be fetched:\n{files}"
    )


@contextmanager
def watching(stream: TextIO) -> Iterator[Observer]:
    """Show how much of each file is here, for as long as the context lasts."""
    from rich import progress  # noqa: PLC0415  (slow to import)
    from rich.console import Console  # noqa: PLC0415

    console = Console(file=stream)
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    tasks: dict[str, progress.TaskID] = {}
    with progress.Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def observe(name: str, here: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=here, total=total)

        yield observe


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Goes only where a first question may go."""

    def __init__(self, check: Callable[[str], None]) -> None:
        self.check = check

    def redirect_request(self, req: Any, fp: Any, code: int, *rest: Any) -> Any:
        self.check(rest[-1])
        return super().redirect_request(req, fp, code, *rest)


def _opener(check: Callable[[str], None]) -> urllib.request.OpenerDirector:
    """Return what opens http and https, but no files, as urllib's own would."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(check),
    ):
        opener.add_handler(handler)
    return opener


def _start(answer: Any, part: Path) -> int:
    """Return at which byte an answer begins; what is here already is kept up to there."""
    here = _size(part)
    if answer.status != http.client.PARTIAL_CONTENT:
        return 0
    told = str(answer.headers.get("Content-Range", ""))
    if not told.startswith(f"bytes {here}-"):
        part.unlink(missing_ok=True)
        raise _Again(f"asked for what follows byte {here:,}, the server sends {told!r}")
    return here


def _chunks(answer: Any) -> Iterator[bytes]:
    while True:
        try:
            chunk = answer.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Again(_said(error)) from error
        if not chunk:
            return
        yield chunk


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _said(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return " ".join(str(reason).split()).rstrip(".") or type(error).__name__
