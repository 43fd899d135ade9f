"""What commands print: facts as plain values, and those values as text."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from fedbench.config import bundled
from fedbench.data import Cohort, Column, Dataset, DataStore, Role, Schema, Task
from fedbench.errors import DataError
from fedbench.kinds import DATASETS, KINDS, cohort_of
from fedbench.plugin import plain
from fedbench.progress import duration
from fedbench.results import RunDir, read_json

if TYPE_CHECKING:
    from fedbench.given import Case
    from fedbench.rescoring import Rescored
    from fedbench.runner import Plan

__all__ = [
    "answers",
    "audited",
    "compared",
    "contents",
    "counts",
    "datasets",
    "described",
    "description",
    "evaluated",
    "examined",
    "kinds",
    "named_lists",
    "planned",
    "primary",
    "rescored",
    "size",
    "table",
    "verdict",
]

WIDE = 100
NARROW = 22
SITES = 20
"""Hospitals in a table that is read in passing."""


def kinds() -> Mapping[str, Callable[[], Mapping[str, str]]]:
    """Return everything that can be listed, with what tells its names and their meaning."""
    return {**{name: kind.summaries for name, kind in KINDS.items()}, "suites": _suites}


def named_lists(found: Mapping[str, Mapping[str, str]]) -> str:
    """Show names with what they mean, under the name of their kind."""
    width = max((len(name) for names in found.values() for name in names), default=0)
    blocks = [
        "\n".join([kind, *(f"  {name:<{width}}  {text}".rstrip() for name, text in names.items())])
        for kind, names in found.items()
    ]
    return "\n\n".join(blocks)


def datasets() -> Sequence[Mapping[str, str]]:
    """Return one line per dataset, without reading a record."""
    return [
        {
            "name": name,
            "title": (kind := DATASETS.find(name)).title,
            "licence": kind.licence,
            "records": "come with fedbench" if kind.embedded else "in a folder of yours",
        }
        for name in DATASETS.names()
    ]


def contents(name: str, store: DataStore) -> Mapping[str, int]:
    """Return how much there is of a dataset, after checking every record.

    Raises:
        DataError: it is not there, or does not fit its schema.
    """
    return counts(cohort_of(name, {}, store))


def counts(cohort: Cohort) -> Mapping[str, int]:
    """Return how much there is of a cohort."""
    return {
        "patients": len(cohort),
        "hospitals": 0 if cohort.sites is None else len(set(cohort.sites)),
        "visits": len(cohort.visits),
        "diagnoses": len(cohort.codes),
        "events": int(cohort.event.sum()) if len(cohort.outcome) else 0,
    }


def description(name: str, store: DataStore) -> Mapping[str, Any]:
    """Return what is known about a dataset, and how much of it is here."""
    dataset = DATASETS.build(name)
    try:
        schema = dataset.schema
    except DataError:  # its user is to say what the columns mean
        schema = Schema(name=name, clock="", static={})
    try:
        here: Mapping[str, Any] = contents(name, store)
    except DataError as error:
        here = {"missing": str(error)}
    return {
        "name": name,
        "title": dataset.title,
        "about": type(dataset).describe(),
        "licence": dataset.licence,
        "citation": dataset.citation,
        "home": dataset.home,
        "to be had": _to_be_had(name, dataset),
        "records may be published": dataset.redistributable,
        "clock": schema.clock,
        "size": here,
        "sites": list(schema.static[schema.site].levels) if schema.site else [],
        "columns": [
            *_columns("static", schema.static),
            *_columns("visits", schema.visits),
        ],
        "sensitive": _with_role(schema, "sensitive"),
        "quasi-identifiers": _with_role(schema, "quasi-identifier"),
        "codes": {name: len(known.codes) for name, known in schema.vocabularies.items()},
        "outcome": schema.outcome.label if schema.outcome else None,
        "tasks": {name: _told(task, schema) for name, task in schema.tasks.items()},
        "rules": [plain(asdict(rule)) for rule in schema.rules],
        "cluster": schema.cluster,
    }


def _to_be_had(name: str, dataset: Dataset) -> str:
    if dataset.embedded:
        return "comes with fedbench"
    if dataset.downloads:
        return f"`fedbench data get {name}`"
    return "by hand, into a folder of yours"


def _told(task: Task, schema: Schema) -> Mapping[str, Any]:
    """Return a task in values that JSON knows, and it knows no infinity."""
    known = schema.static[task.column].known if task.column else None
    found = {**{name: plain(value) for name, value in asdict(task).items()}, "known": known}
    return {name: None if value == math.inf else value for name, value in found.items()}


def _with_role(schema: Schema, role: Role) -> Sequence[str]:
    """Return the columns of this role, and, of sensitive codes, each with its system."""
    columns = {**schema.static, **schema.visits}
    found = [name for name, column in columns.items() if role in column.roles]
    if role == "sensitive":
        systems = schema.vocabularies.items()
        found += [f"{system}:{code}" for system, v in systems for code in sorted(v.sensitive)]
    return found


def described(found: Mapping[str, Any]) -> str:
    """Show a description."""
    size = found["size"]
    here = size.get("missing") or ", ".join(
        f"{count:,} {what}" for what, count in size.items() if count
    )
    head = [(key, found[key]) for key in ("about", "licence", "citation", "home", "to be had")]
    lists = [(key, _some(found[key])) for key in ("sites", "sensitive", "quasi-identifiers")]
    middle = [("clock", found["clock"]), ("outcome", found["outcome"]), *lists]
    codes = [("codes", f"{count} of {system}") for system, count in found["codes"].items()]
    tasks = [(f"task {name}", _task(task)) for name, task in found["tasks"].items()]
    rules = [("rule", _rule(rule)) for rule in found["rules"]]
    lines = [*head, ("here", here), *middle, *codes, *tasks, *rules]
    return "\n\n".join(
        [
            f"{found['name']}: {found['title']}",
            facts([(name, text) for name, text in lines if text]),
            *([table(found["columns"])] if found["columns"] else []),
        ]
    )


def _some(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    count = f"{len(names)}: " if len(names) > 1 else ""
    return f"{count}{', '.join(names[:most])}{more}" if names else ""


def _task(task: Mapping[str, Any]) -> str:
    """Say what is foreseen, from when on, and until when."""
    until = task["horizon"]
    ahead = "horizon: however late" if until is None else f"horizon: up to day {until:g}"
    if task["column"]:
        late = "later" if task["known"] is None else f"from day {task['known']:g}"
        ahead = f"the column {task['column']}, known {late}"
    return f"{task['label']} ({task['kind']}; index time: day {task['index']:g}, {ahead})"


def _rule(rule: Mapping[str, Any]) -> str:
    when = f" where {rule['when']}" if rule["when"] else ""
    return f"{rule['label']}: {rule['holds']}{when} ({rule['source']})"


def planned(plan: Plan) -> str:
    """Show what a run would do, or what is left of it."""
    cells = "\n".join(f"  {label}" for label in plan.cells)
    licences = "\n".join(
        f"  {name}: {licence}. {citation}" for name, licence, citation in plan.licences
    )
    return (
        f"{_left(plan)}\n{cells}\n\n"
        f"To expect: about {duration(plan.seconds)} of one core, give or take half (more where "
        f"networks are larger than in quick), {size(plan.bytes)} on disk.\n\n"
        f"Data\n{licences}" + "".join(f"\n\n{_differing(found)}" for found in plan.differences)
    )


def _differing(found: Mapping[str, Any]) -> str:
    """Show how the hospitals of a dataset and scenario differ."""
    said = [textwrap.fill(f"  {text}", WIDE, subsequent_indent="  ") for text in found["sentences"]]
    heads = [f"{column['title']}\n{column['hint']}" for column in found["columns"]]
    rows = [[row["site"], *row["cells"]] for row in found["rows"][:SITES]]
    more = len(found["rows"]) - len(rows)
    return "\n".join(
        [
            f"How the hospitals differ: {found['dataset']} · {found['scenario']}",
            *said,
            "",
            tabulate(rows, headers=["hospital", *heads], disable_numparse=True),
            *([f"… and {more} more (--json has all)"] if more else []),
        ]
    )


def _left(plan: Plan) -> str:
    cells, total = len(plan.cells), plan.done + len(plan.cells)
    left = f"{cells} cell{'s' * (cells != 1)} in {plan.jobs} job{'s' * (plan.jobs != 1)}"
    if plan.done:
        verb = "is" if cells == 1 else "are"
        left = f"{plan.done} of {total} cells are done, {left} {verb} left"
    if plan.outdated:
        left += f" ({plan.outdated} finished ones are of other code, data or versions)"
    return left


def primary(run: RunDir) -> str:
    """Show the main table of every world of a run, each number with its range."""
    report = read_json(run.path / "report.json")
    return "\n\n".join(
        f"{world['dataset']} · {world['scenario']}\n{_main(world['main'])}"
        for world in report["worlds"]
    )


def compared(case: Case) -> str:
    """Show what an audit compares, and what it had to decide by itself."""
    schema = case.schema
    columns = [*_columns("static", schema.static), *_columns("visits", schema.visits)]
    shown = [{k: row[k] for k in ("column", "table", "kind", "values", "role")} for row in columns]
    notes = _notes(case.notes)
    return f"{table(shown)}\n\n{notes}\n" if case.is_drafted else f"{notes}\n"


def _notes(texts: Sequence[str]) -> str:
    return "\n".join(textwrap.fill(f"* {text}", WIDE, subsequent_indent="  ") for text in texts)


def verdict(run: RunDir) -> Mapping[str, str]:
    """Return what attacks on a release found, in words."""
    found = read_json(run.path / "report.json")["worlds"][0]["headline"][-1]
    return {"verdict": found["title"], "because": found["text"]}


def gate(run: RunDir) -> Mapping[str, Any]:
    """Return whether a release may pass, and what it was held against; empty where none asked."""
    found: Mapping[str, Any] = read_json(run.path / "report.json").get("gate", {})
    return found


def rescored(found: Rescored) -> str:
    """Say what scoring a run again asked, and what became of its rows."""
    what = "Everything was asked again" if found.anew else "What had no answer was asked"
    new = f", {found.new:,} of them new" if found.new else ""
    otherwise = (
        f"{found.changed:,} of the rows there were came out otherwise ({', '.join(found.names)})."
        if found.changed
        else "All rows there were came out as before."
    )
    asked = f"{found.asked:,} question{'s' * (found.asked != 1)} to cells"
    told = [f"  {example}" for example in found.examples]
    if rest := found.changed - len(told):
        told.append(f"  and {rest:,} more")
    return "\n".join([f"{what}: {asked}; {found.rows:,} rows{new}. {otherwise}", *told])


def answers(run: RunDir) -> Mapping[str, Any]:
    """Return what an evaluation found: the answers in words, and the numbers of the release."""
    world = read_json(run.path / "report.json")["worlds"][0]
    found = [n for n in world["numbers"] if n["regime"] == "given" and n["generator"] == "given"]
    kept = ["name", "task", "column", "secret", "site", "status", "value", "low", "high", "n"]
    kept += ["floor", "ceiling", "normalized", "reasons"]
    return {
        "answers": {said["title"]: said["text"] for said in world["headline"]},
        "numbers": [{k: n[k] for k in kept if k in n} for n in found],
    }


def evaluated(run: RunDir) -> str:
    """Show the controls, the numbers, what had to be decided, the answers and the report's path."""
    world = read_json(run.path / "report.json")["worlds"][0]
    told = [
        "\n".join(
            textwrap.fill(line, WIDE, initial_indent="  ", subsequent_indent="    ")
            for line in [*said["text"].split("\n"), *said["details"]]
        )
        for said in world["headline"][:-1]
    ]
    titles = [said["title"] for said in world["headline"]]
    answers = [f"{title}\n{text}" for title, text in zip(titles, told, strict=False)]
    # They were said at first, and have scrolled away behind what was done since.
    notes = [f"How the tables were read\n{_notes(read(run))}"] if read(run) else []
    numbers = _turned(world["main"])
    return "\n\n".join([_controls(world), numbers, *notes, *answers, _ending(run)])


def read(run: RunDir) -> Sequence[str]:
    """Return what a reader must know of how given tables were read."""
    from fedbench.report import facts  # noqa: PLC0415

    found: Sequence[str] = facts.suite(run)["tables"][run.given]["notes"]
    return found


def audited(run: RunDir) -> str:
    """Show the controls, the numbers, the verdict and where the report is."""
    world = read_json(run.path / "report.json")["worlds"][0]
    return "\n\n".join([_controls(world), _turned(world["main"]), _ending(run)])


def _controls(world: Mapping[str, Any]) -> str:
    checks = [(f"  {check['outcome']}", check["text"]) for check in world["checked"]]
    return "Controls first\n" + facts(checks)


def _ending(run: RunDir) -> str:
    said = verdict(run)
    told = textwrap.fill(f"{said['verdict']}. {said['because']}", WIDE)
    return f"{told}\n\nReport: {run.path / 'report.html'}"


def examined(found: Mapping[str, Any]) -> str:
    """Show what a doctor found."""
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    here = found["data"]
    lines = [
        ("python", found["python"]),
        ("platform", found["platform"]),
        ("packages", packages),
        ("cores", found["cores"]),
        ("torch", found.get("torch") or f"{found['threads']} threads"),
        ("cuda", ", ".join(found["cuda"] or ()) or "none seen"),
        ("memory", "{1} of {0} free".format(*map(size, found["memory"].values()))),
        ("disk", f"{size(found['disk']['free'])} free at {found['disk']['folder']}"),
        ("data folder", here["folder"] or "none: set FEDBENCH_DATA or give --data-dir"),
        *((f"  {name}", f"ready, {count:,} patients") for name, count in here["ready"].items()),
        *((f"  {name}", f"not ready: {why}") for name, why in here["not ready"].items()),
    ]
    return facts(lines)


def facts(lines: Sequence[tuple[str, object]]) -> str:
    """Show names with their values."""
    width = max(len(name) for name, _ in lines) + 2
    shown = [
        textwrap.fill(
            f"{name:<{width}}{value}",
            width + WIDE,
            subsequent_indent=" " * width,
            break_on_hyphens=False,
            break_long_words=False,
        )
        for name, value in lines
    ]
    return "\n".join(shown)


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Show rows that share their columns."""
    return tabulate(
        [dict(row) for row in rows],
        headers="keys",
        tablefmt="simple",
        disable_numparse=True,
        maxcolwidths=60,
    )


def size(count: float) -> str:
    """Return an amount of data in words.

    >>> size(999), size(2_500_000)
    ('999 B', '2.5 MB')
    """
    step = min(int(math.log10(max(count, 1)) // 3), 4)
    return f"{count / 1000**step:.{1 if step else 0}f} {('B', 'kB', 'MB', 'GB', 'TB')[step]}"


def _main(found: Mapping[str, Any]) -> str:
    heads = ["generator", "regime", *(_head(column) for column in found["columns"])]
    rows = [
        [row["generator"], row["regime"], *(_cell(cell) for cell in row["cells"])]
        for row in found["rows"]
    ]
    return tabulate(rows, headers=heads, tablefmt="simple", disable_numparse=True)


def _turned(found: Mapping[str, Any]) -> str:
    """Show the same with a line for each measure."""
    heads = ["measure", *(row["generator"] for row in found["rows"])]
    rows = [
        [_head(column, WIDE // 2), *(_cell(row["cells"][at]) for row in found["rows"])]
        for at, column in enumerate(found["columns"])
    ]
    return tabulate(rows, headers=heads, tablefmt="simple", disable_numparse=True)


def _head(column: Mapping[str, Any], width: int = NARROW) -> str:
    return "\n".join(textwrap.wrap(column["title"], width) + textwrap.wrap(column["hint"], width))


def _cell(found: Mapping[str, Any]) -> str:
    spread = f" ({found['range']})" if found["range"] else ""
    silent = ", says nothing" if "nothing can be said" in found["note"] else ""
    few = f", {over}" if (over := found.get("over")) else ""
    return f"{found['shown']}{spread}{few}{silent}"


def _suites() -> Mapping[str, str]:
    """Return the bundled suites; the first line of each says what it is for."""
    return {
        name: path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        for name, path in bundled().items()
    }


def _columns(part: str, columns: Mapping[str, Column]) -> Sequence[Mapping[str, str]]:
    return [
        {
            "column": name,
            "table": part,
            "kind": column.kind,
            "values": ", ".join(column.levels) or f"{column.low:g} to {column.high:g}",
            "unit": column.unit,
            "meaning": column.label,
            "role": ", ".join([*sorted(column.roles), *_later(column)]),
        }
        for name, column in columns.items()
    ]


def _later(column: Column) -> Sequence[str]:
    return [] if math.isinf(column.known) else [f"known from day {column.known:g}"]
