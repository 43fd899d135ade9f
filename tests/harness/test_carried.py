"""Identifiers in a release are found wherever they stand; what looks like one by luck is not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedbench.carried import carried
from fedbench.data import Column, Schema
from fedbench.naming import Naming
from fedbench.tabular import Given

N = 400
AGE = Column(kind="integer", low=0, high=120)
COST = Column(kind="integer", low=0, high=1e12)
SCHEMA = Schema(name="s", clock="", static={"age": AGE, "cost": COST})


def found(
    train: Sequence[object],
    control: Sequence[object],
    path: Path = Path("x.csv"),
    **released: pd.DataFrame,
) -> list[Naming]:
    """What is said of a release, where real patients are called so in ``pid``."""
    real = {
        part: Given(path, {"static": pd.DataFrame({"pid": list(ids)})})
        for part, ids in (("train", train), ("control", control))
    }
    return list(carried(Given(path, released), real, "pid", SCHEMA))


def drawn(digits: int, seed: int = 0, n: int = 4 * N) -> list[int]:
    """Numbers of so many digits, no two alike."""
    low, high = 10 ** (digits - 1), 10**digits
    return list(map(int, low + np.random.default_rng(seed).choice(high - low, n, replace=False)))


def table(**columns: Iterable[object]) -> pd.DataFrame:
    """A released table, its values text or numbers as if read from a file."""
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def keys() -> tuple[list[str], list[str], list[str]]:
    """Identifiers of training patients, of others, and of nobody."""
    every = [f"K{number}" for number in drawn(7)]
    return every[:N], every[N : 2 * N], every[2 * N : 3 * N]


def test_identifiers_in_a_column_of_the_release_alone_are_found() -> None:
    train, control, nobody = keys()
    age = np.random.default_rng(1).integers(18, 90, N).astype(float)
    (leak,) = found(train, control, static=table(age=age, source=train))
    assert (leak.train, leak.others, leak.shown) == (N, 0, True)
    assert str(leak).startswith(
        "400 of 400 released records carry in 'source' the identifier ('pid') of a training "
        "patient, and 0 that of another real patient"
    )
    assert not found(train, control, static=table(age=age, source=nobody))
    both = train[:9] + control[:9] + nobody[18:]
    assert not found(train, control, static=table(age=age, source=both))


def test_identifiers_under_a_description_of_visits_are_found(tmp_path: Path) -> None:
    train, control, _ = keys()
    who = [f"s{row // 2}" for row in range(2 * N)]
    values = [*np.repeat(train[:20], 2), *(f"n{row}" for row in range(2 * N - 40))]
    static = table(patient=[f"s{row}" for row in range(N)])
    visits = table(patient=who, day=range(2 * N), note=values)
    (leak,) = found(train, control, tmp_path, static=static, visits=visits)
    assert (leak.column, leak.train, leak.others, leak.shown) == ("note", 20, 0, True)


@pytest.mark.parametrize("again", ["SYN-{}", "{}_v2", "({})", "seen on 2020-01-05, {}, ward"])
def test_an_identifier_with_something_beside_it_is_found(again: str) -> None:
    train, control, nobody = keys()
    written = [again.format(key) for key in train[:20] + nobody[20:]]
    (leak,) = found(train, control, static=table(pid=written))
    assert (leak.train, leak.others, leak.shown) == (20, 0, True)
    if again != "({})":
        assert "carry in 'pid', with something beside it, the identifier ('pid')" in str(leak)
    for quiet in (nobody, train[:9] + control[:9] + nobody):
        assert not found(train, control, static=table(pid=[again.format(key) for key in quiet]))


def test_a_number_with_a_check_digit_is_found() -> None:
    every = drawn(7)
    checked = [float(10 * number + number % 9) for number in every]
    (leak,) = found(every[:N], every[N : 2 * N], static=table(pid=checked[:N]))
    assert (leak.train, leak.shown) == (N, True)
    assert leak.others < 5
    assert not found(every[:N], every[N : 2 * N], static=table(pid=checked[2 * N : 3 * N]))


@pytest.mark.parametrize("column", ["cost", "pid", "source"])
def test_numbers_inside_longer_numbers_accuse_nobody_by_luck(column: str) -> None:
    for draw in range(40):
        every = drawn(5, draw)
        released = table(**{column: map(float, drawn(10, 99 + draw, N))})
        assert not any(one.shown for one in found(every[:N], every[N : 2 * N], static=released))


def test_numbers_that_were_counted_are_met_by_luck_and_accuse_nobody() -> None:
    rng = np.random.default_rng(0)
    age, cost = rng.integers(18, 90, N), rng.integers(10_000, 10_300, N)
    for start in (1, 10_000):
        ids = list(range(start, start + 2 * N))
        for name in ("age", "ward"):
            released = table(**{name: map(float, age)}, cost=map(float, cost), price=cost)
            assert not found(ids[:N], ids[N:], static=released)


def test_counted_numbers_of_a_hospital_are_found_where_every_record_has_its_own() -> None:
    ids = list(range(100_000, 100_000 + 2 * N))
    mixed = list(map(float, np.random.default_rng(0).permutation(ids[:N])))
    (leak,) = found(ids[:N], ids[N:], static=table(source=mixed))
    assert (leak.train, leak.others, leak.shown) == (N, 0, True)


def test_of_many_columns_hardly_any_accuses_by_luck() -> None:
    shown = 0
    for draw in range(20):
        rng = np.random.default_rng(draw)
        ids = [f"{row:05d}" for row in rng.permutation(2 * N)]  # each is met again and again
        columns = {
            f"v{i}": [f"x{row:05d}" for row in rng.integers(0, 2 * N, 60)] for i in range(20)
        }
        shown += sum(one.shown for one in found(ids[:N], ids[N:], static=table(**columns)))
    assert shown <= 1
