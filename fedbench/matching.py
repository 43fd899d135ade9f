"""Units of networks that were trained apart, put in one order before they are averaged."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from fedbench.strategy import Message, averaged

__all__ = ["chains", "matched"]

Chain = tuple[str, ...]
"""Layers of which each feeds the next and nothing else, by the beginning of their names."""

_LAYER = re.compile(r"(.*)\.(\d+)\.weight")
_TURNS = 3


def chains(parameters: Message) -> list[Chain]:
    """Return the layers that follow each other, as their names and shapes tell it.

    These are the linear layers, with biases, of an ``nn.Sequential``: ``net.0.weight``,
    ``net.2.weight``, of which each takes as many numbers as the one before gives. Layers without
    any gap between their numbers are taken for an ``nn.ModuleList``, whose layers may be added to
    what they are given (residual layers): in another order that is another network.

    >>> net = {"net.0.weight": np.ones((3, 5)), "net.0.bias": np.ones(3),
    ...        "net.2.weight": np.ones((2, 3)), "net.2.bias": np.ones(2)}
    >>> chains(net)
    [('net.0', 'net.2')]
    """
    found: dict[str, list[int]] = {}
    for name, array in parameters.items():
        layer = _LAYER.fullmatch(name)
        if layer and array.ndim == 2 and f"{layer[1]}.{layer[2]}.bias" in parameters:
            found.setdefault(layer[1], []).append(int(layer[2]))
    named = [tuple(f"{start}.{i}" for i in sorted(places)) for start, places in found.items()]
    return [chain for chain in named if _apart(chain) and _fits(chain, parameters)]


def matched(
    arrays: Mapping[str, Message], weights: Mapping[str, float], *, signed: bool = False
) -> Message:
    """Average networks whose units may be in any order, each put in the order of the others.

    Layer by layer the units of every site are assigned to those of the mean so far by the cosine
    of what they read (weights and bias), the best assignment of all (Hungarian method), and the
    next layer's inputs are put in the same order; the first mean is the heaviest site. This is
    the matching of FedMA (Wang et al. 2020, https://arxiv.org/abs/2002.06440) without growth.
    Where networks started alike it changes next to nothing.

    Args:
        arrays: Parameters by site.
        weights: How much each site counts.
        signed: Whether a unit may also be the other one's negative, as for tanh and for units
            without activation; not for ReLU.
    """
    first = max(sorted(arrays), key=lambda site: weights[site])
    order = chains(arrays[first])
    mean: Message = arrays[first]
    for _ in range(_TURNS if order else 0):
        turned = {site: _turned(own, mean, order, signed=signed) for site, own in arrays.items()}
        mean = averaged(turned, weights)
    return mean if order else averaged(arrays, weights)


def _apart(chain: Chain) -> bool:
    places = [int(layer.rpartition(".")[2]) for layer in chain]
    return any(after > before + 1 for before, after in pairwise(places))


def _fits(chain: Chain, parameters: Message) -> bool:
    shapes = [parameters[f"{layer}.weight"].shape for layer in chain]
    return all(gives[0] == takes[1] for gives, takes in pairwise(shapes))


def _turned(own: Message, mean: Message, order: Sequence[Chain], *, signed: bool) -> Message:
    """Return the same network with its hidden units in the order of another."""
    found: dict[str, NDArray[Any]] = dict(own)
    for chain in order:
        for layer, after in pairwise(chain):
            place, sign = _assigned(_reads(found, layer), _reads(mean, layer), signed=signed)
            weight, bias = found[f"{layer}.weight"], found[f"{layer}.bias"]
            sign = sign.astype(weight.dtype)
            found[f"{layer}.weight"] = weight[place] * sign[:, None]
            found[f"{layer}.bias"] = bias[place] * sign
            found[f"{after}.weight"] = found[f"{after}.weight"][:, place] * sign
    return found


def _reads(parameters: Message, layer: str) -> NDArray[np.float64]:
    """Return what each unit reads, of length 1."""
    rows = np.column_stack([parameters[f"{layer}.weight"], parameters[f"{layer}.bias"]])
    rows = rows.astype(np.float64)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _assigned(
    own: NDArray[np.float64], theirs: NDArray[np.float64], *, signed: bool
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return which own unit stands for each of theirs, and with which sign."""
    alike = theirs @ own.T
    rows, place = linear_sum_assignment(-(np.abs(alike) if signed else alike))
    sign = np.sign(alike[rows, place]) if signed else np.ones(len(place))
    return place, np.where(sign == 0, 1.0, sign)
