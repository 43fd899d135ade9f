"""What may be said of rows once all are there: controls, anchors, and all tests together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedbench.games.controls import TURNED
from fedbench.planting import PLANTED
from fedbench.results import CONTRADICTED
from fedbench.rows import SAID, Row, attack_of, grouped, is_control, where
from fedbench.scales import Scales, guess_of
from fedbench.stats import holm

__all__ = ["finished"]

_BROKEN = 0.05
_SHOWN = 0.05  # p, after Holm
"""The p-value, corrected for all audits of a run, below which a promise is contradicted."""


def finished(rows: Sequence[Row]) -> list[Row]:
    """Return rows with refusals of weak ones, anchors, normalized values and adjusted p."""
    failed = {
        (*where(row), attack_of(row), row["secret"], row.get("level") or ""): row["verdict"]
        for row in rows
        if row.get("name", "").endswith(".check") and row.get("value") == 0.0 and is_control(row)
    }
    own = {
        (row.get("train_id"), attack_of(row), row["secret"]): row["verdict"]
        for row in rows
        if row.get("name", "").endswith(".check")
        and row.get("value") == 0.0
        and not is_control(row)
    }
    hidden = {
        (*where(row), attack_of(row), row["secret"]): row["verdict"]
        for row in rows
        if row.get("name", "").endswith(".check") and is_control(row)
        if str(row.get("verdict")).startswith(TURNED)
    }
    rows = [_distrusted(_refused_if_weak(dict(row)), failed, own, hidden) for row in rows]
    anchors = Scales(rows)
    for row in rows:
        if row["status"] == "done":
            row.update(anchors.columns(row))
    for family in grouped(rows, _tested_with).values():
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
    if not claims or row["p_adjusted"] < _SHOWN or said.startswith("nothing") or is_control(row):
        return said
    return f"not shown, with all that was asked taken together; alone it would say: {said}"


def _tested_with(row: Row) -> tuple[Any, ...]:
    """Return what names the tests that are corrected together: of audits, all of the run."""
    if _audit(row):
        return ("audits", is_control(row))
    return (where(row), is_control(row), row.get("family"))


def _contradicted(rows: Sequence[Row]) -> list[Row]:
    """Let cells fail whose promise an audit contradicts; their numbers stay."""
    ours = [row for row in rows if _audit(row) and not is_control(row)]
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
    if row["status"] != "done" or row["family"] != "privacy" or is_control(row):
        return row
    if row["name"].endswith(".check"):
        return row
    mine = (*where(row), attack_of(row), row["secret"])
    share = str(row["name"]).partition(".")[2].replace("tpr@", "leak@")
    rehearsed = own.get((row.get("train_id"), attack_of(row), row["secret"]))
    reason = failed.get((*mine, "")) or failed.get((*mine, share)) or rehearsed
    if reason:
        return _emptied(row, f"The attack failed a control. {reason}")
    guessed = guess_of(row)
    if mine in hidden and guessed is not None and not row.get("low", guessed) > guessed:
        return _emptied(row, f"That nothing was found says nothing: {hidden[mine]}")
    return row


def _audit(row: Row) -> bool:
    """Whether a row is what canaries say about epsilon."""
    return str(row.get("label")).endswith(PLANTED) and row.get("name", "").endswith(".epsilon")


def _emptied(row: Row, reason: str) -> Row:
    gone = ("value", "low", "high", "replicates", "p_value", "p_turned", "detectable", *SAID)
    return row | dict.fromkeys(gone) | {"status": "refused", "reason": reason}
