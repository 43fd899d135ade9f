"""Files from a publisher: resumed, checked, and in place only when they are right."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import pytest

from fedbench import download
from fedbench.data import Cohort, Dataset, DataStore, Download, Schema
from fedbench.download import Fetcher, by_hand, due, place, watching
from fedbench.errors import ContractError, DataError, SpecError

BODY = bytes(range(256)) * 2_000
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Publisher:
    """Serves one file from this machine, well or badly."""

    body: bytes = BODY
    ranges: bool = True
    cut: int = 0  # bytes of an answer after which the connection is lost
    cuts: int = 0  # how many answers are cut
    status: int = 200
    to: str = ""
    silent: bool = False
    odd: str = ""  # the range that is told, whatever was asked
    asked: list[str] = field(default_factory=list)

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        wanted = to.headers.get("Range", "")
        self.asked.append(wanted)
        if self.silent:
            return
        if self.status != 200:
            to.send_response(self.status)
            if self.to:
                to.send_header("Location", self.to)
            to.send_header("Content-Length", "0")
            to.end_headers()
            return
        start = int(wanted[6:-1]) if wanted and self.ranges else 0
        if start and start >= len(self.body):
            to.send_response(416)
            to.send_header("Content-Length", "0")
            to.end_headers()
            return
        self._send(to, start)

    def _send(self, to: BaseHTTPRequestHandler, start: int) -> None:
        rest = self.body[start:]
        to.send_response(206 if start or self.odd else 200)
        if start or self.odd:
            told = self.odd or f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
            to.send_header("Content-Range", told)
        to.send_header("Content-Length", str(len(rest)))
        to.end_headers()
        if self.cuts:
            self.cuts -= 1
            rest = rest[: self.cut]
        to.wfile.write(rest)


@dataclass(frozen=True)
class Place:
    publisher: Publisher
    url: str
    target: Path

    def wanted(self, sha256: str = SHA256) -> Download:
        return Download(url=self.url, path="set/table.csv", sha256=sha256)

    def fetch(self, sha256: str = SHA256, **settings: Any) -> None:
        fetcher = Fetcher(**{"timeout": 5.0, "loopback": True, **settings})
        fetcher.fetch(self.wanted(sha256), self.target, lambda *_: None)

    @property
    def part(self) -> Path:
        return self.target.with_name("table.csv.part")

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in self.target.parent.glob("*"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("NO_PROXY", "*")
    publisher = Publisher()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            publisher.answer(self)
            if publisher.silent:
                silence.wait(5)
            self.close_connection = True

        def log_message(self, *_: Any) -> None: ...

    silence = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/table.csv"
        yield Place(publisher, url, tmp_path / "set" / "table.csv")
        silence.set()
        server.shutdown()
        thread.join()


def test_a_file_is_fetched_and_nothing_else_is_left(here: Place) -> None:
    here.fetch()
    assert here.target.read_bytes() == BODY
    assert here.left == ["table.csv"]
    assert here.publisher.asked == [""]


def test_after_a_cut_only_the_rest_is_asked_for(here: Place) -> None:
    here.publisher.cut, here.publisher.cuts = 1_000, 2
    here.fetch()
    assert here.target.read_bytes() == BODY
    assert here.publisher.asked == ["", "bytes=1000-", "bytes=2000-"]


def test_what_an_earlier_call_left_is_gone_on_with(here: Place) -> None:
    here.part.parent.mkdir()
    here.part.write_bytes(BODY[:12_345])
    here.fetch()
    assert here.target.read_bytes() == BODY
    assert here.publisher.asked == ["bytes=12345-"]


def test_what_had_arrived_stays_when_nothing_more_comes(here: Place) -> None:
    here.part.parent.mkdir()
    here.part.write_bytes(BODY[:500])
    here.publisher.cut, here.publisher.cuts = 0, 99
    with pytest.raises(DataError, match=r"cut after 500 of 512,000 bytes. 500 bytes are here; the"):
        here.fetch()
    assert here.left == ["table.csv.part"]
    assert here.part.read_bytes() == BODY[:500]


def test_a_server_that_ignores_ranges_sends_all_of_it(here: Place) -> None:
    here.part.parent.mkdir()
    here.part.write_bytes(b"x" * 777)
    here.publisher.ranges = False
    here.fetch()
    assert here.target.read_bytes() == BODY


def test_a_part_that_is_complete_only_needs_moving(here: Place) -> None:
    here.part.parent.mkdir()
    here.part.write_bytes(BODY)
    here.fetch()
    assert here.target.read_bytes() == BODY
    assert here.left == ["table.csv"]


def test_a_part_that_is_no_part_is_begun_again(here: Place) -> None:
    here.part.parent.mkdir()
    here.part.write_bytes(b"x" * (len(BODY) + 1))
    here.fetch()
    assert here.target.read_bytes() == BODY
    assert here.publisher.asked == [f"bytes={len(BODY) + 1}-", ""]


def test_another_range_than_was_asked_for_is_not_taken(here: Place) -> None:
    here.part.parent.mkdir()
    here.part.write_bytes(BODY[:10])
    here.publisher.odd = "bytes 3-9/10"
    with pytest.raises(DataError, match="the server sends 'bytes 3-9/10'"):
        here.fetch()
    assert here.left == []


@pytest.mark.parametrize("begun", [b"", b"y" * 9])
def test_another_file_is_refused_and_thrown_away(here: Place, begun: bytes) -> None:
    here.part.parent.mkdir()
    here.part.write_bytes(begun)
    sha256 = "0" * 64 if not begun else SHA256
    with pytest.raises(DataError, match=f"its sha256 is [0-9a-f]{{64}}, expected {sha256}"):
        here.fetch(sha256)
    assert here.left == []


def test_a_file_that_is_not_there_is_told(here: Place) -> None:
    here.publisher.status = 404
    with pytest.raises(DataError, match="the server answers HTTP Error 404: Not Found"):
        here.fetch()
    assert here.left == []
    assert len(here.publisher.asked) == 1


def test_a_server_that_says_nothing_is_left_after_a_while(here: Place) -> None:
    here.publisher.silent = True
    with pytest.raises(DataError, match="timed out"):
        here.fetch(timeout=0.1)
    assert len(here.publisher.asked) == download.TRIES


def test_where_nobody_answers_that_is_told(here: Place) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x"
        wanted = Download(url=url, path="x", sha256=SHA256)
        with pytest.raises(DataError, match="refused"):
            Fetcher(loopback=True).fetch(wanted, here.target, lambda *_: None)
    assert not here.target.parent.exists()


@pytest.mark.parametrize("most", [len(BODY) - 1, 10])
def test_a_file_that_is_too_large_is_not_fetched(here: Place, most: int) -> None:
    with pytest.raises(DataError, match=f"has more than {most:,} bytes"):
        here.fetch(most=most)
    assert not here.target.exists()


@pytest.mark.parametrize("url", ["http://example.org/x", "file:///etc/passwd", "ftp://a/b", "x"])
def test_only_https_is_asked(tmp_path: Path, url: str) -> None:
    wanted = Download(url=url, path="x", sha256=SHA256)
    for fetcher in (Fetcher(), Fetcher(loopback=True)):
        with pytest.raises(DataError, match="over https only"):
            fetcher.fetch(wanted, tmp_path / "x", lambda *_: None)
    assert not list(tmp_path.iterdir())


def test_this_machine_is_asked_only_if_that_is_allowed(here: Place) -> None:
    with pytest.raises(DataError, match="over https only"):
        here.fetch(loopback=False)


@pytest.mark.parametrize("to", ["http://example.org/x", "file:///etc/passwd", "ftp://a/b"])
def test_nothing_leads_away_from_https(here: Place, to: str) -> None:
    here.publisher.status, here.publisher.to = 302, to
    with pytest.raises(DataError, match=f"{re.escape(to)}.* is not (asked for|allowed)"):
        here.fetch()
    assert here.left == []


def test_going_in_circles_ends(here: Place) -> None:
    here.publisher.status, here.publisher.to = 302, here.url
    with pytest.raises(DataError, match="302"):
        here.fetch()


def test_progress_is_told_up_to_the_last_byte(here: Place) -> None:
    told: list[tuple[str, int, int | None]] = []
    fetcher = Fetcher(loopback=True)
    fetcher.fetch(here.wanted(), here.target, lambda *one: told.append(one))
    assert told[0] == ("table.csv", 0, len(BODY))
    assert told[-1] == ("table.csv", len(BODY), len(BODY))
    sizes = [size for _, size, _ in told]
    assert sizes == sorted(sizes)


def test_progress_in_a_log_is_silent() -> None:
    log = StringIO()
    with watching(log) as observe:
        observe("a", 1, None)
        observe("a", 2, 3)
    assert log.getvalue().strip() == ""


# Where files go


def test_what_is_here_and_right_is_not_fetched_again(here: Place, tmp_path: Path) -> None:
    store = DataStore(tmp_path)
    assert due([here.wanted()], store) == [here.wanted()]
    here.fetch()
    assert due([here.wanted()], store) == []


def test_what_is_here_and_something_else_is_not_touched(here: Place, tmp_path: Path) -> None:
    here.target.parent.mkdir()
    here.target.write_text("mine")
    with pytest.raises(DataError, match=r"table.csv is there, and it is not the file.*Move it"):
        due([here.wanted()], DataStore(tmp_path))
    assert here.target.read_text() == "mine"


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", ""])
def test_a_download_stays_in_the_data_folder(tmp_path: Path, path: str) -> None:
    with pytest.raises(ContractError, match="must go into the data folder"):
        place(DataStore(tmp_path), Download(url="https://a/b", path=path, sha256=SHA256))


def test_without_a_data_folder_it_is_asked_for(here: Place) -> None:
    with pytest.raises(SpecError, match="Set FEDBENCH_DATA or give --data-dir"):
        due([here.wanted()], DataStore())


class Asked(Dataset):
    title: ClassVar[str] = "Records one has to ask for"
    licence: ClassVar[str] = "ask"
    citation: ClassVar[str] = "A paper"
    home: ClassVar[str] = "https://example.org/records"
    tables: ClassVar[Any] = {"PATIENTS": {}, "STAYS": {}}
    folder: str = "asked"

    @property
    def schema(self) -> Schema:
        raise NotImplementedError

    def load(self, store: DataStore) -> Cohort:
        raise NotImplementedError


def test_the_way_by_hand_names_the_page_the_files_and_the_place(tmp_path: Path) -> None:
    said = by_hand("asked", Asked(), DataStore(tmp_path))
    for words in (Asked.home, "PATIENTS, STAYS", f"the folder 'asked' of {tmp_path}", "data check"):
        assert words in said
