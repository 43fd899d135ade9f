"""Diffusion over visits of hospitals that write diagnoses in different systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, cast

import numpy as np
import torch
from annotated_types import Ge, Le
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor, nn
from torch.nn import functional

from fedbench.baselines._rows import bucketed
from fedbench.baselines._visits import Plan
from fedbench.baselines.latdiff import (
    MOMENTS,
    STRATA,
    TIME,
    VISITS,
    Autoencoder,
    Floats,
    Ints,
    Latdiff,
    Reader,
    Writer,
    stratum,
)
from fedbench.data import Cohort
from fedbench.encoding import Encoder
from fedbench.errors import SpecError, Unsupported
from fedbench.generator import Local, Phase, Site, State, shortened
from fedbench.privacy import Stake, Unlimited
from fedbench.seeds import Rng
from fedbench.strategy import Combined, Memory, Message, Update
from fedbench.training import Batch

_SYSTEMS = Phase("systems", 1, 0.1)
_AGREED = Phase("strata", 1, 0.1)
_TOGETHER = Phase("together", share=0.4)

_OWN, _ADAPTERS = "reader.own.", "reader.adapters."
_HELD, _SHARED, _KINDS = "systems held", "systems shared", "kinds of hospitals"
_CENTRE, _SPREAD, _KNOWN = "strata centre", "strata spread", "strata known"

_FEWEST = 10.0
"""Patients with codes of a system from whom on a hospital counts fully as one that uses it."""

_MOST = 8
"""Systems of codes."""


@dataclass(frozen=True, kw_only=True)
class Align(Latdiff):
    """Train ``latdiff`` with an adapter for every coding system and numbers that mean the same.

    After FedEHR-Gen (Bai, Song and Li 2026, https://arxiv.org/abs/2605.27892), of which no code is
    public: an analogue of our own, not that method. All hospitals share the trunk. A code is a
    vector of its system's adapter, by which it is read and written. Hospitals average the adapters
    of systems that at least two of them use; what only one uses is trained there and stays there,
    and so does the scale and shift with which a hospital reads (as in FedBN, Li et al. 2021,
    https://arxiv.org/abs/2102.07623). Codes of a system that a hospital does not use are not held
    against its patients, and a synthetic patient has codes as at some hospital. Half way, hospitals
    add up where the numbers of their visits lie, by how follow-up ended, and from then on a visit
    also costs how far its numbers are from those of all hospitals where it ended alike.

    What the server writes has no codes of a system that one hospital alone uses; that hospital can
    write them, with its memory. Layers are not matched, as everybody starts from one network.

    Attributes:
        adapter: How long the vector of a code is.
        anchors: Pairs of codes that mean the same, each written ``system:code``.
        anchor: Weight of the squared distance between the vectors of such a pair.
        pull: Weight of the divergence from what is agreed where follow-up ended alike; 0: none.
    """

    adapter: Annotated[int, Ge(1)] = 32
    anchors: tuple[tuple[str, str], ...] = ()
    anchor: Annotated[float, Ge(0)] = 10.0
    pull: Annotated[float, Ge(0), Le(10)] = 0.1

    def phases(self) -> Sequence[Phase]:
        return (_SYSTEMS, VISITS, _AGREED, _TOGETHER, MOMENTS, TIME)

    def goes(self, phase: Phase) -> int:
        if phase.name == _TOGETHER.name:
            return max(1, self.passes // 2)
        return -(-self.passes // 2) if self.learns(phase) else super().goes(phase)

    def learns(self, phase: Phase) -> bool:
        return phase.name in (VISITS.name, _TOGETHER.name)

    def stake(self, phase: Phase, patients: int, rounds: int, steps_of: int | None) -> Stake:
        if phase.rounds:
            return Stake(phase.name, 1, phase.share)
        return super().stake(phase, patients, rounds, steps_of)

    def judges(self, phase: Phase) -> bool:
        raise Unsupported(
            "What a hospital keeps to itself (adapters, scale and shift) goes on from round to "
            "round and cannot be taken back to an earlier one, so no round can be chosen. Take "
            "latdiff, or a scenario without `stopping`."
        )

    def plan(self, encoder: Encoder) -> Plan:
        return Plan(encoder, self.blocks, apart=True, closing=True)

    def autoencoder(self, plan: Plan) -> Autoencoder:
        reader = _Reader(plan, self.hidden, self.latent, self.adapter)
        writer = _Writer(reader, self.latent, self.rank, self.adapter)
        pairs = [[_place(plan, code) for code in pair] for pair in self.anchors]
        return _Aligned(plan, reader, writer, (self.prior, self.anchor, self.pull), pairs)

    def network(self, phase: Phase, encoder: Encoder) -> nn.Module:
        # What is released once is about visits that are read.
        return super().network(MOMENTS if phase.name == _AGREED.name else phase, encoder)

    def start(self, phase: Phase, state: State | None, encoder: Encoder, rng: Rng) -> State:
        if phase.name == _SYSTEMS.name:
            if len(encoder.schema.vocabularies) > _MOST:
                raise Unsupported(f"align tells at most {_MOST} systems of codes apart.")
            return {}
        if phase.name in (_AGREED.name, _TOGETHER.name):
            return self.settled(state or {})
        return super().start(phase, state, encoder, rng)

    def message(self, phase: Phase, state: State, round: int) -> Message:
        told = super().message(phase, state, round)
        hidden = self._hidden(state) if _SHARED in state else ()
        return {n: a for n, a in told.items() if n != _KINDS and not n.startswith(hidden)}

    def _hidden(self, told: Message) -> tuple[str, ...]:
        """Return how the names of parameters begin that stay at a site."""
        alone = (f"{_ADAPTERS}{c}." for c in np.flatnonzero(told[_SHARED] == 0))
        return (_OWN, *alone)

    # At a site.

    def update(self, phase: Phase, message: Message, site: Site, local: Local, rng: Rng) -> Update:
        if phase.name == _SYSTEMS.name:
            return self._counted_systems(site, local)
        whole = self._completed(phase, message, site)
        if phase.name == _AGREED.name:
            return self._placed(phase, whole, site, local)
        told = super().update(phase, whole, site, local, rng)
        hidden = self._hidden(message)
        for name, array in told.parameters.items():
            if name.startswith(hidden):
                site.memory[name] = array
        unused = (f"{_ADAPTERS}{c}." for c in np.flatnonzero(~self._held(site)))
        stays = (*hidden, *unused)
        parameters, control = (
            {n: a for n, a in part.items() if not n.startswith(stays)}
            for part in (told.parameters, told.control)
        )
        return replace(told, parameters=parameters, control=control)

    def besides(self, phase: Phase, message: Message, site: Site) -> Sequence[NDArray[Any]]:
        found = super().besides(phase, self._completed(phase, message, site), site)
        if not self.learns(phase):
            return found
        n, held = len(site.records), self._held(site).astype(np.float64)
        return *found, np.tile(held, (n, 1)), stratum(site.records, site.encoder)

    def _completed(self, phase: Phase, message: Message, site: Site) -> Message:
        """Return a message with what this site keeps to itself, at first as it starts."""
        known = {n: a for n, a in site.memory.items() if n.startswith(self._hidden(message))}
        fresh = {
            name: parameter.detach().numpy()
            for name, parameter in self._fresh(phase, site.encoder).named_parameters()
            if name.startswith(self._hidden(message))
        }
        mine = self._held(site) | (message[_SHARED] > 0)
        return {**message, **fresh, **known, _HELD: mine.astype(np.float64)}

    def _fresh(self, phase: Phase, encoder: Encoder) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            network = self.network(phase, encoder)
        return network.double() if self.precision == "float64" else network

    def _held(self, site: Site) -> NDArray[np.bool_]:
        """Return which systems this site uses, as far as it has said so itself."""
        some = len(site.encoder.schema.vocabularies)
        return np.asarray(site.memory.get(_HELD, np.ones(some)) > 0.5)

    def _counted_systems(self, site: Site, local: Local) -> Update:
        """Say which systems of codes are used here: 1, or less if by fewer than ten patients."""
        codes = site.cohort.codes
        systems = list(site.encoder.schema.vocabularies)
        patients = codes.drop_duplicates(["patient", "system"])["system"].value_counts()
        many = patients.reindex(systems, fill_value=0).to_numpy(dtype=np.float64)
        bound = max(1, len(systems)) ** 0.5 / _FEWEST
        sums = local.budget.release({_SHARED: np.minimum(1.0, many / _FEWEST)}, bound)
        # What is said, noise included, decides what is done: so nobody else shows in it.
        site.memory[_HELD] = sums[_SHARED]
        return Update(sums=sums, weight=float(len(site.records)))

    def _placed(self, phase: Phase, message: Message, site: Site, local: Local) -> Update:
        """Say where the numbers of visits lie, for patients whose follow-up ended alike."""
        latents, lengths = super().besides(phase, message, site)
        there = np.arange(latents.shape[1]) < lengths[:, None]
        each = there[..., None] / np.maximum(lengths, 1)[:, None, None]
        features = {
            _CENTRE: (each * latents).sum(axis=1),
            _SPREAD: (each * latents**2).sum(axis=1),
            _KNOWN: there.any(axis=1, keepdims=True).astype(np.float64),
        }
        bound = float(np.sqrt(3 * self.latent + 1))
        if not isinstance(local.budget, Unlimited):
            features = dict(shortened(features, bound))
        hot = np.eye(STRATA)[stratum(site.records, site.encoder)]
        sums = {name: hot.T @ values for name, values in features.items()}
        return Update(sums=local.budget.release(sums, bound), weight=float(len(lengths)))

    def counted(self, site: Site) -> dict[str, Floats]:
        kinds = np.zeros((len(site.records), 2 ** len(self._held(site))))
        kinds[:, self._held(site) @ (2 ** np.arange(len(self._held(site))))] = 1
        return {_KINDS: kinds}

    # At the server.

    def fold(
        self, phase: Phase, state: State, combined: Combined, encoder: Encoder, rng: Rng
    ) -> State:
        if phase.name == _SYSTEMS.name:
            # One hospital alone shares with itself.
            enough = 0.0 if len(combined.sites) == 1 else 1.5
            return {**state, _SHARED: (combined.sums[_SHARED] >= enough).astype(np.float64)}
        if phase.name == _AGREED.name:
            return {**state, **_agreed(combined)}
        held = dict(super().fold(phase, state, combined, encoder, rng))
        if phase.name == MOMENTS.name:
            counts = combined.sums[_KINDS]
            held[_KINDS] = np.where(counts > 2 * combined.noise, counts, 0.0)
        return held

    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        if memory is not None:  # one hospital writes as it does itself
            held = np.asarray(memory[_HELD] > 0.5)
            own = {name: array for name, array in memory.items() if name.startswith("reader.")}
            kinds = np.eye(2 ** len(held))[held @ (2 ** np.arange(len(held)))]
            state = {**self.settled(state), **own, _KINDS: kinds, _SHARED: held.astype(np.float64)}
        return super().sample(state, encoder, n, rng)

    def latents(self, state: State, encoder: Encoder, cohort: Cohort) -> Floats:
        """Say that the server cannot read visits.

        Raises:
            Unsupported: always.
        """
        raise Unsupported("A hospital reads visits with layers of its own; the server lacks them.")

    def prepare(self, writer: Writer, state: State, n: int, rng: Rng) -> None:
        """Draw which systems each patient's hospital uses; what is private is written by none."""
        counts = state[_KINDS] if state[_KINDS].any() else np.eye(len(state[_KINDS]))[-1]
        kind = rng.choice(len(counts), n, p=counts / counts.sum())
        bits = kind[:, None] >> np.arange(len(state[_SHARED])) & 1
        widths = [len(v.codes) for v in writer.plan.schema.vocabularies.values()]
        cast("_Writer", writer).uses = np.repeat(bits * state[_SHARED], widths, axis=1)

    # The network.

    def loaded(self, phase: Phase, message: Message, encoder: Encoder) -> nn.Module:
        network = super().loaded(phase, message, encoder)
        if isinstance(network, _Aligned):
            if _HELD in message:
                network.near(message[_HELD] > 0)
            if phase.name == _TOGETHER.name:
                kind = network.reader.out.weight.dtype
                parts = (torch.as_tensor(message[n]).to(kind) for n in (_CENTRE, _SPREAD, _KNOWN))
                network.strata = (*parts,)
        return network

    def losses(self, network: nn.Module, batch: Batch, draws: Tensor) -> Mapping[str, Tensor]:
        if not isinstance(network, _Aligned):
            return super().losses(network, batch, draws)
        facts = network.plan.facts(batch.numbers, batch.missing, batch.onehot)
        noise = draws[:, :-1].view(len(draws), -1, self.latent)
        when, content, clock, held, stratum = batch.extra
        buckets = 1 if len(batch) <= self.copies else 3  # few: under differential privacy
        lengths = (when > 0).sum(dim=1)
        visits = [when, content, clock, noise]
        whole = [facts, held, stratum]
        return {"loss": bucketed(network.aligned, lengths, whole, visits, buckets)}


class _Adapter(nn.Module):
    """The vectors of the codes of a system, and how often each is written when nothing is known."""

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(codes, width) * width**-0.5)
        self.often = nn.Parameter(torch.full((codes,), -3.0))


class _Reader(Reader):
    """From a visit to its numbers, codes by their vectors; scale and shift are the site's own."""

    def __init__(self, plan: Plan, hidden: int, latent: int, adapter: int) -> None:
        super().__init__(plan, hidden, latent)
        self.plan = plan
        self.row = nn.Linear(plan.visit.width + plan.clocks, hidden)
        widths = [len(v.codes) for v in plan.schema.vocabularies.values()]
        self.adapters = nn.ModuleList(_Adapter(codes, adapter) for codes in widths)
        self.code = nn.Linear(adapter, hidden, bias=False)
        self.own = nn.LayerNorm(hidden)

    def vectors(self) -> Tensor:
        """Return the vectors of all codes, ``(codes, adapter)``."""
        every: list[Tensor] = [cast("_Adapter", each).vectors for each in self.adapters]
        return torch.cat(every) if every else self.code.weight.new_zeros(0, self.code.in_features)

    def often(self) -> Tensor:
        """Return the logits of all codes when nothing is known, ``(codes,)``."""
        every: list[Tensor] = [cast("_Adapter", each).often for each in self.adapters]
        return torch.cat(every) if every else self.code.weight.new_zeros(0)

    def forward(self, content: Tensor, clock: Tensor) -> tuple[Tensor, Tensor]:
        rows, codes = content.tensor_split((self.plan.visit.width,), dim=-1)
        told = self.row(torch.cat([rows, clock], dim=-1))
        found = functional.gelu(self.own(told + self.code(codes @ self.vectors())))
        return self.read(found)


class _Writer(Writer):
    """From the numbers of a visit to the visit, and to a vector that its codes are near to."""

    def __init__(self, reader: _Reader, latent: int, rank: int, adapter: int) -> None:
        visit = reader.plan.visit
        super().__init__(reader.plan, latent, rank, visit.width + adapter)
        self.asked = nn.Linear(self.context + visit.width, rank)
        self.near = nn.Linear(rank, adapter)
        # Not a part of this one: vectors are the reader's, by which it reads.
        self.readers = (reader,)
        self.uses: Floats = np.zeros((0, 0))

    def seen(self, before: Tensor) -> Tensor:
        rows, codes = before.tensor_split((self.plan.visit.width,), dim=-1)
        return torch.cat([rows, codes @ self.readers[0].vectors()], dim=-1)

    def coded(self, told: Tensor, rows: Tensor) -> Tensor:
        """Return the logits of all codes of visits whose other fields are known."""
        near = self.near(torch.tanh(self.asked(torch.cat([told, rows], dim=-1))))
        found: Tensor = near @ self.readers[0].vectors().T + self.readers[0].often()
        return found

    def drawn(self, told: Tensor, patients: Ints, rng: Rng) -> Tensor:
        rows = super().drawn(told, patients, rng)
        logits = self.coded(told, rows).double().numpy()
        codes = (rng.random(logits.shape) < expit(logits)) & (self.uses[patients] > 0)
        return torch.cat([rows, torch.as_tensor(codes).to(rows)], dim=1)


class _Aligned(Autoencoder):
    def __init__(
        self,
        plan: Plan,
        reader: _Reader,
        writer: _Writer,
        weights: tuple[float, float, float],
        pairs: Sequence[Sequence[int]],
    ) -> None:
        super().__init__(plan, reader, writer, weights[0])
        self.anchor, self.pull = weights[1:]
        widths = [len(v.codes) for v in plan.schema.vocabularies.values()]
        self.system = np.repeat(np.arange(len(widths)), widths)
        self.pairs = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        self.strata: tuple[Tensor, ...] = ()
        if self.anchor and pairs:  # codes that mean the same start as one
            rows = reader.vectors().detach()
            rows[self.pairs[:, 1]] = rows[self.pairs[:, 0]]
            for adapter, mine in zip(reader.adapters, torch.split(rows, widths), strict=True):
                cast("_Adapter", adapter).vectors.data = mine.clone()

    def near(self, systems: NDArray[np.bool_]) -> None:
        """Keep the anchors of which both codes are of these systems."""
        self.pairs = self.pairs[systems[self.system[self.pairs]].all(axis=1)]

    def aligned(  # noqa: PLR0913, PLR0917  (each is part of a patient)
        self,
        facts: Tensor,
        held: Tensor,
        stratum: Tensor,
        when: Tensor,
        content: Tensor,
        clock: Tensor,
        noise: Tensor,
    ) -> Tensor:
        """Return what each patient costs, summed over her visits."""
        mean, log_variance = self.reader(content, clock)
        latent = torch.addcmul(mean, torch.exp(0.5 * log_variance), noise[:, : when.shape[1]])
        rows, codes = content.tensor_split((self.plan.visit.width,), dim=-1)
        past = self.writer.past(content)
        told = torch.cat([latent, past, clock], dim=-1)
        logits = cast("_Writer", self.writer).coded(told, rows)
        bits = functional.softplus(logits) - codes * logits
        coded = (bits * held[:, None, self.system]).sum(dim=-1)
        apart = 0.5 * (mean**2 + torch.expm1(log_variance) - log_variance).sum(dim=-1)
        each = self.dated(facts, past, when, clock) + self.held(told, when, content)
        each = each + coded + self.prior * apart
        if self.strata:
            each = each + self.pull * self._astray(mean, log_variance, stratum)
        found: Tensor = self.alone(facts) + ((when > 0).to(content) * each).sum(dim=1)
        return found + self.anchor * self._torn()

    def _astray(self, mean: Tensor, log_variance: Tensor, stratum: Tensor) -> Tensor:
        """Return how far the numbers of visits are from those of all hospitals, ``(n, most)``."""
        centre, variance, known = (part.to(mean)[stratum][:, None] for part in self.strata)
        apart = (torch.exp(log_variance) + (mean - centre) ** 2) / variance
        return 0.5 * known * (apart - 1 - log_variance + torch.log(variance)).sum(dim=-1)

    def _torn(self) -> Tensor:
        """Return the squared distances between codes that mean the same."""
        vectors = cast("_Reader", self.reader).vectors()
        one, other = (vectors[torch.as_tensor(side)] for side in self.pairs.T)
        return ((one - other) ** 2).sum()


def _agreed(combined: Combined) -> dict[str, Floats]:
    """Return centre and variance of strata; 1 for those that enough patients are in."""
    count = combined.sums[_KNOWN]
    many = np.maximum(count, 1.0)
    centre = np.clip(combined.sums[_CENTRE] / many, -4, 4)
    variance = np.clip(combined.sums[_SPREAD] / many - centre**2, 0.05, 16)
    known = (count[:, 0] >= max(_FEWEST, 4 * combined.noise)).astype(np.float64)
    return {_CENTRE: centre, _SPREAD: variance, _KNOWN: known}


def _place(plan: Plan, name: str) -> int:
    """Return the place of a code, written ``system:code``, among all codes."""
    codes = [
        f"{system}:{code}" for system, v in plan.schema.vocabularies.items() for code in v.codes
    ]
    if name not in codes:
        raise SpecError(
            f"align: the anchor {name!r} is none of the {len(codes)} codes of the schema. "
            "Write system:code, such as icd10cm:E11."
        )
    return codes.index(name)
