"""How different are the hospitals that patients were dealt to?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.data import Cohort, Feature
from fedbench.partition import Partition

__all__ = ["Index", "altered", "indices"]

Floats = NDArray[np.float64]

GROUPS = 10
"""Numbers are compared in this many groups of equal size in the pool, and one for missing."""


@dataclass(frozen=True)
class Index:
    """One number about one site, or about all of them where ``site`` is empty."""

    site: str
    name: str
    value: float


def indices(cohort: Cohort, partition: Partition) -> list[Index]:
    """Return how unequal the sites are in size, outcome and everything else.

    Per site:

    * ``patients`` and ``share`` of all patients,
    * ``event rate``, where there is an outcome,
    * ``missing``: share of the fields of the patient table that are empty,
    * ``codes in SYSTEM``: share of the recorded diagnoses, where there are several systems,
    * ``divergence``: Jensen-Shannon divergence (base 2, 0 to 1) between the site and the
      pool, its own patients included, averaged over the columns of the patient table,
    * ``divergence by chance``: about what patients drawn at random would show. A small site
      always looks different; compare it with this before calling it so. Clusters of people who
      are alike (matched sets) differ by somewhat more.

    A site that several small hospitals were merged into has ``patients of`` each of them.
    For all sites: ``largest label divergence`` (of the event), ``size gini`` (0: all equal)
    and ``size ratio`` (largest to smallest).
    """
    names = list(partition.patients)
    site = pd.Categorical(partition.site_of(cohort.patients), categories=names).codes.astype(
        np.intp
    )
    size = np.bincount(site, minlength=len(names)).astype(np.float64)
    found = [
        *_each("patients", names, size),
        *_each("share", names, size / size.sum()),
        *_each("missing", names, np.bincount(site, cohort.table.isna().mean(axis=1)) / size),
        *_systems(cohort, partition),
        *_each("divergence", names, *_divergences(cohort, site, size)),
        *_sizes(size),
        *(
            Index(site, f"patients of {hospital}", float(count))
            for site, hospitals in partition.merged.items()
            for hospital, count in hospitals.items()
        ),
    ]
    if cohort.schema.outcome:
        rate = np.bincount(site, weights=cohort.event, minlength=len(names)) / size
        label = _shares(cohort.event.astype(np.intp), 2, site, len(names))
        found += [
            *_each("event rate", names, rate),
            Index("", "largest label divergence", float(_divergence(label, size).max())),
        ]
    return found


def altered(site: str, before: Cohort, after: Cohort) -> list[Index]:
    """Return what a site writes down otherwise than the records that it was dealt.

    * ``lost COLUMN``: share of the known values that are missing then,
    * ``changed COLUMN``: share of the values that are still known and are others.

    What did not change has none. ``time`` and ``event`` of the outcome are columns, too; codes
    are ``codes in SYSTEM``, where as many are in the system as before.

    Args:
        site: its name.
        before: some of its patients.
        after: the same patients, as the site writes them down.
    """
    found: list[Index] = []
    for name in ("static", "visits", "outcome"):
        old, new = getattr(before, name), getattr(after, name)
        keys = [column for column in ("patient", "day") if column in old]
        same = old[keys].reset_index(drop=True).equals(new[keys].reset_index(drop=True))
        for column in old.columns.difference(keys, sort=False):
            was, now = old[column].notna().to_numpy(), new[column].notna().to_numpy()
            lost = 1 - now.sum() / was.sum() if was.any() else 0.0
            if lost > 0:
                found.append(Index(site, f"lost {column}", float(lost)))
            if same and (both := was & now).any():
                other = old[column].to_numpy()[both] != new[column].to_numpy()[both]
                if other.any():
                    found.append(Index(site, f"changed {column}", float(other.mean())))
    return found + _otherwise(site, before.codes, after.codes)


def _otherwise(site: str, before: pd.DataFrame, after: pd.DataFrame) -> list[Index]:
    found = []
    for system, old in before.groupby("system", observed=True, sort=True):
        new = after[after["system"] == system]
        if len(new) != len(old):
            continue
        by = ["patient", "day", "code"]
        each, others = (
            rows[by].astype(str).assign(again=rows.groupby(by, observed=True).cumcount())
            for rows in (old, new)
        )
        kept = len(each.merge(others))
        if kept < len(old):
            found.append(Index(site, f"changed codes in {system}", 1 - kept / len(old)))
    return found


def _each(name: str, sites: list[str], *values: Floats) -> Iterator[Index]:
    for label, row in zip((name, f"{name} by chance"), values, strict=False):
        for site, value in zip(sites, row, strict=True):
            yield Index(site, label, float(value))


def _systems(cohort: Cohort, partition: Partition) -> Iterator[Index]:
    """Yield how the diagnoses of every site that has any are written."""
    if len(cohort.schema.vocabularies) < 2:
        return
    codes = cohort.codes
    home = partition.site_of(codes["patient"].to_numpy(dtype=object))
    for site, systems in codes["system"].groupby(home, sort=True):
        share = systems.value_counts(normalize=True)
        for system in cohort.schema.vocabularies:
            yield Index(str(site), f"codes in {system}", float(share.get(system, 0.0)))


def _sizes(size: Floats) -> Iterator[Index]:
    n = len(size)
    rank = 2 * np.arange(1, n + 1) - n - 1
    yield Index("", "size gini", float((rank * np.sort(size)).sum() / (n * size.sum())))
    yield Index("", "size ratio", float(size.max() / size.min()))


def _divergences(cohort: Cohort, site: NDArray[np.intp], size: Floats) -> tuple[Floats, Floats]:
    """Return the mean over columns, seen and expected by chance, for every site."""
    seen, chance = [], []
    for feature in cohort.schema.features:
        groups, n = _grouped(cohort.table[feature.name], feature)
        shares = _shares(groups, n, site, len(size))
        seen.append(_divergence(shares, size))
        chance.append(_by_chance(int((shares.sum(axis=0) > 0).sum()), size))
    return np.mean(seen, axis=0), np.mean(chance, axis=0)


def _grouped(values: pd.Series, feature: Feature) -> tuple[NDArray[np.intp], int]:
    """Return a group for every patient, and how many groups there are; missing is the last."""
    if feature.column.kind == "category":
        groups, n = values.cat.codes.to_numpy(), len(feature.column.levels)
    else:
        number = values.to_numpy(dtype=np.float64)
        known = number[~np.isnan(number)]
        cuts = np.unique(np.quantile(known, np.arange(1, GROUPS) / GROUPS)) if len(known) else known
        groups, n = np.searchsorted(cuts, number, side="right"), len(cuts) + 1
        groups = np.where(np.isnan(number), -1, groups)
    return np.where(groups < 0, n, groups).astype(np.intp), n + 1


def _shares(groups: NDArray[np.intp], n: int, site: NDArray[np.intp], sites: int) -> Floats:
    """Return the distribution over groups at every site, shape (sites, groups)."""
    counts = np.bincount(site * n + groups, minlength=sites * n).reshape(sites, n)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True), dtype=np.float64)


def _divergence(shares: Floats, size: Floats) -> Floats:
    pool = (size / size.sum()) @ shares
    middle = (shares + pool) / 2
    return (_information(shares, middle) + _information(pool[None, :], middle)) / 2


def _information(p: Floats, q: Floats) -> Floats:
    """Kullback-Leibler divergence in bits, row by row."""
    p = np.broadcast_to(p, q.shape)
    ratio = np.divide(p, q, out=np.ones_like(q), where=p > 0)
    return np.asarray((p * np.log2(ratio)).sum(axis=1), dtype=np.float64)


def _by_chance(groups: int, size: Floats) -> Floats:
    """Return the expected divergence of a random subset, to second order.

    For small differences it is chi-squared distance / (8 ln 2), and a site with n of N patients
    has an expected distance of (groups - 1)(1/n - 1/N).
    """
    return np.asarray((groups - 1) * (1 / size - 1 / size.sum()) / (8 * np.log(2)))
