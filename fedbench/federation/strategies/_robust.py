"""Combining every parameter over the sites that sent it, whatever their sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbench.strategy import Message, Update

__all__ = ["by_coordinate"]


def by_coordinate(
    updates: Mapping[str, Update], middle: Callable[[NDArray[Any]], NDArray[Any]]
) -> Message:
    """Apply ``middle`` to each parameter's values, shape ``(sites, ...)``, per name."""
    names = sorted({name for update in updates.values() for name in update.parameters})
    found = {}
    for name in names:
        told = [u.parameters[name] for u in updates.values() if name in u.parameters]
        found[name] = middle(np.stack(told)).astype(told[0].dtype, copy=False)
    return found
