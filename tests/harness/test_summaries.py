"""Arithmetic on rows, checked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedbench.concordance import weighted_concordance
from fedbench.games import TURNED
from fedbench.metric import Anchors
from fedbench.replicates import Number
from fedbench.stats import poisson_weights, recentre
from fedbench.summaries import derived
from fedbench.verdicts import finished

Row = dict[str, Any]

RNG = np.random.default_rng(0)
DRAWS = RNG.normal(0, 0.01, 400)
SIZES = {("d", "s", 0): {"big": 300, "small": 100}}


def row(value: float, spread: float = 1.0, **columns: Any) -> Row:
    replicates = value + spread * (DRAWS - DRAWS.mean())
    base = {
        "dataset": "d",
        "scenario": "s",
        "seed": 0,
        "generator": "g",
        "label": "g",
        "regime": "federated",
        "model": "",
        "site": "",
        "target": "pooled",
        "family": "utility",
        "name": "utility.auroc",
        "better": "higher",
        "task": "t",
        "column": "",
        "secret": "",
        "level": "",
        "group": "",
        "n": 100,
        "anchors": Anchors(floor="independent", ceiling="real"),
        "status": "done",
        "reason": "",
        "weak": "",
        "low": float(np.quantile(replicates, 0.025)),
        "high": float(np.quantile(replicates, 0.975)),
        "value": value,
        "replicates": replicates,
    }
    return base | columns


def at(site: str, value: float, **columns: Any) -> Row:
    return row(value, site=site, target="specialist", **columns)


def find(rows: list[Row], **wanted: Any) -> Row:
    (found,) = (r for r in rows if all(r.get(k) == v for k, v in wanted.items()))
    return found


def test_what_is_subtracted_from_itself_is_nothing() -> None:
    z = np.linspace(-1, 1, 401)
    one = Number(0.8, 0.8 + 0.1 * z, 100, below=0.02, above=0.05)
    same = one.minus(one).columns()
    assert (same["value"], same["low"], same["high"]) == (0, 0, 0)
    other = Number(0.8, 0.8 + 0.1 * np.roll(z, 200), 100, below=0.02, above=0.05)
    apart = one.minus(other)
    assert apart.below == pytest.approx(0.07, rel=0.3)
    still = Number(0.0, np.zeros(401), 100, above=0.05)
    assert still.minus(still).above == 0.05


def test_gain_is_positive_when_federation_helps_whatever_the_direction() -> None:
    for better, federated, local in (("higher", 0.8, 0.7), ("lower", 0.7, 0.8)):
        rows = [
            at(site, value, regime=regime, model=site if regime == "local" else "", better=better)
            for site in ("big", "small")
            for regime, value in (("federated", federated), ("local", local))
        ]
        gain = find(derived(rows, SIZES), target="gain", site="", level="unweighted")
        assert gain["value"] == pytest.approx(0.1)
        assert gain["low"] == pytest.approx(0.1), "paired draws cancel"


def told_apart(value: float, **columns: Any) -> Row:
    return row(value, name="detection", family="fidelity", better="near 0.5", task="", **columns)


def test_what_is_best_in_the_middle_gains_by_coming_closer_from_either_side() -> None:
    for federated, local in ((0.52, 0.7), (0.48, 0.7), (0.48, 0.3), (0.52, 0.3)):
        rows = [
            told_apart(value, regime=regime, site=site, target="specialist", model=model)
            for site in ("big", "small")
            for regime, value, model in (("federated", federated, ""), ("local", local, site))
        ]
        gain = find(derived(rows, SIZES), target="gain", site="", level="unweighted")
        assert gain["value"] == pytest.approx(0.18)
        assert gain["low"] <= gain["value"] <= gain["high"]


def test_below_the_best_is_no_negative_tax() -> None:
    """.45 against .5 is chance, or a tie with .55: never better than guessing."""
    for federated, tax in ((0.45, 0.05), (0.55, 0.05), (0.5, 0.0)):
        rows = [
            told_apart(federated, spread=5),
            told_apart(0.5, spread=5, regime="centralized"),
        ]
        found = find(derived(rows, SIZES), target="tax")
        assert found["value"] == pytest.approx(tax)
        assert federated > 0.5 or found["low"] <= 0 <= found["high"], "it may be chance"


def test_the_worst_hospital_is_furthest_from_what_is_best() -> None:
    for values, worst in (((0.3, 0.55), 0.3), ((0.7, 0.45), 0.7), ((0.45, 0.48), 0.45)):
        rows = [
            told_apart(value, site=site, target="specialist")
            for site, value in zip(("big", "small"), values, strict=True)
        ]
        found = find(derived(rows, SIZES), site="worst")
        assert found["value"] == worst
        assert found["verdict"] == "worst of 2: big"
        assert found["low"] <= worst <= found["high"]
        assert found["high"] - found["low"] < 0.1


def test_on_the_scale_below_the_best_is_as_far_as_above_it() -> None:
    ends = [told_apart(0.9, generator="independent"),
            told_apart(0.5, regime="control", generator="copy")]  # fmt: skip
    above, below = (find(finished([told_apart(v), *ends]), generator="g") for v in (0.6, 0.4))
    assert above["normalized"] == pytest.approx(0.75) == below["normalized"]
    assert find(finished([told_apart(0.5), *ends]), generator="g")["normalized"] == 1.0


def test_gains_of_what_is_best_in_the_middle_cover() -> None:
    """Wherever both lie, on one side of the best, on both sides or at it."""
    rng = np.random.default_rng(5)
    for federated, local in ((0.5, 0.5), (0.5, 0.53), (0.48, 0.53), (0.7, 0.5), (0.47, 0.44)):
        covered = []
        for _ in range(200):
            noise = rng.normal(0, 0.02, 2)
            shared = rng.normal(0, 0.02)
            rows = []
            for truth, own, regime in zip(
                (federated, local), noise, ("federated", "local"), strict=True
            ):
                value = truth + shared + own
                rows.append(told_apart(value, regime=regime, site="big", target="specialist"))
            both = np.random.default_rng(0).normal(0, 0.02, (3, 400))
            for mine, own in zip(rows, both, strict=False):
                mine["replicates"] = mine["value"] + both[2] + own
                mine["low"], mine["high"] = np.quantile(mine["replicates"], [0.025, 0.975])
            gain = find(derived(rows, SIZES), target="gain", site="big")
            truth = abs(local - 0.5) - abs(federated - 0.5)
            covered.append(gain["low"] <= truth <= gain["high"])
        assert np.mean(covered) >= 0.93, (federated, local)


def test_means_are_weighted_by_patients_or_not() -> None:
    rows = [at("big", 0.8), at("small", 0.4)]
    found = derived(rows, SIZES)
    assert find(found, level="patient-weighted")["value"] == pytest.approx(0.7)
    assert find(found, level="unweighted")["value"] == pytest.approx(0.6)


def test_the_worst_site_leaves_out_those_without_a_row_of_their_own() -> None:
    rows = [at("big", 0.8), at("small", 0.4, weak="3 events")]
    worst = find(derived(rows, SIZES), site="worst")
    assert worst["status"] == "refused"
    strong = find(derived([at("big", 0.8), at("small", 0.4)], SIZES), site="worst")
    assert strong["value"] == pytest.approx(0.4)
    assert "small" in strong["verdict"]


def test_tax_is_positive_when_federation_is_worse() -> None:
    rows = [row(0.7), row(0.8, regime="centralized")]
    assert find(derived(rows, SIZES), target="tax")["value"] == pytest.approx(0.1)


def test_a_weak_row_is_refused_but_counts_in_the_gain() -> None:
    rows = [
        at("small", 0.8, weak="3 events"),
        at("small", 0.5, regime="local", model="small", weak="3 events"),
    ]
    made = derived(rows, SIZES)
    done = finished([*rows, *made])
    assert {r["status"] for r in done if r["target"] == "specialist" and r["site"] == "small"} == {
        "refused"
    }
    assert find(done, target="gain", site="", level="unweighted")["value"] == pytest.approx(0.3)
    assert find(done, target="gain", site="small")["status"] == "refused"


def test_nothing_about_everybody_stands_on_too_few_cases() -> None:
    few = "3 events; a row of its own needs 20"
    sites = [
        at(site, value, regime=regime, model=site if regime == "local" else "", weak=few)
        for site in ("big", "small")
        for regime, value in (("federated", 0.8), ("local", 0.7))
    ]
    pooled = [row(0.8, weak=few), row(0.9, weak=few, regime="centralized")]
    general = [row(0.7, weak=few, regime="local", model="big", target="generalist")]
    rows = [*sites, *pooled, *general]
    done = finished([*rows, *derived(rows, SIZES)])
    about = {(r["target"], r["level"]) for r in done if r["site"] == ""}
    assert {target for target, _ in about} == {"pooled", "specialist", "generalist", "gain", "tax"}
    for found in done:
        assert found["status"] == "refused"
        assert found["reason"] == few or found["site"] == "worst"
        assert found.get("value") is None


def anchored(value: float, floor: float, ceiling: float, spread: float = 1.0) -> Row:
    rows = [
        row(value),
        row(floor, generator="independent", label="independent"),
        row(ceiling, spread, regime="control", generator="copy", label="copy"),
    ]
    return find(finished(rows), label="g")


def test_a_value_is_placed_between_floor_and_ceiling() -> None:
    found = anchored(0.75, 0.5, 0.9)
    assert found["floor"] == 0.5
    assert found["ceiling"] == 0.9
    assert found["normalized"] == pytest.approx(0.625)
    assert found["normalized_low"] <= 0.625 <= found["normalized_high"]


def fidelity(value: float, **columns: Any) -> Row:
    return row(value, name="marginals", family="fidelity", better="lower", task="") | columns


def test_a_column_has_the_ends_of_its_own_controls() -> None:
    ends = {"copy": 0.01, "uniform": 0.6}
    anchors = Anchors(floor="uniform", ceiling="real")
    rows = [fidelity(0.2, column="age", anchors=anchors)]
    rows += [
        fidelity(value + more, column=column, regime="control", generator=name, label=name)
        for name, value in ends.items()
        for column, more in (("age", 0.0), ("", 0.1))
    ]
    found = find(finished(rows), label="g")
    assert (found["floor"], found["ceiling"]) == (0.6, 0.01)


def test_a_control_without_an_interval_is_still_an_end() -> None:
    control = fidelity(0.01, column="age", regime="control", generator="copy", label="copy")
    del control["low"], control["high"], control["replicates"]
    found = find(finished([fidelity(0.2, column="age"), control]), label="g")
    assert found["ceiling"] == 0.01
    assert "noise_floor" not in found


def test_the_worst_hospital_and_means_are_held_against_those_of_real_records() -> None:
    reached = {"big": 0.1, "small": 0.3}
    rows = [
        fidelity(value * times, site=site, target="specialist", regime=regime, **who)
        for regime, times, who in (
            ("federated", 1.5, {}),
            ("control", 1.0, {"generator": "copy", "label": "copy"}),
            ("federated", 3.0, {"generator": "independent", "label": "independent"}),
        )
        for site, value in reached.items()
    ]
    rows = finished([*rows, *derived(rows, SIZES)])
    worst = find(rows, label="g", site="worst")
    assert (worst["floor"], worst["ceiling"]) == (pytest.approx(0.9), 0.3)
    weighted = find(rows, label="g", level="patient-weighted")
    assert (weighted["floor"], weighted["ceiling"]) == (pytest.approx(0.45), pytest.approx(0.15))


@pytest.mark.parametrize(
    ("part", "floor"),
    [("auc", 0.5), ("leak@1%", 0.0), ("tpr@0.1%", 0.001), ("advantage", 0.0), ("accuracy", None)],
)
def test_the_floor_of_an_attack_is_guessing(part: str, floor: float | None) -> None:
    found = find(finished([row(0.6, name=f"dcr.{part}", family="privacy", task="")]), label="g")
    assert found.get("floor") == (floor if floor is None else pytest.approx(floor))


def test_a_mean_over_models_is_held_against_all_patients() -> None:
    rows = [
        fidelity(value, model=site, target="generalist", regime="local")
        for site, value in (("big", 0.2), ("small", 0.4))
    ]
    rows += [fidelity(0.1, regime="control", generator="copy", label="copy")]
    rows = finished([*rows, *derived(rows, SIZES)])
    assert {r["ceiling"] for r in rows if r["target"] == "generalist"} == {0.1}


def test_nothing_is_normalized_when_the_anchors_cannot_be_told_apart() -> None:
    found = anchored(0.75, 0.7, 0.75, spread=2.0)
    assert found["noise_floor"] > 0.03
    assert "normalized" not in found


def test_an_attack_that_fails_a_control_is_silenced() -> None:
    attack: Row = {"family": "privacy", "better": "lower", "task": "", "anchors": Anchors()}
    rows = [
        row(0.9, name="dcr.auc", **attack, p_value=0.001),
        row(
            0.0,
            name="dcr.check",
            regime="control",
            generator="copy",
            verdict="not caught",
            **attack,
        ),
        row(0.6, name="other.auc", **attack, p_value=0.02),
    ]
    done = finished(rows)
    silenced = find(done, name="dcr.auc")
    assert silenced["status"] == "refused"
    assert "not caught" in silenced["reason"]
    assert silenced["value"] is None
    assert find(done, name="other.auc")["status"] == "done"


def test_silence_counts_for_nothing_where_the_null_control_is_turned_round() -> None:
    about: Row = {"family": "privacy", "task": "", "anchors": Anchors()}
    rows = [
        row(0.5, name="dcr.auc", **about),
        row(0.02, name="dcr.leak@10%", **about),
        row(0.9, name="verbatim.auc", **about),
        row(1.0, name="dcr.check", regime="control", generator="real",
            label="real", verdict=f"{TURNED}: AUC is 0.300.", **about),
    ]  # fmt: skip
    rows[0] |= {"low": 0.45, "high": 0.55}
    rows[1] |= {"low": 0.01, "high": 0.03}
    found = {r["name"]: r for r in finished(rows) if r["regime"] != "control"}
    assert found["dcr.auc"]["status"] == "refused"
    assert "AUC is 0.300" in found["dcr.auc"]["reason"]
    assert found["dcr.leak@10%"]["status"] == "done", "what was found counts all the more"
    assert found["verbatim.auc"]["status"] == "done"


def test_an_attack_that_fails_its_own_rehearsal_is_silenced_in_that_cell_alone() -> None:
    attack: Row = {"family": "privacy", "better": "lower", "task": "", "anchors": Anchors()}
    rows = [
        row(0.9, name="gradient.auc", train_id="a", **attack, p_value=0.001),
        row(0.9, name="gradient.auc", train_id="b", label="h", **attack, p_value=0.001),
        row(0.0, name="gradient.check", train_id="a", group="step", verdict="deaf", **attack),
        row(1.0, name="gradient.check", train_id="b", group="step", verdict="fine", **attack),
    ]
    done = finished(rows)
    assert "deaf" in find(done, name="gradient.auc", train_id="a")["reason"]
    assert find(done, name="gradient.auc", train_id="b")["status"] == "done"
    assert find(done, name="gradient.check", train_id="a")["value"] == 0.0


def test_a_share_that_misses_a_part_of_a_copy_is_silenced_alone() -> None:
    attack: Row = {"family": "privacy", "better": "lower", "task": "", "anchors": Anchors()}
    names = ("forest.auc", "forest.leak@1%", "forest.leak@10%", "forest.tpr@1%")
    rows = [row(0.6, name=name, **attack, p_value=0.001) for name in names]
    control: Row = {"name": "forest.check", "regime": "control", "generator": "copy", **attack}
    rows += [
        row(1.0, **control, verdict="caught"),
        row(0.0, **control, level="leak@1%", verdict="misses a part"),
    ]
    done = finished(rows)
    assert [find(done, name=name)["status"] for name in names] == [
        "done", "refused", "done", "refused",
    ]  # fmt: skip
    assert "misses a part" in find(done, name="forest.leak@1%")["reason"]


def test_p_values_are_adjusted_within_a_family() -> None:
    attack: Row = {"family": "privacy", "task": "", "anchors": Anchors()}
    rows = [row(0.6, name=f"{n}.auc", **attack, p_value=p) for n, p in (("a", 0.01), ("b", 0.04))]
    rows.append(row(0.6, name="c", p_value=0.03))
    done = finished(rows)
    assert find(done, name="a.auc")["p_adjusted"] == pytest.approx(0.02)
    assert find(done, name="b.auc")["p_adjusted"] == pytest.approx(0.04)
    assert find(done, name="c")["p_adjusted"] == pytest.approx(0.03)


def test_both_sides_of_guessing_are_adjusted() -> None:
    attack: Row = {"family": "privacy", "task": "", "anchors": Anchors()}
    rows = [row(0.4, name=f"{n}.auc", **attack, p_value=1 - p, p_turned=p)
            for n, p in (("a", 0.01), ("b", 0.04))]  # fmt: skip
    done = finished(rows)
    assert find(done, name="a.auc")["p_turned_adjusted"] == pytest.approx(0.02)
    assert find(done, name="b.auc")["p_turned_adjusted"] == pytest.approx(0.04)


def test_a_mean_says_which_hospitals_it_had_to_leave_out() -> None:
    rows = [
        at("big", 0.8),
        at("small", 0.8),
        at("big", 0.7, regime="local", model="big"),
    ]
    gain = find(derived(rows, SIZES), target="gain", site="", level="unweighted")
    assert gain["over"] == "over 1 of 2 hospitals, without small"


def test_a_mean_over_hospitals_says_over_how_many_columns_their_numbers_are() -> None:
    some = {"covered": 6, "of": 7, "over": "over 6 of 7 columns"}
    rows = [at("big", 0.8) | some, at("small", 0.8)]
    mean = find(derived(rows, SIZES), target="specialist", site="", level="unweighted")
    assert {name: mean[name] for name in some} == some | {"over": "over at least 6 of 7 columns"}
    rows[1] |= some
    mean = find(derived(rows, SIZES), target="specialist", site="", level="unweighted")
    assert {name: mean[name] for name in some} == some
    mean = find(derived(rows[:1], SIZES), target="specialist", site="", level="unweighted")
    assert mean["over"] == "over 1 of 2 hospitals, without small; over 6 of 7 columns"


def test_a_hospital_with_few_events_does_not_feign_certainty() -> None:
    """A mean over sites covers the truth although one site has three events."""
    covered = []
    for draw in range(60):
        rng = np.random.default_rng(draw)
        rows = []
        for site, events, n in (("big", 40, 200), ("small", 3, 100)):
            event = np.arange(n) < events
            time = np.where(event, rng.uniform(0, 1, n), 1.0)
            risk = event * 1.0 + rng.standard_normal(n)
            weights = poisson_weights(rng, n, 200)
            values = weighted_concordance(time, event, risk, weights)
            value = float(weighted_concordance(time, event, risk, np.ones((1, n)))[0])
            weak = "3 events" if site == "small" else ""
            rows.append(
                at(site, value, replicates=recentre(value, values), cases=events, weak=weak)
            )
        mean = find(derived(rows, SIZES), target="specialist", level="unweighted", site="")
        covered.append(mean["low"] <= 0.745 <= mean["high"])
    assert np.mean(covered) >= 0.9


def test_a_mean_of_perfect_attacks_is_not_certain() -> None:
    attack: Row = {"family": "privacy", "name": "other.auc", "better": "lower", "low": 0.96}
    rows = [at(site, 1.0, spread=0.0, **attack) | {"high": 1.0} for site in ("big", "small")]
    found = derived(rows, SIZES)
    assert find(found, level="unweighted")["low"] < 0.98
    assert find(found, site="worst")["low"] <= 0.96


def perfect(**columns: Any) -> Row:
    """Told apart without a mistake: replicates do not move, the exact lower limit does."""
    about = {"family": "fidelity", "name": "detection", "better": "lower", "least": 0, "most": 1}
    return row(1.0, spread=0.0, **about) | {"low": 0.96, "high": 1.0} | columns


def test_a_mean_over_local_models_is_as_unsure_as_each_of_them() -> None:
    rows = [perfect(regime="local", model=model, target="generalist") for model in ("big", "small")]
    mean = find(derived(rows, SIZES), level="unweighted")
    assert (mean["value"], mean["high"]) == (1, 1)
    assert mean["low"] == pytest.approx(0.96)  # the same patients: doubts add up


def test_two_perfect_numbers_do_not_make_a_certain_tax() -> None:
    tax = find(derived([perfect(), perfect(regime="centralized")], SIZES), target="tax")
    assert (tax["value"], tax["low"], tax["high"]) == pytest.approx((0, -0.04, 0.04))


def test_the_scale_of_a_difference_has_both_signs() -> None:
    rows = [
        at(site, 0.7, regime=regime, least=0.2, most=1.0)
        for regime in ("federated", "local")
        for site in ("big", "small")
    ]
    gain = find(derived(rows, SIZES), target="gain", level="unweighted")
    assert (gain["least"], gain["most"]) == (-0.8, 0.8)
    tax = find(derived([perfect(), perfect(regime="centralized")], SIZES), target="tax")
    assert (tax["least"], tax["most"]) == (-1, 1)


def test_means_stay_on_the_scale() -> None:
    rows = [at(site, 0.99, spread=2.0, least=0.0, most=1.0) for site in ("big", "small")]
    found = derived(rows, SIZES)
    assert {find(found, level=level)["high"] for level in ("patient-weighted", "unweighted")} == {1}
    assert find(found, site="worst")["high"] == 1
