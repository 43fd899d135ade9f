"""Whether the promise of epsilon was kept, as audits with canaries say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fedbench.planting import PLANTED
from fedbench.report.words import joined, nothing, number

__all__ = ["audits", "planted"]

Json = dict[str, Any]

TITLE = "Was the promise kept? Audits with canaries"

_CONTROLS = {
    "copy": "a copy of the training records",
    "real": "an independent release",
    "step": "exact steps",
    "strangers": "exact steps without canaries",
}

_SEEN = {"synthetic": "released records", "updates": "what hospitals send"}

_HEADS = (
    "generator",
    "regime",
    "looked at",
    "promised epsilon",
    "epsilon is at least",
    "at most shown",
    "right guesses",
    "p",
    "what it means",
)

_TEXT = (
    "Canaries are invented records, each of which was trained on or not by a coin. They were "
    "planted in trainings of their own; nothing else here is about those. From how many coins an "
    "attacker guesses right it follows how large epsilon is at least, 95 % sure, over six ways of "
    "guessing that were chosen beforehand. No audit can show more than the largest epsilon beside "
    "it, and so none can contradict a promise above that."
)


def planted(table: pd.DataFrame) -> pd.Series[bool]:
    """Say which rows are about trainings with canaries."""
    return table["label"].str.endswith(PLANTED)


def audits(table: pd.DataFrame) -> Json | None:
    """Return what audits found in one dataset and scenario, and how their controls went.

    None where there were none.
    """
    mine = table[planted(table)]
    asked = mine[mine["name"].str.endswith(".epsilon")]
    found = asked[asked["regime"] != "control"]
    if found.empty:
        return None
    told = {(row["train_id"], row["name"], row["model"]): row["value"] for row in _records(mine)}
    checked = mine[mine["name"].str.endswith(".check") & (mine["level"] == "")]
    broken = found.groupby(found["label"].map(_short))["status"].agg(lambda s: "failed" in set(s))
    first = sorted(broken.index, key=lambda label: not broken[label])
    verdicts = [_verdict(label, found[found["label"].map(_short) == label]) for label in first]
    return {
        "title": TITLE,
        "text": " ".join([_TEXT, *verdicts]),
        "heads": list(_HEADS),
        "verdicts": verdicts,
        "rows": [_row(row, told) for row in _records(found)],
        "controls": [_check(row) for row in _records(checked)],
    }


def _records(table: pd.DataFrame) -> list[Json]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _verdict(label: str, found: pd.DataFrame) -> str:
    """Say whether the promise of one generator was kept, all of its audits together."""
    heard = found[found["value"].notna()]
    if heard.empty:
        return nothing(f"whether the promise of {label} is kept", sorted(set(found["reason"])))
    promised, most = heard["epsilon"].min(), number(heard["high"].max(), 2)
    least = f"epsilon is at least {number(heard['epsilon_empirical'].max(), 2)}, 95 % sure"
    if pd.isna(promised):
        return f"{label} promises nothing: {least}; up to {most} could have been shown."
    if (heard["status"] == "failed").any():
        return (
            f"The promise of {label} is broken: {least}, where {promised:g} is promised; so many "
            "right guesses would be too unlikely, all audits of the run taken together (Holm). "
            "What privacy is said here to have cost, or to have kept, does not hold for that."
        )
    if heard["high"].max() <= promised:
        return (
            f"Whether the promise of {label} is kept cannot be said: epsilon {promised:g} is "
            f"promised, and no more than {most} could have been shown."
        )
    return (
        f"The promise of {label} is not contradicted, all audits of the run taken together "
        f"(Holm): {least}, where {promised:g} is promised; up to {most} could have been shown."
    )


def _row(row: Json, told: Mapping[Any, Any]) -> Json:
    attack = str(row["name"]).partition(".")[0]

    def beside(part: str) -> int | None:
        value = told.get((row["train_id"], f"{attack}.{part}", row["model"]))
        return _counted(value)

    found: Json = {
        "generator": _short(row["label"]),
        "regime": row["regime"],
        "seed": _counted(row["seed"]),
        "site": row["model"],
        "attack": attack,
        "seen": joined([_SEEN[k] for k in str(row["threat"]).split("+") if k in _SEEN]),
        "promised": _known(row["epsilon"]),
        "delta": _known(row["delta"]),
        "least": _known(row["epsilon_empirical"]) if row["status"] in ("done", "failed") else None,
        "most": _known(row["high"]),
        "canaries": _counted(row["n"]),
        "guesses": beside("guesses"),
        "right": beside("right"),
        "p": _known(row["p_adjusted"]),
        "status": row["status"],
        "verdict": row["verdict"] or row["reason"],
    }
    return found | {"shown": _shown(found)}


def _shown(row: Json) -> list[str]:
    """Return an audit as the cells of a line in a table."""
    guessed = "" if row["guesses"] is None else f"{row['right']} of {row['guesses']}"
    where = [row["regime"], *([row["site"]] if row["site"] else []), f"seed {row['seed']}"]
    return [
        row["generator"],
        ", ".join(where),
        row["seen"],
        "none" if row["promised"] is None else number(row["promised"]),
        "" if row["least"] is None else number(row["least"], 2),
        "" if row["most"] is None else number(row["most"], 2),
        f"{guessed}, {row['canaries']} canaries" if guessed else "",
        "" if row["p"] is None else f"{row['p']:.2g}",
        row["verdict"],
    ]


def _check(row: Json) -> Json:
    attack, label = str(row["name"]).partition(".")[0], _short(row["label"])
    who = _CONTROLS.get(row["group"] or label, label)
    of = f" of {label}" if row["group"] else ""
    return {
        "outcome": "passed" if row["value"] == 1.0 else "failed",
        "text": f"{attack}, {who}{of}, seed {int(row['seed'])}: {row['verdict']}",
    }


def _short(label: str) -> str:
    return str(label).removesuffix(PLANTED)


def _counted(value: Any) -> int | None:
    known = _known(value)
    return None if known is None else round(known)


def _known(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
