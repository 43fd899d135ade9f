"""A variational autoencoder for patient tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, cast

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fedbench.baselines._levels import drawn, owners
from fedbench.data import Cohort, Part
from fedbench.encoding import Encoder
from fedbench.generator import Phase, State
from fedbench.seeds import Rng
from fedbench.strategy import Memory
from fedbench.training import Batch, Neural

_STEEP = 15.0
"""Largest logit of a level: odds between two levels stay below exp(30)."""


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
    presets: ClassVar = {"cpu": {}, "gpu": {"hidden": 512, "latent": 64}}

    least_steps: Annotated[int, Ge(1)] = 3
    learning_rate: Annotated[float, Gt(0)] = 8e-3
    hidden: Annotated[int, Ge(1)] = 64
    latent: Annotated[int, Ge(1)] = 16

    def network(self, phase: Phase, encoder: Encoder) -> nn.Module:
        return _Autoencoder(encoder, self.hidden, self.latent)

    def width(self, phase: Phase, encoder: Encoder) -> int:
        return self.latent

    def losses(self, network: nn.Module, batch: Batch, draws: Tensor) -> Mapping[str, Tensor]:
        model = cast("_Autoencoder", network)
        mean, log_variance = model.encode(batch)
        latent = torch.addcmul(mean, torch.exp(0.5 * log_variance), draws)
        # Twice the divergence from the prior.
        prior = (mean**2 + torch.expm1(log_variance) - log_variance).sum(dim=1)
        weight = 0.5 + 0.5 * min(1.0, 2 * batch.progress)
        return {"loss": model.cost(latent, batch).add(prior, alpha=0.5 * weight)}

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
        return encoder.decode(numbers, gone, drawn(logits, encoder, rng))

    def latents(self, state: State, encoder: Encoder, cohort: Cohort) -> NDArray[np.float64]:
        """Return the mean of what each patient is compressed to."""
        model = cast("_Autoencoder", self.loaded(self.phases()[0], state, encoder))
        records = encoder.encode(cohort)
        everyone = Batch.of(records, encoder, model.spread.dtype, "cpu")
        with torch.no_grad():
            mean, _ = model.encode(everyone)
        return np.asarray(mean.double().numpy())


class _Autoencoder(nn.Module):
    """Two small perceptrons and one spread per number."""

    def __init__(self, encoder: Encoder, hidden: int, latent: int) -> None:
        super().__init__()
        self.numbers, self.latent = len(encoder.numbers), latent
        # Not a buffer, so that the parameters are all that is exchanged.
        self.owners = torch.as_tensor(owners(encoder))
        width = 2 * self.numbers + len(self.owners)
        self.encoder = _Perceptron(width, hidden, 2 * latent)
        self.decoder = _Perceptron(latent, hidden, width)
        self.spread = nn.Parameter(torch.zeros(self.numbers))

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean and the log variance of each patient's latent numbers."""
        seen = torch.cat([batch.numbers, batch.missing, batch.onehot], dim=1)
        mean, log_variance = self.encoder(seen).split(self.latent, dim=1)
        return mean, log_variance.clamp(-10, 10)

    def decode(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return means of numbers, logits of being missing, and logits of levels."""
        means, missing, logits = self.decoder(latent).tensor_split(
            (self.numbers, 2 * self.numbers), dim=1
        )
        # Bounded, so that one product sums the exponentials of all categories at once.
        return means, missing, _STEEP * torch.tanh(logits / _STEEP)

    def sigma(self) -> Tensor:
        """Return the spread of each number around its mean."""
        return torch.exp(self.spread.clamp(-4, 1))

    def cost(self, latent: Tensor, batch: Batch) -> Tensor:
        """Return the negative log likelihood of each patient, summed over what applies to her."""
        means, missing, logits = self.decode(latent)
        log_sigma = self.spread.clamp(-4, 1)
        apart = (batch.numbers - means) * torch.exp(-log_sigma)
        number = batch.measured * torch.addcmul(log_sigma, apart, apart, value=0.5)
        # Whoever lacks a number is somebody to whom it applies.
        bit = batch.applies * functional.softplus(missing) - batch.missing * missing
        total = torch.log(torch.exp(logits) @ self.owners.to(logits))
        costs = (number + bit, batch.levels_apply * total, -batch.onehot * logits)
        return torch.cat(costs, dim=1).sum(dim=1)


class _Perceptron(nn.Module):
    """Two hidden layers, and a straight line past them that learns the linear part quickly."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.curved = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, outputs),
        )
        self.straight = nn.Linear(inputs, outputs, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        found: Tensor = self.curved(values) + self.straight(values)
        return found
