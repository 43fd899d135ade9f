"""Numbers, names and units as a reader says them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from fedbench.direction import GUESSED
from fedbench.games.telling import TOLD, told_as
from fedbench.report.measures import EFFECTS, MEASURES
from fedbench.report.numbers import SOME, Number
from fedbench.report.plays import game_of
from fedbench.report.reasons import plain
from fedbench.report.shares import BEYOND

__all__ = [
    "NONE",
    "POWER",
    "REGIMES",
    "beside",
    "change",
    "coverage",
    "detectable_change",
    "floor_of",
    "human_bytes",
    "interval",
    "joined",
    "left_out",
    "measure",
    "mixed",
    "nothing",
    "number",
    "people",
    "percent",
    "regime",
    "seeds",
    "short",
    "shown",
    "signed",
    "together",
    "told",
    "unit_of",
    "went_by",
]

NONE = "\N{EN DASH}"
"""Stands where there is no number."""

REGIMES = ("federated", "centralized", "local", "mixture")

_REGIMES = {
    "federated": "federated: hospitals train together, records stay",
    "centralized": "centralized: all records in one place",
    "local": "local: every hospital alone",
    "mixture": "mixture: what the local generators write, put together",
    "given": "given: records that came from outside",
}

_ATTACK = {
    "auc": "AUC of the attack",
    "blind": "AUC of an attacker who sees no release",
    "advantage": "better guessed for training patients than for others",
    "accuracy": "guessed right for training patients",
    "control": "guessed right for other patients",
    "reference": "guessed right for training patients from other patients alone",
    "gain": "guessed right more often for training patients than from other patients alone",
    "base": "guessed right by always saying the commonest answer",
    "check": "control passed (1) or failed (0)",
}
"""What an attack's parts are called; the attack's own name follows in brackets."""

_WORDS = """
    A All Among An And Another Any At Because Both But By Canaries Columns Descriptions Draw Each
    Either Even Every Everybody Few Fewer For From Half Hospitals If In It Its Many Members More
    Most Neither No Nobody None Not Nothing Of Once One Only Other Others Patients Predictions
    Records Rows Scores Shares Single So Some Somebody Such Sums Synthetic That The Their There
    These They This Those To Too Training Two What When Where Whether Which Who With Without
"""
_OPENERS = frozenset(_WORDS.split())
"""Words that are written small inside a sentence; a hospital's name is not."""

_MOST_DIGITS = 9
"""Less is how sums round."""

# From the half-width of a 95 % interval to what is seen in 80 % of studies: (1.96 + .84) / 1.96.
POWER = 1.43


def measure(name: str, kind: str = "") -> str:
    """Return the name of a measure in words: ``utility.c_index`` is ``C-index``.

    Args:
        name: as rows have it.
        kind: of the task it is about, if that is known: effects are called by it.
    """
    if name in MEASURES:
        return MEASURES[name].format(EFFECTS.get(kind, EFFECTS[""]))
    head, _, last = name.rpartition(".")
    if name.startswith("utilization"):
        return f"{MEASURES.get(last, last)} from visit counts and dates alone"
    if theirs := _declared(head, last):
        return f"{theirs} ({head})"
    if head and last in _ATTACK:
        return f"{_ATTACK[last]} ({head})"
    for start, words in (("tpr@", "found at"), ("leak@", "leak at")):
        if start in name:
            attack, _, share = name.partition(f".{start}")
            return f"{words} {share.replace('%', ' %')} false alarms ({attack})"
    return MEASURES.get(last) or MEASURES.get(head) or name


def _declared(attack: str, part: str) -> str:
    """Return what an attack's game calls a part of its rows, if it has a name of its own."""
    if not any(part in said.parts for said in TOLD.values()):
        return ""
    return told_as(game_of(attack)).parts.get(part, "")


def regime(name: str) -> str:
    """Return a regime with its explanation."""
    return _REGIMES.get(name, name)


def number(value: float | None, digits: int | None = None) -> str:
    """Return a number with a true minus sign, or a dash for none.

    Unless told otherwise it has three digits after the point, fewer where it is large and more
    where it would look like zero.
    """
    if value is None:
        return NONE
    text = f"{value:,.{_digits(abs(value)) if digits is None else digits}f}"
    return (
        text[1:] if float(text.replace(",", "")) == 0 and text.startswith("-") else text
    ).replace("-", "\N{MINUS SIGN}")


def _digits(size: float) -> int:
    if 1e-7 < size < 5e-4:  # less is how sums round
        return 1 - math.floor(math.log10(size))
    return 3 if size < 10 else 2 if size < 100 else 1


def percent(value: float | None) -> str:
    """Return a share in percent."""
    return NONE if value is None else f"{number(100 * value, 1)} %"


def floor_of(found: Number) -> str:
    """Return what the floor of a number is: guessing, where that is above what the floor does."""
    return "guessing" if found.floor == GUESSED.get(found["name"], math.nan) else "floor"


def unit_of(name: str) -> str:
    """Return how a measure is shown: as a number, a share in percent or an amount of data."""
    if ".tpr@" in name or ".leak@" in name or name.endswith(f".{BEYOND}"):
        return "share"
    return "bytes" if name == "communication.bytes" else "number"


def interval(found: Number, level: float = 0.95) -> str:
    """Return ``0.034 (95 % interval 0.012 to 0.056)``."""
    value, low, high = shown(found)
    if found.low is None or found.high is None:
        return f"{value} (no interval)"
    return f"{value} ({100 * level:g} % interval {low} to {high})"


def shown(found: Number) -> tuple[str, str, str]:
    """Return value and ends, all with as many digits as the largest of them needs."""
    return together(
        found.value,
        found.low,
        found.high,
        share=unit_of(found["name"]) == "share",
        chance=_chance(found),
    )


def together(
    value: float | None,
    low: float | None,
    high: float | None,
    *,
    share: bool = False,
    chance: float = 0.0,
) -> tuple[str, str, str]:
    """Return a value and its ends with equally many digits, in percent if it is a ``share``.

    An end that lies apart from ``chance`` is never rounded onto it: the numbers would deny
    what the verdict beside them says.
    """
    times, sign = (100.0, " %") if share else (1.0, "")
    values = [None if v is None else times * v for v in (value, low, high)]
    known = [v for v in values if v is not None]
    digits = 1 if share else _digits(max((abs(v) for v in known), default=0.0))
    if low is not None and high is not None and not low <= chance <= high:
        near = times * (low if low > chance else high)
        while digits < _MOST_DIGITS and round(near, digits) == round(times * chance, digits):
            digits += 1
    first, second, third = (NONE if v is None else f"{number(v, digits)}{sign}" for v in values)
    return first, second, third


def _chance(found: Number) -> float:
    """Return what stands for nothing: guessing, or no difference."""
    guessed = found["name"].endswith((".auc", ".blind", ".auroc", ".c_index"))
    return 0.5 if guessed and found["target"] not in ("gain", "tax") else 0.0


def left_out(found: Number) -> str:
    """Say over how many columns, groups or hospitals a mean is; nothing where it has them all."""
    if len(found.over) < 2:
        return "".join(found.over)
    clauses = [text.removeprefix(SOME).split("; ") for text in found.over]
    # Who is lacking says it all.
    briefly = ["; ".join(c.partition(", ")[2] or c for c in each) for each in clauses]
    return ", ".join(f"{'in others ' if i else SOME}{text}" for i, text in enumerate(briefly))


def coverage(found: Number) -> str:
    """Return how that begins, without who is lacking: as much as a narrow table has room for."""
    return next((text.partition(";")[0].partition(",")[0] for text in found.over), "")


def beside(found: Number) -> str:
    """Say the plain gaps that a number compares, where it is that of one seed."""
    texts = found.verdicts if found.asked == 1 else ()
    return next((text for text in texts if text.startswith("a gap of ")), "")


def change(found: Number) -> str:
    """Return a gain as ``better by 0.034 (...)``, whatever the direction of its measure."""
    assert found.value is not None  # noqa: S101  (asked of numbers that are done)
    if found.value >= 0:
        return f"better by {interval(found)}"
    ends = {"low": _minus(found.high), "high": _minus(found.low)}
    return f"worse by {interval(Number(**{**vars(found), 'value': -found.value, **ends}))}"


def detectable_change(found: Number) -> float | None:
    """Return the smallest difference that would have been seen four times out of five.

    What the row says, else 1.43 half-widths: a difference so large moves the 95 % interval
    off zero with a power of 80 %.
    """
    if found.detectable is not None:
        return found.detectable
    if found.low is None or found.high is None:
        return None
    return POWER * (found.high - found.low) / 2


def human_bytes(value: float | None) -> str:
    """Return an amount of data in decimal units: 1 MB is a million bytes."""
    if value is None:
        return NONE
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= 0.9995 * size:
            return (
                f"{value / size:.3g} {unit}"
                if value < 999.5 * size
                else f"{value / size:,.0f} {unit}"
            )
    return f"{value:.0f} bytes"


def seeds(found: Number) -> str:
    """Return how many seeds a number stands on."""
    of = f" of {found.asked}" if found.seeds != found.asked else ""
    return f"{found.seeds}{of} seed{'' if found.seeds == 1 and not of else 's'}"


def mixed(found: Number) -> str:
    """Warn where a quiet number is loud in some seeds."""
    if not found.noticed:
        return ""
    return (
        f" Caution: taken alone, {found.noticed} of {found.seeds} seeds did better than guessing."
    )


def people(found: int | Sequence[int]) -> str:
    """Return a number of patients, or a range of it, with thousands set apart."""
    low, high = (found, found) if isinstance(found, int) else found
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def joined(parts: Sequence[Any]) -> str:
    """Return ``a, b and c``."""
    texts = [str(part) for part in parts]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def went_by(what: Sequence[str]) -> str:
    """Say what an attack went by that found something, after that; nothing if it does not tell."""
    return f" It goes above all by {', or by '.join(what)}." if what else ""


def nothing(noun: str, reasons: Sequence[str]) -> str:
    """Say that nothing can be said, and why."""
    return f"Nothing can be said about {noun}, because {told(reasons)}."


def told(reasons: Sequence[str]) -> str:
    """Return reasons as they stand in the middle of a sentence, those that are alike once.

    Reasons of several seeds often differ only in their numbers.
    """
    alike = {
        re.sub(r"[\d.,\N{MINUS SIGN}-]+", "", reason): short(reason) for reason in reversed(reasons)
    }
    texts = [_inner(text.rstrip(".")) for text in reversed(alike.values())]
    return joined(texts) or "no reason was recorded"


def _inner(text: str) -> str:
    first, _, _ = text.partition(" ")
    return text[:1].lower() + text[1:] if first in _OPENERS else text


def short(reason: str) -> str:
    """Return a reason in plain words, and of a traceback what it ends with."""
    lines = reason.strip().splitlines()
    last = lines[-1] if lines and lines[0].startswith("Traceback") else reason
    return signed(plain(last.strip()))


def signed(text: str) -> str:
    """Return a text whose numbers below zero have a true minus sign, as all others have."""
    return re.sub(r"(?<![\w.,)-])-(?=\d)", "\N{MINUS SIGN}", text)


def _minus(value: float | None) -> float | None:
    return None if value is None else -value
