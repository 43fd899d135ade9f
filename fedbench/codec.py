"""How arrays are packed for the wire."""

from __future__ import annotations

from abc import abstractmethod

from fedbench.plugin import Plugin
from fedbench.strategy import Message

__all__ = ["Codec"]


class Codec(Plugin):
    """Packs parameters before they cross and unpacks them behind the wire.

    Sums are never packed: what is counted must stay exact.
    """

    @abstractmethod
    def encode(self, message: Message) -> Message:
        """Return what is sent."""

    @abstractmethod
    def decode(self, message: Message) -> Message:
        """Return what is understood; the inverse of ``encode`` up to its stated error."""
