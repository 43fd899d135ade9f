"""Joint laws are as far apart as kernels of scikit-learn and distances of SciPy say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors

from fedbench.data import Cohort, Column, Schema
from fedbench.metric import Evidence, Measure, Metric, View
from fedbench.metrics._space import points
from fedbench.metrics.joint import Joint
from fedbench.metrics.support import Support

Draw = Callable[[int, int], Cohort]
Judge = Callable[..., Evidence]


def found(metric: Metric, evidence: Evidence) -> dict[str, Measure]:
    answers = metric.measure(evidence, np.random.default_rng(0))
    return {m.part: m for m in answers if isinstance(m, Measure)}


def drawn(view: View, row: int) -> np.ndarray:
    """Each patient as often as she was drawn, by number."""
    return np.repeat(np.arange(len(view)), view.weights[row])


def unrelated(cohort: Cohort, seed: int = 0) -> Cohort:
    """The same columns, each in an order of its own."""
    rng = np.random.default_rng(seed)
    static = {
        str(name): values if name == "patient" else rng.permutation(values.to_numpy())
        for name, values in cohort.static.items()
    }
    return replace(cohort, static=cohort.static.assign(**static))


def apart(kernel: np.ndarray, labels: np.ndarray, people: np.ndarray) -> float:
    """The unbiased distance, pairs of a patient and herself left out, in a plain way."""
    other = people[:, None] != people
    mine, theirs = np.ix_(labels, labels), np.ix_(~labels, ~labels)
    within = sum(kernel[at][other[at]].mean() for at in (mine, theirs))
    return float(within - 2 * kernel[np.ix_(labels, ~labels)].mean())


def test_distances_are_those_of_other_libraries(draw: Draw, judge: Judge) -> None:
    evidence = judge(draw(90, 0), draw(70, 1), b=3)
    ours = found(Joint(permutations=19), evidence)
    places = [points(evidence, view) for view in (evidence.test, evidence.synthetic)]
    train = points(evidence, evidence.train)
    width = np.median(cdist(train, train)[np.triu_indices(len(train), 1)])
    rows = [(np.arange(90), np.arange(70))]
    rows += [(drawn(evidence.test, b), drawn(evidence.synthetic, b)) for b in range(3)]
    expected: dict[str, list[float]] = {"mmd": [], "energy": []}
    for mine, theirs in rows:
        both = np.concatenate([places[0][mine], places[1][theirs]])
        labels = np.arange(len(both)) < len(mine)
        people = np.concatenate([mine, 1000 + theirs])
        gaussian = rbf_kernel(both, gamma=1 / (2 * width**2))
        expected["mmd"].append(apart(gaussian, labels, people))
        expected["energy"].append(apart(-cdist(both, both), labels, people))
    for part, (value, *replicates) in expected.items():
        assert ours[part].value == pytest.approx(value, abs=1e-9)
        assert ours[part].replicates == pytest.approx(
            np.array(replicates) - np.mean(replicates) + value, abs=1e-9
        )


def test_blocks_change_nothing(draw: Draw, judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = judge(draw(60, 0), draw(70, 1), b=3)
    whole = {**found(Joint(permutations=19), evidence), **found(Support(), evidence)}
    monkeypatch.setattr("fedbench.metrics._space._NUMBERS", 1000)
    cut = {**found(Joint(permutations=19), evidence), **found(Support(), evidence)}
    for part, measure in whole.items():
        assert cut[part].value == pytest.approx(measure.value, abs=1e-9)
        assert cut[part].facts == measure.facts


def test_p_is_small_for_other_laws_and_anything_for_the_same(draw: Draw, judge: Judge) -> None:
    test = draw(150, 0)
    same = [found(Joint(permutations=99), judge(test, draw(150, s), b=20)) for s in range(1, 13)]
    large = judge(draw(400, 0), unrelated(draw(400, 1)))
    others = found(Joint(permutations=99), large)
    for part in ("mmd", "energy"):
        chances = [each[part].facts["p_value"] for each in same]
        assert np.mean(np.array(chances) < 0.2) < 0.55
        assert min(chances) >= 0.01
        assert others[part].facts["p_value"] <= 0.02
        assert others[part].low > 0


def test_clusters_have_no_p(draw: Draw, judge: Judge) -> None:
    cohort = draw(60, 0)
    schema = replace(cohort.schema, cluster="family")
    static = cohort.static.assign(family=[f"f{i // 2}" for i in range(60)])
    family = replace(cohort, schema=schema, static=static)
    assert all(not m.facts for m in found(Joint(), judge(family, family)).values())


def test_density_and_coverage_are_those_of_the_paper(draw: Draw, judge: Judge) -> None:
    evidence = judge(draw(120, 0), draw(120, 1))
    ours = found(Support(neighbours=5), evidence)
    real, fake = (points(evidence, view) for view in (evidence.test, evidence.synthetic))
    reach = NearestNeighbors(n_neighbors=6).fit(real).kneighbors(real)[0][:, 5]
    apart = cdist(real, fake)
    density = (apart < reach[:, None]).sum() / (5 * len(fake))
    assert ours["density"].value == pytest.approx(density, abs=1e-6)
    coverage = (apart.min(axis=1) < reach).mean()
    assert ours["coverage"].value == pytest.approx(coverage, abs=1e-6)


COARSE = Schema(
    name="coarse",
    clock="",
    static={
        "score": Column(kind="integer", low=0, high=10),
        "ill": Column(kind="category", levels=("no", "yes")),
    },
)


def coarse(seed: int, chance: float = 0.3, ill: float = 0.3, n: int = 400) -> Cohort:
    """Patients with few possible records."""
    rng = np.random.default_rng(seed)
    table = {
        "patient": [f"p{i:04d}" for i in range(n)],
        "score": rng.binomial(10, chance, n).astype(float),
        "ill": np.where(rng.random(n) < ill, "yes", "no"),
    }
    return Cohort.of_tables(COARSE, pd.DataFrame(table))


def test_the_same_law_supports_itself_however_coarse_it_is(judge: Judge) -> None:
    train, test = coarse(2), coarse(0)
    same = found(Support(), judge(test, coarse(1), train, b=20))
    assert same["density"].value == pytest.approx(1, abs=0.06)
    assert same["coverage"].value > 0.95
    assert same["alpha_precision"].value > 0.9
    assert same["beta_recall"].value == pytest.approx(0.5, abs=0.05)  # as of normal laws
    moved = found(Support(), judge(test, coarse(1, 0.6), train, b=20))
    for part in ("coverage", "alpha_precision", "beta_recall"):
        assert moved[part].value < same[part].value - 0.1, part


def test_a_law_that_hardly_varies_is_still_compared(judge: Judge) -> None:
    train, test, fake, ill = (coarse(s, 1e-9, p) for s, p in enumerate((0.1, 0.1, 0.1, 0.5)))
    same, other = (found(Joint(), judge(test, each, train, b=20)) for each in (fake, ill))
    assert other["mmd"].low > same["mmd"].high


def test_precision_and_recall_are_those_of_fine_shells(draw: Draw, judge: Judge) -> None:
    evidence = judge(draw(200, 0), unrelated(draw(200, 1)))
    ours = found(Support(), evidence)
    real, fake = (points(evidence, view) for view in (evidence.test, evidence.synthetic))
    shells = np.linspace(0, 1, 2001)
    to_centre = [np.linalg.norm(side - real.mean(axis=0), axis=1) for side in (real, fake)]
    radii = np.quantile(to_centre[0], shells)
    curve = (to_centre[1] <= radii[:, None]).mean(axis=1)
    precision = 1 - np.abs(shells - curve).sum() / shells.sum()
    assert ours["alpha_precision"].value == pytest.approx(precision, abs=0.01)
    nearest = NearestNeighbors(n_neighbors=2).fit(real).kneighbors(real)[0][:, 1]
    to_fake, which = NearestNeighbors(n_neighbors=1).fit(fake).kneighbors(real)
    shell = np.linalg.norm(fake[which[:, 0]] - fake.mean(axis=0), axis=1)
    inside = shell <= np.quantile(shell, shells)[:, None]
    curve = (inside & (to_fake[:, 0] <= nearest)).mean(axis=1)
    recall = 1 - np.abs(shells - curve).sum() / shells.sum()
    assert ours["beta_recall"].value == pytest.approx(recall, abs=0.01)


def test_the_same_records_support_each_other(draw: Draw, judge: Judge) -> None:
    cohort = draw(150, 0)
    same = found(Support(), judge(cohort, cohort))
    for part in ("coverage", "alpha_precision", "beta_recall"):
        assert same[part].value == pytest.approx(1, abs=1e-9)


def test_a_few_patients_copied_often_cover_little(draw: Draw, judge: Judge) -> None:
    test, fake = draw(200, 0), draw(200, 1)
    rows = np.arange(200) % 8
    static = fake.static.iloc[rows].reset_index(drop=True).assign(patient=fake.patients)
    before, after = (
        found(Support(), judge(test, each)) for each in (fake, replace(fake, static=static))
    )
    assert after["coverage"].high < before["coverage"].low
    assert after["beta_recall"].high < before["beta_recall"].value


def test_intervals_cover(draw: Draw, judge: Judge) -> None:
    numbers: dict[str, list[Measure]] = {}
    train = draw(400, 99)
    for seed in range(40):
        evidence = judge(draw(80, seed), unrelated(draw(90, 1000 + seed), seed), train, seed=seed)
        for metric in (Joint(permutations=19), Support()):
            for part, measure in found(metric, evidence).items():
                numbers.setdefault(part, []).append(measure)
    for part, measures in numbers.items():
        truth = np.mean([m.value for m in measures])
        share = np.mean([m.low <= truth <= m.high for m in measures])
        # 40 draws, three standard errors below .95.
        assert share > 0.84, (part, share)
