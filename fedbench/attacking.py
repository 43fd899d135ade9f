"""Letting every attack play against every release of a cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from fedbench import games
from fedbench.attack import WIRED, Attack, Game, Guess, Knowledge, Wired
from fedbench.data import Cohort
from fedbench.direction import Better
from fedbench.errors import Unsupported
from fedbench.games import Challenge, Scored
from fedbench.metric import Key, Measure, Refusal
from fedbench.overhearing import Overheard
from fedbench.scoring import Answer, Question, guarded
from fedbench.seeds import Seeds
from fedbench.wire import Wire
from fedbench.world import World

__all__ = ["Arena", "Release", "Siege", "as_check", "judged"]


@dataclass(frozen=True)
class Release:
    """The records one model publishes, and whose records it was trained on.

    ``overheard`` is what crossed meanwhile; None where nothing was trained. ``found`` keeps what
    attacks share.
    """

    model: str
    records: Cohort
    sites: tuple[str, ...]
    overheard: Overheard | None = None
    found: dict[tuple[str, int], Any] = field(default_factory=dict, repr=False)


@dataclass
class Arena:
    """The challenges of one world, dealt once and the same for every cell.

    ``members`` are who was trained on, ``others`` are the non-members and ``spare`` the attacker's
    reference patients, where they are not the world's train, control and reference parts: in
    controls. ``claim`` is what is promised about canaries. Without ``baseline`` it is not asked
    what can be told by other means.
    """

    world: World
    secrets: int = 2
    others: Mapping[str, Cohort] | None = None
    spare: Mapping[str, Cohort] | None = None
    claim: games.Claim = field(default_factory=games.Claim)
    members: Mapping[str, Cohort] | None = None
    baseline: bool = True
    _dealt: dict[tuple[str, ...], list[Challenge]] = field(default_factory=dict)
    _blind: dict[tuple[str, ...], Measure | Refusal] = field(default_factory=dict)
    _guesses: dict[tuple[str, ...], Guess | None] = field(default_factory=dict)

    def challenges(
        self, game: Game, sites: tuple[str, ...], secrets: tuple[str, ...] = ()
    ) -> list[Challenge]:
        """Return the challenges of a game about the patients of these sites.

        ``secrets`` are the columns to ask for, where the game asks for some; without, it chooses.

        Raises:
            Unsupported: the game is not played here.
        """
        key = (game, *sites, "", *secrets)
        if key not in self._dealt:
            self._dealt[key] = self._deal(game, sites, secrets)
        return self._dealt[key]

    def blind(self, challenge: Challenge, sites: tuple[str, ...]) -> Measure | Refusal | None:
        """Return what can be told without the release; asked of all sites together only."""
        if sites != self.world.sites or not self.baseline:
            return None
        if sites not in self._blind:
            seeds = self.world.seeds.child("blind")
            self._blind[sites] = games.blind_baseline(self.world.schema, challenge, seeds)
        return self._blind[sites]

    def seeds(self, name: str, challenge: Challenge) -> Seeds:
        """Return the streams of an attack on a challenge, the same in every cell."""
        return self.world.seeds.child("attack", name, challenge.public.secret)

    def reference_guess(
        self, name: str, attack: Attack, challenge: Challenge, sites: tuple[str, ...]
    ) -> Guess | None:
        """Return what the attack guesses from the attacker's own patients, guessed once."""
        key = (name, challenge.public.secret, *sites)
        if key not in self._guesses:
            self._guesses[key] = games.reference_guess(
                attack,
                games.show(attack, self.world.schema, {}),
                challenge,
                self.reference(sites),
                self.seeds(name, challenge),
            )
        return self._guesses[key]

    @cached_property
    def null(self) -> games.SplitControl:
        """An independent release of real patients: half of the reference, or of the control."""
        rng = self.world.seeds.child("null").rng()
        reference = self.world.part("reference")
        there = any(map(len, reference.values()))
        found = games.split_control(reference if there else self.world.part("control"), rng)
        return replace(found, note="") if there else found

    @cached_property
    def for_null(self) -> Arena:
        """The arena in which the independent release is attacked."""
        # An independent release keeps every promise, also that of epsilon 0.
        quiet = replace(self.claim, epsilon=0.0)
        if any(map(len, self.world.part("reference").values())):
            return Arena(self.world, self.secrets, spare=self.null.nonmembers, claim=quiet)
        return Arena(self.world, self.secrets, others=self.null.nonmembers, claim=quiet)

    def reference(self, sites: tuple[str, ...]) -> Cohort:
        """Return the attacker's own patients, of these sites."""
        part = self.spare or self.world.part("reference")
        return Cohort.union([part[site] for site in sites])

    def _deal(
        self, game: Game, sites: tuple[str, ...], secrets: tuple[str, ...]
    ) -> list[Challenge]:
        if game not in games.PLAYED:
            known = ", ".join(games.PLAYED)
            raise Unsupported(f"The game {game!r} is not played here; known: {known}.")
        world = self.world
        members, others = (
            {site: part[site] for site in sites if site in part} for part in self._sides(game)
        )
        rng = world.seeds.child("challenge", game, *sites).rng()
        dealt = games.Dealt(world.cohort, members, others, self.secrets, self.claim, secrets)
        return games.deal(game, dealt, rng)

    def _sides(self, game: Game) -> tuple[Mapping[str, Cohort], Mapping[str, Cohort]]:
        """Return those who were trained on, and others."""
        world = self.world
        if game != "planted":
            return self.members or world.part("train"), self.others or world.part("control")
        canaries = world.canaries
        return (canaries.there, canaries.left) if canaries else ({}, {})


@dataclass(frozen=True)
class _Beside:
    """What is known beside a release about one challenge, asked for where a game needs it."""

    siege: Siege
    challenge: Challenge
    sites: tuple[str, ...]

    def blind(self) -> Measure | Refusal | None:
        return self.siege.arena.blind(self.challenge, self.sites)

    def reference(self) -> Guess | None:
        siege = self.siege
        return siege.arena.reference_guess(siege.name, siege.attack, self.challenge, self.sites)


@dataclass
class Siege:
    """One attack on one cell; ``watched``, it also tells who is recognised, group by group.

    That is told of what was trained on everybody only.
    """

    arena: Arena
    name: str
    attack: Attack
    watched: bool = False
    guesses: list[pd.DataFrame] = field(default_factory=list)
    exposures: list[pd.DataFrame] = field(default_factory=list)

    def answers(self, release: Release, target: str) -> Iterator[Answer]:
        """Play every challenge about the patients this release was trained on."""
        for found, status in guarded_scored(lambda: self._play(release)):
            measure = found.measure
            whole = not found.site or release.model
            question = Question(
                release.model,
                release.model or found.site,
                target if whole else "specialist",
            )
            facts = {"threat": self.attack.threat}
            yield Answer(
                question,
                self.name,
                "privacy",
                _better(measure),
                self.attack.version,
                measure,
                status,
                facts,
            )

    def _play(self, release: Release) -> list[Scored]:
        arena, attack = self.arena, self.attack
        found: list[Scored] = []
        if isinstance(attack, Wired) and (why := _unheard(attack, release.overheard)):
            return [Scored("", replace(why, part=games.told_as(attack.game).main))]
        if reason := attack.lacking(arena.world.schema):
            return [Scored("", Refusal(reason=reason, status="not applicable"))]
        challenges = arena.challenges(attack.game, release.sites, attack.secrets)
        if not challenges:
            reason = games.told_as(attack.game).empty
            return [Scored("", Refusal(reason=reason, status="not applicable"))]
        for challenge in challenges:
            held = {
                Knowledge.SYNTHETIC: release.records,
                Knowledge.REFERENCE: arena.reference(release.sites),
                Knowledge.OTHER_COLUMNS: None,
                Knowledge.ROSTER: challenge.roster,
                **_wires(release.overheard),
            }
            sight = games.show(attack, arena.world.schema, held, release.found)
            seeds = arena.seeds(self.name, challenge)
            beside = _Beside(self, challenge, release.sites)
            guess, scored = games.play(attack, sight, challenge, seeds, beside)
            self._keep(release.model, challenge, guess)
            if self.watched and attack.game == "membership" and not release.model:
                yes = bool(attack.yes)
                self.exposures.append(games.exposure(arena.world.schema, challenge, guess, yes=yes))
            # A site's own model is asked about its own patients, once.
            found += [s for s in scored if not (release.model and s.site)]
        return found

    def _keep(self, model: str, challenge: Challenge, guess: Guess) -> None:
        """Keep the raw answers under challenge numbers, so that they can be scored again."""
        scores = guess.scores if guess.scores.ndim == 2 else guess.scores[:, None]
        n, levels = scores.shape
        self.guesses.append(
            pd.DataFrame(
                {
                    "attack": self.name,
                    "model": model,
                    "secret": challenge.public.secret,
                    "challenge": np.repeat(np.arange(n), levels),
                    "level": np.tile(np.arange(levels), n),
                    "score": scores.ravel(),
                }
            )
        )


_ONLY_SUM = Refusal(
    reason="The server sees only the sum of what hospitals send here; this attack is about what "
    "each of them sends.",
    status="not applicable",
)
_UNTRAINED = Refusal(
    reason="This attack looks at what crosses while a generator is trained, and these records are "
    "of no training.",
    status="not applicable",
)


def _unheard(attack: Wired, overheard: Overheard | None) -> Refusal | None:
    """Return why an attack on the training has nothing to look at; None where it has."""
    if overheard is None:
        return _UNTRAINED
    if overheard.wire is None:
        return overheard.why
    if Knowledge.UPDATES in attack.knows and overheard.wire.seen == "aggregate":
        return _ONLY_SUM
    if reason := attack.inapplicable(overheard.wire):
        return Refusal(reason=reason, status="not applicable")
    return None


def _wires(overheard: Overheard | None) -> Mapping[Knowledge, Wire]:
    wire = overheard.wire if overheard else None
    return {} if wire is None else {what: wire.seen_as(seen) for what, seen in WIRED.items()}


def judged(control: str, found: Sequence[Answer], attacks: int, arena: Arena) -> Iterator[Answer]:
    """Say whether an attack passes a control, per secret; if not, its claims are refused.

    Args:
        control: ``copy`` or ``real``.
        found: what the attack said about this control.
        attacks: how many attacks are played, all of which must stay silent.
        arena: the world's own, which knows who plays the null control.
    """
    played = [a for a in found if a.status not in ("not applicable", "skipped")]
    secrets = list(dict.fromkeys(answer.found.key.secret for answer in played))
    for secret in secrets:
        mine = [answer for answer in played if answer.found.key.secret == secret]
        scored = [Scored(answer.question.site, answer.found) for answer in mine]
        yield _judgement(control, mine, scored, attacks * len(secrets), arena)
        if control == "copy":
            # An attack that catches the copy may still miss a part of it at few false alarms.
            for share, reason in games.blunted(scored).items():
                yield as_check(mine[0], replace(mine[0].found.key, level=share), 0.0, reason)


def _judgement(
    control: str, found: Sequence[Answer], scored: Sequence[Scored], tests: int, arena: Arena
) -> Answer:
    if control == "copy":
        reason, words = games.must_catch(scored), games.CAUGHT
    else:
        reason = games.must_stay_silent(scored, tests)
        quiet = games.QUIET + (f" ({arena.null.note})" if arena.null.note else "")
        words = games.turned(scored, tests) or quiet
    return as_check(found[0], found[0].found.key, 0.0 if reason else 1.0, reason or words)


def as_check(like: Answer, key: Key, passed: float, verdict: str) -> Answer:
    """Return a row that says whether a control held (1) or not (0), and why."""
    measure = Measure(
        value=passed,
        low=passed,
        high=passed,
        n=1,
        part="check",
        key=key,
        facts={"verdict": verdict},
    )
    return replace(like, question=Question("", "", "pooled"), found=measure, status="done")


def guarded_scored(play: object) -> Iterator[tuple[Scored, str]]:
    """Like ``scoring.guarded``, for what games return."""
    kept: list[Scored] = []

    def ask() -> list[Measure | Refusal]:
        kept.extend(play())  # type: ignore[operator]
        return [scored.measure for scored in kept]

    for number, (measure, status) in enumerate(guarded(ask)):
        yield (kept[number] if kept else Scored("", measure)), status


_GUESSED: Mapping[str, Better] = {
    "auc": "down to 0.5",
    "blind": "down to 0.5",
    "advantage": "down to 0",
    "gain": "down to 0",
    "leak": "down to 0",
}
"""What guessing reaches: an attack that comes out below it was no less lucky than unable."""


def _better(measure: Measure | Refusal) -> Better:
    if measure.part in ("base", "control", "reference"):
        return "higher"
    return _GUESSED.get(measure.part.partition("@")[0], "lower")
