"""Was this canary trained on? What the scores of all of them say about epsilon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from fedbench.attack import Attack, Guess, Sight
from fedbench.games.canaries import Audit, Claim, audit
from fedbench.games.dealing import Challenge
from fedbench.games.scoring import Ranked, Scored, auc_of, check_guess, counts_of, sites_of
from fedbench.metric import Measure, Refusal
from fedbench.seeds import Seeds

__all__ = ["FEWEST", "play_planted"]

Floats = NDArray[np.float64]

FEWEST = 20
"""Canaries without which an audit says nothing."""


def play_planted(
    attack: Attack, sight: Sight, challenge: Challenge, seeds: Seeds
) -> tuple[Guess, list[Scored]]:
    """Let an attack score the canaries, and say how large epsilon is at least.

    Scores are compared within hospitals. Rows: ``epsilon``, from the bound to the most that could
    have been shown, with its p-value if something is promised; ``guesses`` and ``right``, of how
    many guesses the bound is made; and ``auc``.

    Raises:
        ContractError: the guess is not one finite score per canary.
    """
    n = len(challenge.truth)
    if n < FEWEST:
        reason = f"{n} canaries were planted here; an audit needs {FEWEST}."
        return Guess(np.zeros(n)), [Scored("", Refusal(reason=reason, part="epsilon"))]
    guess = attack.guess(sight, challenge.public, seeds.child("guess").rng())
    check_guess(attack, guess, (n,))
    claim = challenge.claim
    found = _audited(_placed(guess.scores, challenge), challenge, seeds.child("ties"))
    ranked = [
        Ranked(site, guess.scores[site.rows])
        for site in sites_of(challenge, seeds.child("bootstrap"))
        if min(site.n) > 1
    ]
    counts = counts_of([each.site for each in ranked], challenge)
    rows = [_bounded(found, claim, counts), _count("guesses", found.guesses, n)]
    rows.append(_count("right", found.right, n))
    if ranked:
        auc = auc_of(ranked)
        rows.append(replace(auc, replicates=None, facts=counts))  # the bound has the test
    return guess, [Scored("", row) for row in rows]


def _audited(scores: Floats, challenge: Challenge, ties: Seeds) -> Audit:
    """Audit, and say what who knows every coin would have shown with these.

    That may be less than could be hoped for before they were tossed: where fewer than nine in
    twenty are in, as many cannot be guessed right.
    """
    there, delta = challenge.truth, challenge.claim.delta
    found = audit(scores, there, delta, ties.rng())
    most = audit(there.astype(np.float64), there, delta, ties.rng()).epsilon
    return replace(found, ceiling=most)


def _placed(scores: Floats, challenge: Challenge) -> Floats:
    """Return each score's rank among the canaries of its hospital, as a share."""
    found = np.empty(len(scores))
    for site in np.unique(challenge.sites.astype(str)):
        mine = challenge.sites == site
        found[mine] = (rankdata(scores[mine]) - 0.5) / mine.sum()
    return found


def _bounded(found: Audit, claim: Claim, counts: Mapping[str, int]) -> Measure:
    tested = {} if claim.epsilon is None else {"p_value": found.p_value(claim.epsilon)}
    return Measure(
        value=found.epsilon,
        low=found.epsilon,
        high=found.ceiling,
        n=found.canaries,
        part="epsilon",
        facts={
            **counts,
            **tested,
            "epsilon_empirical": found.epsilon,
            "delta": claim.delta,
            "verdict": found.words(claim.epsilon),
        },
    )


def _count(part: str, found: int, n: int) -> Measure:
    return Measure(value=found, low=found, high=found, n=n, part=part)
