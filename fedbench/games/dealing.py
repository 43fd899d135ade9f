"""Dealing challenges: who is asked about, and what stays hidden."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from fedbench.attack import (
    Attack,
    Knowledge,
    PublicChallenge,
    Roster,
    Sight,
    answers_of,
    levels_of,
)
from fedbench.data import TABLES, Cohort, Feature, Part, Schema, by_content, looks_of
from fedbench.errors import ContractError
from fedbench.games.canaries import Claim
from fedbench.seeds import Rng

__all__ = [
    "Challenge",
    "Lineup",
    "SplitControl",
    "attribute_challenges",
    "membership_challenge",
    "secrets_of",
    "show",
    "split_control",
]

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Objects = NDArray[np.object_]

RANGES = 5
"""Of equally many patients, in one of which a secret number lies."""


@dataclass(frozen=True)
class Challenge:
    """What is asked, and the truth about it.

    ``truth`` says who is a member; ``answers`` is the level of the secret in the attribute
    game, and ``roster`` the lists on which patients stand; ``pairs`` is the row of ``others``
    that belongs to each target in the linkage game; ``records`` and ``homes`` are the patients,
    none of whom is shown, in the singling-out and the reconstruction game, and in the linkage
    game ``records`` are all who were trained on; ``claim`` is what was
    promised about canaries. ``patients`` and ``clusters`` are for the harness alone.
    """

    public: PublicChallenge
    truth: Bools
    patients: Objects
    clusters: Objects
    twins_removed: int
    answers: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    pairs: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    records: pd.DataFrame = field(default_factory=pd.DataFrame)
    homes: Objects = field(default_factory=lambda: np.empty(0, dtype=object))
    claim: Claim = field(default_factory=Claim)
    roster: Roster | None = None

    @property
    def sites(self) -> Objects:
        """The hospital of every target."""
        return self.public.sites


def show(
    attack: Attack,
    schema: Schema,
    held: Mapping[Knowledge, Any],
    found: dict[tuple[str, int], Any] | None = None,
) -> Sight:
    """Return what this attack declared, out of what there is, and nothing else.

    ``found`` is what attacks share with those that hold the same.
    """
    seen = {k: v for k, v in held.items() if k in attack.knows}
    return Sight(schema, attack.knows, seen, {} if found is None else found)


@dataclass(frozen=True)
class Lineup:
    """Members and others as one patient table, in an order that depends on names alone.

    ``cohorts`` hold their whole records.
    """

    table: pd.DataFrame
    sites: Objects
    truth: Bools
    clusters: Objects
    twins: int = 0
    answers: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    cohorts: tuple[Cohort, ...] = ()

    @classmethod
    def of(
        cls, schema: Schema, members: Mapping[str, Cohort], others: Mapping[str, Cohort]
    ) -> Lineup:
        """Return those who can be told apart."""
        return cls.everybody(schema, members, others).without_twins()

    @classmethod
    def everybody(
        cls, schema: Schema, members: Mapping[str, Cohort], others: Mapping[str, Cohort]
    ) -> Lineup:
        pieces = [
            (site, truth, cohort)
            for truth, side in ((True, members), (False, others))
            for site, cohort in side.items()
            if len(cohort)
        ]
        if not pieces:
            raise ContractError("A challenge needs patients; there are none.")
        if any(cohort.schema != schema for _, _, cohort in pieces):
            raise ContractError(f"All patients must be described by the schema {schema.name!r}.")
        lineup = cls(
            pd.concat([cohort.table for _, _, cohort in pieces]),
            np.concatenate([np.full(len(c), site, dtype=object) for site, _, c in pieces]),
            np.concatenate([np.full(len(c), truth) for _, truth, c in pieces]),
            np.concatenate([c.clusters.astype(str).astype(object) for _, _, c in pieces]),
            cohorts=tuple(cohort for _, _, cohort in pieces),
        )
        if lineup.table.index.has_duplicates:
            raise ContractError("A patient is dealt twice to one challenge.")
        patients = lineup.table.index.to_numpy(dtype=str)
        return lineup.take(np.lexsort((patients, lineup.sites.astype(str))))

    def take(self, rows: Ints | Bools) -> Lineup:
        return replace(
            self,
            table=self.table.iloc[rows],
            sites=self.sites[rows],
            truth=self.truth[rows],
            clusters=self.clusters[rows],
            answers=self.answers[rows] if len(self.answers) else self.answers,
        )

    def without_twins(self) -> Lineup:
        """Leave out who looks like somebody of the other class: unanswerable.

        Then all who look like somebody else go, also of their own class. Of two who are alike, both
        would be members more often than both others where members are many, so that who is left
        would tell the classes apart by how common a look is, whatever was released.
        """
        looks = looks_of(self.table)
        if not np.isin(looks[self.truth], looks[~self.truth]).any():
            return self
        _, who, times = np.unique(looks, return_inverse=True, return_counts=True)
        twin = times[who] > 1
        return replace(self.take(~twin), twins=int(twin.sum()))

    def ask(self, rng: Rng, secret: Feature | None = None, hide: Sequence[str] = ()) -> Challenge:
        """Shuffle, and hide who is who."""
        order = rng.permutation(len(self.truth))
        mixed = self.take(order)
        targets = mixed.table.drop(columns=list(hide)).reset_index(drop=True)
        patients = mixed.table.index.to_numpy(dtype=object)
        public = (
            PublicChallenge("attribute", targets, mixed.sites, secret.name)
            if secret
            else PublicChallenge(
                "membership", targets, mixed.sites, _gather=partial(_whole, self.cohorts, patients)
            )
        )
        return Challenge(
            public,
            mixed.truth,
            patients,
            mixed.clusters,
            self.twins,
            mixed.answers,
        )


def _whole(cohorts: Sequence[Cohort], patients: Objects) -> Cohort:
    """Return the records of these patients under their numbers, which sort as they stand.

    Rows of one day are in an order of their own, as that of a file may be its side's. Clusters
    are left out: who belongs together is on one side.
    """
    width = len(str(len(patients)))
    new = pd.Series([f"{i:0{width}d}" for i in range(len(patients))], index=patients, dtype=object)

    def together(name: str) -> pd.DataFrame:
        pieces: list[pd.DataFrame] = [getattr(cohort, name) for cohort in cohorts]
        table: pd.DataFrame = pd.concat([piece for piece in pieces if len(piece)] or pieces[:1])
        table = table[table["patient"].isin(new.index)]
        table = table.assign(patient=new.reindex(table["patient"]).to_numpy(dtype=object))
        return by_content(table)

    schema = cohorts[0].schema
    static, *others = (together(name) for name in TABLES)
    if schema.cluster not in (None, *schema.static):
        static = static.drop(columns=schema.cluster)
    return Cohort(replace(schema, cluster=None), static, *others)


def membership_challenge(
    schema: Schema, members: Mapping[str, Cohort], nonmembers: Mapping[str, Cohort], rng: Rng
) -> Challenge:
    """Mix members with others of the same hospitals, without exact twins.

    Args:
        schema: of all these cohorts.
        members: the training records of each site.
        nonmembers: other patients of each site, never trained on.
        rng: shuffles; no number depends on the order.

    Raises:
        ContractError: nobody is there, somebody twice, or somebody described otherwise.
    """
    return Lineup.of(schema, members, nonmembers).ask(rng)


def secrets_of(cohort: Cohort, most: int) -> list[str]:
    """Return the sensitive categories worth guessing, the most uncertain first.

    Sensitive numbers are not asked for, and of a source seen in several windows one is. Choose
    from the whole cohort, so that every cell is asked for the same secrets.
    """
    best: dict[tuple[str, ...], tuple[float, str]] = {}
    for feature in cohort.schema.features:
        if "sensitive" in feature.column.roles and feature.column.kind == "category":
            found = (_entropy(levels_of(cohort.table, feature)), feature.name)
            source = (feature.part, feature.system, feature.source)
            best[source] = max(best.get(source, found), found)
    return [name for _, name in sorted(best.values(), key=lambda pair: (-pair[0], pair[1]))][:most]


def attribute_challenges(
    schema: Schema,
    members: Mapping[str, Cohort],
    nonmembers: Mapping[str, Cohort],
    rng: Rng,
    secrets: Sequence[str],
) -> list[Challenge]:
    """Ask for these secrets, see ``secrets_of``.

    Other windows of the same source are hidden, like all that is described within the secret's
    levels. Patients without the secret are left out. Of a number it is asked in which of
    ``RANGES`` ranges it lies, which hold equally many of these patients.
    """
    lineup = Lineup.of(schema, members, nonmembers)
    return [_ask_for(lineup, schema, schema.feature(name), rng) for name in secrets]


def _ask_for(lineup: Lineup, schema: Schema, secret: Feature, rng: Rng) -> Challenge:
    hide = [other.name for other in schema.features if _tells(other, secret)]
    cuts = _cuts(lineup.table[secret.name]) if secret.column.kind != "category" else ()
    answers = answers_of(lineup.table, secret, cuts)
    known = answers >= 0
    asked = replace(lineup.take(known), answers=answers[known]).ask(rng, secret, hide)
    choices = _choices(lineup.table[known], secret, answers[known])
    public = replace(asked.public, choices=choices, cuts=cuts)
    return replace(asked, public=public, roster=_roster(asked, lineup.take(~known)))


def _cuts(values: pd.Series) -> tuple[float, ...]:
    """Return what parts equally many values, as far as they are not equal."""
    known = np.sort(values.dropna().to_numpy(dtype=np.float64))
    places = (np.arange(1, RANGES) * len(known)) // RANGES
    found = np.unique(known[places]) if len(known) else np.empty(0)
    return tuple(found[found > known[0]].tolist()) if len(known) else ()


def _choices(table: pd.DataFrame, secret: Feature, answers: Ints) -> tuple[str | float, ...]:
    if secret.column.kind == "category":
        return tuple(secret.column.levels)
    values = pd.Series(table[secret.name].to_numpy(dtype=np.float64)).groupby(answers).median()
    return tuple(values.to_list())


def _roster(asked: Challenge, silent: Lineup) -> Roster:
    """Put the patients of each hospital on lists: members on one, as many others on each other.

    ``silent`` are those who have no answer.
    """
    lists = np.empty(len(asked.truth), dtype=np.int64)
    silent_lists = np.empty(len(silent.truth), dtype=np.int64)
    begun = 0
    for site in np.unique(asked.sites.astype(str)):
        here, there = asked.sites.astype(str) == site, silent.sites.astype(str) == site
        members, others = (np.flatnonzero(here & side) for side in (asked.truth, ~asked.truth))
        pieces = _pieces(others, len(members))
        more = np.array_split(np.flatnonzero(there & ~silent.truth), max(len(pieces), 1))
        lists[members] = silent_lists[there & silent.truth] = begun
        for number, (rows, quiet) in enumerate(zip(pieces, more, strict=False), begun + 1):
            lists[rows] = silent_lists[quiet] = number
        begun += 1 + len(pieces)
    return Roster(lists, silent.table.reset_index(drop=True), silent_lists)


def _pieces(others: Ints, size: int) -> list[Ints]:
    """Cut into pieces of so many; a rest of less than half of that joins the last one."""
    pieces = max(round(len(others) / size), 1) if size else 1
    return [piece for piece in np.array_split(others, pieces) if len(piece)]


def _tells(other: Feature, secret: Feature) -> bool:
    same = (other.part, other.system, other.source) == (secret.part, secret.system, secret.source)
    implied = secret.part is Part.STATIC and other.column.implies == secret.source
    return same or implied or other.given == secret.name


def _entropy(levels: Ints) -> float:
    """Shannon entropy of what is not missing."""
    share = np.bincount(levels[levels >= 0]) / max(int((levels >= 0).sum()), 1)
    return float(special.entr(share).sum())


@dataclass(frozen=True)
class SplitControl:
    """The control part in two: one half plays an independent release."""

    release: Mapping[str, Cohort]
    nonmembers: Mapping[str, Cohort]
    note: str


def split_control(control: Mapping[str, Cohort], rng: Rng) -> SplitControl:
    """Halve every site's control patients, whole clusters, for want of reference patients."""
    release, rest = {}, {}
    for site in sorted(control):
        cohort = control[site]
        names, owner = np.unique(cohort.clusters.astype(str), return_inverse=True)
        first = (rng.permutation(len(names)) % 2 == 0)[owner]
        release[site] = cohort.take(cohort.patients[first])
        rest[site] = cohort.take(cohort.patients[~first])
    before, after = (sum(map(len, part.values())) for part in (control, rest))
    note = (
        f"There are no reference patients, so half of the control played the independent "
        f"release: the null control compared with {after:,} others instead of {before:,} and "
        f"would miss leaks smaller than {math.sqrt(before / max(after, 1)):.1f} times what the "
        "audit finds."
    )
    return SplitControl(release, rest, note)
