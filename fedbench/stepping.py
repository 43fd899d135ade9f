"""What a gradient step works on: patients as tensors, parameters, and what changes gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedbench.encoding import Encoder, Records
from fedbench.strategy import Correction, Message

__all__ = ["Batch", "Drift", "Pull", "Trainer"]


@dataclass(frozen=True)
class Batch:
    """Some patients as tensors; the first axis of each is the patient.

    ``numbers``, ``missing`` and ``applies`` have one column per number, ``levels`` (indices) and
    ``levels_apply`` one per category, as in ``Records``. ``onehot`` has one column per level of
    every category, missing included, and is 0 where the category does not apply.
    ``measured`` is 1 where a number applies and is not missing. ``extra`` is what a generator made
    of the patients besides (``Neural.besides``). ``progress`` goes from 0 to 1 over the whole
    training.
    """

    numbers: Tensor
    missing: Tensor
    applies: Tensor
    levels: Tensor
    levels_apply: Tensor
    onehot: Tensor
    measured: Tensor
    extra: tuple[Tensor, ...] = ()
    progress: float = 0.0

    @classmethod
    def of(
        cls,
        records: Records,
        encoder: Encoder,
        dtype: torch.dtype,
        device: str,
        extra: Sequence[NDArray[Any]] = (),
    ) -> Self:
        """Turn encoded records into tensors, once per update rather than once per step."""

        def real(values: NDArray[Any]) -> Tensor:
            return torch.as_tensor(values).to(device, dtype)

        hot = np.zeros((len(records), sum(encoder.widths)), dtype=bool)
        starts = np.cumsum([0, *encoder.widths])[:-1]
        rows, columns = np.nonzero(records.levels_apply)
        hot[rows, (starts + records.levels)[rows, columns]] = True
        return cls(
            real(records.numbers),
            real(records.missing),
            real(records.applies),
            torch.as_tensor(records.levels).to(device),
            real(records.levels_apply),
            real(hot),
            real(records.applies & ~records.missing),
            tuple(
                real(each) if each.dtype.kind == "f" else torch.as_tensor(each).to(device)
                for each in extra
            ),
        )

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def tensors(self) -> Sequence[Tensor]:
        """All there is of the patients, in the order of the fields."""
        found = [getattr(self, field.name) for field in fields(self)]
        return [*(each for each in found if isinstance(each, Tensor)), *self.extra]

    def take(self, rows: slice | Tensor) -> Batch:
        """Return these patients; a slice copies nothing."""
        return Batch.joined([each[rows] for each in self.tensors], self.progress)

    @staticmethod
    def joined(tensors: Sequence[Tensor], progress: float = 0.0) -> Batch:
        """Return the patients that these tensors are all there is of."""
        numbers, missing, applies, levels, levels_apply, onehot, measured, *extra = tensors
        return Batch(
            numbers,
            missing,
            applies,
            levels,
            levels_apply,
            onehot,
            measured,
            tuple(extra),
            progress,
        )


@dataclass(frozen=True)
class Trainer:
    """One objective with the parameters it trains, laid end to end, and their optimizer.

    In one piece, an optimizer step is a few operations however many layers there are.
    """

    objective: str
    parameters: Sequence[nn.Parameter]
    whole: nn.Parameter
    optimizer: torch.optim.Optimizer

    @classmethod
    def of(
        cls,
        network: nn.Module,
        objective: str,
        prefixes: tuple[str, ...],
        descent: Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer],
    ) -> Self:
        parameters = [p for name, p in network.named_parameters() if name.startswith(prefixes)]
        whole = nn.Parameter(torch.cat([p.detach().flatten() for p in parameters]))
        pieces = torch.split(whole.detach(), [p.numel() for p in parameters])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.data = piece.view_as(parameter)
        return cls(objective, parameters, whole, descent([whole]))

    def differentiate(self, losses: Mapping[str, Tensor], *, last: bool) -> None:
        """Set the gradient; it flows to no parameter that another objective trains."""
        mean = losses[self.objective].mean()
        found = torch.autograd.grad(
            mean, self.parameters, retain_graph=not last, materialize_grads=True
        )
        self.whole.grad = torch.cat([gradient.flatten() for gradient in found])


@dataclass(frozen=True)
class Pull:
    """FedProx's pull towards the broadcast weights (https://arxiv.org/abs/1812.06127)."""

    strength: float
    parameter: nn.Parameter
    anchor: Tensor

    @classmethod
    def of(cls, parameter: nn.Parameter, strength: float) -> Self:
        return cls(strength, parameter, parameter.detach().clone())

    def apply(self) -> None:
        if self.strength and self.parameter.grad is not None:
            moved = self.parameter.detach() - self.anchor
            self.parameter.grad.add_(moved, alpha=self.strength)


@dataclass(frozen=True)
class Drift:
    """SCAFFOLD's correction of the gradient, and the mean of the gradient before it.

    Source: https://arxiv.org/abs/1910.06378.
    """

    trainer: Trainer
    names: Sequence[str]
    shift: Tensor | None
    total: Tensor | None

    @classmethod
    def of(cls, network: nn.Module, trainer: Trainer, correction: Correction) -> Self:
        known = {id(parameter): name for name, parameter in network.named_parameters()}
        names = [known[id(parameter)] for parameter in trainer.parameters]
        shift = None
        if any(name in correction.shift for name in names):
            pieces = [
                torch.as_tensor(correction.shift[name]).to(parameter).flatten()
                if name in correction.shift
                else torch.zeros_like(parameter).flatten()
                for name, parameter in zip(names, trainer.parameters, strict=True)
            ]
            shift = torch.cat(pieces)
        total = torch.zeros_like(trainer.whole.detach()) if correction.traced else None
        return cls(trainer, names, shift, total)

    def apply(self) -> None:
        gradient = self.trainer.whole.grad
        if gradient is None:
            return
        if self.total is not None:
            self.total.add_(gradient)
        if self.shift is not None:
            gradient.add_(self.shift)

    def means(self, steps: int) -> Message:
        """Return the mean gradient of every parameter, where it was traced."""
        if self.total is None or not steps:
            return {}
        parameters = self.trainer.parameters
        pieces = torch.split(self.total / steps, [p.numel() for p in parameters])
        return {
            name: piece.view_as(parameter).cpu().numpy().copy()
            for name, parameter, piece in zip(self.names, parameters, pieces, strict=True)
        }
