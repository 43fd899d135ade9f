"""``report.md``: the same story, short enough for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from fedbench.report.words import joined, people, plural

__all__ = ["render", "safe", "table"]

Json = dict[str, Any]

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|", "](": "]\\(", "`": "'"}


def render(report: Json) -> str:
    """Return the report in Markdown."""
    run = report["run"]
    when = f", run on {run['date']}" if run["date"] else ""
    rows = ", ".join(f"{people(n)} {status}" for status, n in report["statuses"].items())
    lines = [
        f"# fedbench: {safe(run['suite'])}",
        "",
        f"{safe(run['name'])}{when}. {plural(len(run['seeds']), 'seed')}. Rows: {rows or 'none'}.",
        *(line for text in report["introduction"] for line in ("", safe(text))),
        *(line for world in report["worlds"] for line in _world(world)),
        *_silent(report["silent"]),
        *_list("Caveats", report["caveats"]),
        *_list("How to read it", report["reading"]),
        *_again(report),
    ]
    return "\n".join(lines) + "\n"


def _world(world: Json) -> list[str]:
    title = world["data"]["title"]
    where = f"{world['dataset']}, {world['scenario']}" if world["scenario"] else world["dataset"]
    return [
        "",
        f"## {safe(title)} ({safe(where)})",
        "",
        safe(_data(world["data"])),
        "",
        *_about(world),
        *(line for sentence in world["headline"] for line in _answer(sentence)),
        *_overview(world),
        *_behind(world["behind"]),
        *_list("Controls", [_check(check, world) for check in world["controls"]], level=3),
        *_main(world["main"], "" if _given(world) else ", on all hospitals' patients together"),
        *_baseline(world["baseline"]),
    ]


def _given(world: Json) -> bool:
    """Whether the records came from outside: one release, and no hospitals."""
    return bool(world["regimes"] == ["given"])


def _about(world: Json) -> list[str]:
    lead = world["lead"]
    if _given(world):
        return []
    return [f"About {safe(lead['generator'])}, the best here by {safe(lead['measure'])}:", ""]


def _answer(sentence: Json) -> list[str]:
    details = [f"    * {safe(text)}" for text in sentence["details"]]
    return [f"* **{sentence['title']}.** {safe(sentence['text'])}", *details]


def _data(data: Json) -> str:
    sizes = [f"{h['name']} {people(h['patients'])}" for h in data["hospitals"] if "patients" in h]
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


def _check(check: Json, world: Json) -> str:
    return f"{check['outcome']}: {_tried(check, world)}: {check['text']}"


def _tried(check: Json, world: Json) -> str:
    """Say what a control or an attack is after."""
    secret = world["words"].get(check["secret"], check["secret"])
    return f"guessing “{secret}”" if secret else f"attack {check['name'].partition('.')[0]}"


def _overview(world: Json) -> list[str]:
    rows = [
        [
            row["generator"],
            *(_change(row[k]) for k in ("gain", "tax")),
            "; ".join(f"{_tried(a, world)}: {a['verdict']}" for a in row["members"]),
            "; ".join(f"{_tried(a, world)}: {a['verdict']}" for a in row["facts"]),
            row["sent"]["shown"],
        ]
        for row in world["overview"]
    ]
    heads = ["generator", "gain over each hospital alone", "against all records in one place"]
    heads += ["training patients recognized", "sensitive facts inferred", "sent per hospital"]
    heads[1:3] = [f"{heads[1]} (own patients)", f"{heads[2]} (all patients together)"]
    title = f"### Every generator, by {safe(world['lead']['measure'])}"
    return ["", title, "", table(heads, rows)] if rows else []


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


def _main(main: Json, whose: str) -> list[str]:
    heads = [_head(column) for column in main["columns"]]
    rows = [[row["generator"], row["regime"], *map(_cell, row["cells"])] for row in main["rows"]]
    title = f"### Primary measures{whose}"
    meanings = [f"* {safe(name)}: {safe(text)}" for name, text in main["meanings"].items()]
    return ["", title, "", table(["generator", "regime", *heads], rows), "", *meanings]


def _head(column: Json) -> str:
    about = "; ".join(column[k] for k in ("task", "hint") if column[k])
    return f"{column['title']} ({about})" if about else str(column["title"])


def _baseline(found: Json | None) -> list[str]:
    if found is None:
        return []
    said = "A model of real records that knows only how often and when patients came reaches"
    return ["", f"{said} {safe(found['title'])} {_cell(found['cell'])}."]


def _cell(cell: Json) -> str:
    shown = f"{cell['shown']} ({cell['range']})" if cell["range"] else str(cell["shown"])
    return f"{shown}; {cell['note']}" if cell["note"] and cell["status"] == "done" else shown


def _silent(groups: Sequence[Json]) -> list[str]:
    rows = [
        [
            group["status"],
            f"{group['what']} ({'; '.join([group['dataset'], *group['secrets']])})",
            people(group["count"]),
            group["why"],
            "; ".join(joined(group[k]) for k in ("generators", "regimes", "sites") if group[k]),
        ]
        for group in groups
    ]
    heads = ["status", "what", "rows", "why", "where"]
    shown = table(heads, rows) if rows else "Everything has one."
    return ["", "## What has no number, and why", "", shown]


def _again(report: Json) -> list[str]:
    versions = [f"{key} {value}" for key, value in report["environment"].items()]
    audit = report["run"]["regimes"] == ["given"]
    command = "fedbench audit --schema schema.toml …" if audit else "fedbench run suite.toml"
    return [
        "",
        "## Run it again",
        "",
        (
            f"In the run's folder: `{command}`. "
            "Every row is in `results.parquet`, every number of this page in `report.json`."
        ),
        *(["", safe("; ".join(versions))] if versions else []),
    ]


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
