"""At which hospital most is found, where that is more than chance would have it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from scipy import special

from fedbench import stats
from fedbench.games.exposure import FEWEST
from fedbench.report.controls import noticed
from fedbench.report.leaks import beyond
from fedbench.report.numbers import Number
from fedbench.report.plays import Play
from fedbench.report.words import interval
from fedbench.report.world import World

__all__ = ["most_found"]

_LEVEL = 0.05

_LIMIT = special.ndtri(1 - _LEVEL / 2)
"""So many standard errors are an arm of an interval."""


@dataclass(frozen=True)
class _Here:
    """What an attack finds at one hospital, and how likely that is more than elsewhere by luck."""

    play: Play
    found: Number
    p: float


def most_found(world: World, plays: Iterable[Play]) -> list[str]:
    """Name the hospital at which an attack finds surely more than at the others, if there is one.

    Of all attacks and hospitals it is the clearest, after Holm's correction over all of them.
    """
    asked = [one for play in plays if play.said.main == "auc" for one in _compared(world, play)]
    sure = stats.holm([one.p for one in asked]) < _LEVEL
    more = [one for one, so in zip(asked, sure, strict=True) if so and noticed(one.found)]
    if not more:
        return []
    first = min(more, key=lambda one: one.p)
    return [f"Hospitals differ beyond chance: at {first.found['site']} {_told(first)}."]


def _told(one: _Here) -> str:
    area = f"training patients are told from others with an AUC of {interval(one.found)}"
    told = beyond(one.play, one.found) if one.play.yes else area
    return f"{told} (attack {one.play.attack}), more than at the others"


def _compared(world: World, play: Play) -> Iterator[_Here]:
    """Compare each hospital with the mean of the others' training patients."""
    own = world.own.where(
        label=world.lead, regime=world.main, name=play.name, secret="", level="", group="",
        column="", target="specialist",
    )  # fmt: skip
    there = [n for n in own if n["site"] not in ("", "worst") and n.done and n.low is not None]
    large = [n for n in there if (n.n_members or 0) >= FEWEST]
    for n in large if len(large) > 1 else ():
        yield _Here(play, n, _by_luck(n, [other for other in large if other is not n]))


def _by_luck(found: Number, others: Sequence[Number]) -> float:
    """Return the one-sided p-value, by the arms of intervals that point at each other (MOVER)."""
    everybody = sum(n.n_members or 0 for n in others)
    shares = [(n.n_members or 0) / everybody for n in others]
    mean = math.fsum(share * _of(n.value) for share, n in zip(shares, others, strict=True))
    up = [share * (_of(n.high) - _of(n.value)) for share, n in zip(shares, others, strict=True)]
    arm = math.hypot(_of(found.value) - _of(found.low), *up)
    gap = _of(found.value) - mean
    return float(special.ndtr(-_LIMIT * gap / arm)) if arm > 0 else math.nan


def _of(value: float | None) -> float:
    return math.nan if value is None else value
