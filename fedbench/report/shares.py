"""Which share of training patients an attack finds: one number of each, wherever it is told."""

from __future__ import annotations

from dataclasses import replace

from fedbench.games.telling import told_as
from fedbench.report.numbers import Number
from fedbench.report.plays import Play

__all__ = ["BEYOND", "OF_OTHERS", "UNLIMITED", "of_any_kind", "of_patients", "share_of"]

BEYOND = "beyond"
"""The part that a share of whom an attack says yes is told as, beyond that of others."""

OF_OTHERS = ", beyond the share of other patients of whom that is true"
"""What is said wherever a share of whom an attack says yes is told, as it is a difference."""

UNLIMITED = (
    "no limit is known of leaks of any other kind, as no attack that ranks patients tells which "
    "share of them it finds"
)
"""What is said beside limits that are all of one kind of leak."""


def share_of(play: Play, found: Number) -> Number | None:
    """Return a number of a membership attack as a share of training patients; None if it is none.

    Of an attack that answers yes or no that is 2 AUC - 1: as many more training patients than
    others does it say yes of. Its shares at few false alarms say the same once more.
    """
    if play.said.main != "auc" or not play.yes:
        return found if ".leak@" in found["name"] else None
    if found["name"] != play.name:
        return None
    return replace(
        found,
        about={**found.about, "name": f"{play.attack}.{BEYOND}"},
        value=_beyond(found.value),
        low=_beyond(found.low),
        high=_beyond(found.high),
        detectable=_beyond(found.detectable),
        least=-1.0,
    )


def of_patients(play: Play, found: Number) -> Number | None:
    """Return a number as a share of training patients: found, or more of them guessed than others.

    None if it is none, such as that of descriptions.
    """
    told = found if found["name"].endswith(".advantage") else share_of(play, found)
    return told if play.said.unit == told_as("membership").unit else None


def of_any_kind(play: Play, found: Number) -> bool:
    """Whether a number is the share whom an attack finds that ranks patients, however leaked.

    One that answers yes or no knows one kind of leak alone, such as copies word for word.
    """
    return not play.yes and share_of(play, found) is not None


def _beyond(area: float | None) -> float | None:
    return None if area is None else 2 * area - 1
