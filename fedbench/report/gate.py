"""Whether an audited release may pass: what a gate in a script goes by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fedbench.games.telling import TOLD
from fedbench.report.controls import backwards, shown_beyond, unproven
from fedbench.report.numbers import Number, Numbers
from fedbench.report.plays import Play, game_of
from fedbench.report.shares import BEYOND, UNLIMITED, of_any_kind, share_of
from fedbench.report.words import measure, percent, together

__all__ = ["Gate", "gate"]

USELESS = 0.2
"""An audit that would have missed a leak of this share of the records passes no gate."""

GUESSING = 0.5  # AUC


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Whether a release may pass, why, and which numbers were held against what it may give away.

    The names in ``held`` are those of rows, but that of the share of whom an attack says yes.
    """

    threshold: float
    passed: bool
    reason: str
    held: tuple[dict[str, Any], ...] = ()

    @property
    def text(self) -> str:
        """The decision in one line."""
        return f"the gate is {'open' if self.passed else 'closed'}: {self.reason}"

    def plain(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {
            "threshold": self.threshold,
            "passed": self.passed,
            "reason": self.reason,
            "held": list(self.held),
        }


def gate(rows: pd.DataFrame, most: float, closing: Sequence[str] = ()) -> Gate:
    """Hold a release against the largest share that it may give away.

    Each number is held against ``most`` in its own unit, which the text names: shares of training
    patients whom an attack finds or of whom it guesses more than of others, and the share of
    descriptions that point at one of them. It passes where none is shown to be larger: significant
    after Holm's correction, with a lower limit above ``most``. An audit that can say nothing does
    not pass: its controls failed, or it would have missed one record in five. That a larger share
    was not shown does not rule it out; the text tells by the largest upper limits whether it is,
    those of training patients found as the verdict has them. An attack that told them from others
    the wrong way round rules nothing out. An AUC above one half is a leak of nobody knows how
    many: it closes the gate for any leak (0).
    Where there is something that closes it by itself (``closing``) a release passes no gate: it
    names training patients, or they seem to be among the control.
    """
    told = list(_told(rows))
    shares = list(_shares(told))
    areas = [one for one in told if one.area and not one.play.yes]
    why = closing[0] if closing else _against(most, shares, areas)
    return Gate(
        threshold=most,
        passed=not why,
        reason=why or f"{_only(shares, most)}{_may_be(shares, most)}{_yet(areas)}",
        held=tuple(one.plain() for one in (*shares, *(areas if most == 0 else ()))),
    )


def _told(rows: pd.DataFrame) -> Iterator[_Told]:
    """Yield what attacks prove of all training patients together, those of all hospitals."""
    done = rows[(rows["regime"] == "given") & (rows["status"] == "done")]
    # A mean over hospitals counts them alike, however few patients one has: it is no share of all.
    whole = (done[["site", "level", "group", "column"]] == "").all(axis=1)
    told = [_Told(_play(n), n) for n in Numbers.of(done[whole])]
    turned = {one.play for one in told if backwards(one.found)}
    for one in told:
        shown = shown_beyond(one.found)
        if shown or not (unproven(one.found) or one.play in turned):
            yield one


def _against(most: float, shares: Sequence[_Told], areas: Sequence[_Told]) -> str:
    """Say why a release does not pass; nothing where it does."""
    over = [one for one in shares if one.found.noticed and (one.found.low or 0.0) > most]
    if over:
        found = [f"{one.called} is {one.shown}" for one in _first(over, by="low")]
        each = "each " * (len(found) > 1)
        return f"{'; '.join(found)}, {each}shown to be above {percent(most)}."
    if most == 0 and (known := _beyond_chance(areas)):
        return f"{_recognised(known[0])}."
    seen = [one.found.detectable for one in shares if one.patients]
    if not any(least is not None and least <= USELESS for least in seen):
        return "this audit can say nothing about leaks, see the report."
    return ""


@dataclass(frozen=True)
class _Told:
    """A number that proves something, and the attack it is of."""

    play: Play
    found: Number

    @property
    def area(self) -> bool:
        """Whether it is an AUC."""
        return bool(self.found["name"].endswith(".auc"))

    @property
    def patients(self) -> bool:
        """Whether it is the share of training patients whom an attack finds."""
        return not self.found["name"].endswith(".advantage")

    @property
    def called(self) -> str:
        """What it is a share of, in words that come before the number."""
        if self.found["name"].endswith(f".{BEYOND}"):
            return f"the share who {self.play.yes}, beyond that of others ({self.play.attack})"
        name = measure(self.found["name"])
        return f"{name}, “{self.play.secret}”" if self.play.secret else name

    @property
    def shown(self) -> str:
        """The number, its limits and its unit."""
        value, low, high = together(
            self.found.value,
            self.found.low,
            self.found.high,
            share=not self.area,
            chance=GUESSING if self.area else 0.0,
        )
        return f"{value} ({low} to {high})" + ("" if self.area else f" of {self.play.said.unit}")

    def plain(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {
            "name": self.found["name"],
            "secret": self.play.secret,
            "value": self.found.value,
            "low": self.found.low,
            "high": self.found.high,
            "unit": "AUC" if self.area else self.play.said.unit,
        }


def _play(found: Number) -> Play:
    attack = found["name"].partition(".")[0]
    return Play(attack, found["secret"], game_of(attack))


def _shares(told: Iterable[_Told]) -> Iterator[_Told]:
    for one in told:
        share = share_of(one.play, one.found)
        if share is not None:
            yield _Told(one.play, share)
        elif one.found["name"].endswith(".advantage"):
            yield one


def _first(shares: Sequence[_Told], by: str) -> list[_Told]:
    """Return the largest number of each game: others are not of the same thing."""
    there = {one.play.game for one in shares}
    return [
        max(
            (one for one in shares if one.play.game == game),
            key=lambda one: getattr(one.found, by) or 0.0,
        )
        for game in (*TOLD, "")
        if game in there
    ]


def _may_be(shares: Sequence[_Told], most: float) -> str:
    """Say of every game how much it may be."""
    widest = _first(shares, by="high")
    wide = [one for one in widest if (one.found.high or 0.0) > most]
    said = "; ".join(f"{one.called}, {one.shown}" for one in wide or widest)
    above = f"a leak above {percent(most)}"
    if not any(of_any_kind(one.play, one.found) for one in shares):
        said = f"{said}; {UNLIMITED}"
    if wide:
        return f"{above} was not shown, and not ruled out either: {said}."
    return f"every attack that counts rules out {above}; the highest it may be: {said}."


def _only(shares: Sequence[_Told], most: float) -> str:
    """Say that a leak was shown nonetheless, though none above what may be given away."""
    if not (smaller := _first(_beyond_chance(shares), by="low")):
        return ""
    told = f"{smaller[0].called}, {smaller[0].shown}"
    return f"for leaks above {percent(most)} only, as a smaller one was shown: {told}; "


def _beyond_chance(found: Sequence[_Told]) -> list[_Told]:
    return [one for one in found if shown_beyond(one.found)]


def _yet(areas: Sequence[_Told]) -> str:
    known = _beyond_chance(areas)
    return f" Yet {_recognised(known[0])}." if known else ""


def _recognised(one: _Told) -> str:
    return (
        "training patients are told from others better than by guessing: "
        f"{one.called} is {one.shown}"
    )
