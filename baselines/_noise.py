"""Noise of growing strength, and the way back from it (diffusion)."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["LEVELS", "WAVES", "cleared", "level", "strengths", "waves"]

LEVELS = 100
"""Levels of noise."""

WAVES = 64
"""As how many numbers a level is told."""


def level(normal: Tensor) -> Tensor:
    """Return the level of noise, from 1 up, that a standard normal number stands for."""
    found: Tensor = torch.special.ndtr(normal).mul(LEVELS).floor().add(1).clamp(max=LEVELS)
    return found


def strengths(level: Tensor) -> tuple[Tensor, Tensor]:
    """Return what is left of the signal, and the standard deviation of the noise.

    The cosine schedule of Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672.
    """
    return torch.cos(_angle(level)), torch.sin(_angle(level))


def waves(level: Tensor) -> Tensor:
    """Return a level as ``WAVES`` numbers: sines and cosines of many lengths."""
    pace = torch.exp(torch.linspace(0.0, math.log(LEVELS), WAVES // 2)).to(level)
    angle = level / LEVELS * pace
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1)


def cleared(
    shown: Tensor, strides: int, expected: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Follow the mean path from pure noise (Song et al. 2021, https://arxiv.org/abs/2010.02502).

    ``expected`` says, of what is shown under a level of noise, what it was on average. In an angle
    that grows with noise, signal and noise turn into each other, and the slope of the path is
    known at the beginning of every stride; its middle follows from the slope before.

    Returns:
        What is left when all but the last stride is done, and the level of noise still in it.
    """
    levels = torch.linspace(LEVELS, 0, strides + 1).round().to(shown)
    before = None
    for now, later in pairwise(levels[:-1]):
        signal, noise = strengths(now)
        slope = (signal * shown - expected(shown, now)) / noise
        middle = slope if before is None else 1.5 * slope - 0.5 * before
        shown = shown - (_angle(now) - _angle(later)) * middle
        before = slope
    return shown, levels[-2]


def _angle(level: Tensor) -> Tensor:
    return (level / LEVELS + 0.008) / 1.008 * (math.pi / 2)
