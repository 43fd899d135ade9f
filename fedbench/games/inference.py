"""What does membership give away about a secret?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from fedbench import stats
from fedbench.attack import Attack, Guess, Knowledge, Sight
from fedbench.data import Cohort
from fedbench.games.dealing import Challenge
from fedbench.games.scoring import (
    FEW,
    Scored,
    Site,
    check_guess,
    counts_of,
    sites_of,
    softened,
    stretch,
    stretched,
)
from fedbench.metric import Key, Measure, Refusal
from fedbench.seeds import Seeds
from fedbench.stats import Interval

__all__ = ["play_attribute", "reference_guess"]

_USELESS_ADVANTAGE = 0.1
"""Where less than this would have gone unnoticed, an attack that found nothing said nothing."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def reference_guess(
    attack: Attack, sight: Sight, challenge: Challenge, reference: Cohort | None, seeds: Seeds
) -> Guess | None:
    """Let the same attack guess from other patients instead of the release.

    It knows nothing else, so one guess serves every release asked about this challenge.

    Args:
        attack: plays the attribute game.
        sight: gives the schema; what it holds is not shown.
        challenge: see ``attribute_challenges``.
        reference: other patients.
        seeds: as in ``play_attribute``.

    Returns:
        None without such patients, or for an attack that does not look at a release.

    Raises:
        ContractError: the guess is not one finite probability per target and level.
    """
    if reference is None or not len(reference) or Knowledge.SYNTHETIC not in attack.knows:
        return None
    posing = Sight(sight.schema, sight.allowed, {Knowledge.SYNTHETIC: reference})
    guess = attack.guess(posing, challenge.public, seeds.child("guess").rng())
    levels = len(sight.schema.feature(challenge.public.secret).column.levels)
    check_guess(attack, guess, (len(challenge.truth), levels))
    return guess


def play_attribute(
    attack: Attack,
    sight: Sight,
    challenge: Challenge,
    other: Guess | None,
    seeds: Seeds,
) -> tuple[Guess, list[Scored]]:
    """Let an attack guess a secret, and score what membership adds to it.

    Args:
        attack: plays the attribute game.
        sight: see ``show``.
        challenge: see ``attribute_challenges``.
        other: see ``reference_guess``; shows what anybody could have known.
        seeds: as in ``play_membership``.

    Returns:
        The guess and its rows. ``advantage``: accuracy on members minus accuracy on others of
        the same hospital with the same answer, which is what leaked. Beside it ``auc`` (members,
        mean over levels of one against the rest), ``accuracy`` (members), ``control`` (others),
        ``base`` (always the members' commonest level) and ``reference`` (members).

    Raises:
        ContractError: the guess is not one finite probability per target and level.
    """
    guess = attack.guess(sight, challenge.public, seeds.child("guess").rng())
    levels = len(sight.schema.feature(challenge.public.secret).column.levels)
    check_guess(attack, guess, (len(challenge.truth), levels))
    sites = [s for s in sites_of(challenge, seeds.child("bootstrap")) if min(s.n) > 1]
    counts = counts_of(sites, challenge)
    key = Key(secret=challenge.public.secret)
    strata = list(_strata(guess, challenge, sites))
    if reason := _too_few(counts, strata):
        return guess, [Scored("", Refusal(reason=reason, part="advantage", key=key, facts=counts))]
    rows = _explained([_advantage(strata, counts), *_accuracies(guess, challenge, other)])
    found = [*rows, _secret_auc(guess, challenge, sites)]
    return guess, [Scored("", replace(row, key=key)) for row in found]


def _too_few(counts: Mapping[str, Any], strata: Sequence[_Stratum]) -> str:
    n1, n0 = counts["n_members"], counts["n_nonmembers"]
    if min(n1, n0) >= 2 * FEW:
        return "" if strata else "No members and others of one site have the same answer."
    return f"The secret is known of {n1} members and {n0} others; {2 * FEW} of each are needed."


def _right(guess: Guess, challenge: Challenge) -> Bools:
    return np.asarray(guess.scores.argmax(axis=1) == challenge.answers)


def _accuracies(guess: Guess, challenge: Challenge, other: Guess | None) -> Iterator[Measure]:
    truth, right = challenge.truth, _right(guess, challenge)
    common = np.bincount(challenge.answers[truth]).argmax()
    yield _share(right[truth], "accuracy")
    yield _share(right[~truth], "control")
    yield _share(challenge.answers[truth] == common, "base")
    if other is not None:
        yield _share(_right(other, challenge)[truth], "reference")


def _share(hits: Bools, part: str) -> Measure:
    found = stats.clopper_pearson(int(hits.sum()), hits.size)
    return Measure(value=found.value, low=found.low, high=found.high, n=hits.size, part=part)


def _secret_auc(guess: Guess, challenge: Challenge, sites: Sequence[Site]) -> Measure | Refusal:
    """How well members are ordered by the probability of each level."""
    rows = np.concatenate([site.rows[site.truth] for site in sites])
    weights = np.hstack([site.weights[:, site.truth] for site in sites])
    answers, scores = challenge.answers[rows], guess.scores[rows]
    seen = [level for level in np.unique(answers) if (answers != level).any()]
    if not seen:
        reason = f"All {len(rows)} members have the same answer: there is nobody to put in order."
        return Refusal(reason=reason, part="auc")
    draws = [stats.weighted_auc(scores[:, s], answers == s, weights) for s in seen]
    value = float(np.mean([stats.auc(scores[:, s], answers == s) for s in seen]))
    replicates = np.mean(draws, axis=0)
    found = stats.percentile(value, replicates)
    if len(seen) == 2 and scores.shape[1] == 2:  # both levels have the same AUC
        exact = stats.auc_interval(scores[:, 1], answers == 1)
        found = Interval(value, min(found.low, exact.low), max(found.high, exact.high))
    return Measure(
        value=value,
        low=max(found.low, 0.0),
        high=min(found.high, 1.0),
        n=len(rows),
        part="auc",
        replicates=stats.recentre(value, replicates),
        least=0.0,
        most=1.0,
    )


@dataclass(frozen=True)
class _Stratum:
    """Patients of one site with the same answer."""

    hits: Bools
    truth: Bools
    whole: NDArray[np.uint8]  # bootstrap weights, clusters drawn whole
    loose: NDArray[np.uint8]  # and as if there were none

    @property
    def weight(self) -> float:
        """Mantel and Haenszel's (https://doi.org/10.1093/jnci/22.4.719)."""
        return float(self.truth.sum() * (~self.truth).sum() / self.truth.size)

    @property
    def gap(self) -> Interval:
        ones, zeros = self.hits[self.truth], self.hits[~self.truth]
        return stats.newcombe(int(ones.sum()), ones.size, int(zeros.sum()), zeros.size)

    @property
    def null_spread(self) -> float:
        """Standard error of the gap if both classes are alike, given all hits (Cochran)."""
        rate, n = self.hits.mean(), self.truth.size
        return math.sqrt(rate * (1 - rate) * n / (n - 1) / self.weight)

    def gaps(self, weights: NDArray[np.uint8]) -> Floats:
        """Replicates of the gap; NaN where a class was not drawn."""
        drawn, hits = weights.astype(np.float64), self.hits.astype(np.float64)
        ones, zeros = (
            np.divide(
                drawn[:, c] @ hits[c], total, out=np.full(len(drawn), np.nan), where=total > 0
            )
            for c, total in ((c, drawn[:, c].sum(axis=1)) for c in (self.truth, ~self.truth))
        )
        return np.asarray(ones - zeros)


def _strata(guess: Guess, challenge: Challenge, sites: Sequence[Site]) -> Iterator[_Stratum]:
    right = _right(guess, challenge)
    for site in sites:
        answers = challenge.answers[site.rows]
        for level in np.unique(answers):
            at = answers == level
            if 0 < site.truth[at].sum() < at.sum():
                yield _Stratum(
                    right[site.rows][at], site.truth[at], site.weights[:, at], site.loose[:, at]
                )


def _advantage(strata: Sequence[_Stratum], counts: Mapping[str, Any]) -> Measure:
    """Accuracy on members minus accuracy on others of the same site with the same answer.

    So neither sites nor secrets that happen to be commoner among members count as leakage.
    Limits are Newcombe's, combined by MOVER (Zou and Donner 2008,
    https://doi.org/10.1002/sim.3095) and widened where clusters ask for it.
    """
    weight = np.array([stratum.weight for stratum in strata])
    weight /= weight.sum()
    gaps = [stratum.gap for stratum in strata]
    value = float(weight @ [gap.value for gap in gaps])
    down, up = (
        float(np.linalg.norm(weight * reach))
        for reach in np.array([(g.value - g.low, g.high - g.value) for g in gaps]).T
    )
    draws = _mean(weight, [stratum.gaps(stratum.whole) for stratum in strata])
    by = stretch(draws, _mean(weight, [stratum.gaps(stratum.loose) for stratum in strata]))
    found = stretched(Interval(value, value - down, value + up), by, -1, 1)
    spread = by * float(np.linalg.norm(weight * [stratum.null_spread for stratum in strata]))
    return Measure(
        value=value,
        low=found.low,
        high=found.high,
        n=sum(stratum.truth.size for stratum in strata),
        part="advantage",
        replicates=stats.recentre(value, draws),
        facts={
            **counts,
            "p_value": softened(_exact_p(strata), by),
            # Where nearly all guesses are right the spread vanishes; the interval does not.
            "detectable": float(special.ndtri(0.95) + special.ndtri(0.8))
            * max(spread, (found.high - found.low) / 2 / float(special.ndtri(0.975))),
        },
    )


def _exact_p(strata: Sequence[_Stratum]) -> float:
    hits, members = ([s.hits for s in strata], [s.truth for s in strata])
    return stats.stratified_p(
        [int((h & m).sum()) for h, m in zip(hits, members, strict=True)],
        [int(h.sum()) for h in hits],
        [int(m.sum()) for m in members],
        [m.size for m in members],
    )


def _mean(weight: Floats, draws: Sequence[Floats]) -> Floats:
    """Weighted mean over the strata that a replicate has."""
    found = np.array(draws)
    there = np.isfinite(found)
    total = weight @ there
    sums = weight @ np.where(there, found, 0)
    return np.asarray(np.divide(sums, total, out=np.full(total.shape, np.nan), where=total > 0))


def _explained(rows: Sequence[Measure]) -> list[Measure]:
    """Give the advantage, which comes first, its verdict."""
    first, *others = rows
    words = _advantage_words(first, {row.part: row.value for row in others})
    return [replace(first, facts={**first.facts, "verdict": words}), *others]


def _advantage_words(found: Measure, beside: Mapping[str, float]) -> str:
    detectable = found.facts["detectable"]
    if found.low > 0:
        words = (
            f"having been trained on gives the secret away: right {100 * found.value:.1f} points"
        )
        words += f" more often ({100 * found.low:.1f} to {100 * found.high:.1f})"
    elif detectable > _USELESS_ADVANTAGE:
        words = f"nothing can be said: only {100 * detectable:.0f} points would have been noticed"
    else:
        words = f"not detectable; {100 * detectable:.1f} points would have been"
    tell = {"accuracy": "members", "control": "others", "reference": "without the release"}
    shares = [f"{tell[part]} {beside[part]:.0%}" for part in tell if part in beside]
    return f"{words}; right on {', '.join(shares)}, the commonest answer {beside['base']:.0%}"
