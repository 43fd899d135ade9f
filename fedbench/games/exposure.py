"""Who is recognised: at how few false alarms, how unusual a patient, at which hospital."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from fedbench import stats
from fedbench.attack import Guess, plain_columns
from fedbench.data import Feature, Schema
from fedbench.games.dealing import Challenge
from fedbench.games.scoring import Accusing, B, Ranked, accused, sites_of
from fedbench.seeds import Seeds

__all__ = ["COLUMNS", "FEWEST", "exposure", "rarity"]

COLUMNS = ("kind", "group", "at", "value", "low", "high", "n", "others", "text")
"""Of the table that `exposure` makes."""

FEWEST = 10
"""Patients behind any statement about them."""

_HOSPITAL = "hospital"
"""What it is called in which members who are found may differ, beside the columns."""

_POINTS = 60  # of a curve
_PARTS = 10  # of members by how rare their values are
_ALPHAS = (0.01, 0.1)  # shares of others accused, the first for which they are enough
_LEAST = 1e-9
_BLOCKS = 8  # of replicates that are in memory together
_LEVEL = 0.05  # of chance, over everything in which those who are found are compared
_MORE = 0.1  # how much more often, at least, is worth saying; or twice as often

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Strings = NDArray[np.str_]
Row = dict[str, Any]


def exposure(
    schema: Schema, challenge: Challenge, guess: Guess, *, yes: bool = False
) -> pd.DataFrame:
    """Return what an attack's answers say of groups of patients; nobody can be read off it.

    Rows of the kind ``roc``: the share of members found (``value``) at the share of others accused
    (``at``), compared within hospitals. ``rarity`` and ``site``: the share of members of a group
    found beyond luck, where as many others may be accused over all as ``at`` says, by the rule of
    ``stats.tpr_at_fpr``, or, of an attack that answers ``yes`` or no, because they get a yes;
    nothing where the leak share is refused. ``members`` and ``others``: which share of
    either (``n``) is accused then, with exact limits; that of others as if they were spread over
    hospitals like members. ``found``: what sets members who are found apart from the others, in
    words, never of fewer than ten.
    """
    sites = [s for s in sites_of(challenge, Seeds(0)) if min(s.n) > 1]
    if not sites:
        return pd.DataFrame(columns=list(COLUMNS))
    ranked = [Ranked(site, guess.scores[site.rows]) for site in sites]
    curve = list(_roc(ranked))
    if not (few := _few(ranked, yes=yes)):
        return pd.DataFrame(curve, columns=list(COLUMNS))
    table = challenge.public.targets.iloc[few.rows]
    part = _tenths(rarity(schema, table), few.truth, few.rows)
    found = [
        *curve,
        *_accused(few),
        *_by("rarity", [f"{i + 1}" for i in part], few),
        *_by_site(ranked, yes=yes),
        *_set_apart(schema, table[few.truth], few),
    ]
    return pd.DataFrame(found, columns=list(COLUMNS))


@dataclass(frozen=True)
class _Few:
    """Who is accused at few false alarms, by the rule of the leak share at as many."""

    alpha: float
    sites: Sequence[Accusing]

    @cached_property
    def rows(self) -> Ints:
        """Where they are in the challenge."""
        return np.concatenate([one.ranked.site.rows for one in self.sites])

    @cached_property
    def truth(self) -> Bools:
        """Who is a member."""
        return np.concatenate([one.ranked.site.truth for one in self.sites])

    @cached_property
    def who(self) -> Bools:
        """Whether each is accused."""
        return np.concatenate([one.who for one in self.sites])

    @cached_property
    def homes(self) -> Strings:
        """At which site."""
        return np.repeat(
            [one.ranked.site.name for one in self.sites],
            [len(one.ranked.site.rows) for one in self.sites],
        )

    def rates(self, group: Strings, names: Sequence[str]) -> tuple[Floats, Floats]:
        """Return which share of members and of others of each group replicates accuse, (B, G)."""
        mine = group[:, None] == np.array(names)
        inside = np.hstack([mine & self.truth[:, None], mine & ~self.truth[:, None]])
        ends = np.cumsum([0, *(len(one.ranked.site.rows) for one in self.sites)])
        hits, everybody = np.zeros((2, B, inside.shape[1]))
        for one, start, end in zip(self.sites, ends, ends[1:], strict=False):
            there = inside[start:end].astype(np.float32)
            for rows in np.array_split(np.arange(B), _BLOCKS):
                weights = one.ranked.site.weights[rows].astype(np.float32)
                everybody[rows] += weights @ there
                hits[rows] += (weights * one.again[rows]) @ there
        found = np.full(hits.shape, np.nan)
        np.divide(hits, everybody, out=found, where=everybody > 0)
        return found[:, : len(names)], found[:, len(names) :]


def _few(
    ranked: Sequence[Ranked], alphas: Sequence[float] = _ALPHAS, *, yes: bool = False
) -> _Few | None:
    """Accuse one in a hundred of the others, or one in ten; nobody where they are too few."""
    for alpha in alphas:
        with contextlib.suppress(stats.TooFew):
            return _Few(alpha, accused(ranked, alpha, yes=yes))
    return None


def _by_site(ranked: Sequence[Ranked], *, yes: bool = False) -> Iterator[Row]:
    """Return the share found at each site, at false alarms for which its others are enough.

    All at the fewest for which they are enough at every site that is large enough to be told of.
    """
    large = [each for each in ranked if min(each.site.n) >= FEWEST]
    for alpha in _ALPHAS:
        enough = [each for each in large if each.site.n[1] >= stats.needed(alpha)]
        if (enough == large or alpha == _ALPHAS[-1]) and (few := _few(ranked, [alpha], yes=yes)):
            names = {each.site.name for each in enough}
            told = _Few(alpha, [one for one in few.sites if one.ranked.site.name in names])
            if told.sites:
                yield from _by("site", told.homes.tolist(), told)
            return


def _roc(ranked: Sequence[Ranked]) -> Iterator[Row]:
    """Return how many members are found while so many others are accused, whom ties let be."""
    ones, zeros = (np.sort(np.concatenate(side)) for side in zip(*map(_costs, ranked), strict=True))
    limits = np.unique(np.r_[0, zeros])
    fpr, tpr = (np.searchsorted(side, limits, "right") / len(side) for side in (zeros, ones))
    grid = np.r_[0, np.geomspace(1 / len(zeros), 1, _POINTS)]
    last = np.searchsorted(fpr, np.array(_ALPHAS) + _LEAST, "right") - 1
    for at in np.unique(np.r_[np.minimum(np.searchsorted(fpr, grid), len(fpr) - 1), last]):
        yield _row("roc", "", float(fpr[at]), float(tpr[at]), n=len(ones), others=len(zeros))


def _costs(ranked: Ranked) -> tuple[Floats, Floats]:
    """Return which share of a site's others is accused where each member is, and each other.

    By the rule of the leak share a member must reach the last other who may be accused: the next
    one, unless that one is tied with too many to be accused at all.
    """
    ones, zeros = ranked.placed
    place = np.sort(zeros)
    ends = np.r_[np.searchsorted(place, place, "right"), len(place)]
    before, upto = (np.searchsorted(place, ones, side) for side in ("left", "right"))
    alone = (before == upto) & (ends[upto] == upto + 1)
    return (upto + alone) / len(place), ends[np.searchsorted(place, zeros)] / len(place)


def _accused(few: _Few) -> Iterator[Row]:
    """Return how many members and others are accused, the others at the members' mix of sites.

    Limits of the others are exact ones of every site, combined by MOVER (Zou and Donner 2008,
    https://doi.org/10.1002/sim.3095): they are as unsure as those few are who live where most
    members do.
    """
    who, truth, homes = few.who, few.truth, few.homes
    found = stats.clopper_pearson(int(who[truth].sum()), int(truth.sum()))
    yield _row("members", "", few.alpha, found.value, found.low, found.high, n=int(truth.sum()))
    names, members = np.unique(homes[truth], return_counts=True)
    weight, there = members / members.sum(), [~truth & (homes == name) for name in names]
    sides = [stats.clopper_pearson(int(who[mine].sum()), int(mine.sum())) for mine in there]
    value, low, high = np.array([(each.value, each.low, each.high) for each in sides]).T
    mean = float(weight @ value)
    down, up = (float(np.linalg.norm(weight * arm)) for arm in (value - low, high - value))
    limits = max(mean - down, 0.0), min(mean + up, 1.0)
    yield _row("others", "", few.alpha, mean, *limits, n=int((~truth).sum()))


def _by(kind: str, groups: Sequence[str], few: _Few) -> Iterator[Row]:
    """Return the share of each group's members found beyond luck, where ten of each are there.

    Limits are those of replicates that find the threshold anew, and never closer than Newcombe's
    for shares of whom a fixed threshold accuses.
    """
    group, names = np.array(groups), sorted(set(groups), key=lambda g: (len(g), g))
    tpr, fpr = few.rates(group, names)
    leaks = (tpr - fpr) / np.maximum(1 - fpr, _LEAST)
    for name, draws in zip(names, leaks.T, strict=True):
        here = group == name
        members, others = few.who[here & few.truth], few.who[here & ~few.truth]
        if min(len(members), len(others)) < FEWEST:
            continue
        rest = max(1 - float(others.mean()), _LEAST)
        gap = stats.newcombe(int(members.sum()), len(members), int(others.sum()), len(others))
        again = stats.percentile(gap.value / rest, draws)
        ends = gap.value / rest, min(gap.low / rest, again.low), max(gap.high / rest, again.high)
        value, low, high = (float(np.clip(each, -1, 1)) for each in ends)
        sizes = {"n": len(members), "others": len(others)}
        yield _row(kind, name, few.alpha, value, low, high, **sizes)


def rarity(schema: Schema, table: pd.DataFrame) -> Floats:
    """Return how rare each patient's values are among these patients.

    It is one over the share of patients whose value is at least as unusual, added up over the
    columns: the most unusual value counts most, as in the harmonic mean of p-values (Wilson 2019,
    https://doi.org/10.1073/pnas.1814092116).

    Args:
        schema: names the columns.
        table: patients.
    """
    known = [feature for feature in schema.features if feature.name in table]
    found = np.zeros(len(table))
    for feature, values in zip(known, plain_columns(table, known).T, strict=True):
        found += 1 / _at_least_as_unusual(feature, values)
    return found


def _at_least_as_unusual(feature: Feature, values: Floats) -> Floats:
    """Return the share of patients whose level is as common at most, or a number as far out.

    Numbers go by their distance from the median. Those who have none are alike, and less usual
    than nobody who has one.
    """
    there = np.isfinite(values)
    if feature.column.kind == "category":
        _, level, count = np.unique(values, return_inverse=True, return_counts=True)
        unusual = -count[level].astype(np.float64)
    else:
        middle = np.median(values[there]) if there.any() else 0.0
        unusual = np.where(there, np.abs(values - middle), -1.0)
    ranked = np.sort(unusual)
    share = (len(values) - np.searchsorted(ranked, unusual, "left")) / len(values)
    return share if feature.column.kind == "category" else np.where(there, share, (~there).mean())


def _tenths(rare: Floats, truth: Bools, order: Ints) -> Ints:
    """Return the tenth of members, from 0, that each patient is in or would be in.

    Patients who are equally rare are in the order of the challenge, which is drawn.
    """
    ranked = np.lexsort((order, rare))
    before = np.empty(len(rare), dtype=np.int64)
    before[ranked] = np.cumsum(truth[ranked]) - truth[ranked]
    return np.asarray(np.minimum(before * _PARTS // truth.sum(), _PARTS - 1), dtype=np.int64)


def _set_apart(schema: Schema, members: pd.DataFrame, few: _Few) -> Iterator[Row]:
    """Say in what members who are found differ most from all members: columns, or hospital."""
    accused = few.who[few.truth]
    n = int(accused.sum())
    if n < FEWEST or n == len(accused):
        return
    known = [feature for feature in schema.features if feature.name in members]
    names, place = np.unique(few.homes[few.truth], return_inverse=True)
    said = [*_levels_apart(_HOSPITAL, names.tolist(), place.astype(np.float64), accused)]
    for feature, values in zip(known, plain_columns(members, known).T, strict=True):
        if feature.column.kind == "category":
            said += _levels_apart(feature.name, feature.column.levels, values, accused)
        else:
            said += _ranks_apart(feature, values, accused)
    sure = stats.holm([2 * special.ndtr(-abs(each.clear)) for each in said]) < _LEVEL
    shown = [each for each, so in zip(said, sure, strict=True) if so and each.large]
    for each in sorted(shown, key=lambda each: -abs(each.clear))[:3]:
        yield _row(
            "found", each.column, few.alpha, each.clear, n=n, others=len(accused), text=each.text
        )


@dataclass(frozen=True)
class _Apart:
    """How members who are found differ in one thing: ``clear`` is in standard errors."""

    clear: float
    column: str
    text: str
    large: bool


def _levels_apart(
    name: str, levels: Sequence[str], values: Floats, accused: Bools
) -> Iterator[_Apart]:
    n, found = len(accused), accused.sum()
    for at, level in [*enumerate(levels), (np.nan, "")]:
        mine = values == at if level else np.isnan(values)
        count, share, usual = mine[accused].sum(), float(mine[accused].mean()), float(mine.mean())
        if mine.sum() < FEWEST or usual == 1:
            continue
        what = f"is {level!r}" if level else "is missing"
        spread = np.sqrt(usual * (1 - usual) / found * (n - found) / (n - 1))
        yield _Apart(
            float((share - usual) / spread),
            name,
            f"{what} in {_percent(share)} of them, {_percent(usual)} of all",
            bool(count >= FEWEST and share >= min(usual + _MORE, 2 * usual)),
        )


def _ranks_apart(feature: Feature, values: Floats, accused: Bools) -> Iterator[_Apart]:
    there = np.isfinite(values)
    n1, n0 = int((accused & there).sum()), int((~accused & there).sum())
    if n1 < FEWEST or not n0:
        return
    middle = float(stats.auc(values[there], accused[there]))
    way, often = "higher" if middle > 0.5 else "lower", max(middle, 1 - middle)
    yield _Apart(
        (middle - 0.5) / np.sqrt((n1 + n0 + 1) / (12 * n1 * n0)),
        feature.name,
        f"is {way} than another training patient's in {_percent(often)} of pairs",
        often >= 0.5 + _MORE,
    )


def _row(kind: str, group: str, at: float, value: float, *limits: float, **more: Any) -> Row:
    low, high = limits or (np.nan, np.nan)
    plain = {"kind": kind, "group": group, "at": at, "value": value, "low": low, "high": high}
    return {**plain, "n": 0, "others": 0, "text": "", **more}


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
