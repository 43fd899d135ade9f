"""Records of which only a part is a patient's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from fedbench import games, stats
from fedbench.attack import Attack, Knowledge, PublicChallenge
from fedbench.attacks._fragments import COMMON, _placed
from fedbench.attacks.attribute import Attribute
from fedbench.attacks.completion import Completion
from fedbench.attacks.dcr import Dcr
from fedbench.attacks.fragment import Fragment
from fedbench.attacks.lookalike import Lookalike
from fedbench.data import Cohort, Column, Schema
from fedbench.seeds import Rng
from fedbench.testing import planted

LABS = {f"lab{i}": Column(kind="number", low=-20, high=20) for i in range(8)}
SCHEMA = Schema(
    name="clinic",
    clock="none",
    static={
        "age": Column(kind="integer", low=0, high=120),
        "sex": Column(kind="category", levels=("f", "m")),
        "bmi": Column(kind="number", low=0, high=90),
        "hb": Column(kind="number", low=0, high=30),
        **LABS,
        **{f"ward{i}": Column(kind="category", levels=tuple("abcd")) for i in range(3)},
        "hiv": Column(kind="category", levels=("no", "yes"), roles=frozenset(["sensitive"])),
    },
)
KNOWN = ("age", "sex", "bmi", "hb")


def patients(n: int, seed: int) -> Cohort:
    """Patients whose columns have to do with each other, recorded as hospitals record."""
    rng = np.random.default_rng(seed)
    health = rng.normal(size=(n, 3))
    mixing = np.random.default_rng(0).normal(size=(3, 16))
    z = 0.5 * health @ mixing + rng.normal(size=(n, 16))
    table = pd.DataFrame({"patient": [f"p{seed}-{i}" for i in range(n)]})
    table["age"] = np.clip(np.round(60 + 12 * z[:, 0]), 0, 120)
    table["sex"] = np.where(z[:, 1] > 0, "m", "f")
    table["bmi"] = np.clip(np.round(27 + 4 * z[:, 2], 1), 0, 90)
    table["hb"] = np.clip(np.round(13 + 1.5 * z[:, 3], 1), 0, 30)
    for at, name in enumerate(LABS):
        table[name] = np.where(rng.random(n) < 0.05, np.nan, np.clip(z[:, 4 + at], -20, 20))
    for i in range(3):
        table[f"ward{i}"] = np.array(list("abcd"))[np.digitize(z[:, 12 + i], [-1, 0, 1])]
    table["hiv"] = np.where(z[:, 15] > 0.8, "yes", "no")
    return Cohort.of_tables(SCHEMA, table)


def rng() -> Rng:
    return np.random.default_rng(0)


def scores(attack: Attack, release: Cohort, members: Cohort, others: Cohort) -> np.ndarray:
    """Return the scores of members, then of others."""
    both = Cohort.union([members, others])
    targets = both.table.reset_index(drop=True)
    sites = np.full(len(both), "a", dtype=object)
    sight = games.show(attack, SCHEMA, {Knowledge.SYNTHETIC: release})
    return attack.guess(sight, PublicChallenge("membership", targets, sites), rng()).scores


def area(attack: Attack, release: Cohort, members: Cohort, others: Cohort) -> float:
    found = scores(attack, release, members, others)
    return stats.auc(found, np.arange(len(found)) < len(members))


@pytest.fixture(scope="module")
def sides() -> tuple[Cohort, Cohort, Cohort]:
    """Members, others, and those of whom an independent release is."""
    return patients(600, 1), patients(600, 2), patients(600, 3)


def test_four_columns_of_everybody_are_found_beside_those_of_strangers(
    sides: tuple[Cohort, Cohort, Cohort],
) -> None:
    members, others, strangers = sides
    release = planted.partial(members, planted.shuffled(strangers, rng()), rng(), columns=KNOWN)
    assert area(Fragment(), release, members, others) > 0.97
    assert area(Dcr(), release, members, others) < 0.65


def test_half_of_the_columns_of_a_tenth_are_found(sides: tuple[Cohort, Cohort, Cohort]) -> None:
    members, others, strangers = sides
    half = tuple(SCHEMA.static)[::2]
    release = planted.partial(members, strangers, rng(), columns=half, share=0.1)
    found = scores(Fragment(), release, members, others)
    threshold = np.quantile(found[len(members) :], 0.99)
    share = np.mean(found[: len(members)] > threshold)
    assert share == pytest.approx(0.1 + 0.01 * 0.9, abs=0.02)


def test_cells_of_other_patients_and_noise_hide_nobody(
    sides: tuple[Cohort, Cohort, Cohort],
) -> None:
    members, others, _ = sides
    exchanged = planted.jittered(members, rng())
    assert area(Fragment(), exchanged, members, others) > 0.97
    assert area(Fragment(), exchanged, members, others) > area(Dcr(), exchanged, members, others)


def test_values_dealt_one_by_one_give_nobody_away(sides: tuple[Cohort, Cohort, Cohort]) -> None:
    """Though every laboratory value has sixteen digits and stands in the release."""
    members, others, _ = sides
    for seed in range(3):
        release = planted.shuffled(members, np.random.default_rng(seed))
        assert area(Fragment(), release, members, others) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("kind", ["numbers", "half a column", "rare levels"])
def test_values_dealt_one_by_one_say_nothing_among_many_others_either(kind: str) -> None:
    """One target in eleven is a member, so that a value in the release may be hers alone."""
    p = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        table = pd.DataFrame(rng.normal(size=(1_650, 8)), columns=list(LABS))
        if kind == "half a column":
            table = table.where(rng.random(table.shape) < 0.05)
        if kind == "rare levels":
            table = pd.DataFrame(np.minimum(rng.zipf(1.5, table.shape), 300), columns=list(LABS))
        columns = {
            name: Column(kind="category", levels=tuple(map(str, range(1, 301))))
            if kind == "rare levels"
            else column
            for name, column in LABS.items()
        }
        schema = Schema(name="dealt", clock="none", static=columns)
        table = table.astype(str) if kind == "rare levels" else table
        table["patient"] = [f"p{i:04d}" for i in range(1_650)]
        everybody = Cohort.of_tables(schema, table)
        release = planted.shuffled(everybody.take(everybody.patients[:150]), rng)
        sight = games.show(Fragment(), schema, {Knowledge.SYNTHETIC: release})
        targets = everybody.table.reset_index(drop=True)
        challenge = PublicChallenge("membership", targets, np.full(1_650, "a", dtype=object))
        found = Fragment().guess(sight, challenge, rng).scores
        p.append(float(mannwhitneyu(found[:150], found[150:], alternative="greater").pvalue))
    assert np.sum(np.array(p) < 0.05) <= 3  # of 12, more are 0.2 % likely


def test_a_cell_holds_so_many_targets_that_no_value_tells() -> None:
    rng = np.random.default_rng(0)
    sparse = np.where(rng.random(2_000) < 0.03, rng.normal(size=2_000), np.nan)
    levels = np.minimum(rng.zipf(2, 2_000), 60).astype(float)
    for values, kind in ((sparse, "number"), (levels, "category"), (levels, "integer")):
        for released in (values[:1_000], np.tile(values[:100], 10)):
            for mine, _ in _placed(values, released, kind):
                assert np.bincount(mine)[np.unique(mine)].min() >= COMMON


@pytest.mark.parametrize("size", [60, 600, 3000])
def test_independent_records_accuse_members_as_often_as_others(size: int) -> None:
    p = []
    for seed in range(12):
        members, others, release = (
            patients(n, 3 * seed + at) for at, n in enumerate((150, 300, size))
        )
        found = scores(Fragment(), release, members, others)
        p.append(float(mannwhitneyu(found[:150], found[150:]).pvalue))
    assert np.sum(np.array(p) < 0.05) <= 3  # of 12, more are 0.2 % likely


def test_the_order_of_the_release_says_nothing(sides: tuple[Cohort, Cohort, Cohort]) -> None:
    members, others, _ = sides
    release = planted.jittered(members, rng())
    turned = release.take(release.patients[::-1])
    one, other = (scores(Fragment(), each, members, others) for each in (release, turned))
    np.testing.assert_allclose(one, other)


@pytest.mark.parametrize("rows", [1, 2])
def test_hardly_any_records_are_no_mistake(rows: int) -> None:
    members = patients(40, 1)
    few = members.take(members.patients[:rows])
    assert np.isfinite(scores(Fragment(), few, members, patients(40, 2))).all()


def test_single_and_constant_columns_say_nothing() -> None:
    schema = Schema(name="one", clock="none", static={"age": SCHEMA.static["age"]})
    table = pd.DataFrame({"patient": [f"p{i}" for i in range(50)], "age": 50.0})
    cohort = Cohort.of_tables(schema, table)
    sight = games.show(Fragment(), schema, {Knowledge.SYNTHETIC: cohort})
    sites = np.full(50, "a", dtype=object)
    challenge = PublicChallenge("membership", cohort.table.reset_index(drop=True), sites)
    assert not Fragment().guess(sight, challenge, rng()).scores.any()


# The secret beside them


def right(attack: Attack, release: Cohort, members: Cohort, others: Cohort) -> list[float]:
    """Return how often the secret is told of members and of others, asked together."""
    both = Cohort.union([members, others])
    targets = both.table.drop(columns="hiv").reset_index(drop=True)
    challenge = PublicChallenge("attribute", targets, np.full(len(both), "a", dtype=object), "hiv")
    sight = games.show(attack, SCHEMA, {Knowledge.SYNTHETIC: release})
    found = attack.guess(sight, challenge, rng()).scores
    np.testing.assert_allclose(found.sum(axis=1), 1)
    told = found.argmax(axis=1) == both.table["hiv"].cat.codes.to_numpy()
    member = np.isin(both.patients, members.patients)
    return [float(told[side].mean()) for side in (member, ~member)]


def test_a_secret_copied_with_four_columns_is_read(sides: tuple[Cohort, Cohort, Cohort]) -> None:
    members, others, strangers = sides
    shuffled = planted.shuffled(strangers, rng())
    release = planted.partial(members, shuffled, rng(), columns=(*KNOWN, "hiv"))
    of_members, of_others = right(Completion(), release, members, others)
    assert of_members > 0.97
    assert of_others < 0.85
    for attack in (Lookalike(), Attribute()):
        of_members, of_others = right(attack, release, members, others)
        assert of_members - of_others < 0.1


def test_what_independent_records_say_of_members_they_say_of_others() -> None:
    gained = []
    for seed in range(8):
        members, others, strangers = (patients(600, 3 * seed + at) for at in (10, 11, 12))
        of_members, of_others = right(Completion(), strangers, members, others)
        gained.append(of_members - of_others)
    assert np.mean(gained) == pytest.approx(0, abs=0.03)  # three standard errors


def test_a_release_without_the_secret_is_no_help(sides: tuple[Cohort, Cohort, Cohort]) -> None:
    members, others, _ = sides
    table = members.static.assign(hiv=None)
    silent = Cohort.of_tables(SCHEMA, table)
    both = Cohort.union([members, others]).table.drop(columns="hiv").reset_index(drop=True)
    challenge = PublicChallenge("attribute", both, np.full(len(both), "a", dtype=object), "hiv")
    sight = games.show(Completion(), SCHEMA, {Knowledge.SYNTHETIC: silent})
    assert (Completion().guess(sight, challenge, rng()).scores == 0.5).all()
