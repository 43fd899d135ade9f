"""What gates: the declared primary measures, and how much worse they may become."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fedbench.compare.runs import About, Place, Run
from fedbench.config import Suite
from fedbench.errors import SpecError
from fedbench.tables import hint

__all__ = ["MOST", "PRIMARY", "SHARES", "TOLERANCE", "Asked", "gating", "tolerances"]

TOLERANCE: Mapping[str, float] = {
    "utility.auroc": 0.01,
    "utility.c_index": 0.01,
    "marginals": 0.005,
    "associations": 0.005,
    "dcr.auc": 0.01,
    "communication.bytes": 0.05,
    "detection": 0.02,
    "attribute.advantage": 0.01,
}
"""How much worse a measure may become, in its own unit; bytes as a share of what they were."""

PRIMARY: tuple[tuple[str, Place], ...] = (
    ("utility.auroc", "pooled"),
    ("utility.c_index", "pooled"),
    ("marginals", "pooled"),
    ("associations", "pooled"),
    ("dcr.auc", "pooled"),
    ("communication.bytes", "pooled"),
    ("detection", "pooled"),
    ("attribute.advantage", "pooled"),
    ("marginals", "worst"),
    ("associations", "worst"),
    ("utility.auroc", "worst"),
    ("utility.c_index", "worst"),
    ("utility.auroc", "gain"),
    ("utility.c_index", "gain"),
    ("utility.auroc", "tax"),
    ("utility.c_index", "tax"),
)
"""What gates, the most important first; from the first that would be too many on, none."""

SHARES = ("communication.bytes",)
"""Measures whose change is a share of what they were."""

MOST = 20
"""Gates there may be."""


@dataclass(frozen=True)
class Asked:
    """What a user wants otherwise: tolerances by measure, and what alone gates."""

    tolerance: Mapping[str, float] = field(default_factory=dict)
    generators: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()

    def check(self, suite: Suite) -> None:
        """Compare with what there is.

        Raises:
            SpecError: something that is asked for does not exist.
        """
        known = {
            "--generator": (self.generators, [choice.label for choice in suite.generators]),
            "--dataset": (self.datasets, [choice.called for choice in suite.datasets]),
            "--tolerance": (self.tolerance, list(TOLERANCE)),
        }
        for option, (names, there) in known.items():
            for name in names:
                if name not in there:
                    raise SpecError(
                        f"{option}: there is no {name!r} to compare.{hint(name, there)} "
                        f"There is: {', '.join(there)}."
                    )


def tolerances(given: Sequence[str]) -> dict[str, float]:
    """Read tolerances as the command line has them.

    >>> tolerances(["marginals=0.02"])
    {'marginals': 0.02}

    Raises:
        SpecError: one is not a name and a number from 0 up.
    """
    found = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = math.nan
        if not 0 <= found[name] < math.inf:
            raise SpecError(
                f"--tolerance {text!r}: expected name=number with a number from 0 up, "
                "such as marginals=0.02."
            )
    return found


def gating(base: Run, seeds: Sequence[int], asked: Asked) -> tuple[list[About], tuple[str, ...]]:
    """Return what gates, and the primary measures that would be too many.

    The numbers of federated models gate, and those of the floor, ``independent``, only where it
    is asked for or alone.

    Raises:
        SpecError: the first measure alone would be too many.
    """
    suite = base.suite
    regime = "federated" if "federated" in suite.regimes else suite.regimes[0]
    above = [choice.label for choice in suite.generators if choice.name != "independent"]
    labels = asked.generators or above or [choice.label for choice in suite.generators]
    candidates = [
        about
        for about in sorted(base.rows)
        if about.regime == regime
        and about.label in labels
        and about.dataset in (asked.datasets or (about.dataset,))
        and any(base.done(about, seed) for seed in seeds)
    ]
    chosen: list[About] = []
    left_out: list[str] = []
    for name, place in PRIMARY:
        fitting = [about for about in candidates if (about.name, about.place) == (name, place)]
        if fitting and (left_out or len(chosen) + len(fitting) > MOST):
            left_out.append(f"{name} ({place})")
        else:
            chosen += fitting
    if left_out and not chosen:
        raise SpecError(
            f"{left_out[0]} alone would be more than {MOST} gates. "
            "Choose with --generator and --dataset what gates."
        )
    return chosen, tuple(left_out)
