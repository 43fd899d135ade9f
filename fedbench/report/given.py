"""The report of an audit: records came from outside, and all that is asked is what they tell."""

from __future__ import annotations

from collections.abc import Sequence

from fedbench.report.controls import Check, attack_names, backwards, broken, noticeable, noticed
from fedbench.report.leaks import VERBATIM, leaked
from fedbench.report.notes import GLOSSARY
from fedbench.report.numbers import Number
from fedbench.report.sentences import Sentence
from fedbench.report.words import interval, joined, number, percent, told
from fedbench.report.world import World

__all__ = ["INTRODUCTION", "READING_IT", "TERMS", "WARNINGS", "verdict"]

GIVEN_AWAY = "Training patients are given away"
QUIET = "No leak could be shown"
SILENT = "Nothing can be said"

_FEW = 50
"""With fewer on a side, AUC below .65 goes unnoticed."""

INTRODUCTION = (
    (
        "Synthetic records were attacked: who was trained on, and which sensitive facts are easier "
        "to guess about them? Control patients come from the same population and were not trained "
        "on. What succeeds for training patients and not for them is a leak."
    ),
)

WARNINGS = (
    VERBATIM,
    (
        "“No leak could be shown” means: not by these attacks, with this many patients. Membership "
        "was attacked in one kind of way only, by the distance to released records. Other attacks, "
        "and attackers who know more, may see what this one does not."
    ),
    (
        "All rests on the control patients: they must come from the same population as the "
        "training patients, and must not have been trained on."
    ),
    (
        "An attribute attack counts only how much better it does for training patients than for "
        "others; what can be inferred about anybody is medicine, and is not counted as a leak."
    ),
    (
        "An interval covers chance in which patients were trained on and which are in the control. "
        "What one more run of the same generator would write may give away more or less."
    ),
)
READING_IT = (
    (
        "A value stands above its range, the 95 % interval. Where the range holds the value of "
        "guessing, chance alone may have made it."
    ),
    (
        "The verdict speaks of a leak where a number is beyond chance, after Holm's correction for "
        "all that was asked."
    ),
    "Refused means that there were too few patients to say anything.",
)
TERMS = {
    term: GLOSSARY[term]
    for term in (
        "AUC of an attack",
        "leak at 1 % false alarms",
        "leak at 10 % false alarms",
        "TPR at 1 % FPR",
        "advantage",
    )
}


def verdict(world: World, played: Sequence[Check]) -> Sentence:
    """Say what the records give away; a leak counts where it is significant (Holm)."""
    _, details = leaked(world, world.lead, played)
    asked = [(attack, n) for attack in attack_names(world) for n in _numbers(world, *attack)]
    heard = [n for attack, n in asked if n.done and not broken(*attack, played)]
    shown = [n for n in heard if n.noticed and noticed(n)]
    useful = [n for n in heard if not any(v.startswith("nothing can") for v in n.verdicts)]
    if shown:
        title, text = GIVEN_AWAY, " ".join(_shown(world, shown))
    elif useful:
        title, text = QUIET, _quiet(world, useful, heard)
    else:
        title, text = SILENT, _silent(world, asked, played)
    return Sentence("leak", title, text, tuple(details))


def _numbers(world: World, name: str, secret: str) -> list[Number]:
    """Return what one attack found about everybody: areas, shares and advantages."""
    attack = name.partition(".")[0]
    own = world.own.where(site="", target="pooled", secret=secret)
    return [n for n in own if n["name"] == name or (not secret and f"{attack}.leak@" in n["name"])]


def _shown(world: World, found: Sequence[Number]) -> list[str]:
    shares = [n for n in found if ".leak@" in n["name"]]
    areas = [n for n in found if n["name"].endswith(".auc")]
    facts = [n for n in found if n["secret"]]
    texts = []
    if shares:
        most = max(shares, key=lambda n: n.low or 0.0)
        attack, _, alarms = most["name"].partition(".leak@")
        texts.append(
            f"The attack {attack} finds {interval(most)} of the training patients beyond luck, "
            f"while wrongly accusing {alarms.replace('%', ' %')} of the others."
        )
    elif areas:
        attack = areas[0]["name"].removesuffix(".auc")
        texts.append(
            f"The attack {attack} tells training patients from others: AUC {interval(areas[0])}, "
            "where 0.5 is guessing."
        )
    texts += [
        f"“{world.say(n['secret'])}” is guessed right more often for training patients than for "
        f"others: advantage {interval(n)}."
        for n in facts
    ]
    return texts


def _quiet(world: World, useful: Sequence[Number], heard: Sequence[Number]) -> str:
    attacks = joined(sorted({n["name"].partition(".")[0] for n in useful}))
    texts = [f"The attack{'s' if ' and ' in attacks else ''} {attacks} found none."]
    leaks = [n for n in useful if ".leak@" in n["name"] and n.high is not None]
    shares = [s for n in leaks if (s := noticeable(n)) is not None]
    areas = [s for n in useful if n["name"].endswith(".auc") and (s := noticeable(n)) is not None]
    if shares:
        most = max(n.high or 0.0 for n in leaks)
        texts.append(
            f"Up to {percent(most)} of the training patients may still be given away: a leak so "
            "large would fit what was found. Word-for-word copies of "
            f"{percent(min(shares))} of the training records are noticed four times out of five."
        )
    elif areas:
        texts.append(f"An AUC of {number(min(areas))} or more is noticed four times out of five.")
    if alone := sum(noticed(n) for n in heard):
        texts.append(
            f"Caution: {alone} of {len(heard)} numbers would look like a leak if it were the only "
            "one; among so many that can be chance."
        )
    if any(backwards(n) for n in heard):
        texts.append(
            "Caution: an attack told training patients from others the wrong way round. Who knows "
            "that can turn it round."
        )
    if few := [f"“{world.say(n['secret'])}”" for n in heard if n["secret"] and n not in useful]:
        texts.append(f"For guesses of {joined(few)} the patients are too few to say.")
    return " ".join([*texts, "Other attacks may see more."])


def _silent(
    world: World, asked: Sequence[tuple[tuple[str, str], Number]], played: Sequence[Check]
) -> str:
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
    reasons = {reason: None for attack, _ in asked for reason in broken(*attack, played)}
    reasons |= {reason: None for _, n in asked for reason in (n.reasons or n.verdicts)}
    return f"Because {told(list(reasons)[:1])}."
