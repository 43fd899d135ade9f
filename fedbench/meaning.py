"""What codes of two systems have in common, learned from which of them patients have together.

For what no map knows: ask a map of yours first, then the hierarchy, and this last
(``Crosswalk.or_else``). Sites send counts, never records.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binom

from fedbench.coding import category
from fedbench.crosswalk import Crosswalk
from fedbench.data import Cohort
from fedbench.errors import SpecError

__all__ = ["Fit", "Together", "backed_off", "fit", "learned", "together"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SMOOTHING = 1.0
_FEWEST = 3
_LUCK = 0.05


@dataclass(frozen=True)
class Together:
    """How many patients have each two codes of a system, and how many patients there are.

    ``pairs[i, j]`` is about ``codes[i]`` and ``codes[j]``; the diagonal has who has a code.
    """

    system: str
    codes: tuple[str, ...]
    patients: float
    pairs: Floats

    def __add__(self, other: Together) -> Together:
        if (self.system, self.codes) != (other.system, other.codes):
            raise SpecError("Counts of different codes cannot be added.")
        return Together(
            self.system, self.codes, self.patients + other.patients, self.pairs + other.pairs
        )

    def vectors(self, dimensions: int) -> Floats:
        """Return a vector per code, so that products say how much more often two are together.

        The largest eigenvectors of the logarithm of lift (observed over expected), as word vectors
        are those of pointwise mutual information (Levy and Goldberg 2014,
        https://papers.nips.cc/paper/5477-neural-word-embedding-as-implicit-matrix-factorization).
        """
        have = np.diag(self.pairs)
        expected = np.outer(have, have) / max(self.patients, 1.0)
        lift = np.log((self.pairs + _SMOOTHING) / (expected + _SMOOTHING))
        np.fill_diagonal(lift, 0.0)
        values, vectors = np.linalg.eigh(lift)
        largest = np.argsort(-np.abs(values))[:dimensions]
        return np.asarray(vectors[:, largest] * np.sqrt(np.abs(values[largest])))


def together(cohort: Cohort, system: str) -> Together:
    """Count which codes of a system patients have together, at one site.

    Raises:
        SpecError: the cohort has no such system.
    """
    if system not in cohort.schema.vocabularies:
        known = ", ".join(cohort.schema.vocabularies) or "none"
        raise SpecError(f"There are no codes of {system!r} here. Systems: {known}.")
    names = tuple(cohort.schema.vocabularies[system].codes)
    codes = cohort.codes[cohort.codes["system"] == system]
    who = pd.Index(cohort.patients).get_indexer(pd.Index(codes["patient"]))
    ever = np.zeros((len(cohort), len(names)))
    ever[who, pd.Index(names).get_indexer(pd.Index(codes["code"]))] = 1.0
    return Together(system, names, float(len(cohort)), ever.T @ ever)


def backed_off(known: Crosswalk, codes: pd.Series) -> Crosswalk:
    """Return a map for codes that ``known`` lacks: where most of their category go.

    A category is the system's own (three characters of ICD). Of several to which as many go, it is
    the one of the category's first code, as in ``Crosswalk.by_category``.
    """
    best = known.usual().set_index("source")["target"]
    lacking = pd.Series(codes[~codes.isin(known.pairs["source"])].unique(), dtype="string")
    target = category(lacking, known.source).map(best)
    found = pd.DataFrame({"source": lacking, "target": target, "part": ""})
    return Crosswalk(known.source, known.target, found.dropna(ignore_index=True))


@dataclass(frozen=True)
class Fit:
    """How many anchors are found again from the others, and with what chance each by luck."""

    found: int
    anchors: int
    luck: float

    @property
    def chance(self) -> float:
        """How likely luck finds as many."""
        return float(binom.sf(self.found - 1, self.anchors, self.luck))

    def __str__(self) -> str:
        return (
            f"{self.found} of {self.anchors} anchors are found again from the others (luck would "
            f"find {self.anchors * self.luck:.1f})"
        )


def fit(source: Together, target: Together, anchors: Crosswalk, *, dimensions: int = 10) -> Fit:
    """Say how well ``learned`` finds what is known: each anchor from the others.

    An anchor is left out, with all that map to the same, and looked for among all codes that the
    other system's patients have. An anchor that is wrong is not found, and leads others astray.
    With few anchors it finds less than ``learned`` does, which has one more.

    Raises:
        SpecError: there are fewer anchors than it takes.
    """
    return _Both.of(source, target, anchors, dimensions).fit


def learned(
    source: Together, target: Together, anchors: Crosswalk, *, dimensions: int = 10
) -> Crosswalk:
    """Return for every other code of one system the most alike code of the other.

    Codes that the map knows are anchors: the rotation that brings their vectors nearest to each
    other (Procrustes; Schoenemann 1966, https://doi.org/10.1007/BF02289451) is applied to all,
    and each code gets the one of largest cosine. Codes that hardly anybody has are left out.

    It finds what the records tell apart and nothing else: of codes that come in the same company
    it finds the company. Where anchors are not found again from each other (``fit``) more often
    than by luck, nothing is said. Counts leave a site as they are; there is no differential
    privacy here.

    Raises:
        SpecError: there are fewer anchors than it takes, or they say nothing of each other.
    """
    both = _Both.of(source, target, anchors, dimensions)
    known = anchors.pairs
    rows = both.lacking(0, known["source"])
    free = both.lacking(1, known["target"])
    rows = rows if len(free) else rows[:0]
    if len(rows) and (found := both.fit).chance > _LUCK:
        raise SpecError(
            f"Of {source.system} and {target.system} {found}, so that what they would say of "
            "other codes is worth nothing. Look whether the map is right; with fewer than "
            f"{2 * dimensions} anchors it may need more of them."
        )
    best = both.nearest(rows, free, np.arange(len(both.mine)))
    pairs = {
        "source": [source.codes[i] for i in rows],
        "target": [target.codes[i] for i in best],
        "part": "",
    }
    return Crosswalk(source.system, target.system, pd.DataFrame(pairs, dtype="string"))


@dataclass(frozen=True)
class _Both:
    """Two systems and their anchors: ``mine[i]`` means the same as ``theirs[i]``."""

    systems: tuple[Together, Together]
    mine: Ints
    theirs: Ints
    dimensions: int

    @classmethod
    def of(cls, source: Together, target: Together, anchors: Crosswalk, dimensions: int) -> _Both:
        known = anchors.pairs.drop_duplicates("source")
        systems = (source, target)
        names = (known["source"], known["target"])
        mine, theirs = (
            pd.Index(each.codes).get_indexer(pd.Index(name))
            for each, name in zip(systems, names, strict=True)
        )
        # Whose vector is of nobody turns nothing.
        use = (mine >= 0) & (theirs >= 0)
        use[use] = _had(source)[mine[use]] & _had(target)[theirs[use]]
        if use.sum() < _FEWEST:
            raise SpecError(
                f"Only {use.sum()} codes of {source.system} are mapped to {target.system} that at "
                f"least {_FEWEST} patients have on either side; at least {_FEWEST} are needed to "
                "learn the others."
            )
        return cls(systems, mine[use], theirs[use], min(dimensions, int(use.sum())))

    @cached_property
    def vectors(self) -> tuple[Floats, Floats]:
        one, other = (each.vectors(self.dimensions) for each in self.systems)
        return one, other

    def lacking(self, side: int, known: pd.Series) -> Ints:
        """Return the codes of a side that patients have and the map does not know."""
        each = self.systems[side]
        return np.flatnonzero(_had(each) & ~pd.Index(each.codes).isin(pd.Index(known)))

    def nearest(self, rows: Ints, among: Ints, by: Ints) -> Ints:
        """Return what is most alike to each row among others, as some of the anchors turn it."""
        one, other = self.vectors
        left, _, right = np.linalg.svd(one[self.mine[by]].T @ other[self.theirs[by]])
        alike = _unit(one[rows] @ left @ right) @ _unit(other[among]).T
        return np.asarray(among[np.argmax(alike, axis=1)] if len(rows) else rows)

    @cached_property
    def fit(self) -> Fit:
        among = np.flatnonzero(_had(self.systems[1]))
        again = [
            self.nearest(self.mine[[i]], among, np.flatnonzero(self.theirs != its))[0] == its
            for i, its in enumerate(self.theirs)
        ]
        return Fit(int(np.sum(again)), len(again), 1 / len(among))


def _had(system: Together) -> NDArray[np.bool_]:
    return np.asarray(np.diag(system.pairs) >= _FEWEST)


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
