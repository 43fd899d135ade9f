"""Rows of bits, categories and numbers, and a network's answers about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor, nn
from torch.nn import functional

from fedbench.seeds import Rng

__all__ = ["Field", "Head", "Layout", "bucketed", "chosen"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_PARTS = 3
"""Gaussians per number."""


@dataclass(frozen=True)
class Field:
    """One thing that is told: a bit, a category, or a number with its own bit."""

    kind: Literal["number", "category", "bit"]
    width: int = 1
    possible: Bools | None = None
    gated: bool = False
    name: str = ""


class Layout:
    """Where fields lie in a row of what is told and in what the network answers.

    A bit has one column and one answer, a category one per level, a number two columns (measured,
    score) and an answer for its bit and three for each Gaussian.
    """

    def __init__(self, fields: Sequence[Field], blocks: int) -> None:
        # In turn, so that neighbours, which are often alike, know each other.
        turns = [i % blocks for i in range(len(fields))]
        order = sorted(range(len(fields)), key=lambda i: turns[i])
        self.fields = [fields[i] for i in order]
        self.columns, self.answers = [0], [0]
        self.blocks: list[tuple[slice, slice]] = []
        self.members: list[list[int]] = []
        for place, i in enumerate(order):
            field = fields[i]
            number = field.kind == "number"
            self.columns.append(self.columns[-1] + (2 if number else field.width))
            self.answers.append(self.answers[-1] + (1 + 3 * _PARTS if number else field.width))
            if place == 0 or turns[order[place - 1]] != turns[i]:
                self.members.append([])
            self.members[-1].append(place)
        for mine in self.members:
            first, last = mine[0], mine[-1] + 1
            self.blocks.append(
                (
                    slice(self.columns[first], self.columns[last]),
                    slice(self.answers[first], self.answers[last]),
                )
            )
        self.width, self.size = self.columns[-1], self.answers[-1]
        self.numbers = self._of("number")
        self.categories = self._of("category")
        self.bits = self._of("bit")
        bits = sorted([*self.numbers, *self.bits])
        self.bit_columns = [self.columns[i] for i in bits]
        self.bit_answers = [self.answers[i] for i in bits]
        self.bit_gates = [self.fields[i].gated for i in bits]
        self.score_columns = [self.columns[i] + 1 for i in self.numbers]
        self.score_answers = [
            [self.answers[i] + 1 + k for k in range(3 * _PARTS)] for i in self.numbers
        ]

    def _of(self, kind: str) -> list[int]:
        return [i for i, field in enumerate(self.fields) if field.kind == kind]

    def place(self, name: str) -> int:
        """Return the first column of a field."""
        return self.columns[[field.name for field in self.fields].index(name)]

    def cost(self, answers: Tensor, told: Tensor, visit: Tensor) -> Tensor:
        """Return the negative log likelihood of each row; ``visit`` is 0 where gates are shut."""
        gates = torch.as_tensor(self.bit_gates, device=told.device).to(told)
        open_ = 1 - gates * (1 - visit[..., None])
        logits, bits = answers[..., self.bit_answers], told[..., self.bit_columns]
        total = (open_ * (functional.softplus(logits) - bits * logits)).sum(dim=-1)
        if self.numbers:
            measured = told[..., [column - 1 for column in self.score_columns]]
            share, mean, log_sigma = _gaussians(answers[..., self.score_answers])
            apart = (told[..., self.score_columns, None] - mean) * torch.exp(-log_sigma)
            found = torch.logsumexp(share - log_sigma - 0.5 * apart**2, dim=-1)
            total = total - (measured * found).sum(dim=-1)
        for i in self.categories:
            field = self.fields[i]
            hot = told[..., self.columns[i] : self.columns[i + 1]]
            logits = _allowed(answers[..., self.answers[i] : self.answers[i + 1]], field)
            mine = -(hot * functional.log_softmax(logits, dim=-1)).sum(dim=-1)
            total = total + (mine * visit if field.gated else mine)
        return total

    def drawn(self, block: int, answers: Tensor, visit: Bools | None, rng: Rng) -> Floats:
        """Draw the columns of a block; answers ``(n, answers of the block)``."""
        columns, outs = self.blocks[block]
        found = np.zeros((len(answers), columns.stop - columns.start))
        for i in self.members[block]:
            field, start = self.fields[i], self.columns[i] - columns.start
            mine = answers[:, self.answers[i] - outs.start : self.answers[i + 1] - outs.start]
            if field.kind == "category":
                logits = _allowed(mine, field).double().numpy()
                level = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)
                if field.gated and visit is not None:
                    level = np.where(visit, level, field.width - 1)
                found[np.arange(len(level)), start + level] = 1
                continue
            there = rng.random(len(found)) < expit(mine[:, 0].double().numpy())
            if field.name == "visited":
                visit = there
            elif field.gated and visit is not None:
                there &= visit
            found[:, start] = there
            if field.kind == "number":
                share, mean, log_sigma = (each.double().numpy() for each in _gaussians(mine[:, 1:]))
                part = np.argmax(share + rng.gumbel(size=share.shape), axis=1)[:, None]
                score = np.take_along_axis(mean, part, 1)[:, 0] + np.exp(
                    np.take_along_axis(log_sigma, part, 1)[:, 0]
                ) * rng.standard_normal(len(found))
                found[:, start + 1] = np.where(there, score, 0.0)
        return found


def _allowed(logits: Tensor, field: Field) -> Tensor:
    """Return logits that give nothing to a level that nobody has."""
    if field.possible is None or field.possible.all():
        return logits
    return logits.masked_fill(torch.as_tensor(~field.possible, device=logits.device), -30.0)


def _gaussians(answers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log shares, means and log standard deviations, ``(…, parts)`` each."""
    share, mean, log_sigma = answers.tensor_split((_PARTS, 2 * _PARTS), dim=-1)
    apart = torch.linspace(-1, 1, _PARTS, device=answers.device, dtype=answers.dtype)
    return functional.log_softmax(share, dim=-1), mean + apart, log_sigma.clamp(-4.0, 1.5)


class Head(nn.Module):
    """Answers about the fields of a row, block after block, each knowing the blocks before."""

    def __init__(self, layout: Layout, context: int, rank: int) -> None:
        super().__init__()
        self.layout = layout
        self.base = nn.Linear(context, layout.size)
        self.first = nn.Linear(context, rank)
        shapes = [(c.stop - c.start, a.stop - a.start) for c, a in layout.blocks]
        self.told = nn.ModuleList(nn.Linear(told, rank, bias=False) for told, _ in shapes)
        self.last = nn.ModuleList(nn.Linear(rank, answers) for _, answers in shapes)

    def forward(self, context: Tensor, told: Tensor) -> Tensor:
        hidden, found = self.first(context), []
        for (columns, _), say, hear in zip(self.layout.blocks, self.last, self.told, strict=True):
            found.append(say(torch.tanh(hidden)))
            hidden = hidden + hear(told[..., columns])
        answers: Tensor = self.base(context)
        return answers + torch.cat(found, dim=-1) if found else answers

    def draw(self, context: Tensor, push: Tensor | None, rng: Rng) -> Tensor:
        """Draw rows ``(n, columns)``."""
        hidden, base = self.first(context), self.base(context)
        base = base if push is None else base + push
        row = torch.zeros(len(context), self.layout.width, dtype=context.dtype)
        visit: Bools | None = None
        for b, (columns, answers) in enumerate(self.layout.blocks):
            told = self.last[b](torch.tanh(hidden)) + base[:, answers]
            row[:, columns] = torch.as_tensor(self.layout.drawn(b, told, visit, rng)).to(row)
            if b == 0 and self.layout.fields[0].name == "visited":
                visit = row[:, 0].numpy() > 0
            hidden = hidden + self.told[b](row[:, columns])
        return row


def chosen(logits: Tensor, level: Tensor) -> Tensor:
    """Return what each choice costs; below 0 there is none."""
    found = torch.gather(functional.log_softmax(logits, dim=-1), -1, level.clamp(min=0)[..., None])
    return -found[..., 0] * (level >= 0)


def bucketed(
    cost: Callable[..., Tensor],
    lengths: Tensor,
    whole: Sequence[Tensor],
    sequences: Sequence[Tensor],
    buckets: int,
) -> Tensor:
    """Return what each patient costs, together with others of about as many steps.

    ``sequences`` have an axis of steps after that of patients, and are cut to the longest of each
    bucket; ``cost`` gets them after ``whole``. With one bucket, as under differential privacy,
    lengths steer nothing.
    """
    if buckets == 1:
        return cost(*whole, *sequences)
    order, found = torch.argsort(lengths), []
    for rows in order.tensor_split(min(buckets, len(lengths))):
        most = max(1, int(lengths[rows].max()))
        found.append(cost(*(w[rows] for w in whole), *(s[rows, :most] for s in sequences)))
    return torch.cat(found)[torch.argsort(order)]
