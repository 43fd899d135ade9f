"""The layer of a network that is shown encoded patients as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedbench.data import Cohort
from fedbench.encoding import Encoder
from fedbench.errors import Unsupported
from fedbench.gradients import batch_of, network_of
from fedbench.stepping import Batch
from fedbench.training import Neural
from fedbench.wire import Glimpse, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Shown", "encoded", "shown"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PROBES = 8
"""Invented patients by whom columns of what a layer is shown are recognised."""


@dataclass(frozen=True)
class Shown:
    """How the layer that is shown encoded patients moved in a round.

    Its gradient is a sum of one product per patient and step: of what came back from above, one
    number per unit, and what she looks like, one number per column.

    Attributes:
        weight: How far it moved per unit and encoded column, shape ``(units, columns)``.
        bias: Per unit.
        blur: How far rounding alone may have moved any of them.
    """

    weight: Floats
    bias: Floats
    blur: float


def encoded(encoder: Encoder, cohort: Cohort) -> Floats:
    """Return patients as such a layer is shown them: numbers, gaps and levels, side by side."""
    batch = Batch.of(encoder.encode(cohort), encoder, torch.float64, "cpu")
    return _columns(batch).numpy()


def shown(wire: Wire, glimpse: Glimpse) -> Shown:
    """Return how the layer that is shown encoded patients, and nothing else, moved in a round.

    Which one it is, is found by showing the network invented patients.

    Raises:
        Unsupported: there is none, or nothing crossed of it.
    """
    generator = wire.generator
    if not isinstance(generator, Neural) or not glimpse.after or not glimpse.steps:
        raise Unsupported("No layer that is shown patients learned from them here: sums cross.")
    network = network_of(wire, glimpse.phase, {**glimpse.before, **glimpse.after})
    name, places = _found(wire, glimpse, generator, network)
    moved = {
        part: np.asarray(glimpse.before[f"{name}.{part}"], np.float64)
        - np.asarray(glimpse.after[f"{name}.{part}"], np.float64)
        for part in ("weight", "bias")
    }
    kept = glimpse.after[f"{name}.weight"]
    blur = float(np.finfo(kept.dtype).eps * np.abs(kept).max() * np.sqrt(glimpse.steps))
    return Shown(moved["weight"][:, places], moved["bias"], blur)


def _found(
    wire: Wire, glimpse: Glimpse, generator: Neural, network: nn.Module
) -> tuple[str, Sequence[int]]:
    """Return the name of the layer, and where it is shown each encoded column."""
    encoder = wire.encoder
    people = encoder.decode(*_nobody(encoder))
    dtype = next(network.parameters()).dtype
    usual, keys = batch_of(wire, glimpse, people, dtype)
    batch, seen = _marked(usual), []
    for stream in (0, 1):
        draws = torch.as_tensor(generator.draws(glimpse.phase, encoder, keys, stream)).to(dtype)
        with torch.no_grad(), _watched(network) as inputs:
            generator.losses(network, batch, draws)
        seen.append({name: each[0] for name, each in inputs.items() if len(each) == 1})
    trained = tuple(
        prefix
        for objective, prefixes in generator.objectives.items()
        if objective not in generator.blind
        for prefix in prefixes
    )
    wanted = _columns(batch).numpy()
    for name, first in seen[0].items():
        crossed = {f"{name}.weight", f"{name}.bias"} <= glimpse.after.keys()
        still = name in seen[1] and first.equal(seen[1][name])
        if crossed and still and name.startswith(trained) and first.shape[:-1] == (len(people),):
            places = _places(first.numpy(), wanted)
            if len(places) == wanted.shape[1]:
                return name, places
    raise Unsupported(
        "No layer of this network is shown encoded patients alone and without noise, so that none "
        "of them can be read off its gradient."
    )


def _nobody(encoder: Encoder) -> tuple[Floats, NDArray[np.bool_], Ints]:
    """Return patients without anything remarkable, as the encoder writes them."""
    levels = [np.full(_PROBES, int(share.argmax())) for share in encoder.shares]
    columns = np.stack(levels, axis=1) if levels else np.empty((_PROBES, 0), np.int64)
    numbers = np.zeros((_PROBES, len(encoder.numbers)))
    return numbers, np.zeros(numbers.shape, dtype=bool), columns


def _marked(batch: Batch) -> Batch:
    """Put numbers in all columns by which each is told from every other one."""
    rng = np.random.default_rng(0)
    numbers, missing, onehot = (
        torch.as_tensor(rng.random(tuple(part.shape))).to(part)
        for part in (batch.numbers, batch.missing, batch.onehot)
    )
    return replace(batch, numbers=numbers, missing=missing, onehot=onehot)


def _columns(batch: Batch) -> Tensor:
    return torch.cat([batch.numbers, batch.missing, batch.onehot], dim=1)


@contextmanager
def _watched(network: nn.Module) -> Iterator[Mapping[str, list[Tensor]]]:
    """Keep what every linear layer is shown within the block."""
    found: dict[str, list[Tensor]] = {}

    def watch(name: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def keep(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            found.setdefault(name, []).append(given[0])

        return layer.register_forward_pre_hook(keep)

    layers = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear)]
    handles = [watch(name, layer) for name, layer in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _places(given: NDArray[np.floating], wanted: NDArray[np.floating]) -> Sequence[int]:
    """Return in which column of what is given each wanted one is; fewer, if not all are."""
    at = {column.tobytes(): place for place, column in enumerate(given.T + 0.0)}
    return [at[c.tobytes()] for c in wanted.T + 0.0 if c.tobytes() in at]
