"""What became worse, with limits that hold for all gates together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fedbench.compare.change import Worsening, worsening
from fedbench.compare.losses import Lost, losses
from fedbench.compare.primary import SHARES, TOLERANCE, Asked, gating
from fedbench.compare.runs import About, Run, comparable
from fedbench.errors import RunError
from fedbench.report.numbers import finite

__all__ = ["Comparison", "Gate", "compare", "judge", "plain"]

FEWEST_SEEDS = 5
LEVEL = 0.05
POWER = 0.8


@dataclass(frozen=True)
class Gate:
    """One declared measure and what became of it.

    It regressed if ``at_least``, the lower limit of ``worse``, is more than the ``tolerance``.
    The limits of all gates hold together with 95 % (Bonferroni): where nothing changed, at most
    one comparison in twenty raises an alarm. A true worsening by ``detectable`` would have raised
    one with a power of 80 %. ``worst_at`` is the hospital whose own number fell most.
    """

    about: About
    seeds: int
    base: float
    head: float
    worse: float
    at_least: float
    tolerance: float
    detectable: float
    worst_at: str
    identical: bool
    share: bool

    @property
    def judged(self) -> bool:
        """Whether it has the seeds to be judged."""
        return self.seeds >= FEWEST_SEEDS

    @property
    def regressed(self) -> bool:
        """Whether it was shown to be worse than is tolerated."""
        return self.judged and self.at_least > self.tolerance

    @property
    def verdict(self) -> str:
        """What became of it, in words."""
        if not self.judged:
            return f"too few seeds to judge: both have a number under {self.seeds}"
        if self.regressed:
            return "REGRESSION"
        return "identical" if self.identical else "no regression shown"


@dataclass(frozen=True)
class Other:
    """A row that does not gate, with a 95 % interval of its own; positive is worse."""

    about: About
    seeds: int
    base: float
    head: float
    worse: float
    low: float
    high: float
    share: bool


@dataclass(frozen=True)
class Comparison:
    """What can be said about two runs."""

    base: Run
    head: Run
    seeds: tuple[int, ...]
    gates: tuple[Gate, ...]
    left_out: tuple[str, ...]
    lost: tuple[Lost, ...]

    @property
    def regressed(self) -> bool:
        """Whether anything became worse or was lost."""
        return bool(self.lost) or any(gate.regressed for gate in self.gates)

    @cached_property
    def others(self) -> tuple[Other, ...]:
        """All that both runs have and that does not gate."""
        gates = {gate.about for gate in self.gates}
        return tuple(
            _other(about, found)
            for about in sorted(set(self.base.rows) & set(self.head.rows) - gates)
            if (found := worsening(self.base, self.head, about, self.seeds)) is not None
        )


def compare(base: Path, head: Path, asked: Asked) -> Comparison:
    """Compare two finished runs.

    Raises:
        FedbenchError: one is no finished run, they are not comparable, or there are too few
            seeds to judge; says why.
    """
    one, two = Run.open(base), Run.open(head)
    comparable(one, two)
    return judge(one, two, asked)


def judge(base: Run, head: Run, asked: Asked) -> Comparison:
    """Compare two runs that are comparable.

    Raises:
        RunError: there are too few seeds to judge.
        SpecError: what is asked for does not exist.
    """
    asked.check(base.suite)
    seeds = _shared_seeds(base, head)
    chosen, left_out = gating(base, seeds, asked)
    paired = {about: worsening(base, head, about, seeds) for about in chosen}
    found = {about: worse for about, worse in paired.items() if worse is not None}
    judged = sum(len(worse.worse) >= FEWEST_SEEDS for worse in found.values())
    lost = tuple(losses(base, head, chosen, seeds))
    if not judged and not lost:
        raise RunError(
            "There are too few seeds to judge: no primary measure has a number in both runs "
            f"under {FEWEST_SEEDS} seeds. Primary are: {', '.join(TOLERANCE)}."
        )
    tolerance = {**TOLERANCE, **asked.tolerance}
    gates = [
        _gate(
            about,
            worse,
            tolerance=tolerance[about.name],
            error=LEVEL / max(judged, 1),
            worst_at=_worst_at(base, head, about, seeds),
        )
        for about, worse in found.items()
    ]
    return Comparison(base, head, seeds, tuple(gates), left_out, lost)


def _shared_seeds(base: Run, head: Run) -> tuple[int, ...]:
    one, two = set(base.suite.seeds), set(head.suite.seeds)
    if len(one & two) < FEWEST_SEEDS:
        raise RunError(
            f"There are too few seeds to judge: BASE has {len(one)}, HEAD {len(two)}, both "
            f"{len(one & two)}; {FEWEST_SEEDS} are needed. Run both with `--seeds 0-4` or more."
        )
    return tuple(sorted(one & two))


def _gate(about: About, found: Worsening, *, tolerance: float, error: float, worst_at: str) -> Gate:
    half, shown = found.half(error), _shown(about)
    line = math.log1p(tolerance) if about.name in SHARES else tolerance
    return Gate(
        about=about,
        seeds=len(found.worse),
        base=float(found.base.mean()),
        head=float(found.head.mean()),
        worse=shown(found.mean),
        at_least=shown(found.mean - half),
        tolerance=tolerance,
        detectable=shown(line + half + found.half(1 - POWER)),
        worst_at="" if found.identical else worst_at,
        identical=found.identical,
        share=about.name in SHARES,
    )


def _other(about: About, found: Worsening) -> Other:
    half, shown = found.half(0.025), _shown(about)
    return Other(
        about=about,
        seeds=len(found.worse),
        base=float(found.base.mean()),
        head=float(found.head.mean()),
        worse=shown(found.mean),
        low=shown(found.mean - half),
        high=shown(found.mean + half),
        share=about.name in SHARES,
    )


def _shown(about: About) -> Callable[[float], float]:
    """Return what makes a logarithm a share again, where it is one."""
    return _share if about.name in SHARES else float


def _share(log: float) -> float:
    return math.expm1(log) if log < 700 else math.inf


def _worst_at(base: Run, head: Run, about: About, seeds: Sequence[int]) -> str:
    """Return the hospital whose number became worse by most, if any did."""
    falls = {
        hospital.site: found.mean
        for hospital in base.hospitals(about)
        if (found := worsening(base, head, hospital, seeds)) is not None
    }
    most = max(falls, key=lambda site: falls[site], default="")
    return most if most and falls[most] > 0 else ""


def plain(found: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON knows it, for ``fedbench.report.comparison``."""
    spent = {
        name: run.spent(found.seeds) for name, run in (("base", found.base), ("head", found.head))
    }
    told = {
        "base": str(found.base.path),
        "head": str(found.head.path),
        "suite": found.head.suite.name,
        "regressed": found.regressed,
        "seeds": list(found.seeds),
        "gates": [
            {
                **_flat(gate),
                "place": gate.about.place,
                "regressed": gate.regressed,
                "verdict": gate.verdict,
            }
            for gate in found.gates
        ],
        "not_gating": list(found.left_out),
        "lost": [asdict(lost) for lost in found.lost],
        "spent": spent,
        "others": [_flat(other) for other in found.others],
    }
    return dict(finite(told))


def _flat(found: Gate | Other) -> dict[str, Any]:
    about = {key: value for key, value in found.about._asdict().items() if value}
    return {**about, **{key: value for key, value in vars(found).items() if key != "about"}}
