"""Who is recognised is told of groups, rightly, and of nobody alone."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

from fedbench import games, stats
from fedbench.attack import Guess, PublicChallenge
from fedbench.data import Cohort, Column, DataStore, Schema
from fedbench.datasets.simulated import Simulated
from fedbench.games.exposure import COLUMNS, rarity
from fedbench.report import leakage
from fedbench.report.exposure import groups
from fedbench.report.numbers import Numbers
from fedbench.report.world import World


@pytest.fixture(scope="module")
def people() -> Cohort:
    return Simulated(patients=1500, hospitals=2, labs=1, codes=1, seed=0).load(DataStore(None))


@pytest.fixture(scope="module")
def challenge(people: Cohort) -> games.Challenge:
    def homes(cohort: Cohort) -> dict[str, Cohort]:
        assert cohort.sites is not None
        sites = {str(s): cohort.take(cohort.patients[cohort.sites == s]) for s in set(cohort.sites)}
        return dict(sorted(sites.items()))

    order = np.random.default_rng(0).permutation(people.patients)
    members, others = homes(people.take(order[:500])), homes(people.take(order[500:]))
    rng = np.random.default_rng(0)
    return games.membership_challenge(people.schema, members, others, rng)


def told(people: Cohort, challenge: games.Challenge, scores: np.ndarray) -> dict[str, list[dict]]:  # type: ignore[type-arg]
    found = games.exposure(people.schema, challenge, Guess(scores))
    assert list(found.columns) == list(COLUMNS)
    return {str(kind): mine.to_dict("records") for kind, mine in found.groupby("kind")}


def test_a_leak_of_the_rare_is_seen_among_the_rare(
    people: Cohort, challenge: games.Challenge
) -> None:
    rng, truth = np.random.default_rng(1), challenge.truth
    rare = rarity(people.schema, challenge.public.targets)
    given = truth & (rare > np.quantile(rare[truth], 0.9))
    found = told(people, challenge, rng.random(len(truth)) + 2 * given)
    tenths = {row["group"]: row for row in found["rarity"]}
    assert list(tenths) == [str(i + 1) for i in range(10)]
    assert tenths["10"]["low"] > 0.9
    assert max(row["value"] for name, row in tenths.items() if name != "10") < 0.3
    sites = {row["group"]: row["value"] for row in found["site"]}
    assert set(sites) == set(challenge.sites)
    assert all(0.02 < value < 0.25 for value in sites.values())


def test_tenths_are_tenths_and_hold_who_is_extreme_in_anything(
    people: Cohort, challenge: games.Challenge
) -> None:
    rng, truth, table = np.random.default_rng(1), challenge.truth, challenge.public.targets
    numbers = [f.name for f in people.schema.features if f.column.kind != "category"]
    values = table[[name for name in numbers if name in table]].astype(float)
    far = ((values - values.median()).abs() / values.std()).max(axis=1).to_numpy()
    given = truth & (far > np.nanquantile(far, 0.95))
    tenths = told(people, challenge, rng.random(len(truth)) + 2 * given)["rarity"]
    assert np.ptp([row["n"] for row in tenths]) <= 1
    assert tenths[-1]["low"] > max(row["value"] for row in tenths[:-1])
    assert tenths[-1]["value"] * tenths[-1]["n"] > given.sum() / 2


def test_tenths_of_patients_who_look_alike_are_tenths() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.choice(["x", "y"], 3000), "b": rng.choice(["x", "y"], 3000)})
    column = Column(kind="category", levels=("x", "y"))
    schema = Schema(name="t", clock="", static={"a": column, "b": column})
    public = PublicChallenge("membership", table, np.full(3000, "here", dtype=object))
    names, truth = np.arange(3000).astype(str).astype(object), rng.permutation(3000) < 1000
    dealt = games.Challenge(public, truth, names, names, 0)
    tenths = games.exposure(schema, dealt, Guess(rng.random(3000))).query("kind == 'rarity'")
    assert tenths["n"].tolist() == [100] * 10
    assert tenths["others"].min() > 100


def test_the_curve_is_that_of_the_scores(people: Cohort, challenge: games.Challenge) -> None:
    rng, truth = np.random.default_rng(2), challenge.truth
    curve = told(people, challenge, rng.normal(size=len(truth)) + truth)["roc"]
    x, y = (np.array([row[k] for row in curve]) for k in ("at", "value"))
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) >= 0).all()
    assert (x[0], x[-1], y[-1]) == (0, 1, 1)
    assert np.interp(0.1, x, y) == pytest.approx(0.389, abs=0.07)  # of N(1, 1) against N(0, 1)


def test_what_sets_them_apart_is_said_of_many_only(
    people: Cohort, challenge: games.Challenge
) -> None:
    truth = challenge.truth
    old = challenge.public.targets["age"].to_numpy(dtype=float)
    given = truth & (old > np.nanquantile(old, 0.8))
    noise = np.random.default_rng(3).random(len(truth))
    found = told(people, challenge, noise + 2 * given)["found"]
    age = next(row for row in found if row["group"] == "age")
    assert re.search(r"higher than another training patient's in \d\d+ % of pairs", age["text"])
    few = truth & (np.cumsum(truth) <= 5)
    assert "found" not in told(people, challenge, np.where(few, 2.0, 0.5))


def test_noise_and_trifles_set_nobody_apart(people: Cohort, challenge: games.Challenge) -> None:
    rng, truth = np.random.default_rng(7), challenge.truth
    lucky = [truth & (rng.random(len(truth)) < 0.8) for _ in range(40)]
    assert sum("found" in told(people, challenge, each.astype(float)) for each in lucky) <= 6
    old = challenge.public.targets["age"].to_numpy(dtype=float)
    trifle = truth & (old - np.median(old) + rng.normal(0, 50, len(truth)) > -40)
    missed = truth & ~trifle
    assert 0.55 < stats.auc(old[truth], trifle[truth]) < 0.6, missed.sum()
    assert "found" not in told(people, challenge, trifle.astype(float))


def test_patients_who_are_alike_are_nobody_apart(
    people: Cohort, challenge: games.Challenge
) -> None:
    found = told(people, challenge, np.zeros(len(challenge.truth)))
    assert all(row["value"] == 0 for row in found["rarity"])
    assert [(row["at"], row["value"]) for row in found["roc"]] == [(0, 0), (1, 1)]


def test_a_score_that_nobody_else_has_finds_all_who_have_it(
    people: Cohort, challenge: games.Challenge
) -> None:
    given = challenge.truth & (np.random.default_rng(4).random(len(challenge.truth)) < 0.5)
    found = told(people, challenge, given.astype(float))
    share = given.sum() / challenge.truth.sum()
    assert [(row["at"], row["value"]) for row in found["roc"]] == [(0, share), (1, 1)]
    for kind in ("members", "rarity", "site"):
        values, n = ([row[what] for row in found[kind]] for what in ("value", "n"))
        assert np.average(values, weights=n) == pytest.approx(share)


@pytest.mark.parametrize(("wrong", "at"), [(9, 0.01), (10, 0.01), (11, 0.1), (101, None)])
def test_groups_are_told_of_who_gets_a_yes_where_the_leak_share_is(
    wrong: int, at: float | None
) -> None:
    truth = np.arange(2000) < 1000
    scores = np.concatenate([np.arange(1000) < 500, np.arange(1000) < wrong]).astype(float)
    names = np.arange(len(truth)).astype(str).astype(object)
    table = pd.DataFrame({"a": np.random.default_rng(0).normal(size=len(truth))})
    public = PublicChallenge("membership", table, np.full(len(truth), "h", dtype=object))
    dealt = games.Challenge(public, truth, names, names, 0)
    found = games.exposure(NOBODY, dealt, Guess(scores), yes=True)
    told = {kind: mine for kind, mine in found.groupby("kind") if kind != "roc"}
    if at is None:
        assert not told
        return
    assert (told["members"]["at"].item(), told["members"]["value"].item()) == (at, 0.5)
    assert told["others"]["value"].item() == pytest.approx(wrong / 1000)
    leak = (0.5 - wrong / 1000) / (1 - wrong / 1000)
    assert told["site"]["value"].item() == pytest.approx(leak)
    assert told["rarity"]["value"].mean() == pytest.approx(leak, abs=0.02)


@pytest.mark.parametrize("digits", [0, 1, 2, 9])
def test_the_curve_the_groups_and_the_share_at_few_false_alarms_agree(digits: int) -> None:
    rng, truth = np.random.default_rng(digits), np.arange(2000) < 1000
    names = np.arange(len(truth)).astype(str).astype(object)
    table = pd.DataFrame({"a": rng.normal(size=len(truth))})
    public = PublicChallenge("membership", table, np.full(len(truth), "h", dtype=object))
    dealt = games.Challenge(public, truth, names, names, 0)
    scores = np.round(rng.normal(size=len(truth)) + truth, digits)
    scores = np.minimum(scores, scores[~truth].max())
    # Exactly as many others as may be accused look like some members, and better than anybody.
    scores[np.flatnonzero(~truth)[:10]] = scores[np.flatnonzero(truth)[:300]] = 9
    place = stats.placements(scores, truth)
    share = stats.tpr_at_fpr([(place[truth], place[~truth])], 0.01, rng)
    assert (share.tpr.value, share.fpr) == (0.3, 0.01)
    found = games.exposure(NOBODY, dealt, Guess(scores))
    told = dict(iter(found.groupby("kind")))
    curve = told["roc"].set_index("at")["value"]
    assert curve.loc[0.01] == share.tpr.value
    assert curve.is_monotonic_increasing
    assert told["members"]["value"].item() == share.tpr.value
    for kind in ("site", "rarity"):
        values = told[kind]["value"].to_numpy()
        assert np.average(values, weights=told[kind]["n"]) == pytest.approx(
            share.leak.value, abs=0.02
        )


def test_groups_add_up_to_the_leak_share(people: Cohort, challenge: games.Challenge) -> None:
    rng, truth = np.random.default_rng(5), challenge.truth
    scores = np.round(rng.normal(size=len(truth)) + truth, 1)
    sites = told(people, challenge, scores)["site"]
    here = [challenge.sites == row["group"] for row in sites]
    place = [stats.placements(scores[at], truth[at]) for at in here]
    placed = [(p[truth[at]], p[~truth[at]]) for p, at in zip(place, here, strict=True)]
    leak = stats.tpr_at_fpr(placed, sites[0]["at"], rng).leak.value
    n = [row["n"] for row in sites]
    assert np.average([row["value"] for row in sites], weights=n) == pytest.approx(leak, abs=1e-3)


NOBODY = Schema(name="t", clock="", static={"a": Column(kind="number", low=-9, high=9)})


@pytest.mark.parametrize("sizes", [[(340, 340)] * 3, [(100, 400), (60, 1200)]])
def test_intervals_of_groups_know_that_the_threshold_is_drawn(sizes: list[tuple[int, int]]) -> None:
    """Members score higher by one; 94 % at least of 95 % intervals hold what they find so."""
    rng, held = np.random.default_rng(10), dict[str, list[bool]]()
    truth = np.concatenate([np.arange(n1 + n0) < n1 for n1, n0 in sizes])
    homes = np.repeat([f"h{i}" for i in range(len(sizes))], [n1 + n0 for n1, n0 in sizes])
    names = np.arange(len(truth)).astype(str).astype(object)
    for _ in range(300):
        table = pd.DataFrame({"a": rng.normal(size=len(truth))})
        public = PublicChallenge("membership", table, homes.astype(object))
        dealt = games.Challenge(public, truth, names, names, 0)
        found = games.exposure(NOBODY, dealt, Guess(rng.normal(size=len(truth)) + truth))
        for row in found[found["kind"].isin(["site", "rarity"])].to_dict("records"):
            rate = float(special.ndtr(1 + special.ndtri(row["at"])))
            leak = (rate - row["at"]) / (1 - row["at"])
            held.setdefault(row["kind"], []).append(row["low"] <= leak <= row["high"])
    assert {kind: np.mean(each) >= 0.94 for kind, each in held.items()} == {
        "rarity": True, "site": True,
    }, {kind: np.mean(each) for kind, each in held.items()}  # fmt: skip


def test_few_others_where_members_are_make_it_unsure_how_many_are_accused() -> None:
    rng, held = np.random.default_rng(11), []
    sizes = [(400, 150), (20, 700)]
    truth = np.concatenate([np.arange(n1 + n0) < n1 for n1, n0 in sizes])
    homes = np.repeat(["a", "b"], [n1 + n0 for n1, n0 in sizes]).astype(object)
    names = np.arange(len(truth)).astype(str).astype(object)
    table = pd.DataFrame({"a": np.zeros(len(truth))})
    dealt = games.Challenge(PublicChallenge("membership", table, homes), truth, names, names, 0)
    for _ in range(200):
        yes = rng.random(len(truth)) < np.where(truth, 0.3, 0.03)
        found = games.exposure(NOBODY, dealt, Guess(yes.astype(float)), yes=True)
        (others,) = found[found["kind"] == "others"].to_dict("records")
        held.append(others["low"] <= 0.03 <= others["high"])
    assert np.mean(held) >= 0.93


def test_hospitals_are_told_of_where_their_own_others_are_enough() -> None:
    rng = np.random.default_rng(11)

    def told(*sizes: int) -> list[tuple[str, float]]:
        truth = np.concatenate([np.arange(60 + n0) < 60 for n0 in sizes])
        homes = np.repeat([f"h{i}" for i in range(len(sizes))], [60 + n0 for n0 in sizes])
        names = np.arange(len(truth)).astype(str).astype(object)
        table = pd.DataFrame({"a": rng.normal(size=len(truth))})
        public = PublicChallenge("membership", table, homes.astype(object))
        dealt = games.Challenge(public, truth, names, names, 0)
        found = games.exposure(NOBODY, dealt, Guess(rng.normal(size=len(truth))))
        mine = found[found["kind"] == "site"]
        assert set(found.loc[found["kind"] == "members", "at"]) == {0.01}
        return list(zip(mine["group"], mine["at"], strict=True))

    assert told(1000, 1000) == [("h0", 0.01), ("h1", 0.01)]
    assert told(1000, 300) == [("h0", 0.1), ("h1", 0.1)]
    assert told(1000, 99) == [("h0", 0.1)]


def rows(attack: str, auc: float, leak: float | None) -> list[dict[str, Any]]:
    """What an audit says of an attack; without a leak share that is refused."""
    base = {"dataset": "d", "scenario": "s", "seed": 0, "family": "privacy", "better": "lower"}
    base |= {"target": "pooled", "label": "synthetic", "generator": "given", "regime": "given"}
    numbers = {"auc": auc, "leak@1%": leak, "tpr@1%": leak, "leak@10%": 0.1, "tpr@10%": 0.2}
    return [
        {**base, "name": f"{attack}.{part}", "status": "done", "value": value,
         "low": value - 0.01, "high": value + 0.01}
        if value is not None
        else {**base, "name": f"{attack}.{part}", "status": "refused", "reason": "misses copies"}
        for part, value in numbers.items()
    ]  # fmt: skip


def of(people: Cohort, challenge: games.Challenge, scores: np.ndarray) -> pd.DataFrame:
    return games.exposure(people.schema, challenge, Guess(scores))


def test_who_is_found_is_told_by_the_attack_that_surely_finds_most(
    people: Cohort, challenge: games.Challenge
) -> None:
    rng, truth = np.random.default_rng(6), challenge.truth
    noise, tenth = rng.random(len(truth)), truth & (rng.random(len(truth)) < 0.1)
    tables = {
        "crowds": of(people, challenge, noise + truth),
        "ranks": of(people, challenge, noise + 0.02 * truth),
        "copies": of(people, challenge, noise + 2 * tenth),
    }
    known = [*rows("crowds", 0.9, None), *rows("ranks", 0.7, 0.02), *rows("copies", 0.55, 0.1)]
    told = groups(World("d", "s", Numbers.of(pd.DataFrame(known))), tables)
    assert told["attack"] == "copies"
    refused = [*rows("crowds", 0.9, None), *rows("ranks", 0.7, None)]
    only = {name: tables[name] for name in ("crowds", "ranks")}
    told = groups(World("d", "s", Numbers.of(pd.DataFrame(refused))), only)
    assert (told["attack"], told["rarity"], told["sites"]) == ("", [], [])
    (said,) = told["sentences"]
    assert said.startswith("What crowds and ranks found at few false alarms does not count, so ")


def test_an_accusation_is_worth_what_the_attack_reaches(
    people: Cohort, challenge: games.Challenge
) -> None:
    truth = challenge.truth
    given, wrong = truth & (np.cumsum(truth) <= 25), ~truth & (np.cumsum(~truth) == 1)
    world = World("d", "s", Numbers.of(pd.DataFrame(rows("exact", 0.52, 0.05))))
    one = groups(world, {"exact": of(people, challenge, (given | wrong).astype(float))})
    (worth,) = [text for text in one["sentences"] if "is right in" in text]
    assert "finds 5.0 % (" in worth
    assert "accuses 0.102 % (0.003 % to 0.689 %) of the others" in worth
    assert "33.2 % (" in worth  # .01 * .05 / (.01 * .05 + .99 * .00102)
    assert "finds 5.0 % (4.0 % to 6.0 %) of the training patients, by luck or not" in worth
    none = World("d", "s", Numbers.of(pd.DataFrame(rows("exact", 0.5, 0.0))))
    nobody = groups(none, {"exact": of(people, challenge, np.zeros(len(truth)))})
    (worth,) = [text for text in nobody["sentences"] if "accuse" in text]
    assert worth.endswith("exact accuses nobody.")
    few = of(people, challenge, (truth & (np.cumsum(truth) <= 5)).astype(float))
    said = groups(world, {"exact": few})["sentences"]
    assert said[0].startswith("exact finds fewer than ten training patients")
    assert not any("clearly unlike" in text for text in [*said, *nobody["sentences"]])


def test_the_picture_of_power_goes_through_what_the_row_says(
    people: Cohort, challenge: games.Challenge
) -> None:
    scores = np.random.default_rng(12).random(len(challenge.truth))
    sizes = {"n_members": 500, "n_nonmembers": 1000}
    known = [row | sizes | {"detectable": 0.06} for row in rows("ranks", 0.5, 0.0)]
    world = World("d", "s", Numbers.of(pd.DataFrame(known)))
    drawn = groups(world, {"ranks": of(people, challenge, scores)})["power"]
    (points,) = (np.array(each["points"]) for each in drawn if each["alarms"] == "1 %")
    # Clusters or ties have made it more than .017, which so many patients would do for.
    assert np.interp(0.06, *points.T) == pytest.approx(0.8, abs=0.02)
    few = World("d", "s", Numbers.of(pd.DataFrame([row | {"n_members": 2} for row in known])))
    none = groups(few, {"ranks": of(people, challenge, scores)})["power"]
    assert all(np.isfinite(each["points"]).all() for each in none)


def test_it_can_be_drawn_with_one_hospital_and_with_several() -> None:
    group = {"group": "1", "n": 20, "at": 0.01, "value": 0.1, "low": 0.0, "high": 0.2}
    found = {
        "curves": [{"attack": "dcr", "points": [[0.001, 0.0], [0.1, 0.3], [1.0, 1.0]]}],
        "power": [{"alarms": "1 %", "points": [[0.001, 0.05], [1.0, 1.0]]}],
        "attack": "dcr",
        "alarms": 0.01,
        "rarity": [group],
        "sites": [group],
        "sentences": [],
    }
    nobody_apart = [{"attack": "dcr", "points": [[0.0, 0.0], [1.0, 1.0]]}]
    assert leakage.exposed({**found, "curves": nobody_apart}, "c").startswith("<svg")
    nobody = {**found, "attack": "", "alarms": None, "rarity": [], "sites": []}
    assert "from usual to rare" not in leakage.exposed(nobody, "d")
    one = leakage.exposed(found, "a")
    several = leakage.exposed({**found, "sites": [group, {**group, "group": "2"}]}, "b")
    assert "by hospital" not in one
    assert "by hospital" in several
    assert one.startswith("<svg")


def test_ticks_are_what_they_stand_at() -> None:
    assert [leakage.percent(share) for share in (0.075, -0.1, 0.3, 1e-4)] == [
        "7.5 %", "\N{MINUS SIGN}10 %", "30 %", "0.01 %",
    ]  # fmt: skip
