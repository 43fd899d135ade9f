"""Diffusion over a patient's visits, each compressed to a few numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, cast

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fedbench.baselines._attention import Layer
from fedbench.baselines._averaged import Averaged
from fedbench.baselines._noise import LEVELS, WAVES, cleared, level, strengths, waves
from fedbench.baselines._rows import Head, bucketed, chosen
from fedbench.baselines._visits import Plan
from fedbench.data import Cohort, Part
from fedbench.encoding import Encoder, Records
from fedbench.generator import Local, Phase, Site, State, shortened
from fedbench.privacy import Stake, Unlimited
from fedbench.seeds import Rng
from fedbench.strategy import Combined, Memory, Message, Update
from fedbench.training import Batch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

VISITS, MOMENTS, TIME = (
    Phase("visits", share=0.4),
    Phase("moments", 1, 0.2),
    Phase("time", share=0.4),
)

FARTHEST = 4.0
"""How far from 0 the numbers of a visit may lie."""

_QUARTERS = np.array([-0.6745, 0.0, 0.6745])
"""Where normal scores are cut into quarters."""

STRATA = 2 * (len(_QUARTERS) + 1)


@dataclass(frozen=True, kw_only=True)
class Latdiff(Averaged):
    """Compress visits to a few numbers each, and take noise away from all of them at once.

    First an autoencoder (Kingma and Welling 2014, https://arxiv.org/abs/1312.6114) learns to write
    what a visit holds from few numbers, its day and the visit before. Days are written one after
    another, from what was there before, the time that is left and how many visits are left; what is
    known once, the outcome included, is written by itself. Then hospitals add up the moments of
    those numbers, and how many visits patients have whose follow-up ended alike. Last a transformer
    that is told what is known once learns to take noise away from the numbers of all visits
    together (latent diffusion, Rombach et al. 2022, https://arxiv.org/abs/2112.10752). Of both
    networks the means over rounds last. Nothing is dated after the end of follow-up.

    Attributes:
        passes: How often each site goes through its patients to learn visits.
        time_passes: The same, to learn what follows what.
        latent: To how many numbers a visit is compressed.
        hidden: Width of the autoencoder.
        rank: Width of what writes the blocks of a visit.
        blocks: Into how many blocks a visit is cut.
        prior: Weight of the autoencoder's prior.
        wide: Width of the transformer.
        layers: How many of them it has.
        heads: How often each of them attends.
        strides: In how many steps noise is taken away.
        longest: Visits that a patient can have; of longer records the first ones are learned.
    """

    handles: ClassVar = frozenset(Part)
    presets: ClassVar = {"cpu": {}, "gpu": {"wide": 384, "layers": 8, "heads": 8, "latent": 64}}
    copies: ClassVar = 4

    passes: Annotated[int, Ge(1)] = 30
    time_passes: Annotated[int, Ge(1)] = 60
    batch: Annotated[int, Ge(0)] = 128
    least_steps: Annotated[int, Ge(1)] = 3
    learning_rate: Annotated[float, Gt(0)] = 2e-3
    latent: Annotated[int, Ge(1)] = 16
    hidden: Annotated[int, Ge(1)] = 128
    rank: Annotated[int, Ge(1)] = 64
    blocks: Annotated[int, Ge(1)] = 8
    prior: Annotated[float, Ge(0)] = 0.3
    wide: Annotated[int, Ge(4)] = 96
    layers: Annotated[int, Ge(1)] = 3
    heads: Annotated[int, Ge(1)] = 4
    strides: Annotated[int, Ge(2), Le(LEVELS)] = 25
    longest: Annotated[int, Ge(1)] = 96

    def phases(self) -> Sequence[Phase]:
        return (VISITS, MOMENTS, TIME)

    def goes(self, phase: Phase) -> int:
        return self.time_passes if phase.name == TIME.name else self.passes

    def plan(self, encoder: Encoder) -> Plan:
        """Return where the fields of a visit are."""
        return Plan(encoder, self.blocks, closing=True)

    def autoencoder(self, plan: Plan) -> Autoencoder:
        """Return what reads visits and writes them."""
        reader = Reader(plan, self.hidden, self.latent)
        writer = Writer(plan, self.latent, self.rank, plan.width)
        return Autoencoder(plan, reader, writer, self.prior)

    def network(self, phase: Phase, encoder: Encoder) -> nn.Module:
        plan = self.plan(encoder)
        if phase.name == TIME.name:
            return _Denoiser(plan, self.latent, self.wide, self.layers, self.heads)
        whole = self.autoencoder(plan)
        if phase.name == MOMENTS.name:
            return nn.ModuleDict({"reader": whole.reader})
        return whole

    def width(self, phase: Phase, encoder: Encoder) -> int:
        return (self.longest + 1) * self.latent + 1

    def start(self, phase: Phase, state: State | None, encoder: Encoder, rng: Rng) -> State:
        if phase.name == MOMENTS.name:
            return self.settled(state or {})
        return super().start(phase, state, encoder, rng)

    def message(self, phase: Phase, state: State, round: int) -> Message:
        told = super().message(phase, state, round)
        # Only the server writes.
        return told if self.learns(phase) else _without(told, "writer.", "lengths")

    def learns(self, phase: Phase) -> bool:
        """Say whether the autoencoder is trained in a phase."""
        return phase.name == VISITS.name

    def stake(self, phase: Phase, patients: int, rounds: int, steps_of: int | None) -> Stake:
        if phase.name == MOMENTS.name:
            return Stake(phase.name, 1, phase.share)
        return super().stake(phase, patients, rounds, steps_of)

    def besides(self, phase: Phase, message: Message, site: Site) -> Sequence[NDArray[Any]]:
        when, content, clock = self.plan(site.encoder).padded(site.cohort, self.longest)
        if self.learns(phase):
            return when, content, clock
        found = self._read(message, site.encoder, content, clock)
        if phase.name == TIME.name:
            found = (found - message["centre"]) / message["spread"]
        return found, (when > 0).sum(axis=1)

    def update(self, phase: Phase, message: Message, site: Site, local: Local, rng: Rng) -> Update:
        if phase.name != MOMENTS.name:
            return super().update(phase, message, site, local, rng)
        latents, lengths = self.besides(phase, message, site)
        there = np.arange(latents.shape[1]) < lengths[:, None]
        each = there[..., None] / np.maximum(lengths, 1)[:, None, None]
        counts = np.zeros((len(lengths), STRATA, self.longest + 1))
        counts[np.arange(len(lengths)), stratum(site.records, site.encoder), lengths] = 1
        features = {
            "centre": (each * latents).sum(axis=1),
            "square": (each * latents**2).sum(axis=1),
            "visited": there.any(axis=1, keepdims=True).astype(np.float64),
            "lengths": counts,
        }
        more = self.counted(site)
        features |= more
        bound = float(np.sqrt(3 * self.latent + 2 + len(more)))
        if not isinstance(local.budget, Unlimited):
            features = dict(shortened(features, bound))
        sums = {name: values.sum(axis=0) for name, values in features.items()}
        return Update(sums=local.budget.release(sums, bound), weight=float(len(lengths)))

    def counted(self, site: Site) -> dict[str, Floats]:
        """Return what else to add up with the moments: rows of patients, none longer than 1."""
        return {}

    def fold(
        self, phase: Phase, state: State, combined: Combined, encoder: Encoder, rng: Rng
    ) -> State:
        if phase.name != MOMENTS.name:
            return super().fold(phase, state, combined, encoder, rng)
        sums, many = combined.sums, max(1.0, float(combined.sums["visited"].sum()))
        centre = np.clip(sums["centre"] / many, -FARTHEST, FARTHEST)
        spread = np.sqrt(np.clip(sums["square"] / many - centre**2, 0.01, FARTHEST**2))
        # Counts that may well be noise alone are none.
        counts = np.where(sums["lengths"] > 2 * combined.noise, sums["lengths"], 0.0)
        return {**state, "centre": centre, "spread": spread, "lengths": counts}

    def losses(self, network: nn.Module, batch: Batch, draws: Tensor) -> Mapping[str, Tensor]:
        model = cast("Autoencoder | _Denoiser", network)
        facts = model.plan.facts(batch.numbers, batch.missing, batch.onehot)
        noise = draws[:, :-1].view(len(draws), -1, self.latent)
        if isinstance(model, Autoencoder):
            when, content, clock = batch.extra
            whole, sequences = [facts], [when, content, clock, noise]
            lengths = (when > 0).sum(dim=1)
        else:
            latents, lengths = batch.extra
            whole, sequences = [facts, lengths, level(draws[:, -1:])], [latents, noise]
        buckets = 1 if len(batch) <= self.copies else 3  # few: under differential privacy
        return {"loss": bucketed(model.cost, lengths, whole, sequences, buckets)}

    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        state = self.settled(state)
        writer = cast("Autoencoder", self.loaded(VISITS, state, encoder)).writer
        denoiser = cast("_Denoiser", self.loaded(TIME, state, encoder))
        plan = writer.plan
        with torch.no_grad():
            facts = writer.known.draw(torch.ones(n, 1).to(denoiser.norm.weight), None, rng)
            whole = plan.decoded(facts)
            strata = stratum(encoder.encode(whole), encoder)
            lengths = _drawn(state["lengths"], strata, rng)
            latents = denoiser.written(facts, lengths, self.strides, rng)
            found = latents.double().numpy() * state["spread"] + state["centre"]
            self.prepare(writer, state, n, rng)
            end = np.full(n, np.inf)
            if plan.schema.outcome:
                end = whole.outcome["time"].to_numpy(dtype=np.float64)
            day, rows = writer.written(facts, torch.as_tensor(found).to(facts), lengths, end, rng)
        there = np.arange(latents.shape[1]) < lengths[:, None]
        return plan.joined(whole, [(np.nonzero(there)[0], day[there], rows[there])])

    def prepare(self, writer: Writer, state: State, n: int, rng: Rng) -> None:
        """Draw what else the writer has to know of each of ``n`` patients."""

    def latents(self, state: State, encoder: Encoder, cohort: Cohort) -> Floats:
        """Return the mean over each patient's visits; 0 where there are none."""
        when, content, clock = self.plan(encoder).padded(cohort, self.longest)
        found = self._read(self.settled(state), encoder, content, clock)
        there = (when > 0)[..., None]
        means = (there * found).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        return np.asarray(means, dtype=np.float64)

    def _read(self, message: Message, encoder: Encoder, content: Any, clock: Any) -> Floats:
        """Return the numbers of all visits, ``(n, most, latent)``."""
        network = cast("nn.ModuleDict", self.loaded(MOMENTS, message, encoder))
        reader = cast("Reader", network["reader"])
        kind, found = reader.out.weight.dtype, []
        with torch.no_grad():
            for start in range(0, len(content), 256):
                part = slice(start, start + 256)
                mean, _ = reader(
                    *(torch.as_tensor(each[part]).to(kind) for each in (content, clock))
                )
                found.append(mean.double().numpy())
        return np.concatenate([np.zeros((0, content.shape[1], self.latent)), *found])


class Reader(nn.Module):
    """From a visit to the means and log variances of its numbers."""

    def __init__(self, plan: Plan, hidden: int, latent: int) -> None:
        super().__init__()
        self.latent = latent
        self.row = nn.Linear(plan.visit.width + plan.clocks, hidden)
        self.inner = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 2 * latent)

    def forward(self, content: Tensor, clock: Tensor) -> tuple[Tensor, Tensor]:
        return self.read(functional.gelu(self.row(torch.cat([content, clock], dim=-1))))

    def read(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log variances, given what a visit makes of the first layer."""
        found = found + functional.gelu(self.inner(found))
        mean, log_variance = self.out(found).split(self.latent, dim=-1)
        return FARTHEST * torch.tanh(mean / FARTHEST), log_variance.clamp(-8, 2)


class Writer(nn.Module):
    """From the numbers of a visit to the visit, told the one before; and what is known once."""

    def __init__(self, plan: Plan, latent: int, rank: int, before: int) -> None:
        super().__init__()
        self.plan = plan
        past = before + 2 * len(plan.score_at)
        self.context = latent + past + plan.clocks
        self.known = Head(plan.once, 1, rank)
        self.head = Head(plan.visit, self.context, rank)
        self.day = _curved(plan.once.width + 1, rank, len(plan.days) + 1)
        self.gap = _curved(past + plan.clocks + 1, rank, len(plan.gaps) + 1)

    def past(self, content: Tensor) -> Tensor:
        """Return what was there before each visit."""
        before = torch.cat([torch.zeros_like(content[:, :1]), content[:, :-1]], dim=1)
        return torch.cat([self.seen(before), self.plan.carried(content)], dim=-1)

    def first(self, facts: Tensor, left: Tensor) -> Tensor:
        """Return logits of the day of the first visit, which so many follow."""
        return cast("Tensor", self.day(_beside(facts, left)))

    def later(self, past: Tensor, clock: Tensor, left: Tensor) -> Tensor:
        """Return logits of the days since the visit before; ``clock`` is that of the visit before.

        Not from the numbers of a visit: days have to add up to the time that is left, and those
        that are told in numbers drawn for all visits together do not.
        """
        return cast("Tensor", self.gap(_beside(torch.cat([past, clock], dim=-1), left)))

    def seen(self, before: Tensor) -> Tensor:
        """Return what a visit is told of the one before."""
        return before

    def written(
        self, facts: Tensor, latents: Tensor, lengths: Ints, end: Floats, rng: Rng
    ) -> tuple[Floats, Floats]:
        """Return days ``(n, most)`` and rows ``(n, most, columns)``, none after ``end``.

        One after another, for all patients at once: latents are ``(n, most, latent)``.
        """
        plan, (n, most) = self.plan, latents.shape[:2]
        rows, day = latents.new_zeros(n, most + 1, plan.width), np.zeros((n, most + 1))
        carried = latents.new_zeros(n, 2 * len(plan.score_at))
        clock = latents.new_zeros(n, plan.clocks)
        for step in range(most):
            mine = np.flatnonzero(lengths > step)
            # What is before the first visit is past the last, and empty.
            past = torch.cat([self.seen(rows[mine, step - 1]), carried[mine]], dim=1)
            more = torch.as_tensor(lengths[mine] - 1 - step).to(past)
            answers = self.later(past, clock[mine], more) if step else self.first(facts[mine], more)
            logits = answers.double().numpy()
            logits[:, 0] = -np.inf
            left = end[mine] - day[mine, step - 1]
            _, gap = plan.timed(logits, left, rng, first=step == 0)
            day[mine, step] = day[mine, step - 1] + gap
            shown = plan.clock(
                day[mine, step], gap * (step > 0), np.full(len(mine), step), end[mine]
            )
            clock[mine] = torch.as_tensor(shown).to(clock)
            told = torch.cat([latents[mine, step], past, clock[mine]], dim=1)
            rows[mine, step] = self.drawn(told, mine, rng)
            carried[mine] = plan.carrying(carried[mine], rows[mine, step])
        return day[:, :most], rows[:, :most].double().numpy()

    def drawn(self, told: Tensor, patients: Ints, rng: Rng) -> Tensor:
        """Draw a visit of each of these patients."""
        return self.head.draw(told, None, rng)


def _beside(told: Tensor, left: Tensor) -> Tensor:
    return torch.cat([told, torch.log1p(left)[..., None]], dim=-1)


def _curved(inputs: int, hidden: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs))


class Autoencoder(nn.Module):
    """What reads visits and writes them."""

    def __init__(self, plan: Plan, reader: Reader, writer: Writer, prior: float) -> None:
        super().__init__()
        self.plan, self.prior = plan, prior
        self.reader, self.writer = reader, writer

    def cost(
        self, facts: Tensor, when: Tensor, content: Tensor, clock: Tensor, noise: Tensor
    ) -> Tensor:
        """Return what each patient costs, summed over her visits."""
        there = (when > 0).to(content)
        mean, log_variance = self.reader(content, clock)
        latent = torch.addcmul(mean, torch.exp(0.5 * log_variance), noise[:, : when.shape[1]])
        apart = 0.5 * (mean**2 + torch.expm1(log_variance) - log_variance).sum(dim=-1)
        past = self.writer.past(content)
        told = torch.cat([latent, past, clock], dim=-1)
        each = self.dated(facts, past, when, clock) + self.held(told, when, content)
        each = each + self.prior * apart
        found: Tensor = self.alone(facts) + (there * each).sum(dim=1)
        return found

    def dated(self, facts: Tensor, past: Tensor, when: Tensor, clock: Tensor) -> Tensor:
        """Return what the days of visits cost, ``(n, most)``; visits are as ``Plan.padded``."""
        there = (when > 0).to(past)
        left = there.flip(1).cumsum(dim=1).flip(1) - there  # visits after each
        first = chosen(self.writer.first(facts, left[:, 0])[:, None], when[:, :1])
        answers = self.writer.later(past[:, 1:], clock[:, :-1], left[:, 1:])
        later = chosen(self.plan.opened(answers, clock[:, :-1]), when[:, 1:])
        return torch.cat([first, later], dim=1)

    def held(self, told: Tensor, when: Tensor, content: Tensor) -> Tensor:
        """Return what writing costs that each visit holds, ``(n, most)``."""
        there = (when > 0).to(content)
        visit = there if self.plan.visited is None else content[..., self.plan.visited]
        return self.plan.visit.cost(self.writer.head(told, content), content, visit)

    def alone(self, facts: Tensor) -> Tensor:
        """Return what writing costs that is known once, ``(n,)``."""
        nobody = torch.ones_like(facts[:, :1])
        return self.plan.once.cost(self.writer.known(nobody, facts), facts, nobody[:, 0])


class _Denoiser(nn.Module):
    """What the numbers of all visits were before noise was added."""

    def __init__(self, plan: Plan, latent: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.plan, self.latent = plan, latent
        self.prefix = nn.Linear(plan.once.width + 1, width)
        self.strength = nn.Linear(WAVES, width)
        self.token = nn.Linear(latent + 5, width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, latent)
        # Past the layers, so that the linear part is learned quickly.
        self.straight = nn.Linear(2 * latent, latent, bias=False)
        for layer in (self.last, self.straight):
            nn.init.zeros_(layer.weight)

    def forward(self, shown: Tensor, level: Tensor, facts: Tensor, lengths: Tensor) -> Tensor:
        level = level.expand(len(shown), 1)
        signal, noise = (each[..., None] for each in strengths(level))
        strength, most = self.strength(waves(level)), shown.shape[1]
        index = torch.arange(most, device=shown.device).to(shown)
        left = lengths[:, None] - 1 - index
        place = torch.stack(
            [
                (index / 10).expand_as(left),
                torch.log1p(index).expand_as(left),
                torch.log1p(left.clamp(min=0)),
                (index == 0).to(shown).expand_as(left),
                (left == 0).to(shown),
            ],
            dim=-1,
        )
        long = torch.log1p(lengths.to(shown))[:, None]
        first = self.prefix(torch.cat([facts, long], dim=1)) + strength
        tokens = self.token(torch.cat([shown, place], dim=-1)) + strength[:, None]
        found = torch.cat([first[:, None], tokens], dim=1)
        shut = torch.cat([torch.zeros_like(left[:, :1]), left], dim=1) < 0
        for layer in self.layers:
            found, _ = layer(found, shut[:, None, None])
        learned = self.last(self.norm(found[:, 1:]))
        learned = learned + self.straight(torch.cat([signal * shown, noise * shown], dim=-1))
        expected: Tensor = signal * shown + noise * learned
        return expected

    def cost(
        self, facts: Tensor, lengths: Tensor, level: Tensor, latents: Tensor, noise: Tensor
    ) -> Tensor:
        """Return the mean squared error over each patient's visits."""
        signal, rest = (each[..., None] for each in strengths(level))
        shown = signal * latents + rest * noise[:, : latents.shape[1]]
        apart = ((self(shown, level, facts, lengths) - latents) ** 2).sum(dim=-1)
        there = torch.arange(latents.shape[1], device=latents.device) < lengths[:, None]
        found: Tensor = (there * apart).sum(dim=1) / lengths.clamp(min=1)
        return found

    def written(self, facts: Tensor, lengths: Ints, strides: int, rng: Rng) -> Tensor:
        """Write the numbers of all visits, ``(n, most, latent)``."""
        most = int(lengths.max(initial=0))
        found = torch.zeros(len(lengths), most, self.latent).to(facts)
        # Together with others of about as many visits, so that little is written in vain.
        for rows in np.array_split(np.argsort(lengths, kind="stable"), -(-len(lengths) // 256)):
            longest, some = int(lengths[rows].max(initial=0)), torch.as_tensor(rows)
            if not longest:
                continue
            noise = rng.standard_normal((len(rows), longest, self.latent))
            told = partial(self, facts=facts[some], lengths=torch.as_tensor(lengths[rows]))
            shown, level = cleared(torch.as_tensor(noise).to(facts), strides, told)
            found[some, :longest] = told(shown, level)
        return found


def stratum(records: Records, encoder: Encoder) -> Ints:
    """Return how follow-up ended: whether with the event, and in which quarter of times."""
    found = np.zeros(len(records), dtype=np.int64)
    for j, feature in enumerate(encoder.numbers):
        if feature.part is Part.OUTCOME:
            found += np.searchsorted(_QUARTERS, records.numbers[:, j])
    for j, feature in enumerate(encoder.categories):
        if feature.part is Part.OUTCOME:
            found += 4 * (records.levels[:, j] == 1)
    return found


def _drawn(counts: Floats, strata: Ints, rng: Rng) -> Ints:
    """Draw how many visits patients have; of strata without any, from all together."""
    every = counts.sum(axis=0) if counts.any() else np.eye(counts.shape[1])[0]
    rows = np.where(counts.sum(axis=1, keepdims=True) > 0, counts, every)
    below = np.cumsum(rows, axis=1)[strata]
    return np.asarray((below <= rng.random(len(strata))[:, None] * below[:, -1:]).sum(axis=1))


def _without(message: Message, *beginnings: str) -> Message:
    return {name: array for name, array in message.items() if not name.startswith(beginnings)}
