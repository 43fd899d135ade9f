"""What a report says, as one JSON document; Markdown and HTML are rendered from it alone."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd

from fedbench.errors import RunError
from fedbench.report import facts, silent, tables
from fedbench.report.controls import checks
from fedbench.report.numbers import RULE, Numbers, finite
from fedbench.report.sentences import headline
from fedbench.report.words import measure
from fedbench.report.world import World, worlds
from fedbench.results import RunDir

__all__ = ["VERSION", "build", "validate"]

VERSION = 1

Json = dict[str, Any]

CAVEATS = (
    RULE,
    "An interval covers chance in which patients were tested and, over seeds, in how patients "
    "were dealt, split and trained on. It does not cover that other hospitals are different.",
    "Only summaries of visits are modelled: per patient and time window the last value measured, "
    "the day of the last visit and whether a code was ever recorded. How a course unfolds from "
    "visit to visit is not in the synthetic records, and nothing here speaks about it.",
    "Hospitals with few patients or few events have wide intervals, or no number of their own; "
    "means over hospitals still use them.",
    "“Could not be recognized” means: not by this attack, with this many patients. Membership was "
    "attacked in one kind of way only, by the distance to released records. Other attacks, and "
    "attackers who know more, may see what this one does not.",
    "An attribute attack counts only how much better it does for training patients than for "
    "others; what can be inferred about anybody is medicine, and is not counted as a leak.",
    "“No difference could be shown” does not mean that there is none. What would probably have "
    "been seen is 1.43 times the half-width of the interval (a power of 80 %).",
    "Sentences are about the generator that scores best here; that it was picked by its score "
    "flatters it a little.",
    "Amounts of data are measured as the size of serialized protobuf messages, without transport "
    "overhead; 1 MB is a million bytes.",
)

READING = (
    "A value stands above its range, the 95 % interval. Where the range of an attack holds the "
    "value of guessing, or that of a gain holds 0, chance alone may have made it.",
    "Federated, centralized, local and mixture differ only in who trains with whom; patients, "
    "split and generator are the same.",
    "A local generator is scored on the pooled patients in the main table (the mean over "
    "hospitals, weighted by patients) and on its own hospital's patients in the picture of "
    "hospitals.",
    "The floor is what a generator reaches that knows single columns only; the ceiling is what "
    "the real training records reach when they are scored as if they were synthetic.",
    "Refused means that there were too few patients to say anything; not applicable, that the "
    "question makes no sense there; failed, that something broke.",
)


def build(run: RunDir) -> Json:
    """Return the report of a finished run: the content of ``report.json``.

    Raises:
        RunError: the run is unfinished, or its rows make no valid report.
    """
    table = run.results()
    table = table.assign(label=table["label"].where(table["label"] != "", table["generator"]))
    suite = facts.suite(run)
    report: Json = finite(
        {
            "schema": "fedbench-report",
            "version": VERSION,
            "run": facts.run_facts(run, suite),
            "environment": facts.environment(run),
            "statuses": silent.counts(table),
            "worlds": [_world(run, world, suite, table) for world in worlds(Numbers.of(table))],
            "silent": silent.groups(table),
            "caveats": list(CAVEATS),
            "reading": list(READING),
        }
    )
    validate(report)
    return report


def validate(report: Json) -> None:
    """Check a report against ``schema.json``.

    Raises:
        RunError: says where it does not fit.
    """
    import jsonschema  # noqa: PLC0415

    error = jsonschema.exceptions.best_match(_validator().iter_errors(report))
    if error is not None:
        raise RunError(f"report.json does not fit its schema at {error.json_path}: {error.message}.")


@cache
def _validator() -> Any:
    import jsonschema  # noqa: PLC0415

    schema = json.loads((files("fedbench.report") / "schema.json").read_text())
    return jsonschema.Draft202012Validator(schema)


def _world(run: RunDir, world: World, suite: Json, table: pd.DataFrame) -> Json:
    mine = table[(table["dataset"] == world.dataset) & (table["scenario"] == world.scenario)]
    seeds = mine[mine["seed"].notna() & (mine["train_id"] != "")]
    trains = {str(t): int(s) for t, s in zip(seeds["train_id"], seeds["seed"], strict=True)}
    played = checks(world)
    score, task = world.score
    return {
        "dataset": world.dataset,
        "scenario": world.scenario,
        "data": facts.data(run, world, suite, trains),
        "lead": {"generator": world.lead, "measure": measure(score), "name": score, "task": task},
        "regimes": world.regimes,
        "headline": [s.plain() for s in headline(world, world.lead, played)],
        "overview": tables.overview(world),
        "controls": [check.plain() for check in played],
        "main": tables.main(world),
        "tradeoff": tables.tradeoff(world),
        "hospitals": tables.hospitals(world),
        "everything": tables.everything(world),
        "numbers": [number.plain() for number in world.numbers],
    }
