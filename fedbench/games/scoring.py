"""What all games share: sites in a fixed order, and intervals that respect clusters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from fedbench import stats
from fedbench.attack import Attack, Guess
from fedbench.errors import ContractError
from fedbench.games.dealing import Challenge
from fedbench.metric import Measure, Refusal
from fedbench.power import detectable_auc
from fedbench.seeds import Seeds
from fedbench.stats import Interval

__all__ = [
    "FEW",
    "Accusing",
    "Ranked",
    "Scored",
    "Site",
    "accused",
    "auc_of",
    "below_one",
    "check_guess",
    "counts_of",
    "sites_of",
    "softened",
    "stretch",
    "stretched",
]

FEW = 10
"""Members and others that a site needs to have a row of its own."""

B = 400

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Objects = NDArray[np.object_]


@dataclass(frozen=True)
class Scored:
    """A number about one site's patients; ``""`` is everybody, ``"worst"`` the worst site."""

    site: str
    measure: Measure | Refusal


@dataclass(frozen=True)
class Site:
    """One hospital's targets in the order of their names."""

    name: str
    rows: Ints
    truth: Bools
    clusters: Objects
    seeds: Seeds

    @property
    def n(self) -> tuple[int, int]:
        """How many members and others."""
        return int(self.truth.sum()), int((~self.truth).sum())

    @property
    def clustered(self) -> bool:
        """Whether any patients belong together."""
        return len(np.unique(self.clusters)) < len(self.clusters)

    @cached_property
    def weights(self) -> NDArray[np.uint8]:
        """Bootstrap weights, drawn over whole clusters: the same in every cell."""
        names, owner = np.unique(self.clusters, return_inverse=True)
        drawn = stats.poisson_weights(self.seeds.child(self.name).rng(), len(names), B)
        return drawn[:, owner]

    @cached_property
    def loose(self) -> NDArray[np.uint8]:
        """Weights as if there were no clusters."""
        rng = self.seeds.child(self.name, "loose").rng()
        return stats.poisson_weights(rng, len(self.clusters), B)


def sites_of(challenge: Challenge, seeds: Seeds) -> list[Site]:
    """Return the sites of a challenge, in an order that shuffling does not change."""
    order = np.lexsort((challenge.patients.astype(str), challenge.sites.astype(str)))
    names = challenge.sites[order].astype(str)
    found = []
    for name in np.unique(names):
        rows = order[names == name]
        found.append(Site(name, rows, challenge.truth[rows], challenge.clusters[rows], seeds))
    return found


@dataclass(frozen=True)
class Ranked:
    """A site with the attacker's scores."""

    site: Site
    scores: Floats

    @property
    def labelled(self) -> tuple[Floats, Bools]:
        """Scores, and who is a member."""
        return self.scores, self.site.truth

    @cached_property
    def replicates(self) -> Floats:
        """The site's AUC under its bootstrap weights."""
        return stats.weighted_auc(*self.labelled, self.site.weights)

    @property
    def answers(self) -> tuple[Bools, Bools]:
        """Which members and which others get a yes, of an attack that answers yes or no."""
        yes = self.scores > 0
        return yes[self.site.truth], yes[~self.site.truth]

    @property
    def placed(self) -> tuple[Floats, Floats]:
        """Placements of members and of others among the others of this site."""
        place = stats.placements(*self.labelled)
        return place[self.site.truth], place[~self.site.truth]


@dataclass(frozen=True)
class Accusing:
    """Whom the leak share accuses at one site, by its rule or because they get a yes."""

    ranked: Ranked
    found: stats.Accused

    @property
    def who(self) -> Bools:
        """Whether each patient is accused."""
        return self._together(self.found.members, self.found.nonmembers)

    @cached_property
    def again(self) -> Bools:
        """The same under the site's bootstrap weights, with the threshold found anew."""
        others = self.ranked.site.weights[:, ~self.ranked.site.truth]
        return self._together(*self.found.again(self.ranked.placed, others))

    def _together(self, members: Bools, others: Bools) -> Bools:
        """Put what is known of members and of others back into one order."""
        truth = self.ranked.site.truth
        found = np.empty((*members.shape[:-1], len(truth)), dtype=np.bool_)
        found[..., truth], found[..., ~truth] = members, others
        return found


def accused(ranked: Sequence[Ranked], alpha: float, *, yes: bool = False) -> list[Accusing]:
    """Return whom the leak share accuses at every site, but for those it leaves out.

    Args:
        ranked: the sites.
        alpha: which share of others may be accused.
        yes: whether the attack answers yes or no; then who gets a yes is accused.

    Raises:
        TooFew: as ``stats.tpr_at_fpr`` or ``stats.accused_of_yes``.
    """
    sides = (
        stats.accused_of_yes([each.answers for each in ranked], alpha)
        if yes
        else stats.accused([each.placed for each in ranked], alpha)
    )
    return [Accusing(each, side) for each, side in zip(ranked, sides, strict=True) if side]


def check_guess(attack: Attack, guess: Guess, shape: tuple[int, ...]) -> None:
    """Refuse answers of the wrong shape.

    Raises:
        ContractError: says what was expected and what was found.
    """
    if guess.scores.shape != shape or not np.isfinite(guess.scores).all():
        raise ContractError(
            f"{type(attack).__name__} must give finite scores of shape {shape}; found shape "
            f"{guess.scores.shape}, {np.count_nonzero(~np.isfinite(guess.scores))} not finite."
        )


def counts_of(sites: Sequence[Site], challenge: Challenge) -> dict[str, Any]:
    """Return who was compared with whom."""
    return {
        "n_members": sum(site.n[0] for site in sites),
        "n_nonmembers": sum(site.n[1] for site in sites),
        "twins_removed": challenge.twins_removed,
    }


def auc_of(ranked: Sequence[Ranked], level: float = 0.95) -> Measure:
    """AUC within sites, combined, with its one-sided ``p_value`` and what was ``detectable``.

    ``p_turned`` is the other side: how often chance alone puts members as far below the others.

    Limits are ``stats.combine_auc``'s, widened by what clusters add (on nafld's matched sets
    they would otherwise cover 83 % instead of 95 %).

    Raises:
        ValueError: no site has both classes.
    """
    pieces = [each.labelled for each in ranked]
    replicates = _combined(ranked, [each.replicates for each in ranked])
    by = 1.0
    if any(each.site.clustered for each in ranked):
        loose = [stats.weighted_auc(*each.labelled, each.site.loose) for each in ranked]
        by = stretch(replicates, _combined(ranked, loose))
    found = stretched(stats.combine_auc(pieces, level), by, 0, 1)
    n1, n0 = ([each.site.n[side] for each in ranked] for side in (0, 1))
    return Measure(
        value=found.value,
        low=found.low,
        high=found.high,
        n=sum(n1) + sum(n0),
        part="auc",
        replicates=stats.recentre(found.value, replicates),
        least=0.0,
        most=1.0,
        facts={
            "p_value": softened(stats.auc_p_value(pieces), by),
            "p_turned": softened(stats.auc_p_value([(-s, truth) for s, truth in pieces]), by),
            "detectable": below_one(0.5 + by * (detectable_auc(n1, n0) - 0.5)),
        },
    )


def stretch(whole: Floats, loose: Floats) -> float:
    """How much wider intervals get because clusters, not patients, are drawn; at least 1.

    Args:
        whole: replicates with clusters drawn whole.
        loose: replicates with patients drawn alone.
    """
    spread = float(np.nanstd(loose))
    return max(1.0, float(np.nanstd(whole)) / spread) if spread > 0 else 1.0


def softened(p: float, by: float) -> float:
    """Return the p-value of a z-score that is so many times smaller."""
    return float(special.ndtr(special.ndtri(p) / by))


def below_one(detectable: float) -> float:
    """Return what could have been noticed, NaN if nothing."""
    return detectable if detectable < 1 else math.nan


def stretched(found: Interval, by: float, floor: float, ceiling: float) -> Interval:
    """Move both limits away from the value, and stop at the ends of the scale."""
    return Interval(
        found.value,
        max(floor, found.value - by * (found.value - found.low)),
        min(ceiling, found.value + by * (found.high - found.value)),
    )


def _combined(ranked: Sequence[Ranked], per_site: Sequence[Floats]) -> Floats:
    """Replicates of the AUC over all sites, weighted as ``stats.combine_auc`` weighs."""
    found = [stats.delong(*each.labelled) for each in ranked]
    value = np.array([each.value for each in found])
    variance = np.array([each.variance for each in found])
    pairs = np.array([min(each.site.n) for each in ranked])
    fine = (pairs >= 50) & (pairs * np.minimum(value, 1 - value) >= 1) & (variance > 0)
    draws = np.array(per_site)
    total = np.zeros(draws.shape[1])
    if fine.any():
        weight = (value * (1 - value))[fine] ** 2 / variance[fine]
        logits = special.logit(np.clip(draws[fine], 1e-9, 1 - 1e-9))
        total += pairs[fine].sum() * special.expit(weight @ logits / weight.sum())
    total += pairs[~fine] @ draws[~fine]
    return np.asarray(total / pairs.sum())
