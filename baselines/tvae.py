"""A variational autoencoder for patient tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fedbench.data import Cohort, Part
from fedbench.encoding import Encoder
from fedbench.generator import Phase, State
from fedbench.seeds import Rng
from fedbench.strategy import Memory
from fedbench.training import Batch, Neural

_NEVER = -1e9
"""A logit that no softmax notices."""


@dataclass(frozen=True, kw_only=True)
class Tvae(Neural):
    """Compress each patient to a few numbers and learn to write her back (VAE).

    A variational autoencoder (Kingma and Welling 2014, https://arxiv.org/abs/1312.6114) with the
    losses of TVAE (Xu et al. 2019, https://arxiv.org/abs/1907.00503), on the agreed encoder: each
    number is Gaussian with a learned spread where it was measured, each category (missing is one
    of its levels) and each missing bit a draw from probabilities. What does not apply to a patient
    costs nothing. The weight of the prior grows from one half to one during training.

    Attributes:
        hidden: Width of both hidden layers, in the encoder and in the decoder.
        latent: How many numbers a patient is compressed to.
    """

    handles: ClassVar = frozenset(Part)

    hidden: int = 128
    latent: int = 32

    def network(self, phase: Phase, encoder: Encoder) -> nn.Module:
        return _Autoencoder(encoder, self.hidden, self.latent)

    def width(self, phase: Phase, encoder: Encoder) -> int:
        return self.latent

    def losses(self, network: nn.Module, batch: Batch, draws: Tensor) -> Mapping[str, Tensor]:
        model = cast("_Autoencoder", network)
        mean, log_variance = model.encode(batch)
        latent = mean + torch.exp(0.5 * log_variance) * draws
        prior = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=1)
        weight = 0.5 + 0.5 * min(1.0, 2 * batch.progress)
        return {"loss": model.cost(latent, batch) + weight * prior}

    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        model = cast("_Autoencoder", self.loaded(self.phases()[0], state, encoder))
        latent = torch.as_tensor(rng.standard_normal((n, self.latent))).to(model.spread.dtype)
        with torch.no_grad():
            means, missing, logits = (part.double().numpy() for part in model.decode(latent))
            spread = model.sigma().double().numpy()
        numbers = means + spread * rng.standard_normal(means.shape)
        gone = rng.random(missing.shape) < 1 / (1 + np.exp(-missing))
        levels = np.argmax(logits + rng.gumbel(size=logits.shape), axis=2)
        return encoder.decode(numbers, gone, levels)


class _Autoencoder(nn.Module):
    """Two small perceptrons and one spread per number."""

    def __init__(self, encoder: Encoder, hidden: int, latent: int) -> None:
        super().__init__()
        self.numbers, self.latent = len(encoder.numbers), latent
        self.slots, self.closed = _slots(encoder)
        width = 2 * self.numbers + sum(encoder.widths)
        self.encoder = _perceptron(width, hidden, 2 * latent)
        self.decoder = _perceptron(latent, hidden, width)
        self.spread = nn.Parameter(torch.zeros(self.numbers))

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean and the log variance of each patient's latent numbers."""
        seen = torch.cat([batch.numbers, batch.missing, batch.onehot], dim=1)
        mean, log_variance = self.encoder(seen).split(self.latent, dim=1)
        return mean, log_variance.clamp(-10, 10)

    def decode(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return means of numbers, logits of being missing, logits ``(n, category, level)``."""
        means, missing, logits = self.decoder(latent).tensor_split(
            (self.numbers, 2 * self.numbers), dim=1
        )
        # Categories side by side in one tensor: one softmax instead of one per category.
        padded = torch.cat([logits, logits.new_zeros(len(logits), 1)], dim=1)
        spread = padded[:, self.slots.to(logits.device)]
        return means, missing, spread + self.closed.to(logits)

    def sigma(self) -> Tensor:
        """Return the spread of each number around its mean."""
        return torch.exp(self.spread.clamp(-4, 1))

    def cost(self, latent: Tensor, batch: Batch) -> Tensor:
        """Return the negative log likelihood of each patient, summed over what applies to her."""
        means, missing, logits = self.decode(latent)
        seen = batch.applies * (1 - batch.missing)
        sigma = self.sigma()
        number = 0.5 * ((batch.numbers - means) / sigma) ** 2 + torch.log(sigma)
        bit = functional.binary_cross_entropy_with_logits(missing, batch.missing, reduction="none")
        chosen = logits.gather(2, batch.levels.unsqueeze(2)).squeeze(2)
        level = batch.levels_apply * (torch.logsumexp(logits, dim=2) - chosen)
        cells = torch.cat([seen * number, batch.applies * bit, level], dim=1)
        return cells.sum(dim=1)


def _perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, outputs),
    )


def _slots(encoder: Encoder) -> tuple[Tensor, Tensor]:
    """Return where each level's logit is, and what to add so that nobody gets a level none has."""
    shape = (len(encoder.widths), max(encoder.widths, default=1))
    total = sum(encoder.widths)
    slots: NDArray[np.int64] = np.full(shape, total)
    closed: NDArray[np.float64] = np.full(shape, _NEVER)
    first = 0
    for j, (width, possible) in enumerate(zip(encoder.widths, encoder.possible, strict=True)):
        slots[j, :width] = np.arange(first, first + width)
        closed[j, :width][possible] = 0.0
        first += width
    return torch.as_tensor(slots), torch.as_tensor(closed)
