"""What leaked: first in plain words, then the controls and the numbers behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fedbench.report.advantages import details, gains, verdicts
from fedbench.report.controls import (
    ALONE,
    Check,
    backwards,
    doubted,
    heard_of,
    may_be_chance,
    noticeable,
    noticed,
    unsaid,
)
from fedbench.report.numbers import Number
from fedbench.report.plays import Play
from fedbench.report.shares import OF_OTHERS, share_of
from fedbench.report.words import (
    interval,
    joined,
    mixed,
    nothing,
    number,
    percent,
    seeds,
    went_by,
)
from fedbench.report.world import World

__all__ = ["VERBATIM", "asked", "beyond", "leaked"]

VERBATIM = (
    "How large a leak is noticed is reckoned for word-for-word copies of training records, each "
    "copied or not by itself, and before Holm's correction. A generator can give patients away "
    "without copying them, and the attack may not see that."
)

Finding = Literal["nothing", "noticed", "backwards", "quiet"]


def leaked(world: World, label: str, played: Sequence[Check]) -> tuple[str, list[str]]:
    """Return the verdict in plain words, a paragraph each, and the details in one order.

    The order is: controls, what the attack found, what it would have found, what is refused.
    """
    plays = [play for play in world.plays if play.said.main == "auc"]
    members = [_member(world, label, play, played) for play in plays]
    gained = gains(world, label, played)
    told = [_recognized(one) for one in members] or [
        nothing("whether training patients can be recognized", ["no such attack was run"])
    ]
    return (
        "\n".join([*told, *verdicts(gained)]),
        [
            *_controls(members, played),
            *(_membership(world, label, one) for one in members),
            *details(gained, played),
        ],
    )


# --- Who was trained on -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Member:
    """What a membership attack found on the release that the sentences are about."""

    play: Play
    found: Number | None
    finding: Finding
    why: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    area_alone: bool = False
    """Whether only its AUC says nothing, so that its shares at few false alarms may."""

    @property
    def attack(self) -> str:
        """Its name."""
        return self.play.attack

    @property
    def done(self) -> bool:
        """Whether it has a number, which may not count."""
        return self.found is not None and self.found.done


def _member(world: World, label: str, play: Play, played: Sequence[Check]) -> _Member:
    found = world.pooled(label, world.main, play.name)
    if found is None or not found.done:
        return _Member(play, found, "nothing", world.unplayed(label, play))
    if because := doubted(play, found, played):
        alone = because == [unsaid(found)] and not play.yes
        return _Member(play, found, "nothing", tuple(because), area_alone=alone)
    elsewhere = tuple(_elsewhere(world, label, play.attack))
    return _Member(play, found, _finding(found), elsewhere=elsewhere)


def _finding(found: Number) -> Finding:
    if noticed(found):
        return "noticed"
    return "backwards" if backwards(found) else "quiet"


def _elsewhere(world: World, label: str, attack: str) -> list[str]:
    """Under which other regimes the same generator gives training patients away."""
    asked = [(r, world.pooled(label, r, f"{attack}.auc")) for r in world.regimes if r != world.main]
    return [f"{r} (AUC {number(n.value)})" for r, n in asked if n is not None and _sure(n)]


def _sure(found: Number) -> bool:
    return noticed(found) and not may_be_chance(found)


def _recognized(one: _Member) -> str:
    chance = may_be_chance(one.found) if one.found is not None else ""
    said = {
        "nothing": f"It cannot be said whether training patients can be recognized: the attack "
        f"{one.attack} gave no answer that counts, see below.",
        "noticed": f"The attack {one.attack} told training patients from others better than by "
        f"guessing, but that is {chance}."
        if chance
        else f"Training patients could be recognized: the attack {one.attack} told them "
        "from other patients better than by guessing.",
        "backwards": f"The attack {one.attack} told training patients from others the wrong way "
        "round. Who knows that can turn it round.",
        "quiet": "Training patients could not be told from others by the attack that was played "
        f"({one.attack}). Other attacks may do better.",
    }[one.finding]
    if one.elsewhere:
        others = joined(one.elsewhere)
        said += f" Under other regimes training patients could be recognized: {others}."
    return said


def _membership(world: World, label: str, one: _Member) -> str:
    found = one.found
    if found is None or one.finding == "nothing":
        if one.area_alone:
            said = nothing(f"the AUC of the attack {one.attack}", one.why)
            return " ".join([said, *_leak(world, label, one.attack)])
        return nothing(one.play.said.whether.format(one.attack), one.why)
    if one.play.yes:
        return _answered(one.play, found)
    area = f"Attack {one.attack}: AUC {interval(found)}, where 0.5 is guessing, {seeds(found)}."
    quiet = f"{_would(found)}{mixed(found)}" if one.finding == "quiet" else _yet(found)
    texts = [f"{area}{quiet}", *_leak(world, label, one.attack)]
    return f"{' '.join(texts)}{went_by(found.by)}" if noticed(found) else " ".join(texts)


def _answered(play: Play, found: Number) -> str:
    """Tell an attack that answers yes or no by the share of whom it says yes."""
    told = f"Attack {play.attack}: {beyond(play, found)}, {seeds(found)}."
    if noticed(found):
        return f"{told}{_yet(found)}"
    share = share_of(play, found)
    seen = None if share is None else noticeable(share)
    would = "" if seen is None else f" {percent(seen)} are noticed four times out of five."
    return f"{told}{would}{mixed(found)}"


def _yet(found: Number) -> str:
    return f" That is {chance}." if (chance := may_be_chance(found)) else ""


def asked(found: Number) -> str:
    """Say of whom a share is: of training patients who look like nobody else, so many."""
    if found.n_members is None:
        return "the training patients"
    return f"the {found.n_members:,} training patients asked about"


def beyond(play: Play, found: Number) -> str:
    """Say for how many more training patients than others a yes-or-no attack says yes."""
    share = share_of(play, found)
    assert share is not None  # noqa: S101  (asked of such attacks alone)
    return f"{interval(share)} of {asked(found)} {play.yes}{OF_OTHERS}"


def _leak(world: World, label: str, attack: str) -> list[str]:
    """What is given away at few false alarms: at 1 %, and where that is refused at 10 %."""
    asked = [(at, world.pooled(label, world.main, f"{attack}.leak@{at}%")) for at in ("1", "10")]
    texts: list[str] = []
    for at, found in asked:
        if found is None:
            continue
        why = unsaid(found)
        if found.done and not why:
            return [_share(at, found), *texts]
        texts.append(nothing(f"{attack} with {at} % false alarms", [why] if why else found.reasons))
    return texts


def _share(at: str, found: Number) -> str:
    among = f"With {at} % of other patients wrongly accused (false alarms)"
    if chance := may_be_chance(found):
        return f"{among} it finds {interval(found)} of {asked(found)}, which is {chance}."
    if noticed(found):
        return f"{among} it finds {interval(found)} of {asked(found)} beyond luck."
    seen = noticeable(found)
    would = (
        f" Word-for-word copies of {percent(seen)} of them are noticed four times out of five."
        if seen is not None
        else ""
    )
    return (
        f"{among} no leak could be shown: {interval(found)} of {asked(found)} were found "
        f"beyond luck{_at_most(found)}.{would}"
    )


def _at_most(found: Number) -> str:
    return f", so up to {percent(found.high)} may be given away" if (found.high or 0.0) > 0 else ""


def _would(found: Number) -> str:
    seen = noticeable(found)
    return (
        ""
        if seen is None
        else f" An AUC of {number(seen)} or more is noticed four times out of five, {ALONE}."
    )


# --- Controls ---------------------------------------------------------------------------------

_COPY = {
    "passed": "the copy control was caught",
    "in some seeds only": "the copy control was caught in some seeds only",
    "failed": "the copy control was NOT caught",
}
_NULL = {
    "passed": "was silent",
    "in some seeds only": "was silent in some seeds only",
    "failed": "went off, though it should not",
    "refused": "says nothing",
}


_STEP = {
    "passed": "recognised",
    "in some seeds only": "recognised in some seeds only",
    "failed": "NOT recognised",
}


def _controls(members: Sequence[_Member], played: Sequence[Check]) -> list[str]:
    """What the controls say comes before what the attacks say; attacks alike share a sentence."""
    said: dict[str, list[str]] = {}
    asked = [one for one in members if one.done or heard_of(one.play, played)]
    for one in asked:
        said.setdefault(_of_controls(one.play.name, played), []).append(one.attack)
    if len(asked) == 1:
        return [f"{text}." for text in said]
    return [f"{text} (attack{'s' * (len(who) > 1)} {joined(who)})." for text, who in said.items()]


def _of_controls(name: str, played: Sequence[Check]) -> str:
    outcomes = {check.control: check.outcome for check in played if check.name == name}
    if "step" in outcomes:
        step, quiet = _STEP[outcomes["step"]], _NULL[outcomes.get("strangers", "refused")]
        return (
            f"Controls first: an exact step on few patients was {step}, and the null control "
            f"{quiet}"
        )
    caught = _COPY.get(
        outcomes.get("copy", ""), "no copy control has shown that this attack works here"
    )
    null = _NULL.get(outcomes.get("real", ""), "was not played")
    return f"Controls first: {caught}, and the null control {null}"
