"""Letting Flower's own strategies do the averaging."""

from __future__ import annotations

import fedbench.federation  # noqa: F401  isort: skip  (switches telemetry off before flwr)

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

from fedbench.strategy import Combined, Update, added, averaged

if TYPE_CHECKING:
    from flwr.serverapp.strategy import FedAvg

__all__ = ["combined_by"]


def combined_by(flower: FedAvg, updates: Mapping[str, Update], round: int) -> Combined:
    """Average the parameters with a Flower strategy, weighted by train patients.

    Flower requires equal names from all sites, so it gets those that all of them send; names
    that only some send are averaged over those. Sums are added.
    """
    shared = set.intersection(*(set(update.parameters) for update in updates.values()))
    rest = {
        site: {name: a for name, a in update.parameters.items() if name not in shared}
        for site, update in updates.items()
    }
    weights = {site: update.weight for site, update in updates.items()}
    parameters: dict[str, NDArray[Any]] = dict(averaged(rest, weights))
    if shared:
        replies = [_reply(update, shared) for update in updates.values()]
        arrays, _ = flower.aggregate_train(round + 1, replies)
        assert arrays is not None  # noqa: S101  (there are replies)
        kinds = {name: a.dtype for name, a in next(iter(updates.values())).parameters.items()}
        parameters |= {
            name: a.numpy().astype(kinds[name], copy=False) for name, a in arrays.items()
        }
    return Combined(parameters, added(updates), tuple(updates))


class Held(Array):
    """An array that was received and decoded, for Flower to read; it does not cross again."""

    def __init__(self, array: NDArray[Any]) -> None:
        super().__init__(array.dtype.str, array.shape, "held", b"")
        self._held = array.view()
        self._held.flags.writeable = False

    def numpy(self) -> NDArray[Any]:
        """Return the array itself, to read."""
        return self._held


def _reply(update: Update, names: set[str]) -> Message:
    arrays = ArrayRecord()
    for name in sorted(names):
        arrays[name] = Held(np.asarray(update.parameters[name]))
    metrics = MetricRecord({"num-examples": update.weight})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), 0, "train")
