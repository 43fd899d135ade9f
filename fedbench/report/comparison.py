"""A comparison of two runs as a table in the terminal, as Markdown and as JUnit's XML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from fedbench.nouns import plural
from fedbench.report.markdown import safe, table
from fedbench.report.words import NONE, human_bytes, joined, number, percent, together

__all__ = ["junit", "markdown", "terminal"]

Json = Mapping[str, Any]

HEADS = (
    "measure",
    "BASE",
    "HEAD",
    "worse by",
    "at least",
    "tolerated",
    "would have been seen",
    "fell most at",
    "verdict",
)
PLACES = {
    "pooled": "",
    "worst": "worst hospital",
    "gain": "gain over local",
    "tax": "cost against centralized",
}
MOST = 100
"""Moved rows that are shown; a page of Markdown has to fit into a comment."""


def terminal(found: Json) -> str:
    """Return the gates as text, what else moved in one line, and last the verdict."""
    from tabulate import tabulate  # noqa: PLC0415

    rows = [[_who(gate), *_gate(gate)] for gate in found["gates"]]
    heads = [re.sub(" (?=been|most)", "\n", head) for head in ("generator", *HEADS)]
    shown = tabulate(rows, heads, tablefmt="simple", disable_numparse=True) if rows else ""
    notes = "\n".join([*_notes(found), _moved(found), _spent(found)])
    said = "\n".join([verdict(found), *(f"  {text}" for text in _reasons(found))])
    return "\n\n".join(block for block in (shown, notes, said) if block)


def markdown(found: Json) -> str:
    """Return the comparison for a pull request."""
    gates = [[_who(gate), *_gate(gate)] for gate in found["gates"]]
    moved = [[_who(row), *_other(row)] for row in _movers(found)[:MOST]]
    heads = ["about", "measure", "BASE", "HEAD", "worse by (95 % interval)"]
    parts = [
        f"# fedbench compare: {safe(found['suite'])}",
        f"**{safe(verdict(found))}**",
        f"BASE: {safe(found['base'])}; HEAD: {safe(found['head'])}.",
        "\n".join(f"* {safe(text)}" for text in _reasons(found)),
        table(["generator", *HEADS], gates) if gates else "",
        *map(safe, _notes(found)),
        safe(_spent(found)),
        safe(_moved(found)),
        (
            f"<details><summary>What else moved</summary>\n\n{table(heads, moved)}\n\n</details>"
            if moved
            else ""
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def junit(found: Json) -> str:
    """Return one test per gate, and a failed one for all that was lost."""
    suite = ET.Element("testsuite", name=f"fedbench compare {found['suite']}")
    for gate in found["gates"]:
        case = ET.SubElement(suite, "testcase", classname=_who(gate), name=_measure(gate))
        if gate["regressed"]:
            ET.SubElement(case, "failure", message=_sentence(gate))
        elif gate["verdict"].startswith("too few"):
            ET.SubElement(case, "skipped", message=gate["verdict"])
    for lost in found["lost"]:
        name = ", ".join(lost["names"]) or "the whole cell"
        case = ET.SubElement(suite, "testcase", classname=_who(lost), name=name)
        ET.SubElement(case, "failure", message=_lost(lost))
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def verdict(found: Json) -> str:
    """Return the outcome in one sentence."""
    if reasons := _reasons(found):
        return f"HEAD is worse than BASE: {plural(len(reasons), 'regression')}."
    judged = sum(not gate["verdict"].startswith("too few") for gate in found["gates"])
    return (
        f"No regression was shown in {plural(judged, 'measure')} over "
        f"{plural(len(found['seeds']), 'seed')}."
    )


def _reasons(found: Json) -> list[str]:
    """Return one sentence per regression, naming measure and hospital."""
    worse = [_sentence(gate) for gate in found["gates"] if gate["regressed"]]
    return [*worse, *map(_lost, found["lost"])]


def _sentence(gate: Json) -> str:
    where = f", most at {gate['worst_at']}" if gate["worst_at"] else ""
    _, base, head, worse, least, tolerated, *_ = _gate(gate)
    return (
        f"{_measure(gate)} of {_who(gate)} is worse by {worse} (from {base} in BASE to {head} "
        f"in HEAD), by at least {least}, where {tolerated} is tolerated{where}."
    )


def _who(row: Json) -> str:
    """Return what was trained on what; the regime where it is not the usual one."""
    parts = [row["dataset"], row["scenario"], row.get("label", "")]
    return " · ".join([*parts, row["regime"]] if row["regime"] != "federated" else parts)


def _measure(row: Json) -> str:
    words = [row["name"], row.get("task", ""), row.get("secret", ""), row.get("column", "")]
    place = PLACES.get(row.get("place", ""), "")
    return ", ".join(word for word in [*words, place] if word)


def _gate(gate: Json) -> list[str]:
    amount = percent if gate["share"] else number
    changes = [gate[name] for name in ("worse", "at_least", "tolerance", "detectable")]
    if gate["verdict"].startswith("too few"):
        changes[1::2] = None, None
    return [
        _measure(gate),
        *(_value(gate["name"], gate[name]) for name in ("base", "head")),
        *(amount(change) for change in changes),
        gate["worst_at"] or NONE,
        gate["verdict"],
    ]


def _value(name: str, value: float) -> str:
    return human_bytes(value) if name.endswith(".bytes") else number(value)


def _other(row: Json) -> list[str]:
    about = [row.get(key, "") for key in ("target", "site", "model", "level", "group")]
    words = ", ".join(dict.fromkeys([_measure(row), *(word for word in about if word)]))
    worse, low, high = together(row["worse"], row["low"], row["high"], share=row["share"])
    spread = f"{worse} ({low} to {high})"
    return [words, *(_value(row["name"], row[name]) for name in ("base", "head")), spread]


def _movers(found: Json) -> list[Json]:
    """Return what its own 95 % interval says has moved, the clearest first."""

    def clearness(row: Json) -> float:
        return float(abs(row["worse"]) / max(row["high"] - row["low"], 1e-300))

    known = [row for row in found["others"] if row["low"] is not None]
    moved = [row for row in known if row["low"] > 0 or row["high"] < 0]
    return sorted(moved, key=clearness, reverse=True)


def _moved(found: Json) -> str:
    moved = _movers(found)
    worse = sum(row["worse"] > 0 for row in moved)
    return (
        f"Listed, never gating: {len(found['others']):,} other rows; by their own 95 % intervals "
        f"{worse:,} are worse and {len(moved) - worse:,} better; one in twenty may be by chance."
    )


def _lost(lost: Json) -> str:
    what = joined(lost["names"]) or "the whole cell"
    where = f", {joined(lost['sites'])} hospital" if lost["sites"] else ""
    seeds = f"seed{'s' * (len(lost['seeds']) > 1)} {joined(lost['seeds'])}"
    return (
        f"{what} of {_who(lost)}{where}: {lost['status']} under {seeds}, but not in BASE: "
        f"{lost['reason']}"
    )


def _notes(found: Json) -> list[str]:
    said = (
        "A regression is worse by “at least” more than what is tolerated. These limits hold for "
        "all gates together with 95 %; what “would have been seen” is found four times out of five "
        "if it moves all seeds alike."
    )
    lines = [said]
    if left_out := found["not_gating"]:
        lines.append(
            f"Listed only, as there would be more than 20 gates: {joined(left_out)}. "
            "Choose with --generator and --dataset what gates."
        )
    return lines


def _spent(found: Json) -> str:
    base, head = (found["spent"][run] for run in ("base", "head"))
    times = [
        f"{name} {number(base[key], 1)} s in BASE, {number(head[key], 1)} s in HEAD"
        for name, key in (("training", "training_seconds"), ("all work", "seconds"))
    ]
    sizes = [human_bytes(1e6 * run["peak_memory_mb"]) for run in (base, head)]
    memory = f"peak memory {sizes[0]} in BASE, {sizes[1]} in HEAD"
    return f"Never gating, of these machines: {'; '.join([*times, memory])}."
