"""The report of an evaluation: how like real patients records from outside are, and of what use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import pandas as pd

from fedbench.direction import badness, best_at
from fedbench.nouns import plural
from fedbench.report.controls import Check
from fedbench.report.facts import Counted
from fedbench.report.given import verdict
from fedbench.report.given import warnings as of_an_audit
from fedbench.report.notes import FLATTERED, FLATTERING, GLOSSARY, READING
from fedbench.report.numbers import Number
from fedbench.report.plays import explained
from fedbench.report.sentences import Sentence
from fedbench.report.words import floor_of, interval, joined, left_out, measure, nothing, number
from fedbench.report.world import FIDELITY, FLOOR, UTILITY, World

__all__ = ["READING_IT", "answers", "introduction", "place", "terms", "warnings"]

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
_TERMS = {term: text for term, text in GLOSSARY.items() if "TPR" not in term}

_WORST = 5
"""Columns that are named as the furthest off."""

_COURSE = (
    "visits", "visits.count", "visits.gaps", "visits.values", "visits.transitions",
    "codes", "codes.prevalence", "codes.together", "codes.next",
)  # fmt: skip
_FOLLOWED = ("survival", "survival.events", "survival.censoring")
"""Who lives and is followed how long."""
_CORE = ("detection", *(name for name in FIDELITY if name != "detection"), "missingness.rates")
_ALWAYS = (*_CORE, *_FOLLOWED)
"""Told whatever else is further off."""
_KINDS = (
    *("visits", "codes", "survival", "support", "adversarial", "joint", "associations"),
    *("marginals", "detection", "missingness", "rules"),
)
"""Metrics whose measures are ranked by how far they are off."""
_MOST = 6
"""So many of what lies furthest from real records are told one by one."""
_FAR = 1.0
"""Widths beyond which a number lies off real records at all."""
_BEYOND_CHANCE = "That is further off than by chance."
_OF_A_GROUP, _GAP = "fairness.marginals", "fairness.marginals_gap"


def terms(worlds: Sequence[World]) -> dict[str, str]:
    """Return the words that readers may not know, and every attack that was played."""
    return _TERMS | explained([play for world in worlds for play in world.plays])


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
    world: World, played: Sequence[Check], columns: pd.DataFrame, counted: Counted
) -> list[Sentence]:
    """Say how like real patients the records are, what they are good for, and what leaks.

    Args:
        world: the numbers.
        played: what the attacks' controls said.
        columns: rows about one column each.
        counted: what was counted before any attack.
    """
    return [
        _answer("fidelity", "How like real patients", _likeness(world), _details(world, columns)),
        _answer("utility", "What they are good for", _usefulness(world)),
        verdict(world, played, counted),
    ]


def _answer(
    topic: Literal["fidelity", "utility"], title: str, text: str, details: Sequence[str] = ()
) -> Sentence:
    """Return an answer; what is worse than real records by more than chance is marked."""
    marked = [i for i, part in enumerate(text.split("\n")) if _BEYOND_CHANCE in part]
    return Sentence(topic, title, text, tuple(details), tuple(marked))


def _details(world: World, columns: pd.DataFrame) -> list[str]:
    return [*_worst(world, columns), *_judged(world, columns)]


def _likeness(world: World) -> str:
    """Tell how far off measures are, furthest from real records first; refusals follow."""
    always = [(name, "", world.pooled(world.lead, "given", name)) for name in _CORE]
    always += [(name, "", n) for name, n in _applicable(world, _FOLLOWED)]
    done = _ranked(world)
    far = [found for found in done if found[0] not in _ALWAYS and _beyond(found[2]) > _FAR][:_MOST]
    silent = [(name, "", n) for name, n in _applicable(world, _COURSE) if not n.done]
    ranked = sorted([*always, *far], key=lambda found: -_beyond(found[2]))
    told = _listed(world, [*ranked, *silent]) or nothing("fidelity", ["it was not measured"])
    names = {found[:2] for found in ranked}
    rest = [found for found in done if found[:2] not in names]
    return "\n".join([told, *_rest(world, rest), *_groups(world), *_flattered(ranked)])


def _ranked(world: World) -> list[tuple[str, str, Number]]:
    """Return all measures of fidelity that real records have too, furthest from these first."""
    mine = world.own.where(label=world.lead, regime="given", family="fidelity", site="", column="")
    asked = {(n["name"], n["task"]) for n in mine if n["name"].partition(".")[0] in _KINDS}
    found = [(*pair, world.pooled(world.lead, "given", *pair)) for pair in sorted(asked)]
    done = [(name, task, n) for name, task, n in found if n is not None and n.ceiling is not None]
    return sorted(done, key=lambda found: -_beyond(found[2]))


def _rest(world: World, rest: Sequence[tuple[str, str, Number]]) -> Iterator[str]:
    """Say in one sentence what is not told one by one."""
    off = [_called(world, *found[:2]) for found in rest if _worse(found[2], _real(world, found[2]))]
    which = f"{len(off) or 'none'} further off than by chance" + (f" ({_some(off)})" if off else "")
    if rest:
        verb = "is" if len(rest) == 1 else "are"
        yield f"Under “Every number” {verb} {plural(len(rest), 'more measure')}, {which}."


def _groups(world: World) -> Iterator[str]:
    """Tell the gap between groups of patients that is furthest from that of real records."""
    mine = world.own.where(label=world.lead, regime="given", family="fairness", site="", level="")
    gaps = [n for n in mine if n["column"] and n["name"] != _OF_A_GROUP and n.done]
    off = [n for n in gaps if _worse(n, _real(world, n))]
    if gaps and not off:
        yield f"Of {len(gaps)} gaps between groups of patients none is further off than by chance."
    if not off:
        return
    furthest = max(off, key=_beyond)
    told = _two_groups(world, furthest) if furthest["name"] == _GAP else ""
    told = told or _one(world, furthest["name"], furthest["task"], furthest)
    more = f" So are {len(off) - 1} more of {len(gaps)} gaps between groups." if off[1:] else ""
    yield f"Groups by {world.say(furthest['column'])}: {told}{more}"


def _two_groups(world: World, gap: Number) -> str:
    """Name the group that is drawn worst, and the one that is drawn best."""
    drawn = world.own.where(label=world.lead, regime="given", name=_OF_A_GROUP, site="", level="")
    by = world.own.where(name=_GAP).values("column")
    mine = [n for n in drawn if n.done and _parted(n["column"], by) == gap["column"]]
    ends = [end(mine, key=lambda n: n.value or 0.0) for end in (max, min)] if mine else []
    real = [_real(world, n) for n in ends]
    if any(n is None for n in real) or not ends:
        return ""
    names = [f"“{n['column'].removeprefix(gap['column'] + '=')}”" for n in ends]
    (worst, best), (usual, other) = (
        [number(n.value) for n in found if n is not None] for found in (ends, real)
    )
    return (
        f"single columns of {names[0]} are {worst} off, of {names[1]} {best} (of real training "
        f"records {usual} and {other}). {_BEYOND_CHANCE}"
    )


def _parted(group: str, columns: Sequence[str]) -> str:
    """Return the column that makes a group: ``sex`` of ``sex=female``."""
    return max((c for c in columns if group.startswith((f"{c}=", f"{c} "))), key=len, default="")


def _real(world: World, found: Number) -> Number | None:
    """Return the same number of the real training records."""
    return world.pooled("copy", "control", found["name"], found["task"], found["column"])


def _applicable(world: World, names: Sequence[str]) -> list[tuple[str, Number]]:
    """Return those measures of the release that could be asked of these tables."""
    asked = [(name, world.pooled(world.lead, "given", name)) for name in names]
    return [(name, n) for name, n in asked if n is not None and n.status != "not applicable"]


def _flattered(found: Sequence[tuple[str, str, Number | None]]) -> list[str]:
    """Say whose scale makes nearly all records look good, and why."""
    names = [
        measure(name)
        for name, _, one in found
        if name.startswith(FLATTERED) and one is not None and one.normalized is not None
    ]
    return [f"The scale from 0 to 1 flatters {joined(names)}: {FLATTERING}"] if names else []


def _beyond(found: Number | None) -> float:
    """Return how much worse than real records a number is, in widths of what chance does.

    Chance is in both: a distance of nearly nothing with a narrow interval, as real records have it,
    would be thousands of its own widths from the next.
    """
    if found is None or found.value is None or found.ceiling is None:
        return -math.inf
    worse = badness(found.value, found["better"]) - badness(found.ceiling, found["better"])
    known = found.low is not None and found.high is not None
    own = ((found.high or 0.0) - (found.low or 0.0)) / 2 if known else 0.0
    width = math.hypot(own, found.noise_floor or 0.0)
    return float(worse / width) if width else float(math.copysign(math.inf, worse) if worse else 0)


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
        if (end := world.pooled(label, regime, name, task, found["column"])) is not None
        and end.done
    }
    ends = [said for label, said in known.items() if label != FLOOR or "uniform" not in known]
    few = f", {some}" if (some := left_out(found)) else ""
    told = f"{what[:1].upper()}{what[1:]}: {interval(found)}{few}{_ends(ends)}."
    parts = (told, place(found), _worse(found, _real(world, found)))
    return " ".join(text for text in parts if text)


def _worse(found: Number, real: Number | None) -> str:
    """Say where a release is worse than real records by more than chance."""
    if real is None or None in (found.low, found.high, real.low, real.high):
        return ""
    mine, theirs = (_badnesses(one) for one in (found, real))
    return _BEYOND_CHANCE if min(mine) > max(theirs) else ""


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


def place(found: Number) -> str:
    """Say where a number lies between its ends, where these can be told apart."""
    if found.normalized is None:
        return ""
    ends = [
        f"{at} ({what if end is None else f'{what}, {number(end)}'})"
        for at, what, end in ((0, floor_of(found), found.floor), (1, "ceiling", found.ceiling))
    ]
    low = "guessing" if floor_of(found) == "guessing" else "the floor"
    beyond = f", worse than {low}" if found.normalized < 0 else ""
    beyond = ", better than the ceiling" if found.normalized > 1 else beyond
    return f"From {' to '.join(ends)} that is {number(found.normalized, 2)}{beyond}."


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
