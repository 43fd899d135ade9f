"""What a site may say: every release is noised and charged to one budget."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt, Le, Lt
from numpy.typing import NDArray
from scipy.special import ndtri

from fedbench.accounting import Accountant, Charge, epsilon_of, gaussian_mu
from fedbench.errors import Unsupported
from fedbench.plugin import Plugin

__all__ = ["PROMISES", "Budget", "Noised", "Patient", "Stake", "Unlimited", "noises", "os_normals"]

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
    """

    unit: ClassVar[str] = "patient"

    epsilon: Annotated[float, Gt(0), Le(100)]
    delta: Annotated[float, Gt(0), Le(0.01)] = 1e-6
    encoder: Annotated[float, Gt(0), Lt(1)] = 0.5


PROMISES: Mapping[str, type[Patient]] = {"patient": Patient}
"""What a scenario can promise, by name, beside ``none``."""


@dataclass(frozen=True)
class Stake:
    """How often a phase releases something, and its part of what the encoder leaves."""

    phase: str
    rounds: int
    share: float = 1.0


def noises(promise: Patient, encoder: str, stakes: Sequence[Stake]) -> Mapping[str, float]:
    """Return the noise of every release by its phase, in units of its bound.

    Squared ``mu`` is divided, as it adds up. Without a phase the encoder gets all of it.
    """
    whole = gaussian_mu(promise.epsilon, promise.delta) ** 2
    mine = whole * (promise.encoder if stakes else 1.0)
    shares = sum(stake.share for stake in stakes)
    parts = {s.phase: (whole - mine) * s.share / shares / s.rounds for s in stakes}
    return {phase: part**-0.5 for phase, part in {encoder: mine, **parts}.items()}


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
    """Gaussian noise on every sum, charged before it leaves.

    Attributes:
        promise: What all releases of ``run`` together must keep.
        accountant: Of this site.
        run: Which training this is.
        what: Which message.
        noise: Standard deviation of the noise in units of the bound.
        normals: Standard normal numbers that nobody outside the site can foresee.
        said: What was released, and ``scale``, the standard deviation of its noise.
    """

    label: ClassVar[str] = "patient"

    promise: Patient
    accountant: Accountant
    run: str
    what: str
    noise: float
    normals: Callable[[int], Floats]
    said: dict[str, Floats] = field(default_factory=dict)
    scale: list[float] = field(default_factory=list)

    def release(self, sums: Mapping[str, NDArray[Any]], bound: float) -> Mapping[str, NDArray[Any]]:
        if not (math.isfinite(bound) and bound > 0):
            raise Unsupported(f"Sums without a bound on one patient ({bound}) cannot be released.")
        self.pay(Charge(self.run, self.what, self.noise))
        std = self.noise * bound
        # Rounding afterwards costs no privacy, and hides how floating-point noise is made
        # (Mironov 2012, https://doi.org/10.1145/2382196.2382264).
        grid = 2.0 ** math.floor(math.log2(std / _GRAIN))
        for name in sorted(sums):
            exact = np.asarray(sums[name], dtype=np.float64)
            noised = exact + std * self.normals(exact.size).reshape(exact.shape)
            self.said[name] = np.asarray(np.round(noised / grid) * grid)
        self.scale.append(std)
        return dict(self.said)

    def pay(self, charge: Charge) -> None:
        """Write a charge down.

        Raises:
            Unsupported: together with the others of this run it is more than was promised.
        """
        total = epsilon_of([*self.accountant.of(self.run), charge], self.promise.delta)
        if total > self.promise.epsilon * (1 + _ROUNDING):
            raise Unsupported(
                f"Releasing {self.what} would spend epsilon {total:.4g} of the promised "
                f"{self.promise.epsilon:.4g}, so nothing is released. A site that starts again "
                "has to pay again; a generator may release once a round."
            )
        self.accountant.charge(charge)

    def covers(self, message: Mapping[str, NDArray[Any]]) -> bool:
        """Say whether all of a message was released here."""
        return all(array is self.said.get(name) for name, array in message.items())


def os_normals(count: int) -> Floats:
    """Return standard normal numbers from the operating system's entropy."""
    bits = np.frombuffer(os.urandom(8 * count), dtype=np.uint64)
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return np.asarray(ndtri(uniform), dtype=np.float64)
