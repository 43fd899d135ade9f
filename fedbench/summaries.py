"""Rows that follow from others: means over hospitals, the worst one, gains and taxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fedbench.direction import best_at, side
from fedbench.nouns import plural
from fedbench.replicates import Number
from fedbench.rows import SAID, SILENT, Row, grouped, key_of, where
from fedbench.seeds import Seeds
from fedbench.stats import worst

__all__ = ["derived"]


def derived(
    rows: Sequence[Row], patients: Mapping[tuple[Any, ...], Mapping[str, int]]
) -> list[Row]:
    """Return the rows that follow from the raw ones.

    Args:
        rows: raw rows of all cells, with ``replicates`` where there are any.
        patients: test patients per site, for every (dataset, scenario, seed).
    """
    found: list[Row] = []
    for (world, _), mine in grouped(rows, lambda r: (where(r), r["label"])).items():
        sizes = patients[world]
        by_regime = grouped(mine, lambda r: r["regime"])
        made: list[Row] = []
        for raw in by_regime.values():  # of controls too: what a worst hospital is held against
            made += _over_sites(raw, sizes)
        made += _gains(by_regime, sizes)
        made += _taxes(by_regime)
        found += _about_too_few(made, mine)
    return found


def _about_too_few(made: Sequence[Row], raw: Sequence[Row]) -> list[Row]:
    """Mark what is about everybody as weak where all patients together have too few cases."""
    weak = {key_of(row): row["weak"] for row in raw if row["site"] == "" and row.get("weak")}
    return [
        row
        if row["site"]
        else row | {"weak": weak.get(key_of(row | {"level": "", "group": ""}), "")}
        for row in made
    ]


def _over_sites(raw: Sequence[Row], sizes: Mapping[str, int]) -> list[Row]:
    """Means over sites and the worst site, for one cell."""
    found = []
    usable = [r for r in raw if r.get("replicates") is not None and r["family"] not in SILENT]
    alone = [r for r in usable if r["target"] == "specialist" and r["site"] != "worst"]
    across = [r for r in usable if r["target"] == "generalist"]
    for target, rows in (("specialist", alone), ("generalist", across)):
        for group in grouped(rows, key_of).values():
            if target == "specialist" or group[0]["regime"] == "local":
                found += _means(group, target, sizes)
    named = {key_of(row) for row in raw if row["site"] == "worst"}  # the attack did it itself
    for key, group in grouped(alone, key_of).items():
        if key not in named:
            found.append(_worst(group))
    return found


def _means(group: Sequence[Row], target: str, sizes: Mapping[str, int]) -> list[Row]:
    numbers = [Number.of(row) for row in group]
    if target == "specialist":
        numbers = _steadied(numbers, group)
    hospitals = [row["site"] or row["model"] for row in group]
    fewest = _fewest(group)
    notes = (_without(hospitals, sizes), fewest.get("over", ""))
    told = fewest | {"over": "; ".join(text for text in notes if text)}
    weights = np.array([sizes[name] for name in hospitals], dtype=float)
    base = _blank(group[0]) | {"site": "", "model": "", "target": target} | told
    return [
        _within_scale(
            base
            | {"level": kind}
            | Number.mean(numbers, share, apart=target == "specialist").columns()
        )
        for kind, share in (("patient-weighted", weights), ("unweighted", np.ones(len(group))))
    ]


def _within_scale(row: Row) -> Row:
    """Cut limits to what is possible."""
    return row | {
        "low": max(row["low"], row.get("least", -np.inf)),
        "high": min(row["high"], row.get("most", np.inf)),
    }


def _without(sites: Sequence[str], sizes: Mapping[str, int]) -> str:
    """Say which hospitals a mean had to leave out; nothing where it has them all."""
    lacking = sorted(set(sizes) - set(sites))
    if not lacking:
        return ""
    return f"over {len(sites)} of {len(sizes)} hospitals, without {', '.join(lacking)}"


def _fewest(group: Sequence[Row]) -> Row:
    """Say over how many columns the numbers of a mean are, where one had to leave some out."""
    known = [row for row in group if row.get("covered") is not None]
    if not known:
        return {}
    fewest = min(known, key=lambda row: int(row["covered"]))
    alike = len({row.get("over") for row in group}) == 1
    words = fewest["over"] if alike else fewest["over"].replace("over ", "over at least ", 1)
    return {"covered": fewest["covered"], "of": fewest["of"], "over": words}


def _steadied(numbers: Sequence[Number], rows: Sequence[Row]) -> list[Number]:
    """Give sites with few cases the spread that so few cases imply.

    A bootstrap of one event cannot know how another event would have fallen. The variance per
    case is borrowed from the site with the largest one among those with enough cases; where
    there is none it is 1/2, which a difference of two areas under a curve does not exceed
    unless they are worse than guessing. The missing part is added as noise from a fixed stream.
    """
    cases = [max(int(row.get("cases") or 0), 1) for row in rows]
    known = [
        float(np.nanvar(number.replicates)) * count
        for number, row, count in zip(numbers, rows, cases, strict=True)
        if not row["weak"]
    ]
    per_case = max(known, default=0.5)
    found = []
    for number, row, count in zip(numbers, rows, cases, strict=True):
        lacks = per_case / count - float(np.nanvar(number.replicates))
        if row["weak"] and row.get("cases") and lacks > 0:
            rng = Seeds(0).child("few cases", *key_of(row), row["site"]).rng()
            noise = rng.standard_normal(len(number.replicates))
            noise = (noise - noise.mean()) * np.sqrt(lacks)
            number = replace(number, replicates=number.replicates + noise)  # noqa: PLW2901
        found.append(number)
    return found


def _worst(group: Sequence[Row]) -> Row:
    strong = [row for row in group if not row["weak"]]
    base = _blank(group[0]) | {"site": "worst", "model": "", "target": "specialist"}
    if len(strong) < 2:
        those = plural(len(strong), "site has", "sites have")
        reason = f"{those} enough patients for a row; the worst of 2 is needed."
        return base | {"status": "refused", "reason": reason}
    numbers = [Number.badness(row) for row in strong]
    values = [number.value for number in numbers]
    found = worst(np.array([number.replicates for number in numbers]), values, "lower")
    furthest = strong[int(np.argmax(values))]
    best, way = best_at(furthest["better"]) or 0.0, side(furthest["value"], furthest["better"])
    low, high = sorted([best + way * found.low, best + way * found.high])
    worst_row = base | {
        "value": furthest["value"],
        # At AUC 0 or 1 a bootstrap does not move; the site's own limits do not forget that.
        "low": min(low, furthest["low"]),
        "high": max(high, furthest["high"]),
        "n": furthest["n"],
        "verdict": f"worst of {len(strong)}: {furthest['site']}",
    }
    return _within_scale(worst_row)


def _gains(by_regime: Mapping[str, Sequence[Row]], sizes: Mapping[str, int]) -> list[Row]:
    """What federation improves on each site's own patients, positive is good.

    A single hospital has nobody to gain from.
    """
    found: list[Row] = []
    if len(sizes) < 2:
        return found
    for other in ("local", "mixture"):
        ours = _specialists(by_regime.get("federated", ()))
        theirs = _specialists(by_regime.get(other, ()))
        for key in ours:
            shared = [site for site in ours[key] if site in theirs.get(key, {})]
            if not shared or ours[key][shared[0]]["family"] == "privacy":
                continue
            rows = [ours[key][site] for site in shared]
            apart = [
                _improvement(row, theirs[key][site]) for site, row in zip(shared, rows, strict=True)
            ]
            gains = dict(zip(shared, _steadied(apart, rows), strict=True))
            base = _difference(rows[0]) | {"target": "gain", "model": ""}
            note = _without(shared, sizes)
            words = f"over {other}"
            found += [
                base
                | {"site": site, "group": words}
                | {k: ours[key][site][k] for k in ("weak", "epsilon_site") if k in ours[key][site]}
                | gain.columns()
                for site, gain in gains.items()
            ]
            weights = np.array([sizes[site] for site in shared], dtype=float)
            for kind, share in (
                ("unweighted", np.ones(len(shared))),
                ("patient-weighted", weights),
            ):
                mean = Number.mean(list(gains.values()), share, apart=True)
                about = {"site": "", "group": words, "level": kind, "over": note}
                found.append(base | about | mean.columns())
    return found


def _taxes(by_regime: Mapping[str, Sequence[Row]]) -> list[Row]:
    """What federation costs against centralized, pooled patients, positive is worse."""
    ours = _pooled(by_regime.get("federated", ()))
    theirs = _pooled(by_regime.get("centralized", ()))
    found = []
    for key in ours:
        if key not in theirs or ours[key]["family"] == "privacy":
            continue
        tax = _improvement(theirs[key], ours[key])
        found.append(_difference(ours[key]) | {"target": "tax"} | tax.columns())
    return found


def _improvement(ours: Row, theirs: Row) -> Number:
    """Return how much better ours is, positive whatever the direction."""
    return Number.badness(theirs).minus(Number.badness(ours))


def _specialists(rows: Iterable[Row]) -> dict[tuple[Any, ...], dict[str, Row]]:
    found: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        if _numeric(row) and row["target"] == "specialist" and row["site"] != "worst":
            found.setdefault(key_of(row), {})[row["site"]] = row
    return found


def _pooled(rows: Iterable[Row]) -> dict[tuple[Any, ...], Row]:
    return {key_of(row): row for row in rows if _numeric(row) and row["target"] == "pooled"}


def _numeric(row: Row) -> bool:
    return (
        row["status"] == "done"
        and row.get("replicates") is not None
        and row["family"] not in SILENT
    )


def _blank(row: Row) -> Row:
    """Return a row about the same thing without its number."""
    gone = ("value", "low", "high", "n", "replicates", "p_value", "p_turned", "detectable")
    keep = {
        k: v
        for k, v in row.items()
        if k not in (*gone, *SAID, "n_members", "n_nonmembers", "twins_removed", "epsilon_site")
    }
    return keep | {"status": "done", "reason": "", "weak": ""}


def _difference(row: Row) -> Row:
    """Return a row about how far two such numbers lie apart, whose scale has both signs."""
    span = row.get("most", np.nan) - row.get("least", np.nan)
    return _blank(row) | {"least": -span, "most": span}
