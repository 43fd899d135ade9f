"""The score is SDMetrics' to the ninth digit, and its interval holds for many records."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats.contingency import association
from sdmetrics.reports import QualityReport

from fedbench.data import Cohort, Column, Schema
from fedbench.encoding import Encoder, summarize
from fedbench.metric import Evidence, Measure, View
from fedbench.metrics.quality import Quality, Related, Side, shapes, trends
from fedbench.stats import percentile, poisson_weights

Draw = Callable[[int, int], Cohort]
Judge = Callable[..., Evidence]
Change = Callable[..., Cohort]


def reported(one: pd.DataFrame, other: pd.DataFrame, **thresholds: float) -> dict[str, float]:
    """What SDMetrics says, without its random subsample."""
    kinds = {
        str(name): "categorical" if isinstance(kind, pd.CategoricalDtype) else "numerical"
        for name, kind in one.dtypes.items()
    }
    plain = [
        table.astype({name: object for name, kind in kinds.items() if kind == "categorical"})
        for table in (one, other)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = QualityReport()
        report.num_rows_subsample = None
        for name, value in thresholds.items():
            setattr(report, name, value)
        columns = {name: {"sdtype": kind} for name, kind in kinds.items()}
        real, fake = ({"patients": table} for table in plain)
        report.generate(real, fake, {"tables": {"patients": {"columns": columns}}}, verbose=False)
    scores = dict(report.get_properties()[["Property", "Score"]].to_numpy().tolist())
    return {
        "": report.get_score(),
        "shapes": scores["Column Shapes"],
        "trends": scores["Column Pair Trends"],
    }


def measured(evidence: Evidence, metric: Quality) -> dict[str, Measure]:
    rng = np.random.default_rng(0)
    return {m.part: m for m in metric.measure(evidence, rng) if isinstance(m, Measure)}


@pytest.mark.parametrize(("correlation", "association"), [(0.5, 0.3), (0.1, 0.05)])
def test_the_score_is_that_of_sdmetrics(
    draw: Draw, judge: Judge, changed: Change, correlation: float, association: float
) -> None:
    test, fake = draw(400, 0), draw(300, 1)
    fake = changed(fake, age=50.0, albumin=np.roll(fake.static["albumin"], 1))
    evidence = judge(test, fake, b=10)
    theirs = reported(
        evidence.test.table,
        evidence.synthetic.table,
        real_correlation_threshold=correlation,
        real_association_threshold=association,
    )
    ours = measured(evidence, Quality(correlation=correlation, association=association))
    for part, value in theirs.items():
        assert ours[part].value == pytest.approx(value, abs=1e-9), part


def test_pairs_are_chosen_by_cramers_v(draw: Draw) -> None:
    table = draw(300, 0).table[["sex", "stage", "age"]]
    side = Side.of(table, np.ones((1, len(table)), np.uint8))
    counts = pd.crosstab(table["sex"].cat.codes, table["stage"].cat.codes).to_numpy()
    exact = float(association(counts, method="cramer"))
    assert (1, 2) in Related.of(side, 0, exact - 1e-9).others
    assert (1, 2) not in Related.of(side, 0, exact + 1e-9).others


def test_weights_count_patients(draw: Draw, judge: Judge) -> None:
    evidence = judge(draw(60, 0), draw(50, 1), b=3)
    views = evidence.test, evidence.synthetic
    real, fake = (Side.of(view.table, view.weights) for view in views)
    chosen = Related.of(real, 0.1, 0.1)
    for row in range(3):
        drawn = [
            view.table.iloc[np.repeat(np.arange(len(view)), view.weights[row])] for view in views
        ]
        plain = [Side.of(table, np.ones((1, len(table)), np.uint8)) for table in drawn]
        assert shapes(real, fake)[row] == pytest.approx(shapes(*plain)[0])
        # The bins of a number are those of all patients, drawn or not.
        numbers = Related(chosen.numbers, ())
        again = trends(plain[0], plain[1], numbers)
        assert trends(real, fake, numbers)[row] == pytest.approx(again[0])


def test_a_subsample_for_the_interval_leaves_value_and_width_alone(
    draw: Draw, judge: Judge
) -> None:
    evidence = judge(draw(1500, 0), draw(1500, 1), b=200)
    whole, part = (measured(evidence, Quality(records=n)) for n in (2000, 500))
    for name in whole:
        assert whole[name].value == part[name].value
        wide = [m.high - m.low for m in (whole[name], part[name])]
        assert wide[1] / wide[0] == pytest.approx(1, abs=0.35)


NUMBERS, KINDS = [f"x{k}" for k in range(6)], {f"c{k}": "abc"[: 2 + k % 2] for k in range(6)}
LINKED = Schema(
    name="linked",
    clock="",
    static={
        **{name: Column(kind="number", low=-50, high=50) for name in NUMBERS},
        **{name: Column(kind="category", levels=tuple(levels)) for name, levels in KINDS.items()},
    },
)
NOBODY = pd.DataFrame({"patient": []})


def linked(loads: NDArray[np.float64], rng: np.random.Generator, n: int) -> Cohort:
    """Patients whose columns go together through two numbers that nobody sees."""
    values = rng.normal(size=(n, 2)) @ loads.T + rng.normal(size=(n, 12))
    static = pd.DataFrame(values[:, :6], columns=NUMBERS)
    for k, (name, levels) in enumerate(KINDS.items()):
        codes = np.digitize(values[:, 6 + k], [-0.5, 0.7] if len(levels) == 3 else [0.2])
        static[name] = pd.Categorical(np.array(list(levels))[codes], list(levels))
    static["patient"] = np.arange(n).astype(str).astype(object)
    return Cohort(LINKED, static, NOBODY, NOBODY, NOBODY)


# Some 6, 45 and 40 of 66 pairs are chosen; of 600 patients ranges vary more than all else.
@pytest.mark.parametrize(
    ("strength", "n", "kept"), [(0.55, 150, 0.6), (2.0, 150, 0.6), (2.0, 600, 1.0)]
)
def test_intervals_hold_whichever_pairs_and_bins_are_chosen(
    strength: float, n: int, kept: float
) -> None:
    loads, rng = np.random.default_rng(3).normal(0, strength, (12, 2)), np.random.default_rng(4)
    encoder = Encoder(LINKED, summarize(linked(loads, rng, 500)))
    found = []
    for _ in range(50):
        test, fake = (
            View(cohort, poisson_weights(rng, len(cohort), 100))
            for cohort in (linked(loads, rng, n), linked(kept * loads, rng, n))
        )
        evidence = Evidence(LINKED, encoder, test, test, fake)
        found.append(measured(evidence, Quality())["trends"])
    truth = np.mean([m.value for m in found])
    assert np.mean([m.low <= truth <= m.high for m in found]) > 0.88


@pytest.mark.parametrize("b", [100, 101])
def test_replicates_are_spread_as_far_as_the_interval(draw: Draw, judge: Judge, b: int) -> None:
    """Gains are differences of replicates, which would be too sure of themselves."""
    for name, found in measured(judge(draw(300, 0), draw(300, 1), b=b), Quality()).items():
        assert found.replicates is not None
        assert found.replicates.mean() == pytest.approx(found.value), name
        limits = percentile(found.value, found.replicates)
        assert (found.low, found.high) == pytest.approx((limits.low, min(limits.high, 1.0)))
        assert limits.high - found.value == pytest.approx(found.value - limits.low)


def test_broken_trends_are_seen(draw: Draw, judge: Judge, changed: Change) -> None:
    test, fake = draw(500, 0), draw(500, 1)
    names = ("bilirubin", "stage", "albumin", "copper")
    apart = {n: np.random.default_rng(i).permutation(fake.static[n]) for i, n in enumerate(names)}
    good, bad = (measured(judge(test, f), Quality()) for f in (fake, changed(fake, **apart)))
    rows = [m["trends"].replicates for m in (bad, good)]
    assert rows[0] is not None
    assert rows[1] is not None
    lost = bad["trends"].value - good["trends"].value
    assert percentile(lost, rows[0] - rows[1]).high < 0
    assert bad["shapes"].value == pytest.approx(good["shapes"].value)
