"""``report.md``: all that the page says, without its pictures; long tables are folded away."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from fedbench.nouns import plural
from fedbench.report.notes import SINGLE
from fedbench.report.words import joined, people, percent, regime

__all__ = ["render", "safe", "table"]

Json = dict[str, Any]

LISTED = ("fidelity", "utility")
"""Answers that are a list of measures."""

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|", "](": "]\\(", "`": "'"}


def render(report: Json) -> str:
    """Return the report in Markdown."""
    run = report["run"]
    when = f", run on {run['date']}" if run["date"] else ""
    rows = ", ".join(f"{people(n)} {status}" for status, n in report["statuses"].items())
    lines = [
        f"# fedbench: {safe(run['suite'])}",
        "",
        f"{safe(run['name'])}{when}. {_size(run)}Rows: {rows or 'none'}.",
        *(line for text in report["introduction"] for line in ("", safe(text))),
        *_gate(report.get("gate")),
        *(line for world in report["worlds"] for line in _world(world)),
        *(line for found in report["frontier"] for line in _frontier(found)),
        *_silent(report["silent"]),
        *_list("Caveats", report["caveats"]),
        *_list("How to read it", report["reading"]),
        "",
        *(f"* {safe(term)}: {safe(text)}" for term, text in _terms(report).items()),
        *_again(report),
    ]
    return "\n".join(lines) + "\n"


def _gate(found: Json | None) -> list[str]:
    if found is None:
        return []
    way = "open" if found["passed"] else "closed"
    asked = f"The gate for leaks above {percent(found['threshold'])}"
    return ["", f"**{asked} is {way}:** {safe(found['reason'])}"]


def _size(run: Json) -> str:
    if run["regimes"] == ["given"]:
        return ""
    records = f", {people(run['records'])} synthetic patients scored per model"
    return f"{plural(len(run['seeds']), 'seed')}{records if run['records'] else ''}. "


def _terms(report: Json) -> dict[str, str]:
    if report["run"]["regimes"] == ["given"]:
        return dict(report["glossary"])
    ways = ("federated", "centralized", "local", "mixture")
    return {**report["glossary"], **{way: regime(way).partition(": ")[2] for way in ways}}


def _world(world: Json) -> list[str]:
    title = world["data"]["title"]
    where = f"{world['dataset']}, {world['scenario']}" if world["scenario"] else world["dataset"]
    return [
        "",
        f"## {safe(title)} ({safe(where)})",
        "",
        safe(_data(world["data"])),
        *(["", safe(world["data"]["split"])] if world["data"]["split"] else []),
        *(line for text in world["lead"]["about"] for line in ("", safe(text))),
        "",
        *(line for sentence in world["headline"] for line in _answer(sentence)),
        *_overview(world),
        *_behind(world["behind"]),
        *_list("Controls", map(_check, world["checked"]), level=3),
        *_main(world["main"], turned=_given(world)),
        *_baseline(world["baseline"]),
        *_privacy(world["privacy"]),
        *_audits(world["audits"]),
        *_stopping(world["stopping"]),
        *_compute(world["compute"]),
        *_exposed(world["exposed"]),
        *_differences(world["differences"]),
        *_hospitals(world["hospitals"]),
        *_everything(world["everything"], "" if _given(world) else " over all hospitals"),
    ]


def _given(world: Json) -> bool:
    """Whether the records came from outside: one release, and no hospitals."""
    return bool(world["regimes"] == ["given"])


def _answer(sentence: Json) -> list[str]:
    details = [f"    * {safe(text)}" for text in sentence["details"]]
    parts = sentence["text"].split("\n")
    if sentence["topic"] not in LISTED or len(parts) == 1:
        return [f"* **{sentence['title']}.** {safe(sentence['text'])}", *details]
    said = [_part(text, marked=i in sentence["marked"]) for i, text in enumerate(parts)]
    return [f"* **{sentence['title']}.**", *(f"    * {text}" for text in said), *details]


def _part(text: str, *, marked: bool) -> str:
    """Return a paragraph as an item of a list; what none should miss is bold where it begins."""
    head, colon, rest = safe(text).partition(": ")
    return f"**{head}**{colon}{rest}" if marked else safe(text)


def _data(data: Json) -> str:
    sizes = [
        f"{h['name']} {people(h['patients'])} ({people(h['train'])} for training)"
        for h in data["hospitals"]
        if "patients" in h
    ]
    listed = [", ".join(sizes)] if sizes else []
    count = f"{people(data['patients'])} patients at " if data["patients"] else ""
    parts = [
        ": ".join([f"{count}{plural(len(data['hospitals']), 'hospital')}", *listed])
        if data["hospitals"]
        else "",
        data["setting"],
        f"licence: {data['licence']}" if data["licence"] else "",
        f"source: {data['citation'].rstrip('.')}" if data["citation"] else "",
    ]
    return "; ".join(part for part in parts if part) + "."


def _check(check: Json) -> str:
    return f"{check['outcome']}: {check['text']}"


def _overview(world: Json) -> list[str]:
    others = ["others"] if any(row["others"] for row in world["overview"]) else []
    rows = [
        [
            _named(row),
            *(_change(row[k]) for k in ("gain", "tax")),
            *(
                "; ".join(map(_attack, row[asked])) or "no attack was run"
                for asked in ("members", "facts", *others)
            ),
            row["sent"]["shown"],
        ]
        for row in world["overview"]
    ]
    heads = ["generator", "gain over each hospital alone", "against all records in one place"]
    heads += ["training patients recognized", "sensitive facts inferred"]
    heads += [*("what else was tried" for _ in others), "sent per hospital"]
    heads[1:3] = [f"{heads[1]} (own patients)", f"{heads[2]} (all patients together)"]
    by = f", by {safe(measured)}" if (measured := world["lead"]["measure"]) else ""
    title = f"### The same four questions for every generator{by}"
    said = "Above 0, training together is better. Leaks and data sent under the"
    under = f"{said} {world['regimes'][0]} regime." if world["regimes"] else ""
    return ["", title, "", under, "", table(heads, rows)] if len(rows) > 1 else []


def _attack(found: Json) -> str:
    what = "AUC " if found["name"].endswith(".auc") else ""
    shown = f" ({what}{_cell(found)})" if found["status"] == "done" else ""
    return f"{found['tried']}: {found['verdict']}{shown}"


def _named(row: Json) -> str:
    return f"{row['generator']} ({row['role']})" if row.get("role") else str(row["generator"])


def _behind(found: Sequence[Json]) -> list[str]:
    heads = ["generator", "measure", "own patients: alone", "own patients: together"]
    heads += ["own patients: gain", "all patients: one place", "all patients: together"]
    heads += ["all patients: difference"]
    rows = [
        [
            row["generator"],
            _head(row),
            *(_cell(row[k]) for k in ("local", "federated")),
            _change(row["gain"]),
            *(_cell(row[k]) for k in ("centralized", "pooled")),
            _change(row["tax"]),
        ]
        for row in found
    ]
    said = (
        "Own patients: the mean over hospitals, each on its own patients. All patients: those of "
        "all hospitals together. Above 0, training together is better."
    )
    title = "### The numbers behind gain and cost"
    return ["", title, "", said, "", table(heads, rows)] if rows else []


def _change(found: Json) -> str:
    shown = _cell(found)
    return shown if shown == found["verdict"] else f"{found['verdict']}: {shown}"


def _main(main: Json, *, turned: bool) -> list[str]:
    """Return the primary measures: a line per generator, or ``turned``, a line per measure."""
    heads = [_head(column) for column in main["columns"]]
    rows = [[_named(row), row["regime"], *map(_cell, row["cells"])] for row in main["rows"]]
    whose = "" if turned else ", on all hospitals' patients together"
    if turned:
        across = [list(cells) for cells in zip(heads, *(row[2:] for row in rows), strict=True)]
        shown = table(["measure", *(row[0] for row in rows)], across)
    else:
        shown = table(["generator", "regime", *heads], rows)
    meanings = [f"* {safe(name)}: {safe(text)}" for name, text in main["meanings"].items()]
    notes = [f"* {safe(text)}" for text in main["notes"]]
    return ["", f"### Primary measures{whose}", "", shown, "", *meanings, *notes]


def _head(column: Json) -> str:
    about = "; ".join(column[k] for k in ("task", "hint") if column[k])
    return f"{column['title']} ({about})" if about else str(column["title"])


def _baseline(found: Json | None) -> list[str]:
    if found is None:
        return []
    said = "A model of real records that knows only how often and when patients came reaches"
    little = "Utility that is no higher means little."
    return ["", f"{said} {safe(found['title'])} {_cell(found['cell'])}. {little}"]


def _privacy(found: Json | None) -> list[str]:
    if found is None:
        return []
    rows = [
        [
            row["generator"],
            row["regime"],
            f"{row['most']:.3g}",
            ", ".join(
                f"{one['site']} {one['epsilon']:.3g} ({one['epsilon_rdp']:.3g})"
                for one in row["sites"]
            ),
        ]
        for row in found["rows"]
    ]
    heads = ["generator", "regime", "largest epsilon", "epsilon of each hospital (by RDP)"]
    return ["", f"### {safe(found['title'])}", "", safe(found["text"]), "", table(heads, rows)]


def _audits(found: Json | None) -> list[str]:
    if found is None:
        return []
    shown = table(found["heads"], [row["shown"] for row in found["rows"]])
    return ["", f"### {safe(found['title'])}", "", safe(found["text"]), "", shown]


def _stopping(found: Json | None) -> list[str]:
    if found is None:
        return []
    names = ("generator", "regime", "phase", "rounds", "kept")
    rows = [[str(row[name]) for name in names] for row in found["rows"]]
    heads = ["generator", "regime", "phase", "rounds trained", "round kept"]
    return ["", f"### {safe(found['title'])}", "", safe(found["text"]), "", table(heads, rows)]


def _compute(found: Json | None) -> list[str]:
    if found is None:
        return []
    names = ("generator", "regime", "training", "sampling", "memory")
    rows = [[str(row[name]) for name in names] for row in found["rows"]]
    heads = ["generator", "regime", "training", "sampling 1,000 records", "peak memory"]
    return ["", f"### {safe(found['title'])}", "", safe(found["text"]), "", table(heads, rows)]


def _frontier(found: Json) -> list[str]:
    heads = ["generator", "regime", "without", *found["heads"]]
    rows = [
        [row["generator"], row["regime"], row["without"], *map(_cell, row["cells"])]
        for row in found["rows"]
    ]
    return ["", f"## {safe(found['title'])}", "", safe(found["text"]), "", table(heads, rows)]


def _exposed(found: Json | None) -> list[str]:
    if found is None:
        return []
    sites = found["sites"] if len(found["sites"]) > 1 else []
    rows = [
        [f"{kind} {group['group']}", people(group["n"]), f"{100 * group['at']:g} %", _reach(group)]
        for kind, groups in (("tenth", found["rarity"]), ("hospital", sites))
        for group in groups
    ]
    said = (
        f"By {found['attack']}, beyond luck, while at most so many of the others are accused; "
        "tenths go from usual to rare values."
    )
    shown = [
        "",
        safe(said),
        "",
        table(["group", "training patients", "others accused", "found"], rows),
    ]
    return [*_list("Who is recognised", found["sentences"], 3), *(shown if rows else [])]


def _reach(group: Json) -> str:
    value, low, high = (f"{100 * group[k]:.1f} %" for k in ("value", "low", "high"))
    return f"{value} ({low} to {high})".replace("-", "\N{MINUS SIGN}")


def _differences(found: Json | None) -> list[str]:
    if found is None:
        return []
    heads = [f"{c['title']} ({c['hint']})" if c["hint"] else c["title"] for c in found["columns"]]
    rows = [[row["site"], *row["cells"]] for row in found["rows"]]
    lines = ["<details><summary>Every hospital</summary>", "", table(["hospital", *heads], rows)]
    return [*_list("How the hospitals differ", found["sentences"], 3), "", *lines, "", "</details>"]


def _hospitals(found: Json | None) -> list[str]:
    if found is None:
        return []
    rows = [
        [panel["generator"], row["site"], *map(_cell, row["cells"])]
        for panel in found["panels"]
        for row in panel["rows"]
    ]
    said = f"{_head(found)}, on each hospital's own patients."
    shown = table(["generator", "hospital", *found["regimes"]], rows)
    return ["", "### Hospital by hospital", "", safe(said), "", shown]


def _everything(found: Sequence[Json], whose: str) -> list[str]:
    lines = ["", safe(SINGLE)] if found else []
    for each in found:
        rows = [[_row_head(row), *map(_cell, row["cells"])] for row in each["rows"]]
        summary = f"Every number{whose}: {safe(each['generator'])}"
        lines += ["", f"<details><summary>{summary}</summary>", ""]
        lines += [table(["measure", *each["regimes"]], rows), "", "</details>"]
    return lines


def _row_head(row: Json) -> str:
    return f"{row['title']} ({row['about']})" if row["about"] else str(row["title"])


def _cell(cell: Json) -> str:
    shown = f"{cell['shown']} ({cell['range']})" if cell["range"] else str(cell["shown"])
    return f"{shown}; {cell['note']}" if cell["note"] and cell["status"] == "done" else shown


def _silent(groups: Sequence[Json]) -> list[str]:
    rows = [
        [
            group["status"],
            f"{group['what']} ({'; '.join(_belongs(group))})",
            people(group["count"]),
            group["why"] + _more(group),
            _where(group),
        ]
        for group in groups
    ]
    heads = ["status", "what", "rows", "why", "where"]
    shown = table(heads, rows) if rows else "Everything has one."
    return ["", "## What has no number, and why", "", shown]


def _belongs(group: Json) -> list[str]:
    return [text for text in (group["dataset"], group["scenario"], *group["secrets"]) if text]


def _more(group: Json) -> str:
    more = len(group["reasons"]) - 1
    return f" (and {plural(more, 'more reason')}, alike but for the numbers)" if more else ""


def _where(group: Json) -> str:
    parts = [joined(group[k]) for k in ("generators", "regimes", "sites") if group[k]]
    count = "seed" if len(group["seeds"]) == 1 else "seeds"
    return "; ".join([*parts, *([f"{count} {joined(group['seeds'])}"] if group["seeds"] else [])])


def _again(report: Json) -> list[str]:
    versions = [f"{key} {value}" for key, value in report["environment"].items()]
    found, suite = report["again"], report["run"]["suite_toml"]
    return [
        "",
        "## Run it again",
        "",
        "In the run's folder, this does the same again:",
        "",
        *_code(found["command"]),
        "",
        (
            "`fedbench report .` writes this page anew. "
            "Every row is in `results.parquet`, every number of this page in `report.json`."
        ),
        *(["", *(f"* {safe(text)}" for text in found["needs"])] if found["needs"] else []),
        *(["", safe("; ".join(versions))] if versions else []),
        *(["", *_code(suite)] if suite else []),
    ]


def _code(text: str) -> list[str]:
    """Return a block of code; indented, as no fence can be closed from inside."""
    return [f"    {line}".rstrip() for line in text.strip().splitlines()]


def _list(title: str, texts: Iterable[str], level: int = 2) -> list[str]:
    items = [f"* {safe(text)}" for text in texts]
    return ["", f"{'#' * level} {title}", "", *items] if items else []


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; what stands in it becomes no markup."""
    from tabulate import tabulate  # noqa: PLC0415

    cells = [[safe(text) for text in row] for row in rows]
    text = str(tabulate(cells, [safe(h) for h in heads], tablefmt="pipe", disable_numparse=True))
    # Padding would make one long reason the width of every row.
    return re.sub(r"-{4,}", "---", re.sub(r" {2,}", " ", text))


def safe(text: str) -> str:
    """Names and reasons come from outside; they must not become markup."""
    for sign, said in _ESCAPES.items():
        text = text.replace(sign, said)
    return " ".join(text.split())
