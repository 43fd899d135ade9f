"""Who is recognised, and how small a leak would have been noticed: the points of pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import pandas as pd

from fedbench.games.exposure import COLUMNS, FEWEST
from fedbench.power import detectable_leak, power_of_leaks
from fedbench.prevalence import Accusation
from fedbench.report.controls import Check, doubted
from fedbench.report.numbers import Number
from fedbench.report.words import joined, number, percent, together
from fedbench.report.world import World
from fedbench.results import RunDir, read_parquet
from fedbench.stats import Interval

__all__ = ["exposed", "groups"]

Json = dict[str, Any]

GUESSED = 0.5

_LEAKS = np.geomspace(0.0005, 1, 80)


def exposed(run: RunDir, world: World, played: Sequence[Check]) -> Json | None:
    """Return what attacks whose controls held say of groups of patients; None where none does."""
    cells = [cell for cell in run.cells() if _is_about(world, cell.facts()["row"])]
    seeds = sorted({cell.facts()["row"]["seed"] for cell in cells})
    found = {
        attack: pd.DataFrame(read_parquet(file), columns=list(COLUMNS))
        for cell in cells
        if cell.facts()["row"]["seed"] == seeds[0]
        for file in sorted(cell.path.glob("exposure-*.parquet"))
        for attack in [file.stem.removeprefix("exposure-")]
        if _believed(world, attack, played)
    }
    found = {attack: table for attack, table in found.items() if len(table)}
    if not found:
        return None
    told = groups(world, found)
    if len(seeds) > 1:
        told["sentences"].append(f"This is told of seed {seeds[0]}, one of {len(seeds)}.")
    return told


def _is_about(world: World, row: Mapping[str, Any]) -> bool:
    """Whether a cell is of the release that the sentences are about."""
    label = row.get("label") or row["generator"]
    asked = (world.dataset, world.scenario, world.lead, world.main)
    return (row["dataset"], row["scenario"], label, row["regime"]) == asked


def groups(world: World, found: Mapping[str, pd.DataFrame]) -> Json:
    """Return what tables of `games.exposure` say, by the attack that surely finds most.

    Args:
        world: says which of its numbers count.
        found: the table of every attack whose controls held; at least one, none empty.
    """
    curves = [{"attack": attack, "points": _points(table)} for attack, table in found.items()]
    drawn: Json = {"curves": curves, "power": list(_power(world))}
    speaking = [attack for attack in found if not _answers(world, attack) or _finds(world, attack)]
    if not speaking:
        return {**drawn, **_nobody(f"{joined([*found])} found nobody, so there is nobody")}
    strongest = max(speaking, key=lambda attack: _surest(world, attack, found[attack]))
    if not _counts(world, strongest, found[strongest]):
        why = (
            f"what {joined(speaking)} found at few false alarms does not count, so there is nobody"
        )
        return {**drawn, **_nobody(why)}
    return {
        **drawn,
        "attack": strongest,
        "alarms": _alarms(found[strongest]),
        "rarity": _groups(found[strongest], "rarity"),
        "sites": _groups(found[strongest], "site"),
        "sentences": [
            *_sentences(world, strongest, found[strongest]),
            *_worth(world, strongest, found[strongest]),
        ],
    }


def _nobody(why: str) -> Json:
    said = f"{why[:1].upper()}{why[1:]} to describe."
    return {"attack": "", "alarms": None, "rarity": [], "sites": [], "sentences": [said]}


def _believed(world: World, attack: str, played: Sequence[Check]) -> bool:
    for play in world.plays:
        if (play.attack, play.said.main) == (attack, "auc"):
            n = world.pooled(world.lead, world.main, play.name)
            return n is not None and n.done and not doubted(play, n, played)
    return False


def _answers(world: World, attack: str) -> bool:
    """Whether an attack says yes or no, and ranks nobody."""
    return any(play.yes for play in world.plays if play.attack == attack)


def _finds(world: World, attack: str) -> bool:
    """Whether one that says yes or no said yes of more training patients than of others."""
    return _area(world, attack) > GUESSED


def _area(world: World, attack: str) -> float:
    n = world.pooled(world.lead, world.main, f"{attack}.auc")
    return 0.0 if n is None or n.value is None else n.value


def _surest(world: World, attack: str, table: pd.DataFrame) -> tuple[bool, float, float]:
    """Order attacks by the lower limit of their leak share, then by AUC.

    Those whose share does not count, as it misses a part of a copy, come last.
    """
    n = _share(world, attack, table)
    if n is None or n.low is None:
        return False, 0.0, _area(world, attack)
    return True, n.low, _area(world, attack)


def _counts(world: World, attack: str, table: pd.DataFrame) -> bool:
    """Whether what an attack finds at these false alarms counts."""
    n = _share(world, attack, table)
    return n is not None and n.done


def _share(world: World, attack: str, table: pd.DataFrame, part: str = "leak") -> Number | None:
    alarms = _alarms(table)
    name = f"{attack}.{part}@{100 * alarms:g}%" if alarms else ""
    return world.pooled(world.lead, world.main, name)


def _alarms(table: pd.DataFrame) -> float | None:
    """Return the share of others who may be accused; None where no such share is asked for."""
    mine = table["at"][table["kind"] != "roc"]
    return None if mine.empty else float(mine.iloc[0])


def _shares(table: pd.DataFrame, kind: str) -> Interval | None:
    mine = table[table["kind"] == kind]
    return None if mine.empty else Interval(*map(float, mine[["value", "low", "high"]].iloc[0]))


def _points(table: pd.DataFrame) -> list[list[float]]:
    mine = table[table["kind"] == "roc"]
    return [[float(x), float(y)] for x, y in zip(mine["at"], mine["value"], strict=True)]


def _power(world: World) -> Iterator[Json]:
    """How likely a leak of verbatim copies is noticed, at every share of false alarms asked for.

    By the attack that ranks patients and notices most, four times out of five as its row says.
    """
    for alarms, alpha in (("10", 0.1), ("1", 0.01), ("0.1", 0.001)):
        name = f"leak@{alarms}%"
        mine = [n for n in world.own if n["name"].endswith(f".{name}") and n.done and not n["site"]]
        ranking = [n for n in mine if not _answers(world, n["name"].partition(".")[0])]
        n = min(ranking, key=lambda n: n.detectable or 1.0, default=None)
        if n is not None and n.n_members is not None and n.n_nonmembers is not None:
            sizes = n.n_members, n.n_nonmembers
            plain = detectable_leak(*sizes, alpha)
            # Clusters, ties and hospitals that are unlike make a leak count for less.
            by = plain / n.detectable if n.detectable and math.isfinite(plain) else 1.0
            chances = power_of_leaks(*sizes, alpha, np.minimum(_LEAKS * by, 1))
            yield {
                "alarms": f"{alarms} %",
                "points": [[float(x), float(y)] for x, y in zip(_LEAKS, chances, strict=True)],
            }


def _groups(table: pd.DataFrame, kind: str) -> list[Json]:
    mine = table[table["kind"] == kind]
    return [
        {
            "group": str(row["group"]),
            "n": int(row["n"]),
            **{name: float(row[name]) for name in ("at", "value", "low", "high")},
        }
        for row in mine.to_dict("records")
    ]


def _sentences(world: World, attack: str, table: pd.DataFrame) -> Iterator[str]:
    """Say who is found, without naming anybody."""
    mine = table[table["kind"] == "found"]
    everybody = table[table["kind"] == "members"]
    hits = round(float((everybody["value"] * everybody["n"]).sum()))
    if 0 < hits < FEWEST:
        yield f"{attack} finds fewer than ten training patients, too few to describe."
    elif mine.empty and hits:
        yield (
            f"Training patients whom {attack} finds are not clearly unlike the others in any one "
            "column, nor by hospital."
        )
    if mine.empty:
        return
    n, alpha = int(mine["n"].iloc[0]), float(mine["at"].iloc[0])
    said = "; ".join(
        f"“{world.say(row['group'])}” {row['text']}" for row in mine.to_dict("records")
    )
    yield (
        f"The {n:,} training patients whom {attack} finds while at most {100 * alpha:g} % of the "
        f"others are accused differ most from all training patients in this: {said}."
    )


def _worth(world: World, attack: str, table: pd.DataFrame) -> Iterator[str]:
    """Say what an accusation is worth where members are half, a tenth, a hundredth of suspects."""
    alarms, fpr, n = _alarms(table), _shares(table, "others"), _share(world, attack, table, "tpr")
    if alarms is None or fpr is None or n is None or None in (n.value, n.low, n.high):
        return
    tpr = Interval(n.value or 0.0, n.low or 0.0, n.high or 0.0)
    at = f"{100 * alarms:g} %"
    if not tpr.value and not fpr.value:
        yield f"Where at most {at} of the others may be accused, {attack} accuses nobody."
        return
    found = Accusation(tpr, fpr)
    shares = [(_OFTEN[p], found.precision(p), found.f1(p), p) for p in _OFTEN]
    right = ", ".join(
        f"{percent(ppv.value)} ({percent(ppv.low)} to {percent(ppv.high)}) where {often} of the "
        "suspects was trained on"
        for often, ppv, _, _ in shares
    )
    f1 = joined([f"{number(f.value)} ({number(found.naive_f1(p))})" for _, _, f, p in shares])
    caught, wrong = (together(*astuple(each), share=True) for each in (tpr, fpr))
    yield (
        f"Whoever accuses as {attack} does where at most {at} of the others may be accused finds "
        f"{caught[0]} ({caught[1]} to {caught[2]}) of the training patients, by luck or not, "
        f"accuses {wrong[0]} ({wrong[1]} to {wrong[2]}) of the others, and is right in {right}. "
        f"F1 is then {f1}; in brackets what accusing everybody reaches."
    )


_OFTEN = {0.5: "every second", 0.1: "one in ten", 0.01: "one in a hundred"}
