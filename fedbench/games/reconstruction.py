"""Does the training give away whole records of patients of whom nothing was known?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from fedbench import stats
from fedbench.attack import Attack, Guess, PublicChallenge, Rebuilt, Sight
from fedbench.data import Cohort, Schema, cohort_from_table
from fedbench.errors import ContractError
from fedbench.games.advantage import Stratum, advantage, share, unheard
from fedbench.games.agreement import agreeing, dealt_out, same, usual
from fedbench.games.dealing import Challenge, Lineup
from fedbench.games.scoring import Scored, Site, counts_of, sites_of, stretch
from fedbench.metric import Measure
from fedbench.seeds import Rng, Seeds

__all__ = ["play_reconstruction", "reconstruction_challenges"]

ASKED = 300
"""Training patients of a hospital who are compared with what was rebuilt, and others, at most."""

_DRAWS = 5
"""How often other patients are drawn to stand for what was rebuilt."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def reconstruction_challenges(
    schema: Schema, members: Mapping[str, Cohort], nonmembers: Mapping[str, Cohort], rng: Rng
) -> list[Challenge]:
    """Ask for whole records of each hospital's training patients; nobody is shown.

    Patients whom somebody in the other class equals word for word are left out, and at most
    ``ASKED`` of either class are looked at.
    """
    whole = _few(Lineup.of(schema, members, nonmembers), rng).ask(rng)
    homes = whole.sites.astype(str)
    names = tuple(
        str(name) for name in np.unique(homes) if len(set(whole.truth[homes == name])) == 2
    )
    if not names:
        return []
    public = PublicChallenge(
        "reconstruction", whole.public.targets[:0], whole.sites[:0], choices=names
    )
    return [replace(whole, public=public, records=whole.public.targets, homes=whole.sites)]


def _few(lineup: Lineup, rng: Rng) -> Lineup:
    homes = lineup.sites.astype(str)
    order = rng.permutation(len(homes))
    kept = [
        order[(homes[order] == name) & (lineup.truth[order] == side)][:ASKED]
        for name in np.unique(homes)
        for side in (True, False)
    ]
    return lineup.take(np.sort(np.concatenate(kept)))


def play_reconstruction(
    attack: Attack, sight: Sight, challenge: Challenge, seeds: Seeds
) -> tuple[Guess, list[Scored]]:
    """Let an attack rebuild records, and score how many are a patient's, and how much of them.

    A patient is rebuilt where one of the records equals hers in every column: levels, what is
    missing, and numbers within ``TOLERANCE`` of their public range. How much of her is right is
    counted after records and patients were paired as well as can be, one to one; for whom none is
    left, what is usual stands. Two things that anybody could say are scored in the same way: what
    is usual alone (the commonest level, the median), and as many other patients of the same
    hospital as records were rebuilt. The better of both is taken off.

    Args:
        attack: plays the reconstruction game.
        sight: see ``show``; what crossed says how patients are encoded.
        challenge: see ``reconstruction_challenges``.
        seeds: as in ``play_membership``.

    Returns:
        The records and the rows. ``advantage``: how much more often training patients are rebuilt
        than others of the same hospital. Beside it ``accuracy`` (training patients), ``control``
        (others), ``base`` (if what is usual had been said), ``reference`` (if other patients had
        been), and ``ceiling``: training patients, if their own encoded records had been seen. Of
        columns: ``columns`` is the share that is right, ``usual`` and ``population`` are those of
        both baselines, and ``gain`` is what is left without the better one.

    Raises:
        ContractError: the guess is not records of these hospitals with all columns.
    """
    found = attack.guess(sight, challenge.public, seeds.child("guess").rng())
    records = _checked(attack, found, sight.schema, challenge.public)
    at_home = replace(challenge, public=replace(challenge.public, sites=challenge.homes))
    names = set(challenge.public.choices)
    sites = [s for s in sites_of(at_home, seeds.child("bootstrap")) if s.name in names]
    tries = [
        _Tried.at(site, records[site.name], sight.schema, challenge, seeds.child("population"))
        for site in sites
    ]
    counts = counts_of(sites, challenge)
    strata = [
        Stratum(one.hit, s.truth, s.weights, s.loose) for one, s in zip(tries, sites, strict=True)
    ]
    main = advantage(strata, counts)
    hit, members = (
        np.concatenate(each) for each in ([t.hit for t in tries], [s.truth for s in sites])
    )
    right, plain, others = (
        np.concatenate([getattr(one, what) for one in tries])
        for what in ("right", "usual", "population")
    )
    best = plain if plain.mean() >= others.mean() else others
    beside = [
        share(hit[members], "accuracy"),
        share(hit[~members], "control"),
        share(np.concatenate([one.usual_hit for one in tries]), "base"),
        _mean(np.concatenate([one.population_hit for one in tries]), sites, "reference"),
        _ceiling(sight, challenge, sites),
        _mean(right, sites, "columns"),
        _mean(plain, sites, "usual"),
        _mean(others, sites, "population"),
        _mean(right - best, sites, "gain", least=-1.0),
    ]
    main = replace(main, facts={**main.facts, "verdict": _words(main, beside)})
    return found, [Scored("", each) for each in (main, *beside)]


@dataclass(frozen=True)
class _Tried:
    """What was rebuilt at a hospital, beside its patients in the order of their site.

    ``hit`` is about everybody, all else about training patients: whom what is usual equals, how
    often other patients do, and the shares of columns that are right.
    """

    hit: Bools
    usual_hit: Bools
    population_hit: Floats
    right: Floats
    usual: Floats
    population: Floats

    @classmethod
    def at(
        cls, site: Site, rebuilt: pd.DataFrame, schema: Schema, challenge: Challenge, seeds: Seeds
    ) -> _Tried:
        everybody = challenge.records.iloc[site.rows]
        members, others = everybody[site.truth], everybody[~site.truth]
        size = len(schema.features)
        plain = agreeing(schema, usual(schema, others), members)[0]
        rng = seeds.child(site.name).rng()
        drawn = [
            agreeing(schema, others.iloc[rng.permutation(len(others))[: len(rebuilt)]], members)
            for _ in range(_DRAWS)
        ]
        alike = agreeing(schema, rebuilt, everybody)
        return cls(
            hit=(alike == size).any(axis=0),
            usual_hit=plain == size,
            population_hit=np.mean([(each == size).any(axis=0) for each in drawn], axis=0),
            right=dealt_out(alike[:, site.truth], plain) / size,
            usual=plain / size,
            population=np.mean([dealt_out(each, plain) for each in drawn], axis=0) / size,
        )


def _ceiling(sight: Sight, challenge: Challenge, sites: Sequence[Site]) -> Measure:
    """Return which training patients' encoded records are written back as they were."""
    rows = np.concatenate([site.rows[site.truth] for site in sites])
    table = challenge.records.iloc[rows]
    width = len(str(len(table)))
    names = pd.Index([f"t{number:0{width}d}" for number in range(len(table))], name="patient")
    encoder = sight.wire.encoder
    seen = encoder.encode(cohort_from_table(sight.schema, table.set_axis(names)))
    back = encoder.decode(seen.numbers, seen.missing, seen.levels)
    return share(same(sight.schema, back.table, table), "ceiling")


def _mean(values: Floats, sites: Sequence[Site], part: str, least: float = 0.0) -> Measure:
    """Return a mean over training patients with Student's limits, wider where some belong together.

    Where all are alike, limits are those of as many yeses and noes.
    """
    n, value = len(values), float(values.mean())
    made = partial(Measure, value=value, n=n, part=part, least=least, most=1.0)
    if n < 2 or np.ptp(values) == 0:
        bound = stats.clopper_pearson(round(n * max(value, 0.0)), n)
        low, high = min(bound.low, value), max(bound.high, value)
        return made(low=max(low, least), high=high)
    whole, loose = (
        np.hstack([getattr(site, kind)[:, site.truth] for site in sites]).astype(np.float64)
        for kind in ("weights", "loose")
    )
    draws = [w @ values / np.maximum(w.sum(axis=1), 1) for w in (whole, loose)]
    by = stretch(*draws)
    reach = by * float(special.stdtrit(n - 1, 0.975)) * float(values.std(ddof=1)) / np.sqrt(n)
    low, high = float(max(value - reach, least)), float(min(value + reach, 1.0))
    return made(low=low, high=high)


def _checked(
    attack: Attack, guess: Guess, schema: Schema, public: PublicChallenge
) -> Mapping[str, pd.DataFrame]:
    """Return what was rebuilt at every hospital.

    Raises:
        ContractError: something else was answered.
    """
    what = f"{type(attack).__name__} must give Rebuilt records of each hospital, with all columns"
    if not isinstance(guess, Rebuilt):
        raise ContractError(f"{what}; found {type(guess).__name__}.")
    columns = [feature.name for feature in schema.features]
    for name in public.choices:
        if name not in guess.records:
            raise ContractError(f"{what}; found none of {name!r}, not even an empty table.")
        if lacking := sorted(set(columns) - set(guess.records[str(name)])):
            raise ContractError(f"{what}; found no {lacking[0]!r} of {name!r}.")
    return guess.records


def _words(found: Measure, beside: Sequence[Measure]) -> str:
    told = {row.part: row.value for row in beside}
    if found.low > 0:
        words = (
            f"whole records of training patients are rebuilt from what crossed: "
            f"{100 * found.value:.1f} points more often than those of others "
            f"({100 * found.low:.1f} to {100 * found.high:.1f})"
        )
    else:
        words = unheard(found.facts["detectable"])
    return (
        f"{words}; rebuilt in every column were {told['accuracy']:.0%} of training patients, and "
        f"right were {told['columns']:.0%} of their columns, where what is usual is right in "
        f"{told['usual']:.0%} and other patients are in {told['population']:.0%}"
    )
