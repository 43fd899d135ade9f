"""A transformer that writes a patient visit after visit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, cast

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from torch import Tensor, nn

from fedbench.baselines._attention import Layer
from fedbench.baselines._averaged import Averaged
from fedbench.baselines._rows import Head, bucketed, chosen
from fedbench.baselines._visits import Plan
from fedbench.data import Cohort, Part
from fedbench.encoding import Encoder
from fedbench.generator import Phase, Site, State
from fedbench.seeds import Rng
from fedbench.strategy import Memory, Message
from fedbench.training import Batch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Halo(Averaged):
    """Write each patient visit after visit, by a transformer over all visits before.

    After HALO (Theodorou et al. 2023, https://doi.org/10.1038/s41467-023-41093-0). What is known
    once, the outcome included, is written first and is the first token. From there on: how many
    days until the next visit or that there is none, on public bins; then what the visit holds, in
    blocks of which each knows those before it: whether each number was measured, its normal score
    (three Gaussians), categories with missing as a level, and codes. Nothing is dated after the
    end of follow-up. The loss is the negative log likelihood of a patient. A mean over rounds of
    the network writes.

    Attributes:
        wide: Width of the transformer.
        layers: How many of them it has.
        heads: How often each of them attends.
        rank: Width of what writes the blocks of a visit.
        blocks: Into how many blocks a visit is cut.
        longest: Visits that a patient can have; of longer records the first ones are learned.
    """

    handles: ClassVar = frozenset(Part)
    presets: ClassVar = {
        "cpu": {},
        "gpu": {"wide": 512, "layers": 8, "heads": 8, "rank": 256, "longest": 48},
    }

    passes: Annotated[int, Ge(1)] = 40
    batch: Annotated[int, Ge(0)] = 128
    least_steps: Annotated[int, Ge(1)] = 3
    learning_rate: Annotated[float, Gt(0)] = 2e-3
    wide: Annotated[int, Ge(1)] = 64
    layers: Annotated[int, Ge(1)] = 2
    heads: Annotated[int, Ge(1)] = 4
    rank: Annotated[int, Ge(1)] = 64
    blocks: Annotated[int, Ge(1)] = 8
    longest: Annotated[int, Ge(1)] = 96

    def network(self, phase: Phase, encoder: Encoder) -> nn.Module:
        return _Network(encoder, self.blocks, (self.wide, self.layers, self.heads, self.rank))

    def width(self, phase: Phase, encoder: Encoder) -> int:
        return 0

    def besides(self, phase: Phase, message: Message, site: Site) -> Sequence[NDArray[Any]]:
        plan = Plan(site.encoder, self.blocks)
        return plan.padded(site.cohort, self.longest)

    def losses(self, network: nn.Module, batch: Batch, draws: Tensor) -> Mapping[str, Tensor]:
        model = cast("_Network", network)
        facts = model.plan.facts(batch.numbers, batch.missing, batch.onehot)
        lengths = (batch.extra[0] >= 0).sum(dim=1)
        buckets = 1 if len(batch) == 1 else 8  # one: under differential privacy
        return {"loss": bucketed(model.cost, lengths, (facts,), batch.extra, buckets)}

    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        model = cast("_Network", self.loaded(self.phases()[0], self.settled(state), encoder))
        with torch.no_grad():
            return model.written(n, self.longest, rng)


class _Network(nn.Module):
    """A first token of what is known once, a token per step, and heads."""

    def __init__(self, encoder: Encoder, blocks: int, sizes: tuple[int, int, int, int]) -> None:
        super().__init__()
        width, layers, heads, rank = sizes
        self.plan = plan = Plan(encoder, blocks)
        visit, p = plan.visit, len(plan.score_at)
        past = 3 * p + sum(len(column.levels) + 1 for _, column in plan.categories)
        self.known = Head(plan.once, 1, rank)
        self.prefix = nn.Linear(plan.once.width, width)
        self.step = nn.Linear(visit.width + plan.clocks + past, width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, len(plan.days) + 1)
        self.next = nn.Linear(width, len(plan.gaps) + 1)
        self.head = Head(visit, width + plan.clocks + past, rank)
        self.again = nn.Parameter(torch.zeros(len(plan.code_at)))
        names = [f.name for f in visit.fields]
        self.code_answers = [
            visit.answers[names.index(f"code {i}")] for i in range(len(plan.code_at))
        ]
        self.previous = [
            *(at - 1 for at in plan.score_at),
            *(
                at + k
                for at, (_, column) in zip(plan.level_at, plan.categories, strict=True)
                for k in range(len(column.levels) + 1)
            ),
        ]
        with torch.no_grad():  # codes are rare
            self.head.base.bias[self.code_answers] -= 3.0

    def past(self, content: Tensor) -> Tensor:
        """Return, before each step, the last score of each number, and what the last step held."""
        before = content[..., self.previous]
        before = torch.cat([torch.zeros_like(before[:, :1]), before[:, :-1]], dim=1)
        return torch.cat([self.plan.carried(content), before], dim=-1)

    def cost(self, facts: Tensor, when: Tensor, content: Tensor, clock: Tensor) -> Tensor:
        """Return the negative log likelihood of each patient."""
        plan = self.plan
        past, there = self.past(content), (when > 0).to(content)
        tokens = self.step(torch.cat([content, clock, past], dim=-1))
        hidden, _ = self.through(facts, tokens[:, :-1], None)
        first = chosen(self.first(hidden[:, :1]), when[:, :1])
        later = chosen(plan.opened(self.next(hidden[:, 1:]), clock[:, :-1]), when[:, 1:])
        answers = self.head(torch.cat([hidden, clock, past], dim=-1), content)
        codes = content[..., plan.code_at]
        ever = torch.cat([torch.zeros_like(codes[:, :1]), codes[:, :-1]], dim=1)
        answers = answers + self.pushed((ever.cumsum(dim=1) > 0).to(content), answers)
        visit = there if plan.visited is None else content[..., plan.visited]
        held = plan.visit.cost(answers, content, visit) * there
        nobody = torch.ones_like(facts[:, :1])
        alone = plan.once.cost(self.known(nobody, facts), facts, nobody[:, 0])
        return alone + first.sum(dim=1) + later.sum(dim=1) + held.sum(dim=1)

    def through(
        self, facts: Tensor | None, tokens: Tensor, past: list[Any] | None
    ) -> tuple[Tensor, list[Any]]:
        """Return what is made of tokens, the first one before them if there are facts."""
        if facts is not None:
            tokens = torch.cat([self.prefix(facts)[:, None], tokens], dim=1)
        kept, steps = [], tokens.shape[1]
        before = past[0][0].shape[2] if past else 0
        shut = torch.ones(steps, before + steps, dtype=torch.bool, device=tokens.device)
        shut = shut.triu(before + 1)
        for i, layer in enumerate(self.layers):
            tokens, mine = layer(tokens, shut, past[i] if past else None)
            kept.append(mine)
        return self.norm(tokens), kept

    def pushed(self, ever: Tensor, like: Tensor) -> Tensor:
        """Return what codes that were there before add to answers."""
        found = torch.zeros(*ever.shape[:-1], like.shape[-1], dtype=like.dtype, device=like.device)
        where = torch.as_tensor(self.code_answers, dtype=torch.long, device=like.device)
        return found.index_add(-1, where, ever * self.again)

    def written(self, n: int, longest: int, rng: Rng) -> Cohort:
        """Write patients: loops over visits, never over patients."""
        plan, kind = self.plan, self.again.dtype
        facts = self.known.draw(torch.ones(n, 1, dtype=kind), None, rng)
        whole = plan.decoded(facts)
        end = np.full(n, np.inf)
        if plan.schema.outcome:
            end = whole.outcome["time"].to_numpy(dtype=np.float64)
        hidden, past = self.through(
            facts, torch.zeros(n, 0, self.norm.weight.shape[0], dtype=kind), None
        )
        alive, day = np.arange(n), np.zeros(n)
        carried = torch.zeros(n, 2 * len(plan.score_at), dtype=kind)
        before = torch.zeros(n, len(self.previous), dtype=kind)
        ever = torch.zeros(n, len(plan.code_at), dtype=kind)
        found: list[tuple[Ints, Floats, Floats]] = []
        for count in range(longest):
            head = self.first if count == 0 else self.next
            logits = head(hidden[:, -1]).double().numpy()
            choice, gap = plan.timed(logits, end[alive] - day, rng, first=count == 0)
            now, keep = day + gap, choice > 0
            if not keep.any():
                break
            rows = torch.as_tensor(np.flatnonzero(keep))
            alive, day, gap = alive[keep], now[keep], gap[keep]
            hidden, carried, before, ever = hidden[rows], carried[rows], before[rows], ever[rows]
            past = [(key[rows], value[rows]) for key, value in past]
            shown = plan.clock(day, gap * (count > 0), np.full(len(day), count), end[alive])
            clock = torch.as_tensor(shown).to(kind)
            state = torch.cat([carried, before], dim=1)
            context = torch.cat([hidden[:, -1], clock, state], dim=1)
            push = self.pushed(ever, torch.zeros(1, plan.visit.size, dtype=kind))
            row = self.head.draw(context, push, rng)
            found.append((alive, day, row.double().numpy()))
            token = self.step(torch.cat([row, clock, state], dim=1))
            hidden, past = self.through(None, token[:, None], past)
            carried = plan.carrying(carried, row)
            before = row[:, self.previous]
            ever = torch.maximum(ever, row[:, plan.code_at])
        return plan.joined(whole, found)
