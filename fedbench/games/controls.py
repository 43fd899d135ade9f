"""Controls first: an audit speaks only after these have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from fedbench.games.blind import STRICT
from fedbench.games.scoring import Scored
from fedbench.metric import Measure, Refusal

__all__ = [
    "CAUGHT",
    "FOLLOWED",
    "IGNORED",
    "QUIET",
    "TURNED",
    "blunted",
    "must_catch",
    "must_follow",
    "must_ignore",
    "must_stay_silent",
    "turned",
]

REACHED = 0.9
"""Which part of the largest epsilon that can be shown a copy of the canaries must show."""

CAUGHT = "the verbatim copy was caught"
QUIET = "nothing was claimed about an independent release"
TURNED = "patients who were trained on score lower than others under an independent release"
FOLLOWED = "those on whom an exact step was taken were recognised"
IGNORED = "nothing was claimed about those of whom nothing crossed"
"""How the verdict on a control begins where it held, or was turned round; anything else says why
it did not hold."""


def must_catch(measures: Sequence[Scored]) -> str:
    """Return why the attack did not catch a verbatim copy of the members, or nothing."""
    for name, row in _pooled(measures).items():
        if isinstance(row, Refusal):
            if name in ("auc", "epsilon") or name.startswith("advantage"):
                return f"The copy control could not be played: {row.reason}"
        elif name == "auc" and not row.low > 0.9:
            return f"A verbatim copy was not caught: AUC {row.value:.3f} ({row.low:.3f} to 1)."
        elif name == "epsilon" and not row.value >= REACHED * row.high:
            return (
                f"Canaries in a verbatim copy were not found: epsilon is at least {row.value:.2f}, "
                f"where {row.high:.2f} could be shown."
            )
        elif name.startswith("advantage") and not row.low > 0:
            return (
                f"Even a verbatim copy gives no advantage here: {row.value:.3f} "
                f"({row.low:.3f} to {row.high:.3f})."
            )
    return ""


def blunted(measures: Sequence[Scored]) -> dict[str, str]:
    """Return the shares that miss a part of a verbatim copy, each with what it missed.

    Such a share is less than what is given away, so that it would say too little of any release.
    """
    return {
        name: f"A verbatim copy gives all members away, yet {_called(name)} is "
        f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})."
        for name, row in _pooled(measures).items()
        if isinstance(row, Measure) and name.startswith("leak") and not row.high >= 0.99
    }


def must_stay_silent(measures: Sequence[Scored], n_attacks: int) -> str:
    """Return what the attack claims to see where nothing can be, or nothing.

    Every p-value of an independent release is held against ``STRICT``, shared between the
    attacks and their rows (Bonferroni), so that honest audits are not silenced by chance.
    """
    claimed = _claimed(measures, n_attacks)
    return f"An independent release looks like a leak: {claimed}" if claimed else ""


def turned(measures: Sequence[Scored], n_attacks: int) -> str:
    """Return how an attack puts members below others where nothing can be told, or nothing.

    Members and others then differ in what the attack looks at, so that it would keep quiet about
    a leak. This side of chance is held against the level of `must_stay_silent`.
    """
    found = _claimed(measures, n_attacks, "p_turned")
    return f"{TURNED}: {found}" if found else ""


def must_follow(measures: Sequence[Scored]) -> str:
    """Return why an attack on the training did not recognise an exact step, or nothing.

    What is seen must be unlikelier by chance than ``STRICT``; where it is known how much can be
    seen, it must be all of that.
    """
    rows = _pooled(measures)
    tested = _tested(rows)
    if not tested:
        why = next((r.reason for r in rows.values() if isinstance(r, Refusal)), "nothing is tested")
        return f"An exact step of training could not be tried: {why}"
    name = min(tested, key=lambda n: tested[n])
    if tested[name] < STRICT:
        return _short_of_all(rows)
    return (
        f"Those on whom an exact step was taken were not recognised: {_called(name)} is "
        f"{_value(rows[name]):.3f} (p = {tested[name]:.1g}, not below {STRICT:g})."
    )


def _short_of_all(rows: Mapping[str, Measure | Refusal]) -> str:
    """Return how much less was rebuilt than could be; nothing, where nothing is rebuilt."""
    if "ceiling" not in rows:
        return ""
    reached, most = _value(rows["accuracy"]), _value(rows["ceiling"])
    return (
        f"Of single patients on whom an exact step was taken {reached:.0%} were rebuilt word for "
        f"word, where {most:.0%} could be."
        if reached < most
        else ""
    )


def must_ignore(measures: Sequence[Scored], n_attacks: int) -> str:
    """Return what an attack claims to see in a training that is about nobody asked, or nothing."""
    claimed = _claimed(measures, n_attacks)
    return f"Those of whom nothing crossed look like a leak: {claimed}" if claimed else ""


def _claimed(measures: Sequence[Scored], n_attacks: int, by: str = "p_value") -> str:
    """Return the number that is too unlikely by chance, in words; nothing if none is."""
    rows = _pooled(measures)
    tested = _tested(rows, by)
    level = STRICT / max(n_attacks * len(tested), 1)
    name = min(tested, key=lambda n: tested[n], default="")
    if not name or tested[name] >= level:
        return ""
    return (
        f"{_called(name)} is {_value(rows[name]):.3f} (p = {tested[name]:.1g}, below {level:.1g})."
    )


def _tested(rows: Mapping[str, Measure | Refusal], by: str = "p_value") -> dict[str, float]:
    return {
        name: float(row.facts[by])
        for name, row in rows.items()
        if isinstance(row, Measure) and by in row.facts
    }


def _value(row: Measure | Refusal) -> float:
    return row.value if isinstance(row, Measure) else math.nan


def _called(name: str) -> str:
    """Say a part in words: ``leak@1%`` is a leak at 1 % false alarms; a secret stays behind it."""
    part, _, secret = name.partition(" ")
    kind, _, alarms = part.partition("@")
    said = "AUC" if part == "auc" else kind if part == "epsilon" else f"the {kind}"
    at = f" at {alarms.replace('%', ' %')} false alarms" if alarms else ""
    return f"{said}{at}{f' ({secret})' if secret else ''}"


def _pooled(measures: Sequence[Scored]) -> dict[str, Measure | Refusal]:
    """Rows about everybody by part and secret; TPR says what the leak share says."""
    return {
        f"{each.measure.part} {each.measure.key.secret}".strip(): each.measure
        for each in measures
        if not each.site and not each.measure.part.startswith("tpr")
    }
