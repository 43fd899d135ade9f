"""Do columns that no attack looks at name the patients whom a release was made from?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
from scipy.stats import binomtest

from fedbench.data import Schema
from fedbench.tabular import Given, as_levels, as_numbers, names_patient

__all__ = ["Naming", "namings"]

LUCK = 0.001
"""Below this chance it is no luck that training patients are named, and others are not."""


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How many released records have in one column what one real patient alone has.

    ``train`` counts records with what a training patient has, ``others`` those with what any other
    real patient has. ``shown`` says whether that is more than luck.
    """

    column: str
    is_identifier: bool
    records: int
    train: int
    others: int
    shown: bool

    def __str__(self) -> str:
        what = (
            f"carry the identifier ({self.column!r}) of a training patient, and {self.others:,} "
            "that of another real patient"
            if self.is_identifier
            else f"have in {self.column!r} what one training patient alone has, and "
            f"{self.others:,} what one other real patient alone has"
        )
        return (
            f"{self.train:,} of {self.records:,} released records {what}: whoever knows it knows "
            "whose they were made from. No attack looks at it; leave the column out of what is "
            "released."
        )


def namings(
    released: Given, real: Mapping[str, Given], patient: str, schema: Schema
) -> Iterator[Naming]:
    """Yield every column that names real patients, and is not compared.

    These are the identifier, and text that the schema leaves out. A release that numbers its rows
    names nobody.

    Args:
        released: the synthetic tables.
        real: those of real patients, by part; one is ``train``.
        patient: the column that says who a patient is, empty where none does.
        schema: what is compared.
    """
    compared = {*schema.static, schema.site, schema.cluster}
    for name, values in released.columns():
        if name in compared or any(name not in given.static for given in real.values()):
            continue
        identifies, text = name == patient or names_patient(name), not _is_number(values)
        if (identifies or text) and not _numbers_rows(values):
            sides = {part: given.static[name] for part, given in real.items()}
            found = _naming(name, values, sides, identifies=identifies)
            if found.shown or (identifies and text and found.train + found.others):
                yield found


def _naming(
    name: str, released: pd.Series, real: Mapping[str, pd.Series], *, identifies: bool
) -> Naming:
    said = {part: as_levels(values).dropna() for part, values in real.items()}
    train = said.pop("train")
    others = pd.concat(list(said.values()))
    alone = pd.concat([train, others]).drop_duplicates(keep=False)
    here = as_levels(released)
    mine, theirs = (here[here.isin(alone[alone.isin(side)])] for side in (train, others))
    share = len(real["train"]) / sum(len(values) for values in real.values())
    return Naming(
        column=name,
        is_identifier=identifies,
        records=len(here),
        train=len(mine),
        others=len(theirs),
        shown=_luck(mine.nunique(), theirs.nunique(), share) < LUCK,
    )


def _luck(train: int, others: int, share: float) -> float:
    """Return how often so many of those who are named would be of training patients by chance."""
    if not train:
        return 1.0
    return float(binomtest(train, train + others, share, alternative="greater").pvalue)


def _is_number(values: pd.Series) -> bool:
    return bool(as_numbers(values.dropna()).notna().all())


def _numbers_rows(values: pd.Series) -> bool:
    """Whether these count rows from 0 or 1, as p001, p002 and so on do too."""
    texts = as_levels(values).dropna().astype(str)
    parts = texts.str.extract(r"^(\D*)(\d+)(?:\.0)?$")
    found = as_numbers(parts[1])
    whole = len(texts) == len(values) and found.notna().all() and found.is_unique
    counted = bool(whole) and found.min() in (0, 1) and found.max() - found.min() == len(found) - 1
    return counted and bool((parts[0] == parts[0].iloc[0]).all())
