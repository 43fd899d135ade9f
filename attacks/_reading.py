"""What attacks share that read patients off the layer of a network that is shown them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedbench.attack import Wired
from fedbench.errors import Unsupported
from fedbench.wire import Glimpse, Wire

if TYPE_CHECKING:
    from fedbench.attacks._layers import Shown

__all__ = ["Reading"]


@dataclass(frozen=True, kw_only=True)
class Reading(Wired):
    """An attack on the first layer, whose gradient is made of what patients look like."""

    def inapplicable(self, wire: Wire) -> str:
        try:
            for site in wire.sites[:1]:
                next(self.seen(wire, site))
        except Unsupported as reason:
            return str(reason)
        return ""

    def seen(self, wire: Wire, site: str) -> Iterator[tuple[Shown, Glimpse]]:
        """Yield how the layer that is shown patients moved in each round that was listened to.

        Raises:
            Unsupported: nothing that crossed has such a layer.
        """
        from fedbench.attacks._layers import shown  # noqa: PLC0415  (torch is slow to import)

        why, silent = Unsupported(f"Nothing crossed of {site!r} here."), True
        for glimpse in wire.glimpses(site, self.rounds):
            try:
                layer = shown(wire, glimpse)
            except Unsupported as reason:
                why = reason
                continue
            silent = False
            yield layer, glimpse
        if silent:
            raise why
