"""Columns that name training patients are found, whatever they are called; others are not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Column, Schema
from fedbench.naming import Naming, namings
from fedbench.tabular import Given

TRAIN, CONTROL = 80, 120
AGE = Column(kind="integer", low=0, high=120)


def found(
    train: Sequence[object],
    control: Sequence[object],
    released: Sequence[object],
    *,
    patient: str = "",
    compared: bool = True,
) -> list[Naming]:
    """What is said of a single column, ``key``."""
    number = Column(kind="integer", low=0, high=1e9)
    schema = Schema(
        name="s", clock="", static={"age": AGE, **({"key": number} if compared else {})}
    )

    def given(values: Sequence[object]) -> Given:
        return Given(Path("x.csv"), {"static": pd.DataFrame({"key": list(values)})})

    real = {"train": given(train), "control": given(control)}
    return list(namings(given(released), real, patient, schema))


def keys(n: int, low: int = 10_000_000, high: int = 99_999_999) -> list[float]:
    """Numbers as a hospital gives them, no two alike."""
    rng = np.random.default_rng(n)
    return list((low + rng.choice(high - low, n, replace=False)).astype(float))


@pytest.mark.parametrize("compared", [True, False])
def test_numbers_of_patients_are_found_under_any_name(*, compared: bool) -> None:
    every = keys(TRAIN + CONTROL + 60)
    train, control, new = every[:TRAIN], every[TRAIN : TRAIN + CONTROL], every[-60:]
    (leak,) = found(train, control, train[:20] + new, compared=compared)
    assert leak.shown
    assert str(leak).startswith("20 of 80 released records have in 'key' what one training")
    assert not found(train, control, new, compared=compared)
    assert not found(train, control, train[:8] + control[:12] + new, compared=compared)


def test_a_count_of_all_real_patients_names_nobody_who_is_counted_again() -> None:
    train, control = list(range(1, TRAIN + 1)), list(range(TRAIN + 1, TRAIN + CONTROL + 1))
    drawn = np.random.default_rng(0).integers(1, TRAIN + 1, 60)
    assert not found(list(map(float, train)), list(map(float, control)), list(drawn.astype(float)))


@pytest.mark.parametrize("digits", range(3, 9))
def test_whole_numbers_that_were_drawn_anew_name_nobody(digits: int) -> None:
    for draw in range(40):
        rng = np.random.default_rng([digits, draw])
        sides = [
            np.round(10 ** (digits - 1) * rng.lognormal(0.7, 0.4, n))
            if draw % 2
            else rng.integers(10 ** (digits - 1), 10**digits, n).astype(float)
            for n in (TRAIN, CONTROL, 80)
        ]
        assert not any(one.shown for one in found(*map(list, sides)))


@pytest.mark.parametrize(("named", "train", "control"), [(9, 400, 400), (6, 500, 1_000)])
def test_few_identifiers_of_training_patients_alone_are_no_luck(
    named: int, train: int, control: int
) -> None:
    every = keys(2_000, 1_000_000, 9_999_999)
    others, new = every[train : train + control], every[1_500:]
    released = every[:named] + new[: 400 - named]
    (leak,) = found(every[:train], others, released, patient="key", compared=False)
    assert (leak.train, leak.others, leak.shown) == (named, 0, True)
    # Numbers that are no identifiers have to be less likely.
    (hint,) = found(every[:train], others, released)
    assert not hint.shown


def test_identifiers_that_any_count_would_meet_take_as_little_luck_as_ever() -> None:
    train, control = list(range(1, 401)), list(range(401, 801))
    released = [*range(3, 12), *range(900, 990)]
    assert not found(train, control, released, patient="key", compared=False)


def test_few_who_are_named_are_told_of_where_others_are_not() -> None:
    every = keys(TRAIN + CONTROL + 80)
    train, control, new = every[:TRAIN], every[TRAIN : TRAIN + CONTROL], every[-80:]
    for patient in ("key", ""):
        (hint,) = found(train, control, train[:3] + new[3:], patient=patient, compared=not patient)
        assert (hint.train, hint.others, hint.shown) == (3, 0, False)
        assert "So few may be luck" in str(hint)
        assert not found(train, control, control[:3] + new[3:], patient=patient)
    words = [f"name {int(number)}" for number in every]
    real, others = words[:TRAIN], words[TRAIN : TRAIN + CONTROL]
    (hint,) = found(real, others, real[:1] + words[-79:], compared=False)
    assert (hint.train, hint.others, hint.shown) == (1, 0, False)


@pytest.mark.parametrize(
    ("written", "again"),
    [
        ("Jane Doe{}", "DOE{},  JANE"),
        ("P-{}", "p{}"),
        ("ward {} / bed 1", "Ward {}, bed 1"),
        ("M\u00fcller {}", "M\u00dcLLER-{}"),
    ],
)
def test_text_that_is_written_otherwise_names_the_same(written: str, again: str) -> None:
    letters = "abcdefghij"
    every = [
        str(n) if written != "Jane Doe{}" else "".join(letters[int(d)] for d in str(n))
        for n in range(1001, 1001 + TRAIN + CONTROL + 60)
    ]
    train, control = (
        [written.format(key) for key in part]
        for part in (every[:TRAIN], every[TRAIN : TRAIN + CONTROL])
    )
    new = [again.format(key) for key in every[-60:]]
    (leak,) = found(train, control, [again.format(key) for key in every[:20]] + new, compared=False)
    assert (leak.train, leak.others, leak.shown) == (20, 0, True)
    assert not found(train, control, new, compared=False)


def keyed(number: int) -> str:
    """A number in letters."""
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


@pytest.mark.parametrize(
    "again", ["Mr. Jo {}", "Dr {}, Jo", "Jo J. {}", "Prof. Dr. Jo M {}", "jo {}"]
)
def test_a_title_or_an_initial_makes_no_other_name(again: str) -> None:
    every = [keyed(n) for n in range(1001, 1001 + TRAIN + CONTROL + 60)]
    names = [f"Jo {key}" for key in every]
    new = [again.format(key) for key in every[-60:]]
    released = [again.format(key) for key in every[:20]] + new
    (leak,) = found(names[:TRAIN], names[TRAIN : TRAIN + CONTROL], released, compared=False)
    assert (leak.train, leak.others, leak.shown) == (20, 0, True)
    assert not found(names[:TRAIN], names[TRAIN : TRAIN + CONTROL], new, compared=False)


def test_two_letters_alone_are_a_name() -> None:
    train, control = ["A. B.", "C. D."] * 2 + ["E. F."], ["G. H."] * 5
    (hint,) = found(train, control, ["e f", "x y"], compared=False)
    assert hint.train == 1


def test_a_hint_says_what_was_counted_and_why_it_makes_no_verdict() -> None:
    names = [f"Jo {keyed(n)}" for n in range(1001, 1001 + TRAIN + CONTROL + 60)]
    (hint,) = found(
        names[:TRAIN], names[TRAIN : TRAIN + CONTROL], names[:2] + names[-60:], compared=False
    )
    assert not hint.shown
    assert "2 of 62 released records have in 'key' what one training patient alone has" in str(hint)
    assert (
        "So few may be luck, and make no verdict and close no gate: as 40 % of the real patients "
        "were trained on, chance alone names no fewer of them, among so many named, 16 % of the "
        "time; a verdict takes less than 0.1 %."
    ) in str(hint)


def test_dates_are_not_taken_apart() -> None:
    train = [f"2020-01-{day:02d}" for day in range(1, 29)]
    control = [f"2021-02-{day:02d}" for day in range(1, 29)]
    assert not found(train, control, [f"2020-{day:02d}-01" for day in range(2, 13)], compared=False)
