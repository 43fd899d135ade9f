"""The levels of categories as one row of scores, as networks write them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedbench.data import Feature
from fedbench.encoding import Encoder
from fedbench.seeds import Rng

__all__ = ["Levels", "drawn", "needed", "owners", "places"]


class Levels:
    """Softmax within each category, over levels that somebody has."""

    def __init__(self, encoder: Encoder) -> None:
        found = places(encoder)
        self.places = torch.as_tensor(found)
        self.filler = torch.as_tensor(found == found[:, :1]) & (torch.arange(found.shape[1]) > 0)
        self.columns = torch.as_tensor(np.repeat(np.arange(len(found)), encoder.widths))
        self.there = torch.as_tensor(owners(encoder).any(axis=1))

    def totals(self, scores: Tensor) -> Tensor:
        """Return the logarithm of the summed exponentials of each category; ``(n, categories)``."""
        mine = scores[:, self.places.to(scores.device)]
        return torch.logsumexp(mine.masked_fill(self.filler.to(scores.device), -torch.inf), dim=2)

    def chances(self, scores: Tensor) -> Tensor:
        """Return the probability of every level, 0 where nobody has it; ``(n, levels)``."""
        totals = self.totals(scores)[:, self.columns.to(scores.device)]
        found: Tensor = torch.exp(scores - totals) * self.there.to(scores)
        return found


def owners(encoder: Encoder) -> NDArray[np.float32]:
    """Return which category each level belongs to; a level that nobody has belongs to none."""
    found = np.zeros((sum(encoder.widths), len(encoder.widths)), dtype=np.float32)
    starts = np.cumsum([0, *encoder.widths])
    for j, possible in enumerate(encoder.possible):
        found[starts[j] + np.flatnonzero(possible), j] = 1
    return found


def places(encoder: Encoder) -> NDArray[np.int64]:
    """Return the levels of each category that somebody has, the first again as a filler."""
    starts = np.cumsum([0, *encoder.widths])
    found = np.zeros((len(encoder.widths), max(encoder.widths, default=1)), dtype=np.int64)
    for j, possible in enumerate(encoder.possible):
        mine = starts[j] + np.flatnonzero(possible)
        found[j] = mine[0]
        found[j, : len(mine)] = mine
    return found


def needed(encoder: Encoder, feature: Feature) -> int:
    """Return the number without which a feature does not apply, or one past the last."""
    names = [number.name for number in encoder.numbers]
    return names.index(feature.needs) if feature.needs else len(names)


def drawn(scores: NDArray[np.float64], encoder: Encoder, rng: Rng) -> NDArray[np.int64]:
    """Draw a level of every category among those that somebody has (Gumbel-max)."""
    noisy = scores + rng.gumbel(size=scores.shape)
    found = np.empty((len(scores), len(encoder.widths)), dtype=np.int64)
    starts = np.cumsum([0, *encoder.widths])
    for j, possible in enumerate(encoder.possible):
        mine = noisy[:, starts[j] : starts[j + 1]]
        found[:, j] = np.argmax(np.where(possible, mine, -np.inf), axis=1)
    return found
