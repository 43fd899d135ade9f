"""Do released records tell which two halves belong to one patient?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from fedbench.attack import Attack, Guess, Links, PublicChallenge, Sight
from fedbench.data import Cohort, Feature, Part, Schema, looks_of
from fedbench.errors import ContractError
from fedbench.games.advantage import Stratum, advantage, share, unheard
from fedbench.games.dealing import Challenge, Lineup
from fedbench.games.scoring import FEW, Scored, counts_of, sites_of
from fedbench.metric import Measure, Refusal
from fedbench.nouns import plural
from fedbench.seeds import Rng, Seeds

__all__ = ["Halves", "halves_of", "linkage_challenges", "play_linkage"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Looks = NDArray[np.uint64]
Halves = tuple[tuple[str, ...], tuple[str, ...]]

_SLACK = 1e-6  # of sums of probabilities


def halves_of(cohort: Cohort) -> Halves:
    """Split the columns in two halves that tell patients apart about equally well.

    All windows of one source stay together, and so does what implies another column: otherwise
    they would link the halves for anybody. The most telling sources are dealt first, each to the
    half that has told less so far. Choose from the whole cohort, so that every cell is asked for
    the same halves.
    """
    told: dict[str, float] = {}
    for feature in cohort.schema.features:
        entropy = _entropy(cohort.table[feature.name])
        told[_source(feature)] = told.get(_source(feature), 0.0) + entropy
    sides: dict[str, int] = {}
    totals = [0.0, 0.0]
    for source in sorted(told, key=lambda name: (-told[name], name)):
        sides[source] = int(totals[1] < totals[0])
        totals[sides[source]] += told[source]
    found = [
        tuple(f.name for f in cohort.schema.features if sides[_source(f)] == side)
        for side in (0, 1)
    ]
    return found[0], found[1]


def _source(feature: Feature) -> str:
    if feature.part is Part.STATIC:
        return f"static {feature.column.implies or feature.source}"
    return "outcome" if feature.part is Part.OUTCOME else f"{feature.system} {feature.source}"


def _entropy(values: pd.Series) -> float:
    """Shannon entropy of what is there and of what is missing."""
    return float(special.entr(values.value_counts(normalize=True, dropna=False)).sum())


def linkage_challenges(
    schema: Schema,
    members: Mapping[str, Cohort],
    nonmembers: Mapping[str, Cohort],
    rng: Rng,
    halves: Halves,
) -> list[Challenge]:
    """Ask which half belongs to which, see ``halves_of``; nothing, where there is only one."""
    if not all(halves):
        return []
    everybody = Lineup.everybody(schema, members, nonmembers)
    whole = everybody.without_twins().ask(rng)
    back = rng.permutation(len(whole.truth))
    first, second = (whole.public.targets[list(half)] for half in halves)
    pairs = np.empty_like(back)
    pairs[back] = np.arange(len(back))
    others = second.iloc[back].reset_index(drop=True)
    public = PublicChallenge("linkage", first, whole.sites, others=others)
    trained = everybody.table[everybody.truth]
    return [replace(whole, public=public, pairs=pairs, records=trained)]


def play_linkage(
    attack: Attack, sight: Sight, challenge: Challenge, seeds: Seeds
) -> tuple[Guess, list[Scored]]:
    """Let an attack point each half at released records, and score how often halves meet.

    A target is linked where a record drawn from what its first half points to is the one drawn
    from what its second half points to. So ties cost what they would cost an attacker, who has
    to pick (in Anonymeter's linkability they are broken by order:
    https://doi.org/10.56553/popets-2023-0055).

    Args:
        attack: plays the linkage game.
        sight: see ``show``.
        challenge: see ``linkage_challenges``.
        seeds: as in ``play_membership``.

    Returns:
        The chance that each target is linked, and the rows. ``advantage``: how much more often
        members are linked than others of the same hospital, which is what leaked. Beside it
        ``linked`` (members), ``control`` (others), and ``ceiling``: members, if their own records
        were released; more than that, these columns cannot give away.

    Raises:
        ContractError: the guess is not one distribution over records per half.
    """
    links = attack.guess(sight, challenge.public, seeds.child("guess").rng())
    chance = _met(attack, links, challenge)
    sites = [s for s in sites_of(challenge, seeds.child("bootstrap")) if min(s.n) > 1]
    counts = counts_of(sites, challenge)
    n1, n0 = counts["n_members"], counts["n_nonmembers"]
    if min(n1, n0) < 2 * FEW:
        those = f"{plural(n1, 'member')} and {plural(n0, 'other')}"
        reason = f"There are {those}; {2 * FEW} of each are needed."
        return Guess(chance), [Scored("", Refusal(reason=reason, part="advantage", facts=counts))]
    hits = np.zeros(len(chance), bool)
    for site in sites:
        draw = seeds.child("ties", site.name).rng().random(len(site.rows))
        hits[site.rows] = draw < chance[site.rows]
    strata = [Stratum(hits[s.rows], s.truth, s.weights, s.loose) for s in sites]
    asked = np.concatenate([site.rows for site in sites])
    members = challenge.truth[asked]
    beside = [
        share(hits[asked][members], "linked"),
        share(hits[asked][~members], "control"),
        _ceiling(challenge, asked[members]),
    ]
    found = advantage(strata, counts)
    found = replace(found, facts={**found.facts, "verdict": _words(found, beside)})
    return Guess(chance), [Scored("", row) for row in (found, *beside)]


def _met(attack: Attack, links: Guess, challenge: Challenge) -> Floats:
    """Return how likely both halves of each target point to one record."""
    what = f"{type(attack).__name__} must give Links: for each half of {len(challenge.truth)} "
    what += "targets a distribution over the same records"
    if not isinstance(links, Links):
        raise ContractError(f"{what}; found {type(links).__name__}.")
    first, second = links.first, links.second
    if first.shape != second.shape or first.shape[0] != len(challenge.truth):
        raise ContractError(f"{what}; found shapes {first.shape} and {second.shape}.")
    for half in (first, second):
        sums = np.asarray(half.sum(axis=1)).ravel()
        if not ((half.data >= 0).all() and (sums <= 1 + _SLACK).all()):
            raise ContractError(f"{what}; found one that is negative or sums to more than 1.")
    return np.asarray(first.multiply(second[challenge.pairs]).sum(axis=1), np.float64).ravel()


def _ceiling(challenge: Challenge, rows: Ints) -> Measure:
    """How often these members would be linked if all members' own records were released."""
    assert challenge.public.others is not None  # noqa: S101  (this game has them)
    halves = challenge.public.targets, challenge.public.others.iloc[challenge.pairs]
    mine = [looks_of(half)[rows] for half in halves]
    all_of_them = [looks_of(challenge.records[list(half)]) for half in halves]
    first, second, both = (
        _times(*looks)
        for looks in (*zip(mine, all_of_them, strict=True), (_joined(mine), _joined(all_of_them)))
    )
    chance = float((both / (first * second)).mean())
    return Measure(value=chance, low=chance, high=chance, n=len(rows), part="ceiling")


def _joined(halves: Sequence[Looks]) -> Looks:
    return pd.util.hash_array(halves[0]) ^ halves[1]


def _times(mine: Looks, released: Looks) -> Floats:
    """Return how many of those released look like each of mine."""
    looks, times = np.unique(released, return_counts=True)
    return np.asarray(times[np.searchsorted(looks, mine)], dtype=np.float64)


def _words(found: Measure, beside: Sequence[Measure]) -> str:
    members, others, ceiling = (row.value for row in beside)
    if found.low > 0:
        words = (
            f"having been trained on gives away which records are one patient's: linked "
            f"{100 * found.value:.1f} points more often ({100 * found.low:.1f} to "
            f"{100 * found.high:.1f})"
        )
    else:
        words = unheard(found.facts["detectable"])
    return (
        f"{words}; linked were {members:.0%} of members and {others:.0%} of others, and would be "
        f"{ceiling:.0%} of members if their own records were released"
    )
