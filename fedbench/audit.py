"""Whether an audited release may pass: what a gate in a script goes by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from fedbench.report.controls import NOTHING
from fedbench.report.plays import Play
from fedbench.report.words import measure, percent, together

__all__ = ["Gate", "gate"]

USELESS = 0.2
"""An audit that would have missed a leak of this share of the records passes no gate."""

LEVEL = 0.05
_ENDS = ["value", "low", "high", "detectable"]
GUESSING = 0.5  # AUC


@dataclass(frozen=True)
class Gate:
    """Whether a release may pass, and why."""

    passed: bool
    text: str


def gate(rows: pd.DataFrame, most: float, named: Sequence[str] = ()) -> Gate:
    """Hold a release against the largest share of patients it may give away.

    It passes where no leak share, no advantage and no share of whom an attack says yes (beyond
    that of others) is shown to be larger: significant after Holm's correction, with a lower limit
    above ``most``. An audit that can say nothing does not pass: its controls failed, or it would
    have missed one record in five. That a larger share was not shown does not rule it out; the
    text tells by the largest upper limit whether it is. An AUC above one half is a leak of nobody
    knows how many: it closes the gate for any leak (0).
    A release that names training patients (``named``) passes no gate.
    """
    if named:
        return Gate(passed=False, text=f"the gate is closed: {named[0]}")
    mine = rows[(rows["regime"] == "given") & (rows["site"] == "") & (rows["status"] == "done")]
    mine = mine.assign(proves=~mine["verdict"].fillna("").str.startswith(NOTHING))
    leaks = mine[mine["name"].str.contains(".leak@", regex=False)]
    areas = mine[mine["name"].str.endswith(".auc")]
    says_yes = areas["name"].map(lambda name: bool(Play(name.removesuffix(".auc")).yes))
    yes = areas[says_yes.astype(bool)].copy()
    yes[_ENDS] = 2 * yes[_ENDS] - 1  # the difference of shares of whom it says yes
    areas = areas.drop(yes.index)
    shares = pd.concat([leaks, mine[mine["name"].str.endswith(".advantage")], yes])
    over = shares[shares["proves"] & (shares["p_adjusted"] < LEVEL) & (shares["low"] > most)]
    if len(over):
        worst = over.sort_values("low").iloc[-1]
        return Gate(
            passed=False,
            text=f"the gate is closed: {_called(worst)} is {_found(worst)}, shown to be above "
            f"{percent(most)}.",
        )
    told = areas[areas["proves"] & (areas["p_adjusted"] < LEVEL) & (areas["low"] > GUESSING)]
    if len(told) and most == 0:
        return Gate(passed=False, text=f"the gate is closed: {_recognised(told.iloc[0])}.")
    seen = pd.concat([leaks, yes])["detectable"].min()
    if not seen <= USELESS:
        return Gate(
            passed=False,
            text="the gate is closed: this audit can say nothing about leaks, see the report.",
        )
    widest = shares.sort_values("high").iloc[-1]
    above = f"a leak above {percent(most)}"
    ruled_out = (
        f"every attack that counts rules out {above}; the highest it may be is by"
        if widest["high"] <= most
        else f"{above} was not shown, and not ruled out either:"
    )
    return Gate(
        passed=True,
        text=f"the gate is open: {ruled_out} {_called(widest)}, {_found(widest)}."
        + (f" Yet {_recognised(told.iloc[0])}." if len(told) else ""),
    )


def _recognised(row: pd.Series) -> str:
    return (
        "training patients are told from others better than by guessing: "
        f"{_called(row)} is {_found(row)}"
    )


def _called(row: pd.Series) -> str:
    attack, _, part = str(row["name"]).rpartition(".")
    play = Play(attack)
    if part == "auc" and play.yes:
        return f"the share of training patients who {play.yes}, beyond that of others ({attack})"
    name = measure(row["name"])
    return f"{name}, “{row['secret']}”" if row["secret"] else name


def _found(row: pd.Series) -> str:
    attack, _, part = str(row["name"]).rpartition(".")
    area = part == "auc" and not Play(attack).yes
    value, low, high = together(
        row["value"], row["low"], row["high"], share=not area, chance=GUESSING if area else 0.0
    )
    return f"{value} ({low} to {high})"
