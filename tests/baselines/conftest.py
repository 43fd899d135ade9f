from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from fedbench.data import Cohort, Column, Outcome, Schema, Vocabulary, Window
from fedbench.encoding import Encoder, summarize
from fedbench.generator import Generator, Local, Site, State
from fedbench.seeds import Seeds
from fedbench.sequences import Sequences
from fedbench.strategy import Combined, added, averaged

SCHEMA = Schema(
    name="small",
    clock="days",
    static={
        "hospital": Column(kind="category", levels=("a", "b"), roles=frozenset(["site"])),
        "age": Column(kind="integer", low=18, high=60),
        "weight": Column(kind="number", low=30, high=200),
        "crp": Column(kind="number", low=0.1, high=500, log=True),
        "empty": Column(kind="number", low=0, high=1),
        "sex": Column(kind="category", levels=("female", "male")),
        "ward": Column(kind="category", levels=("a", "b", "c", "never")),
        "constant": Column(kind="category", levels=("yes", "no")),
    },
    visits={
        "sodium": Column(kind="number", low=100, high=180),
        "smokes": Column(kind="category", levels=("no", "yes")),
    },
    vocabularies={"icd": Vocabulary(codes={"I10": "hypertension", "E11": "diabetes"})},
    windows=(Window(name="before", start=-100, end=0),),
    outcome=Outcome(label="death", low=0, high=1000),
)


def cohort(n: int, seed: int = 0, prefix: str = "p") -> Cohort:
    """Return patients in whom one hidden frailty drives nearly everything."""
    rng = np.random.default_rng(seed)
    patients = np.array([f"{prefix}{i:05d}" for i in range(n)], dtype=object)
    frail = rng.normal(size=n)

    def near(strength: float) -> np.ndarray:
        mixed: np.ndarray = strength * frail + np.sqrt(1 - strength**2) * rng.normal(size=n)
        return mixed

    ward = np.array(["b", "a", "c"], dtype=object)[np.digitize(near(0.8), [-0.5, 0.7])]
    static = pd.DataFrame(
        {
            "patient": patients,
            "hospital": rng.choice(["a", "b"], n),
            "age": np.clip(np.round(40 + 10 * near(0.8)), 18, 60),
            "weight": np.where(near(0.6) > 0.8, np.nan, np.clip(75 + 15 * near(0.5), 30, 200)),
            "crp": np.clip(np.exp(1 + near(0.7)), 0.1, 500),
            "empty": np.nan,
            "sex": np.where(near(0.5) > 0, "female", "male"),
            "ward": pd.Series(ward).where(rng.random(n) > 0.1),
            "constant": "yes",
        }
    )
    seen = near(0.3) > -0.5
    visits = pd.DataFrame(
        {
            "patient": patients,
            "day": rng.integers(-99, 1, n).astype(float),
            "sodium": np.where(rng.random(n) < 0.3, np.nan, 140 + 5 * near(0.7)),
            "smokes": pd.Series(np.where(near(0.6) > 0, "yes", "no")).where(rng.random(n) > 0.2),
        }
    )[seen]
    codes = [
        pd.DataFrame({"patient": patients[ill], "day": -1.0, "system": "icd", "code": code})
        for code, ill in (("I10", near(0.7) > 0.5), ("E11", near(0.7) > 1.3))
    ]
    event = near(0.7) > 0.8
    time = np.where(event, 200 * np.exp(-0.5 * near(0.6)), rng.uniform(300, 1000, n))
    outcome = pd.DataFrame(
        {"patient": patients, "time": np.clip(time, 1, 1000), "event": event.astype(int)}
    )
    return Cohort.of_tables(SCHEMA, static, visits, pd.concat(codes), outcome)


@dataclass(frozen=True)
class Trained:
    """What a run leaves behind."""

    state: State
    encoder: Encoder
    bytes_up: int


def train(
    generator: Generator,
    sites: Mapping[str, Cohort],
    rounds: int = 3,
    encoder: Encoder | None = None,
    seed: int = 0,
) -> Trained:
    """Train in the smallest loop that could be called federated averaging."""
    encoder = encoder or agreed(list(sites.values()))
    seeds, state, sent = Seeds(seed), dict[str, np.ndarray](), 0
    at = {name: Site(name, encoder.encode(mine), encoder, {}, mine) for name, mine in sites.items()}
    for phase in generator.phases():
        total = phase.rounds or rounds
        held = generator.start(phase, state, encoder, seeds.child("start", phase.name).rng())
        for number in range(total):
            message = generator.message(phase, held, number)
            told = {
                name: generator.update(
                    phase,
                    message,
                    site,
                    Local(number, total, seeds),
                    seeds.child(name, phase.name, number).rng(),
                )
                for name, site in at.items()
            }
            parameters = averaged(
                {name: update.parameters for name, update in told.items()},
                {name: update.weight for name, update in told.items()},
            )
            combined = Combined(parameters, added(told), tuple(told))
            held = generator.fold(phase, held, combined, encoder, seeds.child("fold").rng())
            sent += sum(
                a.nbytes for u in told.values() for a in (*u.parameters.values(), *u.sums.values())
            )
        state = dict(held)
    return Trained(state, encoder, sent)


def agreed(cohorts: Sequence[Cohort]) -> Encoder:
    told = [summarize(each) for each in cohorts]
    return Encoder(cohorts[0].schema, {k: np.sum([t[k] for t in told], axis=0) for k in told[0]})


@pytest.fixture(scope="session")
def small() -> Cohort:
    return cohort(1200)


@pytest.fixture(scope="session")
def sites(small: Cohort) -> Mapping[str, Cohort]:
    """Three unequal sites that hold everyone."""
    cuts = {"a": slice(0, 700), "b": slice(700, 1100), "c": slice(1100, None)}
    return {name: small.take(small.patients[cut]) for name, cut in cuts.items()}


@pytest.fixture(scope="session")
def trained() -> Callable[..., Trained]:
    return train


@pytest.fixture(scope="session")
def structure() -> Callable[[Cohort, Cohort], float]:
    """How far the correlations of two cohorts are apart, on average."""

    def distance(one: Cohort, other: Cohort) -> float:
        gap = np.abs(_correlations(one) - _correlations(other))
        return float(np.nanmean(gap[np.triu_indices(len(gap), 1)]))

    return distance


def _correlations(someone: Cohort) -> np.ndarray:
    columns: dict[str, pd.Series] = {}
    for feature in someone.schema.features:
        values = someone.table[feature.name]
        if feature.column.kind == "category":
            for level in feature.column.levels[1:]:
                columns[f"{feature.name}={level}"] = (values == level).astype(float)
        else:
            columns[feature.name] = values.rank()
            columns[f"{feature.name} missing"] = values.isna().astype(float)
    with np.errstate(all="ignore"):
        return pd.DataFrame(columns).corr().to_numpy()


@pytest.fixture(scope="session")
def odd_columns() -> Callable[[Cohort], None]:
    """Assert that empty and constant columns, and a level nobody has, are written as they are."""

    def check(written: Cohort) -> None:
        table = written.table
        assert table["empty"].isna().all()
        assert (table["constant"] == "yes").all()
        assert not (table["ward"] == "never").any()

    return check


VISITS = Schema(
    name="planted",
    clock="days",
    static={"sex": Column(kind="category", levels=("female", "male"))},
    visits={"lab": Column(kind="number", low=-6, high=6)},
    vocabularies={"icd": Vocabulary(codes={"A": "first", "B": "follows A", "C": "alone"})},
    windows=(Window(name="all", start=-1, end=600),),
    outcome=Outcome(label="death", low=0, high=600),
)


def _planted(n: int) -> Cohort:
    """Return patients whose lab remembers itself, whose B follows A, and who come every 30 days."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 9, n)
    patients = np.array([f"p{i:04d}" for i in range(n)], dtype=object)
    visits, codes = [], []
    for who, length in zip(patients, lengths, strict=True):
        day, lab, before = 0.0, rng.normal(), False
        for _ in range(length):
            seen = lab if rng.random() < 0.8 else np.nan
            visits.append((who, day, seen))
            first = rng.random() < 0.3
            told = {"A": first, "B": before, "C": rng.random() < 0.2}
            codes += [(who, day, "icd", code) for code, there in told.items() if there]
            before = first
            day += float(rng.integers(25, 36))
            lab = 0.9 * lab + np.sqrt(1 - 0.81) * rng.normal()
    static = pd.DataFrame({"patient": patients, "sex": rng.choice(["female", "male"], n)})
    return Cohort.of_tables(
        VISITS,
        static,
        pd.DataFrame(visits, columns=["patient", "day", "lab"]),
        pd.DataFrame(codes, columns=["patient", "day", "system", "code"]),
        pd.DataFrame({"patient": patients, "time": 500.0, "event": rng.integers(0, 2, n)}),
    )


@pytest.fixture(scope="session")
def planted() -> Callable[[int], Cohort]:
    """So many patients whose visits follow rules that a model of visits has to find."""
    return _planted


@pytest.fixture(scope="session")
def remembered() -> Callable[[Sequences], float]:
    return _remembered


def _remembered(steps: Sequences) -> float:
    """Return the correlation of a lab with the one before in the same patient."""
    there = steps.measured[:, 0]
    owner, lab = steps.owner[there], steps.numbers[there, 0]
    same = owner[1:] == owner[:-1]
    return float(np.corrcoef(lab[1:][same], lab[:-1][same])[0, 1])
