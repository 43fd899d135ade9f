"""Records that stand more often in tables than luck would put them there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from fedbench.data import Cohort, looks_of

__all__ = ["repeats"]

LUCK = 0.001
"""Below this chance records that look alike are not taken for different patients."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Looks = NDArray[np.uint64]


def repeats(parts: Mapping[str, Cohort], files: Mapping[str, str]) -> Iterator[str]:
    """Say where patients seem to be in two tables, or twice among those who were trained on."""
    looks = {name: looks_of(cohort.table) for name, cohort in parts.items()}
    train, told = looks["train"], False
    for name in [name for name in looks if name != "train"]:
        both = _Both.of(train, looks[name])
        if both.are_shared():
            found = int(np.isin(looks[name], train).sum())
            yield (
                f"{found:,} of {len(looks[name]):,} records of {files[name]} equal one of "
                f"{files['train']} in every column. If they are the same patients, leave them "
                f"out of {files[name]}: attacks on them look like false alarms."
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
    return beyond > 0 and beyond > float(norm.isf(LUCK)) * spread
