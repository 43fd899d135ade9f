from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench.data import Cohort, Column, Outcome, Schema, Vocabulary, Window
from fedbench.encoding import BINS, Encoder, edges, summarize

SCHEMA = Schema(
    name="small",
    clock="days",
    static={
        "hospital": Column(kind="category", levels=("a", "b"), roles=frozenset(["site"])),
        "age": Column(kind="integer", low=18, high=60),
        "weight": Column(kind="number", low=30, high=200),
        "crp": Column(kind="number", low=0.1, high=500, log=True),
        "steps": Column(kind="integer", low=0, high=20_000),
        "sex": Column(kind="category", levels=("female", "male")),
        "ward": Column(kind="category", levels=("a", "b", "c", "never")),
    },
    visits={
        "sodium": Column(kind="number", low=100, high=180),
        "smokes": Column(kind="category", levels=("no", "yes")),
    },
    vocabularies={"icd": Vocabulary(codes={"I10": "hypertension"})},
    windows=(Window(name="before", start=-100, end=0),),
    outcome=Outcome(label="death", low=0, high=1000),
)
NUMBERS = ("age", "weight", "crp", "steps")


def cohort(n: int = 80, seed: int = 0, **given_values: Any) -> Cohort:
    """Return patients with gaps, a third of them without a visit; values pile up at bounds."""
    rng = np.random.default_rng(seed)
    patients = np.array([f"p{seed}-{i:05d}" for i in range(n)], dtype=object)
    weight = np.clip(np.round(rng.normal(75, 30, n), 1), 30, 200)
    static = pd.DataFrame(
        {
            "patient": patients,
            "hospital": rng.choice(["a", "b"], n),
            "age": rng.integers(18, 61, n).astype(float),
            "weight": np.where(rng.random(n) < 0.2, np.nan, weight),
            "crp": np.clip(rng.lognormal(1, 1.5, n), 0.1, 500),
            "steps": np.where(rng.random(n) < 0.4, 0, rng.integers(0, 20_001, n)).astype(float),
            "sex": rng.choice(["female", "male"], n),
            "ward": rng.choice(np.array(["a", "b", "c", None], dtype=object), n),
        }
    ).assign(**given_values)
    seen = rng.random(n) < 0.67
    days = rng.integers(-99, 1, n)
    visits = pd.DataFrame(
        {
            "patient": patients[seen],
            "day": days[seen].astype(float),
            "sodium": np.where(rng.random(seen.sum()) < 0.3, np.nan, 140.0),
            "smokes": rng.choice(np.array(["no", "yes", None], dtype=object), seen.sum()),
        }
    )
    ill = rng.random(n) < 0.5
    codes = pd.DataFrame({"patient": patients[ill], "day": -1.0, "system": "icd", "code": "I10"})
    event = (rng.random(n) < 0.3).astype(int)
    time_to = np.where(event == 1, rng.uniform(1, 100, n), rng.uniform(500, 1000, n))
    outcome = pd.DataFrame({"patient": patients, "time": time_to, "event": event})
    return Cohort.of_tables(SCHEMA, static, visits, codes, outcome)


def agreed(*cohorts: Cohort) -> Encoder:
    told = [summarize(each) for each in cohorts]
    return Encoder(cohorts[0].schema, {k: np.sum([t[k] for t in told], axis=0) for k in told[0]})


def there_and_back(encoder: Encoder, someone: Cohort) -> pd.DataFrame:
    records = encoder.encode(someone)
    table: pd.DataFrame = encoder.decode(records.numbers, records.missing, records.levels).table
    return table


def bin_widths(encoder: Encoder, name: str, values: np.ndarray) -> np.ndarray:
    cuts = edges(encoder.schema.feature(name))
    place = np.clip(np.searchsorted(cuts, values, side="right") - 1, 0, len(cuts) - 2)
    widths: np.ndarray = np.diff(cuts)[place]
    return widths


@given(seed=st.integers(0, 10_000), n=st.integers(1, 120))
@settings(max_examples=12, deadline=None)
def test_a_patient_comes_back_within_one_bin(seed: int, n: int) -> None:
    someone = cohort(n, seed)
    encoder = agreed(someone)
    back = there_and_back(encoder, someone)
    for feature in SCHEMA.features:
        before, after = someone.table[feature.name], back[feature.name]
        assert (before.isna().to_numpy() == after.isna().to_numpy()).all(), feature.name
        if feature.column.kind == "category":
            assert before.cat.codes.tolist() == after.cat.codes.tolist()
            continue
        there = before.notna().to_numpy()
        old, new = before.to_numpy()[there], after.to_numpy()[there]
        assert (np.abs(old - new) <= bin_widths(encoder, feature.name, old) + 1e-9).all()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_someone_new_comes_back_near_a_bin_that_is_in_use(seed: int) -> None:
    encoder, stranger = agreed(cohort(40, seed)), cohort(60, seed + 1)
    back = there_and_back(encoder, stranger)
    for name in NUMBERS:
        column = SCHEMA.static[name]
        values = back[name].dropna().to_numpy()
        assert ((values >= column.low) & (values <= column.high)).all()
        counts = encoder.counts[name][0, :-1]
        cuts = edges(SCHEMA.feature(name))
        assert counts[np.clip(np.searchsorted(cuts, values) - 1, 0, len(counts) - 1)].all()


def test_short_integers_bounds_and_categories_come_back_exactly() -> None:
    someone = cohort(300)
    back = there_and_back(agreed(someone), someone)
    assert back["age"].tolist() == someone.table["age"].tolist()
    assert back["ward"].cat.codes.tolist() == someone.table["ward"].cat.codes.tolist()
    for name in ("weight", "steps"):
        old, new = someone.table[name].to_numpy(), back[name].to_numpy()
        at_bounds = (old == SCHEMA.static[name].low) | (old == SCHEMA.static[name].high)
        assert at_bounds.sum() > 5
        assert (old[at_bounds] == new[at_bounds]).all()
        assert not np.isin(new[~at_bounds], old[at_bounds]).any()


@given(scores=st.lists(st.floats(-40, 40), min_size=1, max_size=20), seed=st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_nothing_leaves_the_public_range(scores: list[float], seed: int) -> None:
    encoder = agreed(cohort(50, seed))
    numbers = np.tile(np.array(scores)[:, None], (1, len(encoder.numbers)))
    levels = np.zeros((len(scores), len(encoder.categories)), dtype=np.int64)
    table = encoder.decode(numbers, np.zeros(numbers.shape, dtype=bool), levels).table
    for feature in encoder.numbers:
        values = table[feature.name].dropna()
        assert values.between(feature.column.low, feature.column.high).all()
        if feature.column.kind == "integer":
            assert (values == values.round()).all()


@given(seeds=st.lists(st.integers(0, 1000), min_size=1, max_size=5, unique=True))
@settings(max_examples=6, deadline=None)
def test_sites_agree_on_what_a_pooled_table_says(seeds: list[int]) -> None:
    cohorts = [cohort(10 + seed % 37, seed) for seed in seeds]
    together, apart = agreed(Cohort.union(cohorts)), agreed(*cohorts)
    for name, counts in together.counts.items():
        np.testing.assert_allclose(apart.counts[name], counts, atol=1e-12)
    assert together.digest == apart.digest


def test_what_crosses_is_whole_counts_of_public_size() -> None:
    small, large = summarize(cohort(3)), summarize(cohort(500, 1))
    assert {k: v.shape for k, v in small.items()} == {k: v.shape for k, v in large.items()}
    assert all((v == v.round()).all() for v in large.values())
    assert large["weight"].shape == (1, BINS + 2 + 1)
    assert large["time"].shape == (2, BINS + 2 + 1)


def test_a_patients_code_does_not_depend_on_the_company() -> None:
    everyone = cohort(100)
    encoder = agreed(everyone)
    alone = encoder.encode(everyone.take(everyone.patients[40:60]))
    assert (alone.numbers == encoder.encode(everyone).numbers[40:60]).all()
    assert (alone.keys == everyone.keys[40:60]).all()


def test_a_column_nobody_fills_in_stays_empty() -> None:
    someone = cohort(50, weight=np.nan, ward=None)
    encoder = agreed(someone)
    n = 20
    numbers = np.zeros((n, len(encoder.numbers)))
    levels = np.full((n, len(encoder.categories)), 0)
    names = [feature.name for feature in encoder.categories]
    table = encoder.decode(numbers, np.zeros(numbers.shape, dtype=bool), levels).table
    assert table["weight"].isna().all()
    assert table["ward"].isna().all()  # though level 0 was asked for
    assert encoder.possible[names.index("ward")].tolist() == [False] * 4 + [True]


def test_a_constant_column_stays_within_its_bin() -> None:
    someone = cohort(50, weight=81.3)
    encoder = agreed(someone)
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(200, len(encoder.numbers)))
    levels = np.zeros((200, len(encoder.categories)), dtype=np.int64)
    table = encoder.decode(numbers, np.zeros(numbers.shape, dtype=bool), levels).table
    assert table["weight"].max() - table["weight"].min() < 170 / BINS
    assert np.ptp(encoder.encode(someone).numbers[:, 1]) == 0


def test_time_is_described_within_the_event() -> None:
    someone = cohort(400)
    encoder = agreed(someone)
    records = encoder.encode(someone)
    column = [feature.name for feature in encoder.numbers].index("time")
    scores = records.numbers[:, column]
    for event in (0, 1):
        mine = scores[someone.event == bool(event)]
        assert abs(mine.mean()) < 0.05
        assert abs(mine.std() - 1) < 0.1
    levels = np.zeros((100, len(encoder.categories)), dtype=np.int64)
    levels[50:, [feature.name for feature in encoder.categories].index("event")] = 1
    numbers = np.random.default_rng(0).normal(size=(100, len(encoder.numbers)))
    written = encoder.decode(numbers, np.zeros(numbers.shape, dtype=bool), levels)
    times = written.outcome["time"].to_numpy()
    assert times[~written.event].min() > 400
    assert times[written.event].max() < 150


def test_without_a_visit_nothing_of_it_applies() -> None:
    someone = cohort(100)
    encoder = agreed(someone)
    records = encoder.encode(someone)
    names = [feature.name for feature in encoder.numbers]
    day, sodium = names.index("day@before"), names.index("sodium@before")
    smokes = [feature.name for feature in encoder.categories].index("smokes@before")
    absent = records.missing[:, day]
    assert 10 < absent.sum() < 90
    assert (records.applies[:, sodium] == ~absent).all()
    assert (records.levels_apply[:, smokes] == ~absent).all()
    assert not records.missing[absent, sodium].any()
    there = someone.table["day@before"].notna()
    expected = someone.table.loc[there, "sodium@before"].isna().mean()
    assert encoder.missing_rates[sodium] == pytest.approx(expected)
    assert encoder.counts["sodium@before"].sum() == there.sum()


def test_shares_add_up_to_one() -> None:
    encoder = agreed(cohort(50, ward=None))
    assert all(share.sum() == pytest.approx(1) for share in encoder.shares)
    assert all((share > 0)[possible].all() for share, possible in _pairs(encoder))


def _pairs(encoder: Encoder) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(encoder.shares, encoder.possible, strict=True))


@pytest.mark.parametrize(
    ("column", "most"),
    [
        (Column(kind="integer", low=0, high=3), 4),
        (Column(kind="integer", low=0, high=63), 64),
        (Column(kind="integer", low=0, high=64), BINS + 2),
        (Column(kind="integer", low=1, high=10**6, log=True), BINS + 2),
        (Column(kind="number", low=-5, high=5), BINS + 2),
        (Column(kind="number", low=1e-3, high=1e3, log=True), BINS + 2),
    ],
)
def test_edges_rise_and_cover_the_public_range(column: Column, most: int) -> None:
    schema = Schema(name="s", clock="", static={"x": column})
    cuts = edges(schema.feature("x"))
    assert (np.diff(cuts) > 0).all()
    assert len(cuts) - 1 <= most
    assert cuts[0] < column.low
    assert cuts[-1] > column.high


def test_encoding_is_quick() -> None:
    columns: Mapping[str, Column] = {
        f"x{i}": Column(kind="number", low=-10, high=10)
        if i % 3
        else Column(kind="category", levels=("a", "b", "c"))
        for i in range(45)
    }
    n, rng = 17_500, np.random.default_rng(0)
    table = {
        name: rng.choice(["a", "b", "c"], n) if column.levels else rng.normal(size=n)
        for name, column in columns.items()
    }
    frame = pd.DataFrame({"patient": np.arange(n).astype(str), **table})
    many = Cohort.of_tables(Schema(name="wide", clock="", static=columns), frame)
    assert many.table.shape == (n, 45)
    start = time.process_time()
    agreed(many).encode(many)
    assert time.process_time() - start < 1.5  # 0.3 s on an idle machine
