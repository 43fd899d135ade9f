"""The report of an evaluation: how like real patients records from outside are, and of what use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from fedbench.direction import badness, best_at
from fedbench.report.controls import Check
from fedbench.report.given import verdict
from fedbench.report.given import warnings as of_an_audit
from fedbench.report.notes import FLATTERED, FLATTERING, GLOSSARY, READING
from fedbench.report.numbers import Number
from fedbench.report.sentences import Sentence
from fedbench.report.words import interval, joined, left_out, measure, nothing, number
from fedbench.report.world import FIDELITY, FLOOR, UTILITY, World

__all__ = ["READING_IT", "TERMS", "answers", "introduction", "warnings"]

INTRODUCTION = (
    (
        "Synthetic records that came from outside were compared with real patients who had been "
        "kept back, attacked, and used to train models that foresee what happens to such patients."
    ),
    (
        "Every number stands between two ends. The ceiling is what the real training records reach "
        "when they are scored as if they were synthetic, equally many of them; the floor, "
        f"{FLOOR}, draws every column of the training records on its own: the mean of several "
        "draws, whose interval says how far they lie apart. That leaves single columns as they "
        "are, so their floor, uniform, draws every column evenly over its range."
    ),
)
READING_IT = (
    "A value stands above its range, the 95 % interval: chance in which patients were tested.",
    READING[-2],
    READING[-1].partition("; failed,")[0] + ".",
)
TERMS = {term: text for term, text in GLOSSARY.items() if "TPR" not in term}

_WORST = 5
"""Columns that are named as the furthest off."""

_COURSE = (
    "visits", "visits.count", "visits.gaps", "visits.values", "visits.transitions",
    "codes", "codes.prevalence", "codes.together", "codes.next",
)  # fmt: skip
_FOLLOWED = ("survival", "survival.events", "survival.censoring")
"""Who lives and is followed how long: told whatever else is further off."""
_MOST = 5
"""Of what visits and codes say, so many are told."""


def introduction(worlds: Sequence[World]) -> list[str]:
    """Return what was done, for a reader who has never seen an evaluation."""
    del worlds  # every evaluation does the same
    return list(INTRODUCTION)


def warnings(worlds: Sequence[World]) -> list[str]:
    """Return what an evaluation cannot say."""
    one = (
        "One release was scored. How much another one of the same generator, or one trained on "
        "other patients, would differ is not known, and no interval covers it."
    )
    return [*of_an_audit(worlds), one]


def answers(
    world: World, played: Sequence[Check], columns: pd.DataFrame, named: Sequence[str]
) -> list[Sentence]:
    """Say how like real patients the records are, what they are good for, and what leaks.

    Args:
        world: the numbers.
        played: what the attacks' controls said.
        columns: rows about one column each.
        named: where the release names training patients.
    """
    return [
        Sentence(
            "fidelity",
            "How like real patients",
            _likeness(world),
            (*_worst(world, columns), *_judged(world, columns)),
        ),
        Sentence("utility", "What they are good for", _usefulness(world)),
        verdict(world, played, named),
    ]


def _likeness(world: World) -> str:
    """Tell how far off measures are, furthest from real records first; refusals follow."""
    names = ("detection", *(name for name in FIDELITY if name != "detection"), "missingness.rates")
    found = [(name, world.pooled(world.lead, "given", name)) for name in names]
    found += [*_applicable(world, _FOLLOWED), *_unfolding(world)]
    ranked = [(name, "", one) for name, one in sorted(found, key=lambda pair: -_beyond(pair[1]))]
    told = _listed(world, ranked) or nothing("fidelity", ["it was not measured"])
    return "\n".join([told, *_flattered(found)])


def _unfolding(world: World) -> list[tuple[str, Number]]:
    """Return what visits and codes say that is furthest from real records, and all refusals."""
    there = _applicable(world, _COURSE)
    done = sorted((pair for pair in there if pair[1].done), key=lambda pair: -_beyond(pair[1]))
    return [*done[:_MOST], *((name, n) for name, n in there if not n.done)]


def _applicable(world: World, names: Sequence[str]) -> list[tuple[str, Number]]:
    """Return those measures of the release that could be asked of these tables."""
    asked = [(name, world.pooled(world.lead, "given", name)) for name in names]
    return [(name, n) for name, n in asked if n is not None and n.status != "not applicable"]


def _flattered(found: Sequence[tuple[str, Number | None]]) -> list[str]:
    """Say whose scale makes nearly all records look good, and why."""
    names = [
        measure(name)
        for name, one in found
        if name.startswith(FLATTERED) and one is not None and one.normalized is not None
    ]
    return [f"The scale from 0 to 1 flatters {joined(names)}: {FLATTERING}"] if names else []


def _beyond(found: Number | None) -> float:
    """Return how much worse than real records a number is, in widths of their interval."""
    if found is None or found.value is None or found.ceiling is None:
        return -math.inf
    worse = badness(found.value, found["better"]) - badness(found.ceiling, found["better"])
    return float(worse / found.noise_floor) if found.noise_floor else math.copysign(math.inf, worse)


def _usefulness(world: World) -> str:
    asked = world.own.where(name=UTILITY, label=world.lead, column="")
    pairs = {
        task: min(UTILITY.index(n["name"]) for n in asked if n["task"] == task)
        for task in asked.values("task")
    }
    found = [
        (UTILITY[at], task, world.pooled(world.lead, "given", UTILITY[at], task))
        for task, at in pairs.items()
    ]
    unnamed = "nothing is named that is to be foreseen (--predict, or [tasks] of a --schema)"
    return _listed(world, found) or nothing("utility", [unnamed])


def _listed(world: World, found: Sequence[tuple[str, str, Number | None]]) -> str:
    told: list[str] = []
    silent: dict[tuple[str, ...], list[str]] = {}
    for name, task, one in found:
        if one is not None and one.done:
            told.append(_one(world, name, task, one))
        elif one is not None and name not in _OPTIONAL:
            silent.setdefault(one.reasons, []).append(_called(world, name, task))
    told += [nothing(_together(names), reasons) for reasons, names in silent.items()]
    return "\n".join(told)


def _together(names: Sequence[str]) -> str:
    """Say how many measures these are, and which."""
    return names[0] if len(names) == 1 else f"{len(names)} measures ({joined(names)})"


_OPTIONAL = ("missingness.rates",)


def _one(world: World, name: str, task: str, found: Number) -> str:
    what = _called(world, name, task)
    known = {
        label: f"{said} {number(end.value)}"
        for said, label, regime in _ENDS
        if (end := world.pooled(label, regime, name, task)) is not None and end.done
    }
    ends = [said for label, said in known.items() if label != FLOOR or "uniform" not in known]
    few = f", {some}" if (some := left_out(found)) else ""
    told = f"{what[:1].upper()}{what[1:]}: {interval(found)}{few}{_ends(ends)}."
    real = world.pooled("copy", "control", name, task)
    return " ".join(text for text in (told, _worse(found, real), _place(found)) if text)


def _worse(found: Number, real: Number | None) -> str:
    """Say where a release is worse than real records by more than chance."""
    if real is None or None in (found.low, found.high, real.low, real.high):
        return ""
    mine, theirs = (_badnesses(one) for one in (found, real))
    return "That is further off than by chance." if min(mine) > max(theirs) else ""


def _badnesses(found: Number) -> list[float]:
    """Return how bad the ends of an interval are; 0 is in it where the best is."""
    low, high = (float(badness(end or 0.0, found["better"])) for end in (found.low, found.high))
    best = best_at(found["better"])
    inside = best is not None and (found.low or 0.0) <= best <= (found.high or 0.0)
    return [low, high, *([0.0] * inside)]


_ENDS = (
    ("the real training records reach", "copy", "control"),
    ("columns drawn evenly over their range", "uniform", "control"),
    ("columns drawn one by one", FLOOR, "given"),
)
"""The ceiling, and the two floors, of which only a measure that ends at ``uniform`` has that."""


def _called(world: World, name: str, task: str) -> str:
    return measure(name) + (f" ({world.say(task)})" if task else "")


def _ends(ends: Sequence[str]) -> str:
    return f"; {joined(ends)}" if ends else ""


def _place(found: Number) -> str:
    """Say where a number lies between its ends, where these can be told apart."""
    if found.normalized is None:
        return ""
    ends = [
        what if end is None else f"{what} ({number(end)})"
        for what, end in (("floor", found.floor), ("ceiling", found.ceiling))
    ]
    return f"From {' to '.join(ends)} that is {number(found.normalized, 2)}, from 0 to 1."


def _judged(world: World, columns: pd.DataFrame) -> Iterator[str]:
    """Tell columns that are shown to be different from undecided and from equivalent ones."""
    mine = columns[(columns["label"] == world.lead) & (columns["site"] == "")]
    asked = mine[mine["name"].str.startswith("equivalence.") & (mine["column"] != "")]
    tested = asked[asked["status"] == "done"]
    of = {said: [world.say(c) for c in t["column"]] for said, t in tested.groupby("equivalence")}
    told = [
        f"{words} {len(of[said])} ({_some(of[said])})"
        for said, words in (("different", "shown to be different"), ("undecided", "undecided"))
        if said in of
    ]
    if told:
        told.append(f"equivalent {len(of.get('equivalent', []))}")
        left = [world.say(c) for c in asked.loc[asked["status"] != "done", "column"]]
        rest = f"; not tested: {_some(left)}" if left else ""
        yield f"of {len(tested)} columns tested for equivalence {joined(told)}{rest}"


def _some(names: Sequence[str]) -> str:
    more = [f"{len(names) - _WORST} more"] * (len(names) > _WORST)
    return joined([*names[:_WORST], *more])


def _worst(world: World, columns: pd.DataFrame) -> Iterator[str]:
    """Name the columns that are further off than chance makes those of real records."""
    asked = columns[(columns["name"] == "marginals") & (columns["site"] == "")]
    of = {label: mine.set_index("column") for label, mine in asked.groupby("label")}
    real = of.pop("copy", asked.set_index("column"))
    own = next((mine for label, mine in of.items() if label not in (FLOOR, "uniform")), real[:0])
    usual = real["value"].to_dict()
    off = own[own["low"] > real["high"].reindex(own.index)].sort_values("value", ascending=False)
    for name, row in off.head(_WORST).iterrows():
        spread = f"{number(row['low'])} to {number(row['high'])}"
        yield (
            f"{world.say(str(name))}: a share of {number(row['value'])} ({spread}) would have to "
            f"change; of real training records {number(usual[name])}"
        )
    if len(off) > _WORST:
        yield f"and {len(off) - _WORST} more columns that are further off than by chance"
