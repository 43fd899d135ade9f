"""What a federation is asked to do, as it travels to the sites."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from fedbench.errors import SpecError
from fedbench.federation.stopping import Stopping
from fedbench.generator import Generator, Statistic
from fedbench.privacy import PROMISES, Promise
from fedbench.seeds import Seeds
from fedbench.strategy import Strategy
from fedbench.tables import build

__all__ = ["Choice", "Start", "Study", "contradiction", "promised", "unweighed"]


Start = Literal["common", "site"]
"""Whose first parameters a site begins with."""


@dataclass(frozen=True)
class Choice:
    """A plug-in by name, with its settings."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Study:
    """One training: who takes part, what is trained, on which terms.

    ``path`` names the random streams below ``seed``; it does not depend on the regime, so that
    regimes are paired. With ``steps_of``, a number of
    patients, every site takes as many optimizer steps as one with so many would. With ``stopping``
    ``rounds`` are the most there may be. ``start`` says whether sites begin every phase with common
    parameters or each with its own.
    """

    generator: Choice
    strategy: Choice
    sites: tuple[str, ...]
    rounds: int
    seed: int
    path: tuple[str, ...] = ()
    dataset: Choice = Choice("")
    parts: Mapping[str, Any] = field(default_factory=dict)
    codec: Choice = Choice("identity")
    privacy: Choice = Choice("none")
    participation: float = 1.0
    steps_of: int | None = None
    device: str = "cpu"
    stopping: Stopping | None = None
    start: Start = "common"

    @property
    def promise(self) -> Promise | None:
        """What is promised; None without differential privacy."""
        return promised(self.privacy, "The study's privacy")

    @property
    def seeds(self) -> Seeds:
        """The root of this training's random streams."""
        return Seeds(self.seed).child("train", *self.path)

    def to_json(self) -> str:
        """Return this study as text."""
        values = asdict(self)
        # What is not asked for is not said.
        if self.stopping is None:
            del values["stopping"]
        if self.start == "common":
            del values["start"]
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Study:
        """Read a study; the inverse of ``to_json``.

        Raises:
            SpecError: the text is not a study.
        """
        try:
            values = json.loads(text)
            for name in ("generator", "strategy", "dataset", "codec", "privacy"):
                values[name] = Choice(**values[name])
            values |= {name: tuple(values[name]) for name in ("sites", "path")}
            if "stopping" in values:
                values["stopping"] = build(Stopping, values["stopping"], "The study's stopping")
            return cls(**values)
        except (TypeError, KeyError, ValueError) as error:
            raise SpecError(f"This is not a study: {error}.") from None


def contradiction(promise: Promise | None, strategy: Strategy, participation: float) -> str:
    """Return why a strategy cannot keep a promise; nothing where it can."""
    if promise is None:
        return ""
    name = type(strategy).__name__
    if strategy.correct({}, {}).traced:
        return (
            f"{name} sends exact gradients of a hospital, which differential privacy does not "
            "allow. Take another strategy, such as fedavg."
        )
    if promise.noise == "site":
        return ""
    if participation < 1:
        return (
            "Hospitals that add noise together must all take part in every round; "
            f"participation is {participation}."
        )
    if strategy.needs == "updates" or type(strategy).meet is not Strategy.meet:
        return (
            f"{name} looks at what single hospitals send, but only their sum has all the noise. "
            "Take a strategy that needs no more than the sum, such as fedavg."
        )
    return ""


def unweighed(study: Study, generator: Generator, strategy: Strategy) -> str:
    """Return why a strategy would change nothing of what it is asked for; nothing where it does.

    At one site there is nobody to be weighed against.
    """
    if len(study.sites) == 1 or not strategy.weighs or not isinstance(generator, Statistic):
        return ""
    return (
        f"{study.generator.name} learns from sums, and the sums of all hospitals are added, "
        f"whatever their weights: {study.strategy.name} would shut nobody out. Take a network "
        "(tvae), or fedavg, which is the same."
    )


def promised(choice: Choice, where: str) -> Promise | None:
    """Return the promise of this name and these settings; None for ``none``.

    Raises:
        SpecError: there is none, or a setting does not fit; starts with ``where``.
    """
    if choice.name == "none" and not choice.settings:
        return None
    if choice.name not in PROMISES:
        known = ", ".join(map(repr, ("none", *PROMISES)))
        raise SpecError(f"{where} {choice.name!r} is not known; expected one of {known}.")
    return build(PROMISES[choice.name], choice.settings, where)
