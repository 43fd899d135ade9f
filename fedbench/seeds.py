"""One root seed, and a named stream of random numbers for every draw."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rng", "Seeds", "normals"]

Rng = np.random.Generator

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Seeds:
    """Hand out independent random streams by name rather than by order.

    A stream depends only on the root seed and its name, so adding a metric
    never changes how patients were dealt to hospitals.

    >>> seeds = Seeds(0)
    >>> first = seeds.child("partition").rng().integers(1000)
    >>> _ = seeds.child("a new metric").rng().integers(1000)
    >>> bool(first == seeds.child("partition").rng().integers(1000))
    True
    """

    root: int
    path: tuple[str, ...] = ()

    def child(self, *names: object) -> Seeds:
        """Return the branch of this tree called ``names``."""
        return replace(self, path=(*self.path, *map(str, names)))

    def number(self, bits: int = 64) -> int:
        """Return one number that stands for this stream."""
        # Lengths keep ("a", "b/c") and ("a/b", "c") apart.
        name = "".join(f"{len(part)}:{part}" for part in (str(self.root), *self.path))
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[: bits // 8], "big")

    def rng(self) -> Rng:
        """Return a fresh generator at the start of this stream."""
        return np.random.default_rng(self.number(128))


def normals(keys: NDArray[np.uint64], width: int, stream: int) -> NDArray[np.float64]:
    """Return standard normal noise that belongs to each key, whoever asks for it.

    A patient gets the same noise at her own hospital and in a pooled table, which is what
    makes federated and centralized training comparable to the last digit.

    Args:
        keys: One number per patient, shape ``(n,)``.
        width: How many draws each patient gets.
        stream: Names the occasion, see ``Seeds.number``.

    Returns:
        Shape ``(n, width)``, from a counter-based SplitMix64 hash
        (Steele, Lea and Flood 2014, https://doi.org/10.1145/2714064.2660195).
    """
    from scipy.special import ndtri  # noqa: PLC0415  (keeps ``fedbench --help`` quick)

    with np.errstate(over="ignore"):
        start = _mixed(keys ^ _mixed(np.array([stream], dtype=np.uint64)))
        counters = np.arange(1, width + 1, dtype=np.uint64) * _GOLDEN
        bits = _mixed(start[:, None] + counters[None, :])
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return np.asarray(ndtri(uniform), dtype=np.float64)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))
