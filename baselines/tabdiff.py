"""Diffusion for patient tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, cast

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torch.nn import functional

from fedbench.baselines._averaged import Averaged
from fedbench.baselines._levels import Levels, drawn, needed
from fedbench.baselines._noise import LEVELS, WAVES, cleared, level, strengths, waves
from fedbench.data import Cohort, Part
from fedbench.encoding import Encoder
from fedbench.generator import Phase, State
from fedbench.seeds import Rng
from fedbench.strategy import Memory
from fedbench.training import Batch

_SCALE = 0.5
"""What a level or a gap counts beside a normal score."""

_RARE = 1e-6
"""Least share of a level or a gap that somebody has."""


@dataclass(frozen=True, kw_only=True)
class Tabdiff(Averaged):
    """Take noise away from a patient, step by step, until a patient is left (diffusion).

    A patient is her normal scores, and her levels and what is missing as bits around their agreed
    means. Under noise of a random strength (cosine schedule of Nichol and Dhariwal 2021,
    https://arxiv.org/abs/2102.09672) a perceptron tells what she was: squared error for numbers
    that were measured, cross-entropy for levels and gaps that apply (much as TabDDPM, Kotelnikov et
    al. 2023, https://arxiv.org/abs/2209.15421). It adds to what Bayes' rule says of each column on
    its own, so that before training it writes columns as agreed; its mean over rounds writes.
    Writing follows the mean path from pure noise (Song et al. 2021,
    https://arxiv.org/abs/2010.02502), bent by the stride before.

    Attributes:
        hidden: Width of every hidden layer.
        layers: How many of them.
        strides: In how many steps noise is taken away.
    """

    handles: ClassVar = frozenset(Part)
    presets: ClassVar = {"cpu": {}, "gpu": {"hidden": 1024, "layers": 4}}
    copies: ClassVar = 4

    passes: Annotated[int, Ge(1)] = 200
    batch: Annotated[int, Ge(0)] = 256
    least_steps: Annotated[int, Ge(1)] = 3
    learning_rate: Annotated[float, Gt(0)] = 2e-3
    hidden: Annotated[int, Ge(1)] = 256
    layers: Annotated[int, Ge(1)] = 3
    strides: Annotated[int, Ge(2), Le(LEVELS)] = 25

    def network(self, phase: Phase, encoder: Encoder) -> nn.Module:
        return _Denoiser(encoder, self.hidden, self.layers)

    def width(self, phase: Phase, encoder: Encoder) -> int:
        return 2 * len(encoder.numbers) + sum(encoder.widths) + 1

    def losses(self, network: nn.Module, batch: Batch, draws: Tensor) -> Mapping[str, Tensor]:
        model = cast("_Denoiser", network)
        depth = level(draws[:, -1:])
        signal, noise = strengths(depth)
        shown = torch.addcmul(signal * model.clean(batch), noise, draws[:, :-1])
        return {"loss": model.cost(shown, depth, batch)}

    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        phase = self.phases()[0]
        model = cast("_Denoiser", self.loaded(phase, self.lasting(state), encoder))
        noise = rng.standard_normal((n, self.width(phase, encoder) - 1))
        shown = torch.as_tensor(noise).to(model.last.bias)
        with torch.no_grad():
            shown, depth = cleared(shown, self.strides, model.expected)
            means, gaps, scores = model(shown, depth)
        missing = rng.random(gaps.shape) < torch.sigmoid(gaps.double()).numpy()
        found = drawn(scores.double().numpy(), encoder, rng)
        return encoder.decode(means.double().numpy(), missing, found)


class _Denoiser(nn.Module):
    """What a noisy patient was: a perceptron on top of Bayes' rule for single columns."""

    def __init__(self, encoder: Encoder, hidden: int, layers: int) -> None:
        super().__init__()
        self.numbers = len(encoder.numbers)
        # Not buffers, so that the parameters are all that is exchanged.
        self.levels = Levels(encoder)
        shares = np.concatenate([np.empty(0), *encoder.shares])
        self.shares = torch.as_tensor(shares.clip(_RARE))
        self.rates = torch.as_tensor(encoder.missing_rates)
        self.needs = [needed(encoder, feature) for feature in encoder.numbers]
        self.levels_need = [
            needed(encoder, feature)
            for feature, width in zip(encoder.categories, encoder.widths, strict=True)
            for _ in range(width)
        ]
        width = 2 * self.numbers + len(shares)
        self.strength = nn.Linear(WAVES, hidden)
        self.first = nn.Linear(width, hidden)
        self.inner = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers - 1))
        self.last = nn.Linear(hidden, width)
        # Past the layers, so that the linear part is learned quickly.
        self.straight = nn.Linear(2 * width, width, bias=False)
        nn.init.zeros_(self.straight.weight)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def clean(self, batch: Batch) -> Tensor:
        """Return patients as the numbers that noise is added to; 0 for what does not apply."""
        applies = batch.levels_apply[:, self.levels.columns.to(batch.levels.device)]
        levels = batch.onehot - applies * self.shares.to(applies)
        gaps = batch.missing - batch.applies * self.rates.to(batch.missing)
        return torch.cat([batch.numbers, _SCALE * gaps, _SCALE * levels], dim=1)

    def forward(self, shown: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return means of numbers, logits of gaps, and scores of levels."""
        signal, noise = strengths(level)
        found = functional.silu(self.first(shown) + self.strength(waves(level)))
        for layer in self.inner:
            found = found + functional.silu(layer(found))
        cuts = (self.numbers, 2 * self.numbers)
        learned = self.last(found) + self.straight(
            torch.cat([signal * shown, noise * shown], dim=1)
        )
        means, gaps, scores = learned.tensor_split(cuts, dim=1)
        number, gap, hot = shown.tensor_split(cuts, dim=1)
        weight = signal * _SCALE / noise**2
        rates, shares = self.rates.to(gap), self.shares.to(hot)
        gap = weight * (gap + signal * _SCALE * (rates - 0.5)) + torch.logit(rates, eps=_RARE)
        hot = weight * (hot + signal * _SCALE * shares) + torch.log(shares)
        return signal * number + noise * means, gap + gaps, hot + scores

    def expected(self, shown: Tensor, level: Tensor) -> Tensor:
        """Return the mean of the patients that may have been, as ``clean`` writes them."""
        means, gaps, scores = self(shown, level)
        missing = torch.sigmoid(gaps)
        # The last column stands for what nothing is needed for.
        there = torch.cat([1 - missing, torch.ones_like(missing[:, :1])], dim=1)
        applies = there[:, self.needs]
        apart = self.levels.chances(scores) - self.shares.to(scores)
        return torch.cat(
            [
                means * (1 - missing) * applies,
                _SCALE * applies * (missing - self.rates.to(missing)),
                _SCALE * there[:, self.levels_need] * apart,
            ],
            dim=1,
        )

    def cost(self, shown: Tensor, level: Tensor, batch: Batch) -> Tensor:
        """Return what each patient costs, summed over what applies to her."""
        means, gaps, scores = self(shown, level)
        number = batch.measured * 0.5 * (batch.numbers - means) ** 2
        bit = batch.applies * functional.softplus(gaps) - batch.missing * gaps
        total = batch.levels_apply * self.levels.totals(scores)
        return torch.cat([number + bit, total, -batch.onehot * scores], dim=1).sum(dim=1)
