"""Do columns that no attack looks at name the patients whom a release was made from?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from scipy.stats import binomtest

from fedbench.data import Schema
from fedbench.tabular import Given, as_levels, as_numbers, names_patient

__all__ = [
    "HINT",
    "MOST_SHARED",
    "NAMED",
    "Naming",
    "are_of_one_each",
    "luck_of",
    "met_as_by_luck",
    "namings",
    "number_rows",
]

LUCK = 0.001
"""Below this chance it is no luck that training patients are named, and others are not."""

NAMED = 0.01
"""And this where they are named by what is there to say who they are, and does not count them."""

HINT = 0.05
"""Below this chance what may still be luck is worth a word."""

MOST_SHARED = 0.01
"""Of the numbers of a column that gives every patient one, this share may be somebody else's too:
measurements in whole numbers repeat themselves more often."""

TITLES = (
    "mr", "mrs", "ms", "miss", "mx", "dr", "prof", "sir", "herr", "frau", "mme", "mlle", "sr",
    "sra", "srta", "jr", "md", "phd", "ii", "iii",
)  # fmt: skip
"""Words before or after a name that are none."""

Kind = Literal["identifier", "text", "number"]


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How many released records have in one column what one real patient alone has.

    ``train`` counts records with what a training patient has, ``others`` those with what any other
    real patient has. ``luck`` is the chance of no fewer of the former among so many, as ``share``
    of the real patients were trained on. ``shown`` says whether that is more than luck, which takes
    less than ``level``, ``hinted`` whether it may be luck and is still worth a word. ``known`` is
    the column in which real patients have it, where any column was looked at; ``in_part`` says
    whether there is something beside it.
    """

    column: str
    kind: Kind
    records: int
    train: int
    others: int
    share: float
    luck: float
    level: float
    shown: bool
    hinted: bool
    known: str = ""
    in_part: bool = False

    def __str__(self) -> str:
        beside = "with something beside it, " if self.in_part else ""
        where = f"in {self.column!r}{', ' if beside else ' '}{beside}" if self.known else ""
        what = (
            f"carry {where}the identifier ({self.known or self.column!r}) of a training patient, "
            f"and {self.others:,} that of another real patient"
            if self.kind == "identifier"
            else f"have in {self.column!r} what one training patient alone has, and "
            f"{self.others:,} what one other real patient alone has"
        )
        advice = (
            "Nearly everybody has a number of their own there: if it says who a patient is, name "
            "it (--id) and leave the column out of what is released."
            if self.kind == "number"
            else "Leave the column out of what is released."
            if self.known
            else "No attack looks at it; leave the column out of what is released."
        )
        luck = (
            " So few may be luck, and make no verdict and close no gate: as "
            f"{100 * self.share:.0f} % of the real patients were trained on, chance alone names no "
            f"fewer of them, among so many named, {100 * self.luck:.2g} % of the time; a verdict "
            f"takes less than {100 * self.level:.2g} %."
        )
        return (
            f"{self.train:,} of {self.records:,} released records {what}: whoever knows it knows "
            f"whose they were made from. {advice}{'' if self.shown else luck}"
        )


def namings(
    released: Given, real: Mapping[str, Given], patient: str, schema: Schema
) -> Iterator[Naming]:
    """Yield every column that names real patients.

    These are the identifier and text that is not compared, and whole numbers of which nearly
    everybody has another one, compared or not. A release that numbers its rows names nobody.

    Args:
        released: the synthetic tables.
        real: those of real patients, by part; one is ``train``.
        patient: the column that says who a patient is, empty where none does.
        schema: what is compared.
    """
    for name, values in released.columns():
        if any(name not in given.static for given in real.values()) or number_rows(values):
            continue
        sides = {part: given.static[name] for part, given in real.items()}
        if kind := _kind(name, values, sides, patient, schema):
            found = _naming(name, values, sides, kind)
            if found.shown or found.hinted:
                yield found


def _kind(
    name: str, released: pd.Series, real: Mapping[str, pd.Series], patient: str, schema: Schema
) -> Kind | None:
    """Say in which way a column may name patients, if in any."""
    if name in {schema.site, schema.cluster}:
        return None
    if name not in schema.static:
        if name == patient or names_patient(name):
            return "identifier"
        if not _is_number(released):
            return "text"
    return "number" if are_of_one_each(pd.concat(list(real.values()))) else None


def are_of_one_each(values: pd.Series) -> bool:
    """Whether these are whole numbers, and nearly everybody has another one."""
    there = values.dropna()
    if not len(there) or not (as_numbers(there) % 1 == 0).all():
        return False
    return bool(there.duplicated(keep=False).mean() <= MOST_SHARED)


def _naming(name: str, released: pd.Series, real: Mapping[str, pd.Series], kind: Kind) -> Naming:
    said = {part: _plain(values).dropna() for part, values in real.items()}
    train = said.pop("train")
    others = pd.concat(list(said.values()))
    alone = pd.concat([train, others]).drop_duplicates(keep=False)
    here = _plain(released)
    mine, theirs = (here[here.isin(alone[alone.isin(side)])] for side in (train, others))
    share = len(real["train"]) / sum(len(values) for values in real.values())
    luck = luck_of(mine.nunique(), theirs.nunique(), share)
    is_text = not _is_number(released)
    dense = not is_text and met_as_by_luck(mine.nunique(), here.nunique(), real["train"])
    level = NAMED if kind == "identifier" and not dense else LUCK
    more = len(mine) * (1 - share) > len(theirs) * share
    return Naming(
        column=name,
        kind=kind,
        records=len(here),
        train=len(mine),
        others=len(theirs),
        share=share,
        luck=luck,
        level=level,
        shown=luck < level and not (kind == "number" and dense),
        hinted=not dense
        and (
            bool(len(mine) + len(theirs))
            if kind == "identifier" and is_text
            else more and (kind == "identifier" or not len(theirs) or luck < HINT)
        ),
    )


def met_as_by_luck(named: int, released: int, train: pd.Series) -> bool:
    """Whether any numbers between those of the training patients would meet as many of them."""
    numbers = as_numbers(train.dropna())
    share = numbers.nunique() / (numbers.max() - numbers.min() + 1)
    return bool(
        named == 0
        or binomtest(named, released, min(share, 1.0), alternative="greater").pvalue >= LUCK
    )


def _plain(values: pd.Series) -> pd.Series:
    """Return text that is the same however it was written.

    Letters are small; of words without a digit ("Doe, Jane") the order does not count, nor do
    titles and initials ("Mr. Jane J. Doe") where two words are left, and of others ("P-001") what
    stands between. What has no letter is left alone: 1.5 is not 15.
    """
    texts = as_levels(values)
    lettered = texts[texts.str.contains(r"[^\W\d_]", na=False)].astype(str).str.casefold()
    words = lettered.str.findall(r"[^\W_]+")
    digits = lettered.str.contains(r"\d")
    changed = words.str.join("").where(digits, words.map(_name))
    return texts.where(~texts.index.isin(changed.index), changed.reindex(texts.index))


def _name(words: list[str]) -> str:
    """Return the words of a name in one order, without titles and initials if two are left."""
    kept = [word for word in words if len(word) > 1 and word not in TITLES]
    return " ".join(sorted(kept if len(kept) > 1 else words))


def luck_of(train: int, others: int, share: float) -> float:
    """Return how often so many of those who are named would be of training patients by chance."""
    if not train:
        return 1.0
    return float(binomtest(train, train + others, share, alternative="greater").pvalue)


def _is_number(values: pd.Series) -> bool:
    return bool(as_numbers(values.dropna()).notna().all())


def number_rows(values: pd.Series) -> bool:
    """Whether these count rows from 0 or 1, as p001, p002 and so on do too."""
    texts = as_levels(values).dropna().astype(str)
    parts = texts.str.extract(r"^(\D*)(\d+)(?:\.0)?$")
    found = as_numbers(parts[1])
    whole = len(texts) == len(values) and found.notna().all() and found.is_unique
    counted = bool(whole) and found.min() in (0, 1) and found.max() - found.min() == len(found) - 1
    return counted and bool((parts[0] == parts[0].iloc[0]).all())
