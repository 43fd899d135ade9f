"""How the hospitals differ, in words and numbers: before a run, and in its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fedbench.nouns import plural
from fedbench.report.words import joined, number, people, percent

__all__ = ["differences"]

Json = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]
"""What ``fedbench.heterogeneity`` says about one seed: site, name, value."""

ALIKE = 2.0
"""Times what chance would show: matched sets, whom nobody tears apart, differ by more than it."""
NEAR = 0.001
MAPPED = "mapped to "
MERGED = "patients of "
LOST, CHANGED = "lost ", "changed "
FEW = 6
"""Columns that are named one by one."""


def differences(seeds: Sequence[Rows], event: str) -> Json:
    """Return sentences, a table and the numbers behind both.

    Args:
        seeds: what is known about the hospitals, once for every seed.
        event: what the outcome is called; empty where there is none.
    """
    found = _Known.of(seeds)
    columns = list(_columns(found, event))
    return {
        "sentences": list(_sentences(found, event)),
        "columns": [{"title": column.title, "hint": column.hint} for column in columns],
        "rows": [
            {"site": site, "cells": [column.cell(found, site) for column in columns]}
            for site in found.sites
        ],
        "numbers": [
            {"site": site, "name": name, "low": min(values), "high": max(values)}
            for (site, name), values in sorted(found.values.items())
        ],
    }


@dataclass(frozen=True)
class _Known:
    """The values of every seed by site and name."""

    values: Mapping[tuple[str, str], Sequence[float]]

    @classmethod
    def of(cls, seeds: Sequence[Rows]) -> _Known:
        found: dict[tuple[str, str], list[float]] = {}
        for rows in seeds:
            for row in rows:
                found.setdefault((row["site"], row["name"]), []).append(float(row["value"]))
        return cls(found)

    @cached_property
    def sites(self) -> Sequence[str]:
        return sorted({site for site, _ in self.values if site})

    @cached_property
    def names(self) -> Sequence[str]:
        return sorted({name for _, name in self.values})

    def mean(self, name: str, site: str = "") -> float:
        return float(np.mean(self.values[site, name]))

    def by_site(self, name: str) -> Mapping[str, float]:
        """Return the mean over seeds for every hospital that has it."""
        return {site: self.mean(name, site) for site in self.sites if (site, name) in self.values}

    def ends(self, name: str) -> tuple[tuple[str, float], tuple[str, float]]:
        """Return the hospital with the lowest mean and that with the highest."""
        found = self.by_site(name).items()
        return min(found, key=lambda pair: pair[1]), max(found, key=lambda pair: pair[1])


@dataclass(frozen=True)
class _Column:
    title: str
    hint: str
    name: str

    def cell(self, found: _Known, site: str) -> str:
        values = found.values.get((site, self.name), ())
        if not values:
            return ""
        low, high = min(values), max(values)
        if self.name == "patients":
            return people([round(low), round(high)])
        say = _far if self.name.startswith("divergence") else percent
        return say(low) if say(low) == say(high) else f"{say(low)} to {say(high)}"


def _columns(found: _Known, event: str) -> Iterator[_Column]:
    yield _Column("patients", "", "patients")
    if "event rate" in found.names:
        yield _Column(event or "event", "share of patients", "event rate")
    yield _Column("empty", "share of fields", "missing")
    for name in found.names:
        if name.startswith("codes in "):
            yield _Column(f"in {name.removeprefix('codes in ')}", "share of diagnoses", name)
    yield _Column("unlike all together", "0 alike, 1 nothing in common", "divergence")
    yield _Column("by chance", "the same, if drawn at random", "divergence by chance")


def _sentences(found: _Known, event: str) -> Iterator[str]:
    if len(found.sites) == 1:
        yield "There is one hospital, so none that could differ from it."
    else:
        yield from _sizes(found)
    yield from _merged(found)
    if len(found.sites) > 1:
        yield from _shares(found, event)
        yield from _unlike(found)
    yield from _mapped(found)
    yield from _altered(found)


def _sizes(found: _Known) -> Iterator[str]:
    (small, least), (large, most) = found.ends("patients")
    if round(least) == round(most):
        yield f"{plural(len(found.sites), 'hospital')} with {people(round(most))} patients each."
        return
    ratio = found.mean("size ratio")
    times = f": {number(ratio, 1)} times as many" if round(ratio, 1) > 1 else ""
    yield (
        f"{plural(len(found.sites), 'hospital')}: from {people(round(least))} patients ({small}) "
        f"to {people(round(most))} ({large}){times}."
    )


def _merged(found: _Known) -> Iterator[str]:
    for site in found.sites:
        sizes = [
            round(min(values))
            for (at, name), values in found.values.items()
            if at == site and name.startswith(MERGED)
        ]
        if sizes:
            yield (
                f"“{site}” stands for {plural(len(sizes), 'hospital')} of the records, with "
                f"{people([min(sizes), max(sizes)])} patients each."
            )


def _shares(found: _Known, event: str) -> Iterator[str]:
    if "event rate" in found.names:
        yield _from_to(found, "event rate", f"{_capital(event or 'event')}:", "of patients")
    yield _from_to(found, "missing", "Empty fields:", "of all")
    for name in found.names:
        if name.startswith("codes in "):
            system = name.removeprefix("codes in ")
            yield _from_to(found, name, f"Written in {system}:", "of diagnoses")


def _from_to(found: _Known, name: str, what: str, of: str) -> str:
    (low, least), (high, most) = found.ends(name)
    if percent(least) == percent(most):
        return f"{what} {percent(least)} {of} everywhere."
    return f"{what} {percent(least)} {of} ({low}) to {percent(most)} ({high})."


def _unlike(found: _Known) -> Iterator[str]:
    """Say how far the hospitals are from all together, beside what chance would show."""
    (near, least), (far, most) = found.ends("divergence")
    (_, low), (_, high) = found.ends("divergence by chance")
    chance = _far(low) if _far(low) == _far(high) else f"{_far(low)} to {_far(high)}"
    yield (
        "Averaged over all columns, the patients of a hospital are unlike those of all together by "
        f"{_far(least)} ({near}) to {_far(most)} ({far}), where 0 is alike and 1 nothing in "
        f"common. With as many patients drawn at random it would be {chance}."
    )
    by_chance = found.by_site("divergence by chance")
    times = {
        site: value / by_chance[site]
        for site, value in found.by_site("divergence").items()
        if by_chance[site] > 0
    }
    if not times:
        return
    site = max(times, key=lambda each: times[each])
    if times[site] < ALIKE:
        yield f"So they are alike: none differs by more than {number(times[site], 1)} times chance."
    else:
        yield f"Most beyond chance is {site}: {number(times[site], 1)} times as unlike."


def _mapped(found: _Known) -> Iterator[str]:
    """Say how much of what a hospital writes in another coding system could be mapped."""
    for site in found.sites:
        for name in found.names:
            system = name.removeprefix(f"diagnoses {MAPPED}")
            if system == name or (site, name) not in found.values:
                continue
            diagnoses, codes = (
                _covered(found, site, what, system) for what in ("diagnoses", "codes")
            )
            yield (
                f"{site} writes its diagnoses in {system}: {diagnoses} have a counterpart, and of "
                f"the different codes {codes}; the others stay as they are."
            )


def _covered(found: _Known, site: str, what: str, system: str) -> str:
    there = found.mean(f"{what} there", site)
    share = found.mean(f"{what} {MAPPED}{system}", site) / there if there else None
    return f"{percent(share)} of {people(round(there))}"


def _altered(found: _Known) -> Iterator[str]:
    """Say what a hospital does not write down, or writes otherwise, for the scenario's sake."""
    for site in found.sites:
        lost, changed = (
            {
                name.removeprefix(what): found.mean(name, site)
                for name in found.names
                if name.startswith(what) and (site, name) in found.values
            }
            for what in (LOST, CHANGED)
        )
        never = [name for name, share in lost.items() if share == 1]
        parts = [
            *([f"never writes down {joined(never)}"] if never else []),
            *(
                f"loses {percent(share)} of what is known of {name}"
                for name, share in lost.items()
                if share < 1
            ),
            *([f"writes {_shares_of(changed)} otherwise"] if changed else []),
        ]
        if parts:
            yield f"As the scenario says, {site} {joined(parts)} (of training patients)."


def _shares_of(changed: Mapping[str, float]) -> str:
    if len(changed) > FEW:
        return f"{len(changed)} columns ({percent(min(changed.values()))} of values or more)"
    return joined([f"{name} ({percent(share)} of values)" for name, share in changed.items()])


def _far(value: float) -> str:
    return number(value, 3) if value >= NEAR else f"under {NEAR:g}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
