"""Verdicts of equivalence are those of two one-sided tests, and p-values those of SciPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency, ks_2samp, ttest_ind

from fedbench.data import Cohort, Column, Schema
from fedbench.metric import Evidence, Measure, Refusal
from fedbench.metrics.equivalence import Equivalence
from fedbench.stats import newcombe

LEVELS = tuple(f"l{j}" for j in range(50))
ONE = Schema(name="one", clock="", static={"x": Column(kind="number", low=-6, high=6)})

Draw = Callable[[int, int], Cohort]
Judge = Callable[..., Evidence]
Change = Callable[..., Cohort]


def found(evidence: Evidence, **settings: float) -> dict[str, Measure]:
    answers = Equivalence(**settings).measure(evidence, np.random.default_rng(0))
    told = [m for m in answers if isinstance(m, Measure) and m.part != "different"]
    return {m.key.column: m for m in told}


def different(evidence: Evidence) -> Measure:
    """The share of columns that are shown to be different."""
    answers = Equivalence().measure(evidence, np.random.default_rng(0))
    return next(m for m in answers if isinstance(m, Measure) and m.part == "different")


@pytest.mark.parametrize("shift", [0.0, 0.08, 0.12, 0.14, 0.3])
def test_verdicts_are_those_of_two_one_sided_tests(
    *, draw: Draw, judge: Judge, changed: Change, shift: float
) -> None:
    train, test, fake = draw(1500, 2), draw(1200, 0), draw(1200, 1)
    spread, margin = train.static["albumin"].std(ddof=0), 0.2
    moved = changed(fake, albumin=(fake.static["albumin"] + shift * spread).clip(1, 6))
    ours = found(judge(test, moved, train, b=10), margin=margin)["albumin"]
    real, other = (c.static["albumin"].dropna() / spread for c in (test, moved))
    chances = [
        ttest_ind(other + margin, real, equal_var=False, alternative="greater").pvalue,
        ttest_ind(other - margin, real, equal_var=False, alternative="less").pvalue,
    ]
    assert ours.value == pytest.approx(abs(other.mean() - real.mean()), abs=1e-6)
    assert (ours.facts["equivalence"] == "equivalent") == (max(chances) < 0.05)
    turned = ttest_ind(other - margin, real, equal_var=False, alternative="greater").pvalue
    assert (ours.facts["equivalence"] == "different") == (turned < 0.05)


def test_one_extreme_value_does_not_make_all_others_equivalent(judge: Judge) -> None:
    wide = Schema(name="wide", clock="", static={"x": Column(kind="number", low=-6, high=1e6)})

    def slipped(seed: int, middle: float) -> Cohort:
        x = np.random.default_rng(seed).normal(middle, 1, 500)
        x[0] = 99_999
        patients = [f"p{i:03d}" for i in range(500)]
        return Cohort.of_tables(wide, pd.DataFrame({"patient": patients, "x": x}))

    evidence = judge(slipped(0, 5), slipped(1, 8), slipped(2, 5), b=20)
    ours = found(evidence)["x"]
    assert ours.facts["equivalence"] == "different"
    assert ours.value == pytest.approx(3, abs=0.4)


def test_p_values_are_those_of_scipy(draw: Draw, judge: Judge) -> None:
    test, fake = draw(200, 0), draw(150, 1)
    ours = found(judge(test, fake))
    numbers = [c.static["bilirubin"].dropna() for c in (test, fake)]
    assert ours["bilirubin"].facts["p_value"] == pytest.approx(
        ks_2samp(*numbers, method="asymp").pvalue, abs=1e-9
    )
    counts = [c.static["stage"].fillna("gap").value_counts().sort_index() for c in (test, fake)]
    assert ours["stage"].facts["p_value"] == pytest.approx(
        chi2_contingency(np.stack(counts)).pvalue, abs=1e-9
    )


def test_few_patients_show_nothing_and_many_that_columns_are_equivalent(
    draw: Draw, judge: Judge
) -> None:
    few, many = (found(judge(draw(n, 0), draw(n, 1))) for n in (40, 4000))
    assert few[""].value > 0.8
    assert many[""].value < 0.1
    assert {m.facts["equivalence"] for c, m in few.items() if c} <= {"undecided", "equivalent"}


def test_a_level_that_is_too_frequent_is_different(
    draw: Draw, judge: Judge, changed: Change
) -> None:
    test, fake = draw(800, 0), changed(draw(800, 1), sex="male")
    ours = found(judge(test, fake))
    assert ours["sex"].facts["equivalence"] == "different"
    assert ours["sex"].value == pytest.approx((test.static["sex"] == "female").mean())


def test_clusters_have_verdicts_and_no_p(draw: Draw, judge: Judge) -> None:
    cohort = draw(60, 0)
    schema = replace(cohort.schema, cluster="family")
    static = cohort.static.assign(family=[f"f{i // 2}" for i in range(60)])
    family = replace(cohort, schema=schema, static=static)
    ours = found(judge(family, family))
    assert "p_value" not in ours["age"].facts
    assert ours["age"].facts["equivalence"] == "undecided"  # of so few


def test_a_level_that_nobody_was_seen_with_is_not_shown_to_be_as_rare(judge: Judge) -> None:
    """Of ten without it one can not say that fewer than 5 % have it; of a thousand one can."""
    for n, verdict in ((10, "undecided"), (1000, "equivalent")):
        ours = found(judge(marked(np.zeros(n, int)), marked(np.zeros(1000, int))))["c"]
        assert ours.facts["equivalence"] == verdict
        assert (ours.value, ours.low) == (0, 0)
        assert ours.high == pytest.approx(newcombe(0, n, 0, 1000).high)


def test_households_that_are_alike_are_as_few_as_they_are(judge: Judge) -> None:
    """Twelve households of ten, two of which have what one in six synthetic patients has."""
    held = np.repeat((np.arange(12) < 2).astype(int), 10)
    other = marked(np.tile([1, 0, 0, 0, 0, 0], 200))
    alone, together = (found(judge(marked(held, size), other))["c"] for size in (1, 10))
    assert together.high - together.low > 2 * (alone.high - alone.low)
    many = (np.arange(1200) < 200).astype(int)
    assert found(judge(marked(many), other))["c"].facts["equivalence"] == "equivalent"
    assert found(judge(marked(many, 60), other))["c"].facts["equivalence"] == "undecided"


def test_one_of_ten_levels_at_the_margin_is_called_different_once_in_twenty(judge: Judge) -> None:
    rng = np.random.default_rng(0)
    moved, said = np.repeat([0.15, 0.05], 5), []
    for _ in range(100):
        test, fake = marked(rng.integers(0, 10, 1000)), marked(rng.choice(10, 1000, p=moved))
        said.append(found(judge(test, fake, b=2))["c"].facts["equivalence"] == "different")
    # 100 draws, three standard errors above .05.
    assert np.mean(said) < 0.12


def test_rare_levels_are_told_apart_by_chance_no_more_often_than_they_should(judge: Judge) -> None:
    """Of 49 levels that one in a thousand has, 50 patients are expected to have none or one."""
    rng, chances = np.random.default_rng(0), np.append(0.95, np.full(49, 0.05 / 49))
    p = []
    for _ in range(100):
        test, fake = (marked(rng.choice(50, n, p=chances)) for n in (50, 3000))
        p.append(found(judge(test, fake, b=2))["c"].facts["p_value"])
    # 100 draws, three standard errors above .05 and .01.
    assert np.mean(np.array(p) < 0.05) < 0.12
    assert np.mean(np.array(p) < 0.01) < 0.05
    gone = found(judge(marked(rng.choice(50, 1000, p=chances)), marked(np.zeros(1000, int)), b=2))
    assert gone["c"].facts["p_value"] == 1e-4


def test_of_a_single_family_nothing_is_shown(draw: Draw, judge: Judge) -> None:
    cohort = draw(60, 0)
    schema = replace(cohort.schema, cluster="family")
    family = replace(cohort, schema=schema, static=cohort.static.assign(family="f"))
    ours = found(judge(family, family))
    assert ours[""].value == 1
    assert {m.facts["equivalence"] for c, m in ours.items() if c} == {"undecided"}


def test_a_column_without_values_has_a_reason(draw: Draw, judge: Judge, changed: Change) -> None:
    test, fake = draw(100, 0), changed(draw(100, 1), copper=np.nan)
    answers = Equivalence().measure(judge(test, fake), np.random.default_rng(0))
    reasons = {a.key.column: a.reason for a in answers if isinstance(a, Refusal)}
    assert reasons == {"copper": "0 synthetic patients have a value; this needs at least 10"}


@pytest.mark.parametrize("side", ["real test", "synthetic"])
def test_few_who_have_a_value_are_not_called_different(judge: Judge, side: str) -> None:
    """Of one patient a bootstrap knows no spread, so that any value looked certain."""
    rng = np.random.default_rng(0)
    whole = [plain(rng.normal(size=1000)) for _ in range(3)]
    for known in (1, 9, 10):
        few = plain(np.where(np.arange(1000) < known, rng.normal(size=1000), np.nan))
        sides = (few, whole[0]) if side == "real test" else (whole[0], few)
        answers = Equivalence().measure(judge(*sides, whole[1]), rng)
        if known == 10:
            assert [m.n for m in answers if isinstance(m, Measure)][1] == len(
                sides[0].static["x"].dropna()
            )
            continue
        (refused,) = answers
        assert isinstance(refused, Refusal)
        assert f"{known} {side} patient" in refused.reason


def test_the_mean_says_over_how_many_columns_it_is(
    draw: Draw, judge: Judge, changed: Change
) -> None:
    test, fake = draw(100, 0), draw(100, 1)
    assert not found(judge(test, fake))[""].facts
    without = changed(fake, copper=np.nan)
    width = len(test.schema.features)
    assert found(judge(test, without))[""].facts == {
        "covered": width - 1,
        "of": width,
        "over": f"over {width - 1} of {width} columns",
    }
    assert different(judge(test, without)).facts == found(judge(test, without))[""].facts


def test_columns_shown_to_be_different_are_told_from_undecided_ones(
    draw: Draw, judge: Judge, changed: Change
) -> None:
    few, many = (changed(draw(n, 1), sex="male") for n in (40, 800))
    for fake in (few, many):
        evidence = judge(draw(len(fake), 0), fake)
        ours, apart = found(evidence), different(evidence).value
        said = [m.facts["equivalence"] for m in ours.values() if "equivalence" in m.facts]
        assert apart == pytest.approx(np.mean([s == "different" for s in said]))
        assert ours[""].value - apart == pytest.approx(np.mean([s == "undecided" for s in said]))


def test_what_is_at_the_margin_is_called_equivalent_once_in_twenty(judge: Judge) -> None:
    """The error that two one-sided tests allow: at the margin, 5 %."""
    rng = np.random.default_rng(0)
    train, said = plain(rng.normal(size=4000)), []
    for seed in range(120):
        test, fake = plain(rng.normal(size=150)), plain(rng.normal(0.4, size=150))
        ours = found(judge(test, fake, train, b=200, seed=seed), margin=0.4)["x"]
        said.append(ours.facts["equivalence"] == "equivalent")
    # 120 draws, three standard errors above .05.
    assert np.mean(said) < 0.11


def test_intervals_cover(judge: Judge) -> None:
    rng = np.random.default_rng(0)
    train, measures = plain(rng.normal(size=4000)), []
    for seed in range(100):
        test, fake = plain(rng.normal(size=150)), plain(rng.normal(0.3, size=150))
        measures.append(found(judge(test, fake, train, seed=seed))["x"])
    truth = np.mean([m.value for m in measures])
    share = np.mean([m.low <= truth <= m.high for m in measures])
    # 100 draws, three standard errors below .95.
    assert share > 0.88


def test_the_share_of_columns_is_that_of_the_verdicts_and_its_interval_covers(judge: Judge) -> None:
    """Verdicts near the margin fall either way, which few columns cannot average away."""
    rng = np.random.default_rng(0)
    names, shifts = [f"x{j}" for j in range(7)], np.array([0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4])
    schema = Schema(
        name="many",
        clock="",
        static={name: Column(kind="number", low=-6, high=6) for name in names},
    )

    def several(n: int, moved: np.ndarray) -> Cohort:
        table = pd.DataFrame((rng.normal(size=(n, 7)) + moved).clip(-6, 6), columns=names)
        table["patient"] = np.arange(n).astype(str).astype(object)
        return Cohort.of_tables(schema, table)

    train, measures = several(2000, np.zeros(7)), []
    for seed in range(80):
        evidence = judge(several(120, np.zeros(7)), several(300, shifts), train, seed=seed)
        ours = found(evidence)
        verdicts = [m.facts["equivalence"] != "equivalent" for c, m in ours.items() if c]
        assert ours[""].value == np.mean(verdicts)
        measures.append((ours[""], different(evidence)))
    for each, least, most in zip(
        zip(*measures, strict=True), (0.3, 0.05), (0.95, 0.5), strict=True
    ):
        truth = np.mean([m.value for m in each])
        assert least < truth < most
        share = np.mean([m.low <= truth <= m.high for m in each])
        # 80 draws, three standard errors below .95.
        assert share > 0.87


def test_no_verdict_rests_on_the_bootstrap(draw: Draw, judge: Judge) -> None:
    train, test, fake = draw(600, 2), draw(150, 0), draw(150, 1)
    once, again = (found(judge(test, fake, train, b=10, seed=seed)) for seed in (0, 1))
    assert {c: m.facts for c, m in once.items()} == {c: m.facts for c, m in again.items()}
    assert {c: m.value for c, m in once.items()} == {c: m.value for c, m in again.items()}


def plain(values: np.ndarray) -> Cohort:
    """Patients of whom one number is known."""
    patient = np.arange(len(values)).astype(str).astype(object)
    return Cohort.of_tables(ONE, pd.DataFrame({"patient": patient, "x": values.clip(-6, 6)}))


def marked(levels: np.ndarray, size: int = 1) -> Cohort:
    """Patients of whom one level is known, in households of ``size``."""
    patient = np.arange(len(levels)).astype(str).astype(object)
    table = pd.DataFrame({"patient": patient, "c": np.array(LEVELS, dtype=object)[levels]})
    table["home"] = (np.arange(len(levels)) // size).astype(str).astype(object)
    schema = Schema(
        name="marked",
        clock="",
        static={"c": Column(kind="category", levels=LEVELS)},
        cluster="home" if size > 1 else None,
    )
    return Cohort.of_tables(schema, table if size > 1 else table.drop(columns="home"))
