"""What a federation is asked to do, as it travels to the sites."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fedbench.errors import SpecError
from fedbench.privacy import PROMISES, Patient
from fedbench.seeds import Seeds
from fedbench.tables import build

__all__ = ["Choice", "Study", "promised"]


@dataclass(frozen=True)
class Choice:
    """A plug-in by name, with its settings."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Study:
    """One training: who takes part, what is trained, on which terms.

    ``path`` names the random streams below ``seed``; it does not depend on the regime, so that
    regimes are paired. ``steps`` fixes the optimizer steps a site takes per round.
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
    steps: int | None = None
    device: str = "cpu"

    @property
    def promise(self) -> Patient | None:
        """What is promised to patients; None without differential privacy."""
        return promised(self.privacy, "The study's privacy")

    @property
    def seeds(self) -> Seeds:
        """The root of this training's random streams."""
        return Seeds(self.seed).child("train", *self.path)

    def to_json(self) -> str:
        """Return this study as text."""
        return json.dumps(asdict(self), sort_keys=True)

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
            return cls(**values)
        except (TypeError, KeyError, ValueError) as error:
            raise SpecError(f"This is not a study: {error}.") from None


def promised(choice: Choice, where: str) -> Patient | None:
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
