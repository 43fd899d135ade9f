"""Gradients of single patients, as whoever knows a model can compute them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedbench.data import Cohort
from fedbench.errors import ContractError, Unsupported
from fedbench.generator import Phase, Site
from fedbench.stepping import Batch
from fedbench.strategy import Message
from fedbench.traces import Floats, Singles, Traces
from fedbench.training import Neural
from fedbench.wire import Glimpse, Wire

__all__ = ["Along", "Gradients", "batch_of", "network_of"]

Along = Literal["middle", "path"]
"""Where gradients are taken: half way through a round, or all along it."""

_SIMPSON = {0.0: 1 / 6, 0.5: 4 / 6, 1.0: 1 / 6}


def network_of(wire: Wire, phase: Phase, told: Message) -> nn.Module:
    """Return the network that crossed in a message.

    Raises:
        Unsupported: not all of it did.
    """
    generator = wire.generator
    if not isinstance(generator, Neural):
        raise ContractError(f"{type(generator).__name__} is not trained by gradients.")
    with _nothing_kept():
        return generator.loaded(phase, told, wire.encoder)


def batch_of(
    wire: Wire, glimpse: Glimpse, cohort: Cohort, dtype: torch.dtype
) -> tuple[Batch, NDArray[np.uint64]]:
    """Return all there is of patients, as anybody can compute it, and keys for their noise.

    Raises:
        Unsupported: it takes what a hospital keeps to itself.
    """
    generator, encoder = wire.generator, wire.encoder
    if not isinstance(generator, Neural):
        raise ContractError(f"{type(generator).__name__} is not trained by gradients.")
    records = encoder.encode(cohort)
    site = Site("", records, encoder, {}, cohort)
    with _nothing_kept():
        besides = generator.besides(glimpse.phase, glimpse.before, site)
    keys = np.arange(len(cohort), dtype=np.uint64)
    return Batch.of(records, encoder, dtype, "cpu", besides), keys


@contextmanager
def _nothing_kept() -> Iterator[None]:
    try:
        yield
    except ContractError as lacking:
        raise Unsupported(
            f"Hospitals keep a part of this network to themselves. {lacking}"
        ) from lacking


class Gradients(Traces):
    """Gradients per patient between the parameters before and after a round.

    ``seen`` is how far they went in one step, in units of the learning rate. Where the optimizer
    scales gradients (Adam), that is undone as it would scale those of ``like``. The noise that a
    generator draws for a patient is not known: her gradient is a mean over ``draws`` of it.
    ``along`` a path it is also a mean over the straight line from before to after, by Simpson's
    rule; of a single step it is where that step began. Under DP-SGD each gradient is shortened as
    the training did, and the noise is known.
    """

    def __init__(
        self, wire: Wire, glimpse: Glimpse, like: Cohort, draws: int, along: Along = "middle"
    ) -> None:
        generator = wire.generator
        if not isinstance(generator, Neural):
            raise ContractError(f"{type(generator).__name__} is not trained by gradients.")
        self._wire, self._generator, self._glimpse = wire, generator, glimpse
        self._draws = draws
        self._middle, self._end = self._place(0.5), self._place(1.0)
        self._places = [(1.0, self._middle)]
        if along == "path" and glimpse.steps <= 1:
            self._places = [(1.0, self._place(0.0, glimpse.length))]
        elif along == "path":
            self._places = [
                (weight, self._place(share, glimpse.length)) for share, weight in _SIMPSON.items()
            ]
        names = self._middle.names
        before, after = (
            np.concatenate([np.ravel(side[name]).astype(np.float64) for name in names])
            for side in (glimpse.before, glimpse.after)
        )
        self.seen = ((before - after) / (generator.learning_rate * glimpse.steps)).astype(
            np.float32
        )
        self.haze = glimpse.noise**2 / glimpse.patients
        if generator.optimizer == "adam":
            self.seen = (self.seen * self._scale(like)).astype(np.float32)

    def of(self, cohort: Cohort) -> Singles:
        return self._mean(cohort, range(self._draws))

    def unknown(self, cohort: Cohort) -> Singles:
        first, second = (self._mean(cohort, [self._draws + more]) for more in (0, 1))
        return np.asarray((first - second) / np.sqrt(2), dtype=np.float32)

    def _mean(self, cohort: Cohort, draws: Sequence[int]) -> Singles:
        found = np.zeros((len(cohort), len(self.seen)), dtype=np.float32)
        for draw in draws:
            patients = self._patients(cohort, draw)
            for weight, place in self._places:
                each = _over(torch.func.grad(place.loss), place, patients)
                flat = [each[name].reshape(len(cohort), -1) for name in place.names]
                whole = torch.cat(flat, dim=1).float().nan_to_num_(0.0, 0.0, 0.0).numpy()
                found += weight * self._shortened(whole)
        return np.asarray(found / len(draws), dtype=np.float32)

    def _shortened(self, each: Singles) -> Singles:
        """Cut each patient's gradient of every objective as DP-SGD does."""
        if not np.isfinite(self._glimpse.clip):
            return each
        objectives, kept = self._middle.objectives, each.copy()
        bound = self._glimpse.clip / np.sqrt(len(objectives))
        for mine in objectives:
            length = np.linalg.norm(each[:, mine], axis=1, keepdims=True)
            kept[:, mine] *= np.minimum(1.0, bound / np.maximum(length, 1e-30))
        return kept

    def losses(self, cohort: Cohort) -> Floats:
        found = np.zeros(len(cohort))
        for draw in range(self._draws):
            with torch.no_grad():
                each = _over(self._end.loss, self._end, self._patients(cohort, draw))
            found += each.double().nan_to_num_(0.0, 0.0, 0.0).numpy()
        return found / self._draws

    def _scale(self, like: Cohort) -> Floats:
        """Return the root of the mean square of a batch's gradient, per parameter."""
        found = self.of(next(self.blocks(like))).astype(np.float64)
        batch = min(self._generator.batch or np.inf, self._glimpse.patients)
        mean = found.mean(axis=0)
        vary = found.var(axis=0) / batch + self.haze * self._glimpse.steps / self._glimpse.patients
        return np.asarray(np.sqrt(mean**2 + vary) + 1e-8)

    def _place(self, share: float, length: float = 0.0) -> _Place:
        """Return the network after this share of the way, which is so much of the training."""
        generator, glimpse = self._generator, self._glimpse
        here = {
            name: ((1 - share) * glimpse.before[name] + share * after).astype(after.dtype)
            for name, after in glimpse.after.items()
        }
        told = {**glimpse.before, **here}
        network = network_of(self._wire, glimpse.phase, told)
        network.requires_grad_(requires_grad=False)
        objectives = [each for each in generator.objectives if each not in generator.blind]
        mine = tuple(prefix for each in objectives for prefix in generator.objectives[each])
        parameters = {
            name: parameter.detach()
            for name, parameter in network.named_parameters()
            if name.startswith(mine) and name in here
        }
        progress = glimpse.progress + (share - 0.5) * length
        flat = np.concatenate(
            [np.full(p.numel(), _objective_of(generator, n)) for n, p in parameters.items()]
        )
        each = [np.flatnonzero(flat == name) for name in objectives]
        return _Place(_Losses(network, generator, objectives, progress), parameters, each)

    def _patients(self, cohort: Cohort, draw: int) -> Sequence[Tensor]:
        """Return all there is of the patients, each with noise of the attacker's own."""
        generator, encoder = self._generator, self._wire.encoder
        dtype = next(iter(self._middle.parameters.values())).dtype
        everyone, keys = batch_of(self._wire, self._glimpse, cohort, dtype)
        noise = generator.draws(self._glimpse.phase, encoder, keys, draw)
        return [*everyone.tensors, torch.as_tensor(noise).to(dtype)]


class _Losses(nn.Module):
    """What one patient costs, as a module's output, as torch.func wants it."""

    def __init__(
        self, network: nn.Module, generator: Neural, objectives: Sequence[str], progress: float
    ) -> None:
        super().__init__()
        self.network = network
        self._generator, self._objectives, self._progress = generator, objectives, progress

    def forward(self, *patients: Tensor) -> Tensor:
        *records, draws = patients
        batch = Batch.joined(records, self._progress)
        found = self._generator.losses(self.network, batch, draws)
        return torch.stack([found[name].sum() for name in self._objectives]).sum()


def _objective_of(generator: Neural, parameter: str) -> str:
    return next(o for o, prefixes in generator.objectives.items() if parameter.startswith(prefixes))


@dataclass(frozen=True)
class _Place:
    """A network, and those of its parameters that records train."""

    losses: _Losses
    parameters: Mapping[str, Tensor]
    objectives: Sequence[NDArray[np.intp]]
    """Which numbers each of them trains, all parameters laid end to end."""

    @property
    def names(self) -> Sequence[str]:
        return list(self.parameters)

    def loss(self, parameters: Mapping[str, Tensor], *patient: Tensor) -> Tensor:
        """Return what one patient costs with these parameters."""
        named = {f"network.{name}": value for name, value in parameters.items()}
        alone = tuple(part[None] for part in patient)
        found: Tensor = torch.func.functional_call(self.losses, named, alone)
        return found


def _over(what: Callable[..., Any], place: _Place, patients: Sequence[Tensor]) -> Any:
    """Compute something for every patient alone."""
    over = (None, *[0] * len(patients))
    return torch.func.vmap(what, in_dims=over, randomness="different")(place.parameters, *patients)
