"""A generator fitted by sums: numbers go together, categories on their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Interval

from fedbench.data import Cohort, Part
from fedbench.encoding import Encoder, Records
from fedbench.generator import Phase, State, Statistic
from fedbench.seeds import Rng
from fedbench.strategy import Combined, Memory, Message


@dataclass(frozen=True, kw_only=True)
class Template(Statistic):
    """Draw all numbers from one Gaussian, and every category and every gap by its share.

    Attributes:
        shrinkage: how far correlations are pulled towards 0.
    """

    handles: ClassVar = frozenset(Part)

    shrinkage: Annotated[float, Interval(ge=0, le=1)] = 0.05

    def phases(self) -> Sequence[Phase]:
        """Return the stages of training: sums are sent once."""
        return (Phase("moments", rounds=1),)

    def features(
        self, phase: Phase, message: Message, records: Records, encoder: Encoder
    ) -> Message:
        """Return what each patient adds to the sums, the only thing that leaves a hospital."""
        there = (records.applies & ~records.missing).astype(np.float64)
        scores = records.numbers * there
        return {
            "products": scores[:, :, None] * scores[:, None, :],
            "pairs": there[:, :, None] * there[:, None, :],
        }

    def fold(
        self, phase: Phase, state: State, combined: Combined, encoder: Encoder, rng: Rng
    ) -> State:
        """Turn the summed features of all hospitals into the model. Runs at the server."""
        together = combined.sums["products"] / np.maximum(combined.sums["pairs"], 1)
        correlation = np.clip((1 - self.shrinkage) * together, -1, 1)
        np.fill_diagonal(correlation, 1)
        values, vectors = np.linalg.eigh(correlation)
        return {"root": vectors * np.sqrt(np.maximum(values, 0))}

    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        """Write ``n`` patients; the encoder turns scores and levels back into records."""
        root = state["root"]
        numbers = rng.standard_normal((n, len(root))) @ root.T
        missing = rng.random(numbers.shape) < encoder.missing_rates
        levels = np.empty((n, len(encoder.categories)), dtype=np.int64)
        for column, shares in enumerate(encoder.shares):
            levels[:, column] = rng.choice(len(shares), size=n, p=shares)
        return encoder.decode(numbers, missing, levels)
