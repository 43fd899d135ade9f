"""What a site may say: every release is noised and charged to one budget."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray
from scipy.special import ndtri

from fedbench.accounting import (
    Accountant,
    Bill,
    Charge,
    epsilon_of,
    gaussian_epsilon,
    gaussian_mu,
    noise_for,
)
from fedbench.errors import Overspent, Unsupported
from fedbench.plugin import Plugin

__all__ = [
    "PROMISES",
    "Budget",
    "Hospital",
    "Limit",
    "Noised",
    "Patient",
    "Promise",
    "Stake",
    "Unlimited",
    "Whole",
    "agreed",
    "os_normals",
    "planned",
]

Floats = NDArray[np.float64]

_GRAIN = 2.0**10
"""Released numbers lie on a grid at least this much finer than the noise."""

_ROUNDING = 1e-6
"""By which share of itself epsilon may be off before a charge is refused."""


@dataclass(frozen=True, kw_only=True)
class Patient(Plugin):
    """Nobody can tell, from all that a site says, whether a patient is among its records.

    Attributes:
        epsilon: By how much, at most, over all releases of a site.
        delta: With which probability, at most, it is more; below a tenth of one over the number
            of patients.
        encoder: The share of the budget (of its squared ``mu``) that agreeing on the encoder takes.
        clip: The longest gradient that a patient may have; longer ones are shortened.
        noise: Every ``site`` adds all of it, or they do together (``distributed``): then only the
            sum over sites keeps the promise, and whoever adds up must see nothing else.
    """

    unit: ClassVar[str] = "patient"

    epsilon: Annotated[float, Gt(0), Le(100)]
    delta: Annotated[float, Gt(0), Le(0.01)] = 1e-6
    encoder: Annotated[float, Gt(0), Lt(1)] = 0.5
    clip: Annotated[float, Gt(0), Le(1000)] = 1.0
    noise: Literal["site", "distributed"] = "site"


@dataclass(frozen=True, kw_only=True)
class Hospital(Plugin):
    """Nobody can tell, from what all hospitals say together, whether one of them said anything.

    The noise that this takes does not shrink with the number of patients, only with that of
    hospitals: with fewer than 50 of them it drowns what they say.

    Attributes:
        epsilon: By how much, at most, over all releases.
        delta: With which probability, at most, it is more.
        encoder: The share of the budget (of its squared ``mu``) that agreeing on the encoder takes.
        clip: The furthest that a hospital may move the parameters in a round.
        size: As how many patients every hospital counts, however many it has.
    """

    unit: ClassVar[str] = "hospital"
    noise: ClassVar[Literal["site", "distributed"]] = "distributed"

    epsilon: Annotated[float, Gt(0), Le(1000)]
    delta: Annotated[float, Gt(0), Le(0.01)] = 1e-3
    encoder: Annotated[float, Gt(0), Lt(1)] = 0.5
    clip: Annotated[float, Gt(0), Le(1000)] = 1.0
    size: Annotated[int, Ge(1)] = 1000


Promise = Patient | Hospital

PROMISES: Mapping[str, type[Promise]] = {"patient": Patient, "hospital": Hospital}
"""What a scenario can promise, by name, beside ``none``."""


@dataclass(frozen=True)
class Limit:
    """What a site allows over all trainings that it ever takes part in."""

    epsilon: float
    delta: float


@dataclass(frozen=True)
class Stake:
    """What a phase will release over all its rounds, and its part of what the encoder leaves.

    It takes ``steps`` releases, each about a sample that a patient is in with chance ``rate``.
    """

    phase: str
    steps: int
    share: float = 1.0
    rate: float = 1.0


def agreed(promise: Promise, encoder: str, *, alone: bool) -> Charge:
    """Return what agreeing on the encoder will cost; ``alone`` it takes the whole budget."""
    whole = gaussian_mu(promise.epsilon, promise.delta)
    return Charge("", encoder, (whole * math.sqrt(1.0 if alone else promise.encoder)) ** -1)


@lru_cache(maxsize=256)
def planned(promise: Promise, encoder: str, stakes: tuple[Stake, ...]) -> tuple[Charge, ...]:
    """Return what agreeing on the encoder and every phase will cost, all rounds of it together.

    Squared ``mu`` is divided, as it adds up: after each phase epsilon is at most that of
    unsampled Gaussian noise with as much of it.
    """
    found = [agreed(promise, encoder, alone=not stakes)]
    whole = gaussian_mu(promise.epsilon, promise.delta) ** 2
    used = found[0].noise ** -2
    parts = [(whole - used) * s.share / sum(other.share for other in stakes) for s in stakes]
    for stake, part in zip(stakes, parts, strict=True):
        used += part
        target = promise.epsilon * (1 - 1e-9)
        if stake is not stakes[-1]:
            target = min(target, gaussian_epsilon(math.sqrt(used), promise.delta))
        empty = Charge("", stake.phase, 1.0, stake.rate, stake.steps)
        found.append(replace(empty, noise=noise_for(found, empty, target, promise.delta)))
    return tuple(found)


class Budget(Plugin):
    """What a site may say in one message, and what it costs."""

    label: ClassVar[str]

    @abstractmethod
    def release(self, sums: Mapping[str, NDArray[Any]], bound: float) -> Mapping[str, NDArray[Any]]:
        """Let sums out of the site, whose one-patient L2 norm is at most ``bound``."""


@dataclass(frozen=True, kw_only=True)
class Unlimited(Budget):
    """No differential privacy: sums leave as they are."""

    label: ClassVar[str] = "none"

    def release(self, sums: Mapping[str, NDArray[Any]], bound: float) -> Mapping[str, NDArray[Any]]:
        return sums


@dataclass(frozen=True, kw_only=True)
class Noised(Budget):
    """Gaussian noise on everything, charged before it leaves.

    Attributes:
        promise: What all releases of ``run`` together must keep.
        accountant: Of this site.
        run: Which training this is.
        what: Which message.
        plan: What was planned, up to and including the phase of this message.
        patients: How many patients the site said it has.
        normals: Standard normal numbers that nobody outside the site can foresee.
        limit: What the site allows over all trainings; None: anything.
        part: Which part of the noise (of its standard deviation) this site adds.
        said: What was released, ``scale``, the standard deviation of its noise, and what was
            ``paid``.
    """

    label: ClassVar[str] = "patient"

    promise: Promise
    accountant: Accountant
    run: str
    what: str
    plan: tuple[Charge, ...]
    normals: Callable[[int], Floats]
    patients: int = 0
    limit: Limit | None = None
    part: float = 1.0
    said: dict[str, NDArray[Any]] = field(default_factory=dict)
    scale: list[float] = field(default_factory=list)
    paid: list[Charge] = field(default_factory=list)

    @property
    def noise(self) -> float:
        """Standard deviation of the noise in units of the bound."""
        return self.plan[-1].noise

    @property
    def rate(self) -> float:
        """The chance of every patient to be in the sample of a step."""
        return self.plan[-1].rate

    def release(self, sums: Mapping[str, NDArray[Any]], bound: float) -> Mapping[str, NDArray[Any]]:
        if not (math.isfinite(bound) and bound > 0):
            raise Unsupported(f"Sums without a bound on one patient ({bound}) cannot be released.")
        if self.rate < 1:
            raise Unsupported(f"Sums about everybody in {self.what}, which was to sample patients.")
        self.pay()
        std = self.noise * bound * self.part
        # Rounding afterwards costs no privacy, and hides how floating-point noise is made
        # (Mironov 2012, https://doi.org/10.1145/2382196.2382264).
        grid = 2.0 ** math.floor(math.log2(std / _GRAIN))
        for name in sorted(sums):
            exact = np.asarray(sums[name], dtype=np.float64)
            noised = exact + std * self.normals(exact.size).reshape(exact.shape)
            self.said[name] = np.asarray(np.round(noised / grid) * grid)
        self.scale.append(std)
        return dict(self.said)

    def pay(self, steps: int = 1) -> None:
        """Write down what is about to be released.

        Raises:
            Overspent: together with others it is more than was promised or than the site allows.
        """
        charge = Charge(self.run, self.what, self.noise, self.rate, steps)
        self.accountant.charge(charge, partial(self._check, charge))
        self.paid.append(charge)

    def _check(self, charge: Charge) -> None:
        charges = [*self.accountant.of(self.run), charge]
        # What was planned keeps the promise; adding it up again takes long.
        if not Bill.of(charges).within(Bill.of(self.plan)):
            total = epsilon_of(charges, self.promise.delta)
            if total > self.promise.epsilon * (1 + _ROUNDING):
                raise Overspent(
                    f"Releasing {self.what} would spend epsilon {total:.4g} of the promised "
                    f"{self.promise.epsilon:.4g}, so nothing is released. A site that starts again "
                    "has to pay again; a generator may release once a round."
                )
        if self.limit:
            total = epsilon_of([*self.accountant.charges, charge], self.limit.delta)
            if total > self.limit.epsilon * (1 + _ROUNDING):
                raise Overspent(
                    f"With {self.what}, epsilon of all trainings of this site would be "
                    f"{total:.4g}; it allows {self.limit.epsilon:.4g} (`epsilon` in its "
                    "configuration), so nothing is released."
                )

    def learned(self, parameters: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Let parameters out that were trained on noised gradients and nothing else.

        What was paid for is ``pay``'s business; without a payment they are those of the server.
        """
        self.said.update(parameters)
        return parameters

    def covers(self, message: Mapping[str, NDArray[Any]]) -> bool:
        """Say whether all of a message was released here."""
        return all(array is self.said.get(name) for name, array in message.items())


@dataclass(frozen=True, kw_only=True)
class Whole(Noised):
    """The same for a hospital as a whole, which counts as ``patients``, with ``own`` of them."""

    label: ClassVar[str] = "hospital"

    own: int = 0

    def release(self, sums: Mapping[str, NDArray[Any]], bound: float) -> Mapping[str, NDArray[Any]]:
        # The mean over patients is no longer than any one of them may be.
        factor = self.patients / max(self.own, 1)
        return super().release({n: a * factor for n, a in sums.items()}, bound * self.patients)

    def moved(
        self, parameters: Mapping[str, NDArray[Any]], before: Mapping[str, NDArray[Any]]
    ) -> Mapping[str, NDArray[Any]]:
        """Let parameters out, not further from those before than ``clip``, and noised."""
        self.pay()
        ways = {n: np.asarray(parameters[n] - before[n], np.float64) for n in sorted(parameters)}
        length = math.sqrt(sum(float((way**2).sum()) for way in ways.values()))
        # A way that is no number leads nowhere.
        factor = min(1.0, self.promise.clip / max(length, 1e-300)) if math.isfinite(length) else 0.0
        std = self.noise * self.promise.clip * self.part
        for name, way in ways.items():
            kept = factor * np.nan_to_num(way, nan=0.0, posinf=0.0, neginf=0.0)
            drawn = std * self.normals(way.size).reshape(way.shape)
            self.said[name] = (before[name] + kept + drawn).astype(parameters[name].dtype)
        return dict(self.said)


def os_normals(count: int) -> Floats:
    """Return standard normal numbers from the operating system's entropy."""
    bits = np.frombuffer(os.urandom(8 * count), dtype=np.uint64)
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return np.asarray(ndtri(uniform), dtype=np.float64)
