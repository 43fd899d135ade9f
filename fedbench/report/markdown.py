"""``report.md``: the same story, short enough for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from fedbench.report.words import joined, people

__all__ = ["render"]

Json = dict[str, Any]

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|", "](": "]\\(", "`": "'"}


def render(report: Json) -> str:
    """Return the report in Markdown."""
    run = report["run"]
    when = f", run on {run['date']}" if run["date"] else ""
    rows = ", ".join(f"{people(n)} {status}" for status, n in report["statuses"].items())
    lines = [
        f"# fedbench: {_safe(run['suite'])}",
        "",
        f"{_safe(run['name'])}{when}. {len(run['seeds'])} seeds. Rows: {rows or 'none'}.",
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
        f"## {_safe(title)} ({_safe(where)})",
        "",
        _safe(_data(world["data"])),
        "",
        (
            f"About {_safe(world['lead']['generator'])}, the best here by "
            f"{_safe(world['lead']['measure'])}:"
        ),
        "",
        *(f"* **{s['title']}.** {_safe(s['text'])}" for s in world["headline"]),
        *_list("Controls", [_check(check) for check in world["controls"]], level=3),
        *_overview(world),
        *_main(world["main"]),
        *_baseline(world["baseline"]),
    ]


def _data(data: Json) -> str:
    sizes = [f"{h['name']} {people(h['patients'])}" for h in data["hospitals"] if "patients" in h]
    count = f"{people(data['patients'])} patients at " if data["patients"] else ""
    parts = [
        f"{count}{len(data['hospitals'])} hospitals{': ' if sizes else ''}{', '.join(sizes)}",
        data["setting"],
        f"licence: {data['licence']}" if data["licence"] else "",
        f"source: {data['citation'].rstrip('.')}" if data["citation"] else "",
    ]
    return "; ".join(part for part in parts if part) + "."


def _check(check: Json) -> str:
    return f"{check['outcome']}: {check['secret'] or check['name']}: {check['text']}"


def _overview(world: Json) -> list[str]:
    rows = [
        [
            row["generator"],
            *(f"{row[k]['verdict']}: {_cell(row[k])}" for k in ("gain", "tax")),
            "; ".join(f"{a['name']}: {a['verdict']}" for a in row["members"]),
            "; ".join(f"{a['secret']}: {a['verdict']}" for a in row["facts"]),
            row["sent"]["shown"],
        ]
        for row in world["overview"]
    ]
    heads = ["generator", "gain over each hospital alone", "against all records in one place"]
    heads += ["training patients recognized", "sensitive facts inferred", "sent per hospital"]
    title = f"### Every generator, by {_safe(world['lead']['measure'])}"
    return ["", title, "", _table(heads, rows)] if rows else []


def _main(main: Json) -> list[str]:
    heads = [f"{c['title']} ({c['hint']})" if c["hint"] else c["title"] for c in main["columns"]]
    rows = [[row["generator"], row["regime"], *map(_cell, row["cells"])] for row in main["rows"]]
    return ["", "### Primary measures", "", _table(["generator", "regime", *heads], rows)]


def _baseline(found: Json | None) -> list[str]:
    if found is None:
        return []
    said = "A model of real records that knows only how often and when patients came reaches"
    return ["", f"{said} {_safe(found['title'])} {_cell(found['cell'])}."]


def _cell(cell: Json) -> str:
    return f"{cell['shown']} ({cell['range']})" if cell["range"] else str(cell["shown"])


def _silent(groups: Sequence[Json]) -> list[str]:
    rows = [
        [
            group["status"],
            f"{group['what']} ({group['dataset']})",
            people(group["count"]),
            group["why"],
            "; ".join(joined(group[k]) for k in ("generators", "regimes", "sites") if group[k]),
        ]
        for group in groups
    ]
    table = _table(["status", "what", "rows", "why", "where"], rows)
    return ["", "## What has no number, and why", "", table if rows else "Everything has one."]


def _again(report: Json) -> list[str]:
    versions = [f"{key} {value}" for key, value in report["environment"].items()]
    return [
        "",
        "## Run it again",
        "",
        (
            "In the run's folder: `fedbench run suite.toml`. "
            "Every row is in `results.parquet`, every number of this page in `report.json`."
        ),
        *(["", _safe("; ".join(versions))] if versions else []),
    ]


def _list(title: str, texts: Iterable[str], level: int = 2) -> list[str]:
    items = [f"* {_safe(text)}" for text in texts]
    return ["", f"{'#' * level} {title}", "", *items] if items else []


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from tabulate import tabulate  # noqa: PLC0415

    safe = [[_safe(text) for text in row] for row in rows]
    text = str(tabulate(safe, [_safe(h) for h in heads], tablefmt="pipe", disable_numparse=True))
    # Padding would make one long reason the width of every row.
    return re.sub(r"-{4,}", "---", re.sub(r" {2,}", " ", text))


def _safe(text: str) -> str:
    """Names and reasons come from outside; they must not become markup."""
    for sign, said in _ESCAPES.items():
        text = text.replace(sign, said)
    return " ".join(text.split())
