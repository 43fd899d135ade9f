"""What is told better about training patients than about others, game by game."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fedbench.games.telling import TOLD, Telling
from fedbench.report.controls import (
    ALONE,
    Check,
    doubted,
    heard_of,
    may_be_chance,
    noticeable,
    noticed,
    passed,
)
from fedbench.report.numbers import Number
from fedbench.report.plays import Play
from fedbench.report.words import interval, joined, mixed, nothing, number, seeds, went_by
from fedbench.report.world import World

__all__ = ["Gain", "details", "gains", "verdicts"]


@dataclass(frozen=True)
class Gain:
    """What one attack gained from patients having been trained on."""

    play: Play
    called: str
    found: Number | None
    why: tuple[str, ...]

    @property
    def heard(self) -> Number | None:
        """Its number, if that counts."""
        return None if self.why else self.found


def gains(world: World, label: str, played: Sequence[Check]) -> list[Gain]:
    """Return what every attack gained that is scored by an advantage."""
    return [
        Gain(play, world.called(play), found, _unheard(world, label, play, found, played))
        for play in world.plays
        if play.said.main == "advantage"
        for found in [world.gained(label, play)]
    ]


def _unheard(
    world: World, label: str, play: Play, found: Number | None, played: Sequence[Check]
) -> tuple[str, ...]:
    """Why nothing can be said of an attack; empty where something can."""
    if found is not None and found.done:
        return tuple(doubted(play, found, played))
    return world.unplayed(label, play)


def verdicts(found: Sequence[Gain]) -> list[str]:
    """Say in plain words, game by game, what was told better of those who were trained on."""
    texts = []
    for said, mine in _by_game(found):
        if mine:
            texts.append(" ".join(_verdict(said, mine)))
        elif said.unasked:
            texts.append(nothing(said.unasked, ["no such attack was run"]))
    return texts


def _by_game(found: Sequence[Gain]) -> Iterator[tuple[Telling, list[Gain]]]:
    games = dict.fromkeys([*TOLD.values(), *(one.play.said for one in found)])
    for said in games:
        if said.main == "advantage":
            yield said, [one for one in found if one.play.said is said]


def _verdict(said: Telling, found: Sequence[Gain]) -> Iterator[str]:
    heard = [(one.called, one.heard) for one in found]
    sorts = (
        (said.easier, [name for name, n in heard if n is not None and noticed(n)]),
        (said.level, [name for name, n in heard if n is not None and not noticed(n)]),
        (said.unsaid, [name for name, n in heard if n is None]),
    )
    yield from (text.format(joined(names)) for text, names in sorts if names)


def details(found: Sequence[Gain], played: Sequence[Check]) -> list[str]:
    """Return, game by game: controls, what was found, what would have been, what is refused."""
    return [text for said, mine in _by_game(found) for text in _details(said, mine, played)]


def _details(said: Telling, found: Sequence[Gain], played: Sequence[Check]) -> Iterator[str]:
    if tried := [one for one in found if heard_of(one.play, played)]:
        yield _tried(said, tried, played)
    heard = [(one, one.found) for one in found if one.heard is not None and one.found is not None]
    for one, n in heard:
        if noticed(n):
            chance = f" That is {why}." if (why := may_be_chance(n)) else ""
            gained = f"{said.found.format(one.called)}: advantage {interval(n)}, {seeds(n)}."
            yield f"{gained}{chance}{went_by(n.by)}"
    if quiet := [(one, n) for one, n in heard if not noticed(n)]:
        yield _quiet(said, quiet)
    for one in found:
        if one.heard is None:
            yield nothing(said.whether.format(one.called), one.why)


def _quiet(said: Telling, found: Sequence[tuple[Gain, Number]]) -> str:
    names = joined([one.called for one, _ in found])
    largest = max((n for _, n in found), key=lambda n: n.value or 0.0)
    most = max((seen for _, n in found if (seen := noticeable(n)) is not None), default=None)
    of = " the largest" if len(found) > 1 else " the"
    alone = [f" {one.called}:{mixed(n)}" for one, n in found if n.noticed]
    would = (
        ""
        if most is None
        else f" One of {number(most)} or more is noticed four times out of five, {ALONE}."
    )
    return (
        f"{said.unfound.format(names)}:{of} advantage is {interval(largest)}.{would}"
        f"{''.join(alone)}"
    )


def _tried(said: Telling, found: Sequence[Gain], played: Sequence[Check]) -> str:
    """What the controls say comes before what the attacks say."""
    both = [one.called for one in found if passed(one.play, played)]
    if not both:
        return f"Controls first: {said.none_passed}."
    others = "" if len(both) == len(found) else ", not in the others"
    return f"Controls first: both were passed {said.passed.format(joined(both))}{others}."
