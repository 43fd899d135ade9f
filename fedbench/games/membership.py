"""Was this patient trained on?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbench import stats
from fedbench.attack import Attack, Guess, Knowledge, Sight
from fedbench.games.advantage import ALONE, Stratum, advantage, stretch_of
from fedbench.games.blind import distrust
from fedbench.games.dealing import Challenge
from fedbench.games.scoring import (
    FEW,
    B,
    Ranked,
    Scored,
    accused,
    auc_of,
    below_one,
    check_guess,
    counts_of,
    sites_of,
    softened,
    stretch,
    stretched,
)
from fedbench.metric import Measure, Refusal
from fedbench.nouns import plural
from fedbench.power import detectable_leak, detectable_yes
from fedbench.seeds import Rng, Seeds
from fedbench.stats import Interval

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

__all__ = ["ALPHAS", "WORST", "play_membership"]

ALPHAS = (0.1, 0.01, 0.001)
"""False positive rates at which members are counted."""

WORST = "worst"
"""What stands for the site that fares worst, where a site's name would."""

_USELESS_AUC, _USELESS_LEAK = 0.65, 0.2
"""Where less than this would have gone unnoticed, an attack that found nothing said nothing."""


def play_membership(
    attack: Attack,
    sight: Sight,
    challenge: Challenge,
    seeds: Seeds,
    blind: Measure | Refusal | None = None,
) -> tuple[Guess, list[Scored]]:
    """Let an attack guess who was a member, and score it.

    Args:
        attack: plays the membership game.
        sight: see ``show``.
        challenge: see ``membership_challenge``.
        seeds: the attack draws from ``guess``, intervals from ``bootstrap``; give every cell of
            a dataset and seed the same ones, so that replicates can be subtracted.
        blind: see ``blind_baseline``; if it tells members from others, every row is refused.

    Returns:
        The guess and its rows: ``auc`` for everybody, each site and the worst one; ``tpr@…``
        and ``leak@…`` for everybody. Sites with fewer than two of a class are left out of
        all. Where there are no members or no others, perhaps because all were twins, the attack
        is not asked and every row is refused.

    Raises:
        ContractError: the guess is not one finite score per target.
    """
    if reason := _one_sided(challenge):
        return Guess(np.zeros(len(challenge.truth))), _silent(reason, challenge)
    guess = attack.guess(sight, challenge.public, seeds.child("guess").rng())
    check_guess(attack, guess, (len(challenge.truth),))
    reason = distrust(blind) if blind else ""
    if reason:
        return guess, _silent(reason, challenge)
    bootstrap = seeds.child("bootstrap")
    ranked = [Ranked(site, guess.scores[site.rows]) for site in sites_of(challenge, bootstrap)]
    usable = [each for each in ranked if min(each.site.n) > 1]
    counts = counts_of([each.site for each in usable], challenge)
    area = _area_of_yes if attack.yes else auc_of
    lacking = _too_few_left(challenge, len(ranked))
    facts = {**counts, "by": guess.by}
    rows = [
        Scored("", _everybody(usable, facts, area) if usable else replace(lacking, facts=counts))
    ]
    alone = [Scored(each.site.name, _alone(each, area)) for each in ranked]
    rows += [*alone, Scored(WORST, _worst(alone))]
    for alpha in ALPHAS:
        rng = bootstrap.child("tpr", alpha).rng()
        find = _of_yes(rows[0].measure) if attack.yes else _of_scores(rng)
        rows += [Scored("", row) for row in _low_fpr(usable, alpha, facts, find)]
    room = _room(attack, sight, challenge)
    spared = _spared(usable) if attack.yes else {}
    return guess, [
        replace(row, measure=_within(row.measure, room, spared.get(row.site, 1.0))) for row in rows
    ]


def _spared(ranked: Sequence[Ranked]) -> dict[str, float]:
    """Return the share of others who get no yes, of everybody and of each site.

    Copies among so many training patients alone get a yes that they would not have got anyhow.
    """
    wrong = {each.site.name: float(each.answers[1].mean()) for each in ranked}
    members = [each.site.n[0] for each in ranked]
    everybody = {"": float(np.average([*wrong.values()], weights=members))} if ranked else {}
    return {site: 1 - share for site, share in {**wrong, **everybody}.items()}


def _room(attack: Attack, sight: Sight, challenge: Challenge) -> float:
    """Return how many different patients a release has, where it is all that is attacked."""
    crossed = {Knowledge.UPDATES, Knowledge.AGGREGATE, Knowledge.PEER}
    if Knowledge.SYNTHETIC not in attack.knows or crossed & attack.knows:
        return math.inf
    return sight.shared(
        "different records of the release",
        challenge.public,
        {Knowledge.SYNTHETIC},
        lambda seen: float(len(np.unique(seen.synthetic.whole_looks))),
    )


def _within(row: Measure | Refusal, room: float, spared: float) -> Measure | Refusal:
    """Say of a row that it says nothing, where the release has no room for what it would notice.

    What is noticed is a share of the training patients whose records were copied, and that takes
    as many different records. A release of one record, or of one again and again, can give away
    one patient only. Copies that would get a yes anyhow add nothing to an AUC, so that it takes
    one over ``spared``, the share of others who get none, as many.
    """
    share = math.nan if isinstance(row, Refusal) else row.facts.get("detectable", math.nan)
    if isinstance(row, Refusal) or math.isnan(share):
        return row
    share = 2 * (share - 0.5) / spared if row.part == "auc" else share
    copied = math.ceil(share * row.facts["n_members"])
    if copied <= room:
        return row
    words = (
        f"nothing can be said: a leak is noticed from {copied:,} copied training records on, and "
        f"the release has {room:,.0f} different record{'s' * (room > 1)}"
    )
    return replace(row, facts={**row.facts, "detectable": math.nan, "verdict": words})


def _silent(reason: str, challenge: Challenge) -> list[Scored]:
    """Refuse every row."""
    facts = {"twins_removed": challenge.twins_removed}
    parts = ["auc", *(f"{part}@{_percent(a)}" for a in ALPHAS for part in ("tpr", "leak"))]
    return [Scored("", Refusal(reason=reason, part=part, facts=facts)) for part in parts]


def _one_sided(challenge: Challenge) -> str:
    """Say which of members and others are not there to be told apart."""
    lacking = [
        words
        for words, there in (
            ("training record", challenge.truth.any()),
            ("other patient", (~challenge.truth).any()),
        )
        if not there
    ]
    if not lacking:
        return ""
    who, twins = " and no ".join(lacking), challenge.twins_removed
    if not twins:
        return f"There is no {who} to tell apart."
    return (
        f"No {who} is left to tell apart: training records and other patients look exactly alike, "
        f"and all {twins} such twins were left out, because no attack could tell them apart."
    )


def _too_few_left(challenge: Challenge, sites: int) -> Refusal:
    """Say who is left to tell apart where no hospital has two of each, and what helps."""
    members, twins = int(challenge.truth.sum()), challenge.twins_removed
    others = plural(len(challenge.truth) - members, "other patient")
    reason = (
        f"{plural(members, 'training record')} and {others} are {'left' if twins else 'there'} to "
        f"tell apart, and it takes two of each{' at one hospital' if sites > 1 else ''}"
    )
    if twins:
        reason += (
            f": {plural(twins, 'patient was', 'patients were')} left out who look exactly like "
            "another, because no attack could tell them apart. Give more columns, or numbers that "
            "are less rounded"
        )
    return Refusal(reason=f"{reason}.", part="auc")


def _percent(alpha: float) -> str:
    return f"{100 * alpha:g}%"


def _area_of_yes(ranked: Sequence[Ranked]) -> Measure:
    """Return the AUC of an attack that answers yes or no, from shares of those it says yes of.

    It is one half more than half the difference of shares, of which the limits are known better:
    ties of all to whom it says the same are no luck. Sites count by their members.
    """
    strata = [
        Stratum(each.scores > 0, each.site.truth, each.site.weights, each.site.loose)
        for each in ranked
    ]
    members = np.array([each.site.n[0] for each in ranked], dtype=np.float64)
    by = stretch_of(strata, members)
    found = advantage(strata, {}, members, by)
    value, low, high = (0.5 + end / 2 for end in (found.value, found.low, found.high))
    assert found.replicates is not None  # noqa: S101  (an advantage has them)
    draws = 0.5 + found.replicates / 2
    facts = {**found.facts, "detectable": below_one(0.5 + by * _seen(ranked) / 2)}
    return replace(
        found, value=value, low=low, high=high, part="auc", replicates=draws, least=0.0, facts=facts
    )


def _seen(ranked: Sequence[Ranked]) -> float:
    """Return the difference of shares whose interval lies above 0 four times out of five."""
    wrong = [int(each.answers[1].sum()) for each in ranked]
    n1, n0 = zip(*(each.site.n for each in ranked), strict=True)
    rng = ranked[0].site.seeds.child("seen", *(each.site.name for each in ranked)).rng()
    return detectable_yes(n1, n0, wrong, rng)


def _everybody(
    ranked: Sequence[Ranked], counts: Mapping[str, Any], area: Callable[[Sequence[Ranked]], Measure]
) -> Measure:
    row = area(ranked)
    n1, n0 = (sum(each.site.n[side] for each in ranked) for side in (0, 1))
    few = f"{_sides(n1, n0)}; a row of its own needs {FEW} of each."
    return replace(
        row,
        facts={**counts, **row.facts, "verdict": _auc_words(row)},
        weak=few if min(n1, n0) < FEW else "",
    )


def _sides(members: int, others: int) -> str:
    return f"{plural(members, 'member')} and {plural(others, 'other')}"


def _alone(ranked: Ranked, area: Callable[[Sequence[Ranked]], Measure]) -> Measure | Refusal:
    n1, n0 = ranked.site.n
    if min(n1, n0) < 2:
        reason = f"{_sides(n1, n0)}: left out, two of each are needed."
        return Refusal(reason=reason, part="auc")
    return _everybody([ranked], {"n_members": n1, "n_nonmembers": n0}, area)


def _auc_words(found: Measure) -> str:
    detectable = found.facts["detectable"]
    if found.low > 0.5:
        return (
            f"patients who were trained on are recognised: AUC {found.value:.3f} "
            f"({found.low:.3f} to {found.high:.3f})"
        )
    if found.high < 0.5:
        return "the wrong way round: patients who were trained on score lower than others"
    if math.isnan(detectable):
        return "nothing can be said: no AUC below 1 would have been noticed"
    if detectable > _USELESS_AUC:
        return f"nothing can be said: only an AUC above {detectable:.2f} would have been noticed"
    return f"not detectable; an AUC of {detectable:.3f} would have been, {ALONE}"


def _worst(alone: Sequence[Scored]) -> Measure | Refusal:
    """The site whose members are easiest to recognise, among those with rows of their own."""
    sites = {each.site: each.measure for each in alone}
    rows = {site: row for site, row in sites.items() if isinstance(row, Measure) and not row.weak}
    if not rows:
        return Refusal(reason=f"No site has {FEW} members and {FEW} others.", part="auc")
    name = max(rows, key=lambda site: rows[site].value)
    draws = np.array([row.replicates for row in rows.values()])
    found = stats.worst(draws, [row.value for row in rows.values()], "lower")
    # At AUC 0 or 1 a bootstrap does not move; the site's own exact limits do not forget that.
    return Measure(
        value=found.value,
        low=float(np.fmin(found.low, rows[name].low)),
        high=float(np.fmax(found.high, rows[name].high)),
        n=rows[name].n,
        part="auc",
        replicates=stats.recentre(found.value, draws.max(axis=0)),
        least=0.0,
        most=1.0,
        facts={"verdict": f"the worst of {len(rows)} sites is {name}"},
    )


def _low_fpr(
    ranked: Sequence[Ranked],
    alpha: float,
    counts: Mapping[str, Any],
    find: Callable[[Sequence[Ranked], float], _Shares],
) -> list[Measure | Refusal]:
    names = [f"{part}@{_percent(alpha)}" for part in ("tpr", "leak")]
    try:
        shares = find(ranked, alpha)
    except stats.TooFew as error:
        twins = counts["twins_removed"]
        left = plural(twins, "exact twin was", "exact twins were")
        reason = f"{error} {left} left out." if twins else str(error)
        return [Refusal(reason=reason, part=name, facts=counts) for name in names]
    n1, n0 = shares.n
    facts = {**counts, "n_members": n1, "n_nonmembers": n0, "detectable": shares.detectable}
    return [
        Measure(
            value=i.value,
            low=i.low,
            high=i.high,
            n=n1 + n0,
            part=name,
            least=least,
            most=1.0,
            facts={**facts, **more},
        )
        for name, i, least, more in zip(
            names, (shares.tpr, shares.leak), (0.0, -1.0), ({}, shares.tested), strict=True
        )
    ]


@dataclass(frozen=True)
class _Shares:
    """Who is found at few false alarms, with limits; ``tested`` is said of the leak alone.

    Both are one test, which a family counts once. ``n`` is how many members and others there are.
    """

    n: tuple[int, int]
    tpr: Interval
    leak: Interval
    detectable: float
    tested: Mapping[str, Any]


def _of_scores(rng: Rng) -> Callable[[Sequence[Ranked], float], _Shares]:
    """Seek the threshold, and draw how much it moves."""

    def find(ranked: Sequence[Ranked], alpha: float) -> _Shares:
        found = stats.tpr_at_fpr([each.placed for each in ranked], alpha, rng, B)
        accused = [stats.placements(*each.labelled) < alpha for each in ranked]
        by = _cluster_stretch(ranked, accused)
        leak = stretched(found.leak, by, -1, 1)
        n1, n0 = found.n_members, found.n_nonmembers
        least = detectable_leak(n1, n0, alpha, worth=found.worth, fpr=found.steady)
        detectable = below_one(by * least)
        words = _leak_words(leak, detectable, alpha)
        tested = {"p_value": softened(found.p_value, by), "verdict": words}
        return _Shares((n1, n0), stretched(found.tpr, by, 0, 1), leak, detectable, tested)

    return find


def _of_yes(area: Measure | Refusal) -> Callable[[Sequence[Ranked], float], _Shares]:
    """Give the leak the limits and the test of the AUC: it is the same difference of shares.

    Whom such an attack accuses hangs on no threshold, so that the limits of its TPR are exact.
    """

    def find(ranked: Sequence[Ranked], alpha: float) -> _Shares:
        sure = accused(ranked, alpha, yes=True)
        assert isinstance(area, Measure)  # noqa: S101  (there are enough of both)
        rest = 1 - stats.share_accused([one.found for one in sure])
        ends = ((2 * end - 1) / rest for end in (area.value, area.low, area.high))
        leak = Interval(*(min(max(end, -1.0), 1.0) for end in ends))
        n1, n0 = (sum(one.ranked.site.n[side] for one in sure) for side in (0, 1))
        hits = sum(int(one.found.members.sum()) for one in sure)
        by = _cluster_stretch(ranked, [one.who for one in sure])
        tpr = stretched(stats.clopper_pearson(hits, n1), by, 0, 1)
        detectable = below_one((2 * area.facts["detectable"] - 1) / rest)
        return _Shares((n1, n0), tpr, leak, detectable, {})

    return find


def _cluster_stretch(ranked: Sequence[Ranked], accused: Sequence[Bools]) -> float:
    """How much clusters add to the spread of TPR, from accusations at a fixed threshold.

    That the threshold is estimated shifts TPR by the error of FPR, to first order where members
    and others are alike; so the spread of TPR - FPR stands for that of TPR. On nafld's matched
    sets (4 sites, 292 deals, an independent release) limits at 10 % cover 94 %, and 89 % without.
    """
    if not any(each.site.clustered for each in ranked):
        return 1.0
    whole, loose = (
        _excess(accused, [each.site.truth for each in ranked], weights)
        for weights in (
            [each.site.weights for each in ranked],
            [each.site.loose for each in ranked],
        )
    )
    return stretch(whole, loose)


def _excess(
    accused: Sequence[Bools], truth: Sequence[Bools], weights: Sequence[NDArray[np.uint8]]
) -> Floats:
    """Replicates of TPR - FPR."""
    hit, member = np.concatenate(accused), np.concatenate(truth)
    drawn = np.hstack(weights).astype(np.float32)
    rates = [drawn[:, hit & c].sum(axis=1) / drawn[:, c].sum(axis=1) for c in (member, ~member)]
    return np.asarray(rates[0] - rates[1], dtype=np.float64)


def _leak_words(leak: Interval, detectable: float, alpha: float) -> str:
    if leak.low > 0:
        return (
            f"patients who were trained on are recognised: {leak.value:.1%} of records are given "
            f"away ({leak.low:.1%} to {leak.high:.1%}) while {_percent(alpha)} of others are "
            "accused"
        )
    if math.isnan(detectable) or detectable > _USELESS_LEAK:
        seen = "no leak" if math.isnan(detectable) else f"only a leak above {detectable:.0%}"
        return f"nothing can be said: {seen} would have been noticed"
    return (
        f"not detectable, at most {max(leak.high, 0):.1%} of records; a leak of {detectable:.1%} "
        "would have been, four times out of five"
    )
