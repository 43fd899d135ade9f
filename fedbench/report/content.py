"""What a report says, as one JSON document; Markdown and HTML are rendered from it alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache, partial
from importlib.resources import files
from typing import Any

import pandas as pd

from fedbench.errors import RunError
from fedbench.report import facts, given, scored, silent
from fedbench.report.again import again
from fedbench.report.answers import behind, overview
from fedbench.report.audits import audits, planted
from fedbench.report.compute import compute
from fedbench.report.controls import checks, listed
from fedbench.report.everything import everything
from fedbench.report.exposure import exposed
from fedbench.report.frontier import frontier
from fedbench.report.gate import gate
from fedbench.report.hospitals import hospitals
from fedbench.report.notes import GLOSSARY, caveats, introduction, reading
from fedbench.report.numbers import Numbers, finite
from fedbench.report.primary import baseline, primary
from fedbench.report.privacy import privacy
from fedbench.report.sentences import about, headline
from fedbench.report.stopping import stopping
from fedbench.report.tradeoff import tradeoff
from fedbench.report.words import measure
from fedbench.report.world import World, worlds
from fedbench.results import RunDir

__all__ = ["VERSION", "build", "validate"]

VERSION = 1

Json = dict[str, Any]


def build(run: RunDir) -> Json:
    """Return the report of a finished run: the content of ``report.json``.

    Raises:
        RunError: the run is unfinished, or its rows make no valid report.
    """
    table = run.results()
    table = table.assign(label=table["label"].where(table["label"] != "", table["generator"]))
    suite = facts.suite(run)
    words = partial(facts.words, suite)
    asked = suite["tables"].get("scenarios", [])
    stops = [scenario["name"] for scenario in asked if scenario.get("stopping")]
    # Rows about one column are many, and stay in results.parquet; audits are told apart. Fairness
    # has no others: there, a column is what patients are told apart by, or a group of them.
    clean = table[~planted(table)]
    about = Numbers.of(clean[(clean["column"] == "") | (clean["family"] == "fairness")])
    stories = list(worlds(about, words, stops, partial(facts.kinds, suite)))
    report: Json = finite(
        {
            "schema": "fedbench-report",
            "version": VERSION,
            "run": facts.run_facts(run, suite),
            "environment": facts.environment(run),
            "statuses": silent.counts(table),
            "worlds": [_world(run, world, suite, table) for world in stories],
            "frontier": [] if run.given else frontier(suite, stories, clean),
            "silent": silent.groups(table, words),
            "again": again(run, suite, table),
            **_gate(run, suite, table),
            **(_about_given(run.given, suite, stories) if run.given else _about_runs(stories)),
        }
    )
    validate(report)
    return report


def _gate(run: RunDir, suite: Json, table: pd.DataFrame) -> Json:
    """Return whether the release may pass, where an audit was asked that."""
    most = suite["tables"].get(run.given, {}).get("fail-over")
    if most is None:
        return {}
    return {"gate": gate(table, most, facts.counted(suite).closing).plain()}


def _about_runs(stories: Sequence[World]) -> Json:
    return {
        "introduction": introduction(stories),
        "caveats": caveats(stories),
        "reading": reading(stories),
        "glossary": dict(GLOSSARY),
    }


def _about_given(command: str, suite: Json, stories: Sequence[World]) -> Json:
    about = scored if command == "evaluate" else given
    return {
        "introduction": about.introduction(stories),
        "caveats": [*suite["tables"][command]["notes"], *about.warnings(stories)],
        "reading": list(about.READING_IT),
        "glossary": about.terms(stories),
    }


def validate(report: Json) -> None:
    """Check a report against ``schema.json``.

    Raises:
        RunError: says where it does not fit.
    """
    import jsonschema  # noqa: PLC0415

    error = jsonschema.exceptions.best_match(_validator().iter_errors(report))
    if error is not None:
        raise RunError(
            f"report.json does not fit its schema at {error.json_path}: {error.message}."
        )


@cache
def _validator() -> Any:
    import jsonschema  # noqa: PLC0415

    schema = json.loads((files("fedbench.report") / "schema.json").read_text())
    return jsonschema.Draft202012Validator(schema)


def _world(run: RunDir, world: World, suite: Json, table: pd.DataFrame) -> Json:
    whole = table[(table["dataset"] == world.dataset) & (table["scenario"] == world.scenario)]
    mine = whole[~planted(whole)]
    seeds = mine[mine["seed"].notna() & (mine["train_id"] != "")]
    trains = {str(t): int(s) for t, s in zip(seeds["train_id"], seeds["seed"], strict=True)}
    played, audited = checks(world), audits(whole)
    if run.given == "audit":
        sentences = [given.verdict(world, played, facts.counted(suite))]
    elif run.given:
        columns = mine[mine["column"] != ""]
        sentences = scored.answers(world, played, columns, facts.counted(suite))
    else:
        sentences = headline(world, world.lead, played, audited)
    score, task = world.score
    return {
        "dataset": world.dataset,
        "scenario": world.scenario,
        "data": facts.data(run, world, suite, trains),
        "differences": None if run.given else facts.differing(run, world, suite, trains),
        "words": dict(world.words),
        "lead": {
            "generator": world.lead,
            "measure": measure(score),
            "name": score,
            "task": world.say(task),
            "about": [] if run.given else about(world),
        },
        "regimes": world.regimes,
        "headline": [s.plain() for s in sentences],
        "overview": [] if run.given else overview(world, played),
        "behind": behind(world),
        "controls": [check.plain() for check in played],
        "checked": [*listed(played), *(audited["controls"] if audited else [])],
        "main": primary(world),
        "baseline": baseline(world),
        "tradeoff": tradeoff(world),
        "hospitals": hospitals(world),
        "privacy": privacy(run, world),
        "audits": audited,
        "stopping": stopping(run, world) if world.stops else None,
        "compute": None if run.given else compute(run, world),
        "exposed": exposed(run, world, played),
        "everything": everything(world),
        "numbers": [number.plain() for number in world.numbers],
    }
