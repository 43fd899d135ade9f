"""How what the sites send is combined: a server half and a client half."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from fedbench.accounting import Charge
from fedbench.plugin import Plugin
from fedbench.seeds import Rng

__all__ = [
    "SHARE",
    "Combined",
    "Correction",
    "Memory",
    "Message",
    "Remark",
    "Strategy",
    "Update",
    "added",
    "averaged",
]

SHARE = "share of the average"
"""What a remark on a site's weight is called."""

Message = Mapping[str, NDArray[Any]]
"""Named arrays of any dtype; the only thing that crosses between a site and the server."""

Memory = MutableMapping[str, NDArray[Any]]
"""Named arrays a site keeps for itself between rounds; they never cross."""


@dataclass(frozen=True)
class Update:
    """What one site says after a round. All of it crosses the wire.

    ``noise`` is the standard deviation of the noise in every number of ``sums``, and ``charges``
    what its accountant wrote down.
    """

    parameters: Message = field(default_factory=dict)
    sums: Message = field(default_factory=dict)
    weight: float = 0.0
    steps: int = 0
    control: Message = field(default_factory=dict)
    noise: float = 0.0
    charges: tuple[Charge, ...] = ()


@dataclass(frozen=True)
class Combined:
    """What the sites said together: averaged parameters, added sums, and who took part.

    ``noise`` is the standard deviation of the noise in every number of ``sums``.
    """

    parameters: Message
    sums: Message
    sites: tuple[str, ...]
    noise: float = 0.0


@dataclass(frozen=True)
class Correction:
    """What a strategy changes in a site's own training.

    ``proximal`` is the weight of FedProx's pull towards the broadcast parameters. ``shift`` is
    added to the gradient of the parameters it names, at every step. With ``traced``, the site
    returns the mean of its own gradients (without the shift) as ``Update.control``.
    """

    proximal: float = 0.0
    shift: Message = field(default_factory=dict)
    traced: bool = False


@dataclass(frozen=True)
class Remark:
    """Something a strategy noticed about a site, for whoever runs the federation."""

    site: str
    name: str
    value: float


class Strategy(Plugin):
    """A rule for combining updates, and what it asks of a site meanwhile."""

    needs: ClassVar[Literal["sum", "updates"]] = "sum"
    """``sum``: works when the server sees only sums; ``updates``: it must see each update."""

    weighs: ClassVar[bool] = False
    """Whether it decides how much a site's parameters count; its sums always count in full."""

    def meet(self, counts: Mapping[str, Update], noise: float = 0.0) -> Message:
        """Return what to remember when a phase begins, given what was said to agree the encoder.

        Args:
            counts: Each site's counts (``sums``, as ``summarize`` returns them) and its number of
                train patients (``weight``).
            noise: Standard deviation of the noise in every count, 0 without privacy.
        """
        return {}

    def remarks(self, counts: Mapping[str, Update], noise: float = 0.0) -> Sequence[Remark]:
        """Return what there is to say about the sites, given the same."""
        return ()

    def last_joins(self, sites: int, rounds: int) -> int | None:
        """Return the round with which the last of so many sites joins, counted from 0.

        None where nobody joins after the others, or those who came first come once more.
        """
        return None

    def broadcast(self, server: Message) -> Message:
        """Return extra arrays that go to the sites with the model."""
        return {}

    def correct(self, extra: Message, memory: Memory) -> Correction:
        """Return the client half, given what ``broadcast`` sent, and this phase's memory."""
        return Correction()

    def learn(self, update: Update, extra: Message, memory: Memory) -> Update:
        """Return what the site sends after its round, and remember what it needs for the next."""
        return update

    @abstractmethod
    def combine(
        self, state: Message, updates: Mapping[str, Update], server: Message, rng: Rng
    ) -> tuple[Combined, Message]:
        """Combine the updates of the sites (sorted by name).

        Args:
            state: All that the server holds of the generator.
            updates: What each site that took part sent.
            server: What this strategy remembered from the round before; empty at first.
            rng: Randomness of this round.

        Returns:
            The combination, and what to remember.
        """


def averaged(arrays: Mapping[str, Message], weights: Mapping[str, float]) -> Message:
    """Average per name over the sites that sent it, weighted.

    >>> import numpy as np
    >>> told = {"a": {"w": np.array([0.0])}, "b": {"w": np.array([3.0])}}
    >>> averaged(told, {"a": 2.0, "b": 1.0})["w"].tolist()
    [1.0]
    """
    names = sorted({name for message in arrays.values() for name in message})
    found: dict[str, NDArray[Any]] = {}
    for name in names:
        senders = [site for site in arrays if name in arrays[site]]
        total = sum(weights[site] for site in senders)
        stacked = sum(arrays[site][name] * (weights[site] / total) for site in senders)
        found[name] = np.asarray(stacked, dtype=arrays[senders[0]][name].dtype)
    return found


def added(updates: Mapping[str, Update]) -> Message:
    """Add the sums of all sites per name."""
    names = sorted({name for update in updates.values() for name in update.sums})
    return {
        name: np.sum([u.sums[name] for u in updates.values() if name in u.sums], axis=0)
        for name in names
    }
