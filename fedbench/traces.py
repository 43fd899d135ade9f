"""What one patient adds to what crossed in a round: her gradient, or her part of the sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.data import Cohort, Schema, cohort_from_table
from fedbench.encoding import indicators
from fedbench.errors import Unsupported
from fedbench.generator import Statistic, shortened
from fedbench.wire import Glimpse, Wire

__all__ = ["Counts", "Sums", "Traces", "cohort_of"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_NUMBERS = 2**23
"""Numbers that the traces of a block of patients may take at once."""


class Traces(ABC):
    """What single patients add to ``seen``, the mean over the training patients of a glimpse."""

    seen: Singles
    haze: float = 0.0
    """Variance of the noise in ``seen``, times the patients: as if each had an equal part of it."""

    @abstractmethod
    def of(self, cohort: Cohort) -> Singles:
        """Return what each patient would have added; shape ``(n, len(seen))``."""

    def unknown(self, cohort: Cohort) -> Singles:
        """Return how the traces of patients vary of whom all is known, about zero; as ``of``."""
        return np.zeros((len(cohort), len(self.seen)), dtype=np.float32)

    def losses(self, cohort: Cohort) -> Floats:
        """Return the loss of each patient under what was learned.

        Raises:
            Unsupported: nothing has a loss.
        """
        raise Unsupported("Sums over patients have no loss.")

    def blocks(self, cohort: Cohort) -> Iterator[Cohort]:
        """Yield the patients in blocks whose traces are not too many numbers."""
        size = max(1, _NUMBERS // max(len(self.seen), 1))
        for start in range(0, len(cohort), size):
            yield cohort.take(cohort.patients[start : start + size])


class Sums(Traces):
    """The features that a generator of sums adds up, shortened as they are for privacy."""

    def __init__(self, wire: Wire, generator: Statistic, glimpse: Glimpse) -> None:
        self._wire, self._generator, self._glimpse = wire, generator, glimpse
        self._names = sorted(glimpse.sums)
        noised = any(said.noise > 0 for each in wire.rounds for said in each.heard.values())
        self._bound = generator.bound(glimpse.phase, wire.encoder) if noised else np.inf
        flat = [np.ravel(glimpse.sums[name]) for name in self._names]
        self.seen = (np.concatenate(flat) / glimpse.patients).astype(np.float32)
        self.haze = glimpse.noise**2 / glimpse.patients

    def of(self, cohort: Cohort) -> Singles:
        encoder, glimpse = self._wire.encoder, self._glimpse
        records = encoder.encode(cohort)
        found = self._generator.features(glimpse.phase, glimpse.before, records, encoder)
        if np.isfinite(self._bound):
            found = shortened(found, self._bound)
        flat = [np.reshape(found[name], (len(cohort), -1)) for name in self._names]
        return np.concatenate(flat, axis=1).astype(np.float32)


class Counts(Traces):
    """In which bin of each column a patient is: what hospitals count to agree an encoder."""

    def __init__(self, glimpse: Glimpse) -> None:
        self._names = sorted(glimpse.sums)
        flat = [np.ravel(glimpse.sums[name]) for name in self._names]
        self.seen = (np.concatenate(flat) / glimpse.patients).astype(np.float32)
        self.haze = glimpse.noise**2 / glimpse.patients

    def of(self, cohort: Cohort) -> Singles:
        found = indicators(cohort)
        flat = [found[name].reshape(len(cohort), -1) for name in self._names]
        return np.concatenate(flat, axis=1)


def cohort_of(schema: Schema, targets: pd.DataFrame) -> Cohort:
    """Return the patients of a challenge, under names that say nothing."""
    width = len(str(max(len(targets) - 1, 0)))
    names = [f"t{number:0{width}d}" for number in range(len(targets))]
    return cohort_from_table(schema, targets.set_axis(pd.Index(names, name="patient")))
