"""Gains, taxes, worst sites and anchored values: arithmetic on stored replicates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbench.direction import GUESSED, badness, best_at, side
from fedbench.games.controls import TURNED
from fedbench.metric import Anchors
from fedbench.nouns import plural
from fedbench.planting import PLANTED
from fedbench.results import CONTRADICTED
from fedbench.seeds import Seeds
from fedbench.stats import holm, percentile, worst

__all__ = ["derived", "finished"]

Row = dict[str, Any]
Floats = NDArray[np.float64]

KEY = ("name", "task", "column", "secret", "level", "group")
"""What makes two rows answers to the same question."""

WHERE = ("dataset", "scenario", "seed")

_ROUNDING = 1e-12
"""Limits that differ by less are the same."""

_BROKEN = 0.05
_SHOWN = 0.05  # p, after Holm
"""The p-value, corrected for all audits of a run, below which a promise is contradicted."""

SILENT = ("communication", "compute")

SAID = ("verdict", "covered", "of", "over")
"""What a row says of its own number."""


@dataclass(frozen=True)
class Number:
    """A value with its replicates, and how far its own limits lie outside of theirs.

    At the end of a scale a bootstrap does not move, but exact limits stay away from it:
    ``below`` and ``above`` are what they reach further.
    """

    value: float
    replicates: Floats
    n: int
    below: float = 0.0
    above: float = 0.0

    @classmethod
    def of(cls, row: Row) -> Number:
        """Return the number of a row."""
        value, replicates = row["value"], np.asarray(row["replicates"], dtype=float)
        shown = percentile(value, replicates)
        further = np.array([shown.low - row["low"], row["high"] - shown.high])
        below, above = np.where(further > _ROUNDING, further, 0.0)
        return cls(value, replicates, int(row["n"]), float(below), float(above))

    def minus(self, other: Number) -> Number:
        """Return the paired difference.

        What turns the same way on both sides is no difference, so what exact limits reach
        further counts as far as replicates do not: a model minus itself is 0.
        """
        apart = self.replicates - other.replicates
        known = np.isfinite(apart)
        mine, theirs, both = (
            float(draws[known].std()) if known.any() else 0.0
            for draws in (self.replicates, other.replicates, apart)
        )
        alone = math.hypot(mine, theirs)
        share = min(1.0, both / alone) if alone > 0 else 1.0
        return Number(
            self.value - other.value,
            apart,
            min(self.n, other.n),
            share * (self.below + other.above),
            share * (self.above + other.below),
        )

    @classmethod
    def badness(cls, row: Row) -> Number:
        """Return how bad a row's number is, see ``direction.badness``."""
        found, better = cls.of(row), row["better"]
        value, replicates = (
            badness(each, better, of=found.value) for each in (found.value, found.replicates)
        )
        beyond = (found.below, found.above)[:: int(side(found.value, better))]
        return cls(float(value), replicates, found.n, *beyond)

    @staticmethod
    def mean(numbers: Sequence[Number], weights: Floats, *, apart: bool) -> Number:
        """Return the weighted mean.

        What exact limits reach further adds up, or, if the numbers are about different patients
        (``apart``), in squares (MOVER, Zou and Donner 2008, https://doi.org/10.1002/sim.3095).
        """
        share = weights / weights.sum()
        beyond = [share * [getattr(n, side) for n in numbers] for side in ("below", "above")]
        return Number(
            float(share @ [number.value for number in numbers]),
            np.asarray(share @ np.array([number.replicates for number in numbers])),
            sum(number.n for number in numbers),
            *(float(np.linalg.norm(each) if apart else each.sum()) for each in beyond),
        )

    def columns(self) -> Row:
        """Return the columns of a row that hold this number."""
        found = percentile(self.value, self.replicates)
        return {
            "value": self.value,
            "low": found.low - self.below,
            "high": found.high + self.above,
            "n": self.n,
            "replicates": self.replicates,
        }


def derived(
    rows: Sequence[Row], patients: Mapping[tuple[Any, ...], Mapping[str, int]]
) -> list[Row]:
    """Return the rows that follow from the raw ones.

    Args:
        rows: raw rows of all cells, with ``replicates`` where there are any.
        patients: test patients per site, for every (dataset, scenario, seed).
    """
    found: list[Row] = []
    for (world, _), mine in _grouped(rows, lambda r: (_where(r), r["label"])).items():
        sizes = patients[world]
        by_regime = _grouped(mine, lambda r: r["regime"])
        made: list[Row] = []
        for raw in by_regime.values():  # of controls too: what a worst hospital is held against
            made += _over_sites(raw, sizes)
        made += _gains(by_regime, sizes)
        made += _taxes(by_regime)
        found += _about_too_few(made, mine)
    return found


def finished(rows: Sequence[Row]) -> list[Row]:
    """Return rows with refusals of weak ones, anchors, normalized values and adjusted p."""
    failed = {
        (*_where(row), _attack(row), row["secret"], row.get("level") or ""): row["verdict"]
        for row in rows
        if row.get("name", "").endswith(".check") and row.get("value") == 0.0 and _control(row)
    }
    own = {
        (row.get("train_id"), _attack(row), row["secret"]): row["verdict"]
        for row in rows
        if row.get("name", "").endswith(".check") and row.get("value") == 0.0 and not _control(row)
    }
    hidden = {
        (*_where(row), _attack(row), row["secret"]): row["verdict"]
        for row in rows
        if row.get("name", "").endswith(".check") and _control(row)
        if str(row.get("verdict")).startswith(TURNED)
    }
    rows = [_distrusted(_refused_if_weak(dict(row)), failed, own, hidden) for row in rows]
    anchors = _Anchored(rows)
    for row in rows:
        if row["status"] == "done":
            row.update(anchors.columns(row))
    for family in _grouped(rows, _tested_with).values():
        tested = [row for row in family if row.get("p_value") is not None]
        adjusted = holm(np.array([row["p_value"] for row in tested], dtype=float))
        for row, p in zip(tested, adjusted, strict=True):
            row["p_adjusted"] = float(p)
            row["verdict"] = _soberly(row)
        turned = [row for row in family if row.get("p_turned") is not None]
        adjusted = holm(np.array([row["p_turned"] for row in turned], dtype=float))
        for row, p in zip(turned, adjusted, strict=True):
            row["p_turned_adjusted"] = float(p)
    return _contradicted(rows)


def _soberly(row: Row) -> str:
    """Return the verdict on an attack's number, which it gave itself when it knew of no other."""
    said, chance = row.get("verdict") or "", 0.5 if row["name"].endswith(".auc") else 0.0
    claims = row.get("family") == "privacy" and row["status"] == "done" and row["low"] > chance
    if not claims or row["p_adjusted"] < _SHOWN or said.startswith("nothing") or _control(row):
        return said
    return f"not shown, with all that was asked taken together; alone it would say: {said}"


def _tested_with(row: Row) -> tuple[Any, ...]:
    """Return what names the tests that are corrected together: of audits, all of the run."""
    if _audit(row):
        return ("audits", _control(row))
    return (_where(row), _control(row), row.get("family"))


def _contradicted(rows: Sequence[Row]) -> list[Row]:
    """Let cells fail whose promise an audit contradicts; their numbers stay."""
    ours = [row for row in rows if _audit(row) and not _control(row)]
    tested = sorted(
        (row for row in ours if row.get("p_adjusted") is not None),
        key=lambda row: -float(row["p_adjusted"]),
    )
    broken = {r["train_id"]: r["verdict"] for r in tested if r["p_adjusted"] < _BROKEN}
    for row in tested:
        if row["p_adjusted"] >= _BROKEN and row["value"] > row["epsilon"]:
            row["verdict"] = (
                f"not contradicted, with all {len(tested)} audits of the run taken together; "
                f"alone it would say: {row['verdict']}"
            )
    return [
        row | {"status": "failed", "reason": f"{CONTRADICTED}: {broken[row['train_id']]}."}
        if row.get("train_id") in broken and row["status"] == "done"
        else row
        for row in rows
    ]


def _about_too_few(made: Sequence[Row], raw: Sequence[Row]) -> list[Row]:
    """Mark what is about everybody as weak where all patients together have too few cases."""
    weak = {_key(row): row["weak"] for row in raw if row["site"] == "" and row.get("weak")}
    return [
        row if row["site"] else row | {"weak": weak.get(_key(row | {"level": "", "group": ""}), "")}
        for row in made
    ]


def _over_sites(raw: Sequence[Row], sizes: Mapping[str, int]) -> list[Row]:
    """Means over sites and the worst site, for one cell."""
    found = []
    usable = [r for r in raw if r.get("replicates") is not None and r["family"] not in SILENT]
    alone = [r for r in usable if r["target"] == "specialist" and r["site"] != "worst"]
    across = [r for r in usable if r["target"] == "generalist"]
    for target, rows in (("specialist", alone), ("generalist", across)):
        for group in _grouped(rows, _key).values():
            if target == "specialist" or group[0]["regime"] == "local":
                found += _means(group, target, sizes)
    named = {_key(row) for row in raw if row["site"] == "worst"}  # the attack did it itself
    for key, group in _grouped(alone, _key).items():
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
            rng = Seeds(0).child("few cases", *_key(row), row["site"]).rng()
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
            found.setdefault(_key(row), {})[row["site"]] = row
    return found


def _pooled(rows: Iterable[Row]) -> dict[tuple[Any, ...], Row]:
    return {_key(row): row for row in rows if _numeric(row) and row["target"] == "pooled"}


def _numeric(row: Row) -> bool:
    return (
        row["status"] == "done"
        and row.get("replicates") is not None
        and row["family"] not in SILENT
    )


class _Anchored:
    """The two ends of every scale, looked up in the rows of the controls."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._controls: dict[tuple[Any, ...], Row] = {}
        self._floors: dict[tuple[Any, ...], Row] = {}
        for row in rows:
            if row["status"] != "done" or row["target"] in ("gain", "tax"):
                continue
            place = (*_where(row), *_key(row), row["site"])
            if row["regime"] == "control":
                self._controls[row["generator"], *place] = row
            elif row["generator"] == "independent":
                self._floors[(row["regime"], *place, row["target"], row["model"])] = row

    def columns(self, row: Row) -> Row:
        """Return floor, ceiling, noise floor and the normalized value of a row."""
        if row["target"] in ("gain", "tax") or row["family"] in SILENT:
            return {}
        mine = (*_where(row), *_key(row), row["site"])
        # Every model of a mean over models is scored on all patients, as the control is.
        across = row | {"level": ""} if row["target"] == "generalist" else row
        place = (*_where(row), *_key(across), row["site"])
        if row["family"] == "privacy":
            return self._privacy(row, place)
        anchors: Anchors = row["anchors"]
        ceiling = self._controls.get(("copy", *place)) if anchors.ceiling else None
        floor = None
        if anchors.floor == "uniform":
            floor = self._controls.get(("uniform", *place))
        elif anchors.floor == "independent":
            floor = self._floors.get((row["regime"], *mine, row["target"], row["model"]))
        found: Row = {}
        if floor:
            floor = _no_worse_than_guessing(floor)
            found["floor"] = floor["value"]
        if ceiling:
            found["ceiling"] = ceiling["value"]
        if ceiling and not {"low", "high"} - ceiling.keys():
            found["noise_floor"] = (ceiling["high"] - ceiling["low"]) / 2
            found |= _normalized(row, floor, ceiling, found["noise_floor"]) if floor else {}
        return found

    def _privacy(self, row: Row, place: tuple[Any, ...]) -> Row:
        copy = self._controls.get(("copy", *place))
        found: Row = {"ceiling": copy["value"]} if copy else {}
        guessed = _guessed(row)
        return found if guessed is None else found | {"floor": guessed}


def _no_worse_than_guessing(floor: Row) -> Row:
    """Return the floor, or guessing where a model of it foresees the opposite, by luck.

    A scale that began below guessing would count guessing as something achieved.
    """
    guess = GUESSED.get(floor["name"])
    if guess is None or floor.get("replicates") is None or floor["value"] >= guess:
        return floor
    known = np.full(len(floor["replicates"]), guess)  # without any noise
    return floor | {"value": guess, "low": guess, "high": guess, "replicates": known}


def _guessed(row: Row) -> float | None:
    """Return what an attack reaches by guessing, where that is known beforehand."""
    part = str(row["name"]).partition(".")[2]
    if part == "auc" and not row["secret"]:
        return 0.5
    if part == "advantage" or part.startswith("leak@"):
        return 0.0
    if part.startswith("tpr@"):
        return float(part.removeprefix("tpr@").removesuffix("%")) / 100
    return None


def _normalized(row: Row, floor: Row, ceiling: Row, noise: float) -> Row:
    """Where a value lies between floor (0) and ceiling (1), if the two can be told apart.

    They must lie three noise floors apart, which are the ceiling's, and further than the floor's
    own interval lets chance reach.
    """
    if any(r.get("replicates") is None for r in (row, floor, ceiling)):
        return {}
    mine, least, most = (Number.badness(each) for each in (row, floor, ceiling))
    if not abs(most.value - least.value) > 3 * noise:
        return {}
    apart = percentile(most.value - least.value, most.replicates - least.replicates)
    if not (apart.low > 0 or apart.high < 0):
        return {}
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (mine.replicates - least.replicates) / (most.replicates - least.replicates)
    span = most.value - least.value
    point = (mine.value - least.value) / span
    found = percentile(point, ratios)
    further = sorted([-mine.below / span, mine.above / span])  # of exact limits
    return {
        "normalized": point,
        "normalized_low": found.low + further[0],
        "normalized_high": found.high + further[1],
    }


def _refused_if_weak(row: Row) -> Row:
    if row["status"] != "done" or not row.get("weak"):
        return row
    return _emptied(row, row["weak"])


def _distrusted(
    row: Row,
    failed: Mapping[tuple[Any, ...], str],
    own: Mapping[tuple[Any, ...], str],
    hidden: Mapping[tuple[Any, ...], str],
) -> Row:
    """Refuse what an attack claims where it failed one of its controls, or a share that did.

    ``own`` are controls that a cell played itself: those of attacks on its training. Where members
    lie below others though nothing can be told (``hidden``), what is found counts all the more,
    and that nothing is found does not.
    """
    if row["status"] != "done" or row["family"] != "privacy" or _control(row):
        return row
    if row["name"].endswith(".check"):
        return row
    mine = (*_where(row), _attack(row), row["secret"])
    share = str(row["name"]).partition(".")[2].replace("tpr@", "leak@")
    rehearsed = own.get((row.get("train_id"), _attack(row), row["secret"]))
    reason = failed.get((*mine, "")) or failed.get((*mine, share)) or rehearsed
    if reason:
        return _emptied(row, f"The attack failed a control. {reason}")
    guessed = _guessed(row)
    if mine in hidden and guessed is not None and not row.get("low", guessed) > guessed:
        return _emptied(row, f"That nothing was found says nothing: {hidden[mine]}")
    return row


def _attack(row: Row) -> str:
    return str(row["name"]).partition(".")[0]


def _audit(row: Row) -> bool:
    """Whether a row is what canaries say about epsilon."""
    return str(row.get("label")).endswith(PLANTED) and row.get("name", "").endswith(".epsilon")


def _control(row: Row) -> bool:
    return bool(row["regime"] == "control")


def _emptied(row: Row, reason: str) -> Row:
    gone = ("value", "low", "high", "replicates", "p_value", "p_turned", "detectable", *SAID)
    return row | dict.fromkeys(gone) | {"status": "refused", "reason": reason}


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


def _where(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in WHERE)


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name, "") for name in KEY)


def _grouped(rows: Iterable[Row], by: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(by(row), []).append(row)
    return groups
