"""Letting Flower's own strategies do the averaging."""

from __future__ import annotations

import fedbench.federation  # noqa: F401  isort: skip  (switches telemetry off before flwr)

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.app import Message as Letter
from numpy.typing import NDArray

from fedbench.strategy import Combined, Message, Update, added, averaged

if TYPE_CHECKING:
    from flwr.serverapp.strategy import FedAdam, FedAvg, FedYogi

__all__ = ["adapted_by", "combined_by", "shared"]


def shared(updates: Mapping[str, Update]) -> list[str]:
    """Return the names of the parameters that every site sent."""
    return sorted(set.intersection(*(set(update.parameters) for update in updates.values())))


def combined_by(flower: FedAvg, updates: Mapping[str, Update], round: int) -> Combined:
    """Average the parameters with a Flower strategy, weighted by train patients.

    Flower requires equal names from all sites, so it gets those that all of them send; names
    that only some send are averaged over those. Sums are added.
    """
    names = shared(updates)
    rest = {
        site: {name: a for name, a in update.parameters.items() if name not in names}
        for site, update in updates.items()
    }
    weights = {site: update.weight for site, update in updates.items()}
    parameters: dict[str, NDArray[Any]] = dict(averaged(rest, weights))
    if names:
        replies = [_reply(update, names) for update in updates.values()]
        arrays, _ = flower.aggregate_train(round + 1, replies)
        assert arrays is not None  # noqa: S101  (there are replies)
        kinds = {name: a.dtype for name, a in next(iter(updates.values())).parameters.items()}
        parameters |= {
            name: a.numpy().astype(kinds[name], copy=False) for name, a in arrays.items()
        }
    return Combined(parameters, added(updates), tuple(updates))


def adapted_by(
    flower: FedAdam | FedYogi, state: Message, updates: Mapping[str, Update], server: Message
) -> tuple[Combined, Message]:
    """Take the average change as a gradient for a Flower optimizer, and remember its moments."""
    flower.current_arrays = {name: state[name] for name in shared(updates)}
    flower.m_t, flower.v_t = (
        {name.removeprefix(key): a for name, a in server.items() if name.startswith(key)} or None
        for key in ("m/", "v/")
    )
    round = int(server.get("round", np.array(0)))
    combined = combined_by(flower, updates, round)
    moments = {
        f"{key}/{name}": array
        for key, moment in (("m", flower.m_t), ("v", flower.v_t))
        for name, array in (moment or {}).items()
    }
    return combined, {**moments, "round": np.array(round + 1)}


class Held(Array):
    """An array that was received and decoded, for Flower to read; it does not cross again."""

    def __init__(self, array: NDArray[Any]) -> None:
        super().__init__(array.dtype.str, array.shape, "held", b"")
        self._held = array.view()
        self._held.flags.writeable = False

    def numpy(self) -> NDArray[Any]:
        """Return the array itself, to read."""
        return self._held


def _reply(update: Update, names: Sequence[str]) -> Letter:
    arrays = ArrayRecord()
    for name in names:
        arrays[name] = Held(np.asarray(update.parameters[name]))
    metrics = MetricRecord({"num-examples": update.weight})
    return Letter(RecordDict({"arrays": arrays, "metrics": metrics}), 0, "train")
