"""Parameters cross the wire in half precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedbench.codec import Codec
from fedbench.strategy import Message

_MOST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, kw_only=True)
class Half(Codec):
    """Send half the bytes: what has single precision keeps 11 bits of each number.

    Numbers beyond 65,504 are cut to that. What has double precision is sent as it is.
    """

    def encode(self, message: Message) -> Message:
        return {
            name: value.clip(-_MOST, _MOST).astype(np.float16)
            if value.dtype == np.float32
            else value
            for name, value in message.items()
        }

    def decode(self, message: Message) -> Message:
        return {
            name: value.astype(np.float32) if value.dtype == np.float16 else value
            for name, value in message.items()
        }
