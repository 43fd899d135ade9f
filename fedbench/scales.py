"""The scale of a number: where floor and ceiling are, and where it lies between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fedbench.direction import GUESSED
from fedbench.metric import Anchors
from fedbench.replicates import Number
from fedbench.rows import SILENT, Row, key_of, where
from fedbench.stats import percentile

__all__ = ["Scales", "guess_of"]


class Scales:
    """The two ends of every scale, looked up in the rows of the controls."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._controls: dict[tuple[Any, ...], Row] = {}
        self._floors: dict[tuple[Any, ...], Row] = {}
        for row in rows:
            if row["status"] != "done" or row["target"] in ("gain", "tax"):
                continue
            place = (*where(row), *key_of(row), row["site"])
            if row["regime"] == "control":
                self._controls[row["generator"], *place] = row
            elif row["generator"] == "independent":
                self._floors[(row["regime"], *place, row["target"], row["model"])] = row

    def columns(self, row: Row) -> Row:
        """Return floor, ceiling, noise floor and the normalized value of a row."""
        if row["target"] in ("gain", "tax") or row["family"] in SILENT:
            return {}
        mine = (*where(row), *key_of(row), row["site"])
        # Every model of a mean over models is scored on all patients, as the control is.
        across = row | {"level": ""} if row["target"] == "generalist" else row
        place = (*where(row), *key_of(across), row["site"])
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
        guessed = guess_of(row)
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


def guess_of(row: Row) -> float | None:
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
