"""Records that stand more often in tables than luck would put them there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import binom, norm

from fedbench.data import Cohort

__all__ = ["copies", "overlap", "repeats", "repetitive"]

LUCK = 0.001
"""Below this chance records that look alike are not taken for different patients."""

FEWER = 0.8
"""Different records of a release, to those of equally many real ones, from which it is said."""
MISSED = 10
"""And how many fewer they are at least."""

NORMAL = 3.0
"""A number of events that varies less than this is not taken for normal."""

RARE = 0.01
"""Where fewer of a table's records equal another one of it, hardly any two patients look alike."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Looks = NDArray[np.uint64]


def repeats(parts: Mapping[str, Cohort], files: Mapping[str, str]) -> Iterator[str]:
    """Say where patients seem to be in two tables, or twice among those who were trained on."""
    looks = {name: cohort.looks for name, cohort in parts.items()}
    train, told = looks["train"], False
    for name in [name for name in looks if name != "train"]:
        both, found = _Both.of(train, looks[name]), _found(looks[name], train)
        if both.are_shared() or (found and _are_rare(train) and _are_rare(looks[name])):
            why = (
                "attacks take them for patients who were not trained on"
                if name == "reference"
                else "nobody is asked about who looks like a patient of the other table, so that "
                "copies of them go unseen"
            )
            yield (
                f"{_equal(found, looks[name], files, name)}. If they are the same patients, leave "
                f"them out of {files[name]}: {why}."
            )
        if not told and both.are_repeated():
            told = True
            yield (
                f"{_repeated(train):,} of {len(train):,} records of {files['train']} equal "
                f"another one of it in every column, far more than the {_repeated(looks[name]):,} "
                f"of {len(looks[name]):,} of {files[name]}. Rows that stand several times make the "
                "two tables look different by themselves, so that nothing can be said about the "
                "release. If they are the same patients, give one row per patient, or name in a "
                "--schema the column that says who belongs together (cluster)."
            )


def repetitive(train: Cohort, release: Cohort) -> Iterator[str]:
    """Say that a release repeats itself far more than real records do.

    Counted are different records among equally many, drawn at random from the larger table. Where
    fewer than half of the real ones are, there are few records to be had, and nothing is said.
    """
    real, fake = (_times(cohort.looks) for cohort in (train, release))
    rows = int(fake.sum())
    equal = min(int(real.sum()), rows)
    usual, found = (_different(times, equal) for times in (real, fake))
    if usual < equal / 2 or found > min(FEWER * usual, usual - MISSED):
        return
    drawn = f" ({found:,.0f} of {equal:,} drawn at random)" if equal < rows else ""
    yield (
        f"The {rows:,} synthetic records are {len(fake):,} different ones{drawn}; {equal:,} "
        f"training records are {usual:,.0f}. Every row counts as a patient, so that intervals are "
        "too narrow."
    )


def _times(looks: Looks) -> Ints:
    return np.asarray(np.unique(looks, return_counts=True)[1], dtype=np.int64)


def _different(times: Ints, rows: int) -> float:
    """Return how many different records are expected among so many, drawn without replacement.

    Args:
        times: how often each stands in the table.
        rows: how many are drawn.
    """
    total, left = int(times.sum()), times.sum() - times
    drawn = left >= rows  # where fewer are left, it cannot be missed
    missed = np.exp(_ways(left[drawn], rows) - _ways(np.array([total]), rows))
    return float(len(times) - missed.sum())


def _ways(rows: Ints, drawn: int) -> Floats:
    return np.asarray(gammaln(rows + 1) - gammaln(rows - drawn + 1), dtype=np.float64)


def overlap(parts: Mapping[str, Cohort], files: Mapping[str, str]) -> str:
    """Say that those who are said not to have been trained on seem to have been, or nothing.

    What is given away of them looks like what is true of anybody.
    """
    rest = _rest(parts)
    train, others = (parts[name].looks for name in ("train", rest))
    if not _Both.of(train, others).are_shared():
        return ""
    return (
        f"{_equal(_found(others, train), others, files, rest)}, far more than would if all were "
        "different patients, and what is given away of them cannot be told. Leave them out of "
        f"{files[rest]} and ask again."
    )


def copies(parts: Mapping[str, Cohort], release: Cohort) -> str:
    """Count the released records that are real ones, where hardly any two real ones are alike."""
    rest = _rest(parts)
    train, others = (parts[name].looks for name in ("train", rest))
    released = release.looks
    mine, theirs = _found(released, train), _found(released, others)
    if not mine or not _are_rare(others):
        return ""
    who = f"all {mine:,}" if 1 < mine == len(released) else f"{mine:,} of {len(released):,}"
    return (
        f"{who} released records equal{'s' * (mine == 1)} a training patient's record in every "
        f"column, and {f'{theirs:,}' if theirs else 'none'} a {rest} patient's; hardly any two "
        "real records are that alike."
    )


def _rest(parts: Mapping[str, Cohort]) -> str:
    return "control" if "control" in parts else "test"


def _found(looks: Looks, among: Looks) -> int:
    return int(np.isin(looks, among).sum())


def _equal(found: int, looks: Looks, files: Mapping[str, str], name: str) -> str:
    return (
        f"{found:,} of {len(looks):,} records of {files[name]} equal{'s' * (found == 1)} one of "
        f"{files['train']} in every column"
    )


def _are_rare(looks: Looks) -> bool:
    """Whether hardly any record equals another one of its table."""
    return _repeated(looks) < RARE * len(looks)


def _repeated(looks: Looks) -> int:
    _, who, times = np.unique(looks, return_inverse=True, return_counts=True)
    return int((times[who] > 1).sum())


@dataclass(frozen=True)
class _Both:
    """How often looks that stand several times in two tables together stand in each."""

    first: Ints
    second: Ints
    share: float
    """Of the first table's records in both."""

    @classmethod
    def of(cls, first: Looks, second: Looks) -> Self:
        names, who = np.unique(np.concatenate([first, second]), return_inverse=True)
        times = [np.bincount(rows, minlength=len(names)) for rows in np.split(who, [len(first)])]
        several = sum(times) > 1
        return cls(times[0][several], times[1][several], len(first) / max(len(who), 1))

    def are_shared(self) -> bool:
        """Say whether more looks stand in both tables than if records were dealt to them."""
        return _more(
            (self.first > 0) & (self.second > 0),
            1 - self._all(self.share) - self._all(1 - self.share),
        )

    def are_repeated(self) -> bool:
        """Say whether more looks stand several times in the first table and not in the second."""
        return _more(self.second == 0, self._all(self.share))

    def _all(self, share: float) -> Floats:
        """Return the chances that all who look alike stand in a table with this share."""
        return np.asarray(share ** (self.first + self.second), dtype=np.float64)


def _more(seen: NDArray[np.bool_], chance: Floats) -> bool:
    """Say whether more happened than independent events of these chances would by luck."""
    beyond = float(seen.sum() - chance.sum()) - 0.5
    spread = float(np.sqrt((chance * (1 - chance)).sum()))
    if 0 < spread < NORMAL:  # with one chance for all their number varies more
        return bool(binom.sf(seen.sum() - 1, len(seen), chance.mean()) < LUCK)
    return beyond > 0 and beyond > float(norm.isf(LUCK)) * spread
