"""Dealing patients to hospitals, and each hospital's own split."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.data import Cohort, Schema
from fedbench.errors import ContractError, SpecError
from fedbench.nouns import plural
from fedbench.plugin import Plugin
from fedbench.seeds import Rng, Seeds, normals

__all__ = [
    "Partition",
    "Partitioner",
    "Parts",
    "Place",
    "Split",
    "coins",
    "split_by_coins",
    "split_site",
    "units",
]

PARTS = ("train", "test", "control", "reference")


@dataclass(frozen=True)
class Partition:
    """Which patients live at which site: every patient, and every cluster, at exactly one.

    ``merged`` says which hospitals of the records a site stands for, where it is more than one,
    and how many patients each of them has.
    """

    patients: Mapping[str, NDArray[np.object_]]
    merged: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def check(self, cohort: Cohort) -> Partition:
        """Return this partition, or say what is wrong with it.

        Raises:
            ContractError: a patient is missing, dealt twice, or a cluster torn apart.
        """
        everyone = np.concatenate([np.array([], dtype=object), *self.patients.values()])
        if len(everyone) != len(set(everyone)):
            raise ContractError("A patient was dealt to two sites.")
        if set(everyone) != set(cohort.patients):
            raise ContractError(
                plural(len(set(cohort.patients) - set(everyone)), "patient was", "patients were")
                + " dealt to no site."
            )
        homes = pd.DataFrame(
            {"cluster": cohort.clusters, "site": self.site_of(cohort.patients)}
        ).drop_duplicates()
        if homes["cluster"].duplicated().any():
            raise ContractError("A cluster was torn apart between sites.")
        return self

    def site_of(self, patients: NDArray[np.object_]) -> NDArray[np.object_]:
        """Return the site of each of these patients."""
        known = pd.concat([pd.Series(site, index=p) for site, p in self.patients.items()])
        return known.reindex(patients).to_numpy(dtype=object)


@dataclass(frozen=True)
class Place:
    """One part (train, test, control or reference) of one site of a partition.

    ``everyone`` has the records of all patients of the site, as they were before any change.
    """

    site: str
    part: str
    dealt: Partition
    everyone: Cohort


class Partitioner(Plugin):
    """A rule for dealing patients out, and for what their hospitals write down about them."""

    @property
    def alters(self) -> frozenset[str]:
        """The parts of a site whose records ``alter`` may change; none, usually."""
        return frozenset()

    @property
    def chain(self) -> tuple[Partitioner, ...]:
        """This partitioner and those it is made of."""
        return (self,)

    def agreed(self, schema: Schema) -> Schema:
        """Return the schema that the hospitals share; the one of the dataset, usually.

        Raises:
            Unsupported: records of this kind cannot be dealt so.
        """
        return schema

    @abstractmethod
    def deal(self, cohort: Cohort, rng: Rng) -> Partition:
        """Deal every patient of ``cohort``, and every cluster whole, to a site."""

    def alter(self, records: Cohort, place: Place, rng: Rng) -> Cohort:
        """Return records as the hospital at this place writes them down: the same patients.

        ``rng`` is the same stream for every part of a site.
        """
        return records

    def numbers(self, cohort: Cohort, dealt: Partition) -> Mapping[str, Mapping[str, float]]:
        """Return what else is to be known about sites, by site and name; nothing, usually.

        ``cohort`` has the records as they were before any change.
        """
        return {}

    def advice(self, minimum: int) -> str:
        """Say what to change so that every site has at least so many patients."""
        return "Ask for fewer sites or less skew, or change the parts of the dataset."


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Shares of each site's own patients; the rest is ``test``.

    ``control = "test"`` plays the test patients as non-members, for cohorts too small to
    spare both; they are never trained on either way.
    """

    train: float
    control: float | str = "test"
    reference: float = 0.0

    def __post_init__(self) -> None:
        if self.control != "test" and isinstance(self.control, str):
            raise SpecError(f"control is a share or 'test', found {self.control!r}.")
        shares = (self.train, self.held, self.reference)
        if not (self.train > 0 and min(shares) >= 0 and sum(shares) < 1):
            raise SpecError(
                "The shares of train, control and reference must be positive and leave some "
                f"patients for test; found {shares}."
            )

    @property
    def held(self) -> float:
        """The share kept as non-members beside the test patients."""
        return 0.0 if isinstance(self.control, str) else self.control

    @property
    def shares(self) -> Mapping[str, float]:
        """The share of each part that is asked for."""
        rest = 1 - self.train - self.held - self.reference
        found = {"train": self.train, "control": self.held, "reference": self.reference}
        return {name: share for name, share in {**found, "test": rest}.items() if share > 0}

    @property
    def enough(self) -> int:
        """Patients (clusters) with which no part of a site stays empty, whoever has events."""
        alike = math.ceil(1 / min(self.shares.values()) - 1e-9)
        return 2 * alike - 1  # so many must be on one side: with events, or without


def units(schema: Schema) -> str:
    """Return what is counted where a site must be large enough: who stays together counts once."""
    return f"clusters ({schema.cluster})" if schema.cluster else "patients"


@dataclass(frozen=True)
class Split:
    """The four parts of one site, all its own patients."""

    train: Cohort
    test: Cohort
    control: Cohort
    reference: Cohort

    @cached_property
    def everyone(self) -> NDArray[np.object_]:
        """Every patient of the site, each once."""
        return np.unique(np.concatenate([getattr(self, f.name).patients for f in fields(self)]))


def split_site(cohort: Cohort, site: str, parts: Parts, seeds: Seeds) -> Split:
    """Split one site's patients, as the site would do alone.

    The stream is ``child("split", site)`` over sorted clusters, so a hospital on its own
    machine gets the same split. Clusters stay whole; outcome classes are spread evenly.

    Raises:
        SpecError: a part that is asked for stays empty.
    """
    rng = seeds.child("split", site).rng()
    clusters, owner = np.unique(cohort.clusters.astype(str), return_inverse=True)
    # Order clusters at random within outcome strata, then cut every stratum at the same shares.
    seen = np.bincount(owner, weights=cohort.event if len(cohort.outcome) else None) > 0
    order = rng.permutation(len(clusters))
    order = order[np.argsort(seen[order], kind="stable")]
    counts = np.bincount(seen.astype(int), minlength=2)
    place = np.concatenate(
        [[], *((np.arange(count) + rng.random()) / count for count in counts if count)]
    )
    cuts = np.cumsum([parts.train, parts.held, parts.reference])
    part = np.empty(len(clusters), dtype=int)
    part[order] = np.searchsorted(cuts, place, side="right")
    found = _divided(cohort, parts, part[owner])
    asked = ["train", "test", "control", *(["reference"] if parts.reference else [])]
    if empty := [name for name in asked if not len(getattr(found, name))]:
        raise SpecError(
            f"Site {site!r} has {len(clusters)} {units(cohort.schema)}, too few to fill "
            f"{' and '.join(empty)}; with these parts, {parts.enough} are always enough."
        )
    return found


def split_by_coins(cohort: Cohort, site: str, parts: Parts, seeds: Seeds) -> Split:
    """Split one site's patients, every cluster by a coin of its own.

    Nobody's part depends on who else is there, so that with or without one patient all others are
    in the same part, which differential privacy needs. Shares then hold on average only, and a
    part may be empty.
    """
    from scipy.special import ndtri  # noqa: PLC0415  (keeps ``fedbench --help`` quick)

    cuts = ndtri(np.cumsum([parts.train, parts.held, parts.reference]))
    tossed = coins(cohort, seeds.child("split", site))
    return _divided(cohort, parts, np.searchsorted(cuts, tossed, side="right"))


def coins(cohort: Cohort, seeds: Seeds) -> NDArray[np.float64]:
    """Return a standard normal number for every patient: that of her cluster, wherever it is."""
    names = cohort.clusters.astype(str).astype(object)
    keys = pd.util.hash_array(names, categorize=False)
    return normals(keys, 1, seeds.number())[:, 0]


def _divided(cohort: Cohort, parts: Parts, part: NDArray[np.intp]) -> Split:
    """Return patients by the number of their part: train, control, reference or test."""
    found = [cohort.take(cohort.patients[part == index]) for index in range(4)]
    train, control, reference, test = found
    control = test if isinstance(parts.control, str) else control
    return Split(train=train, test=test, control=control, reference=reference)
