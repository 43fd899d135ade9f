"""A layer of attention whose gradients exist for every patient."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Layer"]


class Layer(nn.Module):
    """Attention to other tokens, then a perceptron."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.ask, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(
        self, x: Tensor, shut: Tensor, past: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the new tokens, and the keys and values of all until now.

        ``shut`` says which tokens do not see which; it fits ``(n, heads, tokens, all tokens)``.
        """
        n, steps, width = x.shape
        asked = self.ask(self.norms[0](x)).view(n, steps, 3, self.heads, width // self.heads)
        query, key, value = asked.permute(2, 0, 3, 1, 4).unbind(0)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        scores = query @ key.transpose(-1, -2) / (width // self.heads) ** 0.5
        scores = scores.masked_fill(shut, -1e9)
        seen = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(n, steps, width)
        x = x + self.out(seen)
        x = x + self.narrow(functional.gelu(self.wide(self.norms[1](x))))
        return x, (key, value)
