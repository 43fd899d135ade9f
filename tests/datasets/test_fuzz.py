"""Whatever is in a file: the right records, or one clear message, and never a traceback."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.data import DataStore
from fedbench.datasets._reading import ask, table
from fedbench.datasets.heart4 import FIELDS, HOSPITALS, Heart4
from fedbench.errors import DataError, FedbenchError
from fedbench.tabular import read

Rows = Sequence[Sequence[str]]
Reader = Callable[[Path, bytes], Rows]

HEAD = ("id", "value", "note")
ROWS = (("a", "1.5", "=1+1"), ("b", "-2", '+cmd|"/c calc"!A0'), ("c", "30", "@SUM(1;2)"))
PLAIN = b'id,value,note\na,1.5,=1+1\nb,-2,"+cmd|""/c calc""!A0"\nc,30,@SUM(1;2)\n'


def by_stream(folder: Path, content: bytes, name: str = "t.csv") -> Rows:
    """Read as datasets do that are read from folders."""
    (folder / name).write_bytes(content)
    found = table(folder, "t", {"id": "text", "value": "number", "note": "text"})
    return _rows(ask("select * from t", t=found))


def by_frame(folder: Path, content: bytes) -> Rows:
    """Read as the audit and ``table`` do."""
    (folder / "t.csv").write_bytes(content)
    found = read(folder / "t.csv", "path").static
    if lacking := {*HEAD} - {*found}:  # whoever asks for columns says so
        raise DataError(f"There is no column {min(lacking)!r}.")
    return _rows(found[list(HEAD)].assign(value=pd.to_numeric(found["value"])))


def _rows(frame: pd.DataFrame) -> Rows:
    told = frame.assign(value=frame["value"].map("{:g}".format))
    return [tuple(map(str, row)) for row in told.itertuples(index=False)]


T = TypeVar("T")


def outcome(read_it: Callable[[], T], *others: type[Exception]) -> tuple[T | None, str]:
    """What was read, or what was said; no other exception is caught."""
    told: tuple[type[Exception], ...] = (FedbenchError, *others)
    try:
        return read_it(), ""
    except told as error:
        return None, str(error) or "nothing was said"


READERS = pytest.mark.parametrize("reader", [by_stream, by_frame])


@READERS
def test_what_is_as_it_should_be_is_read(reader: Reader, tmp_path: Path) -> None:
    assert reader(tmp_path, PLAIN) == list(ROWS)


@READERS
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbf" + PLAIN, id="byte order mark"),
        pytest.param(PLAIN.replace(b"\n", b"\r\n"), id="line ends of Windows"),
        pytest.param(PLAIN.replace(b"\n", b"\r\n", 2), id="mixed line ends"),
        pytest.param(PLAIN.rstrip(b"\n"), id="no line end at the end"),
        pytest.param(PLAIN.replace(b"\na,", b"\n\na,"), id="an empty line"),
        pytest.param(PLAIN + b"\n\n", id="empty lines at the end"),
    ],
)
def test_the_same_table_written_otherwise_is_the_same(
    reader: Reader, tmp_path: Path, content: bytes
) -> None:
    assert reader(tmp_path, content) == list(ROWS)


@READERS
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"\n\n", "is empty", id="nothing but lines"),
        pytest.param(
            PLAIN.replace(b",", b";"),
            "separated by ';'.* Write it with commas|semicolons",
            id="semicolons",
        ),
        pytest.param(PLAIN.replace(b"note", b"id"), "'id'|'note'", id="a header twice"),
        pytest.param(PLAIN.replace(b"value", b"valeur"), "no column 'value'", id="renamed"),
        pytest.param(PLAIN.decode().encode("utf-16"), "UTF-8", id="UTF-16"),
        pytest.param(PLAIN.replace(b"=1+1", "über".encode("latin-1")), "UTF-?8", id="Latin-1"),
        pytest.param(PLAIN.replace(b"@S", b'"@S'), "t.csv", id="a quote never closed"),
        pytest.param(PLAIN.replace(b"value,", b'value"'), "t.csv|column", id="a quote in a header"),
        pytest.param(PLAIN.replace(b"\nb,", b"\nb,,,,,"), "t.csv", id="too many fields"),
        pytest.param(PLAIN.replace(b"b,-2,", b"b,"), "t.csv", id="too few fields"),
        pytest.param(PLAIN[:-13], "t.csv", id="cut off in a line"),
        pytest.param(gzip.compress(PLAIN, mtime=0), "UTF-8", id="packed, and not called so"),
        pytest.param(b"PAR1" + bytes(range(256)), "UTF-8", id="parquet, and not called so"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(64), "UTF-8", id="a picture"),
        pytest.param(b"\0" * 64, "UTF-8", id="zeros"),
    ],
)
def test_what_is_wrong_is_told_with_the_file(
    reader: Reader, tmp_path: Path, content: bytes, problem: str
) -> None:
    with pytest.raises(DataError, match=problem) as told:
        reader(tmp_path, content)
    if "no column" not in problem:
        assert "t.csv" in str(told.value) or "column" in str(told.value)
    assert len(str(told.value)) < 1_000


def test_tabs_are_read_where_the_header_has_them(tmp_path: Path) -> None:
    plain = "\n".join("\t".join(row) for row in (HEAD, *ROWS)).encode()
    assert by_stream(tmp_path, plain) == list(ROWS)
    # As Athena writes: a mark of quotation is a letter like others, and need not be closed.
    named = plain.replace(b"=1+1", b'"Bird-headed" dwarf').replace(b"@S", b'"S')
    assert [row[2] for row in by_stream(tmp_path, named)][::2] == [
        '"Bird-headed" dwarf',
        '"SUM(1;2)',
    ]
    quoted = b'"' + plain.strip().replace(b"\t", b'"\t"').replace(b"\n", b'"\n"') + b'"\n'
    inside = quoted.replace(b'+cmd|"/c calc"!A0', b'+cmd|""/c calc""!A0')
    assert by_stream(tmp_path, inside) == list(ROWS)
    with pytest.raises(DataError, match=r"t\.csv"):
        by_stream(tmp_path, inside.rstrip(b'"\n'))


def test_tabs_are_refused_where_a_schema_is_drafted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tabs"):
        by_frame(tmp_path, PLAIN.replace(b",", b"\t"))


@READERS
def test_a_text_where_a_number_should_be_is_no_other_number(reader: Reader, tmp_path: Path) -> None:
    with pytest.raises((FedbenchError, ValueError)):  # by_frame leaves types to the schema
        reader(tmp_path, PLAIN.replace(b"-2", b"n/a"))


@READERS
def test_a_field_of_ten_megabytes_is_read_or_refused(reader: Reader, tmp_path: Path) -> None:
    long = b"x" * 10_000_000
    found = reader(tmp_path, PLAIN.replace(b"@SUM(1;2)", long))
    assert found[-1][-1] == long.decode()


@READERS
def test_zeros_in_a_field_are_kept_or_refused(reader: Reader, tmp_path: Path) -> None:
    found, said = outcome(lambda: reader(tmp_path, PLAIN.replace(b"=1+1", b"=1\0+1")))
    assert "t.csv" in said if found is None else found[0][2] == "=1\0+1"


@READERS
def test_a_quotation_mark_inside_a_field_opens_nothing(reader: Reader, tmp_path: Path) -> None:
    found = reader(tmp_path, PLAIN.replace(b"=1+1", b'a 5" needle'))
    assert [row[2] for row in found] == ['a 5" needle', *(row[2] for row in ROWS[1:])]


@pytest.mark.parametrize("cut", [0, 1, 10, 30, -9, -1])
def test_a_packed_file_that_was_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    packed = gzip.compress(PLAIN * 50, mtime=0)
    with pytest.raises(DataError, match=r"t\.csv\.gz"):
        by_stream(tmp_path, packed[:cut], "t.csv.gz")


def test_a_packed_file_whose_bytes_changed_is_refused(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(PLAIN, mtime=0))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(DataError, match=r"t\.csv\.gz"):
        by_stream(tmp_path, bytes(packed), "t.csv.gz")


@READERS
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_is_read_or_told(reader: Reader, data: st.DataObject) -> None:
    content = _damaged(PLAIN, data)
    # Numbers are looked at by the schema, which by_frame does without.
    others = [ValueError] if reader is by_frame else []
    with TemporaryDirectory() as folder:
        found, said = outcome(lambda: reader(Path(folder), content), *others)
    assert found is not None or said != "nothing was said"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_to_a_packed_file_is_told_or_does_no_harm(data: st.DataObject) -> None:
    content = _damaged(gzip.compress(PLAIN, mtime=0), data)
    with TemporaryDirectory() as folder:
        found, said = outcome(lambda: by_stream(Path(folder), content, "t.csv.gz"))
    if found is None:
        assert "t.csv.gz" in said
    else:  # its checksum vouches for it; what follows the end is another matter
        assert found[: len(ROWS)] == list(ROWS)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_read_or_told(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        for suffix in (".csv", ".parquet"):
            path = Path(folder) / f"t{suffix}"
            path.write_bytes(content)
            found, said = outcome(lambda: read(path, "path"))  # noqa: B023  (called at once)
            assert found is not None or path.name in said


def _damaged(content: bytes, data: st.DataObject) -> bytes:
    """Change, drop, repeat or insert a few bytes."""
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 8))
        kinds = st.sampled_from([b"", b'"', b"\n", b"\r", b",", b"\0", b"\xff", b"e9", b"-", b"'"])
        new = data.draw(st.one_of(kinds, st.binary(max_size=6)))
        content = content[:place] + new + content[place + length :]
    return content


# heart4


LINE = "63.0,1.0,1.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,0.0,6.0,0\n"
GAPS = "41,0,4,0,0,?,?,?,?,?,?,?,?,3\n"
HEART = (LINE + GAPS).encode()


def hearts(folder: Path, content: bytes) -> pd.DataFrame:
    """The patients of the last hospital, whose file has this content."""
    (folder / "uci_heart_disease").mkdir(exist_ok=True)
    for hospital in HOSPITALS:
        (folder / "uci_heart_disease" / f"processed.{hospital}.data").write_bytes(HEART)
    (folder / "uci_heart_disease" / "processed.va.data").write_bytes(content)
    cohort = Heart4().load(DataStore(folder))
    return cohort.table[cohort.table.index.str.startswith("va-")]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + HEART,
        HEART.replace(b"\n", b"\r\n"),
        HEART.replace(b"\n", b"\r\n", 1),
        HEART.replace(b"\n", b"\r"),
        HEART.rstrip(b"\n"),
        HEART.replace(b",", b" , "),
        HEART + b"\n\n",
    ],
)
def test_hearts_written_otherwise_are_the_same(tmp_path: Path, content: bytes) -> None:
    pd.testing.assert_frame_equal(hearts(tmp_path, content), hearts(tmp_path, HEART))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (HEART.replace(b",", b";"), "line 1: there are 1 fields separated by commas; expected 14"),
        (HEART + b"1,2\n", "line 3: there are 2 fields"),
        (HEART.replace(b"\n", b",9\n", 1), "line 1: there are 15 fields"),
        (",".join(FIELDS).encode() + b"\n" + HEART, "line 1: 'age' is 'age'; expected a number"),
        (HEART.replace(b"145.0", b"=1+1"), "line 1: 'resting_bp' is '=1\\+1'; expected a number"),
        (HEART.replace(b"145.0", b"nan"), "'resting_bp' is 'nan'; expected a number or '\\?'"),
        (HEART.replace(b"145.0", b"1e999"), "'resting_bp' is '1e999'"),
        (HEART.replace(b"145.0", b"9" * 400), "'resting_bp' is "),
        (HEART.replace(b"145.0", b"x" * 10_000_000), "'resting_bp' is 'x{40}';"),
        (HEART.replace(b"63.0,1.0", b"63.0,7"), "line 1: 'sex' is '7', which stands for nothing"),
        (HEART.replace(b"63.0,1.0", b"63.0,0.5"), "line 1: 'sex' is '0.5', which stands for"),
        (HEART.replace(b",6.0,0", b",6.0,5"), "'diagnosis' is '5', which stands for nothing"),
        (HEART.replace(b",6.0,0", b",6.0,?"), "'diagnosis' is '\\?', which stands for nothing"),
        (HEART.replace(b"145.0", b"14\x005.0"), "'resting_bp' is '14.x005.0'"),
        (HEART.decode().encode("utf-16"), "cannot be read as text"),
        (gzip.compress(HEART, mtime=0), "cannot be read as text"),
        (HEART.replace(b"145.0", b'"145.0'), "'resting_bp' is '\"145.0'"),
    ],
)
def test_hearts_that_do_not_fit_are_told(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as told:
        hearts(tmp_path, content)
    assert len(str(told.value)) < 500


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_hearts_are_read_or_told(data: st.DataObject) -> None:
    content = _damaged(HEART, data)
    with TemporaryDirectory() as folder:
        found, said = outcome(lambda: hearts(Path(folder), content))
    if found is None:
        assert "va" in said or "static" in said
    else:
        assert set(found["event"]) <= {"no", "yes"}
