"""Does the training tell at which hospital a patient was?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedbench import stats
from fedbench.attack import Attack, Guess, PublicChallenge, Sight
from fedbench.data import Cohort, Schema
from fedbench.games.advantage import Stratum, advantage, unheard
from fedbench.games.dealing import Challenge, Lineup
from fedbench.games.scoring import FEW, Scored, Site, check_guess, counts_of, sites_of
from fedbench.metric import Measure, Refusal
from fedbench.seeds import Rng, Seeds

__all__ = ["play_source", "source_challenges"]

Bools = NDArray[np.bool_]


def source_challenges(
    schema: Schema, members: Mapping[str, Cohort], nonmembers: Mapping[str, Cohort], rng: Rng
) -> list[Challenge]:
    """Ask at which hospital each patient was, who is not said; nothing, where there is only one."""
    whole = Lineup.of(schema, members, nonmembers).ask(rng)
    names = tuple(np.unique(whole.sites.astype(str)).tolist())
    if len(names) < 2:
        return []
    hidden = np.full(len(whole.truth), "", dtype=object)
    public = PublicChallenge("source", whole.public.targets, hidden, choices=names)
    return [replace(whole, public=public, homes=whole.sites)]


def play_source(
    attack: Attack, sight: Sight, challenge: Challenge, seeds: Seeds
) -> tuple[Guess, list[Scored]]:
    """Let an attack say where each patient was, and score how often it is right.

    Hospitals may differ so much that anybody can tell their patients apart. So what counts is how
    much more often it is right about patients who were trained on than about others of the same
    hospital, of whom nothing was sent.

    Args:
        attack: plays the source game.
        sight: see ``show``.
        challenge: see ``source_challenges``.
        seeds: as in ``play_membership``.

    Returns:
        The guess and its rows. ``advantage``: as said. Beside it, as means over hospitals,
        ``accuracy`` (members) and ``control`` (others), and ``base``, one in so many hospitals.

    Raises:
        ContractError: the guess is not one finite score per target and hospital.
    """
    guess = attack.guess(sight, challenge.public, seeds.child("guess").rng())
    names = challenge.public.choices
    check_guess(attack, guess, (len(challenge.truth), len(names)))
    at_home = replace(challenge, public=replace(challenge.public, sites=challenge.homes))
    sites = sites_of(at_home, seeds.child("bootstrap"))
    counts = counts_of(sites, challenge)
    if any(min(site.n) < FEW for site in sites):
        reason = f"A hospital has fewer than {FEW} members or others to ask about."
        return guess, [Scored("", Refusal(reason=reason, part="advantage", facts=counts))]
    hits = np.array(names)[guess.scores.argmax(axis=1)] == challenge.homes.astype(str)
    row = advantage([Stratum(hits[s.rows], s.truth, s.weights, s.loose) for s in sites], counts)
    chance = 1 / len(names)
    beside = [
        _mean(hits, sites, "accuracy", members=True),
        _mean(hits, sites, "control", members=False),
        Measure(value=chance, low=chance, high=chance, n=len(names), part="base"),
    ]
    row = replace(row, facts={**row.facts, "verdict": _words(row, beside)})
    return guess, [Scored("", each) for each in (row, *beside)]


def _mean(hits: Bools, sites: Sequence[Site], part: str, *, members: bool) -> Measure:
    """Return the mean over hospitals, with exact limits combined by MOVER."""
    mine = [hits[site.rows][site.truth == members] for site in sites]
    each = [stats.clopper_pearson(int(hit.sum()), hit.size) for hit in mine]
    value = float(np.mean([one.value for one in each]))
    down = float(np.linalg.norm([one.value - one.low for one in each])) / len(each)
    up = float(np.linalg.norm([one.high - one.value for one in each])) / len(each)
    n = sum(hit.size for hit in mine)
    return Measure(
        value=value,
        low=max(value - down, 0.0),
        high=min(value + up, 1.0),
        n=n,
        part=part,
        least=0.0,
        most=1.0,
    )


def _words(found: Measure, beside: Sequence[Measure]) -> str:
    members, others, chance = (row.value for row in beside)
    if found.low > 0:
        words = (
            f"having been trained on gives away at which hospital: right {100 * found.value:.1f} "
            f"points more often ({100 * found.low:.1f} to {100 * found.high:.1f})"
        )
    else:
        words = unheard(found.facts["detectable"])
    return (
        f"{words}; right on {members:.0%} of members and {others:.0%} of others, by chance on "
        f"{chance:.0%}"
    )
