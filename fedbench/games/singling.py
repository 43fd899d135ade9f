"""Does the release tell how to point at exactly one of those who were trained on?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from fedbench import stats
from fedbench.attack import Attack, Guess, PublicChallenge, Sight
from fedbench.data import Cohort, Schema
from fedbench.errors import ContractError
from fedbench.games.advantage import Stratum, advantage, share, unheard
from fedbench.games.dealing import Challenge, Lineup
from fedbench.games.scoring import FEW, B, Scored
from fedbench.metric import Measure, Refusal
from fedbench.predicates import Predicates
from fedbench.seeds import Rng, Seeds

__all__ = ["NEGLIGIBLE", "play_singling", "singling_challenges"]

NEGLIGIBLE = 10
"""A predicate that matches one in so many times the patients singles out nobody by luck."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def singling_challenges(
    schema: Schema, members: Mapping[str, Cohort], nonmembers: Mapping[str, Cohort], rng: Rng
) -> list[Challenge]:
    """Ask for predicates; nobody is shown, only how many patients there are.

    Twins stay: a predicate that two patients meet singles out neither.
    """
    lineup = Lineup.everybody(schema, members, nonmembers)
    whole = lineup.ask(rng)
    sizes = _sizes(whole)
    if not sizes:
        return []
    public = PublicChallenge(
        "singling-out", whole.public.targets[:0], whole.sites[:0], size=sum(sizes.values())
    )
    return [replace(whole, public=public, records=whole.public.targets, homes=whole.sites)]


def play_singling(
    attack: Attack, sight: Sight, challenge: Challenge, seeds: Seeds
) -> tuple[Guess, list[Scored]]:
    """Let an attack point at single members, and count how often it points at exactly one.

    A predicate succeeds where exactly one member meets it and its predicted weight is below one
    in ``NEGLIGIBLE`` times the members: then it would single out somebody by luck in less than
    one case in ten (Cohen and Nissim 2020, https://doi.org/10.1073/pnas.1914598117). The same
    predicates are tried on equally many others of the same hospitals, in the mean over all
    ways to draw them, exactly; so a weight that was predicted wrongly helps nobody (Giomi et al.
    2023, Anonymeter, https://doi.org/10.56553/popets-2023-0055, compare with a control too).

    Args:
        attack: plays the singling-out game.
        sight: see ``show``.
        challenge: see ``singling_challenges``.
        seeds: as in ``play_membership``.

    Returns:
        The chance that each predicate succeeds, and the rows. ``advantage``: how much more often
        a member is singled out than somebody else. Beside it ``singled`` (members) and
        ``control`` (others), as shares of the predicates.

    Raises:
        ContractError: the guess is not a list of predicates about columns of the schema.
    """
    found = attack.guess(sight, challenge.public, seeds.child("guess").rng())
    _check(attack, found, sight.schema)
    assert isinstance(found, Predicates)  # noqa: S101  (just checked)
    sizes = _sizes(challenge)
    rare = found.weight * NEGLIGIBLE * sum(sizes.values()) < 1
    chance, control = (
        np.where(rare, _one_of(found, sight.schema, challenge, sizes, side), 0)
        for side in (challenge.truth, ~challenge.truth)
    )
    counts = {
        "n_members": int(challenge.truth.sum()),
        "n_nonmembers": int((~challenge.truth).sum()),
        "twins_removed": 0,
    }
    if reason := _too_few(len(chance), sum(sizes.values())):
        return Guess(chance), [Scored("", Refusal(reason=reason, part="advantage", facts=counts))]
    draws = seeds.child("ties").rng().random((2, len(chance)))
    hits = draws < np.array([chance, control])
    row = advantage([_stratum(found, sight.schema, challenge, hits, seeds)], counts)
    beside = [share(hits[0], "singled"), share(hits[1], "control")]
    row = replace(row, n=len(chance), facts={**row.facts, "verdict": _words(row, beside)})
    return Guess(chance), [Scored("", each) for each in (row, *beside)]


def _sizes(challenge: Challenge) -> dict[str, int]:
    """Return how many patients of each hospital are compared: as many of either side."""
    homes = (challenge.homes if len(challenge.homes) else challenge.sites).astype(str)
    found = {
        str(name): min(int((at & challenge.truth).sum()), int((at & ~challenge.truth).sum()))
        for name in np.unique(homes)
        for at in [homes == name]
    }
    return {name: size for name, size in found.items() if size}


def _check(attack: Attack, guess: Guess, schema: Schema) -> None:
    what = f"{type(attack).__name__} must give Predicates"
    if not isinstance(guess, Predicates):
        raise ContractError(f"{what}; found {type(guess).__name__}.")
    known = {feature.name for feature in schema.features}
    if unknown := sorted(set(guess.conditions.columns.tolist()) - known):
        raise ContractError(f"{what} about columns of the schema; found {unknown[0]!r}.")
    uses, n = guess.uses, len(guess.conditions.columns)
    if uses.ndim != 2 or guess.weight.shape != (len(uses),) or not (uses < n).all():
        raise ContractError(
            f"{what} with one weight each and conditions by number; found uses of shape "
            f"{uses.shape}, weights of shape {guess.weight.shape}, {n} conditions."
        )


def _too_few(predicates: int, patients: int) -> str:
    if patients < 2 * FEW:
        return (
            f"Of {patients} members there are equally many others of the same hospital; "
            f"{2 * FEW} are needed."
        )
    if predicates < 2 * FEW:
        return (
            f"The attack found {predicates} predicates that would single anybody out; "
            f"{2 * FEW} are needed. Too few records are released, or the columns tell too few "
            "patients apart."
        )
    return ""


def _one_of(
    found: Predicates,
    schema: Schema,
    challenge: Challenge,
    sizes: Mapping[str, int],
    side: NDArray[np.bool_],
) -> Floats:
    """Return how likely exactly one of so many of a side, drawn at random, meets each predicate."""
    none, one = np.ones(len(found.uses)), np.zeros(len(found.uses))
    for name, size in sizes.items():
        here = (challenge.homes.astype(str) == name) & side
        met = found.counts(schema, challenge.records[here])
        nobody, somebody = (_drawn(k, met, int(here.sum()), size) for k in (0, 1))
        none, one = none * nobody, one * nobody + none * somebody
    return one


def _drawn(k: int, met: Ints, n: int, size: int) -> Floats:
    """Return the chance that k of ``met`` of ``n`` patients are among ``size`` drawn of them."""
    left, others = size - k, n - met
    possible = (met >= k) & (others >= left) & (left >= 0)
    ways = _log_ways(np.maximum(others, left), left) - _log_ways(np.full(met.shape, n), size)
    times = np.where(k, met, 1)
    return np.asarray(np.where(possible, times * np.exp(ways), 0.0))


def _log_ways(n: Ints, k: int) -> Floats:
    whole = special.gammaln(n + 1.0)
    return np.asarray(whole - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0))


def _stratum(
    found: Predicates,
    schema: Schema,
    challenge: Challenge,
    hits: NDArray[np.bool_],
    seeds: Seeds,
) -> Stratum:
    """Members and others under the same predicates; those about one cluster go together."""
    n = len(found.uses)
    who = found.first(schema, challenge.records[challenge.truth])
    clusters = challenge.clusters[challenge.truth].astype(str)
    alone = np.array([f"predicate {i}" for i in range(n)])
    owner = np.where(who >= 0, clusters[np.maximum(who, 0)], alone) if len(clusters) else alone
    names, index = np.unique(owner, return_inverse=True)
    bootstrap = seeds.child("bootstrap")
    whole = stats.poisson_weights(bootstrap.child("predicates").rng(), len(names), B)[:, index]
    loose = stats.poisson_weights(bootstrap.child("predicates", "loose").rng(), n, B)
    truth = np.repeat([True, False], n)
    return Stratum(hits.ravel(), truth, np.tile(whole, 2), np.tile(loose, 2))


def _words(found: Measure, beside: list[Measure]) -> str:
    members, others = (row.value for row in beside)
    if found.low > 0:
        words = (
            f"the release tells how to point at single members: {100 * found.value:.1f} points "
            f"more often ({100 * found.low:.1f} to {100 * found.high:.1f}) than at others"
        )
    else:
        words = unheard(found.facts["detectable"])
    return (
        f"{words}; {members:.0%} of the descriptions single out a member, {others:.0%} one of "
        "equally many others"
    )
