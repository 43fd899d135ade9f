"""Planting records of one's own among those that are trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fedbench.attack import Planting
from fedbench.data import TABLES, Cohort
from fedbench.errors import ContractError
from fedbench.seeds import Seeds

__all__ = ["PLANTED", "Canaries", "sown"]

PLANTED = "+canaries"
"""What the label of a cell ends with that was trained on canaries."""


@dataclass(frozen=True)
class Canaries:
    """Records that were planted, each at one hospital: those trained on and those left out."""

    there: Mapping[str, Cohort]
    left: Mapping[str, Cohort]


def sown(attack: Planting, like: Cohort, sites: Sequence[str], seeds: Seeds) -> Canaries:
    """Let an attack plant its canaries, spread over hospitals, each by a coin of its own.

    Args:
        attack: makes them.
        like: the attacker's own patients, and so the schema.
        sites: take canaries in turn.
        seeds: the attack draws from ``canaries``, the coins from ``coins``.

    Raises:
        ContractError: the canaries are too few, described otherwise, or not all different.
    """
    found = _named(attack, attack.plant(like, seeds.child("canaries").rng()), like)
    place = np.arange(len(found)) % len(sites)
    inside = seeds.child("coins").rng().random(len(found)) < 0.5
    there, left = (
        {site: found.take(found.patients[side & (place == k)]) for k, site in enumerate(sites)}
        for side in (inside, ~inside)
    )
    return Canaries(there, left)


def _named(attack: Planting, found: Cohort, like: Cohort) -> Cohort:
    name = type(attack).__name__
    if found.schema != like.schema or len(found) != attack.canaries:
        raise ContractError(
            f"{name}: plant must return {attack.canaries} records of the schema "
            f"{like.schema.name!r}; found {len(found)} of {found.schema.name!r}."
        )
    if found.table.duplicated().any():
        raise ContractError(f"{name}: plant returned canaries that are exactly alike.")
    names = [f"canary {i:0{len(str(len(found)))}d}" for i in range(len(found))]
    return _renamed(found, names)


def _renamed(cohort: Cohort, names: Sequence[str]) -> Cohort:
    """Return the same records under these names, each a cluster of its own."""
    new, cluster = pd.Series(names, index=cohort.patients, dtype=object), cohort.schema.cluster
    found = {name: getattr(cohort, name) for name in TABLES}
    tables = {
        name: table.assign(patient=new.reindex(table["patient"]).to_numpy(dtype=object))
        for name, table in found.items()
    }
    if cluster is not None:
        tables["static"] = tables["static"].assign(**{cluster: tables["static"]["patient"]})
    return Cohort(cohort.schema, **tables)
