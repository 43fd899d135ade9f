"""Levels of single training patients in a release are told of, and shared ones are not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fedbench.data import Column, Schema
from fedbench.rare import rare
from fedbench.tabular import Given

CODES = [f"Q{i:02d}" for i in range(40)]
ICD = Column(kind="category", levels=("I10", *CODES))


def said(*released: str) -> list[str]:
    """What is said where either side has twenty codes that one patient of it has."""

    def given(codes: Sequence[str]) -> Given:
        return Given(Path("x.csv"), {"static": pd.DataFrame({"icd": [*["I10"] * 50, *codes]})})

    real = {"train": given(CODES[:20]), "control": given(CODES[20:])}
    return list(rare(given(released), real, Schema(name="s", clock="", static={"icd": ICD})))


def test_levels_that_single_training_patients_have_are_told_of() -> None:
    (note,) = said(*CODES[:20])
    assert note.startswith(
        "Of 20 values that a single training patient has (in compared categories), 20 are released "
        "('icd'), and of 20 that a single other real patient has, 0: who knows"
    )


def test_levels_of_a_public_list_are_not_told_of() -> None:
    assert not said()
    assert not said(*CODES)
    assert not said(*CODES[::3])
    assert not said(*CODES[20:])
