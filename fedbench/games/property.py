"""Does the training tell how common something is at a hospital?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from fedbench import stats
from fedbench.attack import Attack, Guess, PublicChallenge, Sight, levels_of
from fedbench.data import Cohort, Schema
from fedbench.games.dealing import Challenge, Lineup
from fedbench.games.scoring import Scored, check_guess
from fedbench.metric import Measure, Refusal
from fedbench.nouns import plural
from fedbench.seeds import Rng, Seeds

__all__ = ["PROPERTIES", "play_property", "properties_of", "property_challenges"]

PROPERTIES = 8
"""Asked of every hospital, at most."""

_AGAIN = 100_000
"""How often patients are dealt anew: what luck does must be known down to 1 in so many."""

FEWEST = 3
"""Hospitals without whom nothing is known of how errors vary between them."""

Floats = NDArray[np.float64]


def properties_of(cohort: Cohort) -> pd.DataFrame:
    """Return levels of columns whose shares are nearest to one half, one per column."""
    found = []
    for feature in cohort.schema.features:
        if feature.column.kind == "category":
            levels = levels_of(cohort.table, feature)
            times = np.bincount(levels[levels >= 0], minlength=len(feature.column.levels))
            shares = times / max(len(levels), 1)
            best = int(np.abs(shares - 0.5).argmin())
            if 0 < shares[best] < 1:
                found.append((abs(shares[best] - 0.5), feature.name, feature.column.levels[best]))
    chosen = sorted(found)[:PROPERTIES]
    return pd.DataFrame([each[1:] for each in chosen], columns=["column", "level"])


def property_challenges(
    schema: Schema,
    members: Mapping[str, Cohort],
    nonmembers: Mapping[str, Cohort],
    rng: Rng,
    properties: pd.DataFrame,
) -> list[Challenge]:
    """Ask which share of each hospital's training patients has these properties.

    Nobody is shown. Without anything to ask for there is no challenge.
    """
    if properties.empty:
        return []
    whole = Lineup.everybody(schema, members, nonmembers).ask(rng)
    names = tuple(np.unique(whole.sites.astype(str)).tolist())
    hidden = np.full(len(properties), "", dtype=object)
    public = PublicChallenge("property", properties, hidden, choices=names)
    return [replace(whole, public=public, records=whole.public.targets, homes=whole.sites)]


def play_property(
    attack: Attack, sight: Sight, challenge: Challenge, seeds: Seeds
) -> tuple[Guess, list[Scored]]:
    """Let an attack say how common properties are among training patients of each hospital.

    Args:
        attack: plays the property game.
        sight: see ``show``.
        challenge: see ``property_challenges``.
        seeds: as in ``play_membership``.

    Returns:
        The guess and its rows. ``advantage``: how much nearer it is to the shares of training
        patients than to those of as many others of the same hospitals, of whom nothing was sent.
        Beside it the mean absolute ``error``, that about others (``control``) and, for an attack
        that can guess ``without`` what it attacks, that of this guess (``reference``) and what is
        gained on it (``gain``). Properties are averaged within hospitals, and limits are Student's
        over hospitals. P-values are about these hospitals alone: how often would the error be as
        small, or the gain as large, if their patients were dealt anew to those who were trained
        on and others?

    Raises:
        ContractError: the guess is not one finite share per property and hospital.
    """
    rng = seeds.child("guess")
    guess = attack.guess(sight, challenge.public, rng.rng())
    names, asked = challenge.public.choices, challenge.public.targets
    check_guess(attack, guess, (len(asked), len(names)))
    counts = {
        "n_members": int(challenge.truth.sum()),
        "n_nonmembers": int((~challenge.truth).sum()),
        "twins_removed": 0,
    }
    if len(names) < FEWEST:
        there = plural(len(names), "hospital is", "hospitals are")
        reason = f"{FEWEST} hospitals are needed to see how errors vary; {there} there."
        return guess, [Scored("", Refusal(reason=reason, part="advantage", facts=counts))]
    mine, others = _shares(sight.schema, challenge)
    if not np.isfinite([mine, others]).all():
        reason = "A hospital has no training patients or no others in whom the property is known."
        return guess, [Scored("", Refusal(reason=reason, part="advantage", facts=counts))]
    error, control = (np.abs(guess.scores - truth).mean(axis=0) for truth in (mine, others))
    plain = attack.without(sight, challenge.public, rng.rng())
    answers = [guess.scores] if plain is None else [guess.scores, plain.scores]
    lucky = _by_luck(sight.schema, challenge, answers, seeds.child("dealt").rng())
    row = _over_sites(control - error, "advantage")
    row = _unlike_luck(row, -float(error.mean()), -lucky[0])
    beside = [_over_sites(error, "error"), _over_sites(control, "control")]
    if plain is not None:
        usual = np.abs(plain.scores - mine).mean(axis=0)
        gain = _over_sites(usual - error, "gain")
        gain = _unlike_luck(gain, gain.value, lucky[1] - lucky[0])
        beside += [_over_sites(usual, "reference"), gain]
    row = replace(row, facts={**counts, **row.facts, "verdict": _words(row, beside)})
    return guess, [Scored("", each) for each in (row, *beside)]


def _shares(schema: Schema, challenge: Challenge) -> tuple[Floats, Floats]:
    """Return the share of members with each property, and of as many others, by hospital."""
    asked, names = challenge.public.targets, challenge.public.choices
    found = np.full((2, len(asked), len(names)), np.nan)
    homes = challenge.homes.astype(str)
    for at, site in enumerate(names):
        here = [
            np.flatnonzero((homes == site) & side) for side in (challenge.truth, ~challenge.truth)
        ]
        size = min(map(len, here))
        for number, (column, level) in enumerate(asked.itertuples(index=False)):
            feature = schema.feature(column)
            has = levels_of(challenge.records, feature)
            wanted = feature.column.levels.index(level)
            for side, rows in enumerate(here):
                known = has[rows[: size or None] if side else rows]
                known = known[known >= 0]
                if len(known):
                    found[side, number, at] = (known == wanted).mean()
    return found[0], found[1]


def _by_luck(schema: Schema, challenge: Challenge, answers: Sequence[Floats], rng: Rng) -> Floats:
    """Return the error of answers if members were dealt anew, a mean over hospitals.

    Shape ``(answers, draws)``.
    """
    asked, names = challenge.public.targets, challenge.public.choices
    found = np.zeros((len(answers), _AGAIN))
    homes = challenge.homes.astype(str)
    for at, site in enumerate(names):
        here = homes == site
        has = _has(schema, challenge.records[here], asked)
        n = int((here & challenge.truth).sum())
        shares = _dealt_again(has, n, rng)
        for number, answer in enumerate(answers):
            found[number] += np.abs(answer[:, at] - shares).mean(axis=1) / len(names)
    return found


def _dealt_again(has: Floats, n: int, rng: Rng) -> Floats:
    """Return shares among ``n`` patients drawn by luck, shape ``(draws, properties)``.

    Means of a part of a finite population are about normal, with its covariance.
    """
    found = np.linalg.svd(has - has.mean(axis=0), full_matrices=False)
    spread = np.sqrt((1 / n - 1 / len(has)) / (len(has) - 1))
    root = spread * found.S[:, None] * found.Vh
    return np.asarray(has.mean(axis=0) + rng.standard_normal((_AGAIN, len(root))) @ root)


def _has(schema: Schema, records: pd.DataFrame, asked: pd.DataFrame) -> Floats:
    """Return who has which property; who is not known counts like the others."""
    found = np.empty((len(records), len(asked)))
    for number, (column, level) in enumerate(asked.itertuples(index=False)):
        feature = schema.feature(column)
        levels = levels_of(records, feature)
        has, known = levels == feature.column.levels.index(level), levels >= 0
        found[:, number] = np.where(known, has, has[known].mean())
    return found


def _unlike_luck(found: Measure, statistic: float, lucky: Floats) -> Measure:
    """Return a row with how often luck makes as much of it."""
    p_value = stats.permutation_p(statistic, lucky)
    return replace(found, facts={**found.facts, "p_value": p_value})


def _over_sites(each: Floats, part: str) -> Measure:
    """Return the mean over hospitals with Student's limits; a test, where it is a difference."""
    n, value = len(each), float(each.mean())
    error = max(float(each.std(ddof=1)) / np.sqrt(n), 1e-12)
    reach = float(special.stdtrit(n - 1, 0.975)) * error
    tested = part in ("advantage", "gain")
    facts: dict[str, float] = {}
    if part == "advantage":
        more = float(special.stdtrit(n - 1, 0.95) + special.stdtrit(n - 1, 0.8))
        facts["detectable"] = more * error
    least = -1.0 if tested else 0.0
    return Measure(
        value=value,
        low=max(value - reach, least),
        high=min(value + reach, 1.0),
        n=n,
        part=part,
        least=least,
        most=1.0,
        facts=facts if tested else {},
    )


def _words(found: Measure, beside: Sequence[Measure]) -> str:
    told = {row.part: row.value for row in beside}
    if found.low > 0:
        words = (
            f"shares of a hospital's training patients are given away: nearer by "
            f"{100 * found.value:.1f} points ({100 * found.low:.1f} to {100 * found.high:.1f})"
        )
    else:
        detectable = 100 * found.facts["detectable"]
        words = f"not detectable; {detectable:.1f} points nearer would have been"
    plain = (
        f", without the training by {100 * told['reference']:.1f}" if "reference" in told else ""
    )
    return (
        f"{words}; wrong by {100 * told['error']:.1f} points about training patients, by "
        f"{100 * told['control']:.1f} about others{plain}"
    )
