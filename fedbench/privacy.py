"""What a site may say: every release is charged to one budget."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from fedbench.plugin import Plugin

__all__ = ["Budget", "Unlimited"]


class Budget(Plugin):
    """The privacy charge of a site over all rounds and releases of a cell."""

    label: ClassVar[str]

    @abstractmethod
    def release(self, sums: Mapping[str, NDArray[Any]], bound: float) -> Mapping[str, NDArray[Any]]:
        """Let sums out of the site, whose one-patient L2 norm is at most ``bound``."""


@dataclass(frozen=True, kw_only=True)
class Unlimited(Budget):
    """No differential privacy: sums leave as they are."""

    label: ClassVar[str] = "none"

    def release(self, sums: Mapping[str, NDArray[Any]], bound: float) -> Mapping[str, NDArray[Any]]:
        return sums
