from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from fedbench import stats
from fedbench.attack import Attack, Game, Guess, Knowledge, PublicChallenge, Sight
from fedbench.attacking import judged
from fedbench.attacks.attribute import Attribute
from fedbench.attacks.dcr import Dcr
from fedbench.attacks.verbatim import Verbatim
from fedbench.data import Cohort, Column, DataStore, Schema, Vocabulary, Window
from fedbench.datasets.nafld import Nafld
from fedbench.datasets.simulated import Simulated
from fedbench.errors import ContractError
from fedbench.games import (
    QUIET,
    TURNED,
    Scored,
    attribute_challenges,
    blind_baseline,
    blunted,
    distrust,
    membership_challenge,
    must_catch,
    must_stay_silent,
    play_attribute,
    play_membership,
    reference_guess,
    secrets_of,
    show,
    split_control,
    turned,
)
from fedbench.games.scoring import Ranked, Site, auc_of
from fedbench.metric import Measure, Refusal
from fedbench.scoring import Answer, Question
from fedbench.seeds import Rng, Seeds
from fedbench.testing import made_up
from fedbench.world import renamed

SCHEMA = Schema(
    name="toy",
    clock="none",
    static={
        **{f"lab{i}": Column(kind="number", low=-50, high=50) for i in range(4)},
        "ward": Column(kind="category", levels=("a", "b", "c")),
        "hiv": Column(kind="category", levels=("no", "yes"), roles=frozenset(["sensitive"])),
    },
)
DCR = Dcr()
LEARNER = Attribute(trees=15)


def people(n: int, rng: Rng, prefix: str = "p", centre: float = 0.0) -> Cohort:
    health = rng.normal(size=n)
    labs = {f"lab{i}": centre + 0.5 * health + rng.normal(size=n) for i in range(4)}
    columns = {
        "patient": [f"{prefix}{i:05}" for i in range(n)],
        **labs,
        "ward": rng.choice(np.array(["a", "b", "c", None], dtype=object), n),
        "hiv": np.where(health + rng.normal(size=n) > 0.5, "yes", "no"),
    }
    return Cohort.of_tables(SCHEMA, pd.DataFrame(columns))


@pytest.fixture(scope="module")
def crowd() -> Cohort:
    return people(10_000, np.random.default_rng(99))


def some(crowd: Cohort, seed: int, *sizes: int) -> list[Cohort]:
    """Patients drawn from a crowd, in groups of these sizes."""
    drawn = np.random.default_rng(seed).choice(crowd.patients, sum(sizes), replace=False)
    return [
        crowd.take(drawn[start:end]) for start, end in itertools.pairwise(np.cumsum([0, *sizes]))
    ]


def names(n: int, seed: int) -> np.ndarray:
    """Names that no other seed gives."""
    return np.array([f"{seed}-{i:05}" for i in range(n)], dtype=object)


def cut(cohort: Cohort, *sizes: int) -> list[Cohort]:
    """The first so many patients, the next so many, and so on."""
    ends = np.cumsum([0, *sizes])
    return [cohort.take(cohort.patients[start:end]) for start, end in itertools.pairwise(ends)]


def rows_of(
    released: Cohort,
    members: dict[str, Cohort],
    others: dict[str, Cohort],
    seed: int = 0,
    attack: Attack = DCR,
) -> list[Scored]:
    seeds = Seeds(seed)
    schema = released.schema
    challenge = membership_challenge(schema, members, others, seeds.child("deal").rng())
    sight = show(attack, schema, {Knowledge.SYNTHETIC: released})
    return play_membership(attack, sight, challenge, seeds)[1]


def row(rows: Sequence[Scored], part: str, site: str = "") -> Measure:
    found = answer(rows, part, site)
    assert isinstance(found, Measure), found
    return found


def answer(rows: Sequence[Scored], part: str, site: str = "") -> Measure | Refusal:
    return next(r.measure for r in rows if r.measure.part == part and r.site == site)


# --- Membership -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nafld() -> Cohort:
    cohort = Nafld().load(DataStore.default())
    sets = np.unique(cohort.clusters.astype(str))
    rng = np.random.default_rng(0)
    return cohort.take(
        cohort.patients[np.isin(cohort.clusters.astype(str), rng.permutation(sets)[:700])]
    )


@pytest.fixture(scope="module")
def hospitals(nafld: Cohort) -> tuple[dict[str, Cohort], dict[str, Cohort], Cohort]:
    """Members and others of two hospitals, and an independent release; matched sets whole."""
    names, owner = np.unique(nafld.clusters.astype(str), return_inverse=True)
    part = np.random.default_rng(1).permutation(np.arange(len(names)) % 10)[owner]
    members = {f"s{k}": nafld.take(nafld.patients[part == k]) for k in (0, 1)}
    others = {f"s{k}": nafld.take(nafld.patients[np.isin(part, [k + 2, k + 4])]) for k in (0, 1)}
    return members, others, nafld.take(nafld.patients[part >= 6])


def test_a_copy_of_real_patients_is_caught(
    hospitals: tuple[dict[str, Cohort], dict[str, Cohort], Cohort],
) -> None:
    members, others, _ = hospitals
    rows = rows_of(Cohort.union(list(members.values())), members, others)
    assert row(rows, "auc").value >= 0.97
    assert row(rows, "tpr@1%").value >= 0.85
    assert row(rows, "leak@1%").high > 0.99
    assert row(rows, "auc", "worst").low > 0.9
    assert "patients who were trained on are recognised" in row(rows, "auc").facts["verdict"]
    assert must_catch(rows) == ""
    assert "looks like a leak" in must_stay_silent(rows, 1)


def test_other_real_patients_are_not_taken_for_a_leak(
    hospitals: tuple[dict[str, Cohort], dict[str, Cohort], Cohort],
) -> None:
    members, others, independent = hospitals
    rows = rows_of(independent, members, others)
    assert row(rows, "auc").low < 0.5 < row(rows, "auc").high
    assert "private" not in row(rows, "auc").facts["verdict"]
    assert must_stay_silent(rows, 1) == ""
    assert "was not caught" in must_catch(rows)


@pytest.mark.slow
def test_one_patient_in_ten_leaked_is_found_to_be_one_in_ten(crowd: Cohort) -> None:
    covered = 0
    for seed in range(100):
        members, others, more = some(crowd, seed, 200, 400, 180)
        released = Cohort.union([members.take(members.patients[:20]), more])
        leak = row(rows_of(released, {"a": members}, {"a": others}, seed), "leak@10%")
        covered += leak.low <= 0.1 <= leak.high
    assert covered >= 90


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_they_claim(crowd: Cohort) -> None:
    missed = alarms = small_p = leaks = 0
    for seed in range(200):
        members, others, released = some(crowd, seed, 100, 150, 150)
        rows = rows_of(
            released,
            dict(zip("ab", cut(members, 60, 40), strict=True)),
            dict(zip("ab", cut(others, 70, 80), strict=True)),
            seed,
        )
        found = row(rows, "auc")
        missed += not found.low <= 0.5 <= found.high
        alarms += found.low > 0.5
        small_p += found.facts["p_value"] < 0.05
        leaks += row(rows, "leak@10%").low > 0
    assert missed <= 14
    assert max(alarms, leaks) <= 10
    assert small_p <= 16


def test_twins_are_left_out_and_counted() -> None:
    members, others, same = cut(people(60, np.random.default_rng(0)), 20, 30, 3)
    renamed = same.static.assign(patient=["t1", "t2", "t3"])
    challenge = membership_challenge(
        SCHEMA,
        {"a": Cohort.union([members, same])},
        {"a": others, "b": Cohort.of_tables(SCHEMA, renamed)},
        np.random.default_rng(0),
    )
    assert challenge.twins_removed == 6
    assert sorted(challenge.patients) == sorted([*members.patients, *others.patients])


@pytest.mark.parametrize("sites", ["a", "ab"])
def test_where_all_but_two_look_alike_it_says_so_and_what_helps(sites: str) -> None:
    one, other, same = cut(people(22, np.random.default_rng(0)), 1, 1, 20)
    alike = Cohort.of_tables(SCHEMA, same.static.assign(patient=[f"t{i}" for i in range(20)]))
    members = {"a": Cohort.union([one, same])}
    others = {sites[0]: alike} | {sites[-1]: Cohort.union([other, alike][: 3 - len(sites)])}
    refused = answer(rows_of(one, members, others), "auc")
    assert isinstance(refused, Refusal)
    where = " at one hospital" if len(sites) > 1 else ""
    assert refused.reason == (
        "1 training record and 1 other patient are left to tell apart, and it takes two of each"
        f"{where}: 40 patients were left out who look exactly like another, because no attack "
        "could tell them apart. Give more columns, or numbers that are less rounded."
    )


def few_looks(n: int, rng: Rng, prefix: str) -> Cohort:
    """Patients of whom so little is known that many look alike."""
    health = rng.normal(size=n)
    columns = {
        f"c{i}": np.array(list("abcd"))[
            np.digitize(0.8 * health + rng.normal(size=n), [-0.3, 0.9, 1.8])
        ]
        for i in range(6)
    }
    static = {name: Column(kind="category", levels=tuple("abcd")) for name in columns}
    named = {"patient": [f"{prefix}{i}" for i in range(n)], **columns}
    schema = Schema(name="few", clock="none", static=static)
    return Cohort.of_tables(schema, pd.DataFrame(named))


@pytest.mark.parametrize("sizes", [(400, 100), (300, 1000)])
def test_leaving_out_twins_makes_neither_side_the_rarer_one(sizes: tuple[int, int]) -> None:
    """The mean AUC of 20 releases of strangers; its standard error is below .01."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng([seed, *sizes])
        sides = [few_looks(n, rng, side) for n, side in zip(sizes, "mo", strict=True)]
        members, others = sides
        released = few_looks(sizes[0], rng, "r")
        challenge = membership_challenge(members.schema, {"": members}, {"": others}, rng)
        sight = show(DCR, members.schema, {Knowledge.SYNTHETIC: released})
        scores = DCR.guess(sight, challenge.public, rng).scores
        found.append(stats.auc(scores, challenge.truth))
    assert abs(np.mean(found) - 0.5) < 0.03


def test_records_repeated_on_one_side_alone_stay() -> None:
    members, others = cut(people(60, np.random.default_rng(0)), 20, 40)
    again = members.static.assign(patient=[f"again{i}" for i in range(20)])
    twice = Cohort.union([members, Cohort.of_tables(SCHEMA, again)])
    challenge = membership_challenge(SCHEMA, {"a": twice}, {"a": others}, np.random.default_rng(0))
    assert (challenge.twins_removed, challenge.truth.sum()) == (0, 40)


@pytest.mark.parametrize("rest", [0, 30])
def test_a_game_whose_members_are_all_twins_of_others_is_refused(rest: int) -> None:
    members, others = cut(people(60, np.random.default_rng(0)), 20, rest)
    twins = members.static.assign(patient=[f"t{i}" for i in range(20)])
    others = Cohort.union([others, Cohort.of_tables(SCHEMA, twins)])
    rows = rows_of(members, {"a": members}, {"a": others}, 0)
    assert [scored.measure.part for scored in rows][:2] == ["auc", "tpr@10%"]
    nobody = "training record" if rest else "training record and no other patient"
    for scored in rows:
        assert isinstance(scored.measure, Refusal)
        assert scored.measure.reason.startswith(f"No {nobody} is left to tell apart")
        assert "all 40 such twins" in scored.measure.reason
        assert scored.measure.facts["twins_removed"] == 40


def test_the_challenge_gives_nothing_away() -> None:
    members, others = cut(people(60, np.random.default_rng(0)), 20, 40)
    challenge = membership_challenge(
        SCHEMA, {"a": members}, {"a": others}, np.random.default_rng(1)
    )
    public = challenge.public
    assert public.targets.index.equals(pd.RangeIndex(60))
    assert list(public.targets) == [feature.name for feature in SCHEMA.features]
    assert 5 < challenge.truth[:30].sum() < 15
    back = public.targets.set_axis(challenge.patients).loc[list(members.patients)]
    assert (back["lab0"].to_numpy() == members.table["lab0"].to_numpy()).all()


def test_whole_records_of_the_targets_lie_under_their_row_numbers() -> None:
    members, others = ({"north": renamed(made_up(60, s), names(60, s))} for s in (0, 1))
    asked = membership_challenge(members["north"].schema, members, others, Seeds(0).rng())
    found = asked.public.records
    assert found.patients.tolist() == [f"{i:03}" for i in range(120)]
    pd.testing.assert_frame_equal(
        found.table.reset_index(drop=True), asked.public.targets, check_names=False
    )
    whose = dict(zip(asked.patients, found.patients, strict=True))
    for table in ("visits", "codes"):
        real = pd.concat([getattr(side["north"], table) for side in (members, others)])
        real = real.assign(patient=real["patient"].map(whose))
        assert sorted(map(str, real.to_numpy())) == sorted(
            map(str, getattr(found, table).to_numpy())
        )


def test_the_order_in_which_a_side_was_written_is_not_shown() -> None:
    members, others = ({"north": renamed(made_up(60, s), names(60, s))} for s in (0, 1))
    turned_round = {
        "north": replace(members["north"], codes=members["north"].codes.iloc[::-1]),
    }
    one, other = (
        membership_challenge(made_up(1, 0).schema, side, others, Seeds(0).rng())
        for side in (members, turned_round)
    )
    pd.testing.assert_frame_equal(one.public.records.codes, other.public.records.codes)


def test_who_belongs_together_is_not_shown(nafld: Cohort) -> None:
    drawn = nafld.patients[:40]
    members, others = ({"": nafld.take(drawn[a : a + 20])} for a in (0, 20))
    asked = membership_challenge(nafld.schema, members, others, Seeds(0).rng())
    found = asked.public.records
    assert nafld.schema.cluster in nafld.static
    assert nafld.schema.cluster not in found.static
    assert found.clusters.tolist() == found.patients.tolist()


def test_whole_records_are_not_shown_to_those_who_guess_a_secret() -> None:
    (asked,) = attribute_challenges(
        SCHEMA, {"": people(60, Seeds(0).rng())}, {"": people(60, Seeds(1).rng(), "o")},
        Seeds(0).rng(), ["hiv"],
    )  # fmt: skip
    with pytest.raises(ContractError, match="attribute game shows no whole records"):
        _ = asked.public.records


def test_the_order_of_targets_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    members, others, released = cut(people(600, rng), 100, 300, 200)
    sites = {"a": members}, {"a": others}
    sight = show(DCR, SCHEMA, {Knowledge.SYNTHETIC: released})
    first, second = (
        play_membership(
            DCR,
            sight,
            membership_challenge(SCHEMA, *sites, np.random.default_rng(order)),
            Seeds(0),
        )[1]
        for order in (0, 1)
    )
    for one, other in zip(first, second, strict=True):
        assert one.site == other.site
        if isinstance(one.measure, Measure) and isinstance(other.measure, Measure):
            assert replace(one.measure, replicates=None) == replace(other.measure, replicates=None)
            np.testing.assert_array_equal(one.measure.replicates, other.measure.replicates)
        else:
            assert one == other


def test_hospitals_that_differ_do_not_look_like_members() -> None:
    # The release resembles hospital a, where most members live: pooled scores would "find" them.
    rng = np.random.default_rng(1)
    near, far = people(900, rng, "n"), people(600, rng, "f", centre=6)
    a_members, a_others, released = cut(near, 300, 150, 450)
    b_members, b_others = cut(far, 100, 500)
    members, others = {"a": a_members, "b": b_members}, {"a": a_others, "b": b_others}
    challenge = membership_challenge(SCHEMA, members, others, rng)
    sight = show(DCR, SCHEMA, {Knowledge.SYNTHETIC: released})
    guess, rows = play_membership(DCR, sight, challenge, Seeds(0))
    assert stats.auc(guess.scores, challenge.truth) > 0.7
    found = row(rows, "auc")
    assert found.low < 0.5 < found.high
    assert row(rows, "leak@10%").low < 0.0


def test_a_leak_is_found_where_pooled_scores_would_hide_it() -> None:
    # Patients of hospital a are all alike, so that everybody there is close to the release:
    # closer than members of b are to their own slightly changed records.
    rng = np.random.default_rng(0)
    labs = [name for name in SCHEMA.static if name.startswith("lab")]
    alike = people(800, rng, "n").static
    alike[labs] *= 0.02
    a_members, a_others, more = cut(Cohort.of_tables(SCHEMA, alike), 60, 440, 300)
    b_members, b_others = cut(people(300, rng, "f"), 240, 60)
    rough = b_members.static.copy()
    rough[labs] += rng.normal(0, 0.2, (len(rough), len(labs)))
    released = Cohort.union([more, Cohort.of_tables(SCHEMA, rough)])
    members, others = {"a": a_members, "b": b_members}, {"a": a_others, "b": b_others}
    challenge = membership_challenge(SCHEMA, members, others, rng)
    sight = show(DCR, SCHEMA, {Knowledge.SYNTHETIC: released})
    guess, rows = play_membership(DCR, sight, challenge, Seeds(0))
    assert stats.auc(guess.scores, challenge.truth) < 0.45
    assert row(rows, "auc").low > 0.5
    assert row(rows, "auc", "b").low > 0.7
    assert row(rows, "auc", "worst").value == row(rows, "auc", "b").value


@pytest.mark.parametrize("again", [1, 300])
def test_a_release_without_room_for_a_leak_says_nothing(again: int) -> None:
    rng = np.random.default_rng(0)
    members, others, released = cut(people(1_000, rng), 300, 400, 300)
    rows = rows_of(released, {"a": members}, {"a": others})
    assert row(rows, "auc").facts["verdict"].startswith("not detectable")
    first = released.static.iloc[[0] * again].assign(patient=[f"r{i}" for i in range(again)])
    rows = rows_of(Cohort.of_tables(SCHEMA, first), {"a": members}, {"a": others})
    for part in ("auc", "leak@10%"):
        found = row(rows, part)
        assert np.isnan(found.facts["detectable"])
        assert "nothing can be said: a leak is noticed from" in found.facts["verdict"]
        assert found.facts["verdict"].endswith("the release has 1 different record")


def test_an_answer_of_yes_or_no_has_one_interval_for_one_share() -> None:
    rng = np.random.default_rng(3)
    north, south = cut(people(300, rng, "m"), 200, 100)
    first, second = cut(people(500, rng), 250, 250)
    copied = [cut(north, 8, 192)[0], cut(first, 1, 249)[0], cut(people(90, rng, "r"), 90)[0]]
    released = Cohort.of_tables(SCHEMA, pd.concat([each.static for each in copied]))
    members, others = {"a": north, "b": south}, {"a": first, "b": second}
    rows = rows_of(released, members, others, attack=Verbatim())
    area, tpr, leak = (row(rows, part) for part in ("auc", "tpr@10%", "leak@10%"))
    wrong = 1 / 250 * 200 / 300  # as if the others were spread like the members
    for end in ("value", "low", "high"):
        share = 2 * getattr(area, end) - 1
        assert getattr(leak, end) == pytest.approx(share / (1 - wrong)), end
    exact = stats.clopper_pearson(8, 300)
    assert (tpr.value, tpr.low, tpr.high) == pytest.approx((exact.value, exact.low, exact.high))
    assert "p_value" not in leak.facts  # the test is that of the AUC, counted once


@pytest.mark.parametrize("wrong", [9, 10, 11])
def test_who_gets_a_yes_is_accused_however_many_others_may_be(wrong: int) -> None:
    members, others = cut(people(2_000, np.random.default_rng(4)), 1_000, 1_000)
    given = [cut(members, 500, 500)[0], cut(others, wrong, 1_000 - wrong)[0]]
    released = Cohort.of_tables(SCHEMA, pd.concat([each.static for each in given]))
    rows = rows_of(released, {"a": members}, {"a": others}, attack=Verbatim())
    found = answer(rows, "leak@1%")
    if wrong <= 10:
        assert row(rows, "tpr@1%").value == 0.5
        assert row(rows, "leak@1%").value == pytest.approx(
            (0.5 - wrong / 1_000) / (1 - wrong / 1_000)
        )
    else:
        assert isinstance(found, Refusal)
        assert "1.1 % of the non-members get a yes" in found.reason
    assert row(rows, "leak@10%").value > 0.49


def test_too_few_patients_are_refused_not_guessed() -> None:
    rng = np.random.default_rng(0)
    members, others, released, lonely = cut(people(200, rng), 20, 60, 100, 1)
    rows = rows_of(released, {"a": members, "b": lonely}, {"a": others})
    for part in ("tpr@10%", "leak@10%", "tpr@1%", "leak@0.1%"):
        refused = answer(rows, part)
        assert isinstance(refused, Refusal)
        assert "non-members" in refused.reason
    alone = answer(rows, "auc", "b")
    assert isinstance(alone, Refusal)
    assert "1 member and 0 others" in alone.reason
    assert row(rows, "auc").facts["n_members"] == 20
    assert "nothing can be said" in row(rows, "auc").facts["verdict"]


def test_a_small_hospital_has_a_weak_row_that_gains_can_use() -> None:
    rng = np.random.default_rng(0)
    members, others, released = cut(people(100, rng), 5, 60, 30)
    rows = rows_of(released, {"a": members}, {"a": others})
    weak = row(rows, "auc", "a")
    assert "5 members" in weak.weak
    assert weak.replicates is not None
    assert row(rows, "auc").weak == weak.weak
    assert isinstance(answer(rows, "auc", "worst"), Refusal)


def test_replicates_belong_to_patients_not_to_the_release() -> None:
    rng = np.random.default_rng(0)
    members, others, one, two = cut(people(700, rng), 150, 250, 150, 150)
    first, second = (
        row(rows_of(released, {"a": members}, {"a": others}), "auc") for released in (one, two)
    )
    again = row(rows_of(one, {"a": members}, {"a": others}), "auc")
    assert first.replicates is not None
    assert second.replicates is not None
    np.testing.assert_array_equal(first.replicates, again.replicates)
    assert np.corrcoef(first.replicates, second.replicates)[0, 1] > 0.2
    assert abs(first.replicates.mean() - first.value) < 1e-9


@dataclass(frozen=True, kw_only=True)
class Nosy(Attack):
    """Looks at what it did not declare."""

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset()
    version: ClassVar[int] = 1

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        return Guess(np.zeros(len(sight.synthetic)))


@dataclass(frozen=True, kw_only=True)
class Sloppy(Attack):
    """Answers with nonsense."""

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset()
    version: ClassVar[int] = 1
    rows: int = 0

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        return Guess(np.full(self.rows or len(challenge.targets), np.nan))


@pytest.mark.parametrize(
    ("attack", "message"),
    [(Nosy(), "without declaring"), (Sloppy(), "60 not finite"), (Sloppy(rows=3), r"shape \(3,\)")],
)
def test_attacks_that_break_the_rules_are_named(attack: Attack, message: str) -> None:
    members, others, released = cut(people(100, np.random.default_rng(0)), 20, 40, 40)
    with pytest.raises(ContractError, match=message):
        rows_of(released, {"a": members}, {"a": others}, attack=attack)


def test_nobody_is_dealt_twice() -> None:
    members, others = cut(people(60, np.random.default_rng(0)), 20, 40)
    everyone = Cohort.union([members, others])
    with pytest.raises(ContractError, match="twice"):
        membership_challenge(SCHEMA, {"a": members}, {"a": everyone}, np.random.default_rng(0))


def test_members_unlike_the_others_make_every_claim_worthless() -> None:
    rng = np.random.default_rng(0)
    members, released = cut(people(500, rng), 200, 300)
    others = people(300, rng, "o", centre=1)
    seeds = Seeds(0)
    challenge = membership_challenge(SCHEMA, {"a": members}, {"a": others}, rng)
    blind = blind_baseline(SCHEMA, challenge, seeds)
    assert "differ even for a model that never saw" in distrust(blind)
    sight = show(DCR, SCHEMA, {Knowledge.SYNTHETIC: released})
    _, rows = play_membership(DCR, sight, challenge, seeds, blind)
    assert {r.measure.part for r in rows} >= {"auc", "leak@0.1%"}
    assert all(isinstance(r.measure, Refusal) for r in rows)


@pytest.fixture(scope="module")
def followed() -> Cohort:
    """Patients with visits and codes."""
    return Simulated(patients=600, hospitals=1, seed=3).load(DataStore(None))


@pytest.mark.parametrize("table", ["visits", "codes"])
def test_records_of_another_length_make_every_claim_worthless(followed: Cohort, table: str) -> None:
    """Though the patient table, with the last value and which codes there are, is the same."""
    members, others = cut(followed, 250, 350)
    longer = replace(others, **{table: pd.concat([getattr(others, table)] * 2, ignore_index=True)})
    pd.testing.assert_frame_equal(longer.table, others.table)
    for control, fair in ((others, True), (longer, False)):
        rng = np.random.default_rng(0)
        challenge = membership_challenge(followed.schema, {"a": members}, {"a": control}, rng)
        blind = blind_baseline(followed.schema, challenge, Seeds(0))
        assert (distrust(blind) == "") is fair


def test_patients_with_other_visits_are_different_records(followed: Cohort) -> None:
    one = followed.take(followed.patients[:1])
    several = [
        renamed(
            replace(one, visits=pd.concat([one.visits] * (i + 1), ignore_index=True)),
            np.array([f"r{i}"], dtype=object),
        )
        for i in range(4)
    ]
    released = Cohort.union([*several, renamed(one, np.array(["r9"], dtype=object))])
    assert len(np.unique(released.looks)) == 1
    assert len(np.unique(released.whole_looks)) == 4
    members, others = cut(followed, 250, 350)
    verdict = row(rows_of(released, {"a": members}, {"a": others}), "auc").facts["verdict"]
    assert verdict.endswith("the release has 4 different records")


@pytest.mark.slow
def test_a_fair_control_is_trusted() -> None:
    distrusted = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        members, others = cut(people(400, rng), 150, 250)
        challenge = membership_challenge(SCHEMA, {"a": members}, {"a": others}, rng)
        blind = blind_baseline(SCHEMA, challenge, Seeds(seed))
        assert isinstance(blind, Measure)
        assert 0.3 < blind.value < 0.7
        distrusted += bool(distrust(blind))
    assert distrusted == 0


def test_matched_sets_widen_the_interval() -> None:
    schema = replace(SCHEMA, cluster="family")
    rng = np.random.default_rng(0)
    one = people(100, rng).static
    table = pd.concat([one.assign(patient=one["patient"] + f"-{k}") for k in range(4)])
    table["family"] = table["patient"].str[:6]
    alike = table.assign(lab0=table["lab0"] + rng.normal(0, 0.01, len(table)))

    def width(schema: Schema) -> float:
        everyone = Cohort.of_tables(schema, alike)
        half = (everyone.static["patient"].str[1:6].astype(int) % 2 == 0).to_numpy()
        members, others = (everyone.take(everyone.patients[part]) for part in (half, ~half))
        released = Cohort.of_tables(
            schema, people(200, np.random.default_rng(1), "r").static.assign(family="r")
        )
        found = row(rows_of(released, {"a": members}, {"a": others}), "auc")
        return found.high - found.low

    assert width(schema) > 1.6 * width(SCHEMA)


@dataclass(frozen=True, kw_only=True)
class Told(Attack):
    """Reads its answer from a column."""

    game: ClassVar[Game] = "membership"
    knows: ClassVar[frozenset[Knowledge]] = frozenset()
    version: ClassVar[int] = 1

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        return Guess(challenge.targets["lab0"].to_numpy(dtype=np.float64))


class Answering(Told):
    """Reads a yes or no from a column."""

    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC})
    yes: ClassVar[str] = "are said to have been trained on"


def test_as_many_copies_as_it_says_are_noticed_where_many_get_a_yes_anyhow() -> None:
    rng, n1, n0, wrong = np.random.default_rng(0), 300, 400, 0.4
    members, others, released = cut(people(701, rng), n1, n0, 1)
    for cohort in (members, others):  # as many of either, by luck alone
        cohort.static["lab0"] = (np.arange(len(cohort)) < wrong * len(cohort)).astype(float)
    rows = rows_of(released, {"a": members}, {"a": others}, attack=Answering())
    for site in ("", "a"):
        said = row(rows, "auc", site).facts["verdict"]
        copied = int(re.findall(r"noticed from ([\d,]+) copied training records", said)[0])
        hits = copied + rng.binomial(n1 - copied, wrong, 1000)
        false = rng.binomial(n0, wrong, 1000)
        seen = hits / n1 - false / n0 > stats.newcombe_down(hits, n1, false, n0)
        assert 0.77 <= seen.mean() <= 0.9, copied


def matched_sets(rng: Rng, sets: int = 300) -> Cohort:
    """A case, unlike the others, and four controls much like it in each set."""
    schema = replace(SCHEMA, cluster="family")
    table = people(5 * sets, rng).static
    case = np.arange(5 * sets) % 5 == 0
    alike = np.repeat(rng.normal(size=sets), 5)
    table["lab0"] = alike + 0.7 * rng.normal(size=5 * sets) + 0.5 * case
    table["family"] = [f"f{i // 5:04}" for i in range(5 * sets)]
    return Cohort.of_tables(schema, table)


def test_matched_sets_widen_the_leak_as_much_as_they_spread_it() -> None:
    # Whole sets are dealt to four unequal hospitals, and there to members or others.
    everyone = matched_sets(np.random.default_rng(0))
    sets, owner = np.unique(everyone.clusters.astype(str), return_inverse=True)
    scores = everyone.table["lab0"].to_numpy()
    leaks, widths = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        site = rng.choice(4, p=[0.4, 0.3, 0.2, 0.1], size=len(sets))[owner]
        member = (rng.random(len(sets)) < 0.25)[owner]
        placed = []
        for k in range(4):
            place = stats.placements(scores[site == k], member[site == k])
            placed.append((place[member[site == k]], place[~member[site == k]]))
        leaks.append(stats.tpr_at_fpr(placed, 0.1, rng, 2).leak.value)
        if seed < 6:
            members, others = (
                {f"s{k}": everyone.take(everyone.patients[part & (site == k)]) for k in range(4)}
                for part in (member, ~member)
            )
            rows = rows_of(everyone, members, others, seed, Told())
            found = row(rows, "leak@10%")
            assert found.value == pytest.approx(leaks[-1])
            widths.append((found.high - found.low) / 2)
    assert 0.95 < np.mean(widths) / (1.96 * np.std(leaks)) < 1.25


# --- Attribute --------------------------------------------------------------------------------


def revealed(
    released: Cohort,
    members: dict[str, Cohort],
    others: dict[str, Cohort],
    reference: Cohort | None = None,
    seed: int = 0,
) -> list[Scored]:
    seeds = Seeds(seed)
    (challenge,) = attribute_challenges(SCHEMA, members, others, seeds.child("deal").rng(), ["hiv"])
    sight = show(LEARNER, SCHEMA, {Knowledge.SYNTHETIC: released})
    other = reference_guess(LEARNER, sight, challenge, reference, seeds)
    return play_attribute(LEARNER, sight, challenge, other, seeds)[1]


def test_a_copied_secret_is_found() -> None:
    rng = np.random.default_rng(0)
    members, others, reference = cut(people(700, rng), 200, 300, 200)
    attack = Attribute()
    seeds = Seeds(0)
    (challenge,) = attribute_challenges(SCHEMA, {"a": members}, {"a": others}, rng, ["hiv"])
    sight = show(attack, SCHEMA, {Knowledge.SYNTHETIC: members})
    other = reference_guess(attack, sight, challenge, reference, seeds)
    _, rows = play_attribute(attack, sight, challenge, other, seeds)
    assert row(rows, "advantage").low > 0.1
    assert row(rows, "advantage").key.secret == "hiv"  # noqa: S105
    assert row(rows, "auc").value > 0.95
    assert row(rows, "accuracy").value > 0.95
    assert row(rows, "reference").value < 0.85
    assert "gives the secret away" in row(rows, "advantage").facts["verdict"]
    assert must_catch(rows) == ""


@pytest.mark.slow
def test_what_medicine_knows_is_not_a_leak(crowd: Cohort) -> None:
    missed = alarms = small_p = 0
    for seed in range(100):
        members, others, released = some(crowd, seed, 100, 150, 100)
        rows = revealed(
            released,
            dict(zip("ab", cut(members, 70, 30), strict=True)),
            dict(zip("ab", cut(others, 70, 80), strict=True)),
            seed=seed,
        )
        found = row(rows, "advantage")
        missed += not found.low <= 0 <= found.high
        alarms += found.low > 0
        small_p += found.facts["p_value"] < 0.05
    assert missed <= 9
    assert alarms <= 6
    assert small_p <= 10


def test_a_secret_is_hidden_with_all_that_tells_it() -> None:
    schema = Schema(
        name="codes",
        clock="days",
        static={"age": Column(kind="integer", low=0, high=99)},
        vocabularies={
            "icd": Vocabulary(codes={"B20": "HIV", "I10": "bp"}, sensitive=frozenset(["B20"]))
        },
        windows=(Window(name="early", start=-1, end=10), Window(name="late", start=10, end=99)),
    )
    static = pd.DataFrame({"patient": [f"p{i}" for i in range(40)], "age": range(40)})
    codes = pd.DataFrame(
        {
            "patient": [f"p{i}" for i in range(0, 40, 3)],
            "day": 20.0,
            "system": "icd",
            "code": "B20",
        }
    )
    cohort = Cohort.of_tables(schema, static, codes=codes)
    members, others = cut(cohort, 20, 20)
    (challenge,) = attribute_challenges(
        schema, {"a": members}, {"a": others}, np.random.default_rng(0), secrets_of(cohort, 3)
    )
    assert challenge.public.secret == "B20@late"  # noqa: S105
    assert list(challenge.public.targets) == ["age", "I10@early", "I10@late"]
    assert challenge.answers.sum() == 14


def test_a_column_that_implies_the_secret_is_hidden() -> None:
    schema = replace(
        SCHEMA,
        static={**SCHEMA.static, "load": Column(kind="integer", low=0, high=9, implies="hiv")},
    )
    rows = people(60, np.random.default_rng(0)).static.assign(load=1)
    members, others = cut(Cohort.of_tables(schema, rows), 30, 30)
    (challenge,) = attribute_challenges(
        schema, {"a": members}, {"a": others}, np.random.default_rng(0), ["hiv"]
    )
    assert "load" not in challenge.public.targets
    assert "lab0" in challenge.public.targets


def test_patients_without_the_secret_are_not_asked_about() -> None:
    cohort = people(60, np.random.default_rng(0))
    static = cohort.static.assign(hiv=cohort.static["hiv"].where(np.arange(60) % 3 > 0, None))
    members, others = cut(Cohort.of_tables(SCHEMA, static), 30, 30)
    (challenge,) = attribute_challenges(
        SCHEMA, {"a": members}, {"a": others}, np.random.default_rng(0), ["hiv"]
    )
    assert len(challenge.truth) == 40
    assert (challenge.answers >= 0).all()


def test_few_known_secrets_are_refused() -> None:
    members, others, released = cut(people(100, np.random.default_rng(0)), 15, 40, 40)
    refused = answer(revealed(released, {"a": members}, {"a": others}), "advantage")
    assert isinstance(refused, Refusal)
    assert "15 members" in refused.reason


def test_a_secret_on_which_all_members_agree_puts_nobody_in_order() -> None:
    cohort = people(200, np.random.default_rng(0))
    levels = np.array(SCHEMA.static["hiv"].levels, dtype=object)
    has = np.isin(np.arange(200), [*range(40, 60), *range(140, 160)]).astype(int)
    static = cohort.static.assign(hiv=levels[has])
    members, others, released = cut(Cohort.of_tables(SCHEMA, static), 40, 60, 100)
    found = answer(revealed(released, {"a": members}, {"a": others}), "auc")
    assert isinstance(found, Refusal)
    assert found.reason.startswith("All 40 members have the same answer")


def test_nothing_sensitive_nothing_asked() -> None:
    static = {name: replace(column, roles=frozenset()) for name, column in SCHEMA.static.items()}
    schema = replace(SCHEMA, static=static)
    cohort = Cohort.of_tables(schema, people(20, np.random.default_rng(0)).static)
    assert secrets_of(cohort, 3) == []


# --- Controls ---------------------------------------------------------------------------------


def test_a_control_is_split_by_whole_matched_sets(nafld: Cohort) -> None:
    some = nafld.take(nafld.patients[:400])
    found = split_control({"a": some}, np.random.default_rng(0))
    release, rest = found.release["a"], found.nonmembers["a"]
    assert sorted([*release.patients, *rest.patients]) == sorted(some.patients)
    assert not set(release.clusters) & set(rest.clusters)
    assert f"{len(rest)} others instead of 400" in found.note


def test_a_share_that_misses_a_part_of_a_copy_is_named() -> None:
    shares = {"leak@1%": 0.9, "leak@10%": 0.995}
    rows = [
        Scored("", Measure(value=v, low=v - 0.01, high=v + 0.004, n=9, part=part))
        for part, v in {"auc": 0.99, **shares}.items()
    ]
    assert must_catch(rows) == ""
    assert blunted(rows) == {
        "leak@1%": "A verbatim copy gives all members away, yet the leak at 1 % false alarms is "
        "0.900 (0.890 to 0.904)."
    }


def test_a_control_that_could_not_be_played_is_said() -> None:
    rows = [Scored("", Refusal(reason="No site.", part="auc"))]
    assert "could not be played: No site." in must_catch(rows)
    assert must_stay_silent(rows, 3) == ""


@pytest.mark.parametrize(("shift", "said"), [(-0.25, False), (-0.6, True), (0.6, False)])
def test_a_null_control_turned_round_is_judged_as_one_that_goes_off(
    shift: float,
    said: bool,  # noqa: FBT001
) -> None:
    who = np.arange(600).astype(str).astype(object)
    site = Site("a", np.arange(600), np.arange(600) < 300, who, Seeds(0))
    scores = np.random.default_rng(4).normal(size=600) + shift * site.truth
    row, mirrored = (auc_of([Ranked(site, sign * scores)]) for sign in (1, -1))
    assert bool(turned([Scored("", row)], 1)) is said
    assert bool(must_stay_silent([Scored("", mirrored)], 1)) is said
    assert turned([Scored("", auc_of([Ranked(site, np.zeros(600))]))], 1) == ""


@pytest.mark.parametrize(("p", "begins"), [(1e-9, TURNED), (0.01, QUIET)])
def test_the_run_judges_a_null_control_turned_round(p: float, begins: str) -> None:
    facts = {"p_value": 1 - p, "p_turned": p}
    auc = Measure(value=0.4, low=0.35, high=0.45, n=9, part="auc", facts=facts)
    answer = Answer(Question("", "", "pooled"), "dcr", "privacy", "lower", 1, auc)
    nobody = SimpleNamespace(null=SimpleNamespace(note=""))
    (check,) = judged("real", [answer], 2, nobody)  # type: ignore[arg-type]
    assert isinstance(check.found, Measure)
    assert check.found.value == 1.0, "what it finds still counts"
    assert check.found.facts["verdict"].startswith(begins)


@pytest.mark.parametrize(("attacks", "silent"), [(1, False), (10, True)])
def test_chance_is_shared_between_attacks(attacks: int, silent: bool) -> None:  # noqa: FBT001
    measure = Measure(value=0.6, low=0.55, high=0.65, n=9, part="auc", facts={"p_value": 2e-4})
    assert (must_stay_silent([Scored("", measure)], attacks) == "") is silent
