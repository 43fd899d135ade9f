"""Generators on 5,000 stays of diabetes130, 18 columns, beside those of other packages.

Needs the dataset ``diabetes130`` (FEDBENCH_DATA). Peers run where the variable PEERS names a
folder with environments ``ctgan``, ``dpmm`` and ``mostlyai`` that have these packages; without them
ours are shown alone.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fedbench.data import Cohort, Column, DataStore, Schema
from fedbench.datasets.diabetes130 import Diabetes130
from fedbench.federation.inprocess import train
from fedbench.federation.study import Choice, Study
from fedbench.kinds import GENERATORS
from fedbench.seeds import Seeds

SEEDS, STAYS = range(5), 5_000
MARGIN = 0.01
PEERS = Path(os.environ.get("PEERS", "no peers"))
HERE = Path(__file__).parent / "peers"
COLUMNS = (
    "race", "sex", "age", "admission_type", "discharge", "time_in_hospital", "num_lab_procedures",
    "num_procedures", "num_medications", "number_outpatient", "number_emergency",
    "number_inpatient", "number_diagnoses", "A1Cresult", "insulin", "change", "diabetesMed",
)  # fmt: skip
ANSWER = "readmitted"


NONE = Choice("none")
TIGHT = Choice("patient", {"epsilon": 1.0, "delta": 1e-5})


class Found(NamedTuple):
    """What came of one generator under one seed."""

    seconds: float
    auroc: float


class Extract(NamedTuple):
    """Stays to learn from, stays of other people to be foreseen, and what both are."""

    schema: Schema
    train: pd.DataFrame
    test: pd.DataFrame


class Rivals(NamedTuple):
    """Ours, its privacy, theirs with its settings, and the share of their time to reach."""

    name: str
    privacy: Choice
    package: str
    asked: Sequence[str]
    share: float


RIVALS = (
    Rivals("tvae", NONE, "ctgan", ("TVAE", "300"), 0.5),
    Rivals("ctgan", NONE, "ctgan", ("CTGAN", "100"), 1.0),
    Rivals("tabdiff", NONE, "mostlyai", (), 1.0),
    Rivals("tree", TIGHT, "dpmm", ("1",), 0.01),
    Rivals("copula", TIGHT, "dpmm", ("1",), 0.01),
)


@pytest.fixture(scope="module")
def extract() -> Extract:
    cohort = Diabetes130().load(DataStore.default())
    columns = {name: cohort.schema.static[name] for name in COLUMNS}
    schema = Schema(
        name="diabetes130, 5,000 stays",
        clock="",
        static={**columns, ANSWER: Column(kind="category", levels=("no", "yes"))},
    )
    everyone = cohort.static.merge(cohort.outcome, on="patient")
    everyone[ANSWER] = np.where(everyone["event"] == 1, "yes", "no")
    people = np.random.default_rng(0).permutation(everyone["person"].unique())[:STAYS]
    first = everyone.drop_duplicates("person").set_index("person").loc[people].reset_index()
    others = everyone[~everyone["person"].isin(people)]
    keep = ["patient", *schema.static]
    return Extract(schema, first[keep], others[keep])


def foreseen(extract: Extract, learnt_from: pd.DataFrame) -> float:
    """Return how well readmissions of other people are foreseen from these records (AUROC)."""
    names = [n for n, column in extract.schema.static.items() if column.kind == "category"]
    names.remove(ANSWER)
    numbers = [n for n, column in extract.schema.static.items() if column.kind != "category"]
    model = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), names),
            (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        ),
        LogisticRegression(max_iter=1000),
    )

    def plain(table: pd.DataFrame) -> pd.DataFrame:
        text = table[names].astype(object)
        return text.where(text.notna(), "missing").astype(str).join(table[numbers].astype(float))

    event = learnt_from[ANSWER].astype(str) == "yes"
    if event.all() or not event.any():
        return 0.5  # nobody is readmitted, or everybody: nothing can be learnt
    model.fit(plain(learnt_from), event)
    chances = model.predict_proba(plain(extract.test))[:, 1]
    return float(roc_auc_score(extract.test[ANSWER] == "yes", chances))


def ours(extract: Extract, name: str, seed: int, privacy: Choice) -> Found:
    cohort = Cohort.of_tables(extract.schema, extract.train)
    study = Study(
        generator=Choice(name),
        strategy=Choice("fedavg"),
        sites=("all",),
        rounds=20,
        seed=seed,
        privacy=privacy,
    )
    start = time.process_time()
    fitted = train(study, {"all": cohort})
    generator = GENERATORS.build(name, {})
    rng = Seeds(seed).child("benchmark").rng()
    written = generator.sample(fitted.state, fitted.encoder, STAYS, rng)
    seconds = time.process_time() - start
    return Found(seconds, foreseen(extract, written.table))


def theirs(extract: Extract, folder: Path, rivals: Rivals, seed: int) -> Found:
    given, out = folder / "train.csv", folder / "out.csv"
    # Their readers take a gap in a category for a number.
    flat = extract.train.drop(columns="patient").astype(object)
    flat.where(flat.notna(), "missing").to_csv(given, index=False)
    python, script = PEERS / rivals.package / "bin" / "python", HERE / f"by_{rivals.package}.py"
    command = [python, script, *rivals.asked, seed, given, out]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(  # noqa: S603  (an environment that the user named)
        [str(word) for word in command],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    written = pd.read_csv(out, keep_default_na=False)
    return Found(float(done.stdout.split()[-1]), foreseen(extract, written))


def told(what: str, found: Sequence[Found], real: float) -> str:
    seconds = [each.seconds for each in found]
    lost = real - np.array([each.auroc for each in found])
    half = 2.776 * lost.std(ddof=1) / np.sqrt(len(lost))
    return (
        f"{what}: {np.median(seconds):.3g} ({min(seconds):.3g} to {max(seconds):.3g}) CPU-s, "
        f"AUROC {real - lost.mean():.3f}, below real {lost.mean():.3f} "
        f"({lost.mean() - half:.3f} to {lost.mean() + half:.3f})"
    )


def test_a_copula_is_fitted_at_once_and_nearly_as_good_as_real_records(
    extract: Extract, duel: Any
) -> None:
    real = foreseen(extract, extract.train)
    found = [ours(extract, "copula", seed, NONE) for seed in SEEDS]
    duel.benchmark.pedantic(partial(ours, extract, "copula", 0, NONE), rounds=1)
    duel.say(f"real records: AUROC {real:.3f}")
    duel.say(told("copula", found, real))
    assert real - np.mean([each.auroc for each in found]) < 0.03


@pytest.mark.parametrize("rivals", RIVALS, ids=lambda r: f"{r.name} {r.package}")
def test_generators_beside_those_of_others(
    extract: Extract, tmp_path: Path, duel: Any, rivals: Rivals
) -> None:
    name, privacy, package, asked, share = rivals
    real = foreseen(extract, extract.train)
    mine = [ours(extract, name, seed, privacy) for seed in SEEDS]
    duel.benchmark.pedantic(partial(ours, extract, name, 0, privacy), rounds=1)
    what = name if privacy is NONE else f"{name}, epsilon 1"
    duel.say(told(what, mine, real))
    if not (PEERS / package).is_dir():
        duel.say(f"{what}: {package} was not run, because {PEERS / package} is not there")
        return
    other = [theirs(extract, tmp_path, rivals, seed) for seed in SEEDS]
    them = " ".join((package, *asked))
    duel.say(told(them, other, real))
    gap = np.mean([a.auroc - b.auroc for a, b in zip(mine, other, strict=True)])
    ratio = np.median([a.seconds / b.seconds for a, b in zip(mine, other, strict=True)])
    duel.say(
        f"{what} against {them}: {gap:+.3f} AUROC (to reach: -{MARGIN}), "
        f"{ratio:.3g} of its time (to reach: {share})"
    )
