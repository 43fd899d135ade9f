"""The report of an audit: records came from outside, and all that is asked is what they tell."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from fedbench.report.controls import (
    ALONE,
    NOTHING,
    Check,
    backwards,
    broken,
    noticeable,
    noticed,
    shown_beyond,
    unproven,
)
from fedbench.report.facts import Counted
from fedbench.report.leaks import VERBATIM, asked, beyond, leaked
from fedbench.report.notes import ATTRIBUTES, GLOSSARY, how
from fedbench.report.numbers import Number
from fedbench.report.plays import Play, explained
from fedbench.report.sentences import Sentence
from fedbench.report.shares import OF_OTHERS, UNLIMITED, of_any_kind, of_patients, share_of
from fedbench.report.uneven import most_found
from fedbench.report.words import interval, joined, number, percent, told, went_by
from fedbench.report.world import World

__all__ = ["READING_IT", "introduction", "terms", "verdict", "warnings"]

GIVEN_AWAY = "Training patients are given away"
QUIET = "No leak could be shown"
SILENT = "Nothing can be said"

Heard = Sequence[tuple[Play, Number]]

UNCOUNTED = Counted()

_FEW = 50
"""With fewer on a side, AUC below .65 goes unnoticed."""


_COMPARED = (
    "Control patients come from the same population and were not trained on. What succeeds for "
    "training patients and not for them is a leak."
)


def introduction(worlds: Sequence[World]) -> list[str]:
    """Return what was done, for a reader who has never seen an audit."""
    games = dict.fromkeys(play.said.question for world in worlds for play in world.plays)
    asked = joined([question for question in games if question])
    return [
        f"Synthetic records were attacked{f': {asked}?' if asked else '.'} {_COMPARED}",
    ]


def warnings(worlds: Sequence[World]) -> list[str]:
    """Return what an audit cannot say; only about what was played."""
    guessed = any(play.game == "attribute" for world in worlds for play in world.plays)
    return [
        VERBATIM,
        (
            "“No leak could be shown” means: not by these attacks, with this many patients. "
            f"Membership was attacked {how(worlds)} only. Other attacks, and attackers who know "
            "more, may see what was not seen here."
        ),
        (
            "Nobody is asked about who looks exactly like another patient (a twin), as no attack "
            "could tell them apart; shares are of the others."
        ),
        (
            "All rests on the control patients: they must come from the same population as the "
            "training patients, and must not have been trained on."
        ),
        *([ATTRIBUTES] if guessed else []),
        (
            "An interval covers chance in which patients were trained on and which are in the "
            "control. What one more run of the same generator would write may give away more or "
            "less."
        ),
    ]


READING_IT = (
    (
        "A value stands above its range, the 95 % interval. Where the range holds the value of "
        "guessing, chance alone may have made it."
    ),
    (
        "The verdict speaks of a leak where a number is beyond chance, after Holm's correction for "
        "all that was asked."
    ),
    (
        "Refused means that nothing can be said: patients were too few, or a control failed; "
        "skipped, that something was not there to ask with, such as reference patients. A dash "
        "stands where nothing was asked."
    ),
)
_TERMS = {
    term: GLOSSARY[term]
    for term in (
        "AUC of an attack",
        "leak at 1 % false alarms",
        "leak at 10 % false alarms",
        "TPR at 1 % FPR",
        "advantage",
    )
}


def terms(worlds: Sequence[World]) -> dict[str, str]:
    """Return the words that readers may not know, and every attack that was played."""
    return _TERMS | explained([play for world in worlds for play in world.plays])


def verdict(world: World, played: Sequence[Check], counted: Counted = UNCOUNTED) -> Sentence:
    """Say what the records give away; a leak counts where it is significant (Holm).

    Args:
        world: the numbers.
        played: what the attacks' controls said.
        counted: what was counted before any attack, which comes first.
    """
    _, details = leaked(world, world.lead, played)
    asked = [(play, n) for play in world.plays for n in _numbers(world, play)]
    heard = [(play, n) for play, n in asked if n.done and not broken(play, played)]
    useful = [(p, n) for p, n in heard if not unproven(n)]
    shown = [(play, n) for play, n in useful if shown_beyond(n)]
    if shown:
        caution = [counted.overlap] if counted.overlap else []
        title, text = GIVEN_AWAY, " ".join([*_shown(world, shown), *caution])
    elif counted.overlap:
        title, text = SILENT, counted.overlap
    elif _asked_of_members(world, useful):
        title, text = QUIET, _quiet(world, useful, heard)
    else:
        title, text = SILENT, _silent(world, asked, played)
    if counted.copied:
        also = f"{counted.copied[0].upper()}{counted.copied[1:]}"
        text = f"{text} {also}" if title == GIVEN_AWAY else f"Yet {counted.copied} {text}"
    if counted.named:
        apart = "" if title == GIVEN_AWAY else f"{title} beyond that. "
        title, text = GIVEN_AWAY, f"{' '.join(counted.named)} {apart}{text}"
    members = dict.fromkeys(play for play, _ in heard)
    return Sentence("leak", title, text, (*details, *most_found(world, members)))


def _asked_of_members(world: World, useful: Heard) -> bool:
    """Whether enough was heard to call a release quiet: of who was trained on, where asked."""
    asked = {play for play in world.plays if play.said.main == "auc"}
    return any(play in asked for play, _ in useful) if asked else bool(useful)


def _numbers(world: World, play: Play) -> list[Number]:
    """Return what one attack found about everybody: areas, shares and advantages."""
    own = world.own.where(site="", target="pooled", secret=play.secret)
    shares = f"{play.attack}.leak@" if play.said.main == "auc" else play.name
    return [n for n in own if n["name"] == play.name or n["name"].startswith(shares)]


def _shown(world: World, found: Heard) -> list[str]:
    ranked = [n for play, n in found if not play.yes]
    shares = [n for n in ranked if ".leak@" in n["name"]]
    areas = [n for n in ranked if n["name"].endswith(".auc")]
    texts = [
        f"{beyond(play, n)} (attack {play.attack})."
        for play, n in found
        if play.yes and n["name"] == play.name
    ]
    if shares:
        most = max(shares, key=lambda n: n.low or 0.0)
        attack, _, alarms = most["name"].partition(".leak@")
        texts.append(
            f"The attack {attack} finds {interval(most)} of {asked(most)} beyond luck, "
            f"while wrongly accusing {alarms.replace('%', ' %')} of the others.{went_by(most.by)}"
        )
    elif areas:
        most = max(areas, key=lambda n: n.low or 0.0)
        attack = most["name"].removesuffix(".auc")
        texts.append(
            f"The attack {attack} tells training patients from others: AUC {interval(most)}, "
            f"where 0.5 is guessing.{went_by(most.by)}"
        )
    texts += [
        f"{play.said.verdict.format(world.called(play))}: advantage {interval(n)}"
        f"{_right(world, play, n)}."
        for play, n in found
        if play.said.main == "advantage"
    ]
    return texts


def _right(world: World, play: Play, found: Number) -> str:
    """Say how often a secret is guessed right; of a rare one hardly more than of others can be."""
    if play.game != "attribute":
        return ""
    own = world.own.where(site="", target="pooled", level="", secret=play.secret)
    parts = [own.where(name=f"{play.attack}.{part}").all for part in ("accuracy", "control")]
    known = [percent(n.value) for part in parts for n in part if n.done]
    if len(known) < 2:
        return ""
    right = f", right of {known[0]} of them and of {known[1]} of others"
    if found.ceiling is None:
        return right
    return f"{right}; of their own records, if released, it would be {number(found.ceiling)}"


def _quiet(world: World, useful: Heard, heard: Heard) -> str:
    texts = _found_none(world, useful)
    turned = {play: play.attack for play, n in heard if backwards(n)}
    forward = [(play, n) for play, n in useful if play not in turned]
    shares = [share for play, n in forward if (share := share_of(play, n)) is not None]
    leaks = [(play, n) for pair in forward for play, n in _of_patients(*pair)]
    copies = [s for n in shares if (s := noticeable(n)) is not None]
    areas = [s for _, n in forward if n["name"].endswith(".auc") and (s := noticeable(n))]
    if leaks:
        texts.append(_may_be(leaks))
    if copies:
        texts.append(
            f"Word-for-word copies of {percent(min(copies))} of the training records are noticed "
            "four times out of five."
        )
    elif areas:
        texts.append(
            f"An AUC of {number(min(areas))} or more is noticed four times out of five, {ALONE}."
        )
    if alone := sum(noticed(n) for _, n in heard):
        texts.append(
            f"Caution: {alone} of {len(heard)} numbers would look like a leak if it were the only "
            "one; among so many that can be chance."
        )
    if names := sorted(set(turned.values())):
        texts.append(
            f"Caution: the attack{'s' * (len(names) > 1)} {joined(names)} told training patients "
            "from others the wrong way round, also after Holm's correction. Who knows that can "
            "turn it round."
        )
    return " ".join([*texts, "Other attacks may see more."])


def _of_patients(play: Play, found: Number) -> Heard:
    share = of_patients(play, found)
    return [] if share is None or share.high is None else [(play, share)]


def _may_be(leaks: Heard) -> str:
    """Say how many may still be given away; what is known of some kinds of leaks is said so."""
    if any(of_any_kind(*pair) for pair in leaks):
        most = max(0.0, *(n.high or 0.0 for _, n in leaks))
        return (
            f"Up to {percent(most)} of the training patients may still be given away: a leak so "
            "large would fit what was found."
        )
    limits: dict[str, float] = {}
    for play, n in leaks:
        what = f"{play.yes}{OF_OTHERS}" if play.yes else "be guessed or linked better than others"
        limits[what] = max(limits.get(what, 0.0), n.high or 0.0)
    first, *more = [(percent(most), what) for what, most in limits.items()]
    told = [f"Up to {first[0]} of the training patients may still {first[1]}"]
    told += [f"up to {most} may {what}" for most, what in more]
    return f"{joined(told)}; {UNLIMITED}."


def _found_none(world: World, useful: Heard) -> list[str]:
    """Say which attacks found none, which did so by their shares alone, and which say nothing."""
    sure = {play for play, n in useful if n["name"] == play.name}
    other = {play for play, _ in useful} - sure
    texts = []
    if names := sorted({play.attack for play in sure}):
        texts.append(f"The attack{'s' * (len(names) > 1)} {joined(names)} found none.")
    if names := sorted({play.attack for play in other}):
        texts.append(
            f"The AUC of {joined(names)} says nothing; at few false alarms "
            f"{'they' if len(names) > 1 else 'it'} found none."
        )
    mute = [play for play in world.plays if play not in sure | other]
    for whether in dict.fromkeys(play.said.whether for play in mute):
        about = [world.called(play) for play in mute if play.said.whether == whether]
        texts.append(f"It cannot be said {whether.format(joined(about))}.")
    return texts


def _silent(world: World, asked: Heard, played: Sequence[Check]) -> str:
    sizes = [
        (n.n_members, n.n_nonmembers)
        for n in world.numbers.where(label="copy", secret="")
        if n.n_members is not None and n.n_nonmembers is not None
    ]
    if sizes and min(min(sizes)) < _FEW:
        members, others = min(sizes)
        return (
            f"There are {members:,} training and {others:,} control patients to tell apart: too "
            "few to notice even a large leak."
        )
    mine = [(play, n) for play, n in asked if play.said.main == "auc"] or asked
    reason = min((why for play, n in mine for why in _why(play, n, played)), key=_rank)
    attacks = sorted({p.attack for p, n in mine if reason in _why(p, n, played)})
    several = len(attacks) > 1
    return (
        f"The attack{'s' * several} {joined(attacks)} say{'' if several else 's'} nothing, because "
        f"{told([reason.removeprefix(_EMPTY)])}."
    )


_EMPTY = f"{NOTHING}: "


def _why(play: Play, found: Number, played: Sequence[Check]) -> list[str]:
    """Return why a number says nothing."""
    empty = [text for text in found.verdicts if text.startswith(NOTHING)]
    return [*empty, *broken(play, played), *found.reasons] or ["no reason was recorded"]


def _rank(reason: str) -> tuple[bool, float]:
    """Order reasons: first what would have been noticed, the smallest leak before others."""
    empty = reason.startswith(NOTHING)
    least = re.search(r"\d[\d,]*(\.\d+)?", reason) if empty else None
    return not empty, float(least[0].replace(",", "")) if least else math.inf
