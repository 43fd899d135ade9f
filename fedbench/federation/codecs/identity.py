"""Arrays cross the wire as they are."""

from __future__ import annotations

from dataclasses import dataclass

from fedbench.codec import Codec
from fedbench.strategy import Message


@dataclass(frozen=True, kw_only=True)
class Identity(Codec):
    """No compression."""

    def encode(self, message: Message) -> Message:
        return message

    def decode(self, message: Message) -> Message:
        return message
