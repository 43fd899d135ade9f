"""What noised releases cost: epsilon of everything that a site has said about its patients.

Neighbours differ by one patient, who is there or is not (add/remove). A release is a sum of
vectors, one per patient, each of bounded length, plus Gaussian noise; it may be about a sample
that every patient is in or not by a secret toss of a coin (Poisson sampling).
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr
from scipy.stats import norm

from fedbench.errors import FedbenchError

__all__ = [
    "Accountant",
    "Bill",
    "Charge",
    "Spent",
    "epsilon_of",
    "gaussian_delta",
    "gaussian_epsilon",
    "gaussian_mu",
    "noise_for",
    "renyi_epsilon_of",
]

_ORDERS = (*(1 + x / 10 for x in range(1, 100)), *range(11, 65), 72, 80, 96, 128, 192, 256)
"""Orders of the Renyi divergences that are tried."""

_FEW = (1.25, 1.5, 2.0, 2.5, 3.0, 4, 5, 6, 8, 10, 12, 14, 17, 20, 24, 32, 48, 64, 128)
"""Enough of them to begin a search with."""

_SLACK = 0.01
"""How far the bound by privacy losses may lie above epsilon."""

_WASTE, _TRIES, _LEAST = 0.005, 6, -2.0
"""How much of epsilon a search for the noise may waste; how long it goes on, and down to where
(in logarithms)."""

_COARSE = 60.0
"""Above this epsilon means nothing, and the looser bound does."""


@dataclass(frozen=True)
class Charge:
    """One release: ``noise`` is the standard deviation of its noise in units of its bound.

    ``run`` says which training it belongs to, ``what`` which message of it. ``rate`` is the
    chance of every patient to be in it, and ``steps`` how many such releases there are.
    """

    run: str
    what: str
    noise: float
    rate: float = 1.0
    steps: int = 1


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

    Without sampling Gaussian noise composes exactly: squared ``mu`` add up (Dong, Roth and Su
    2022, https://arxiv.org/abs/1905.02383). With it, an upper bound by privacy loss random
    variables (Gopi, Lee and Wutschitz 2021, https://arxiv.org/abs/2106.02848), as in Opacus.
    """
    bill = Bill.of(charges)
    return _by_privacy_losses(bill, delta) if bill.sampled else gaussian_epsilon(bill.mu, delta)


def renyi_epsilon_of(charges: Sequence[Charge], delta: float) -> float:
    """Return a looser epsilon of the same, from Renyi divergences.

    Mironov 2017, https://arxiv.org/abs/1702.07476, turned into epsilon as in Canonne, Kamath and
    Steinke 2020, https://arxiv.org/abs/2004.00010, proposition 12.
    """
    return _by_divergences(Bill.of(charges), delta)


@dataclass(frozen=True)
class Bill:
    """Charges without their order: ``mu`` of all that were not sampled, and the others.

    ``sampled`` has noise, rate and steps of each kind, sorted.
    """

    mu: float
    sampled: tuple[tuple[float, float, int], ...]

    @classmethod
    def of(cls, charges: Sequence[Charge]) -> Bill:
        """Add charges up."""
        whole = math.fsum(c.steps / c.noise**2 for c in charges if c.rate >= 1)
        kinds: Counter[tuple[float, float]] = Counter()
        for charge in charges:
            if charge.rate < 1 and charge.steps:
                kinds[charge.noise, charge.rate] += charge.steps
        return cls(math.sqrt(whole), tuple((*kind, steps) for kind, steps in sorted(kinds.items())))

    def within(self, other: Bill) -> bool:
        """Whether it is plain that this costs no more: the same kinds, none of them more often."""
        theirs = {(noise, rate): steps for noise, rate, steps in other.sampled}
        return self.mu <= other.mu * (1 + 1e-12) and all(
            steps <= theirs.get((noise, rate), 0) for noise, rate, steps in self.sampled
        )


def _by_divergences(bill: Bill, delta: float, tried: Sequence[float] = _ORDERS) -> float:
    if not bill.mu and not bill.sampled:
        return 0.0
    orders = np.array(tried)
    costs = orders * bill.mu**2 / 2
    if bill.sampled:
        from opacus.accountants.analysis.rdp import compute_rdp  # noqa: PLC0415  (slow)

        for noise, rate, steps in bill.sampled:
            costs = costs + compute_rdp(
                q=rate, noise_multiplier=noise, steps=steps, orders=list(tried)
            )
    found = costs + np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)
    return max(0.0, float(np.nanmin(found)))


@lru_cache(maxsize=4096)
def _by_privacy_losses(bill: Bill, delta: float) -> float:
    """Return an upper bound, by Renyi divergences where the tighter one cannot be computed."""
    from opacus.accountants.analysis import prv  # noqa: PLC0415  (slow)

    loose = _by_divergences(bill, delta)
    if loose > _COARSE:
        return loose
    slack, slip = _SLACK * min(1.0, loose), delta / 1000

    class Gaussian(prv.PoissonSubsampledGaussianPRV):  # type: ignore[misc]
        """All that was not sampled; Opacus has no formula for a rate of 1."""

        def pdf(self, t: Any) -> Any:
            return norm.pdf(t, bill.mu**2 / 2, bill.mu)

        def cdf(self, t: Any) -> Any:
            return norm.cdf(t, bill.mu**2 / 2, bill.mu)

    losses = [prv.PoissonSubsampledGaussianPRV(rate, noise) for noise, rate, _ in bill.sampled]
    times = [steps for *_, steps in bill.sampled]
    if bill.mu:
        losses.append(Gaussian(1.0, 1 / bill.mu))
        times.append(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            size = prv.compute_safe_domain_size(
                prvs=losses, max_self_compositions=times, eps_error=slack, delta_error=slip
            )
            mesh = slack / math.sqrt(sum(times) * math.log(12 / slip) / 2)
            domain = prv.Domain.create_aligned(-size, size, mesh)
            cut = [
                prv.TruncatedPrivacyRandomVariable(x, domain.t_min, domain.t_max) for x in losses
            ]
            whole = prv.compose_heterogeneous(
                dprvs=[prv.discretize(x, domain) for x in cut], num_self_compositions=times
            )
            *_, tight = whole.compute_epsilon(delta, slip, slack)
    except (ValueError, RuntimeError):
        return loose
    return min(loose, float(tight))


def _beyond(bill: Bill, before: Sequence[Charge], delta: float) -> float:
    """Return by how much the looser bound of what went before is above the tighter one.

    Without it what went before may be within epsilon and its looser bound beyond, whatever the
    noise of what comes next.
    """
    if not bill.sampled:
        return 0.0
    return max(0.0, _by_divergences(bill, delta, _FEW) - epsilon_of(before, delta))


def noise_for(before: Sequence[Charge], charge: Charge, epsilon: float, delta: float) -> float:
    """Return the noise of a charge that brings epsilon, with those before, to at most this.

    It may be a little more noise than would do (by half a percent of epsilon).
    """

    def spent(noise: float) -> float:
        return epsilon_of([*before, replace(charge, noise=noise)], delta)

    bill = Bill.of(before)
    if charge.rate >= 1 and not bill.sampled:
        left = gaussian_mu(epsilon, delta) ** 2 - bill.mu**2
        return math.sqrt(charge.steps / left) * (1 + 1e-9)

    beyond = _beyond(bill, before, delta)

    def loose(log_noise: float) -> float:
        charges = [*before, replace(charge, noise=math.exp(log_noise))]
        return _by_divergences(Bill.of(charges), delta, _FEW) - epsilon - beyond

    low = high = 0.0
    while loose(high) > 0:
        high += 1.0
    while low > _LEAST and loose(low) < 0:
        low -= 0.5
    best = math.exp(brentq(loose, low, high, xtol=1e-3) if loose(low) > 0 else low)
    while spent(best) > epsilon:
        best *= 1.002
    known = [(math.log(best), spent(best))]
    guess = known[0][0] + math.log(known[0][1] / epsilon)
    for _ in range(_TRIES):
        cost = spent(math.exp(guess))
        known.append((guess, cost))
        if cost <= epsilon:
            best = min(best, math.exp(guess))
            if cost > epsilon * (1 - _WASTE):
                break
        (x0, y0), (x1, y1) = known[-2:]
        slope = (math.log(y1) - math.log(y0)) / (x1 - x0) if x1 != x0 else -1.0
        guess = x1 + (math.log(epsilon * (1 - _WASTE / 2)) - math.log(y1)) / min(slope, -0.1)
    return best


@dataclass
class Accountant:
    """Every charge of one site, in order; a charge is written down before anything leaves.

    With a ``file``, it is there first: a site that dies between the two has paid for what it did
    not say, never the other way round. Several processes may share the file.
    """

    file: Path | None = None
    charges: list[Charge] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._read()

    def charge(self, charge: Charge, check: Callable[[], None] = lambda: None) -> None:
        """Write down what is about to be released.

        ``check`` is called before, when all charges of others are known and none can be added.
        """
        if not self.file:
            check()
        else:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as ledger, _alone(ledger):
                self._read()
                check()
                ledger.write(json.dumps(asdict(charge)) + "\n")
                ledger.flush()
                os.fsync(ledger.fileno())
        self.charges.append(charge)

    def _read(self) -> None:
        if self.file and self.file.is_file():
            self.charges = [_parsed(line, self.file) for line in _lines(self.file)]

    def of(self, run: str) -> list[Charge]:
        """Return the charges of one training."""
        return [charge for charge in self.charges if charge.run == run]

    def spent(self, delta: float) -> Spent:
        """Return what all charges cost together."""
        return Spent(epsilon_of(self.charges, delta), renyi_epsilon_of(self.charges, delta), delta)


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


@contextmanager
def _alone(ledger: TextIO) -> Iterator[None]:
    """Keep other processes from the ledger."""
    import fcntl  # noqa: PLC0415  (POSIX, as nodes are)

    fcntl.flock(ledger, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(ledger, fcntl.LOCK_UN)


def _parsed(line: str, file: Path) -> Charge:
    try:
        found = json.loads(line)
        return Charge(
            str(found["run"]),
            str(found["what"]),
            float(found["noise"]),
            float(found["rate"]),
            int(found["steps"]),
        )
    except (ValueError, TypeError, KeyError):
        raise FedbenchError(
            f"{file} has a line that is no charge: {line!r:.60}. What was spent is unknown, so "
            "nothing more is released; restore the file."
        ) from None
