"""Whose visits stand together in a release is found, whatever was done to them; nobody else is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from fedbench import games
from fedbench.attack import Knowledge
from fedbench.attacks import trajectory
from fedbench.attacks.trajectory import Trajectory
from fedbench.data import Cohort, Column, DataStore, Schema, Vocabulary, Window
from fedbench.datasets.simulated import Simulated
from fedbench.metric import Measure
from fedbench.seeds import Seeds
from fedbench.testing import planted
from fedbench.world import renamed

ATTACK = Trajectory()
SHARE = 0.1

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass
class Ward:
    """Simulated patients of one hospital: who was trained on, who was not, and independent ones."""

    n: int = 300
    others: int = 600
    seed: int = 0
    digits: int = 4
    labs: int = 5
    released: int | None = None  # as many as members

    @cached_property
    def everybody(self) -> Cohort:
        released = self.n if self.released is None else self.released
        everybody = self.n + self.others + released
        found = Simulated(patients=everybody, hospitals=1, labs=self.labs, seed=self.seed).load(
            DataStore(None)
        )
        visits = found.visits.copy()
        for lab in found.schema.visits:
            size = 10.0 ** (np.floor(np.log10(visits[lab])) + 1 - self.digits)
            visits[lab] = np.round(visits[lab] / size) * size
        return replace(found, visits=visits)

    @cached_property
    def parts(self) -> tuple[Cohort, Cohort, Cohort]:
        cuts = np.split(
            np.random.default_rng(self.seed).permutation(self.everybody.patients),
            [self.n, self.n + self.others],
        )
        members, others, real = (self.everybody.take(cut) for cut in cuts)
        return members, others, real

    def leaked(self, share: float = SHARE, **damage: float) -> Cohort:
        """Return a release of independent patients, some of whom are members whom time changed."""
        members, _, real = self.parts
        rng, copies = np.random.default_rng(1), round(share * self.n)
        given = planted.thinned(
            members.take(rng.permutation(members.patients)[:copies]),
            rng,
            damage.get("keep", 1.0),
            shift=int(damage.get("shift", 0)),
            noise=damage.get("noise", 0.0),
        )
        if damage.get("static"):  # age, sex and the end of follow-up are somebody else's
            like = real.take(real.patients[:copies])
            given = replace(
                given,
                static=like.static.assign(patient=given.patients),
                outcome=like.outcome.assign(patient=given.patients),
            )
        return planted.copied(Cohort.union([given, real.take(real.patients[copies:])]), rng)

    def rows(self, release: Cohort) -> Mapping[str, Measure]:
        members, others, _ = self.parts
        return rows(members, others, release)


def rows(members: Cohort, others: Cohort, release: Cohort) -> Mapping[str, Measure]:
    """Return what the attack finds about everybody, by part."""
    challenge = games.membership_challenge(
        members.schema, {"": members}, {"": others}, np.random.default_rng(0)
    )
    sight = games.show(ATTACK, members.schema, {Knowledge.SYNTHETIC: release})
    found = games.play_membership(ATTACK, sight, challenge, Seeds(0))[1]
    measures = {s.measure.part: s.measure for s in found if not s.site}
    return {part: m for part, m in measures.items() if isinstance(m, Measure)}


def answers(members: Cohort, others: Cohort, release: Cohort) -> tuple[Bools, Floats]:
    """Return who is a member, and who gets a yes."""
    challenge = games.membership_challenge(
        members.schema, {"": members}, {"": others}, np.random.default_rng(0)
    )
    sight = games.show(ATTACK, members.schema, {Knowledge.SYNTHETIC: release})
    return challenge.truth, ATTACK.guess(sight, challenge.public, Seeds(0).rng()).scores


def accused(members: Cohort, others: Cohort, release: Cohort) -> tuple[float, float]:
    """Return which share of the members, and of the others, gets a yes."""
    truth, scores = answers(members, others, release)
    return float(scores[truth].mean()), float(scores[~truth].mean())


def share(found: Mapping[str, Measure]) -> tuple[float, float, float]:
    """Return of how many more members than others it says yes, with limits."""
    auc = found["auc"]
    return 2 * auc.value - 1, 2 * auc.low - 1, 2 * auc.high - 1


@pytest.fixture(scope="module")
def ward() -> Ward:
    return Ward()


# What was copied in part is found


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("shift", [0, 200])
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("keep", [0.9, 0.5])
def test_a_copy_of_some_visits_is_found(
    ward: Ward,
    keep: float,
    noise: float,
    shift: int,
    static: bool,  # noqa: FBT001
) -> None:
    found = ward.rows(ward.leaked(keep=keep, shift=shift, noise=noise, static=static))
    value, low, high = share(found)
    assert low > 0.02
    assert found["auc"].facts["p_value"] < 1e-6
    assert low <= SHARE <= high
    assert value > 0.6 * SHARE


def test_one_visit_in_ten_is_enough_where_values_are_fine(ward: Ward) -> None:
    value, low, _ = share(ward.rows(ward.leaked(keep=0.1)))
    assert low > 0.02
    assert value > SHARE / 2


def test_a_handful_of_patients_is_found(ward: Ward) -> None:
    found = ward.rows(ward.leaked(share=0.02, keep=0.9, shift=200))
    assert found["auc"].facts["p_value"] < 0.01
    assert share(found)[0] == pytest.approx(0.02, abs=0.01)


def test_the_verbatim_copy_is_caught(ward: Ward) -> None:
    found = ward.rows(planted.copied(ward.parts[0], np.random.default_rng(0)))
    assert found["auc"].low > 0.97
    assert found["leak@10%"].value > 0.97


def test_visits_that_went_to_other_patients_are_found(ward: Ward) -> None:
    members = ward.parts[0]
    rng = np.random.default_rng(0)

    def dealt(table: pd.DataFrame) -> pd.DataFrame:
        mixed = table.assign(patient=rng.permutation(table["patient"]))
        return mixed.sort_values(["patient", "day"], ignore_index=True)

    release = replace(members, visits=dealt(members.visits), codes=dealt(members.codes))
    assert ward.rows(release)["auc"].low > 0.9


def test_a_patient_who_was_copied_many_times_is_found_all_the_same(ward: Ward) -> None:
    members, _, real = ward.parts
    some = members.take(members.patients[:10])
    again = [
        renamed(some, np.array([f"{copy}-{i}" for i in range(10)], dtype=object))
        for copy in range(40)
    ]
    found = share(ward.rows(Cohort.union([*again, real])))
    assert found[0] == pytest.approx(10 / ward.n, abs=0.01)


# Where nothing was copied nothing is said


def singly(members: Cohort, rng: np.random.Generator) -> Cohort:
    """Return records of the same values, each of them dealt to a place of its own."""

    def mixed(table: pd.DataFrame) -> pd.DataFrame:
        loose = {c: rng.permutation(table[c]) for c in table.columns if c != "patient"}
        by = ["patient", *(["day"] if "day" in loose else [])]
        return table.assign(**loose).sort_values(by, ignore_index=True)

    static, visits, outcome = map(mixed, (members.static, members.visits, members.outcome))
    codes = members.codes.assign(patient=rng.permutation(members.codes["patient"]))
    codes = codes.assign(day=rng.permutation(codes["day"]))
    codes = codes.sort_values(["patient", "day"], ignore_index=True)
    return replace(members, static=static, visits=visits, outcome=outcome, codes=codes)


def drawn(members: Cohort, real: Cohort, rng: np.random.Generator) -> Cohort:
    """Return other patients whose every measurement is one of any member."""
    visits = real.visits.copy()
    for name in members.schema.visits:
        known = visits[name].notna()
        pool = members.visits[name].dropna().to_numpy()
        visits.loc[known, name] = rng.choice(pool, known.sum())
    return replace(real, visits=visits)


def test_single_values_of_training_patients_are_no_copy_of_their_visits(ward: Ward) -> None:
    release = singly(ward.parts[0], np.random.default_rng(0))
    assert share(ward.rows(release))[1] <= 0.01


@pytest.mark.parametrize("labs", [2, 5, 12])
@pytest.mark.parametrize("how", ["singly", "drawn"])
def test_values_that_only_one_patient_has_are_no_copy_when_dealt_one_by_one(
    how: str, labs: int
) -> None:
    found = []
    for seed in range(4):
        members, others, real = Ward(100, 200, seed, digits=6, labs=labs).parts
        rng = np.random.default_rng(seed)
        release = singly(members, rng) if how == "singly" else drawn(members, real, rng)
        found.append(accused(members, others, release))
    assert np.mean(found, axis=0) == pytest.approx([0, 0], abs=0.015)


@pytest.fixture(scope="module")
def honest() -> list[Mapping[str, Measure]]:
    wards = [
        Ward(80, 160, seed, digits, labs) for seed in range(20) for digits, labs in ((3, 4), (1, 2))
    ]
    return [ward.rows(ward.parts[2]) for ward in wards]


def test_independent_releases_are_no_leak(honest: list[Mapping[str, Measure]]) -> None:
    areas = [found["auc"] for found in honest]
    assert sum(area.low <= 0.5 <= area.high for area in areas) >= 36
    assert sum(area.facts["p_value"] < 0.05 for area in areas) <= 5
    assert abs(np.mean([area.value for area in areas]) - 0.5) < 0.005


@pytest.mark.parametrize("longer", ["members", "others"])
def test_long_records_alone_are_no_leak(longer: str) -> None:
    for seed in range(3):
        ward = Ward(200, 400, seed)
        members, others, real = ward.parts
        rng = np.random.default_rng(0)
        if longer == "members":
            others = planted.thinned(others, rng, 0.3)
        else:
            members = planted.thinned(members, rng, 0.3)
        assert rows(members, others, real)["auc"].facts["p_value"] > 0.01


@pytest.mark.parametrize("digits", [1, 6])
@pytest.mark.parametrize("times", [0.1, 1, 5, 20])
def test_of_however_many_released_records_the_best_is_luck(times: float, digits: int) -> None:
    found = []
    for seed in range(3):
        ward = Ward(60, 120, seed, digits, labs=3, released=round(60 * times))
        found.append(accused(*ward.parts))
    assert np.mean(found, axis=0) == pytest.approx([0, 0], abs=0.015)


@pytest.mark.parametrize("longer", ["members", "others"])
def test_few_long_records_among_short_ones_are_no_leak(longer: str) -> None:
    """What long records share by luck cannot be seen from others, who are shorter."""
    found = []
    for seed in range(3):
        members, others, real = Ward(50, 400, seed, digits=2, released=500).parts
        rng = np.random.default_rng(seed)
        if longer == "members":
            others = planted.thinned(others, rng, 0.3)
        else:
            members, real = (planted.thinned(part, rng, 0.3) for part in (members, real))
        found.append(accused(members, others, real))
    assert np.mean(found, axis=0) == pytest.approx([0, 0], abs=0.015)


def test_copies_are_found_in_a_release_of_twenty_times_as_many() -> None:
    ward = Ward(60, 120, released=1200)
    members, others, real = ward.parts
    some = planted.thinned(members.take(members.patients[:12]), np.random.default_rng(0), 0.9)
    found, wrong = accused(members, others, Cohort.union([some, real]))
    assert found == pytest.approx(0.2, abs=0.02)
    assert wrong <= 0.01


def test_where_everybody_has_the_same_visits_nobody_is_told_apart() -> None:
    schema = Schema(
        name="few",
        clock="",
        static={"pulse": Column(kind="number", low=0, high=200)},  # or all were twins
        visits={"well": Column(kind="category", levels=("no", "yes"))},
        windows=(Window(name="ever", start=-1, end=10),),
    )

    def few(n: int, seed: int) -> Cohort:
        rng = np.random.default_rng(seed)
        names = [f"{seed}-{i:04}" for i in range(n)]
        visits = pd.DataFrame({"patient": np.repeat(names, 4), "day": np.tile(range(4), n) * 1.0})
        visits["well"] = rng.choice(np.array(["no", "yes"], dtype=object), 4 * n)
        static = pd.DataFrame({"patient": names, "pulse": rng.normal(70, 9, n)})
        return Cohort.of_tables(schema, static, visits)

    found = rows(few(150, 0), few(300, 1), few(150, 2))
    assert share(found)[1] <= 0 <= share(found)[2]


# Tables


def test_records_of_codes_alone_have_a_course() -> None:
    codes = tuple(f"c{i}" for i in range(60))
    schema = Schema(
        name="coded",
        clock="",
        static={"age": Column(kind="integer", low=0, high=99)},
        vocabularies={"icd": Vocabulary(codes=dict(zip(codes, codes, strict=True)))},
        windows=(Window(name="ever", start=-1, end=400),),
    )

    def coded(n: int, seed: int) -> Cohort:
        rng = np.random.default_rng(seed)
        names = np.array([f"{seed}-{i:04}" for i in range(n)], dtype=object)
        table = pd.DataFrame(
            {"patient": np.repeat(names, 20), "day": rng.integers(0, 12, 20 * n) * 30.0}
        ).assign(system="icd", code=rng.choice(np.array(codes, dtype=object), 20 * n))
        static = pd.DataFrame({"patient": names, "age": rng.integers(20, 90, n) * 1.0})
        return Cohort.of_tables(schema, static, codes=table.drop_duplicates())

    members, others, real = coded(150, 0), coded(300, 1), coded(150, 2)
    rng = np.random.default_rng(0)
    some = planted.thinned(members.take(members.patients[:30]), rng, 0.7)
    release = planted.copied(Cohort.union([some, real.take(real.patients[30:])]), rng)
    assert share(rows(members, others, release))[0] == pytest.approx(0.2, abs=0.05)
    assert share(rows(members, others, real))[1] <= 0


def test_a_table_without_visits_and_codes_has_no_course() -> None:
    schema = Schema(name="flat", clock="", static={"a": Column(kind="number", low=0, high=1)})
    assert "no visits and no codes" in ATTACK.lacking(schema)
    assert not ATTACK.lacking(Ward().everybody.schema)


def test_blocks_and_the_order_of_rows_change_nothing(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = ward.leaked(keep=0.5)
    once = ward.rows(release)["leak@10%"]
    monkeypatch.setattr(trajectory, "_CELLS", 1_000)
    turned = replace(release, visits=release.visits.iloc[::-1], codes=release.codes.iloc[::-1])
    assert ward.rows(turned)["leak@10%"] == once


def test_the_order_of_rows_of_one_day_tells_nothing() -> None:
    """Of several visits on one day, which follows which must not be what a file says."""

    def crowded(cohort: Cohort) -> Cohort:
        return replace(cohort, visits=cohort.visits.assign(day=cohort.visits["day"] // 500 * 500.0))

    def shuffled(cohort: Cohort, seed: int) -> Cohort:
        rows = np.random.default_rng(seed).permutation(len(cohort.visits))
        visits = cohort.visits.iloc[rows].sort_values(["patient", "day"], kind="stable")
        return replace(cohort, visits=visits.reset_index(drop=True))

    ward = Ward(n=200, others=200, digits=1)
    parts = [crowded(part) for part in (*ward.parts[:2], ward.leaked(0.5, keep=0.2, noise=0.1))]
    _, once = answers(*parts)
    assert 0 < sum(once) < len(once)
    for seed in range(4):
        assert np.array_equal(answers(*(shuffled(part, seed) for part in parts))[1], once)


def test_a_release_of_patients_without_any_visit_is_looked_through(ward: Ward) -> None:
    real = ward.parts[2]
    bare = replace(real, visits=real.visits.iloc[:0], codes=real.codes.iloc[:0])
    low, high = share(ward.rows(bare))[1:]
    assert low <= 0 <= high
