"""Dealing patients to hospitals, and each hospital's own split."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.data import Cohort
from fedbench.errors import ContractError, SpecError
from fedbench.plugin import Plugin
from fedbench.seeds import Rng, Seeds

__all__ = ["Partition", "Partitioner", "Parts", "Split", "split_site"]


@dataclass(frozen=True)
class Partition:
    """Which patients live at which site: every patient, and every cluster, at exactly one."""

    patients: Mapping[str, NDArray[np.object_]]

    def check(self, cohort: Cohort) -> Partition:
        """Return this partition, or say what is wrong with it.

        Raises:
            ContractError: a patient is missing, dealt twice, or a cluster torn apart.
            SpecError: a site received too few patients to be split.
        """
        everyone = np.concatenate([np.array([], dtype=object), *self.patients.values()])
        if len(everyone) != len(set(everyone)):
            raise ContractError("A patient was dealt to two sites.")
        if set(everyone) != set(cohort.patients):
            raise ContractError(
                f"{len(set(cohort.patients) - set(everyone))} patients were dealt to no site."
            )
        homes = pd.DataFrame(
            {"cluster": cohort.clusters, "site": self.site_of(cohort.patients)}
        ).drop_duplicates()
        if homes["cluster"].duplicated().any():
            raise ContractError("A cluster was torn apart between sites.")
        if small := [f"{name} ({len(p)})" for name, p in self.patients.items() if len(p) < 2]:
            raise SpecError(
                f"These sites received fewer than two patients: {', '.join(small)}. "
                "Ask for fewer sites or less skew."
            )
        return self

    def site_of(self, patients: NDArray[np.object_]) -> NDArray[np.object_]:
        """Return the site of each of these patients."""
        known = pd.concat([pd.Series(site, index=p) for site, p in self.patients.items()])
        return known.reindex(patients).to_numpy(dtype=object)


class Partitioner(Plugin):
    """A rule for dealing patients out."""

    @abstractmethod
    def deal(self, cohort: Cohort, rng: Rng) -> Partition:
        """Deal every patient of ``cohort``, and every cluster whole, to a site."""


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
        [(np.arange(count) + rng.random()) / max(count, 1) for count in counts if count]
    )
    cuts = np.cumsum([parts.train, parts.held, parts.reference])
    part = np.empty(len(clusters), dtype=int)
    part[order] = np.searchsorted(cuts, place, side="right")
    found = [cohort.take(cohort.patients[part[owner] == index]) for index in range(4)]
    train, control, reference, test = found
    control = test if isinstance(parts.control, str) else control
    asked = {"train": train, "test": test, "control": control}
    if parts.reference:
        asked["reference"] = reference
    if empty := [name for name, cohort in asked.items() if not len(cohort)]:
        raise SpecError(
            f"Site {site!r} has {len(clusters)} patients or clusters, too few to fill "
            f"{' and '.join(empty)}. Merge sites, or change the parts."
        )
    return Split(train=train, test=test, control=control, reference=reference)
