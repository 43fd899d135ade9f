"""What does membership give away about a secret?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbench import stats
from fedbench.attack import Attack, Guess, Knowledge, Sight, Wired
from fedbench.data import Cohort
from fedbench.games.advantage import Stratum, advantage, share, unheard
from fedbench.games.dealing import Challenge
from fedbench.games.scoring import FEW, Scored, Site, check_guess, counts_of, sites_of
from fedbench.metric import Key, Measure, Refusal
from fedbench.nouns import plural
from fedbench.seeds import Seeds
from fedbench.stats import Interval

__all__ = ["play_attribute", "reference_guess"]

Bools = NDArray[np.bool_]


def reference_guess(
    attack: Attack, sight: Sight, challenge: Challenge, reference: Cohort | None, seeds: Seeds
) -> Guess | None:
    """Let the same attack guess from other patients instead of the release.

    It knows nothing else, so one guess serves every release asked about this challenge. An
    attack on the training is asked what it would say without that.

    Args:
        attack: plays the attribute game.
        sight: gives the schema; what it holds is not shown.
        challenge: see ``attribute_challenges``.
        reference: other patients.
        seeds: as in ``play_attribute``.

    Returns:
        None without such patients, or for an attack that can say nothing without what it attacks.

    Raises:
        ContractError: the guess is not one finite probability per target and level.
    """
    if reference is None or not len(reference):
        return None
    rng = seeds.child("guess").rng()
    if Knowledge.SYNTHETIC in attack.knows:
        posing = Sight(sight.schema, sight.allowed, {Knowledge.SYNTHETIC: reference})
        guess: Guess | None = attack.guess(posing, challenge.public, rng)
    else:
        alone = Sight(sight.schema, sight.allowed, {Knowledge.REFERENCE: reference})
        guess = attack.without(alone, challenge.public, rng)
    if guess is not None:
        check_guess(attack, guess, (len(challenge.truth), len(challenge.public.choices)))
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
        the same hospital with the same answer, which is what leaked: neither sites nor answers
        that happen to be commoner among members count. Beside it ``auc`` (members,
        mean over levels of one against the rest), ``accuracy`` (members), ``control`` (others),
        ``base`` (always the members' commonest level) and ``reference`` (members). For an attack
        on the training, ``gain`` is accuracy minus that of the reference, patient by patient.

    Raises:
        ContractError: the guess is not one finite probability per target and level.
    """
    guess = attack.guess(sight, challenge.public, seeds.child("guess").rng())
    check_guess(attack, guess, (len(challenge.truth), len(challenge.public.choices)))
    sites = [s for s in sites_of(challenge, seeds.child("bootstrap")) if min(s.n) > 1]
    counts = counts_of(sites, challenge)
    key = Key(secret=challenge.public.secret)
    strata = list(_strata(guess, challenge, sites))
    if reason := _too_few(counts, strata):
        return guess, [Scored("", Refusal(reason=reason, part="advantage", key=key, facts=counts))]
    said = {**counts, "by": guess.by}
    rows = _explained([advantage(strata, said), *_accuracies(guess, challenge, other)])
    found = [*rows, _secret_auc(guess, challenge, sites)]
    if isinstance(attack, Wired) and other is not None:
        found.append(_gain(guess, other, challenge))
    return guess, [Scored("", replace(row, key=key)) for row in found]


def _too_few(counts: Mapping[str, Any], strata: Sequence[Stratum]) -> str:
    n1, n0 = counts["n_members"], counts["n_nonmembers"]
    if min(n1, n0) >= 2 * FEW:
        return "" if strata else "No members and others of one site have the same answer."
    those = f"{plural(n1, 'member')} and {plural(n0, 'other')}"
    return f"The secret is known of {those}; {2 * FEW} of each are needed."


def _right(guess: Guess, challenge: Challenge) -> Bools:
    return np.asarray(guess.scores.argmax(axis=1) == challenge.answers)


def _accuracies(guess: Guess, challenge: Challenge, other: Guess | None) -> Iterator[Measure]:
    truth, right = challenge.truth, _right(guess, challenge)
    common = np.bincount(challenge.answers[truth]).argmax()
    yield share(right[truth], "accuracy")
    yield share(right[~truth], "control")
    yield share(challenge.answers[truth] == common, "base")
    if other is not None:
        yield share(_right(other, challenge)[truth], "reference")


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


def _gain(guess: Guess, other: Guess, challenge: Challenge) -> Measure:
    """How much more often members are guessed right than from other patients alone."""
    ours, theirs = (_right(each, challenge)[challenge.truth] for each in (guess, other))
    found = stats.paired(ours, theirs)
    return Measure(
        value=found.interval.value,
        low=found.interval.low,
        high=found.interval.high,
        n=len(ours),
        part="gain",
        least=-1.0,
        most=1.0,
        facts={"p_value": found.p_value},
    )


def _strata(guess: Guess, challenge: Challenge, sites: Sequence[Site]) -> Iterator[Stratum]:
    right = _right(guess, challenge)
    for site in sites:
        answers = challenge.answers[site.rows]
        for level in np.unique(answers):
            at = answers == level
            if 0 < site.truth[at].sum() < at.sum():
                yield Stratum(
                    right[site.rows][at], site.truth[at], site.weights[:, at], site.loose[:, at]
                )


def _explained(rows: Sequence[Measure]) -> list[Measure]:
    """Give the advantage, which comes first, its verdict."""
    first, *others = rows
    words = _advantage_words(first, {row.part: row.value for row in others})
    return [replace(first, facts={**first.facts, "verdict": words}), *others]


def _advantage_words(found: Measure, beside: Mapping[str, float]) -> str:
    if found.low > 0:
        words = (
            f"having been trained on gives the secret away: right {100 * found.value:.1f} points"
        )
        words += f" more often ({100 * found.low:.1f} to {100 * found.high:.1f})"
    else:
        words = unheard(found.facts["detectable"])
    tell = {"accuracy": "members", "control": "others", "reference": "without the release"}
    shares = [f"{tell[part]} {beside[part]:.0%}" for part in tell if part in beside]
    return f"{words}; right on {', '.join(shares)}, the commonest answer {beside['base']:.0%}"
