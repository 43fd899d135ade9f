"""Gradient steps that no single patient shows in (DP-SGD).

Abadi et al. 2016, https://arxiv.org/abs/1607.00133: a step is about a sample that each patient is
in or not by a secret toss of a coin; every patient's own gradient is shortened to a bound, and
their sum is noised. Clipping and scaling are Opacus', the gradients per patient torch.func's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.optimizers import DPOptimizer
from scipy.special import ndtri
from torch import Tensor, nn

__all__ = ["Clipped", "sampled"]

Normals = Callable[[int], NDArray[np.float64]]
Losses = Callable[..., Mapping[str, Tensor]]

_NUMBERS = 2**24
"""Numbers that the gradients of patients may take at once; more patients are done in turn."""


def sampled(count: int, rate: float, normals: Normals) -> NDArray[np.intp]:
    """Return who is in a step's sample, each patient by a toss of her own."""
    return np.flatnonzero(normals(count) < ndtri(rate)) if rate < 1 else np.arange(count)


@dataclass(frozen=True)
class Clipped:
    """The gradient of one objective, over patients and without any of them showing.

    Attributes:
        losses: From a network and some patients' tensors to one value per patient.
        network: With ``parameters`` among its own, which lie end to end in ``whole``.
        bound: The longest gradient that a patient may have.
        noise: Standard deviation of the noise, in units of the bound.
        expected: How many patients are in a sample, on average.
        normals: Standard normal numbers that nobody outside the site can foresee.
    """

    losses: Losses
    network: nn.Module
    parameters: Mapping[str, nn.Parameter]
    whole: nn.Parameter
    bound: float
    noise: float
    expected: float
    normals: Normals

    def differentiate(self, objective: str, patients: Sequence[Tensor]) -> None:
        """Set the gradient of ``whole`` from these patients, of whom there may be none."""
        pieces = list(self.parameters.values())
        noising = _Noising(
            torch.optim.SGD(pieces),
            noise_multiplier=self.noise,
            max_grad_norm=self.bound,
            expected_batch_size=self.expected,  # it only divides
        )
        noising.normals = self.normals
        chunk = max(1, _NUMBERS // len(self.whole))
        for start in range(0, max(1, len(patients[0])), chunk):
            each = self.each(objective, [part[start : start + chunk] for part in patients])
            for piece, theirs in zip(pieces, each, strict=True):
                piece.grad_sample = theirs  # type: ignore[attr-defined]
            noising.clip_and_accumulate()
        noising.add_noise()
        noising.scale_grad()
        self.whole.grad = torch.cat([cast("Tensor", p.grad).flatten() for p in pieces])
        noising.zero_grad(set_to_none=True)

    def each(self, objective: str, patients: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return every patient's gradient of each parameter; the first axis is the patient."""
        if not len(patients[0]):
            return [piece.new_zeros((0, *piece.shape)) for piece in self.parameters.values()]
        theirs = _Losses(self.network, self.losses)

        def loss(weights: Mapping[str, Tensor], *patient: Tensor) -> Tensor:
            alone = tuple(part[None] for part in patient)
            found = torch.func.functional_call(theirs, dict(weights), alone)
            mine: Tensor = found[objective][0]
            return mine

        weights = {f"network.{name}": p.detach() for name, p in self.parameters.items()}
        gradient = torch.func.grad(loss)
        over = (None, *[0] * len(patients))
        found = torch.func.vmap(gradient, in_dims=over, randomness="different")(weights, *patients)
        # A gradient that is no number has no length that could be cut.
        return [
            found[name].contiguous().nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
            for name in weights
        ]


class _Losses(nn.Module):
    """A network's losses as a module's output, as torch.func wants them."""

    def __init__(self, network: nn.Module, losses: Losses) -> None:
        super().__init__()
        self.network = network
        self._losses = losses

    def forward(self, *patients: Tensor) -> Mapping[str, Tensor]:
        return self._losses(self.network, *patients)


class _Noising(DPOptimizer):  # type: ignore[misc]
    """Opacus' optimizer with noise from a secret source."""

    normals: Normals

    def add_noise(self) -> None:
        for parameter in self.params:
            total = parameter.summed_grad
            drawn: Any = torch.as_tensor(self.normals(total.numel())).view_as(total)
            std = self.noise_multiplier * self.max_grad_norm
            parameter.grad = total + std * drawn.to(total)
