"""Does another hospital learn whom the others train on?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedbench.attack import Knowledge
from fedbench.attacks._likelihood import Likelihood

__all__ = ["Peer"]


@dataclass(frozen=True, kw_only=True)
class Peer(Likelihood):
    """The same for what another hospital knows: what it was told, without its own part."""

    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.PEER, Knowledge.REFERENCE})
    version: ClassVar[int] = 7
