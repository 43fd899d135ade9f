"""What noised releases cost: epsilon of everything that a site has said about its patients.

Neighbours differ by one patient, who is there or is not (add/remove). A release is a sum of
vectors, one per patient, each of bounded length, plus Gaussian noise.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from scipy.optimize import brentq
from scipy.special import log_ndtr

from fedbench.errors import FedbenchError

__all__ = [
    "Accountant",
    "Charge",
    "Spent",
    "epsilon_of",
    "gaussian_delta",
    "gaussian_epsilon",
    "gaussian_mu",
    "renyi_epsilon_of",
]

_ORDERS = tuple(1 + x / 10 for x in range(1, 100)) + tuple(range(11, 257))
"""Orders of the Renyi divergences that are tried."""


@dataclass(frozen=True)
class Charge:
    """One release: ``noise`` is the standard deviation of its noise in units of its bound.

    ``run`` says which training it belongs to, ``what`` which message of it.
    """

    run: str
    what: str
    noise: float


@dataclass(frozen=True)
class Spent:
    """What a site's patients have given away: ``epsilon`` (tight) and by Renyi divergences."""

    epsilon: float
    epsilon_rdp: float
    delta: float


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Return the exact delta of Gaussian noise, ``mu`` being bound over standard deviation.

    Balle and Wang 2018, https://arxiv.org/abs/1805.06530, theorem 8.
    """
    if mu <= 0:
        return 0.0
    kept = log_ndtr(mu / 2 - epsilon / mu)
    lost = epsilon + log_ndtr(-mu / 2 - epsilon / mu)
    return float(-math.exp(kept) * math.expm1(lost - kept)) if lost < kept else 0.0


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the smallest epsilon of Gaussian noise at this delta, never below the exact one."""
    if mu <= 0 or gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    high = 1.0
    while gaussian_delta(mu, high) > delta:
        high *= 2
    found = brentq(lambda e: gaussian_delta(mu, e) - delta, 0.0, high, xtol=1e-12)
    return float(found) * (1 + 1e-9) + 1e-12


def gaussian_mu(epsilon: float, delta: float) -> float:
    """Return the largest ``mu`` whose epsilon at this delta is at most ``epsilon``."""
    high = 1.0
    while gaussian_epsilon(high, delta) < epsilon:
        high *= 2
    found = brentq(lambda mu: gaussian_delta(mu, epsilon) - delta, 1e-12, high, xtol=1e-14)
    return float(found) * (1 - 1e-8)


def epsilon_of(charges: Sequence[Charge], delta: float) -> float:
    """Return epsilon of several releases together, each chosen in the light of those before.

    Gaussian noise composes exactly: squared ``mu`` add up (Dong, Roth and Su 2022,
    https://arxiv.org/abs/1905.02383).
    """
    return gaussian_epsilon(math.sqrt(sum(charge.noise**-2 for charge in charges)), delta)


def renyi_epsilon_of(charges: Sequence[Charge], delta: float) -> float:
    """Return a looser epsilon of the same, from Renyi divergences.

    Mironov 2017, https://arxiv.org/abs/1702.07476, turned into epsilon as in Canonne, Kamath and
    Steinke 2020, https://arxiv.org/abs/2004.00010, proposition 12.
    """
    rho = sum(charge.noise**-2 for charge in charges) / 2
    if not rho:
        return 0.0
    found = [
        a * rho + math.log1p(-1 / a) - (math.log(delta) + math.log(a)) / (a - 1) for a in _ORDERS
    ]
    return max(0.0, min(found))


@dataclass
class Accountant:
    """Every charge of one site, in order; a charge is written down before anything leaves.

    With a ``file``, it is there first: a site that dies between the two has paid for what it did
    not say, never the other way round.
    """

    file: Path | None = None
    charges: list[Charge] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.file and self.file.is_file():
            self.charges = [_read(line, self.file) for line in _lines(self.file)]

    def charge(self, charge: Charge) -> None:
        """Write down what is about to be released."""
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as ledger:
                ledger.write(json.dumps(asdict(charge)) + "\n")
                ledger.flush()
                os.fsync(ledger.fileno())
        self.charges.append(charge)

    def of(self, run: str) -> list[Charge]:
        """Return the charges of one training."""
        return [charge for charge in self.charges if charge.run == run]

    def spent(self, delta: float) -> Spent:
        """Return what all charges cost together."""
        return Spent(epsilon_of(self.charges, delta), renyi_epsilon_of(self.charges, delta), delta)


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _read(line: str, file: Path) -> Charge:
    try:
        found = json.loads(line)
        return Charge(str(found["run"]), str(found["what"]), float(found["noise"]))
    except (ValueError, TypeError, KeyError):
        raise FedbenchError(
            f"{file} has a line that is no charge: {line!r:.60}. What was spent is unknown, so "
            "nothing more is released; restore the file."
        ) from None
