"""Auditing a release: what do these synthetic records give away about those they were made from?

The attacks, controls, statistics and report are those of a run. What differs is where the
patients come from: train, control and reference are tables, and nobody is trained here.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedbench import games, report
from fedbench.attacking import Arena, Release, Siege, judged
from fedbench.cells import measures
from fedbench.collect import collect
from fedbench.config import SETS
from fedbench.data import Cohort
from fedbench.environment import describe
from fedbench.given import REPLICATES, SEED, SYNTHETIC, Case
from fedbench.kinds import ATTACKS
from fedbench.metric import Refusal
from fedbench.results import CellDir, RunDir, digest, portable, write_json, write_parquet
from fedbench.schemas import schema_file
from fedbench.scoring import Answer
from fedbench.tables import document
from fedbench.world import renamed

__all__ = ["Gate", "gate", "perform"]

NAME = "audit"
PLAYED = SETS["attacks"]["fast"]

USELESS = 0.2
"""An audit that would have missed a leak of this share of the records passes no gate."""

LEVEL = 0.05
GUESSING = 0.5  # AUC

Note = Callable[[str], None]


def perform(case: Case, out: Path, note: Note) -> RunDir:
    """Play the controls, then the release, and write a run directory with its report.

    What does not get to its end leaves nothing behind: an audit cannot be resumed.
    """
    run = RunDir.create(out, NAME)
    try:
        _perform(case, run, note)
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return run


def _perform(case: Case, run: RunDir, note: Note) -> None:
    (run.path / "audit.toml").write_text(_written(case), encoding="utf-8")
    (run.path / "schema.toml").write_text(schema_file(case.schema), encoding="utf-8")
    data = {name: cohort.fingerprint for name, cohort in case.tables.items()}
    write_json(run.path / "environment.json", {**describe(), "data": data})
    played = {}
    for generator, regime in (("copy", "control"), ("real", "control"), (SYNTHETIC, "given")):
        note(f"attacking {'the control ' if regime == 'control' else ''}{generator}")
        cell, scores = _cell(case, run, generator, regime)
        played[cell] = scores
    note("writing the report")
    collect(run, list(played), {cell.facts()["train_id"]: ids for cell, ids in played.items()})
    report.write(run)


def _written(case: Case) -> str:
    head = {
        "name": NAME,
        "seeds": [SEED],
        "regimes": ["given"],
        "attacks": list(PLAYED),
        "notes": list(case.notes),
    }
    tables = [
        {"part": name, "file": case.files[name], "records": len(cohort)}
        for name, cohort in case.tables.items()
    ]
    return document({NAME: head}, {"tables": tables})


def _cell(case: Case, run: RunDir, generator: str, regime: str) -> tuple[CellDir, list[str]]:
    """Let every attack play against one release."""
    started, arena = time.monotonic(), case.arena
    seen = case.tables if regime == "given" else case.parts
    tables = {name: cohort.fingerprint for name, cohort in seen.items()}
    train_id = digest(schema_file(case.schema), tables, generator, regime)
    here = run.cell(f"{case.schema.name}-{generator}-{regime}", train_id)
    base = {
        "train_id": train_id,
        "suite": NAME,
        "dataset": case.schema.name,
        "scenario": "",
        "regime": regime,
        "generator": generator if regime == "control" else "given",
        "label": generator,
        "seed": SEED,
        "unit": "patient",
    }
    ids = []
    for name in PLAYED:
        attack = ATTACKS.build(name)
        ids.append(digest(train_id, name, attack.settings, type(attack).version, REPLICATES))
        siege = Siege(arena.for_null if generator == "real" else arena, name, attack)
        release = Release("", _released(case, generator), arena.world.sites)
        found = list(siege.answers(release, "pooled"))
        if regime == "control":
            found += judged(generator, found, len(PLAYED), arena)
        elif attack.game == "attribute":
            found = _trusted(arena, found)
        # One hospital's row would say again what the row of everybody says.
        found = [a for a in found if len(release.sites) > 1 or not a.question.site]
        rows = [{**base, "score_id": ids[-1], **answer.row()} for answer in found]
        write_parquet(here.path / "measures" / f"{ids[-1]}.parquet", measures(rows))
        if siege.guesses:
            guesses = pd.concat(siege.guesses, ignore_index=True)
            write_parquet(here.path / f"guesses-{portable(name)}.parquet", guesses)
    write_json(here.path / "timings.json", {"seconds": time.monotonic() - started})
    patients = {site: len(split.train) for site, split in arena.world.splits.items()}
    facts: dict[str, Any] = {"train_id": train_id, "status": "done", "reason": "", "row": base}
    here.finish({**facts, "patients": patients})
    return here, ids


def _released(case: Case, generator: str) -> Cohort:
    if generator == SYNTHETIC:
        return case.release
    if generator == "real":
        return Cohort.union(list(case.arena.null.release.values()))
    train = case.parts["train"]
    return renamed(train, np.array([f"c{i}" for i in range(len(train))], dtype=object))


def _trusted(arena: Arena, found: Sequence[Answer]) -> list[Answer]:
    """Refuse guesses about two groups that differ without any release."""
    challenge = arena.challenges("membership", arena.world.sites)[0]
    blind = arena.blind(challenge, arena.world.sites)
    reason = games.distrust(blind) if blind is not None else ""
    if not reason:
        return list(found)
    keys = dict.fromkeys(a.found.key for a in found if a.status == "done")
    return [
        replace(found[0], found=Refusal(reason=reason, part="advantage", key=key), status="refused")
        for key in keys
    ] or list(found)


# --- The gate -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gate:
    """Whether a release may pass, and why."""

    passed: bool
    text: str


def gate(rows: pd.DataFrame, most: float) -> Gate:
    """Hold a release against the largest share of patients it may give away.

    It passes where no leak share and no advantage is shown to be larger: significant after
    Holm's correction, with a lower limit above ``most``. An audit that can say nothing does not
    pass: its controls failed, or it would have missed one record in five. That a larger share was
    not shown does not rule it out; the text tells by the largest upper limit whether it is. An AUC
    above one half is a leak of nobody knows how many: it closes the gate for any leak (0).
    """
    mine = rows[(rows["regime"] == "given") & (rows["site"] == "") & (rows["status"] == "done")]
    leaks = mine[mine["name"].str.contains(".leak@", regex=False)]
    shares = pd.concat([leaks, mine[mine["name"].str.endswith(".advantage")]])
    over = shares[(shares["p_adjusted"] < LEVEL) & (shares["low"] > most)]
    if len(over):
        worst = over.sort_values("low").iloc[-1]
        return Gate(
            passed=False,
            text=f"the gate is closed: {_called(worst)} is {_found(worst)}, shown to be above "
            f"{most:.1%}.",
        )
    areas = mine[mine["name"].str.endswith(".auc")]
    told = areas[(areas["p_adjusted"] < LEVEL) & (areas["low"] > GUESSING)]
    if len(told) and most == 0:
        return Gate(passed=False, text=f"the gate is closed: {_recognised(told.iloc[0])}.")
    seen = leaks["detectable"].min() if len(leaks) else np.nan
    if not seen <= USELESS:
        return Gate(
            passed=False,
            text="the gate is closed: this audit can say nothing about leaks, see the report.",
        )
    widest = shares.sort_values("high").iloc[-1]
    ruled_out = (
        f"above {most:.1%} is ruled out for this attack"
        if widest["high"] <= most
        else f"above {most:.1%} was not shown, and not ruled out either: up to "
        f"{widest['high']:.1%} may be given away"
    )
    return Gate(
        passed=True,
        text=f"the gate is open: a leak {ruled_out} ({_called(widest)} is {_found(widest)})."
        + (f" Yet {_recognised(told.iloc[0])}." if len(told) else ""),
    )


def _recognised(row: pd.Series) -> str:
    return (
        "training patients are told from others better than by guessing: "
        f"{row['name']} is {row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
    )


def _called(row: pd.Series) -> str:
    return f"{row['name']} of {row['secret']}" if row["secret"] else str(row["name"])


def _found(row: pd.Series) -> str:
    return f"{row['value']:.1%} ({row['low']:.1%} to {row['high']:.1%})"
