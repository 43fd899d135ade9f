"""The one local loop of neural generators."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from torch import Tensor, nn

from fedbench.encoding import Encoder
from fedbench.errors import ContractError, Unsupported
from fedbench.generator import Generator, Local, Phase, Site, State
from fedbench.privacy import Noised, Stake, Unlimited, Whole
from fedbench.seeds import Rng, normals
from fedbench.stepping import Batch, Drift, Pull, Trainer
from fedbench.strategy import Correction, Message, Update

__all__ = ["Batch", "Neural", "weights"]

_JUDGED = 256
"""Patients who judge at once."""

_PRECISION = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, kw_only=True)
class Neural(Generator):
    """A generator that is trained by gradient steps.

    Attributes:
        passes: How often each site goes through its own patients, over all rounds.
        batch: Patients per step, at most; 0 takes all of them.
        least_steps: Steps per pass, at least, so that small hospitals take some too.
        learning_rate: Of the optimizer, which starts afresh every round.
        optimizer: ``adam`` (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980) or plain ``sgd``.
        precision: Of parameters and data; ``float64`` is for exact comparisons.
    """

    objectives: ClassVar[Mapping[str, tuple[str, ...]]] = {"loss": ("",)}
    """Which parameters each objective trains, by the beginning of their names."""

    blind: ClassVar[frozenset[str]] = frozenset()
    """Objectives whose losses no record enters; privacy asks nothing of them."""

    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    """How slowly Adam forgets gradients and their squares."""

    copies: ClassVar[int] = 1
    """Under privacy, over how many draws a patient's losses are averaged before they are cut."""

    passes: Annotated[int, Ge(1)] = 100
    batch: Annotated[int, Ge(0)] = 256
    least_steps: Annotated[int, Ge(1)] = 1
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    optimizer: Literal["adam", "sgd"] = "adam"
    precision: Literal["float32", "float64"] = "float32"

    @abstractmethod
    def network(self, phase: Phase, encoder: Encoder) -> nn.Module:
        """Return a network with fresh weights; the names of its parameters are the message's.

        No buffers and no layer that mixes patients (batch norm), so that what is averaged is all
        there is and per-patient gradients exist.
        """

    @abstractmethod
    def losses(self, network: nn.Module, batch: Batch, draws: Tensor) -> Mapping[str, Tensor]:
        """Return one value per patient and objective; their mean over a batch is minimized."""

    @abstractmethod
    def width(self, phase: Phase, encoder: Encoder) -> int:
        """Return how many draws of noise each patient needs per pass."""

    def goes(self, phase: Phase) -> int:
        """Return how often each site goes through its patients, over all rounds of a phase."""
        return self.passes

    def besides(self, phase: Phase, message: Message, site: Site) -> Sequence[NDArray[Any]]:
        """Return what training needs besides ``Records`` (visits): the first axis is the patient.

        Arrays of floats get the precision of the network, all others stay what they are.
        """
        return ()

    def draws(
        self, phase: Phase, encoder: Encoder, keys: NDArray[np.uint64], stream: int
    ) -> NDArray[np.float64]:
        """Return each patient's noise, the same wherever she lives; shape ``(n, width)``."""
        return normals(keys, self.width(phase, encoder), stream)

    def start(self, phase: Phase, state: State | None, encoder: Encoder, rng: Rng) -> State:
        with _seeded(rng):
            network = self.network(phase, encoder).to(_PRECISION[self.precision])
        return {**(state or {}), **weights(network)}

    def update(self, phase: Phase, message: Message, site: Site, local: Local, rng: Rng) -> Update:
        """Train at one site for its share of the passes.

        Raises:
            Unsupported: what was asked for cannot be done with differential privacy.
        """
        budget = local.budget
        if not isinstance(budget, Unlimited | Noised):
            raise Unsupported(f"{type(self).__name__} knows no differential privacy of this kind.")
        means: Message = {}
        course = self._course(phase, message, site, local.device)
        with _seeded(rng):
            network = self.loaded(phase, message, site.encoder).to(local.device)
            if isinstance(budget, Noised) and not isinstance(budget, Whole):
                self._check_private(local.correction, budget)
                steps = self._fit_privately(network, course, local, budget)
            else:
                steps, means = self._fit(network, course, local, rng)
        parameters: Message = weights(network)
        if isinstance(budget, Whole):
            # A hospital is not known by how many steps it takes or where its gradients point.
            parameters, means, steps = budget.moved(parameters, message), {}, 1
        elif isinstance(budget, Noised):
            parameters = budget.learned(parameters)
        weight = float(len(site.records))
        return Update(parameters=parameters, weight=weight, steps=steps, control=means)

    def stake(self, phase: Phase, patients: int, rounds: int, steps_of: int | None) -> Stake:
        taken = self._pieces(steps_of or patients) * self.goes(phase)
        return Stake(phase.name, taken, phase.share, 1 / self._pieces(patients))

    def judges(self, phase: Phase) -> bool:
        if len(self.objectives) > 1:
            raise Unsupported(
                f"{type(self).__name__} has several objectives that work against each other; none "
                "of them says how good its records are, so no round can be chosen by it."
            )
        return phase.rounds is None

    def judge(
        self, phase: Phase, message: Message, site: Site, local: Local
    ) -> NDArray[np.float64]:
        """Return each patient's loss as it is at the end of training, over the same draws."""
        course = self._course(phase, message, site, local.device)
        stream = local.streams.child("draws", phase.name).number()
        noise = self._copied(phase, course.encoder, course.keys, stream)
        draws = torch.as_tensor(noise).to(local.device, _PRECISION[self.precision])
        network = self.loaded(phase, message, site.encoder).to(local.device).eval()
        found = []
        with torch.no_grad(), _seeded(np.random.default_rng(0)):
            for start in range(0, len(course.keys), _JUDGED):
                some = slice(start, start + _JUDGED)
                tensors = course.everyone.take(some).tensors
                (losses,) = self._losses_of(1.0, network, *tensors, draws[some]).values()
                found.append(losses.double().cpu().numpy())
        return np.concatenate(found)

    def loaded(self, phase: Phase, message: Message, encoder: Encoder) -> nn.Module:
        """Return the network of a phase with the weights of a message.

        Raises:
            ContractError: a weight is not in the message.
        """
        with _seeded(np.random.default_rng(0)):
            network = self.network(phase, encoder)
        names = [name for name, _ in network.named_parameters()]
        if lacking := sorted(set(names) - set(message)):
            raise ContractError(f"The message of phase {phase.name!r} lacks {', '.join(lacking)}.")
        network.to(_PRECISION[self.precision])
        network.load_state_dict({name: torch.as_tensor(message[name]) for name in names})
        return network

    def _course(self, phase: Phase, message: Message, site: Site, device: str) -> _Course:
        extra, dtype = self.besides(phase, message, site), _PRECISION[self.precision]
        everyone = Batch.of(site.records, site.encoder, dtype, device, extra)
        return _Course(phase, site.encoder, site.records.keys, everyone)

    def _fit(
        self, network: nn.Module, course: _Course, local: Local, rng: Rng
    ) -> tuple[int, Message]:
        """Return how many steps were taken, and the mean gradients if they are asked for."""
        trainers = self._trainers(network)
        pulls = [Pull.of(trainer.whole, local.correction.proximal) for trainer in trainers]
        drifts = [Drift.of(network, trainer, local.correction) for trainer in trainers]
        steps = 0
        for batch, draws in self._batches(course, local, rng):
            losses = self.losses(network, batch, draws)
            for trainer in trainers:
                trainer.differentiate(losses, last=trainer is trainers[-1])
            for trainer, pull, drift in zip(trainers, pulls, drifts, strict=True):
                drift.apply()
                pull.apply()
                trainer.optimizer.step()
            steps += 1
        means = {name: mean for drift in drifts for name, mean in drift.means(steps).items()}
        return steps, means

    def _trainers(self, network: nn.Module) -> list[Trainer]:
        return [
            Trainer.of(network, name, prefixes, self._descent)
            for name, prefixes in self.objectives.items()
        ]

    def _descent(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, lr=self.learning_rate, fused=True)
        return torch.optim.Adam(parameters, lr=self.learning_rate, betas=self.betas, fused=True)

    def _check_private(self, correction: Correction, budget: Noised) -> None:
        """Refuse what would tell exact gradients, or gradients with too little noise.

        Raises:
            Unsupported: it does.
        """
        if budget.part < 1:
            raise Unsupported(
                "Noise that hospitals add together is for sums; gradients are used at each of "
                "them. Take noise = 'site' for this generator."
            )
        if correction.traced or correction.shift:
            raise Unsupported(
                "This strategy sends or uses exact gradients of a site, which differential privacy "
                "does not allow. Take another one, such as fedavg."
            )

    def _fit_privately(
        self, network: nn.Module, course: _Course, local: Local, budget: Noised
    ) -> int:
        """Return how many steps were taken; each is about a secret sample, and noised."""
        from fedbench.clipping import Clipped, sampled  # noqa: PLC0415  (Opacus is slow to import)

        planned = self.steps(course.phase, round(1 / budget.rate), local)
        if not planned:
            return 0
        budget.pay(planned)
        trainers = self._trainers(network)
        pulls = [Pull.of(trainer.whole, local.correction.proximal) for trainer in trainers]
        names = {id(p): name for name, p in network.named_parameters()}
        seeing = len(self.objectives.keys() - self.blind)
        dtype = _PRECISION[self.precision]
        for taken in range(planned):
            progress = (local.round + taken / planned) / local.rounds
            rows = sampled(len(course.keys), budget.rate, budget.normals)
            stream = local.streams.child("draws", course.phase.name, local.round, taken).number()
            noise = self._copied(course.phase, course.encoder, course.keys[rows], stream)
            some = replace(course.everyone.take(torch.as_tensor(rows)), progress=progress)
            for trainer, pull in zip(trainers, pulls, strict=True):
                if trainer.objective in self.blind:
                    count = max(1, round(budget.rate * budget.patients))
                    nobody = [part.new_zeros((count, *part.shape[1:])) for part in some.tensors]
                    drawn = self._copied(
                        course.phase, course.encoder, np.arange(count, dtype=np.uint64), stream
                    )
                    blank = [*nobody, torch.as_tensor(drawn).to(local.device, dtype)]
                    trainer.differentiate(self._losses_of(progress, network, *blank), last=True)
                else:
                    clipped = Clipped(
                        losses=partial(self._losses_of, progress),
                        network=network,
                        parameters={names[id(p)]: p for p in trainer.parameters},
                        whole=trainer.whole,
                        # Together, the gradients of a patient are no longer than promised.
                        bound=budget.promise.clip / np.sqrt(seeing),
                        noise=budget.noise * np.sqrt(seeing),
                        expected=budget.rate * budget.patients,
                        normals=budget.normals,
                    )
                    clipped.differentiate(
                        trainer.objective,
                        [*some.tensors, torch.as_tensor(noise).to(local.device, dtype)],
                    )
                pull.apply()
                trainer.optimizer.step()
        return planned

    def _losses_of(
        self, progress: float, network: nn.Module, *patients: Tensor
    ) -> Mapping[str, Tensor]:
        *records, draws = patients
        if self.copies > 1:
            records = [part.repeat_interleave(self.copies, dim=0) for part in records]
        batch = Batch.joined(records, progress)
        found = self.losses(network, batch, draws.reshape(len(batch), -1))
        return {name: loss.view(-1, self.copies).mean(dim=1) for name, loss in found.items()}

    def _copied(
        self, phase: Phase, encoder: Encoder, keys: NDArray[np.uint64], stream: int
    ) -> NDArray[np.float64]:
        """Return the noise of each patient, of all copies one after another."""
        every = [self.draws(phase, encoder, keys, stream ^ copy) for copy in range(self.copies)]
        return np.concatenate(every, axis=1)

    def _batches(self, course: _Course, local: Local, rng: Rng) -> Iterator[tuple[Batch, Tensor]]:
        """Yield what every step of this round works on, each pass in a new order."""
        n, dtype = len(course.keys), _PRECISION[self.precision]
        cuts = np.linspace(0, n, self._pieces(n) + 1).astype(int)
        planned = self.steps(course.phase, len(cuts) - 1, local)
        taken = turn = 0
        while taken < planned:
            stream = local.streams.child("draws", course.phase.name, local.round, turn).number()
            noise = self.draws(course.phase, course.encoder, course.keys, stream)
            order = rng.permutation(n) if len(cuts) > 2 else np.arange(n)
            rows = torch.as_tensor(order, device=local.device)
            shuffled = course.everyone.take(rows)
            draws = torch.as_tensor(noise).to(local.device, dtype)[rows]
            for first, last in list(pairwise(cuts.tolist()))[: planned - taken]:
                progress = (local.round + taken / planned) / local.rounds
                some = shuffled.take(slice(first, last))
                yield replace(some, progress=progress), draws[first:last]
                taken += 1
            turn += 1

    def _pieces(self, n: int) -> int:
        """Return in how many steps a site goes through so many patients."""
        return min(n, max(-(-n // self.batch), self.least_steps)) if self.batch else 1

    def steps(self, phase: Phase, per_pass: int, local: Local) -> int:
        """Return how many steps a site takes in a round."""
        if local.steps_of is not None:
            per_pass = self._pieces(local.steps_of)
        passes = self.goes(phase)
        done = passes * local.round // local.rounds
        return per_pass * (passes * (local.round + 1) // local.rounds - done)


@dataclass(frozen=True)
class _Course:
    """All patients of a site, whom a network is to learn in a phase; the keys draw their noise."""

    phase: Phase
    encoder: Encoder
    keys: NDArray[np.uint64]
    everyone: Batch


def weights(network: nn.Module) -> dict[str, NDArray[np.float32] | NDArray[np.float64]]:
    """Return every parameter of a network by name."""
    return {name: p.detach().cpu().numpy().copy() for name, p in network.named_parameters()}


@contextmanager
def _seeded(rng: Rng) -> Iterator[None]:
    """Seed torch within the block (first weights, dropout) and leave no trace outside."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(rng.integers(2**63)))
        yield
