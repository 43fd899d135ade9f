"""One dataset in one scenario: what the report tells a story about."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from fedbench.direction import GUESSED, badness
from fedbench.kinds import ATTACKS, METRICS
from fedbench.report.numbers import Number, Numbers
from fedbench.report.plays import Play, plays
from fedbench.report.words import REGIMES

__all__ = ["FLOOR", "Standing", "World", "worlds"]

FLOOR = "independent"
"""The generator that knows single columns only: the floor of structure and utility."""

UTILITY = (
    "utility.auroc", "utility.c_index", "utility.r2", "utility.auprc", "utility.brier_skill",
    "utility.mae_skill",
)  # fmt: skip
FIDELITY = ("associations", "marginals", "detection", "missingness")

# Where a pooled number is looked for; a local generator has no other than the mean over sites.
_POOLED = (
    ("pooled", ""),
    ("", ""),
    ("generalist", "patient-weighted"),
    ("generalist", "unweighted"),
    ("generalist", ""),
    ("specialist", "patient-weighted"),
)
_SUMMARY = ("patient-weighted", "", "unweighted")

Standing = Literal["best", "below the floor", "guessing", "alone"]


@dataclass(frozen=True)
class World:
    """The numbers of one dataset in one scenario."""

    dataset: str
    scenario: str
    numbers: Numbers
    words: Mapping[str, str] = field(default_factory=dict)
    """What its schema calls tasks and columns."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Of what kind its schema's tasks are."""
    stops: bool = False
    """Whether training may stop before its last round."""

    def say(self, name: str) -> str:
        """Return a task or a column in the schema's words."""
        return self.words.get(name) or name

    @cached_property
    def own(self) -> Numbers:
        """What generators were measured to do; controls left out."""
        return Numbers(tuple(n for n in self.numbers if n["regime"] != "control" and n["label"]))

    @cached_property
    def labels(self) -> list[str]:
        """Every generator, the floor first."""
        return sorted(self.own.values("label"), key=lambda label: (label != FLOOR, label))

    @cached_property
    def regimes(self) -> list[str]:
        """Every regime, in the order in which they are explained."""
        found = self.own.values("regime")
        return [r for r in REGIMES if r in found] + [r for r in found if r not in REGIMES]

    @cached_property
    def main(self) -> str:
        """The regime that the sentences are about."""
        return self.regimes[0] if self.regimes else "federated"

    @cached_property
    def utility(self) -> tuple[str, str]:
        """The main measure of utility and its task; ("", "") where none was asked for."""
        found = [n for n in self.own if n["name"] in UTILITY]
        first = min(
            found, key=lambda n: (not n.done, UTILITY.index(n["name"]), n["task"]), default=None
        )
        return ("", "") if first is None else (first["name"], first["task"])

    @cached_property
    def fidelity(self) -> str:
        """The main measure of fidelity."""
        return next((name for name in FIDELITY if self.own.where(name=name)), "")

    @cached_property
    def unforeseen(self) -> Number | None:
        """What models of the real training records reach, where guessing may do as well.

        Utility then says nothing about synthetic records: there is nothing to foresee by.
        """
        name, task = self.utility
        real = self.pooled("copy", "control", name, task)
        if real is None or real.low is None or name not in GUESSED:
            return None
        return real if real.low <= GUESSED[name] else None

    @cached_property
    def score(self) -> tuple[str, str]:
        """What generators are compared by: utility, or fidelity where that says nothing."""
        name, task = self.utility
        done = any(n.done for n in self.own.where(name=name, task=task))
        useful = name and done and not (self.unforeseen and self.fidelity)
        return (name, task) if useful else (self.fidelity, "")

    @cached_property
    def lead(self) -> str:
        """The generator that the sentences are about: the best by ``score``, the floor last."""
        return min(self.labels, key=self._rank, default="")

    @cached_property
    def standing(self) -> Standing:
        """Whether the leading generator may be called the best."""
        scored = {
            label: n
            for label in self.labels
            if (n := self.pooled(label, self.main, *self.score)) is not None and n.done
        }
        mine = scored.get(self.lead)
        if mine is None or len(scored) < 2:
            return "alone"
        floor = scored.get(FLOOR)
        if floor is not None and not self._badness(mine) < self._badness(floor):
            return "below the floor"
        guess = GUESSED.get(mine["name"])
        if guess is not None and (mine.low is None or mine.low <= guess):
            return "guessing"
        return "best"

    @cached_property
    def plays(self) -> list[Play]:
        """Every attack, with every secret it is after."""
        return plays(self.numbers)

    @cached_property
    def attacks(self) -> list[str]:
        """Every membership attack."""
        return [play.attack for play in self.plays if play.said.main == "auc"]

    def called(self, play: Play) -> str:
        """Say what is attacked."""
        return play.called(self.plays, self.words)

    @cached_property
    def foreign(self) -> list[tuple[str, str]]:
        """Every measure of a metric that does not come with fedbench, and its task."""
        ours = {
            name
            for kind in (METRICS, ATTACKS)
            for name, target in kind.names().items()
            if target.startswith("fedbench.")
        } | {*self.attacks}
        found = [n for n in self.own if n["name"] and n["name"].partition(".")[0] not in ours]
        return sorted({(n["name"], n["task"]) for n in found})

    @property
    def single(self) -> bool:
        """Whether there is one hospital only, so that nobody trains together."""
        return len(self.sites) == 1

    @cached_property
    def sites(self) -> list[str]:
        """Every hospital that has a number of its own."""
        return [site for site in self.numbers.values("site") if site != "worst"]

    def pooled(
        self, label: str, regime: str, name: str, task: str = "", column: str = ""
    ) -> Number | None:
        """Return the number on all hospitals' patients together."""
        found = self.numbers.where(
            label=label,
            regime=regime,
            name=name,
            task=task,
            site="",
            model="",
            column=column,
            secret="",
        )
        for target, level in _POOLED:
            if there := found.where(target=target, level=level).all:
                return min(there, key=lambda n: not n.done)
        return None

    def at_site(self, label: str, regime: str, site: str, name: str, task: str) -> Number | None:
        """Return the number on one hospital's own patients."""
        found = self.own.where(
            label=label, regime=regime, site=site, name=name, task=task, model=("", site),
            level="", column="", secret="",
        )  # fmt: skip
        return found.best("target", ("specialist", "pooled", ""))

    def mean(
        self, label: str, regime: str, name: str, task: str = "", level: str = "patient-weighted"
    ) -> Number | None:
        """Return the mean over hospitals, each on its own patients."""
        found = self.own.where(
            label=label, regime=regime, name=name, task=task, site="", model="", column="",
            secret="", group="", target="specialist", level=level,
        )  # fmt: skip
        return next(iter(found), None)

    def difference(
        self, label: str, target: str, name: str, task: str = "", group: str = ""
    ) -> Number | None:
        """Return a gain or a tax, the mean over hospitals."""
        found = self.own.where(
            label=label, target=target, name=name, task=task, site="", model="", column="",
            secret="", group=(group, ""),
        )  # fmt: skip
        return found.best("level", _SUMMARY)

    def unplayed(self, label: str, play: Play) -> tuple[str, ...]:
        """Return why an attack has no number under the main regime; a row may have no part."""
        asked = self.own.where(label=label, regime=self.main, secret=("", play.secret), site="")
        mine = [n for n in asked if not n.done and n["name"] in (play.name, play.attack)]
        reasons = sorted({reason for n in mine for reason in n.reasons})
        return tuple(reasons) or ("the attack was not run on this release",)

    def gained(self, label: str, play: Play) -> Number | None:
        """Return how much better an attack does for training patients than for others."""
        found = self.own.where(
            name=play.name, label=label, regime=self.main, secret=play.secret, site="",
            model="", level="",
        )  # fmt: skip
        return found.best("target", ("pooled", "", "specialist", "generalist"))

    def _rank(self, label: str) -> tuple[bool, bool, float, str]:
        found = self.pooled(label, self.main, *self.score)
        if found is None or not found.done:
            return label == FLOOR, True, 0.0, label
        return label == FLOOR, False, self._badness(found), label

    @staticmethod
    def _badness(found: Number) -> float:
        return float(badness(found.value or 0.0, found["better"]))


def worlds(
    numbers: Numbers,
    words: Callable[[str], Mapping[str, str]],
    stopping: Collection[str] = (),
    kinds: Callable[[str], Mapping[str, str]] = lambda _: {},
) -> Iterator[World]:
    """Yield every dataset with every scenario, sorted; ``words`` gives a dataset's own.

    ``stopping`` names the scenarios in which training may stop before its last round, ``kinds``
    gives the kinds of a dataset's tasks.
    """
    for dataset, scenario in sorted({(n["dataset"], n["scenario"]) for n in numbers}):
        mine = numbers.where(dataset=dataset, scenario=scenario)
        stops = scenario in stopping
        yield World(dataset, scenario, mine, words(dataset), kinds(dataset), stops)
