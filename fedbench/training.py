"""The one local loop of neural generators."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from torch import Tensor, nn

from fedbench.encoding import Encoder, Records
from fedbench.errors import ContractError, Unsupported
from fedbench.generator import Generator, Local, Phase, Site, State
from fedbench.privacy import Unlimited
from fedbench.seeds import Rng, normals
from fedbench.strategy import Correction, Message, Update

__all__ = ["Batch", "Neural", "weights"]

_PRECISION = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Batch:
    """Some patients as tensors; the first axis of each is the patient.

    ``numbers``, ``missing`` and ``applies`` have one column per number, ``levels`` (indices) and
    ``levels_apply`` one per category, as in ``Records``. ``onehot`` has one column per level of
    every category, missing included, and is 0 where the category does not apply.
    ``measured`` is 1 where a number applies and is not missing. ``progress`` goes from 0 to 1 over
    the whole training.
    """

    numbers: Tensor
    missing: Tensor
    applies: Tensor
    levels: Tensor
    levels_apply: Tensor
    onehot: Tensor
    measured: Tensor
    progress: float = 0.0

    @classmethod
    def of(cls, records: Records, encoder: Encoder, dtype: torch.dtype, device: str) -> Self:
        """Turn encoded records into tensors, once per update rather than once per step."""

        def real(values: NDArray[np.float64] | NDArray[np.bool_]) -> Tensor:
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
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: slice | Tensor) -> Batch:
        """Return these patients; a slice copies nothing."""
        return Batch(
            self.numbers[rows],
            self.missing[rows],
            self.applies[rows],
            self.levels[rows],
            self.levels_apply[rows],
            self.onehot[rows],
            self.measured[rows],
            self.progress,
        )


@dataclass(frozen=True, kw_only=True)
class Neural(Generator):
    """A generator that is trained by gradient steps.

    Attributes:
        passes: How often each site goes through its own patients, over all rounds.
        batch: Patients per step, at most; 0 takes all of them.
        least_steps: Steps per pass, at least, so that small hospitals take some too.
        learning_rate: Of the optimizer, which starts afresh every round.
        optimizer: ``adam`` (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980) or plain ``sgd``.
        precision: Of parameters and data; ``float64`` is for exact comparisons.
    """

    objectives: ClassVar[Mapping[str, tuple[str, ...]]] = {"loss": ("",)}
    """Which parameters each objective trains, by the beginning of their names."""

    passes: Annotated[int, Ge(1)] = 100
    batch: Annotated[int, Ge(0)] = 256
    least_steps: Annotated[int, Ge(1)] = 1
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    optimizer: Literal["adam", "sgd"] = "adam"
    precision: Literal["float32", "float64"] = "float32"

    @abstractmethod
    def network(self, phase: Phase, encoder: Encoder) -> nn.Module:
        """Return a network with fresh weights; the names of its parameters are the message's.

        No buffers and no layer that mixes patients (batch norm), so that what is averaged is all
        there is and per-patient gradients exist.
        """

    @abstractmethod
    def losses(self, network: nn.Module, batch: Batch, draws: Tensor) -> Mapping[str, Tensor]:
        """Return one value per patient and objective; their mean over a batch is minimized."""

    @abstractmethod
    def width(self, phase: Phase, encoder: Encoder) -> int:
        """Return how many draws of noise each patient needs per pass."""

    def draws(
        self, phase: Phase, encoder: Encoder, keys: NDArray[np.uint64], stream: int
    ) -> NDArray[np.float64]:
        """Return each patient's noise, the same wherever she lives; shape ``(n, width)``."""
        return normals(keys, self.width(phase, encoder), stream)

    def start(self, phase: Phase, state: State | None, encoder: Encoder, rng: Rng) -> State:
        with _seeded(rng):
            network = self.network(phase, encoder).to(_PRECISION[self.precision])
        return {**(state or {}), **weights(network)}

    def update(self, phase: Phase, message: Message, site: Site, local: Local, rng: Rng) -> Update:
        """Train at one site for its share of the passes.

        Raises:
            Unsupported: differential privacy was asked for.
        """
        if not isinstance(local.budget, Unlimited):
            raise Unsupported(f"{type(self).__name__} does not train with differential privacy.")
        with _seeded(rng):
            network = self.loaded(phase, message, site.encoder).to(local.device)
            steps, means = self._fit(network, phase, site, local, rng)
        weight = float(len(site.records))
        return Update(parameters=weights(network), weight=weight, steps=steps, control=means)

    def loaded(self, phase: Phase, message: Message, encoder: Encoder) -> nn.Module:
        """Return the network of a phase with the weights of a message.

        Raises:
            ContractError: a weight is not in the message.
        """
        with _seeded(np.random.default_rng(0)):
            network = self.network(phase, encoder)
        names = [name for name, _ in network.named_parameters()]
        if lacking := sorted(set(names) - set(message)):
            raise ContractError(f"The message of phase {phase.name!r} lacks {', '.join(lacking)}.")
        network.to(_PRECISION[self.precision])
        network.load_state_dict({name: torch.as_tensor(message[name]) for name in names})
        return network

    def _fit(
        self, network: nn.Module, phase: Phase, site: Site, local: Local, rng: Rng
    ) -> tuple[int, Message]:
        """Return how many steps were taken, and the mean gradients if they are asked for."""
        trainers = [
            _Trainer.of(network, name, prefixes, self) for name, prefixes in self.objectives.items()
        ]
        pulls = [_Pull.of(trainer.whole, local.correction.proximal) for trainer in trainers]
        drifts = [_Drift.of(network, trainer, local.correction) for trainer in trainers]
        steps = 0
        for batch, draws in self._batches(phase, site, local, rng):
            losses = self.losses(network, batch, draws)
            for trainer in trainers:
                trainer.differentiate(losses, last=trainer is trainers[-1])
            for trainer, pull, drift in zip(trainers, pulls, drifts, strict=True):
                drift.apply()
                pull.apply()
                trainer.optimizer.step()
            steps += 1
        means = {name: mean for drift in drifts for name, mean in drift.means(steps).items()}
        return steps, means

    def _batches(
        self, phase: Phase, site: Site, local: Local, rng: Rng
    ) -> Iterator[tuple[Batch, Tensor]]:
        """Yield what every step of this round works on, each pass in a new order."""
        n, dtype = len(site.records), _PRECISION[self.precision]
        everyone = Batch.of(site.records, site.encoder, dtype, local.device)
        pieces = min(n, max(-(-n // self.batch), self.least_steps)) if self.batch else 1
        cuts = np.linspace(0, n, pieces + 1).astype(int)
        planned = self.steps(len(cuts) - 1, local)
        taken = turn = 0
        while taken < planned:
            stream = local.streams.child("draws", phase.name, local.round, turn).number()
            noise = self.draws(phase, site.encoder, site.records.keys, stream)
            order = rng.permutation(n) if len(cuts) > 2 else np.arange(n)
            rows = torch.as_tensor(order, device=local.device)
            shuffled = everyone.take(rows)
            draws = torch.as_tensor(noise).to(local.device, dtype)[rows]
            for first, last in list(pairwise(cuts.tolist()))[: planned - taken]:
                progress = (local.round + taken / planned) / local.rounds
                some = shuffled.take(slice(first, last))
                yield replace(some, progress=progress), draws[first:last]
                taken += 1
            turn += 1

    def steps(self, per_pass: int, local: Local) -> int:
        """Return how many steps a site takes in a round."""
        if local.steps is not None:
            return local.steps
        done = self.passes * local.round // local.rounds
        return per_pass * (self.passes * (local.round + 1) // local.rounds - done)


@dataclass(frozen=True)
class _Trainer:
    """One objective with the parameters it trains, laid end to end, and their optimizer.

    In one piece, an optimizer step is a few operations however many layers there are.
    """

    objective: str
    parameters: Sequence[nn.Parameter]
    whole: nn.Parameter
    optimizer: torch.optim.Optimizer

    @classmethod
    def of(
        cls, network: nn.Module, objective: str, prefixes: tuple[str, ...], model: Neural
    ) -> Self:
        parameters = [p for name, p in network.named_parameters() if name.startswith(prefixes)]
        whole = nn.Parameter(torch.cat([p.detach().flatten() for p in parameters]))
        pieces = torch.split(whole.detach(), [p.numel() for p in parameters])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.data = piece.view_as(parameter)
        optimizer: torch.optim.Optimizer
        if model.optimizer == "adam":
            optimizer = torch.optim.Adam([whole], lr=model.learning_rate, fused=True)
        else:
            optimizer = torch.optim.SGD([whole], lr=model.learning_rate, fused=True)
        return cls(objective, parameters, whole, optimizer)

    def differentiate(self, losses: Mapping[str, Tensor], *, last: bool) -> None:
        """Set the gradient; it flows to no parameter that another objective trains."""
        mean = losses[self.objective].mean()
        found = torch.autograd.grad(
            mean, self.parameters, retain_graph=not last, materialize_grads=True
        )
        self.whole.grad = torch.cat([gradient.flatten() for gradient in found])


@dataclass(frozen=True)
class _Pull:
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
class _Drift:
    """SCAFFOLD's correction of the gradient, and the mean of the gradient before it.

    Source: https://arxiv.org/abs/1910.06378.
    """

    trainer: _Trainer
    names: Sequence[str]
    shift: Tensor | None
    total: Tensor | None

    @classmethod
    def of(cls, network: nn.Module, trainer: _Trainer, correction: Correction) -> Self:
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


def weights(network: nn.Module) -> dict[str, NDArray[np.float32] | NDArray[np.float64]]:
    """Return every parameter of a network by name."""
    return {name: p.detach().cpu().numpy().copy() for name, p in network.named_parameters()}


@contextmanager
def _seeded(rng: Rng) -> Iterator[None]:
    """Seed torch within the block (first weights, dropout) and leave no trace outside."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(rng.integers(2**63)))
        yield
