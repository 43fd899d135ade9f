"""A transformer that writes a patient visit after visit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor, nn
from torch.nn import functional

from fedbench.data import SHORT, Cohort, Feature, Part
from fedbench.encoding import Encoder
from fedbench.generator import Phase, Site, State
from fedbench.seeds import Rng
from fedbench.sequences import Sequences
from fedbench.strategy import Memory
from fedbench.training import Batch, Neural

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_MINUTE = 1 / 1440
_SINGLE, _WIDE, _FAR = 60, 48, 36525
_PARTS = 3
"""Gaussians per number."""

_SIZES = {"cpu": (64, 2, 4, 64), "gpu": (512, 8, 8, 256)}
"""Width, layers, heads, rank."""


@dataclass(frozen=True, kw_only=True)
class Halo(Neural):
    """Write each patient visit after visit, by a transformer over all visits before.

    After HALO (Theodorou et al. 2023, https://doi.org/10.1038/s41467-023-41093-0). What is known
    once, the outcome included, is written first and is the first token. From there on: how many
    days until the next visit or that there is none, on public bins; then what the visit holds, in
    blocks of which each knows those before it: whether each number was measured, its normal score
    (three Gaussians), categories with missing as a level, and codes. Nothing is dated after the
    end of follow-up. The loss is the negative log likelihood of a patient.

    Attributes:
        preset: Size of the network, for processors or for graphics cards.
        blocks: Into how many blocks a visit is cut.
        longest: Visits that a patient can have; of longer records the first ones are learned.
    """

    handles: ClassVar = frozenset(Part)

    passes: Annotated[int, Ge(1)] = 40
    batch: Annotated[int, Ge(0)] = 128
    least_steps: Annotated[int, Ge(1)] = 3
    learning_rate: Annotated[float, Gt(0)] = 2e-3
    preset: Literal["cpu", "gpu"] = "cpu"
    blocks: Annotated[int, Ge(1)] = 8
    longest: Annotated[int, Ge(1)] = 96

    def network(self, phase: Phase, encoder: Encoder) -> nn.Module:
        return _Network(encoder, self.blocks, _SIZES[self.preset])

    def width(self, phase: Phase, encoder: Encoder) -> int:
        return 0

    def besides(self, site: Site) -> Sequence[NDArray[Any]]:
        plan = _Plan(site.encoder, self.blocks)
        return plan.padded(site.cohort, self.longest)

    def losses(self, network: nn.Module, batch: Batch, draws: Tensor) -> Mapping[str, Tensor]:
        model = cast("_Network", network)
        facts = model.facts(batch.numbers, batch.missing, batch.onehot)
        when, content, clock = batch.extra
        if len(batch) == 1:  # alone, as under differential privacy: the length must not steer
            return {"loss": model.cost(facts, when, content, clock)}
        lengths = (when >= 0).sum(dim=1)
        order = torch.argsort(lengths)
        found = []
        for rows in order.tensor_split(min(8, len(batch))):
            most = max(1, int(lengths[rows].max()))
            found.append(
                model.cost(facts[rows], when[rows, :most], content[rows, :most], clock[rows, :most])
            )
        return {"loss": torch.cat(found)[torch.argsort(order)]}

    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        model = cast("_Network", self.loaded(self.phases()[0], state, encoder))
        with torch.no_grad():
            return model.written(n, self.longest, rng)


@dataclass(frozen=True)
class _Field:
    """One thing that is told: a bit, a category, or a number with its own bit."""

    kind: Literal["number", "category", "bit"]
    width: int = 1
    possible: Bools | None = None
    gated: bool = False
    name: str = ""


class _Layout:
    """Where fields lie in a row of what is told and in what the network answers.

    A bit has one column and one answer, a category one per level, a number two columns (measured,
    score) and an answer for its bit and three for each Gaussian.
    """

    def __init__(self, fields: Sequence[_Field], blocks: int) -> None:
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


def _allowed(logits: Tensor, field: _Field) -> Tensor:
    """Return logits that give nothing to a level that nobody has."""
    if field.possible is None or field.possible.all():
        return logits
    return logits.masked_fill(torch.as_tensor(~field.possible, device=logits.device), -30.0)


def _gaussians(answers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log shares, means and log standard deviations, ``(…, parts)`` each."""
    share, mean, log_sigma = answers.tensor_split((_PARTS, 2 * _PARTS), dim=-1)
    apart = torch.linspace(-1, 1, _PARTS, device=answers.device, dtype=answers.dtype)
    return functional.log_softmax(share, dim=-1), mean + apart, log_sigma.clamp(-4.0, 1.5)


class _Plan:
    """What the agreed encoder and the public schema say about fields, scales and days."""

    def __init__(self, encoder: Encoder, blocks: int) -> None:
        self.encoder, schema = encoder, encoder.schema
        self.schema = schema
        once = (Part.STATIC, Part.OUTCOME)
        self.fact_numbers = [j for j, f in enumerate(encoder.numbers) if f.part in once]
        self.fact_levels = [j for j, f in enumerate(encoder.categories) if f.part in once]
        known: list[_Field] = []
        for feature in schema.features:
            if feature.part not in once:
                continue
            if feature.column.kind == "category":
                j = encoder.categories.index(feature)
                known.append(
                    _Field("category", encoder.widths[j], encoder.possible[j], name=feature.name)
                )
            else:
                known.append(_Field("number", name=feature.name))
        self.facts = _Layout(known, 32)
        self.numbers = [(k, c) for k, c in schema.visits.items() if c.kind != "category"]
        self.categories = [(k, c) for k, c in schema.visits.items() if c.kind == "category"]
        codes = [code for v in schema.vocabularies.values() for code in v.codes]
        told = [_Field("bit", name="visited")] if schema.visits and codes else []
        told += [_Field("number", gated=True, name=f"number {name}") for name, _ in self.numbers]
        told += [
            _Field("category", len(column.levels) + 1, gated=True, name=f"category {name}")
            for name, column in self.categories
        ]
        told += [_Field("bit", name=f"code {i}") for i in range(len(codes))]
        self.visit = _Layout(told, blocks)
        self.visited = self.visit.place("visited") if schema.visits and codes else None
        self.score_at = [self.visit.place(f"number {name}") + 1 for name, _ in self.numbers]
        self.level_at = [self.visit.place(f"category {name}") for name, _ in self.categories]
        self.code_at = [self.visit.place(f"code {i}") for i in range(len(codes))]
        self.unit = _MINUTE if any(w.end - w.start < SHORT for w in schema.windows) else 1.0
        ends = [end for w in schema.windows for end in (w.start, w.end) if abs(end) < _FAR]
        single = np.arange(_SINGLE + 1)
        far = np.floor(np.geomspace(_SINGLE + 1, _FAR / self.unit, _WIDE))
        self.gaps = np.unique([*single, *far]).astype(np.int64)
        even: list[float] = []
        if ends:
            even = np.floor(np.linspace(min(ends), max(ends), 33) / self.unit).tolist()
        self.days = np.unique([*-self.gaps, *self.gaps, *even]).astype(np.int64)
        self.scales = [self._scale(name) for name, _ in self.numbers]

    def _scale(self, name: str) -> tuple[Encoder, Feature]:
        """Return what numbers of this column were agreed to be, over all windows together."""
        every = [f for f in self.schema.features if f.part is Part.VISITS and f.source == name]
        feature = Feature(name, self.schema.visits[name], Part.VISITS, name)
        if not every:
            from fedbench.encoding import edges  # noqa: PLC0415

            counts = np.zeros((1, len(edges(feature))))
        else:
            counts = np.sum([self.encoder.counts[f.name] for f in every], axis=0)
        # Last values tell which values there are, not all of them.
        counts = counts + max(1.0, 1e-3 * float(counts.sum())) / counts.shape[1]
        return Encoder(self.schema, {name: counts}), feature

    def told(self, steps: Sequences) -> NDArray[np.float32]:
        """Return the rows of all steps, ``(steps, columns)``."""
        found = np.zeros((len(steps.day), self.visit.width), dtype=np.float32)
        if self.visited is not None:
            found[:, self.visited] = steps.visited
        for j, (at, (encoder, feature)) in enumerate(zip(self.score_at, self.scales, strict=True)):
            there = steps.measured[:, j]
            rows = np.zeros(int(there.sum()), dtype=np.int64)
            found[there, at - 1] = 1
            found[there, at] = encoder.scores(feature, steps.numbers[there, j], rows)
        for j, at in enumerate(self.level_at):
            found[np.arange(len(found)), at + steps.levels[:, j]] = 1
        step = np.repeat(np.arange(len(found)), np.diff(steps.code_starts))
        found[step, np.array(self.code_at, dtype=np.int64)[steps.codes]] = 1
        return found

    def clock(self, day: Floats, gap: Floats, count: Ints, end: Floats) -> Floats:
        """Return what time says about steps; all in days, ``(steps, 7)``."""

        def size(days: Floats) -> Floats:
            return np.sign(days) * np.log1p(np.abs(days) / self.unit) / 5

        left = np.where(np.isfinite(end), end - day, 0.0)
        far = max(float(abs(self.schema.windows[0].start)), 30.0) if self.schema.windows else 365.0
        parts = (
            size(day), np.tanh(day / far), day > 0, size(gap), np.log1p(count) / 3, size(left),
            count == 0,
        )  # fmt: skip
        return np.stack(parts, axis=-1).astype(np.float32)

    def padded(self, cohort: Cohort, longest: int) -> Sequence[NDArray[Any]]:
        """Return what comes next, what it holds, and when: ``(n, most + 1)`` and one axis more."""
        steps = cohort.sequences
        n, lengths = len(steps), np.diff(steps.starts)
        kept = np.minimum(lengths, longest)
        most = int(kept.max(initial=0)) + 1
        count = np.arange(len(steps.day)) - np.repeat(steps.starts[:-1], lengths)
        mine = count < longest
        owner, count = steps.owner[mine], count[mine]
        day = np.round(steps.day / self.unit)
        gap = np.nan_to_num(np.diff(day, prepend=0.0))
        first = np.searchsorted(self.days, day, side="right").clip(1)
        later = np.searchsorted(self.gaps, gap, side="right").clip(1)
        when = np.full((n, most), -1, dtype=np.int64)
        ended = np.flatnonzero(lengths <= longest)
        ended = ended[kept[ended] < most]
        when[ended, kept[ended]] = 0
        when[owner, count] = np.where(count == 0, first[mine], later[mine])
        content = np.zeros((n, most, self.visit.width), dtype=np.float32)
        content[owner, count] = self.told(steps)[mine]
        times = np.full(n, np.inf)
        if self.schema.outcome:
            times = cohort.outcome["time"].to_numpy(dtype=np.float64)
        clock = np.zeros((n, most, 7), dtype=np.float32)
        clock[owner, count] = self.clock(
            steps.day[mine], np.where(count > 0, gap[mine] * self.unit, 0.0), count, times[owner]
        )
        return when, content, clock


class _Head(nn.Module):
    """Answers about the fields of a row, block after block, each knowing the blocks before."""

    def __init__(self, layout: _Layout, context: int, rank: int) -> None:
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


class _Layer(nn.Module):
    """Attention to what came before, then a perceptron."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.ask, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the new tokens, and the keys and values of all until now."""
        n, steps, width = x.shape
        asked = self.ask(self.norms[0](x)).view(n, steps, 3, self.heads, width // self.heads)
        query, key, value = asked.permute(2, 0, 3, 1, 4).unbind(0)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        scores = query @ key.transpose(-1, -2) / (width // self.heads) ** 0.5
        later = torch.ones(steps, key.shape[2], dtype=torch.bool, device=x.device)
        scores = scores.masked_fill(later.triu(key.shape[2] - steps + 1), -1e9)
        seen = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(n, steps, width)
        x = x + self.out(seen)
        x = x + self.narrow(functional.gelu(self.wide(self.norms[1](x))))
        return x, (key, value)


class _Network(nn.Module):
    """A first token of what is known once, a token per step, and heads."""

    def __init__(self, encoder: Encoder, blocks: int, sizes: tuple[int, int, int, int]) -> None:
        super().__init__()
        width, layers, heads, rank = sizes
        self.plan = plan = _Plan(encoder, blocks)
        visit, p = plan.visit, len(plan.score_at)
        past = 3 * p + sum(len(column.levels) + 1 for _, column in plan.categories)
        self.known = _Head(plan.facts, 1, rank)
        self.prefix = nn.Linear(plan.facts.width, width)
        self.step = nn.Linear(visit.width + 7 + past, width)
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, len(plan.days) + 1)
        self.next = nn.Linear(width, len(plan.gaps) + 1)
        self.head = _Head(visit, width + 7 + past, rank)
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

    def facts(self, numbers: Tensor, missing: Tensor, onehot: Tensor) -> Tensor:
        """Return the row of what is known once."""
        encoder, found = self.plan.encoder, []
        starts = np.cumsum([0, *encoder.widths])
        named = {f.name: j for j, f in enumerate(encoder.numbers)}
        levels = {f.name: j for j, f in enumerate(encoder.categories)}
        for field in self.plan.facts.fields:
            if field.kind == "number":
                j = named[field.name]
                found += [1 - missing[:, [j]], numbers[:, [j]]]
            else:
                j = levels[field.name]
                found.append(onehot[:, starts[j] : starts[j + 1]])
        return torch.cat(found, dim=1) if found else numbers[:, :0]

    def past(self, content: Tensor) -> Tensor:
        """Return, before each step, the last score of each number, and what the last step held."""
        steps = content.shape[1]
        bits = content[..., [at - 1 for at in self.plan.score_at]]
        scores = content[..., self.plan.score_at]
        count = torch.arange(1, steps + 1, device=content.device)[:, None]
        last = torch.cummax(bits * count, dim=1).values.long()
        last = torch.cat([torch.zeros_like(last[:, :1]), last[:, :-1]], dim=1)
        carried = torch.gather(scores, 1, (last - 1).clamp(min=0))
        known = (last > 0).to(content)
        before = content[..., self.previous]
        before = torch.cat([torch.zeros_like(before[:, :1]), before[:, :-1]], dim=1)
        return torch.cat([carried * known, known, before], dim=-1)

    def cost(self, facts: Tensor, when: Tensor, content: Tensor, clock: Tensor) -> Tensor:
        """Return the negative log likelihood of each patient."""
        plan = self.plan
        past, there = self.past(content), (when > 0).to(content)
        tokens = self.step(torch.cat([content, clock, past], dim=-1))
        hidden, _ = self.through(facts, tokens[:, :-1], None)
        first = _chosen(self.first(hidden[:, :1]), when[:, :1])
        later = _chosen(self.next(hidden[:, 1:]), when[:, 1:])
        answers = self.head(torch.cat([hidden, clock, past], dim=-1), content)
        codes = content[..., plan.code_at]
        ever = torch.cat([torch.zeros_like(codes[:, :1]), codes[:, :-1]], dim=1)
        answers = answers + self.pushed((ever.cumsum(dim=1) > 0).to(content), answers)
        visit = there if plan.visited is None else content[..., plan.visited]
        held = plan.visit.cost(answers, content, visit) * there
        nobody = torch.ones_like(facts[:, :1])
        alone = plan.facts.cost(self.known(nobody, facts), facts, nobody[:, 0])
        return alone + first.sum(dim=1) + later.sum(dim=1) + held.sum(dim=1)

    def through(
        self, facts: Tensor | None, tokens: Tensor, past: list[Any] | None
    ) -> tuple[Tensor, list[Any]]:
        """Return what is made of tokens, the first one before them if there are facts."""
        if facts is not None:
            tokens = torch.cat([self.prefix(facts)[:, None], tokens], dim=1)
        kept = []
        for i, layer in enumerate(self.layers):
            tokens, mine = layer(tokens, past[i] if past else None)
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
        whole = self.decoded(facts)
        end = np.full(n, np.inf)
        if plan.schema.outcome:
            end = whole.outcome["time"].to_numpy(dtype=np.float64)
        hidden, past = self.through(
            facts, torch.zeros(n, 0, self.norm.weight.shape[0], dtype=kind), None
        )
        alive, day = np.arange(n), np.zeros(n)
        p = len(plan.score_at)
        carried = torch.zeros(n, 2 * p, dtype=kind)
        before = torch.zeros(n, len(self.previous), dtype=kind)
        ever = torch.zeros(n, len(plan.code_at), dtype=kind)
        found: list[tuple[Ints, Floats, Floats]] = []
        for count in range(longest):
            head, starts = (self.first, plan.days) if count == 0 else (self.next, plan.gaps)
            logits = head(hidden[:, -1]).double().numpy()
            class_ = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)
            ends = np.append(starts[1:], starts[-1] + 1)
            low, high = starts[class_ - 1], ends[class_ - 1]
            gap = np.floor(low + rng.random(len(low)) * (high - low)) * plan.unit
            now = gap if count == 0 else day + gap
            keep = (class_ > 0) & (now <= end[alive])
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
            bits = row[:, [at - 1 for at in plan.score_at]]
            scores = torch.where(bits > 0, row[:, plan.score_at], carried[:, :p])
            carried = torch.cat([scores, torch.maximum(bits, carried[:, p:])], dim=1)
            before = row[:, self.previous]
            ever = torch.maximum(ever, row[:, plan.code_at])
        return self.joined(whole, found)

    def decoded(self, facts: Tensor) -> Cohort:
        """Return what is known once as a cohort without visits."""
        encoder, n, rows = self.plan.encoder, len(facts), facts.double().numpy()
        numbers = np.zeros((n, len(encoder.numbers)))
        missing = np.ones(numbers.shape, dtype=bool)
        levels = np.zeros((n, len(encoder.widths)), dtype=np.int64)
        layout = self.plan.facts
        named = {f.name: j for j, f in enumerate(encoder.numbers)}
        categories = [f.name for f in encoder.categories]
        for i, field in enumerate(layout.fields):
            mine = rows[:, layout.columns[i] : layout.columns[i + 1]]
            if field.kind == "number":
                j = named[field.name]
                missing[:, j], numbers[:, j] = mine[:, 0] == 0, mine[:, 1]
            else:
                levels[:, categories.index(field.name)] = np.argmax(mine, axis=1)
        return encoder.decode(numbers, missing, levels)

    def joined(self, whole: Cohort, found: list[tuple[Ints, Floats, Floats]]) -> Cohort:
        """Return the cohort with these visits."""
        plan, n = self.plan, len(whole)
        owner = np.concatenate([np.empty(0, dtype=np.int64), *(f[0] for f in found)])
        day = np.concatenate([np.empty(0), *(f[1] for f in found)])
        rows = np.concatenate([np.empty((0, plan.visit.width)), *(f[2] for f in found)])
        order = np.argsort(owner, kind="stable")
        owner, day, rows = owner[order], day[order], rows[order]
        numbers = np.zeros((len(day), len(plan.score_at)))
        measured = np.zeros(numbers.shape, dtype=bool)
        for j, (at, (encoder, feature)) in enumerate(zip(plan.score_at, plan.scales, strict=True)):
            measured[:, j] = rows[:, at - 1] > 0
            numbers[:, j] = encoder.values(feature, rows[:, at], np.zeros(len(day), dtype=np.int64))
        levels = np.zeros((len(day), len(plan.level_at)), dtype=np.int64)
        for j, (at, (_, column)) in enumerate(zip(plan.level_at, plan.categories, strict=True)):
            levels[:, j] = np.argmax(rows[:, at : at + len(column.levels) + 1], axis=1)
        step, code = np.nonzero(rows[:, plan.code_at] > 0)
        there = bool(plan.schema.visits)
        visited = np.full(len(day), there) if plan.visited is None else rows[:, plan.visited] > 0
        return Sequences(
            schema=plan.schema,
            patients=whole.patients,
            starts=np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n))]),
            day=day,
            visited=visited,
            numbers=np.where(measured, numbers, 0.0),
            measured=measured,
            levels=levels,
            code_starts=np.concatenate([[0], np.cumsum(np.bincount(step, minlength=len(day)))]),
            codes=code,
        ).cohort(whole.static, whole.outcome if plan.schema.outcome else None)


def _chosen(logits: Tensor, level: Tensor) -> Tensor:
    """Return what each choice costs; below 0 there is none."""
    found = torch.gather(functional.log_softmax(logits, dim=-1), -1, level.clamp(min=0)[..., None])
    return -found[..., 0] * (level >= 0)
