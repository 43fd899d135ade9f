"""A generative adversarial network for patient tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, cast

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from fedbench.baselines._averaged import Averaged
from fedbench.baselines._levels import needed, places
from fedbench.data import Cohort, Part
from fedbench.encoding import Encoder
from fedbench.generator import Phase, State
from fedbench.seeds import Rng
from fedbench.strategy import Memory
from fedbench.training import Batch

_HOT = 0.2
"""How far from 0 and 1 written levels are during training (temperature)."""

_SURE = 15.0
"""Largest logit of a level or a gap."""

_RARE = 1e-3
"""Least share with which a level or a gap starts."""


@dataclass(frozen=True, kw_only=True)
class Ctgan(Averaged):
    """Write patients until a critic cannot tell them from real ones (GAN).

    A Wasserstein network with gradient penalty (Gulrajani et al. 2017,
    https://arxiv.org/abs/1704.00028) and the conditions of CTGAN (Xu et al. 2019,
    https://arxiv.org/abs/1907.00503): the writer is told one level of one category, drawn from the
    agreed counts, and has to write somebody with it; the critic is told it as well, and for a real
    patient her own level of that category. Levels and gaps are softened draws (Jang et al. 2017,
    https://arxiv.org/abs/1611.01144). Before training the writer draws every column on its own, as
    agreed. Its mean over rounds writes.

    Unlike CTGAN: numbers are normal scores rather than modes of a mixture, which would have to be
    fitted to records; layers normalize within a patient; the critic sees one patient at a time.
    Only the critic learns from records, so only its gradients need noise for privacy.

    Attributes:
        hidden: Width of both hidden layers, of the writer and of the critic.
        latent: How many random numbers a patient is written from, beside those of her columns.
        penalty: Weight of the gradient penalty.
    """

    handles: ClassVar = frozenset(Part)
    presets: ClassVar = {"cpu": {}, "gpu": {"hidden": 512}}
    objectives: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "critic": ("critic.",),
        "writer": ("writer.",),
    }
    blind: ClassVar = frozenset(["writer"])
    averaged: ClassVar = ("writer.",)
    betas: ClassVar = (0.5, 0.99)

    passes: Annotated[int, Ge(1)] = 120
    batch: Annotated[int, Ge(0)] = 128
    least_steps: Annotated[int, Ge(1)] = 3
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    hidden: Annotated[int, Ge(1)] = 128
    latent: Annotated[int, Ge(1)] = 64
    penalty: Annotated[float, Ge(0)] = 10.0

    def network(self, phase: Phase, encoder: Encoder) -> nn.Module:
        return _Rivals(encoder, self.hidden, self.latent)

    def width(self, phase: Phase, encoder: Encoder) -> int:
        # For the writer, for what it is told, and for where the penalty is taken.
        return self.latent + 2 * len(encoder.numbers) + sum(encoder.widths) + 2

    def losses(self, network: nn.Module, batch: Batch, draws: Tensor) -> Mapping[str, Tensor]:
        rivals = cast("_Rivals", network)
        asked, mixed = torch.special.ndtr(draws[:, -2:]).split(1, dim=1)
        told = rivals.writer.told(asked)
        written, logits = rivals.writer(draws[:, :-2], told)
        alike = rivals.writer.alike(told)
        seen = torch.cat([batch.numbers, batch.missing, batch.onehot, batch.onehot * alike], dim=1)
        false = torch.cat([written, told], dim=1)
        between = torch.lerp(seen, false.detach(), mixed)
        slopes = torch.func.grad(lambda where: rivals.critic(where).sum())(between)
        steep = torch.sqrt((slopes**2).sum(dim=1) + 1e-12) - 1
        scores = rivals.critic(false)[:, 0]
        chances = torch.log_softmax(logits.masked_fill(alike == 0, -1e9), dim=1)
        return {
            "critic": scores - rivals.critic(seen)[:, 0] + self.penalty * steep**2,
            "writer": -scores - (told * chances).sum(dim=1),
        }

    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        phase = self.phases()[0]
        writer = cast("_Rivals", self.loaded(phase, self.lasting(state), encoder)).writer
        asked = torch.as_tensor(rng.random((n, 1)))
        draws = torch.as_tensor(rng.standard_normal((n, self.width(phase, encoder) - 2)))
        with torch.no_grad():
            told = writer.told(asked.to(writer.spread))
            written = writer(draws.to(writer.spread), told)[0].double().numpy()
        numbers, missing, onehot = np.split(written, [writer.numbers, 2 * writer.numbers], axis=1)
        starts = np.cumsum([0, *encoder.widths]).tolist()
        levels = np.zeros((n, len(encoder.widths)), dtype=np.int64)
        for j, width in enumerate(encoder.widths):
            levels[:, j] = onehot[:, starts[j] : starts[j] + width].argmax(axis=1)
        return encoder.decode(numbers, missing > 0.5, levels)


class _Rivals(nn.Module):
    def __init__(self, encoder: Encoder, hidden: int, latent: int) -> None:
        super().__init__()
        self.writer = _Writer(encoder, hidden, latent)
        width = 2 * len(encoder.numbers) + 2 * sum(encoder.widths)
        self.critic = nn.Sequential(
            nn.Linear(width, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, 1),
        )


class _Writer(nn.Module):
    """Writes a patient from random numbers and the level that she has to have."""

    def __init__(self, encoder: Encoder, hidden: int, latent: int) -> None:
        super().__init__()
        self.numbers, self.latent = len(encoder.numbers), latent
        shares = np.concatenate([np.empty(0), *encoder.shares])
        columns = np.repeat(np.arange(len(encoder.widths)), encoder.widths)
        # Not buffers, so that the parameters are all that is exchanged.
        self.owners = torch.as_tensor(np.eye(len(encoder.widths))[columns] * (shares > 0)[:, None])
        self.ends = torch.as_tensor(shares.cumsum() / max(len(encoder.widths), 1))
        self.places = torch.as_tensor(places(encoder))
        self.gappy = torch.as_tensor(encoder.missing_rates > 0)
        self.needs = [needed(encoder, feature) for feature in encoder.numbers]
        self.levels_need = [needed(encoder, encoder.categories[j]) for j in columns]
        inputs = latent + len(columns)
        self.first, self.even = nn.Linear(inputs, hidden), nn.LayerNorm(hidden)
        self.second, self.smooth = nn.Linear(inputs + hidden, hidden), nn.LayerNorm(hidden)
        self.last = nn.Linear(inputs + 2 * hidden, 2 * self.numbers + len(columns))
        self.spread = nn.Parameter(torch.zeros(self.numbers))
        rates = np.clip(encoder.missing_rates, _RARE, 1 - _RARE)
        start = [np.zeros(self.numbers), np.log(rates / (1 - rates)), np.log(shares.clip(_RARE))]
        with torch.no_grad():
            self.last.bias.copy_(torch.as_tensor(np.concatenate(start)))
            self.last.weight.mul_(0.3)

    def told(self, asked: Tensor) -> Tensor:
        """Return one level of one category for every number between 0 and 1."""
        place = (self.ends.to(asked) <= asked).sum(dim=1, keepdim=True)
        # Rounding may leave a little room above the last end.
        place = place.clamp(max=max(len(self.ends) - 1, 0))
        return (torch.arange(len(self.ends), device=asked.device) == place).to(asked)

    def alike(self, told: Tensor) -> Tensor:
        """Return all levels of the category whose level was told."""
        owners = self.owners.to(told)
        return told @ owners @ owners.T

    def forward(self, draws: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Return what a record shows (numbers, gaps, levels), and logits of levels."""
        latent, number, gap, level = draws.tensor_split(
            (self.latent, self.latent + self.numbers, self.latent + 2 * self.numbers), dim=1
        )
        found = torch.cat([latent, told], dim=1)
        for layer, norm in ((self.first, self.even), (self.second, self.smooth)):
            found = torch.cat([found, torch.relu(norm(layer(found)))], dim=1)
        means, gaps, logits = self.last(found).tensor_split((self.numbers, 2 * self.numbers), dim=1)
        logits = _SURE * torch.tanh(logits / _SURE)
        gaps = _SURE * torch.tanh(gaps / _SURE) + _logistic(gap)
        missing = torch.sigmoid(gaps / _HOT) * self.gappy.to(gaps)
        values = means + torch.exp(self.spread) * number
        # The last column stands for what nothing is needed for.
        there = torch.cat([1 - missing, torch.ones_like(means[:, :1])], dim=1)
        applies = there[:, self.needs]
        levels = self._softened((logits + _gumbel(level)) / _HOT) * there[:, self.levels_need]
        return torch.cat([values * (1 - missing) * applies, missing * applies, levels], 1), logits

    def _softened(self, scores: Tensor) -> Tensor:
        """Return the softmax within each category, over levels that somebody has."""
        owners = self.owners.to(scores)
        top = scores.detach()[:, self.places].amax(dim=2) @ owners.T
        mass = torch.exp((scores - top).clamp(max=0)) * owners.sum(dim=1)
        return mass / (mass @ owners @ owners.T + 1e-12)


def _uniform(normal: Tensor) -> Tensor:
    found: Tensor = torch.special.ndtr(normal)
    return found.clamp(1e-6, 1 - 1e-6)


def _logistic(normal: Tensor) -> Tensor:
    return torch.logit(_uniform(normal))


def _gumbel(normal: Tensor) -> Tensor:
    return -torch.log(-torch.log(_uniform(normal)))
