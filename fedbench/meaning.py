"""What codes of two systems have in common, learned from which of them patients have together.

For what no map knows: ask a map of yours first, then the hierarchy, and this last
(``Crosswalk.or_else``). Sites send counts, never records.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.coding import category
from fedbench.crosswalk import Crosswalk
from fedbench.data import Cohort
from fedbench.errors import SpecError

__all__ = ["Together", "backed_off", "learned", "together"]

Floats = NDArray[np.float64]

_SMOOTHING = 1.0
_FEWEST = 3


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


def learned(
    source: Together, target: Together, anchors: Crosswalk, *, dimensions: int = 10
) -> Crosswalk:
    """Return for every other code of one system the most alike code of the other.

    Codes that the map knows are anchors: the rotation that brings their vectors nearest to each
    other (Procrustes; Schoenemann 1966, https://doi.org/10.1007/BF02289451) is applied to all,
    and each code gets the one of largest cosine. Codes that hardly anybody has are left out.

    It finds what the records tell apart and nothing else: of codes that come in the same company
    it finds the company. Counts leave a site as they are; there is no differential privacy here.

    Raises:
        SpecError: there are fewer anchors than it takes.
    """
    places = [{code: i for i, code in enumerate(each.codes)} for each in (source, target)]
    known = anchors.pairs.drop_duplicates("source")
    both = [
        (places[0][a], places[1][b])
        for a, b in zip(known["source"], known["target"], strict=True)
        if a in places[0] and b in places[1]
    ]
    if len(both) < _FEWEST:
        raise SpecError(
            f"Only {len(both)} codes of {source.system} are mapped to {target.system}; at least "
            f"{_FEWEST} are needed to learn the others."
        )
    mine, theirs = np.array(both).T
    size = min(dimensions, len(both))
    one, other = source.vectors(size), target.vectors(size)
    left, _, right = np.linalg.svd(one[mine].T @ other[theirs])
    turned = _unit(one @ left @ right)
    seen = [np.diag(each.pairs) >= _FEWEST for each in (source, target)]
    left_over = np.flatnonzero(seen[0] & ~np.isin(np.arange(len(one)), mine))
    free = np.flatnonzero(seen[1] & ~np.isin(np.arange(len(other)), theirs))
    alike = turned[left_over] @ _unit(other[free]).T
    best = free[np.argmax(alike, axis=1)] if len(free) else np.empty(0, dtype=np.int64)
    rows = left_over if len(free) else left_over[:0]
    found = pd.DataFrame(
        {
            "source": [source.codes[i] for i in rows],
            "target": [target.codes[i] for i in best],
            "part": "",
        },
        dtype="string",
    )
    return Crosswalk(source.system, target.system, found)


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
